//! A run as one page that needs nothing else: no script, no font, no picture from elsewhere.
//!
//! Read next: `html/markup.rs` (why nothing that a peer wrote becomes more than text), `html/series.rs` (a section),
//! `html/lines.rs` and `html/bars.rs` (charts), `html/axis.rs` (ticks), `html/style.css`.

mod axis;
mod bars;
mod chart;
mod headline;
mod lines;
mod markup;
mod series;

use markup::Markup;
use series::{is_narrow, series};

use crate::{
    Run,
    facts::{began, busy, facts, kinds, machine},
    group::{Group, groups},
    text::some,
};

const STYLE: &str = include_str!("html/style.css");
/// What the page may load: nothing, but for the styles within it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const SPEED_UP: &str = "Iterations a second, over those of one thread; where none was measured alone, over those of the smallest \
    grid, divided by its threads.";

/// What a run found, as a page: headline figures, charts with all figures below them, and what it was measured with. It stands
/// alone, in one file, and is well-formed XML after its first line. Everything that the run says is text in it, whoever wrote it.
pub fn html(run: &Run) -> String {
    let mut page = Markup::default();
    page.constant("<!doctype html>");
    page.element("html", &[("lang", &"en")], |html| {
        html.element("head", &[], |head| {
            head.void("meta", &[("charset", &"utf-8")]);
            head.void("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &POLICY)]);
            head.void("meta", &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")]);
            head.void("meta", &[("name", &"color-scheme"), ("content", &"light dark")]);
            head.leaf("title", &[], format!("Benchmark of {}, {}", run.program, began(run)));
            head.element("style", &[], |style| style.constant(STYLE));
        });
        html.element("body", &[], |body| self::body(body, run));
    });
    let mut page = page.finish();
    page.push('\n');
    page
}

fn body(body: &mut Markup, run: &Run) {
    let groups = groups(&run.records);
    body.element("header", &[], |header| {
        header.leaf("h1", &[], format!("Benchmark of {}", run.program));
        header.leaf("p", &[("class", &"lead")], format!("{}. {}", machine(run), began(run)));
    });
    body.element("main", &[], |main| {
        if let Some(warning) = busy(run) {
            main.leaf("p", &[("class", &"warning"), ("role", &"note")], warning);
        }
        headlines(main, &groups);
        with_what(main, run);
        if groups.is_empty() {
            main.leaf("p", &[], "Nothing was measured.");
        }
        let all: Vec<&[Group]> = groups.chunk_by(|a, b| a.series == b.series).collect();
        for neighbours in all.chunk_by(|a, b| is_narrow(a) && is_narrow(b)) {
            let class = if is_narrow(neighbours[0]) { "beside" } else { "" };
            main.element("div", &[("class", &class)], |div| neighbours.iter().for_each(|groups| series(div, groups)));
        }
        how_to_read(main, &groups);
    });
}

fn headlines(main: &mut Markup, groups: &[Group]) {
    let headlines = headline::headlines(groups);
    if headlines.is_empty() {
        return;
    }
    main.element("ul", &[("class", &"headlines"), ("aria-label", &"Headline figures")], |list| {
        for headline in headlines {
            list.element("li", &[], |item| {
                item.leaf("span", &[("class", &"label")], headline.label);
                item.element("strong", &[], |strong| {
                    // The number is what one looks for.
                    let (number, unit) = headline.figure.split_once(' ').unwrap_or((&headline.figure, ""));
                    strong.text(number);
                    strong.leaf("small", &[], unit);
                });
                item.leaf("span", &[], headline.meaning);
                item.leaf("span", &[("class", &"soft")], headline.what);
            });
        }
    });
}

/// Where, when and with what it was measured.
fn with_what(main: &mut Markup, run: &Run) {
    main.element("section", &[("aria-labelledby", &"with")], |section| {
        section.leaf("h2", &[("id", &"with")], "Measured with");
        section.element("dl", &[], |list| {
            // The header has the others.
            for (name, text) in facts(run).into_iter().filter(|(name, _)| !["began", "program", "machine"].contains(name)) {
                list.leaf("dt", &[], name);
                let class = if name == "command" { "code" } else { "" };
                list.leaf("dd", &[("class", &class)], text);
            }
        });
        if run.workers.len() > 1 {
            section.element("details", &[], |details| {
                details.leaf("summary", &[], format!("All {} workers", run.workers.len()));
                // Workers of one kind stand together, and the page stays short where there are many.
                for (_, kind) in kinds(&run.workers) {
                    let same = run.workers.iter().filter(|other| {
                        (&other.kernel, other.threads, &other.engine) == (&kind.kernel, kind.threads, &kind.engine)
                    });
                    let threads = some(kind.threads, "thread");
                    details.leaf("h3", &[], format!("{}, {threads}, engine {}", kind.kernel, kind.engine));
                    details.element("ul", &[("class", &"names")], |names| {
                        same.for_each(|worker| names.leaf("li", &[], &worker.name))
                    });
                }
            });
        }
    });
}

fn how_to_read(main: &mut Markup, groups: &[Group]) {
    let scales = groups.iter().any(Group::scales);
    let has_p99 = groups.iter().flat_map(|group| &group.rows).any(|row| row.p99.is_some());
    let mut words = vec![(
        "median",
        "Half of the samples are at most this. Bars and points stand at it, and whiskers go from the least to the most.",
    )];
    if has_p99 {
        words.push(("p99", "One sample of a hundred is more than this. Whiskers of bars end there, where it is told."));
    }
    if scales {
        words.push(("speed-up", SPEED_UP));
        words.push(("efficiency", "Speed-up over the number of threads. It is 100 % where nothing is lost."));
    }
    if groups.iter().any(Group::is_reference) {
        words.push(("of threads", "The time of as many threads of one process, without a grid, over the time of the grid."));
    }
    main.element("section", &[("aria-labelledby", &"words")], |section| {
        section.leaf("h2", &[("id", &"words")], "How to read it");
        section.element("dl", &[], |list| {
            for (word, meaning) in words {
                list.leaf("dt", &[], word);
                list.leaf("dd", &[], meaning);
            }
        });
        section.leaf(
            "p",
            &[("class", &"soft")],
            "Every sample stands in the run's JSON; fractally bench report RUN.json --csv FILE writes them for a data frame.",
        );
    });
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::{chart::STYLES, *};
    use crate::{
        ON_THREADS, Record, Series, Unit,
        fixture::{HOSTILE, member, record, run},
        text::harmless,
    };

    /// The page after its declaration, which is HTML's and not XML's.
    fn parsed(page: &str) -> Document<'_> {
        Document::parse(page.strip_prefix("<!doctype html>").unwrap()).unwrap()
    }

    fn elements<'a>(document: &'a Document<'_>, name: &str) -> Vec<Node<'a, 'a>> {
        document.descendants().filter(|node| node.has_tag_name(name)).collect()
    }

    fn everything() -> Run {
        let overhead =
            |credit, unit, value| Record { credit: Some(credit), unit, ..record(Series::Overhead, "bands", 2, &[value]) };
        run(vec![
            record(Series::Strong, "a picture", 1, &[1.0, 1.1]),
            record(Series::Strong, "a picture", 2, &[0.52, 0.51]),
            record(Series::Strong, &format!("a picture{ON_THREADS}"), 2, &[0.5]),
            record(Series::Weak, "a picture", 1, &[1.0]),
            record(Series::Weak, "a picture", 2, &[1.1]),
            overhead(1, Unit::BandsPerSecond, 40_000.0),
            overhead(8, Unit::BandsPerSecond, 80_000.0),
            overhead(1, Unit::MicrosecondsPerBand, 25.0),
            record(Series::Latency, "idle", 2, &[0.001; 200]),
            record(Series::Latency, "beside a batch job", 2, &[0.003; 200]),
            Record { unit: Unit::BytesPerSecond, work: Some(400_000_000), ..record(Series::Payload, "counts", 2, &[1e9]) },
            record(Series::Start, "to the first pixel", 2, &[0.2]),
        ])
    }

    #[test]
    fn a_page_has_every_series_with_charts_and_all_figures_below_them() {
        let page = html(&everything());
        let document = parsed(&page);
        let sections: Vec<_> =
            elements(&document, "section").iter().filter_map(|node| node.attribute("aria-labelledby")).collect();
        assert_eq!(sections, ["with", "strong", "weak", "overhead", "latency", "payload", "start", "words"]);
        let titles: Vec<_> = elements(&document, "figcaption").iter().filter_map(Node::text).collect();
        assert_eq!(
            titles,
            [
                "Time",
                "Speed-up",
                "Efficiency",
                "Time",
                "Speed-up",
                "Efficiency",
                "bands",
                "Time for each band",
                "Time",
                "Bytes a second",
                "Time"
            ]
        );
        let charts: Vec<_> =
            elements(&document, "svg").into_iter().filter(|node| node.attribute("role") == Some("img")).collect();
        assert_eq!(charts.len(), titles.len());
        for chart in charts {
            let described = |attribute| {
                elements(&document, if attribute == "aria-labelledby" { "title" } else { "desc" }).into_iter().any(|node| {
                    node.parent() == Some(chart) && node.attribute("id") == chart.attribute(attribute) && node.text().is_some()
                })
            };
            assert!(described("aria-labelledby") && described("aria-describedby"));
        }
        assert_eq!(elements(&document, "table").len(), 9);
        let cells: Vec<_> = elements(&document, "td").iter().filter_map(Node::text).collect();
        for figure in ["1.05 s", "2.04×", "102 %", "97.1 %", "80,000", "25.0 µs", "1.00 GB/s"] {
            assert!(cells.contains(&figure), "{figure} is in {cells:?}");
        }
        assert!(elements(&document, "th").iter().all(|node| matches!(node.attribute("scope"), Some("row" | "col"))));
    }

    #[test]
    fn ids_are_unique_and_all_that_is_referred_to_is_there() {
        let page = html(&everything());
        let document = parsed(&page);
        let mut ids: Vec<_> = document.descendants().filter_map(|node| node.attribute("id")).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for attribute in ["aria-labelledby", "aria-describedby"] {
            assert!(document.descendants().filter_map(|node| node.attribute(attribute)).all(|id| ids.contains(&id)));
        }
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_may_load_nothing() {
        let page = html(&everything());
        let document = parsed(&page);
        for word in ["://", "url(", "@import", "<script", "javascript:"] {
            assert!(!page.contains(word), "{word}");
        }
        for attribute in ["src", "href", "style", "action", "onload", "onclick"] {
            assert!(document.descendants().all(|node| node.attribute(attribute).is_none()), "{attribute}");
        }
        assert!(page.contains("default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;"));
    }

    #[test]
    fn texts_of_others_are_texts() {
        let plain = html(&everything());
        let mut hostile = everything();
        hostile.workers = HOSTILE.map(member).to_vec();
        for (index, hostile_text) in HOSTILE.into_iter().enumerate() {
            hostile.records[index * 2].what = hostile_text.to_owned();
            hostile.workers[index].kernel = hostile_text.to_owned();
        }
        let texts =
            [&mut hostile.program, &mut hostile.engine, &mut hostile.command, &mut hostile.started, &mut hostile.host.name];
        texts.into_iter().zip(HOSTILE).for_each(|(text, hostile)| *text = hostile.to_owned());
        hostile.host.system = HOSTILE[0].to_owned();
        hostile.host.processor = HOSTILE[1].to_owned();

        let page = html(&hostile);
        let names = |page: &str| {
            let mut names: Vec<_> =
                parsed(page).descendants().filter(Node::is_element).map(|node| node.tag_name().name().to_owned()).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        // The names of workers are the only elements that the first page does not have.
        let allowed: Vec<_> = names(&plain).into_iter().chain(["details", "summary", "h3"].map(str::to_owned)).collect();
        assert!(names(&page).iter().all(|name| allowed.contains(name)), "{:?}", names(&page));
        let document = parsed(&page);
        assert!(document.descendants().flat_map(|node| node.attributes()).all(|attribute| !attribute.name().starts_with("on")));
        let told: Vec<_> = elements(&document, "li").iter().filter_map(Node::text).collect();
        assert!(HOSTILE.iter().all(|name| told.contains(&&*harmless(name))), "{told:?}");
    }

    #[test]
    fn a_page_of_nothing_and_of_one_size_says_what_is_missing() {
        let nothing = html(&run(Vec::new()));
        assert!(nothing.contains("Nothing was measured.") && elements(&parsed(&nothing), "svg").is_empty());
        let one = html(&run(vec![record(Series::Strong, "a picture", 64, &[1.0])]));
        assert!(one.contains("One size of the grid was measured"));
        assert_eq!(elements(&parsed(&one), "figcaption").len(), 1);
    }

    #[test]
    fn more_curves_than_there_are_colours_are_told_in_several_charts() {
        let curve = |index: usize| [1, 2].map(|threads| record(Series::Strong, &format!("picture {index}"), threads, &[1.0]));
        let page = html(&run((0..=STYLES).flat_map(curve).collect()));
        assert_eq!(elements(&parsed(&page), "figure").len(), 6);
        assert_eq!(elements(&parsed(&page), "table").len(), STYLES + 1);
    }

    #[test]
    fn a_busy_machine_is_told_first() {
        let mut busy = everything();
        busy.host.load_before[0] = 2.0;
        let page = html(&busy);
        assert!(page.find("The machine was busy").unwrap() < page.find("Headline figures").unwrap());
        assert!(!html(&everything()).contains("class=\"warning\""));
    }
}
