//! What the stages need of a vector instruction set.
//!
//! [`super::stages`] is written once, over an [`Isa`]; [`avx512`] and [`avx2`] say what its words are called there. A value of
//! an `Isa` is a proof that the processor has the instructions: it is made by `detect` alone, and that is what makes the
//! methods safe to call.
//!
//! Every method is always inlined, and so is all that calls them, up to the entry points in [`super::vectors`], which carry the
//! `target_feature`. Nowhere else is a vector held in a register, so nothing is lost by the functions in between.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;

/// An instruction set with vectors of doubles, and the right to use it.
///
/// Everything that is carried in lanes is a double, also counts and indices: whole numbers below 2^32. Masks have two forms:
/// [`Isa::Mask`] as comparisons give it, and bits (lane 0 is bit 0), which are cheap to count and to branch on.
pub(super) trait Isa: Copy {
    /// Doubles in a vector, at most 8.
    const LANES: usize;
    /// The bits of all lanes.
    const ALL: u32 = (1 << Self::LANES) - 1;
    type Vector: Copy;
    type Mask: Copy;

    fn splat(self, value: f64) -> Self::Vector;

    /// The first doubles of `from`, which holds [`Isa::LANES`] or more.
    fn load(self, from: &[f64]) -> Self::Vector;

    /// Writes the first doubles of `to`, which holds [`Isa::LANES`] or more.
    fn store(self, from: Self::Vector, to: &mut [f64]);

    /// The same for whole numbers in [0, 2^32).
    fn store_u32(self, from: Self::Vector, to: &mut [u32]);

    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// 2a + b. Doubling is exact (or overflows, as a + a does), so one fused operation gives the bits of `(a + a) + b`.
    fn twice_plus(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;

    fn everywhere(self) -> Self::Mask;

    /// Where `mask` holds and a <= b; a NaN is not.
    fn and_le(self, mask: Self::Mask, a: Self::Vector, b: Self::Vector) -> Self::Mask;

    /// Where `mask` holds and a < b; a NaN is not.
    fn and_lt(self, mask: Self::Mask, a: Self::Vector, b: Self::Vector) -> Self::Mask;

    /// `yes` where the mask holds, else `no`.
    fn select(self, mask: Self::Mask, yes: Self::Vector, no: Self::Vector) -> Self::Vector;

    /// n + 1 where the mask holds, else n.
    fn count(self, n: Self::Vector, mask: Self::Mask) -> Self::Vector;

    fn bits(self, mask: Self::Mask) -> u32;

    /// The lanes of `bits` moved together to the front; what follows them means nothing.
    fn compress(self, from: Self::Vector, bits: u32) -> Self::Vector;

    /// `into` with the lanes of `bits` replaced, in order, by the first lanes of `from`.
    fn expand(self, into: Self::Vector, bits: u32, from: Self::Vector) -> Self::Vector;
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    fn lanes<I: Isa>(isa: I, vector: I::Vector) -> Vec<f64> {
        let mut lanes = vec![0.0; I::LANES];
        isa.store(vector, &mut lanes);
        lanes
    }

    fn ramp<I: Isa>(isa: I, from: f64) -> I::Vector {
        let lanes: Vec<f64> = (0..8).map(|lane| from + f64::from(lane)).collect();
        isa.load(&lanes)
    }

    fn holds<I: Isa>(isa: I) {
        let (a, b) = (ramp(isa, 1.0), ramp(isa, 101.0));
        for bits in 0..=I::ALL {
            let chosen: Vec<usize> = (0..I::LANES).filter(|lane| bits >> lane & 1 == 1).collect();
            let compressed = lanes(isa, isa.compress(a, bits));
            let expanded = lanes(isa, isa.expand(a, bits, b));
            for (rank, &lane) in chosen.iter().enumerate() {
                assert_eq!(compressed[rank], 1.0 + lane as f64, "{bits:b}");
                assert_eq!(expanded[lane], 101.0 + rank as f64, "{bits:b}");
            }
            for lane in (0..I::LANES).filter(|lane| !chosen.contains(lane)) {
                assert_eq!(expanded[lane], 1.0 + lane as f64, "{bits:b}");
            }
            let zeros_and_ones: Vec<f64> = (0..8).map(|lane| f64::from(!bits >> lane & 1)).collect();
            let zeros_and_ones = isa.load(&zeros_and_ones);
            let mask = isa.and_le(isa.everywhere(), zeros_and_ones, isa.splat(0.0));
            assert_eq!(isa.bits(mask), bits);
            assert_eq!(isa.bits(isa.and_lt(mask, zeros_and_ones, isa.splat(0.0))), 0);
            let (counted, selected) = (lanes(isa, isa.count(a, mask)), lanes(isa, isa.select(mask, a, b)));
            for lane in 0..I::LANES {
                let (n, set) = (1.0 + lane as f64, chosen.contains(&lane));
                assert_eq!(counted[lane], if set { n + 1.0 } else { n });
                assert_eq!(selected[lane], if set { n } else { n + 100.0 });
            }
        }
        let nan = isa.splat(f64::NAN);
        assert_eq!(isa.bits(isa.and_le(isa.everywhere(), nan, nan)), 0);
        assert_eq!(isa.bits(isa.and_lt(isa.everywhere(), nan, nan)), 0);
    }

    fn whole_numbers_are_stored<I: Isa>(isa: I) {
        for first in [0, 1, 31, 32, 0x7fff_fffe, 0x8000_0000, u32::MAX - 7] {
            let mut found = [0; 8];
            isa.store_u32(ramp(isa, f64::from(first)), &mut found);
            let expected: Vec<u32> = (first..=first + 7).take(I::LANES).collect();
            assert_eq!(found[..I::LANES], expected);
        }
    }

    fn arithmetic_is_ieee<I: Isa>(isa: I) {
        let values = [0.1, -0.7, 1e300, f64::MAX, 5e-324, -0.0, 3.0, 1.0 + f64::EPSILON];
        for a in values {
            for b in values {
                let (va, vb) = (isa.splat(a), isa.splat(b));
                let bits = |vector| lanes(isa, vector)[I::LANES - 1].to_bits();
                assert_eq!(bits(isa.add(va, vb)), (a + b).to_bits());
                assert_eq!(bits(isa.sub(va, vb)), (a - b).to_bits());
                assert_eq!(bits(isa.mul(va, vb)), (a * b).to_bits());
                if (a + a).is_finite() {
                    assert_eq!(bits(isa.twice_plus(va, vb)), ((a + a) + b).to_bits());
                }
            }
        }
    }

    #[test]
    fn avx512_keeps_its_word() {
        if let Some(isa) = avx512::Avx512::detect() {
            holds(isa);
            whole_numbers_are_stored(isa);
            arithmetic_is_ieee(isa);
        }
    }

    #[test]
    fn avx2_keeps_its_word() {
        if let Some(isa) = avx2::Avx2::detect() {
            holds(isa);
            whole_numbers_are_stored(isa);
            arithmetic_is_ieee(isa);
        }
    }
}
