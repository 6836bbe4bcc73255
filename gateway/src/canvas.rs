//! A picture that is scaled down while its rows come, and small pictures as PNG files and back.

use std::io::Cursor;

use bytes::Bytes;
use fractally_proto::{Size, Window};
use png::{BitDepth, ColorType, Compression, Decoder};

/// A picture that is scaled down as its rows come: each pixel is the mean of those that it stands for.
pub(crate) struct Canvas {
    pub(crate) size: Size,
    from: Window,
    /// Sums of red, green and blue, and how many pixels they are of.
    sums: Vec<[u64; 4]>,
    /// Rows of the canvas that are complete.
    pub(crate) rows: u32,
    /// Whether its rows are painted: counts have no colours.
    pub(crate) is_painted: bool,
}

impl Canvas {
    pub(crate) fn new(from: Window, size: Size, is_painted: bool) -> Self {
        Self { size, from, sums: vec![[0; 4]; size.w as usize * size.h as usize], rows: 0, is_painted }
    }

    /// Adds row `row` of the picture.
    pub(crate) fn add(&mut self, row: u32, rgb: &[u8]) {
        let (w, h) = (u64::from(self.size.w), u64::from(self.size.h));
        let place = |at: u64, here: u64, all: u32| at * here / u64::from(all);
        let to = usize::try_from(place(row.into(), h, self.from.h) * w).expect("a canvas is in memory");
        for (column, pixel) in (0u64..).zip(rgb.chunks_exact(3)) {
            let at = to + usize::try_from(place(column, w, self.from.w)).expect("a canvas is in memory");
            let [r, g, b, count] = &mut self.sums[at];
            *r += u64::from(pixel[0]);
            *g += u64::from(pixel[1]);
            *b += u64::from(pixel[2]);
            *count += 1;
        }
        let next = place(u64::from(row) + 1, h, self.from.h);
        self.rows = u32::try_from(next).unwrap_or(u32::MAX);
    }

    /// The complete rows, as bytes.
    pub(crate) fn pixels(&self) -> Vec<u8> {
        let complete = self.rows as usize * self.size.w as usize;
        let mean = |sum: u64, count: u64| u8::try_from((sum + count / 2) / count.max(1)).unwrap_or(u8::MAX);
        self.sums[..complete].iter().flat_map(|&[r, g, b, count]| [mean(r, count), mean(g, count), mean(b, count)]).collect()
    }
}

/// The pixels of a PNG in memory, three bytes each; nothing where it is none.
pub(crate) fn decode(png: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Decoder::new(Cursor::new(png)).read_info().ok()?;
    let mut pixels = vec![0; reader.output_buffer_size()?];
    reader.next_frame(&mut pixels).ok()?;
    Some(pixels)
}

/// A PNG of pixels of three bytes each.
pub(crate) fn encode(size: Size, pixels: &[u8]) -> Bytes {
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, size.w, size.h);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header().expect("memory takes what is written to it");
    writer.write_image_data(pixels).expect("the pixels are those of the size");
    writer.finish().expect("memory takes what is written to it");
    png.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canvas_holds_the_means_of_what_came() {
        let mut canvas = Canvas::new(Window { x: 0, y: 0, w: 4, h: 4 }, Size { w: 2, h: 2 }, true);
        canvas.add(0, &[0, 0, 0, 10, 20, 30, 100, 100, 100, 100, 100, 100]);
        assert_eq!((canvas.rows, canvas.pixels()), (0, vec![]));
        canvas.add(1, &[20, 0, 0, 10, 20, 30, 100, 100, 100, 100, 100, 104]);
        assert_eq!((canvas.rows, canvas.pixels()), (1, vec![10, 10, 15, 100, 100, 101]));
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let pixels: Vec<u8> = (0..30).collect();
        assert_eq!(decode(&encode(Size { w: 5, h: 2 }, &pixels)).unwrap(), pixels);
    }
}
