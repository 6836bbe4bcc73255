//! What `fractally bench` is at: a bar on a terminal, a line for each series elsewhere.

use std::io::IsTerminal;

use fractally_measure::Series;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit::say;

/// Tells on stderr how far it is.
pub(super) struct Tell {
    bar: ProgressBar,
    has_lines: bool,
}

impl Tell {
    /// Neither bar nor lines when `quiet`; warnings come all the same.
    pub(super) fn new(quiet: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal && !quiet { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{prefix:8} {bar:32} {pos}/{len}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, has_lines: !quiet && !is_terminal }
    }

    /// Something of so many steps begins.
    pub(super) fn begin(&self, series: Series, steps: u32, what: &str) {
        self.bar.reset();
        self.bar.set_length(steps.into());
        self.bar.set_prefix(series.name());
        self.bar.set_message(what.to_owned());
        if self.has_lines {
            say(&format!("{}: {what}", series.name()));
        }
    }

    /// A step is done.
    pub(super) fn step(&self) {
        self.bar.inc(1);
    }

    /// Something that whoever reads the figures should know.
    pub(super) fn warn(&self, text: &str) {
        self.bar.suspend(|| say(&format!("fractally: {text}")));
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
