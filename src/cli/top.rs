//! The options of `top`.

use std::time::Duration;

use clap::Args;

use super::{ReachArgs, seconds};

/// The shortest pause between two looks.
const EVERY_MIN: Duration = Duration::from_millis(100);
/// The longest.
const EVERY_MAX: Duration = Duration::from_secs(3600);

const TOP_HELP: &str = "\
Keys: q quits, p pauses, s sorts the workers by another column, Tab goes to the next table, arrows scroll, j tells what happened
to the bands of the selected job, ? explains. A broker that goes away is looked for until it is back.

Examples:
  fractally top --broker tcp://127.0.0.1:5555
  fractally top --once | grep WORKERS";

/// Options of `top`.
#[derive(Debug, Args)]
#[command(after_help = TOP_HELP)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    /// Seconds between two looks at the broker, 0.1 to 3600. Rates are what has been done between looks.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = every)]
    pub(crate) every: Duration,
    /// Look twice, print one frame of everything as plain text, and leave. So it is as well where stdout is no terminal. The frame is as
    /// wide as the terminal or COLUMNS says, else 120 columns.
    #[arg(long)]
    pub(crate) once: bool,
}

fn every(text: &str) -> Result<Duration, String> {
    let every = seconds(text).ok().filter(|every| (EVERY_MIN..=EVERY_MAX).contains(every));
    every
        .ok_or_else(|| format!("{text:?} is not a number of seconds from {} to {}", EVERY_MIN.as_secs_f64(), EVERY_MAX.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_neither_too_many_nor_too_few() {
        assert_eq!(every("0.1"), Ok(EVERY_MIN));
        assert_eq!(every("3600"), Ok(EVERY_MAX));
        for text in ["0", "0.09", "3601", "-1", "nan", "soon"] {
            assert!(every(text).unwrap_err().contains("from 0.1 to 3600"), "{text}");
        }
    }
}
