//! The options that say what to draw, for every subcommand that asks for a picture.

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use fractally_proto::{Colour, ColourMap, Request, Size, Window, notation};

use super::Format;

/// What to draw.
#[derive(Debug, Args)]
pub(crate) struct PictureArgs {
    /// The constant c of z² + c.
    #[arg(short, value_name = "RE+IMi", default_value = "-0.8+0.156i", allow_hyphen_values = true, value_parser = notation::complex)]
    pub(crate) c: [f64; 2],
    /// Centre of the view in the plane; the imaginary axis points up.
    #[arg(long, value_name = "RE+IMi", default_value = "0", allow_hyphen_values = true, value_parser = notation::complex)]
    pub(crate) center: [f64; 2],
    /// Width of the view in plane units; pixels are square.
    #[arg(long, value_name = "W", default_value = "4", allow_hyphen_values = true)]
    pub(crate) width: f64,
    /// Size of the image in pixels.
    #[arg(long, value_name = "WxH", default_value = "4000x2000", value_parser = notation::size, allow_hyphen_values = true)]
    pub(crate) size: Size,
    /// Draw only this part of the image, in pixels: its size, then its first column and row.
    #[arg(long, value_name = "WxH+X+Y", value_parser = notation::window)]
    pub(crate) window: Option<Window>,
    /// Iteration limit: points that have not escaped by then are interior.
    #[arg(long, value_name = "N", default_value = "256", allow_hyphen_values = true)]
    pub(crate) iter: u32,
    /// Bailout radius: a point has escaped when |z| is greater.
    #[arg(long, value_name = "R", default_value = "2", allow_hyphen_values = true)]
    pub(crate) bailout: f64,
    /// Colour map.
    #[arg(long, value_name = "NAME", default_value = "inferno", value_parser = colour_map())]
    pub(crate) cmap: ColourMap,
    /// Colour of interior points: #RRGGBB, or black, white, gray, red, green, blue, navy, gold.
    #[arg(long, value_name = "COLOUR", default_value = "black", value_parser = notation::colour)]
    pub(crate) interior: InteriorColour,
}

/// Red, green and blue. A name of its own, since clap takes a bare array for a list of values.
pub(crate) type InteriorColour = [u8; 3];

impl PictureArgs {
    /// The option that says how many pixels there are to draw.
    pub(crate) fn size_option(&self) -> &'static str {
        if self.window.is_some() { "--window" } else { "--size" }
    }

    /// The request that the options describe.
    pub(crate) fn request(&self, format: Format) -> Request {
        Request {
            c: self.c,
            center: self.center,
            width: self.width,
            size: self.size,
            window: self.window.unwrap_or_else(|| Window::whole(self.size)),
            iterations: self.iter,
            bailout: self.bailout,
            colour: Colour { map: self.cmap, interior: self.interior },
            encoding: format.encoding(),
        }
    }
}

fn colour_map() -> impl TypedValueParser<Value = ColourMap> {
    PossibleValuesParser::new(ColourMap::ALL.iter().map(|map| map.name())).try_map(|name| name.parse::<ColourMap>())
}
