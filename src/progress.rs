//! Progress on stderr: a bar where it is a terminal, nothing where it is not.

use std::{io::IsTerminal, time::Duration};

use fractally_client::Event;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::table::harmless;

/// Shows the events of a render.
pub(crate) struct Follow {
    bar: ProgressBar,
}

impl Follow {
    /// A bar of `rows` rows, or a line where nobody knows yet; hidden when `quiet` or when nobody sees it.
    pub(crate) fn new(rows: Option<u32>, quiet: bool) -> Self {
        let is_seen = !quiet && std::io::stderr().is_terminal();
        let target = if is_seen { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
        let follow = Self { bar: ProgressBar::with_draw_target(None, target) };
        follow.bar.set_style(style("{msg}"));
        if let Some(rows) = rows {
            follow.set_rows(rows);
        }
        follow.bar.set_message("waits for the broker");
        follow
    }

    fn set_rows(&self, rows: u32) {
        self.bar.set_length(rows.into());
        self.bar.set_style(style("{bar:32} {percent:>3} %  {pos}/{len} rows  {msg}"));
    }

    /// Shows one event.
    pub(crate) fn on_event(&self, event: &Event) {
        match event {
            Event::Accepted { cached: true, .. } => self.bar.set_message("is there already"),
            Event::Accepted { .. } => self.bar.set_message("waits for a worker"),
            Event::Attached { rows, rows_all, .. } => {
                self.set_rows(*rows_all);
                self.bar.set_message(if rows == rows_all { "is there already" } else { "waits for a worker" });
            }
            Event::Rows { rows } => self.bar.set_position((*rows).into()),
            Event::Progress(progress) if progress.workers_all == 0 => self.bar.set_message("waits for a worker"),
            Event::Progress(progress) => {
                let eta = progress.eta_ms.map_or_else(String::new, |ms| format!("  {} left", human(Duration::from_millis(ms))));
                self.bar.set_message(format!("{} of {} workers{eta}", progress.workers, progress.workers_all));
            }
            Event::Reconnecting { reason } => self.bar.set_message(format!("reconnects: {}", harmless(reason))),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A duration with the units that matter.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..=9 => format!("{:.1} s", duration.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3600 % 24),
    }
}
