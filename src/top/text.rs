//! Numbers and texts as they stand in a narrow column, and pictures made of characters.

use std::time::Duration;

const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A number with three digits and the letter of its thousands, at most 5 characters up to 10^21: `0`, `7.25`, `950`, `12.3k`, `1.92G`.
pub(crate) fn figure(number: f64) -> String {
    let mut rest = if number.is_finite() { number.max(0.0) } else { 0.0 };
    let mut letters = ["", "k", "M", "G", "T", "P", "E"].into_iter();
    let mut letter = letters.next().unwrap_or_default();
    // What is rounded to four digits belongs to the next thousand.
    while rest >= 999.5
        && let Some(next) = letters.next()
    {
        (rest, letter) = (rest / 1000.0, next);
    }
    let digits = match rest {
        0.0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{rest:.digits$}{letter}")
}

/// A number that counts something: exactly below 100,000, then as [`figure`].
pub(crate) fn count(number: u64) -> String {
    if number < 100_000 { number.to_string() } else { figure(number as f64) }
}

/// Bytes with the letter of their 1024s, at most 5 characters and the unit's `B`.
pub(crate) fn bytes(number: f64) -> String {
    let mut rest = if number.is_finite() { number.max(0.0) } else { 0.0 };
    let mut letters = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].into_iter();
    let mut letter = letters.next().unwrap_or_default();
    while rest >= 999.5
        && let Some(next) = letters.next()
    {
        (rest, letter) = (rest / 1024.0, next);
    }
    let digits = usize::from(!letter.is_empty() && rest < 99.95);
    format!("{rest:.digits$}{letter}B")
}

/// A time in at most 6 characters: `950ms`, `9.3s`, `45s`, `3m04s`, `1h02m`, `2d03h`, `120d`.
pub(crate) fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..=9 => format!("{}.{}s", seconds, time.subsec_millis() / 100),
        10..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        86_400..=8_639_999 => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// [`short`], of milliseconds.
pub(crate) fn short_ms(ms: u64) -> String {
    short(Duration::from_millis(ms))
}

/// A share from 0 to 1 as a percentage, rounded down: what is not complete never shows as 100.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 100")]
pub(crate) fn percent(share: f64) -> String {
    format!("{}%", (100.0 * share.clamp(0.0, 1.0) + 1e-9) as u32)
}

/// A share from 0 to 1 as a bar of `width` characters.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 8 times the width")]
pub(crate) fn bar(share: f64, width: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (8 * width) as f64) as usize;
    let part = (eighths % 8).checked_sub(1).map(|index| EIGHTHS[index]);
    let filled = "█".repeat(eighths / 8).chars().chain(part).collect::<String>();
    format!("{filled:width$}")
}

/// The latest of `values` as levels, at most `width` of them, the latest on the right; the highest of them is the full height.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 7")]
pub(crate) fn spark(values: impl DoubleEndedIterator<Item = f64>, width: usize) -> String {
    let mut latest: Vec<f64> = values.rev().take(width).collect();
    latest.reverse();
    let top = latest.iter().copied().fold(0.0, f64::max);
    let level = |value: f64| if top > 0.0 { LEVELS[((value / top * 7.0).round() as usize).min(7)] } else { LEVELS[0] };
    latest.into_iter().map(level).collect()
}

/// `1 job`, `2 jobs`.
pub(crate) fn some(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_fit_their_column() {
        let told = [0.0, 0.004, 7.25, 9.996, 42.0, 999.4, 999.6, 12_345.0, 1.92e9, 9.996e9, f64::NAN, -3.0].map(figure);
        assert_eq!(told, ["0", "0.00", "7.25", "10.0", "42.0", "999", "1.00k", "12.3k", "1.92G", "10.0G", "0", "0"]);
        assert_eq!([0, 99_999, 100_000].map(count), ["0", "99999", "100k"]);
        for exponent in 0..=20 {
            let number = 9.999 * 10f64.powi(exponent);
            assert!(figure(number).chars().count() <= 5, "{}", figure(number));
            assert!(bytes(number).chars().count() <= 7, "{}", bytes(number));
        }
    }

    #[test]
    fn bytes_are_counted_in_1024s() {
        assert_eq!([0.0, 512.0, 1000.0, 1536.0, 3e9].map(bytes), ["0B", "512B", "1.0KiB", "1.5KiB", "2.8GiB"]);
    }

    #[test]
    fn times_have_the_two_units_that_matter() {
        let told = [0, 950, 9399, 45_000, 184_000, 3_720_000, 183_600_000, 10_368_000_000].map(short_ms);
        assert_eq!(told, ["0ms", "950ms", "9.3s", "45s", "3m04s", "1h02m", "2d03h", "120d"]);
        assert!(short_ms(u64::MAX).ends_with('d'));
    }

    #[test]
    fn bars_and_percentages_are_full_only_at_the_end() {
        assert_eq!([0.0, 0.5, 0.999, 1.0, 7.0].map(percent), ["0%", "50%", "99%", "100%", "100%"]);
        assert_eq!([0.0, 0.5, 1.0].map(|share| bar(share, 4)), ["    ", "██  ", "████"]);
        assert_eq!(bar(0.30, 4), "█▏  ");
        assert_eq!(bar(0.5, 0), "");
    }

    #[test]
    fn a_trend_ends_on_the_right_with_the_latest() {
        assert_eq!(spark([9.0, 0.0, 5.0, 10.0].into_iter(), 3), "▁▅█");
        assert_eq!(spark([0.0, 0.0].into_iter(), 3), "▁▁");
        assert_eq!(spark([].into_iter(), 3), "");
    }
}
