//! Charts of curves over the number of threads: time, speed-up and efficiency.

use super::{
    axis::{Axis, Kind},
    chart::{At, WIDTH, colour, drawing, line, mark, text},
    markup::Markup,
};
use crate::{
    Spread,
    figure::{Measure, thousands},
    text::some,
};

const HEIGHT: f64 = 250.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = WIDTH - 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = HEIGHT - 38.0;
/// From the frame to the first and the last point.
const INSET: f64 = 14.0;
/// Points of several curves over one number stand so far apart that each can be seen.
const ASIDE: f64 = 3.0;
/// All of them together, at most.
const ASIDE_ALL: f64 = 8.0;
/// From this number of threads on, each doubling is equally long.
const LINEAR_THREADS_MAX: u32 = 8;
/// Numbers that lie further apart than this factor would be flat at the bottom of a linear axis.
const LINEAR_FACTOR_MAX: f64 = 16.0;
/// Longer whiskers than this many of the highest median are cut off, or they would press everything else to the bottom.
const WHISKER_MAX: f64 = 2.0;
/// Numbers of threads below this stand at the axis as they are.
const SHORT: f64 = 1e5;
/// Points that a description tells.
const TOLD_MAX: usize = 64;

/// One curve.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Which colour and mark it has.
    pub(crate) style: usize,
    /// Whether others are compared with it: dashed, with hollow marks.
    pub(crate) is_reference: bool,
    pub(crate) name: String,
    /// Threads, and what was found there, from the fewest threads on.
    pub(crate) points: Vec<(u32, Spread)>,
}

/// What would be if nothing were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ideal {
    /// Nobody knows.
    Unknown,
    /// As many times as fast as there are threads.
    Threads,
    /// All of it.
    Whole,
}

/// A chart of some curves.
#[derive(Clone, Debug)]
pub(crate) struct LineChart<'a> {
    pub(crate) title: &'a str,
    pub(crate) measure: Measure,
    pub(crate) ideal: Ideal,
    pub(crate) lines: &'a [Line],
}

impl LineChart<'_> {
    /// Draws it.
    pub(crate) fn draw(&self, markup: &mut Markup, id: &str) {
        let (x, y) = (self.across(), self.upwards());
        drawing(markup, id, HEIGHT, self.title, &self.description(), |svg| {
            self.frame(svg, &x, &y);
            self.ideal(svg, &x, &y);
            let count = self.lines.len() as f64;
            let each = ASIDE.min(ASIDE_ALL / count);
            for (index, of) in self.lines.iter().enumerate() {
                let aside = (index as f64 - (count - 1.0) / 2.0) * each;
                svg.element("g", &[("class", &colour(of.style))], |svg| {
                    self.curve(svg, of, &|threads| x.at(threads.into()) + aside, &y)
                });
            }
        });
    }

    fn points(&self) -> impl Iterator<Item = (u32, Spread)> {
        self.lines.iter().flat_map(|line| line.points.iter().copied())
    }

    fn across(&self) -> Axis {
        let least = self.points().map(|(threads, _)| threads).min().unwrap_or(1);
        let most = self.points().map(|(threads, _)| threads).max().unwrap_or(1);
        let places = (LEFT + INSET, RIGHT - INSET);
        let (least, most) = if least == most { (least.div_ceil(2), most.saturating_mul(2)) } else { (least, most) };
        let kind = if most > LINEAR_THREADS_MAX { Kind::Octaves } else { Kind::Linear };
        Axis::new(kind, (least.into(), most.into()), places)
    }

    fn upwards(&self) -> Axis {
        let places = (BOTTOM, TOP);
        let least = self.points().map(|(_, spread)| spread.median).fold(f64::INFINITY, f64::min);
        let most = self.points().map(|(_, spread)| spread.median).fold(0.0, f64::max);
        let highest = self.points().map(|(_, spread)| spread.most).fold(most, f64::max).min(most * WHISKER_MAX);
        let threads = self.points().map(|(threads, _)| f64::from(threads)).fold(1.0, f64::max);
        let is_wide = most > least * LINEAR_FACTOR_MAX;
        match self.ideal {
            // Both axes alike, so that the ideal is a straight line.
            Ideal::Threads if threads > f64::from(LINEAR_THREADS_MAX) => {
                Axis::new(Kind::Octaves, (least.min(1.0), highest.max(threads) * 1.1), places)
            }
            Ideal::Threads => Axis::new(Kind::Linear, (0.0, highest.max(threads) * 1.06), places),
            Ideal::Whole => Axis::new(Kind::Linear, (0.0, highest.max(1.0) * 1.06), places),
            Ideal::Unknown if is_wide => {
                let lowest = self.points().map(|(_, spread)| spread.least).fold(least, f64::min).max(least / WHISKER_MAX);
                Axis::new(Kind::Decades, (lowest / 1.2, highest * 1.2), places)
            }
            Ideal::Unknown => Axis::new(Kind::Linear, (0.0, highest * 1.08), places),
        }
    }

    fn frame(&self, svg: &mut Markup, x: &Axis, y: &Axis) {
        let is_log = y.is_logarithmic();
        for tick in y.ticks(7) {
            let place = y.at(tick);
            line(svg, "grid", (LEFT, place), (RIGHT, place));
            let unit_of = if is_log { tick } else { y.most() };
            text(svg, "tick end", (LEFT - 6.0, place + 4.0), self.measure.tick(tick, unit_of));
        }
        line(svg, "base", (LEFT, BOTTOM), (RIGHT, BOTTOM));
        let (count, is_short) = if x.most() < SHORT { (8, true) } else { (5, false) };
        for tick in x.ticks(count).into_iter().filter(|tick| tick.fract() == 0.0) {
            line(svg, "base", (x.at(tick), BOTTOM), (x.at(tick), BOTTOM + 4.0));
            text(
                svg,
                "tick middle",
                (x.at(tick), BOTTOM + 17.0),
                if is_short { thousands(&format!("{tick:.0}")) } else { Measure::Count.tick(tick, tick) },
            );
        }
        text(svg, "tick middle", ((LEFT + RIGHT) / 2.0, HEIGHT - 5.0), "threads");
    }

    fn ideal(&self, svg: &mut Markup, x: &Axis, y: &Axis) {
        let (from, to) = (x.least(), x.most());
        match self.ideal {
            Ideal::Unknown => {}
            Ideal::Threads => line(svg, "ideal", (x.at(from), y.at(from)), (x.at(to), y.at(to))),
            Ideal::Whole => line(svg, "ideal", (LEFT, y.at(1.0)), (RIGHT, y.at(1.0))),
        }
    }

    fn curve(&self, svg: &mut Markup, of: &Line, x: &dyn Fn(u32) -> f64, y: &Axis) {
        let points: Vec<(f64, f64)> = of.points.iter().map(|(threads, spread)| (x(*threads), y.at(spread.median))).collect();
        if points.len() > 1 {
            let path = points.iter().map(|(x, y)| format!("{},{}", At(*x), At(*y))).collect::<Vec<_>>().join(" ");
            let class = if of.is_reference { "curve dashed" } else { "curve" };
            svg.element("polyline", &[("class", &class), ("points", &path)], |_| ());
        }
        for ((threads, spread), (x, place)) in of.points.iter().zip(points) {
            svg.element("g", &[], |svg| {
                svg.leaf("title", &[], format!("{}: {}", of.name, self.told(*threads, spread)));
                let (low, high) = (y.at(spread.least), y.at(spread.most));
                line(svg, "whisker", (x, low), (x, high));
                for (end, value) in [(low, spread.least), (high, spread.most)] {
                    // One that goes on beyond the frame has no end there.
                    if y.holds(value) {
                        line(svg, "whisker", (x - 3.0, end), (x + 3.0, end));
                    }
                }
                mark(svg, of.style, of.is_reference, (x, place));
            });
        }
    }

    fn told(&self, threads: u32, spread: &Spread) -> String {
        let [median, least, most] = [spread.median, spread.least, spread.most].map(|value| self.measure.tell(value));
        format!("{}, {median} ({least} to {most})", some(threads, "thread"))
    }

    fn description(&self) -> String {
        let mut left = TOLD_MAX;
        let mut told = Vec::new();
        for line in self.lines {
            let points: Vec<_> = line.points.iter().take(left).map(|(threads, spread)| self.told(*threads, spread)).collect();
            left -= points.len();
            told.push(format!("{}: {}.", line.name, points.join("; ")));
        }
        told.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(ideal: Ideal, measure: Measure, points: &[(u32, f64)]) -> String {
        let points = points.iter().map(|(threads, value)| (*threads, Spread::of(&[*value, value * 0.9, value * 1.1]))).collect();
        let line = Line { style: 0, is_reference: false, name: "a <picture>".to_owned(), points };
        let mut markup = Markup::default();
        LineChart { title: "Time", measure, ideal, lines: &[line] }.draw(&mut markup, "id");
        markup.finish()
    }

    /// Texts of a class.
    fn texts(svg: &str, class: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(svg).unwrap();
        let nodes = document.descendants().filter(|node| node.attribute("class") == Some(class));
        nodes.filter_map(|node| node.text()).map(str::to_owned).collect()
    }

    #[test]
    fn few_threads_stand_side_by_side_and_many_by_doublings() {
        let few = drawn(Ideal::Unknown, Measure::Of(crate::Unit::Seconds), &[(1, 0.08), (2, 0.04), (4, 0.02)]);
        assert_eq!(texts(&few, "tick middle"), ["1", "2", "3", "4", "threads"]);
        assert_eq!(texts(&few, "tick end"), ["0", "20 ms", "40 ms", "60 ms", "80 ms"]);
        let many = drawn(Ideal::Threads, Measure::Times, &[(1, 1.0), (2, 2.0), (64, 60.0)]);
        assert_eq!(texts(&many, "tick middle"), ["1", "2", "4", "8", "16", "32", "64", "threads"]);
        assert_eq!(texts(&many, "tick end"), ["1×", "2×", "4×", "8×", "16×", "32×", "64×"]);
    }

    #[test]
    fn what_there_is_is_told_to_those_who_do_not_see_it() {
        let svg = drawn(Ideal::Whole, Measure::Share, &[(1, 1.0), (2, 0.9)]);
        let document = roxmltree::Document::parse(&svg).unwrap();
        assert_eq!(document.root_element().attribute("role"), Some("img"));
        let told = document.descendants().find(|node| node.has_tag_name("desc")).unwrap().text().unwrap();
        assert_eq!(told, "a <picture>: 1 thread, 100 % (90.0 % to 110 %); 2 threads, 90.0 % (81.0 % to 99.0 %).");
    }

    #[test]
    fn one_point_and_none_and_absurd_ones_are_drawn_within_the_frame() {
        let absurd = [(1, f64::MIN_POSITIVE), (7, f64::MAX), (u32::MAX, f64::NAN), (u32::MAX, f64::INFINITY), (3, 0.0)];
        for points in [&[][..], &[(64, 1.0)], &[(1, 1e-300)], &absurd] {
            for ideal in [Ideal::Unknown, Ideal::Threads, Ideal::Whole] {
                let svg = drawn(ideal, Measure::Times, points);
                let document = roxmltree::Document::parse(&svg).unwrap();
                for node in document.descendants().filter(|node| node.has_tag_name("line")) {
                    for attribute in ["x1", "x2", "y1", "y2"] {
                        let place: f64 = node.attribute(attribute).unwrap().parse().unwrap();
                        assert!((0.0..=WIDTH).contains(&place), "{attribute} = {place} of {points:?}");
                    }
                }
            }
        }
    }
}
