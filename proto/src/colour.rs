//! The closed list of colour-map names. The tables stand in `fractal/`; a test of the worker holds the two lists together.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! colour_maps {
    ($($(#[$attribute:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// A colour map, by name.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ColourMap {
            $(
                #[doc = concat!("`", $name, "`")]
                #[serde(rename = $name)]
                $(#[$attribute])*
                $variant,
            )+
        }

        impl ColourMap {
            /// Every map, the default first.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name, as a request carries it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

colour_maps! {
    #[default]
    Inferno = "inferno",
    Viridis = "viridis",
    Magma = "magma",
    Plasma = "plasma",
    Cividis = "cividis",
    Twilight = "twilight",
    Turbo = "turbo",
    Hot = "hot",
    Gray = "gray",
    Bone = "bone",
    Copper = "copper",
    Ocean = "ocean",
    Cubehelix = "cubehelix",
    Gnuplot2 = "gnuplot2",
}

/// No colour map has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownColourMap(
    /// The name as it was given.
    pub String,
);

impl fmt::Display for UnknownColourMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = ColourMap::ALL.iter().map(|map| map.name()).collect();
        write!(f, "there is no colour map {:?}; choose one of {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownColourMap {}

impl FromStr for ColourMap {
    type Err = UnknownColourMap;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|map| map.name() == name).ok_or_else(|| UnknownColourMap(name.to_owned()))
    }
}

impl fmt::Display for ColourMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
