//! A complete picture in another format, where it fits in memory.
//!
//! The grid makes PNGs, which grow row by row and have any size. Other formats want the whole picture at once, so they are made from a
//! complete PNG, within [`CONVERT_PIXELS_MAX`]. This is no part of a render: a job is a PNG, whatever its client makes of it.

use std::{fmt, io::Cursor};

use image::{
    ColorType, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, Limits,
    codecs::{jpeg::JpegEncoder, png::PngDecoder, tiff::TiffEncoder, webp::WebPEncoder},
};
use thiserror::Error;

/// Most pixels of a picture that is converted: 67 million, as 8192x8192. They are 201 MB as RGB, beside which stand the PNG, what the
/// encoder makes of them and the result: at this bound a conversion was seen to take 220 MB to JPEG, 410 MB to TIFF and 490 MB to WebP,
/// which most machines can spare for a moment.
pub const CONVERT_PIXELS_MAX: u64 = 1 << 26;
/// From 1 to 100. At 92 with full colour resolution, the edges of a Julia set show no rings at their own size.
const JPEG_QUALITY: u8 = 92;
/// Bytes of a pixel, RGB.
const PIXEL_BYTES: u64 = 3;

/// A format of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureFormat {
    /// What the grid makes. Of any size, lossless.
    Png,
    /// Lossless; most often smaller than the PNG.
    Webp,
    /// With loss: quality 92, colours at full resolution.
    Jpeg,
    /// Lossless; uncompressed RGB strips, which every reader knows.
    Tiff,
}

/// Why there is no picture in another format.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// The format has no room for a side of the picture.
    #[error("a {format} has at most {side_max} pixels a side, and the picture is {w}x{h}; write a PNG, which has no such limit")]
    Side {
        /// The format that was asked for.
        format: PictureFormat,
        /// Its limit, pixels.
        side_max: u32,
        /// Width of the picture, pixels.
        w: u32,
        /// Height of the picture, pixels.
        h: u32,
    },
    /// The picture is too large to be held whole.
    #[error(
        "a {format} is made in memory, of at most {CONVERT_PIXELS_MAX} pixels, and the picture has {w}x{h}, which is {}; write a PNG, \
         which has no such limit", pixels(*w, *h)
    )]
    Pixels {
        /// The format that was asked for.
        format: PictureFormat,
        /// Width of the picture, pixels.
        w: u32,
        /// Height of the picture, pixels.
        h: u32,
    },
    /// What should have been a complete PNG of RGB with 8 bits is not one.
    #[error("the PNG cannot be read: {0}")]
    Decode(String),
    /// The library cannot write the format.
    #[error("cannot make a {format}: {reason}")]
    Encode {
        /// The format that was asked for.
        format: PictureFormat,
        /// The library's reason.
        reason: String,
    },
}

impl PictureFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Png, Self::Webp, Self::Jpeg, Self::Tiff];

    /// As HTTP and browsers call it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Jpeg => "image/jpeg",
            Self::Tiff => "image/tiff",
        }
    }

    /// How names of such files end, without the dot and in lower case, the usual one first.
    pub fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Png => &["png"],
            Self::Webp => &["webp"],
            Self::Jpeg => &["jpg", "jpeg"],
            Self::Tiff => &["tif", "tiff"],
        }
    }

    /// The format of files whose names end so, in any case.
    pub fn of_ending(ending: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.endings().iter().any(|known| known.eq_ignore_ascii_case(ending)))
    }

    /// Most pixels of a side. JPEG has 16 bits for it, lossless WebP 14, of which the usual decoder takes all values but the last.
    pub fn side_max(self) -> Option<u32> {
        match self {
            Self::Png | Self::Tiff => None,
            Self::Webp => Some(16_383),
            Self::Jpeg => Some(65_535),
        }
    }

    /// Whether a picture of `w` x `h` pixels can be had in this format. To be asked before anything is rendered.
    ///
    /// # Errors
    /// [`ConvertError::Side`] and [`ConvertError::Pixels`]; never for a PNG.
    pub fn check(self, w: u32, h: u32) -> Result<(), ConvertError> {
        match self.side_max() {
            Some(side_max) if w.max(h) > side_max => Err(ConvertError::Side { format: self, side_max, w, h }),
            _ if self != Self::Png && pixels(w, h) > CONVERT_PIXELS_MAX => Err(ConvertError::Pixels { format: self, w, h }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for PictureFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Webp => "WebP",
            Self::Jpeg => "JPEG",
            Self::Tiff => "TIFF",
        })
    }
}

fn pixels(w: u32, h: u32) -> u64 {
    u64::from(w) * u64::from(h)
}

/// The picture of a complete PNG in `format`; a PNG stays as it is. The bytes may be anybody's: what they say is checked against the
/// limits before memory is taken for it.
///
/// # Errors
/// [`ConvertError`].
pub fn convert(png: &[u8], format: PictureFormat) -> Result<Vec<u8>, ConvertError> {
    if format == PictureFormat::Png {
        return Ok(png.to_vec());
    }
    let (w, h, rgb) = decode(png, format)?;
    let mut out = Cursor::new(Vec::new());
    let (color, refused) =
        (ExtendedColorType::Rgb8, |error: ImageError| ConvertError::Encode { format, reason: error.to_string() });
    match format {
        PictureFormat::Png => unreachable!("it has been given back as it is"),
        PictureFormat::Webp => WebPEncoder::new_lossless(&mut out).write_image(&rgb, w, h, color),
        PictureFormat::Jpeg => JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY).write_image(&rgb, w, h, color),
        PictureFormat::Tiff => TiffEncoder::new(&mut out).write_image(&rgb, w, h, color),
    }
    .map_err(refused)?;
    Ok(out.into_inner())
}

/// Width, height and RGB bytes of a PNG that is to become a `format`.
fn decode(png: &[u8], format: PictureFormat) -> Result<(u32, u32, Vec<u8>), ConvertError> {
    let bad = |error: ImageError| ConvertError::Decode(error.to_string());
    // Without its pixels a decoder needs a few rows and windows; as much again leaves it room for the widest of them.
    let mut limits = Limits::default();
    limits.max_alloc = Some(2 * PIXEL_BYTES * CONVERT_PIXELS_MAX);
    let decoder = PngDecoder::with_limits(Cursor::new(png), limits).map_err(bad)?;
    let (w, h) = decoder.dimensions();
    format.check(w, h)?;
    if decoder.color_type() != ColorType::Rgb8 {
        return Err(ConvertError::Decode(format!("its pixels are {:?}, not RGB with 8 bits", decoder.color_type())));
    }
    let bytes = usize::try_from(PIXEL_BYTES * pixels(w, h)).map_err(|error| ConvertError::Decode(error.to_string()))?;
    let mut rgb = vec![0; bytes];
    decoder.read_image(&mut rgb).map_err(bad)?;
    Ok((w, h, rgb))
}

#[cfg(test)]
mod tests {
    use image::{ImageFormat, RgbImage, codecs::png::PngEncoder};

    use super::*;

    fn low(x: u32) -> u8 {
        x.to_le_bytes()[0]
    }

    /// Bands of colours with hard edges, and noise, which nothing compresses.
    fn picture(w: u32, h: u32) -> RgbImage {
        RgbImage::from_fn(w, h, |x, y| {
            let noise = (x ^ y.rotate_left(7)).wrapping_mul(2_654_435_761).to_be_bytes();
            if x < w / 2 {
                image::Rgb([low(x / 8 * 16), low(y / 8 * 32), 128])
            } else {
                image::Rgb([noise[0], noise[1], noise[2]])
            }
        })
    }

    fn png_of(picture: &[u8], w: u32, h: u32, color: ExtendedColorType) -> Vec<u8> {
        let mut png = Vec::new();
        PngEncoder::new(&mut png).write_image(picture, w, h, color).unwrap();
        png
    }

    fn read(bytes: &[u8], format: ImageFormat) -> RgbImage {
        assert_eq!(image::guess_format(bytes).unwrap(), format);
        image::load_from_memory_with_format(bytes, format).unwrap().into_rgb8()
    }

    #[test]
    fn lossless_formats_have_the_same_pixels() {
        for (w, h) in [(1, 1), (97, 61), (1, 300), (300, 1)] {
            let picture = picture(w, h);
            let png = png_of(&picture, w, h, ExtendedColorType::Rgb8);
            for (format, read_as) in [
                (PictureFormat::Png, ImageFormat::Png),
                (PictureFormat::Webp, ImageFormat::WebP),
                (PictureFormat::Tiff, ImageFormat::Tiff),
            ] {
                assert!(read(&convert(&png, format).unwrap(), read_as) == picture, "{format} of {w}x{h}");
            }
        }
    }

    #[test]
    fn a_jpeg_is_close_to_the_picture() {
        let smooth = RgbImage::from_fn(200, 100, |x, y| image::Rgb([low(x), low(2 * y), low(200 - x)]));
        let jpeg = convert(&png_of(&smooth, 200, 100, ExtendedColorType::Rgb8), PictureFormat::Jpeg).unwrap();
        let read = read(&jpeg, ImageFormat::Jpeg);
        assert_eq!(read.dimensions(), (200, 100));
        let worst = read.iter().zip(smooth.iter()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(8), "off by {worst:?} of 255");
    }

    #[test]
    fn a_picture_over_a_limit_is_refused_with_the_way_out() {
        let refusal = |format: PictureFormat, w, h| format.check(w, h).unwrap_err().to_string();
        for (format, w, h, words) in [
            (PictureFormat::Webp, 16_384, 1, ["WebP", "16383", "16384x1"]),
            (PictureFormat::Jpeg, 1, 65_536, ["JPEG", "65535", "1x65536"]),
            (PictureFormat::Tiff, 8_193, 8_192, ["TIFF", "67108864", "67117056"]),
            (PictureFormat::Tiff, 1_000_000, 1_000_000, ["TIFF", "67108864", "1000000000000"]),
        ] {
            let refusal = refusal(format, w, h);
            for word in words.into_iter().chain(["write a PNG"]) {
                assert!(refusal.contains(word), "{word}: {refusal}");
            }
        }
        for format in PictureFormat::ALL {
            format.check(8_192, 8_192).unwrap();
        }
        PictureFormat::Png.check(1_000_000, 1_000_000).unwrap();
    }

    #[test]
    fn a_png_that_lies_about_its_size_takes_no_memory() {
        let mut png = png_of(&picture(4, 4), 4, 4, ExtendedColorType::Rgb8);
        // Width and height of IHDR, and its checksum.
        png[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let crc32 = crc32fast::hash(&png[12..29]);
        png[29..33].copy_from_slice(&crc32.to_be_bytes());
        assert!(matches!(convert(&png, PictureFormat::Tiff), Err(ConvertError::Pixels { w: 65_535, h: 65_535, .. })));
    }

    #[test]
    fn what_is_no_whole_png_of_rgb_is_told() {
        let png = png_of(&picture(40, 40), 40, 40, ExtendedColorType::Rgb8);
        let gray = png_of(&[7; 16], 4, 4, ExtendedColorType::L8);
        for bytes in [&b""[..], b"GIF89a", &png[..png.len() / 2], &gray] {
            assert!(matches!(convert(bytes, PictureFormat::Webp), Err(ConvertError::Decode(_))));
        }
        for bit in (0..8 * png.len()).step_by(7) {
            let mut damaged = png.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Whatever comes of it, it is an answer.
            let _ = convert(&damaged, PictureFormat::Tiff);
        }
    }

    #[test]
    fn endings_name_formats_in_any_case() {
        assert_eq!(PictureFormat::of_ending("JPEG"), Some(PictureFormat::Jpeg));
        assert_eq!(PictureFormat::of_ending("tif"), Some(PictureFormat::Tiff));
        assert_eq!(PictureFormat::of_ending("gif"), None);
        for format in PictureFormat::ALL {
            assert_eq!(PictureFormat::of_ending(format.endings()[0]), Some(format));
            assert!(format.media_type().starts_with("image/"));
        }
    }
}
