//! Numbers as people read them: three significant digits, and the unit that suits them.

use crate::Unit;

/// In the place of a number that there is not.
pub(crate) const NONE: &str = "–";

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// What samples count.
    Of(Unit),
    /// How many times as fast.
    Times,
    /// A part of the whole, of which 1 is all.
    Share,
    /// Things, such as iterations.
    Count,
    /// Bytes of a result.
    Bytes,
    /// Bytes of memory, which are told in powers of two.
    Memory,
}

/// A unit, and from which number on it suits.
struct Step {
    from: f64,
    /// How many of what is counted it is.
    size: f64,
    name: &'static str,
}

const fn step(from: f64, size: f64, name: &'static str) -> Step {
    Step { from, size, name }
}

const SECONDS: [Step; 7] = [
    step(0.0, 1e-9, " ns"),
    step(1e-6, 1e-6, " µs"),
    step(1e-3, 1e-3, " ms"),
    step(1.0, 1.0, " s"),
    step(120.0, 60.0, " min"),
    step(7200.0, 3600.0, " h"),
    step(172_800.0, 86_400.0, " d"),
];
const BYTES: [Step; 5] =
    [step(0.0, 1.0, " B"), step(1e3, 1e3, " kB"), step(1e6, 1e6, " MB"), step(1e9, 1e9, " GB"), step(1e12, 1e12, " TB")];
const RATE: [Step; 5] = [
    step(0.0, 1.0, " B/s"),
    step(1e3, 1e3, " kB/s"),
    step(1e6, 1e6, " MB/s"),
    step(1e9, 1e9, " GB/s"),
    step(1e12, 1e12, " TB/s"),
];
const MEMORY: [Step; 4] = [
    step(0.0, 1.0, " B"),
    step(1_048_576.0, 1_048_576.0, " MiB"),
    step(1_073_741_824.0, 1_073_741_824.0, " GiB"),
    step(1_099_511_627_776.0, 1_099_511_627_776.0, " TiB"),
];
const COUNT: [Step; 7] = [
    step(0.0, 1.0, ""),
    step(1e4, 1e3, " k"),
    step(1e6, 1e6, " M"),
    step(1e9, 1e9, " G"),
    step(1e12, 1e12, " T"),
    step(1e15, 1e15, " P"),
    step(1e18, 1e18, " E"),
];
const ONES: [Step; 1] = [step(0.0, 1.0, "")];
const TIMES: [Step; 1] = [step(0.0, 1.0, "×")];
const PERCENT: [Step; 1] = [step(0.0, 0.01, " %")];

impl Measure {
    /// A number with its unit; a dash for what is no number.
    pub(crate) fn tell(self, value: f64) -> String {
        let cell = self.cell(value);
        if cell == NONE { cell } else { format!("{cell}{}", self.suffix()) }
    }

    /// The same for a column that says what all of it counts, as [`Measure::per`] does.
    pub(crate) fn cell(self, value: f64) -> String {
        let number = value * self.base();
        let Some(rounded) = rounded(number) else { return NONE.to_owned() };
        // Rounding leads up to the next unit and never down from one: 1 GiB is no 1,020 MiB.
        let step = suited(self.steps(), rounded.max(number));
        // A thing has no parts.
        let is_whole = matches!(self, Self::Count | Self::Bytes) && value < 1000.0;
        let told = if is_whole { format!("{value:.0}") } else { digits(number / step.size) };
        format!("{told}{}", step.name)
    }

    /// What cells leave out.
    pub(crate) fn per(self) -> Option<&'static str> {
        match self {
            Self::Of(Unit::MicrosecondsPerBand) => Some("time for each band"),
            Self::Of(Unit::BandsPerSecond) => Some("bands a second"),
            _ => None,
        }
    }

    /// A number at an axis of which `most` is the end: short, and all in one unit.
    pub(crate) fn tick(self, value: f64, most: f64) -> String {
        let number = value * self.base();
        let Some(most) = rounded(most * self.base()).filter(|_| number != 0.0) else { return "0".to_owned() };
        let steps = if self == Self::Of(Unit::BandsPerSecond) { &COUNT[..] } else { self.steps() };
        let step = suited(steps, most);
        let number = number / step.size;
        let nearest = number.round();
        let is_whole = (number - nearest).abs() < 1e-9 * number.abs();
        let short = match number.abs() {
            1e-3..1e5 if is_whole => thousands(&format!("{nearest:.0}")),
            1e-3..1e5 => digits(number).trim_end_matches('0').trim_end_matches('.').to_owned(),
            _ => format!("{number:.0e}"),
        };
        format!("{short}{}", step.name)
    }

    fn steps(self) -> &'static [Step] {
        match self {
            Self::Of(Unit::Seconds | Unit::MicrosecondsPerBand) => &SECONDS,
            Self::Of(Unit::BytesPerSecond) => &RATE,
            Self::Bytes => &BYTES,
            Self::Of(Unit::BandsPerSecond) => &ONES,
            Self::Memory => &MEMORY,
            Self::Times => &TIMES,
            Self::Share => &PERCENT,
            Self::Count => &COUNT,
        }
    }

    fn base(self) -> f64 {
        if self == Self::Of(Unit::MicrosecondsPerBand) { 1e-6 } else { 1.0 }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Of(Unit::MicrosecondsPerBand) => "/band",
            Self::Of(Unit::BandsPerSecond) => " bands/s",
            _ => "",
        }
    }
}

/// Three significant digits of a number that is one.
fn rounded(value: f64) -> Option<f64> {
    let rounded = format!("{value:.2e}").parse().ok().filter(|rounded: &f64| rounded.is_finite());
    rounded.or_else(|| value.is_finite().then_some(value))
}

/// The last step that is not too large; there is a first.
fn suited(steps: &[Step], value: f64) -> &Step {
    steps.iter().rev().find(|step| value.abs() >= step.from).unwrap_or(&steps[0])
}

/// Three significant digits, thousands apart; as a power of ten where that would be a long row of zeros.
fn digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let power = format!("{value:.2e}");
    let Some(exponent) = power.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok()) else { return power };
    match exponent {
        -3..=-1 => format!("{value:.*}", usize::try_from(2 - exponent).unwrap_or(0)),
        0..=2 => format!("{value:.*}", usize::try_from(2 - exponent).unwrap_or(0)),
        3..=14 => thousands(&format!("{:.0}", rounded(value).unwrap_or(value))),
        _ => power,
    }
}

/// A whole number with a comma before every three digits.
pub(crate) fn thousands(whole: &str) -> String {
    let lead = whole.len() % 3;
    let parts = whole.char_indices().map(|(i, c)| if i > 0 && i % 3 == lead { format!(",{c}") } else { c.to_string() });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Measure = Measure::Of(Unit::Seconds);

    #[test]
    fn three_digits_count_and_the_unit_suits_what_is_left_after_rounding() {
        let told = [0.0805, 0.9996, 0.000_999_6, 1.0, 81.25, 119.96, 5400.0, 400_000.0, 3.2e-8].map(|value| TIME.tell(value));
        assert_eq!(told, ["80.5 ms", "1.00 s", "1.00 ms", "1.00 s", "81.2 s", "2.00 min", "90.0 min", "4.63 d", "32.0 ns"]);
    }

    #[test]
    fn every_measure_has_its_units() {
        assert_eq!(Measure::Of(Unit::MicrosecondsPerBand).tell(12.34), "12.3 µs/band");
        assert_eq!(Measure::Of(Unit::MicrosecondsPerBand).tell(0.5), "500 ns/band");
        assert_eq!(Measure::Of(Unit::BandsPerSecond).tell(81_234.0), "81,200 bands/s");
        assert_eq!(Measure::Of(Unit::BytesPerSecond).tell(1.234e9), "1.23 GB/s");
        assert_eq!(Measure::Times.tell(1.931), "1.93×");
        assert_eq!([1.0, 0.9654, 0.0123].map(|share| Measure::Share.tell(share)), ["100 %", "96.5 %", "1.23 %"]);
        assert_eq!([7.0, 93e6, u64::MAX as f64].map(|count| Measure::Count.tell(count)), ["7", "93.0 M", "18.4 E"]);
        assert_eq!([16_777_216_000.0, 1_073_741_824.0].map(|bytes| Measure::Memory.tell(bytes)), ["15.6 GiB", "1.00 GiB"]);
    }

    #[test]
    fn numbers_beyond_all_units_are_short_too() {
        assert_eq!([1e-15, 0.0, f64::NAN, f64::INFINITY].map(|value| TIME.tell(value)), ["1.00e-6 ns", "0 ns", "–", "–"]);
        assert_eq!(TIME.tell(1e300), "1.16e295 d");
        assert_eq!(Measure::Of(Unit::BandsPerSecond).tell(f64::MAX), "1.80e308 bands/s");
    }

    #[test]
    fn ticks_of_one_axis_have_one_unit_and_no_needless_zeros() {
        assert_eq!([0.0, 0.02, 0.1].map(|value| TIME.tick(value, 0.1)), ["0", "20 ms", "100 ms"]);
        assert_eq!([0.5, 1.5].map(|value| TIME.tick(value, 1.5)), ["0.5 s", "1.5 s"]);
        assert_eq!([20_000.0, 80_000.0].map(|value| Measure::Of(Unit::BandsPerSecond).tick(value, 80_000.0)), ["20 k", "80 k"]);
        assert_eq!(Measure::Of(Unit::BytesPerSecond).tick(5e8, 1e9), "0.5 GB/s");
        assert_eq!(
            [64.0, 1024.0, 65_536.0, 1e20].map(|value| Measure::Times.tick(value, value)),
            ["64×", "1,024×", "65,536×", "1e20×"]
        );
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(["1", "999", "1000", "1234567"].map(thousands), ["1", "999", "1,000", "1,234,567"]);
    }
}
