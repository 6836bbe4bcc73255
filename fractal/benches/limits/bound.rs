//! What this processor can do at most: the step and nothing else.
//!
//! One step takes three multiplications and three additions a point (one of them together with a multiplication, where that is the
//! same number). The loop below does those in registers, with as many vectors in flight as fit, and never tests.

/// The loop's name, and the iterations per second that it reaches, in G/s; none where this processor has none of the instructions.
pub(crate) fn measure() -> Option<(&'static str, f64)> {
    #[cfg(target_arch = "x86_64")]
    return x86::measure();
    #[cfg(not(target_arch = "x86_64"))]
    None
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the bound is measured with the instructions that the kernels use")]
mod x86 {
    use std::arch::x86_64::*;

    /// Steps of one measurement.
    const STEPS: u32 = 1 << 18;

    macro_rules! bare_loop {
        ($name:ident, $vector:ty, $features:literal, $in_flight:literal, $splat:ident, $add:ident, $sub:ident, $mul:ident, $fma:ident) => {
            #[target_feature(enable = $features)]
            fn $name() -> f64 {
                let (re, im, two) = ($splat(-0.123), $splat(0.745), $splat(2.0));
                let (mut x, mut y): ([$vector; $in_flight], [$vector; $in_flight]) =
                    ([$splat(0.1); $in_flight], [$splat(0.2); $in_flight]);
                // The compiler may not see that all are alike.
                for v in 0..$in_flight {
                    (x[v], y[v]) = (std::hint::black_box(x[v]), std::hint::black_box(y[v]));
                }
                for _ in 0..STEPS {
                    for v in 0..$in_flight {
                        let xy = $mul(x[v], y[v]);
                        (x[v], y[v]) = ($add($mul($add(x[v], y[v]), $sub(x[v], y[v])), re), $fma(two, xy, im));
                    }
                }
                std::hint::black_box((x, y));
                f64::from(STEPS) * f64::from($in_flight) * (size_of::<$vector>() / 8) as f64
            }
        };
    }

    bare_loop!(avx512, __m512d, "avx512f", 10, _mm512_set1_pd, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_fmadd_pd);
    bare_loop!(avx2, __m256d, "avx2,fma", 6, _mm256_set1_pd, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_fmadd_pd);

    pub(super) fn measure() -> Option<(&'static str, f64)> {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the instructions were just detected.
            Some(("10 vectors of 8 in flight", giga_per_second(|| unsafe { avx512() })))
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the instructions were just detected.
            Some(("6 vectors of 4 in flight", giga_per_second(|| unsafe { avx2() })))
        } else {
            None
        }
    }

    fn giga_per_second(run: impl Fn() -> f64) -> f64 {
        let (steps, seconds) = crate::timed(run);
        steps / seconds / 1e9
    }
}
