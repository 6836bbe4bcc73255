//! The stages of [`super::lanes`], compiled once per instruction set and chosen by what the processor has.

use super::lanes::{Run, Sink};
use super::{Cancelled, Escapes, Kernel, Lattice, Watch};

/// A function of the stages, which may need instructions that not every processor has.
type Entry = unsafe fn(&Lattice<'_>, &Watch, Sink<'_>) -> Result<u64, Cancelled>;

/// The stages for one instruction set. [`available`] alone hands these out, and only where the processor has the instructions.
struct Portable {
    name: &'static str,
    counts: Entry,
    escapes: Entry,
}

impl Kernel for Portable {
    fn name(&self) -> &'static str {
        self.name
    }

    #[expect(unsafe_code, reason = "calls a function compiled for instructions that were detected")]
    fn counts(&self, lattice: &Lattice<'_>, watch: &Watch, counts: &mut [u32]) -> Result<u64, Cancelled> {
        let counts = &mut counts[..lattice.len()];
        // SAFETY: this value came from `available`, so the processor has the instructions.
        unsafe { (self.counts)(lattice, watch, Sink { counts, re: &mut [], im: &mut [] }) }
    }

    #[expect(unsafe_code, reason = "calls a function compiled for instructions that were detected")]
    fn escapes(&self, lattice: &Lattice<'_>, watch: &Watch, escapes: &mut Escapes) -> Result<u64, Cancelled> {
        escapes.resize(lattice.len());
        let Escapes { counts, re, im } = escapes;
        // SAFETY: this value came from `available`, so the processor has the instructions.
        unsafe { (self.escapes)(lattice, watch, Sink { counts, re, im }) }
    }
}

/// Compiles the stages with `$lanes` lanes in the main stage and `$group` in the others. The numbers were measured: too few
/// lanes leave the units idle while a step's results are on their way, too many spill out of the registers.
macro_rules! portable {
    ($level:ident, $module:ident, $name:literal, $lanes:literal, $group:literal $(, $features:literal)?) => {
        mod $module {
            use super::{Cancelled, Lattice, Run, Sink, Watch};

            $(#[target_feature(enable = $features)])?
            pub(super) fn counts(lattice: &Lattice<'_>, watch: &Watch, sink: Sink<'_>) -> Result<u64, Cancelled> {
                Run::<$lanes, $group, false>::run(lattice, watch, sink)
            }

            $(#[target_feature(enable = $features)])?
            pub(super) fn escapes(lattice: &Lattice<'_>, watch: &Watch, sink: Sink<'_>) -> Result<u64, Cancelled> {
                Run::<$lanes, $group, true>::run(lattice, watch, sink)
            }
        }

        static $level: Portable = Portable { name: $name, counts: $module::counts, escapes: $module::escapes };
    };
}

portable!(BASELINE, baseline, "portable", 8, 8);
#[cfg(target_arch = "x86_64")]
portable!(AVX2, avx2, "portable-avx2", 24, 32, "avx2");
#[cfg(target_arch = "x86_64")]
portable!(AVX512, avx512, "portable-avx512", 48, 64, "avx512f,avx512dq,avx512vl");

/// The kernels of this module that the processor runs, slowest first.
pub(super) fn available() -> Vec<&'static dyn Kernel> {
    let mut kernels: Vec<&'static dyn Kernel> = vec![&BASELINE];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") {
            kernels.push(&AVX2);
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
            kernels.push(&AVX512);
        }
    }
    kernels
}
