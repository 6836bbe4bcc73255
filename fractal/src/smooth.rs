//! The smooth value: an escape time without steps.
//!
//! v = n + 5 - log2(ln|z| / ln 2), with z the point 4 steps past escape. As ln|z| / ln 2 = log2|z| = log2(|z|^2) / 2, that is
//! v = n + 6 - log2(log2(|z|^2)): two binary logarithms, which this crate computes alike on every host. The formula is the
//! normalized iteration count (Linas Vepstas, "Renormalizing the Mandelbrot escape", 1997); each step past escape doubles
//! log2|z|, so the steps cancel out while the part that c plays shrinks.

use crate::kernel::Escapes;
use crate::log2::{log2, whole};

/// Replaces `values` by the smooth value of each point.
///
/// A value is at least 0. It is the escape time itself where the formula is undefined: where z is infinite or NaN, or |z| <= 1.
/// The value of a point that did not escape is its count, the limit.
pub fn smooth_into(escapes: &Escapes, values: &mut Vec<f64>) {
    values.clear();
    let points = escapes.counts.iter().zip(&escapes.re).zip(&escapes.im);
    values.extend(points.map(|((&count, &re), &im)| smooth(count, re, im)));
}

/// The smooth value of a point with escape time `count` and point `(re, im)` past escape. No branches.
///
/// Where z is finite |z|^2 may overflow, so z is first scaled by a power of two. That rounds nothing: only a part may underflow
/// that is too small to matter beside the other.
#[inline(always)]
pub(crate) fn smooth(count: u32, re: f64, im: f64) -> f64 {
    const EXPONENT: u64 = 0x7ff << 52;
    let n = f64::from(count);
    let (x, y) = (re.abs(), im.abs());
    let exponent = (if x > y { x } else { y }).to_bits() & EXPONENT;
    // An exponent field of e means that 2^(e-1023) <= max(x, y) < 2^(e-1022): 2^(1024-e) brings that to [2, 4). A zero is
    // scaled by infinity and an infinity by zero, which gives a NaN.
    let scale = f64::from_bits((2047 << 52) - exponent);
    let (u, v) = (x * scale, y * scale);
    let square = u * u + v * v;
    let shift = whole(exponent >> 52) - 1024.0;
    let log2_square = log2(square) + (shift + shift);
    let value = n + 6.0 - log2(log2_square);
    let defined = (square < f64::INFINITY) & (log2_square > 0.0);
    let value = if defined { value } else { n };
    if value > 0.0 { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formula(n: u32, re: f64, im: f64) -> f64 {
        let ln = 0.5 * (re * re + im * im).ln();
        f64::from(n) + 5.0 - (ln / std::f64::consts::LN_2).log2()
    }

    #[test]
    fn it_is_the_formula() {
        for (n, re, im) in
            [(3, 1e5, -2e4), (100, -3.0, 1e100), (7, 1e-9, 1.5), (12, 0.0, -1e9), (9, 1.0, 1.0), (1 << 31, 5e77, 5e77)]
        {
            let (ours, theirs) = (smooth(n, re, im), formula(n, re, im).max(0.0));
            assert!((ours - theirs).abs() < 1e-9 * theirs.abs().max(1.0), "{n} {re} {im}: {ours}, not {theirs}");
        }
    }

    #[test]
    fn it_does_not_overflow_where_z_is_finite() {
        let v = smooth(50, f64::MAX, -f64::MAX);
        assert!((v - (55.0 - 1024.5f64.log2())).abs() < 1e-9, "{v}");
        assert!((smooth(50, f64::MAX, f64::MIN_POSITIVE) - 45.0).abs() < 1e-9);
    }

    #[test]
    fn undefined_values_are_the_count() {
        let odd = [0.0, f64::from_bits(1), 0.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        for re in odd {
            for im in odd {
                assert_eq!(smooth(17, re, im), 17.0, "{re} {im}");
            }
        }
        assert_eq!(smooth(17, 1.0, 0.0), 17.0);
    }

    #[test]
    fn values_are_not_negative() {
        assert_eq!(smooth(0, f64::MAX, 0.0), 0.0);
    }
}
