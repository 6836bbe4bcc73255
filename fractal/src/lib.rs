//! The mathematics of Fractally: from a point of the plane to the bytes of a picture.
//!
//! A filled Julia set is made of the points that `z -> z^2 + c` never takes far away. A picture of one asks of every pixel how
//! many steps its point takes to get far, its *escape time*, and gives the answer a colour. The way there:
//!
//! 1. [`scene`] says what is drawn: which point each pixel stands for.
//! 2. [`escape`] defines the escape time, in scalar code that is written to be read.
//! 3. [`kernel`] finds the same numbers many at a time, with the instructions that the processor has.
//! 4. [`smooth`] makes a number without steps of an escape time, and [`colour`] a colour of that.
//! 5. [`strip`] renders and encodes a run of rows, so that a PNG is the concatenation of its strips; [`filter`] and [`deflate`] are
//!    what a PNG asks of them.
//! 6. [`probe`] looks at a scene coarsely beforehand, to tell where the work is.
//! 7. [`symmetry`] tells which rows are mirror images of others, and need not be computed.
//!
//! One law holds throughout: *the same request gives the same bits*, whatever processor, kernel or number of threads rendered it.
//! So nothing here depends on the platform's mathematical library, on fused operations or on the order of threads. [`ENGINE_ID`]
//! names the bits.
//!
//! There is no I/O here, no clock, no thread and no network: those are the worker's.
//!
//! ```
//! use fractally_fractal::colour::{ColourMap, Palette};
//! use fractally_fractal::kernel::{self, Watch};
//! use fractally_fractal::scene::Scene;
//! use fractally_fractal::strip::{Output, Scratch, render_strip};
//! use num_complex::Complex;
//!
//! let scene = Scene::whole(Complex::new(-0.8, 0.156), Complex::new(0.0, 0.0), 4.0, (40, 20), 256);
//! scene.validate()?;
//! let palette = Palette::new(ColourMap::Inferno, [0, 0, 0], scene.iterations);
//! let strip = render_strip(kernel::best(), &scene, 0..20, &Output::Png(&palette), &mut Scratch::new(), &Watch::new())?;
//! assert_eq!(strip.raw_len, 20 * (1 + 3 * 40));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod colour;
pub mod deflate;
pub mod escape;
pub mod filter;
pub mod kernel;
mod log2;
pub mod probe;
pub mod scene;
pub mod smooth;
pub mod strip;
pub mod symmetry;

/// Names the bits that this crate makes.
///
/// Parts of one picture come from workers with the same engine id only. It must change with every change of the definition of an
/// escape time, of smooth values, colours or colour tables, of strips, and of the encoder or its version; the golden hashes in
/// this crate's tests tell when that is.
pub const ENGINE_ID: &str = "fractally-1";
