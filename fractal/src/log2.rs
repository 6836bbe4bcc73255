//! A binary logarithm that gives the same bits on every host.
//!
//! The standard library's logarithm is the platform's, which differs in the last bit from host to host. This one uses only
//! `+ - * /` and bit operations in a fixed order, and has no branch, so the compiler makes vector code of a loop over it.

/// Coefficients of `log2((1+s)/(1-s)) = 2/ln 2 * (s + s^3/3 + s^5/5 + ...)`, from s upwards.
const SERIES: [f64; 6] = {
    let first = 2.0 * std::f64::consts::LOG2_E;
    [first, first / 3.0, first / 5.0, first / 7.0, first / 9.0, first / 11.0]
};

/// The bits of the square root of 1/2: mantissas are brought to [sqrt(1/2), sqrt(2)), where the series converges fastest.
const ROOT_HALF: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();

/// 1.5 * 2^52: a small whole number added to its bits is added to its value too.
const WHOLE: f64 = 6_755_399_441_055_744.0;

/// A whole number under 2^51 as an f64, without the conversion that vector units lack.
#[inline(always)]
pub(crate) fn whole(number: u64) -> f64 {
    f64::from_bits(WHOLE.to_bits().wrapping_add(number)) - WHOLE
}

/// The whole number nearest to a number in [0, 2^16), ties to even.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
pub(crate) fn nearest(value: f64) -> u16 {
    (value + WHOLE).to_bits() as u16
}

/// log2 of a positive normal number; a meaningless finite or non-finite value, never a panic, for anything else.
///
/// `value = 2^k * f`, `s = (f-1)/(f+1)`, |s| < 0.1716: six terms of the series leave an error under 6e-11 of log2(f), and rounding
/// adds a few ulp. The sum is taken pairwise, for a short chain of dependent operations.
#[inline(always)]
pub(crate) fn log2(value: f64) -> f64 {
    let bits = value.to_bits();
    // Offset the exponent so that the shift is of an unsigned number: vector units lack the signed one.
    let k_biased = bits.wrapping_sub(ROOT_HALF).wrapping_add(1024 << 52) >> 52;
    let f = f64::from_bits(bits.wrapping_sub(k_biased.wrapping_sub(1024) << 52));
    let k = whole(k_biased) - 1024.0;
    let s = (f - 1.0) / (f + 1.0);
    let q = s * s;
    let q2 = q * q;
    let low = (SERIES[1] * q + SERIES[0]) + (SERIES[3] * q + SERIES[2]) * q2;
    let sum = low + (SERIES[5] * q + SERIES[4]) * (q2 * q2);
    sum * s + k
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_exact() {
        for k in -1022..=1023 {
            assert_eq!(log2(2f64.powi(k)), f64::from(k));
        }
    }

    #[test]
    fn it_agrees_with_the_standard_library() {
        let mut value = 1e-300;
        while value < 1e300 {
            let (ours, theirs) = (log2(value), value.ln() / std::f64::consts::LN_2);
            assert!((ours - theirs).abs() <= 6e-11 * theirs.abs().max(1e-3), "log2({value}) = {ours}, not {theirs}");
            value *= 1.000_7;
        }
    }

    #[test]
    fn it_is_accurate_near_one() {
        for d in [1e-15, 1e-9, 1e-3] {
            let ours = log2(1.0 + d) * std::f64::consts::LN_2;
            assert!((ours / ((1.0 + d) - 1.0) - 1.0).abs() < d + 6e-11, "{d}: {ours}");
        }
    }

    #[test]
    fn anything_else_is_survived() {
        for value in [0.0, -0.0, -1.0, f64::MIN_POSITIVE / 2.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let _ = log2(value);
        }
    }
}
