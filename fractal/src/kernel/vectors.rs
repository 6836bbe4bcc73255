//! The stages of [`super::stages`], compiled once per instruction set and offered where the processor has it.
//!
//! The entry points are monomorphic and carry the `target_feature`; all generic code is inlined into them.

use super::isa::avx2::Avx2;
use super::isa::avx512::Avx512;
use super::sink::Sink;
use super::stages::{Mode, Run};
use super::{Cancelled, Escapes, Kernel, Lattice, Watch, portable};

/// Compiles the stages for one instruction set, with `$vectors` vectors in the main stage and `$group` in the others. The numbers
/// were measured: too few leave the units idle while a step's results are on their way, too many spill out of the registers.
macro_rules! kernel {
    ($kernel:ident, $isa:ident, $module:ident, $vectors:literal, $group:literal, $features:literal) => {
        mod $module {
            use super::{Cancelled, Lattice, Mode, Run, Sink, Watch, $isa};

            type Made<'a, const Z: bool> = Run<'a, $isa, $vectors, $group, Z>;

            #[target_feature(enable = $features)]
            pub(super) fn counts(
                isa: $isa,
                lattice: &Lattice<'_>,
                watch: &Watch,
                sink: Sink<'_>,
                mode: Mode,
            ) -> Result<u64, Cancelled> {
                Made::<false>::run(isa, lattice, watch, sink, mode)
            }

            #[target_feature(enable = $features)]
            pub(super) fn escapes(
                isa: $isa,
                lattice: &Lattice<'_>,
                watch: &Watch,
                sink: Sink<'_>,
                mode: Mode,
            ) -> Result<u64, Cancelled> {
                Made::<true>::run(isa, lattice, watch, sink, mode)
            }
        }

        struct $kernel {
            name: &'static str,
            trap: bool,
        }

        impl $kernel {
            #[expect(unsafe_code, reason = "calls a function compiled for instructions that were detected")]
            fn run(&self, lattice: &Lattice<'_>, watch: &Watch, counts: &mut [u32], costs: bool) -> Result<u64, Cancelled> {
                let Some(isa) = $isa::detect().filter(|_| lattice.rule.is_monotone()) else {
                    return portable::best().counts(lattice, watch, counts);
                };
                let sink = Sink { counts: &mut counts[..lattice.len()], re: &mut [], im: &mut [] };
                // SAFETY: `isa` proves that the processor has the instructions.
                unsafe { $module::counts(isa, lattice, watch, sink, Mode { trap: self.trap, costs }) }
            }
        }

        impl Kernel for $kernel {
            fn name(&self) -> &'static str {
                self.name
            }

            fn counts(&self, lattice: &Lattice<'_>, watch: &Watch, counts: &mut [u32]) -> Result<u64, Cancelled> {
                self.run(lattice, watch, counts, false)
            }

            fn costs(&self, lattice: &Lattice<'_>, watch: &Watch, costs: &mut [u32]) -> Result<u64, Cancelled> {
                self.run(lattice, watch, costs, true)
            }

            #[expect(unsafe_code, reason = "calls a function compiled for instructions that were detected")]
            fn escapes(&self, lattice: &Lattice<'_>, watch: &Watch, escapes: &mut Escapes) -> Result<u64, Cancelled> {
                let Some(isa) = $isa::detect().filter(|_| lattice.rule.is_monotone()) else {
                    return portable::best().escapes(lattice, watch, escapes);
                };
                escapes.resize(lattice.len());
                let Escapes { counts, re, im } = escapes;
                // SAFETY: `isa` proves that the processor has the instructions.
                unsafe { $module::escapes(isa, lattice, watch, Sink { counts, re, im }, Mode { trap: self.trap, costs: false }) }
            }
        }
    };
}

kernel!(Avx2Kernel, Avx2, avx2, 6, 4, "avx2,fma");
kernel!(Avx512Kernel, Avx512, avx512, 10, 4, "avx512f,avx512dq,avx512vl");

/// The kernels of this module that the processor runs, slowest first.
pub(super) fn available() -> Vec<&'static dyn Kernel> {
    let mut kernels: Vec<&'static dyn Kernel> = Vec::new();
    if Avx2::detect().is_some() {
        kernels.push(&Avx2Kernel { name: "avx2-plain", trap: false });
    }
    if Avx512::detect().is_some() {
        kernels.push(&Avx512Kernel { name: "avx512-plain", trap: false });
    }
    if Avx2::detect().is_some() {
        kernels.push(&Avx2Kernel { name: "avx2", trap: true });
    }
    if Avx512::detect().is_some() {
        kernels.push(&Avx512Kernel { name: "avx512", trap: true });
    }
    kernels
}
