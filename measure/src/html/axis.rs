//! From numbers to places on paper, and the numbers that stand at an axis.

/// Numbers beyond these are drawn at them: nothing measured comes near, and sums of what lies between are finite.
const LEAST: f64 = 1e-60;
const MOST: f64 = 1e60;

/// How an axis runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Equal steps are equally long.
    Linear,
    /// Equal factors are equally long; ticks at powers of ten and what halves them well.
    Decades,
    /// The same, with ticks at powers of two.
    Octaves,
}

/// An axis: the numbers at its two ends, and the places where they stand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    kind: Kind,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// An axis of `from..=to`, from one place on paper to another. Ends that cannot be are moved apart.
    pub(crate) fn new(kind: Kind, (from, to): (f64, f64), (start, end): (f64, f64)) -> Self {
        let least = if kind == Kind::Linear { 0.0 } else { LEAST };
        let from = finite(from, least);
        let to = finite(to, least);
        let to = if to > from { to } else { (from * 2.0).max(LEAST) };
        Self { kind, from, to, start, end }
    }

    /// The number at its near end.
    pub(crate) fn least(&self) -> f64 {
        self.from
    }

    /// Whether equal factors are equally long at it.
    pub(crate) fn is_logarithmic(&self) -> bool {
        self.kind != Kind::Linear
    }

    /// The number at its far end.
    pub(crate) fn most(&self) -> f64 {
        self.to
    }

    /// Where a number stands; one beyond an end stands there.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = finite(value, self.from).clamp(self.from, self.to);
        let part = match self.kind {
            Kind::Linear => (value - self.from) / (self.to - self.from),
            Kind::Decades | Kind::Octaves => (value / self.from).ln() / (self.to / self.from).ln(),
        };
        self.start + (self.end - self.start) * part
    }

    /// Whether a number lies between the ends.
    pub(crate) fn holds(&self, value: f64) -> bool {
        // A hair beyond an end is rounding.
        let hair = |end: f64| 1e-9 * if self.is_logarithmic() { end } else { self.to - self.from };
        (self.from - hair(self.from)..=self.to + hair(self.to)).contains(&value)
    }

    /// Numbers to write at it, at most about `count`, and at least one.
    pub(crate) fn ticks(&self, count: u32) -> Vec<f64> {
        let ticks: Vec<f64> = match self.kind {
            Kind::Linear => linear(self.from, self.to, count),
            Kind::Decades => decades(self.from, self.to, count),
            Kind::Octaves => powers(2.0, self.from, self.to, count),
        };
        if ticks.is_empty() { vec![self.from] } else { ticks }
    }
}

fn finite(value: f64, otherwise: f64) -> f64 {
    if value.is_nan() { otherwise } else { value.clamp(otherwise.min(MOST), MOST) }
}

/// A step of 1, 2 or 5 times a power of ten, so that there are at most `count` of them and at least two fifths of that.
pub(crate) fn step(length: f64, count: u32) -> f64 {
    let raw = length / f64::from(count.max(1));
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= raw * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * power
}

fn linear(from: f64, to: f64, count: u32) -> Vec<f64> {
    let step = step(to - from, count);
    let first = (from / step - 1e-9).ceil();
    let ticks = (0..=count).map(|i| (first + f64::from(i)) * step);
    ticks.take_while(|tick| *tick <= to + step * 1e-9).collect()
}

/// One, two and five of each power of ten, or fewer of them where there are many.
fn decades(from: f64, to: f64, count: u32) -> Vec<f64> {
    let between = |factors: &[f64]| {
        let powers = powers(10.0, from / 10.0, to, u32::MAX);
        let ticks = powers.iter().flat_map(|power| factors.iter().map(move |factor| power * factor));
        ticks.filter(|tick| (from * (1.0 - 1e-9)..=to * (1.0 + 1e-9)).contains(tick)).collect::<Vec<_>>()
    };
    let candidates = [&[1.0, 2.0, 5.0][..], &[1.0, 5.0], &[1.0]].map(between);
    let fits = |ticks: &Vec<f64>| ticks.len() <= count as usize;
    candidates.into_iter().find(fits).unwrap_or_else(|| powers(10.0, from, to, count))
}

/// Every power of a base, or every second, third ... of them.
fn powers(base: f64, from: f64, to: f64, count: u32) -> Vec<f64> {
    let exponent = |value: f64| value.ln() / base.ln();
    let (first, last) = ((exponent(from) - 1e-9).ceil(), (exponent(to) + 1e-9).floor());
    let stride = ((last - first + 1.0) / f64::from(count)).ceil().max(1.0);
    // From a multiple of the stride, so that one is among them if it can be.
    let first = (first / stride).ceil() * stride;
    std::iter::successors(Some(first), |exponent| Some(exponent + stride))
        .take_while(|exponent| *exponent <= last)
        .map(|exponent| base.powf(exponent))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(kind: Kind, from: f64, to: f64) -> Axis {
        Axis::new(kind, (from, to), (0.0, 100.0))
    }

    #[test]
    fn ticks_are_round_numbers_between_the_ends() {
        assert_eq!(axis(Kind::Linear, 0.0, 0.0834).ticks(5), [0.0, 0.02, 0.04, 0.06, 0.08]);
        assert_eq!(axis(Kind::Linear, 0.0, 1.0).ticks(5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(axis(Kind::Linear, 0.5, 8.5).ticks(8), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(axis(Kind::Octaves, 1.0, 64.0).ticks(8), [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
        assert_eq!(axis(Kind::Octaves, 1.0, 64.0).ticks(4), [1.0, 4.0, 16.0, 64.0]);
        let told = axis(Kind::Decades, 0.003, 0.9).ticks(8).iter().map(|tick| format!("{tick:.3}")).collect::<Vec<_>>();
        assert_eq!(told, ["0.005", "0.010", "0.020", "0.050", "0.100", "0.200", "0.500"]);
        assert_eq!(axis(Kind::Decades, 0.003, 900.0).ticks(6), [0.01, 0.1, 1.0, 10.0, 100.0]);
    }

    #[test]
    fn there_are_never_many_ticks_and_always_one() {
        for kind in [Kind::Linear, Kind::Decades, Kind::Octaves] {
            for (from, to) in [
                (1e-300, 1e300),
                (0.0, 0.0),
                (3.0, 3.0),
                (1e-9, 1e9),
                (7.0, 2.0),
                (f64::NAN, f64::INFINITY),
                (63.0, 64.0),
                (3.1, 3.2),
            ] {
                let axis = axis(kind, from, to);
                let ticks = axis.ticks(6);
                assert!((1..=7).contains(&ticks.len()), "{kind:?} {from} {to}: {ticks:?}");
                assert!(
                    ticks.iter().all(|tick| axis.holds(*tick) && (0.0..=100.0).contains(&axis.at(*tick))),
                    "{kind:?} {from} {to}: {ticks:?}"
                );
            }
        }
    }

    #[test]
    fn a_number_stands_where_its_part_of_the_axis_ends_and_one_beyond_it_at_the_end() {
        assert_eq!(
            [0.0, 1.0, 4.0, 9.0, f64::INFINITY].map(|value| axis(Kind::Linear, 0.0, 4.0).at(value)),
            [0.0, 25.0, 100.0, 100.0, 100.0]
        );
        assert_eq!([1.0, 4.0, 16.0, 0.1].map(|value| axis(Kind::Octaves, 1.0, 16.0).at(value)), [0.0, 50.0, 100.0, 0.0]);
        assert_eq!(axis(Kind::Linear, 0.0, 4.0).at(f64::NAN), 0.0);
    }
}
