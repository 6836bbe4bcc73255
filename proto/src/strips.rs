//! How a picture is cut: rows into strips (a pure function of the request), strips into bands (the scheduler's choice).

use std::{num::NonZero, ops::Range};

use crate::{Encoding, Request, limits};

/// The strips of a picture: consecutive whole rows, as many as fit 256 KiB raw, at least one. What is left over is taken equally
/// from the first and the last, so that a picture that is its own half-turn is cut alike from both ends.
///
/// Scheduling never changes a layout, so it never changes a byte of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    encoding: Encoding,
    rows: u32,
    rows_per_strip: u32,
    /// Rows of the first strip.
    rows_first: u32,
    row_bytes: u64,
}

/// A run of whole strips of one picture: the unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Band {
    /// Index of the first strip.
    pub first: u32,
    /// How many strips, at least one.
    pub strips: u32,
}

impl Band {
    /// Indices of the strips.
    pub fn range(self) -> Range<u32> {
        self.first..self.end()
    }

    /// Index of the strip after the last.
    pub fn end(self) -> u32 {
        self.first + self.strips
    }
}

impl Layout {
    /// The layout of a valid request.
    pub fn of(request: &Request) -> Self {
        let row_bytes = request.encoding.row_bytes(request.window.w);
        let fit = limits::STRIP_RAW_BYTES / row_bytes;
        let rows_per_strip = u32::try_from(fit).unwrap_or(u32::MAX).clamp(1, request.window.h.max(1));
        let rows = request.window.h;
        let rows_first = match rows.div_ceil(rows_per_strip) {
            0 | 1 => rows,
            strips => (rows - (strips - 2) * rows_per_strip).div_ceil(2),
        };
        Self { encoding: request.encoding, rows, rows_per_strip, rows_first, row_bytes }
    }

    /// Rows of the picture.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Rows of every strip but perhaps the first and the last.
    pub fn rows_per_strip(&self) -> u32 {
        self.rows_per_strip
    }

    /// How many strips there are, at least one.
    pub fn strips(&self) -> u32 {
        self.rows.div_ceil(self.rows_per_strip)
    }

    /// All strips as one band.
    pub fn whole(&self) -> Band {
        Band { first: 0, strips: self.strips() }
    }

    /// Rows of one strip, as indices into the drawn window.
    pub fn rows_of(&self, strip: u32) -> Range<u32> {
        self.rows_before(strip)..self.rows_before(strip + 1)
    }

    /// Rows of a band, as indices into the drawn window.
    pub fn rows_of_band(&self, band: Band) -> Range<u32> {
        self.rows_before(band.first)..self.rows_before(band.end())
    }

    /// Rows that the first `strips` strips hold.
    pub fn rows_before(&self, strips: u32) -> u32 {
        let Some(whole) = strips.checked_sub(1) else { return 0 };
        let rows = u64::from(self.rows_first) + u64::from(whole) * u64::from(self.rows_per_strip);
        u32::try_from(rows).unwrap_or(u32::MAX).min(self.rows)
    }

    /// The band that lies as far from the bottom as `band` from the top.
    pub fn opposite(&self, band: Band) -> Band {
        Band { first: self.strips() - band.end(), strips: band.strips }
    }

    /// Bytes of one strip before encoding.
    pub fn raw_len(&self, strip: u32) -> u64 {
        let rows = self.rows_of(strip);
        u64::from(rows.end - rows.start) * self.row_bytes
    }

    /// Bytes that the encoded strip can take at the most.
    pub fn encoded_len_max(&self, strip: u32) -> u64 {
        self.encoding.encoded_len_max(self.raw_len(strip))
    }

    /// Bytes that any encoded strip can take at the most.
    pub fn strip_len_max(&self) -> u64 {
        let rows = if self.strips() > 2 { self.rows_per_strip } else { self.rows_first };
        self.encoding.encoded_len_max(u64::from(rows) * self.row_bytes)
    }

    /// Bytes that the tile of a band can take at the most: what is reserved when the band is leased.
    pub fn tile_len_max(&self, band: Band) -> u64 {
        let ends = |strip: u32| self.encoded_len_max(strip);
        match band.strips {
            0 => 0,
            1 => ends(band.first),
            strips => ends(band.first) + u64::from(strips - 2) * self.strip_len_max() + ends(band.end() - 1),
        }
    }

    /// Strips from `first` to the end of its band where the picture is cut into `bands` of as many strips each, or one more: at least one.
    pub fn strips_to_next_of(&self, bands: NonZero<u32>, first: u32) -> u32 {
        let (strips, bands) = (u64::from(self.strips()), u64::from(bands.get().min(self.strips())));
        // Band k ends before strip (k + 1) * strips / bands, rounded up; it is the last that begins at `first` or above.
        let ends = ((u64::from(first) * bands / strips + 1) * strips).div_ceil(bands);
        u32::try_from(ends - u64::from(first)).unwrap_or(u32::MAX)
    }

    /// How many strips a band that starts at `first` can hold, so that its tile always fits one payload frame.
    pub fn band_strips_max(&self, first: u32) -> u32 {
        let fit = u32::try_from(limits::PAYLOAD_BYTES_MAX as u64 / self.strip_len_max().max(1)).unwrap_or(u32::MAX);
        fit.min(limits::BAND_STRIPS_MAX).min(self.strips() - first).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Size, Window};

    #[test]
    fn equal_bands_are_as_many_as_asked_for_and_differ_by_a_strip_at_the_most() {
        for strips in [1, 2, 7, 96, 125, 1000] {
            let layout = Layout::of(&request(65_536, strips, Encoding::Counts));
            assert_eq!(layout.strips(), strips);
            for bands in [1, 2, 3, 64, 97, 2000] {
                let mut sizes = Vec::new();
                let mut first = 0;
                while first < strips {
                    sizes.push(layout.strips_to_next_of(NonZero::new(bands).unwrap(), first));
                    first += sizes[sizes.len() - 1];
                }
                assert_eq!((first, sizes.len()), (strips, bands.min(strips) as usize), "{strips} in {bands}: {sizes:?}");
                assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{strips} in {bands}: {sizes:?}");
            }
        }
    }

    fn request(w: u32, h: u32, encoding: Encoding) -> Request {
        Request { size: Size { w, h }, window: Window::whole(Size { w, h }), encoding, ..Request::default() }
    }

    #[test]
    fn the_talks_scene_has_96_strips_of_21_rows() {
        let layout = Layout::of(&request(4000, 2000, Encoding::Png));
        assert_eq!((layout.rows_per_strip(), layout.strips()), (21, 96));
        assert_eq!((layout.rows_of(0), layout.rows_of(1), layout.rows_of(95)), (0..13, 13..34, 1987..2000));
    }

    #[test]
    fn strips_cover_every_row_once() {
        for (w, h) in
            [(1, 1), (7, 3), (1, 5000), (5000, 1), (1, 1_000_000), (1_000_000, 3), (90_000, 11), (4000, 2000), (4000, 43)]
        {
            for encoding in [Encoding::Png, Encoding::Counts] {
                let layout = Layout::of(&request(w, h, encoding));
                let mut next = 0;
                for strip in layout.whole().range() {
                    let rows = layout.rows_of(strip);
                    assert_eq!(rows.start, next);
                    assert!(rows.end > rows.start && rows.end - rows.start <= layout.rows_per_strip());
                    let opposite = layout.rows_of_band(layout.opposite(Band { first: strip, strips: 1 }));
                    assert!((h - opposite.end).abs_diff(rows.start) <= 1 && (h - opposite.start).abs_diff(rows.end) <= 1);
                    next = rows.end;
                    assert_eq!(layout.rows_before(strip + 1), next);
                }
                assert_eq!(next, h);
            }
        }
    }

    #[test]
    fn the_largest_tile_fits_a_payload_frame() {
        let side = Limits::default().width_max;
        for w in [1, 100, 4000, 65_000, 87_381, 87_382, 300_000, side] {
            for encoding in [Encoding::Png, Encoding::Counts] {
                let layout = Layout::of(&request(w, side, encoding));
                for first in [0, 1, layout.strips() - 1] {
                    let band = Band { first, strips: layout.band_strips_max(first) };
                    assert!(layout.tile_len_max(band) <= limits::PAYLOAD_BYTES_MAX as u64, "{w} {encoding:?}");
                }
            }
        }
    }
}
