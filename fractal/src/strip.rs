//! Strips: runs of whole rows, rendered and encoded on their own, so that a file is their concatenation.
//!
//! A PNG's image data is one zlib stream. A strip's part of it starts with a fresh window and an unfiltered row above, and ends on
//! a byte boundary without a final block; so with strips `s1 .. sn` of an image the stream is
//!
//! ```text
//! 78 01 | s1 | .. | sn | 03 00 | Adler-32 of all filtered rows, big endian
//! ```
//!
//! where `03 00` is an empty final block and the checksum is combined from the strips' own. Which rows make a strip is for the
//! caller to say; a strip depends on nothing but the scene, its rows and the palette.
//!
//! **Filter and compression.** The first row is filtered by Sub, the others by Up; [`crate::deflate`] encodes literals and runs.
//! Over seven scenes in all colour maps that gave files of 0.70 to 1.02 times the size of the `image` crate's defaults. Filters and
//! settings were tried with zlib: no filter at its level 4 gave 0.47 to 0.86, in up to 3.4 times the time of runs only, and a
//! plain search for the best filter row by row cost more than deflate itself and gained 6 % at most.

use std::ops::Range;

use crate::colour::{Palette, Points};
use crate::deflate::{Deflater, STORED_HEADER, STORED_MAX};
use crate::filter::{sub, up};
use crate::kernel::{Cancelled, Escapes, Kernel, Lattice, Watch};
use crate::scene::Scene;

/// Pixels that are painted between two looks at the watch: a millisecond's, or less.
const PIXELS_PER_LOOK: usize = 1 << 17;

/// What becomes of the escape times.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// A part of a PNG's zlib stream, 8 bits each of red, green and blue; the palette was made for the scene's limit.
    Png(&'a Palette),
    /// The counts as little-endian u32, row by row, not compressed.
    Counts,
}

impl Output<'_> {
    /// Bytes of `rows` rows of `width` pixels before compression, a PNG's filter bytes included.
    #[must_use]
    pub const fn raw_len(&self, width: u32, rows: u32) -> u64 {
        let width = width as u64;
        rows as u64 * if matches!(self, Self::Png(_)) { 1 + 3 * width } else { 4 * width }
    }
}

/// Encoded rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    /// The encoded bytes; at most [`encoded_len_max`] of `raw_len`.
    pub bytes: Vec<u8>,
    /// Adler-32 of the raw bytes, that is, before compression.
    pub adler32: u32,
    /// Number of raw bytes.
    pub raw_len: usize,
    /// Iterations executed.
    pub iterations: u64,
}

/// What is known of encoded rows beside their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// Number of encoded bytes; at most [`encoded_len_max`] of `raw_len`.
    pub len: usize,
    /// Adler-32 of the raw bytes, that is, before compression.
    pub adler32: u32,
    /// Number of raw bytes.
    pub raw_len: usize,
    /// Iterations executed.
    pub iterations: u64,
}

/// Room to work in, which a thread keeps from strip to strip. What is left in it changes no later strip.
#[derive(Default)]
pub struct Scratch {
    columns: Vec<f64>,
    rows: Vec<f64>,
    escapes: Escapes,
    /// A row's colours, and those of the row above.
    row: Vec<u8>,
    above: Vec<u8>,
    filtered: Vec<u8>,
    deflater: Deflater,
}

impl Scratch {
    /// Empty room.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// The most bytes that `raw_len` raw bytes are encoded in: what stored blocks take, and 5 more.
#[must_use]
pub const fn encoded_len_max(raw_len: usize) -> usize {
    raw_len + STORED_HEADER * (raw_len / STORED_MAX + 1) + 5
}

/// Renders the window's rows `rows` and encodes them.
///
/// `scene` passes [`Scene::validate`], the rows lie in its window and are at least one, and [`Output::raw_len`] is less than 2^32.
///
/// # Errors
/// [`Cancelled`] within 5 ms of [`Watch::cancel`].
pub fn render_strip(
    kernel: &dyn Kernel,
    scene: &Scene,
    rows: Range<u32>,
    output: &Output<'_>,
    scratch: &mut Scratch,
    watch: &Watch,
) -> Result<Strip, Cancelled> {
    let mut bytes = Vec::new();
    let Encoded { adler32, raw_len, iterations, .. } =
        render_strip_into(kernel, scene, rows, output, scratch, watch, &mut bytes)?;
    Ok(Strip { bytes, adler32, raw_len, iterations })
}

/// Does as [`render_strip`] does, and appends the encoded bytes to `bytes`.
///
/// # Errors
/// [`Cancelled`] within 5 ms of [`Watch::cancel`]; `bytes` is as it was then.
pub fn render_strip_into(
    kernel: &dyn Kernel,
    scene: &Scene,
    rows: Range<u32>,
    output: &Output<'_>,
    scratch: &mut Scratch,
    watch: &Watch,
    bytes: &mut Vec<u8>,
) -> Result<Encoded, Cancelled> {
    scene.columns_into(&mut scratch.columns);
    scene.rows_into(rows, &mut scratch.rows);
    let lattice = Lattice { rule: scene.rule(), columns: &scratch.columns, rows: &scratch.rows };
    let start = bytes.len();
    match output {
        Output::Png(palette) => {
            let iterations = kernel.escapes(&lattice, watch, &mut scratch.escapes)?;
            scratch.paint(palette, watch)?;
            let raw = scratch.filtered.as_slice();
            scratch.deflater.deflate(raw, bytes, watch).inspect_err(|_| bytes.truncate(start))?;
            Ok(Encoded { len: bytes.len() - start, adler32: simd_adler32::adler32(&raw), raw_len: raw.len(), iterations })
        }
        Output::Counts => {
            let counts = &mut scratch.escapes.counts;
            counts.resize(lattice.len(), 0);
            let iterations = kernel.counts(&lattice, watch, counts)?;
            bytes.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
            let raw = &bytes[start..];
            Ok(Encoded { len: raw.len(), adler32: simd_adler32::adler32(&raw), raw_len: raw.len(), iterations })
        }
    }
}

impl Scratch {
    /// Replaces `filtered` by the filtered rows of colours of `escapes`, row by row while each is in the processor's cache.
    fn paint(&mut self, palette: &Palette, watch: &Watch) -> Result<(), Cancelled> {
        let width = self.columns.len();
        self.filtered.clear();
        self.filtered.reserve((width * 3 + 1) * self.rows.len());
        self.row.resize(width * 3, 0);
        self.above.resize(width * 3, 0);
        let mut unseen = 0;
        for j in 0..self.rows.len() {
            for i in (0..width).step_by(PIXELS_PER_LOOK) {
                let end = width.min(i + PIXELS_PER_LOOK);
                unseen += end - i;
                if unseen >= PIXELS_PER_LOOK {
                    watch.tick(0)?;
                    unseen = 0;
                }
                let (points, pixels) = (j * width + i..j * width + end, i * 3..end * 3);
                palette.paint(Points::of(&self.escapes, points), &mut self.row[pixels]);
            }
            match j {
                0 => sub(&self.row, &mut self.filtered),
                _ => up(&self.row, &self.above, &mut self.filtered),
            }
            std::mem::swap(&mut self.row, &mut self.above);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use num_complex::Complex;

    use super::*;
    use crate::colour::ColourMap;

    /// All points escape at once.
    struct Quick;

    impl Kernel for Quick {
        fn name(&self) -> &'static str {
            "quick"
        }

        fn counts(&self, _: &Lattice<'_>, _: &Watch, _: &mut [u32]) -> Result<u64, Cancelled> {
            Ok(0)
        }

        fn escapes(&self, lattice: &Lattice<'_>, _: &Watch, escapes: &mut Escapes) -> Result<u64, Cancelled> {
            escapes.resize(lattice.len());
            Ok(0)
        }
    }

    #[test]
    fn a_wide_row_is_given_up_outside_the_kernel_too() {
        let scene = Scene::whole(Complex::new(-0.8, 0.156), Complex::new(0.0, 0.0), 4.0, (1_000_000, 1), 256);
        let palette = Palette::new(ColourMap::Hot, [0; 3], 256);
        let render = |looks: u32| {
            let left = std::sync::atomic::AtomicU32::new(looks);
            let late = move || left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 0;
            let mut bytes = vec![1, 2, 3];
            let (output, mut scratch) = (Output::Png(&palette), Scratch::new());
            let made = render_strip_into(&Quick, &scene, 0..1, &output, &mut scratch, &Watch::until(late), &mut bytes);
            (made, bytes)
        };
        for looks in 0..7 {
            let (made, bytes) = render(looks);
            assert_eq!((made, bytes.len()), (Err(Cancelled), 3), "after {looks} looks");
        }
        let (made, bytes) = render(u32::MAX);
        assert_eq!(made.map(|made| made.len), Ok(bytes.len() - 3));
    }

    #[test]
    fn the_raw_length_is_known_beforehand() {
        assert_eq!(Output::Counts.raw_len(10, 3), 120);
        let palette = Palette::new(ColourMap::Hot, [0; 3], 9);
        assert_eq!(Output::Png(&palette).raw_len(10, 3), 93);
    }
}
