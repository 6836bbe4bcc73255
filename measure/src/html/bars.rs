//! Bars that lie under each other, each below its name and its figure.

use super::{
    axis::{Axis, Kind},
    chart::{At, WIDTH, drawing, line, text},
    markup::Markup,
};
use crate::{
    Spread,
    figure::Measure,
    text::{harmless, wrap_at_most},
};

const LEFT: f64 = 2.0;
const RIGHT: f64 = WIDTH - 14.0;
const BAR: f64 = 14.0;
const LINE: f64 = 15.0;
const AFTER_BAR: f64 = 12.0;
const AXIS: f64 = 22.0;
const TICKS: u32 = 5;
/// Letters of a name that stand beside its figure, and lines of it.
const NAME_COLUMNS: usize = 36;
const NAME_LINES_MAX: usize = 3;
/// Bars of one chart; the table has the others.
pub(crate) const BARS_MAX: usize = 40;
/// Longer whiskers than this many of the longest bar are cut off.
const WHISKER_MAX: f64 = 2.0;

/// One bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) spread: Spread,
    /// Where its whisker ends: at the most, unless that would tell of one sample out of hundreds.
    pub(crate) upper: f64,
}

/// Draws bars of one measure, at most [`BARS_MAX`] of them.
pub(crate) fn draw(markup: &mut Markup, id: &str, title: &str, measure: Measure, bars: &[Bar]) {
    let told = |bar: &Bar| {
        let [median, least, most] = [bar.spread.median, bar.spread.least, bar.spread.most].map(|value| measure.tell(value));
        format!("{}: {median} ({least} to {most})", bar.name)
    };
    let bars = &bars[..bars.len().min(BARS_MAX)];
    let names: Vec<_> = bars.iter().map(|bar| wrap_at_most(&harmless(&bar.name), NAME_COLUMNS, NAME_LINES_MAX)).collect();
    let height = |name: &Vec<String>| LINE * name.len() as f64 + BAR + AFTER_BAR;
    let bottom: f64 = names.iter().map(height).sum();
    let x = across(bars);
    let description = bars.iter().map(told).collect::<Vec<_>>().join(". ");
    drawing(markup, id, bottom + AXIS, title, &description, |svg| {
        for tick in x.ticks(TICKS) {
            let class = if x.at(tick) < LEFT + 1.0 { "tick" } else { "tick middle" };
            text(svg, class, (x.at(tick), bottom + 14.0), measure.tick(tick, x.most()));
        }
        let mut top = 0.0;
        for (bar, name) in bars.iter().zip(&names) {
            svg.element("g", &[], |svg| {
                svg.leaf("title", &[], told(bar));
                one(svg, &x, top, bar, name, &measure.tell(bar.spread.median));
            });
            top += height(name);
        }
        line(svg, "base", (LEFT, 0.0), (LEFT, bottom));
    });
}

fn across(bars: &[Bar]) -> Axis {
    let longest = bars.iter().map(|bar| bar.spread.median).fold(0.0, f64::max);
    let most = bars.iter().map(|bar| bar.upper).fold(longest, f64::max).min(longest * WHISKER_MAX);
    Axis::new(Kind::Linear, (0.0, most * 1.02), (LEFT, RIGHT))
}

fn one(svg: &mut Markup, x: &Axis, top: f64, bar: &Bar, name: &[String], figure: &str) {
    for (index, words) in name.iter().enumerate() {
        text(svg, "name", (LEFT + 4.0, top + LINE * (index as f64 + 1.0) - 3.0), words);
    }
    text(svg, "figure end", (RIGHT, top + LINE - 3.0), figure);
    let y = top + LINE * name.len() as f64;
    // Between the names, which a line would cross.
    for tick in x.ticks(TICKS) {
        line(svg, "grid", (x.at(tick), y), (x.at(tick), y + BAR + 4.0));
    }
    let end = x.at(bar.spread.median);
    let (width, height) = (At((end - LEFT).max(1.0)), At(BAR));
    svg.element("rect", &[("class", &"bar"), ("x", &At(LEFT)), ("y", &At(y)), ("width", &width), ("height", &height)], |_| ());
    let (least, most, middle) = (x.at(bar.spread.least), x.at(bar.upper), y + BAR / 2.0);
    line(svg, "whisker", (least, middle), (most, middle));
    for (end, value) in [(least, bar.spread.least), (most, bar.upper)] {
        // One that goes on beyond the frame has no end there.
        if x.holds(value) {
            line(svg, "whisker", (end, middle - 4.0), (end, middle + 4.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unit;

    fn drawn(bars: &[(&str, f64)]) -> String {
        let bars: Vec<_> = bars
            .iter()
            .map(|(name, value)| Bar {
                name: (*name).to_owned(),
                spread: Spread::of(&[*value, value / 2.0, value * 9.0]),
                upper: value * 9.0,
            })
            .collect();
        let mut markup = Markup::default();
        draw(&mut markup, "id", "Bars", Measure::Of(Unit::Seconds), &bars);
        markup.finish()
    }

    #[test]
    fn a_bar_is_as_long_as_its_number_and_a_long_whisker_does_not_make_it_short() {
        let svg = drawn(&[("one", 1.0), ("two", 2.0)]);
        let document = roxmltree::Document::parse(&svg).unwrap();
        let widths: Vec<f64> = document
            .descendants()
            .filter(|node| node.has_tag_name("rect"))
            .map(|node| node.attribute("width").unwrap().parse().unwrap())
            .collect();
        assert!((widths[1] / widths[0] - 2.0).abs() < 0.01, "{widths:?}");
        assert!(widths[1] > WIDTH / 3.0, "{widths:?}");
        let figures: Vec<_> = document
            .descendants()
            .filter(|node| node.attribute("class") == Some("figure end"))
            .filter_map(|node| node.text())
            .collect();
        assert_eq!(figures, ["1.00 s", "2.00 s"]);
    }

    #[test]
    fn none_and_many_and_absurd_ones_are_drawn() {
        let many = vec![
            (
                "a long name that needs more than one line of the chart, and more than two or three of them, as is told here",
                1e-9
            );
            100
        ];
        for bars in [&[][..], &[("x", f64::MAX), ("y", f64::MIN_POSITIVE), ("z", f64::NAN)], &many] {
            let svg = drawn(bars);
            let document = roxmltree::Document::parse(&svg).unwrap();
            assert_eq!(document.descendants().filter(|node| node.has_tag_name("rect")).count(), bars.len().min(BARS_MAX));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
