//! A series as a section: curves or bars, and all figures below them.

use std::collections::HashMap;

use super::{
    bars::{self, BARS_MAX, Bar},
    chart::{self, STYLES},
    lines::{Ideal, Line, LineChart},
    markup::{Attributes, Markup},
};
use crate::{
    ON_THREADS, Spread, Unit,
    figure::Measure,
    group::{Group, Row, Sheet},
    table::title,
};

/// Whether a series is one panel, which others may stand beside.
pub(super) fn is_narrow(groups: &[Group]) -> bool {
    let groups: Vec<&Group> = groups.iter().collect();
    !groups.iter().any(|group| group.scales()) && panels_of(&groups).len() == 1
}

/// The section of a series.
pub(super) fn series(main: &mut Markup, groups: &[Group]) {
    let Some(Group { series, .. }) = groups.first() else { return };
    let id = series.name();
    main.element("section", &[("aria-labelledby", &id)], |section| {
        section.leaf("h2", &[("id", &id)], title(*series));
        let is_curve = |group: &&Group| group.rows.iter().any(|row| row.scaling.is_some());
        let (curves, others): (Vec<&Group>, Vec<&Group>) = groups.iter().partition(is_curve);
        if curves.iter().any(|group| group.scales()) {
            scaling(section, id, &curves);
            panels(section, id, &others);
        } else {
            if !curves.is_empty() {
                let note = "One size of the grid was measured, so there is no speed-up to tell. Measure others, and put \
                    the runs together with fractally bench report.";
                section.leaf("p", &[("class", &"soft")], note);
            }
            panels(section, id, &groups.iter().collect::<Vec<_>>());
        }
    });
}

/// Curves, as many in one set of charts as there are colours, and their tables.
fn scaling(section: &mut Markup, id: &str, groups: &[&Group]) {
    // A curve that others are compared with has the colour of the grid's.
    let places: HashMap<&str, usize> = groups.iter().enumerate().map(|(index, group)| (&*group.what, index)).collect();
    let of_grid = |group: &Group| group.what.strip_suffix(ON_THREADS).and_then(|what| places.get(what).copied());
    let own: Vec<usize> = (0..groups.len()).filter(|index| of_grid(groups[*index]).is_none()).collect();
    for (number, set) in own.chunks(STYLES).enumerate() {
        let style = |index: usize| set.iter().position(|own| *own == of_grid(groups[index]).unwrap_or(index));
        let members: Vec<(usize, &Group)> =
            groups.iter().enumerate().filter_map(|(index, group)| Some((style(index)?, *group))).collect();
        charts(section, &format!("{id}-{number}"), &members);
        section.element("div", &[("class", &"sheets")], |div| members.iter().for_each(|(_, group)| sheet(div, group, true)));
    }
}

fn charts(section: &mut Markup, id: &str, members: &[(usize, &Group)]) {
    let lines = |of: &dyn Fn(&Row) -> Option<Spread>| -> Vec<Line> {
        let line = |(style, group): &(usize, &Group)| Line {
            style: *style,
            is_reference: group.is_reference(),
            name: group.what.clone(),
            points: group.rows.iter().filter_map(|row| Some((row.threads, of(row)?))).collect(),
        };
        members.iter().map(line).filter(|line| !line.points.is_empty()).collect()
    };
    // The best of what is better when it is more comes from the least of the time.
    let scaled = |row: &Row, factor: f64| {
        let Spread { median, least, most } = row.spread;
        Some(Spread { median: factor, least: factor * median / most, most: factor * median / least })
    };
    let time = lines(&|row| Some(row.spread));
    let speed_up = lines(&|row| scaled(row, row.scaling?.speed_up?));
    let efficiency = lines(&|row| scaled(row, row.scaling?.efficiency?));
    section.element("ul", &[("class", &"legend")], |legend| {
        for line in &time {
            legend.element("li", &[], |item| {
                chart::sign(item, line.style, line.is_reference);
                item.leaf("span", &[], &line.name);
            });
        }
        legend.element("li", &[], |item| {
            chart::ideal_sign(item);
            item.text("nothing lost");
        });
    });
    let charts = [
        LineChart { title: "Time", measure: Measure::Of(Unit::Seconds), ideal: Ideal::Unknown, lines: &time },
        LineChart { title: "Speed-up", measure: Measure::Times, ideal: Ideal::Threads, lines: &speed_up },
        LineChart { title: "Efficiency", measure: Measure::Share, ideal: Ideal::Whole, lines: &efficiency },
    ];
    section.element("div", &[("class", &"charts")], |div| {
        for (index, chart) in charts.iter().enumerate() {
            div.element("figure", &[], |figure| {
                figure.leaf("figcaption", &[], chart.title);
                chart.draw(figure, &format!("{id}-{index}"));
            });
        }
    });
}

/// What stands in one chart of bars: a thing that was measured in several ways, or all of a unit that were measured in one.
fn panels_of<'a>(groups: &[&'a Group]) -> Vec<Vec<&'a Group>> {
    let mut panels: Vec<Vec<&Group>> = Vec::new();
    for group in groups {
        let joins = |panel: &&mut Vec<&Group>| panel[0].unit == group.unit && panel[0].rows.len() == 1;
        match panels.iter_mut().find(joins).filter(|_| group.rows.len() == 1) {
            Some(panel) => panel.push(group),
            None => panels.push(vec![group]),
        }
    }
    panels
}

fn panels(section: &mut Markup, id: &str, groups: &[&Group]) {
    section.element("div", &[("class", &"panels")], |div| {
        for (index, panel) in panels_of(groups).iter().enumerate() {
            let title = if panel[0].rows.len() > 1 { &*panel[0].what } else { of_unit(panel[0].unit) };
            let named = |group: &&Group, row: &Row| if group.rows.len() > 1 { group.label(row) } else { group.what.clone() };
            let bars: Vec<Bar> = panel
                .iter()
                .flat_map(|group| {
                    group.rows.iter().map(move |row| Bar {
                        name: named(group, row),
                        spread: row.spread,
                        upper: row.p99.unwrap_or(row.spread.most),
                    })
                })
                .take(BARS_MAX)
                .collect();
            div.element("div", &[("class", &"panel")], |div| {
                div.element("figure", &[], |figure| {
                    figure.leaf("figcaption", &[], title);
                    bars::draw(figure, &format!("{id}-bars-{index}"), title, Measure::Of(panel[0].unit), &bars);
                });
                panel.iter().for_each(|group| sheet(div, group, group.what != title));
            });
        }
    });
}

fn of_unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "Time",
        Unit::MicrosecondsPerBand => "Time for each band",
        Unit::BandsPerSecond => "Bands a second",
        Unit::BytesPerSecond => "Bytes a second",
    }
}

/// All figures of a group, with its name where that is not told above it.
fn sheet(markup: &mut Markup, group: &Group, is_named: bool) {
    let Sheet { notes, heads, rows } = group.sheet();
    // Who has no pointer can scroll it too.
    let attributes: Attributes<'_> =
        &[("class", &"scroll"), ("tabindex", &"0"), ("role", &"region"), ("aria-label", &group.what)];
    markup.element("div", attributes, |div| {
        div.element("table", &[], |table| {
            table.element("caption", &[], |caption| {
                if is_named {
                    caption.leaf("strong", &[], &group.what);
                }
                caption.leaf("span", &[], notes);
            });
            table.element("thead", &[], |head| {
                head.element("tr", &[], |row| heads.iter().for_each(|name| row.leaf("th", &[("scope", &"col")], name)));
            });
            table.element("tbody", &[], |body| {
                for cells in &rows {
                    body.element("tr", &[], |row| {
                        for (index, cell) in cells.iter().enumerate() {
                            if index == 0 { row.leaf("th", &[("scope", &"row")], cell) } else { row.leaf("td", &[], cell) }
                        }
                    });
                }
            });
        });
    });
}
