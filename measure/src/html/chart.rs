//! What all charts share: their size, their frame, marks of several curves, whiskers, and places as short texts.

use std::fmt::{self, Display};

use super::markup::{Attributes, Markup};

/// Width of every chart, in its own units: what a small phone shows one to one, and a large screen somewhat larger.
pub(crate) const WIDTH: f64 = 360.0;
/// Curves that can be told apart in one chart; `style.css` has as many colours.
pub(crate) const STYLES: usize = 6;

/// A place, as a text of at most one decimal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(pub(crate) f64);

impl Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() / 10.0;
        write!(f, "{}", if tenths == 0.0 { 0.0 } else { tenths })
    }
}

/// A chart that readers of screens can tell: a title, a description, and what `inside` draws. `id` is unique within the page.
pub(crate) fn drawing(
    markup: &mut Markup,
    id: &str,
    height: f64,
    title: &str,
    description: &str,
    inside: impl FnOnce(&mut Markup),
) {
    let (title_id, description_id) = (format!("{id}-title"), format!("{id}-desc"));
    let attributes: Attributes<'_> = &[
        ("class", &"chart"),
        ("viewBox", &format!("0 0 {WIDTH} {}", At(height))),
        ("role", &"img"),
        ("aria-labelledby", &title_id),
        ("aria-describedby", &description_id),
    ];
    markup.element("svg", attributes, |svg| {
        svg.leaf("title", &[("id", &title_id)], title);
        svg.leaf("desc", &[("id", &description_id)], description);
        inside(svg);
    });
}

/// A straight line of a class.
pub(crate) fn line(svg: &mut Markup, class: &str, from: (f64, f64), to: (f64, f64)) {
    svg.element(
        "line",
        &[("class", &class), ("x1", &At(from.0)), ("y1", &At(from.1)), ("x2", &At(to.0)), ("y2", &At(to.1))],
        |_| (),
    );
}

/// A text that begins, ends or has its middle at a place, as its class says.
pub(crate) fn text(svg: &mut Markup, class: &str, (x, y): (f64, f64), text: impl Display) {
    svg.leaf("text", &[("class", &class), ("x", &At(x)), ("y", &At(y))], text);
}

/// The class of a curve's colour.
pub(crate) fn colour(style: usize) -> String {
    format!("c{}", style % STYLES)
}

/// The mark of a curve: forms differ as colours do, for those who do not see these.
pub(crate) fn mark(svg: &mut Markup, style: usize, is_hollow: bool, (x, y): (f64, f64)) {
    let class = if is_hollow { "mark hollow" } else { "mark" };
    let mut path = |corners: &[(f64, f64)]| {
        let corners = corners.iter().map(|(dx, dy)| format!("{},{}", At(x + dx), At(y + dy))).collect::<Vec<_>>();
        svg.element("polygon", &[("class", &class), ("points", &corners.join(" "))], |_| ());
    };
    match style % STYLES {
        0 => svg.element("circle", &[("class", &class), ("cx", &At(x)), ("cy", &At(y)), ("r", &"3.5")], |_| ()),
        1 => path(&[(-3.2, -3.2), (3.2, -3.2), (3.2, 3.2), (-3.2, 3.2)]),
        2 => path(&[(0.0, -4.6), (4.6, 0.0), (0.0, 4.6), (-4.6, 0.0)]),
        3 => path(&[(0.0, -4.4), (4.2, 3.2), (-4.2, 3.2)]),
        4 => path(&[(0.0, 4.4), (4.2, -3.2), (-4.2, -3.2)]),
        _ => path(&[
            (-1.4, -4.2),
            (1.4, -4.2),
            (1.4, -1.4),
            (4.2, -1.4),
            (4.2, 1.4),
            (1.4, 1.4),
            (1.4, 4.2),
            (-1.4, 4.2),
            (-1.4, 1.4),
            (-4.2, 1.4),
            (-4.2, -1.4),
            (-1.4, -1.4),
        ]),
    }
}

/// The sign of a curve in a legend: a piece of its line with a mark.
pub(crate) fn sign(markup: &mut Markup, style: usize, is_hollow: bool) {
    markup.element(
        "svg",
        &[("class", &format!("sign {}", colour(style))), ("viewBox", &"0 0 28 12"), ("aria-hidden", &"true")],
        |svg| {
            line(svg, if is_hollow { "curve dashed" } else { "curve" }, (1.0, 6.0), (27.0, 6.0));
            mark(svg, style, is_hollow, (14.0, 6.0));
        },
    );
}

/// The sign of what would be if nothing were lost.
pub(crate) fn ideal_sign(markup: &mut Markup) {
    markup.element("svg", &[("class", &"sign"), ("viewBox", &"0 0 28 12"), ("aria-hidden", &"true")], |svg| {
        line(svg, "ideal", (1.0, 6.0), (27.0, 6.0));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_short() {
        assert_eq!([0.0, -0.01, 12.34, 100.0].map(|place| At(place).to_string()), ["0", "0", "12.3", "100"]);
    }
}
