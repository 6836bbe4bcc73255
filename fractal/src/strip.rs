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
use crate::symmetry::Kept;

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
    /// Filtered rows, or counts.
    raw: Vec<u8>,
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

/// What strips are made of, and by whom.
#[derive(Clone, Copy)]
pub struct Picture<'a> {
    /// Finds the escape times.
    pub kernel: &'a dyn Kernel,
    /// Passes [`Scene::validate`].
    pub scene: &'a Scene,
    /// What becomes of the escape times.
    pub output: Output<'a>,
    /// May stop the work.
    pub watch: &'a Watch,
}

/// Renders the window's rows `rows` and encodes them, as [`Picture::strip_into`] does.
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
    let picture = Picture { kernel, scene, output: *output, watch };
    let Encoded { adler32, raw_len, iterations, .. } = picture.strip_into(rows, None, scratch, &mut bytes)?;
    Ok(Strip { bytes, adler32, raw_len, iterations })
}

impl Picture<'_> {
    /// Renders the window's rows `rows`, encodes them, and appends the encoded bytes to `bytes`.
    ///
    /// The rows are at least one and lie in the window, and their [`Output::raw_len`] is less than 2^32. `kept`, which belongs to
    /// this picture alone, spares the rows whose mirror images it has, and takes what it wants of the others. The bytes are the
    /// same without it.
    ///
    /// # Errors
    /// [`Cancelled`] within 5 ms of [`Watch::cancel`]; `bytes` is as it was then.
    pub fn strip_into(
        &self,
        rows: Range<u32>,
        kept: Option<&mut Kept>,
        scratch: &mut Scratch,
        bytes: &mut Vec<u8>,
    ) -> Result<Encoded, Cancelled> {
        let Self { kernel, scene, output, watch } = *self;
        scene.columns_into(&mut scratch.columns);
        scratch.rows.clear();
        let spares = |row: &u32| kept.as_deref().is_some_and(|kept| kept.spares(*row, &rows));
        scratch.rows.extend(rows.clone().filter(|row| !spares(row)).map(|row| scene.y(row)));
        let lattice = Lattice { rule: scene.rule(), columns: &scratch.columns, rows: &scratch.rows };
        let start = bytes.len();
        let (computed, copied) = match output {
            Output::Png(palette) => {
                let computed = kernel.escapes(&lattice, watch, &mut scratch.escapes)?;
                (computed, scratch.paint(rows, palette, watch, kept)?)
            }
            Output::Counts => {
                scratch.escapes.counts.resize(lattice.len(), 0);
                let computed = kernel.counts(&lattice, watch, &mut scratch.escapes.counts)?;
                (computed, scratch.write_counts(rows, kept))
            }
        };
        watch.settle(copied, copied)?;
        let raw = scratch.raw.as_slice();
        match output {
            Output::Png(_) => scratch.deflater.deflate(raw, bytes, watch).inspect_err(|_| bytes.truncate(start))?,
            Output::Counts => bytes.extend_from_slice(raw),
        }
        let (len, iterations) = (bytes.len() - start, computed + copied);
        Ok(Encoded { len, adler32: simd_adler32::adler32(&raw), raw_len: raw.len(), iterations })
    }
}

impl Scratch {
    /// Replaces `raw` by the filtered rows of colours, row by row while each is in the processor's cache: of `escapes`, which has the
    /// rows that are not spared, and of `kept`. Returns the iterations of the latter.
    fn paint(
        &mut self,
        rows: Range<u32>,
        palette: &Palette,
        watch: &Watch,
        mut kept: Option<&mut Kept>,
    ) -> Result<u64, Cancelled> {
        let width = self.columns.len();
        self.raw.clear();
        self.raw.reserve((width * 3 + 1) * rows.len());
        self.row.resize(width * 3, 0);
        self.above.resize(width * 3, 0);
        let (mut unseen, mut copied, mut computed) = (0, 0, 0);
        for row in rows.clone() {
            if let Some(kept) = kept.as_deref().filter(|kept| kept.spares(row, &rows)) {
                copied += kept.mirrored::<3>(row, &mut self.row);
            } else {
                for i in (0..width).step_by(PIXELS_PER_LOOK) {
                    let end = width.min(i + PIXELS_PER_LOOK);
                    unseen += end - i;
                    if unseen >= PIXELS_PER_LOOK {
                        watch.tick(0)?;
                        unseen = 0;
                    }
                    let (points, pixels) = (computed + i..computed + end, i * 3..end * 3);
                    palette.paint(Points::of(&self.escapes, points), &mut self.row[pixels]);
                }
                if let Some(kept) = kept.as_deref_mut() {
                    kept.keep(row, &self.row, &self.escapes.counts[computed..computed + width]);
                }
                computed += width;
            }
            if row == rows.start {
                sub(&self.row, &mut self.raw);
            } else {
                up(&self.row, &self.above, &mut self.raw);
            }
            std::mem::swap(&mut self.row, &mut self.above);
        }
        Ok(copied)
    }

    /// Replaces `raw` by the counts of `escapes`, which has the rows that are not spared, and of `kept`. Returns the sum of the latter.
    fn write_counts(&mut self, rows: Range<u32>, mut kept: Option<&mut Kept>) -> u64 {
        let width = self.columns.len();
        self.raw.resize(width * 4 * rows.len(), 0);
        let mut computed = self.escapes.counts.chunks_exact(width.max(1));
        let mut copied = 0;
        for (row, raw) in rows.clone().zip(self.raw.chunks_exact_mut(width.max(1) * 4)) {
            if let Some(kept) = kept.as_deref().filter(|kept| kept.spares(row, &rows)) {
                copied += kept.mirrored::<4>(row, raw);
            } else if let Some(counts) = computed.next() {
                let (bytes, _) = raw.as_chunks_mut::<4>();
                bytes.iter_mut().zip(counts).for_each(|(to, count)| *to = count.to_le_bytes());
                if let Some(kept) = kept.as_deref_mut() {
                    kept.keep(row, raw, counts);
                }
            }
        }
        copied
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
            let watch = Watch::until(late);
            let picture = Picture { kernel: &Quick, scene: &scene, output: Output::Png(&palette), watch: &watch };
            let made = picture.strip_into(0..1, None, &mut Scratch::new(), &mut bytes);
            (made, bytes)
        };
        for looks in 0..8 {
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
