//! What a file holds, as its name or `--format` says.

use std::path::Path;

use clap::ValueEnum;
use fractally_client::PictureFormat;
use fractally_proto::{Encoding, Window};

use crate::exit::Failure;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A PNG picture, of any size
    Png,
    /// The same pixels as WebP, lossless, at most 16383 a side and 67 million in all
    Webp,
    /// The picture as JPEG, which loses some detail (quality 92), at most 65535 pixels a side and 67 million in all
    #[value(alias = "jpg")]
    Jpeg,
    /// The same pixels as TIFF, uncompressed, at most 67 million in all
    #[value(alias = "tif")]
    Tiff,
    /// Raw counts
    Npy,
}

impl Format {
    /// The format of what a job draws.
    pub(crate) fn of(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Png => Self::Png,
            Encoding::Counts => Self::Npy,
        }
    }

    /// What a job draws for it.
    pub(crate) fn encoding(self) -> Encoding {
        match self.picture() {
            Some(_) => Encoding::Png,
            None => Encoding::Counts,
        }
    }

    /// The format of a picture; nothing for counts.
    pub(crate) fn picture(self) -> Option<PictureFormat> {
        match self {
            Self::Png => Some(PictureFormat::Png),
            Self::Webp => Some(PictureFormat::Webp),
            Self::Jpeg => Some(PictureFormat::Jpeg),
            Self::Tiff => Some(PictureFormat::Tiff),
            Self::Npy => None,
        }
    }

    /// The format that the picture of a job is converted to once it is complete, if it is.
    pub(crate) fn conversion(self) -> Option<PictureFormat> {
        self.picture().filter(|&format| format != PictureFormat::Png)
    }

    /// How a file's name ends.
    pub(crate) fn ending(self) -> &'static str {
        self.picture().map_or("npy", |format| format.endings()[0])
    }

    /// What the ending of a file's name says.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_string_lossy().to_ascii_lowercase();
        Self::value_variants().iter().copied().find(|format| match format.picture() {
            Some(picture) => picture.endings().contains(&ending.as_str()),
            None => ending == "npy",
        })
    }

    /// Whether a file can hold so much in this format; `option` is the one that sets it. To be asked before anything is rendered.
    ///
    /// # Errors
    /// It cannot, with the limit and the way out.
    pub(crate) fn check(self, window: Window, option: &str) -> Result<(), Failure> {
        match self.picture().map(|format| format.check(window.w, window.h)) {
            Some(Err(error)) => Err(Failure::usage(format!("{option}: {error}"))),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

/// What a job draws, as an option.
pub(super) fn of_job(text: &str) -> Result<Format, String> {
    match Format::from_str(text, true) {
        Ok(format @ (Format::Png | Format::Npy)) => Ok(format),
        Ok(format) => {
            let ending = format.ending();
            Err(format!("a job draws png or npy; `fractally fetch JOB -o FILE.{ending}` converts the picture of a png"))
        }
        Err(_) => Err("a job draws png or npy".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_format_in_any_case() {
        for (name, format) in
            [("a.png", Format::Png), ("a.b.WebP", Format::Webp), ("jpg.JPG", Format::Jpeg), ("a.jpeg", Format::Jpeg)]
        {
            assert_eq!(Format::of_path(Path::new(name)), Some(format), "{name}");
        }
        for (name, format) in [("a.tif", Format::Tiff), ("a.tiff", Format::Tiff), ("a.npy", Format::Npy)] {
            assert_eq!(Format::of_path(Path::new(name)), Some(format), "{name}");
        }
        for name in ["-", "png", "a.gif", ".png"] {
            assert_eq!(Format::of_path(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn a_job_draws_png_or_npy_and_the_others_name_the_way() {
        assert_eq!(of_job("npy"), Ok(Format::Npy));
        assert!(of_job("webp").unwrap_err().contains("fetch JOB -o FILE.webp"));
        assert!(of_job("gif").unwrap_err().contains("png or npy"));
    }
}
