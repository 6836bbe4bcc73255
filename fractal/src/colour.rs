//! Colour: from escape times to red, green, blue.
//!
//! A [`Palette`] is prepared once a render, for one [`ColourMap`], interior colour and limit. A pixel's place in the map is
//! t = log2(1 + v) / log2(1 + limit), with v its smooth value: equal distances in t are equal ratios of v, so that the wide bands
//! far from the set and the fine ones near it both get their share of colours. Everything from the escape times on is integers
//! or arithmetic that is alike on every host.

use crate::kernel::Escapes;
use crate::log2::{log2, nearest};
use crate::smooth::smooth;

/// Entries of a colour map.
const ENTRIES: usize = 256;
/// The number of the last shade of a palette. One more follows, the interior.
const LAST: u16 = 4095;
/// Pixels whose shades are found at a time.
const CHUNK: usize = 256;

/// A sequence of colours. The numbers are matplotlib's; `colour/README.md` names their authors and terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ColourMap {
    /// Black over purple and orange to pale yellow.
    #[default]
    Inferno,
    /// Dark blue over green to yellow.
    Viridis,
    /// Black over purple to pale pink.
    Magma,
    /// Blue over pink to yellow.
    Plasma,
    /// Blue over gray to yellow, alike for most kinds of colour vision.
    Cividis,
    /// Cyclic: pale, blue, dark, red, pale.
    Twilight,
    /// A rainbow without bumps in lightness.
    Turbo,
    /// Black, red, yellow, white.
    Hot,
    /// Black to white.
    Gray,
    /// Black to white by way of blue.
    Bone,
    /// Black to copper.
    Copper,
    /// Green, dark blue, white.
    Ocean,
    /// Black to white in a spiral round all hues.
    Cubehelix,
    /// Black, blue, pink, orange, yellow, white.
    Gnuplot2,
}

/// The maps' tables, in the order of [`ColourMap::ALL`].
static TABLES: [[[u8; 3]; ENTRIES]; ColourMap::ALL.len()] = parse(include_bytes!("colour/maps.hex"));

impl ColourMap {
    /// Every map.
    pub const ALL: [Self; 14] = [
        Self::Inferno,
        Self::Viridis,
        Self::Magma,
        Self::Plasma,
        Self::Cividis,
        Self::Twilight,
        Self::Turbo,
        Self::Hot,
        Self::Gray,
        Self::Bone,
        Self::Copper,
        Self::Ocean,
        Self::Cubehelix,
        Self::Gnuplot2,
    ];

    /// The name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inferno => "inferno",
            Self::Viridis => "viridis",
            Self::Magma => "magma",
            Self::Plasma => "plasma",
            Self::Cividis => "cividis",
            Self::Twilight => "twilight",
            Self::Turbo => "turbo",
            Self::Hot => "hot",
            Self::Gray => "gray",
            Self::Bone => "bone",
            Self::Copper => "copper",
            Self::Ocean => "ocean",
            Self::Cubehelix => "cubehelix",
            Self::Gnuplot2 => "gnuplot2",
        }
    }

    /// The map's entries, red, green and blue, from low to high.
    #[must_use]
    pub fn table(self) -> &'static [[u8; 3]; ENTRIES] {
        &TABLES[self as usize]
    }
}

/// The map of that name; names are in lower case.
#[must_use]
pub fn by_name(name: &str) -> Option<ColourMap> {
    ColourMap::ALL.into_iter().find(|map| map.name() == name)
}

/// The colours of one render.
#[derive(Debug, Clone)]
pub struct Palette {
    shades: Box<[[u8; 3]]>,
    limit: u32,
    /// Shades per unit of log2(1 + v).
    scale: f64,
}

impl Palette {
    /// Spreads `map` over the smooth values from 0 to `limit`, the iteration limit, at least 1. Points that do not escape get
    /// the colour `interior`.
    ///
    /// Between the map's 256 entries lie 15 more each, by linear interpolation in integers.
    #[must_use]
    pub fn new(map: ColourMap, interior: [u8; 3], limit: u32) -> Self {
        let table = map.table();
        let mut shades: Vec<[u8; 3]> = (0..=usize::from(LAST)).map(|shade| interpolate(table, shade)).collect();
        shades.push(interior);
        Self { shades: shades.into(), limit, scale: f64::from(LAST) / log2(1.0 + f64::from(limit)) }
    }

    /// Replaces `rgb` by 3 bytes a point: red, green, blue.
    ///
    /// `escapes` was found under the palette's limit.
    pub fn paint_into(&self, escapes: &Escapes, rgb: &mut Vec<u8>) {
        rgb.resize(escapes.counts.len() * 3, 0);
        let chunks = escapes.counts.chunks(CHUNK).zip(escapes.re.chunks(CHUNK)).zip(escapes.im.chunks(CHUNK));
        let mut shades = [0; CHUNK];
        for (((counts, re), im), rgb) in chunks.zip(rgb.chunks_mut(CHUNK * 3)) {
            self.shades(counts, re, im, &mut shades);
            for (pixel, &shade) in rgb.as_chunks_mut().0.iter_mut().zip(&shades) {
                *pixel = self.shades[usize::from(shade)];
            }
        }
    }

    #[expect(unsafe_code, reason = "calls functions compiled for instructions that were detected")]
    fn shades(&self, counts: &[u32], re: &[f64], im: &[f64], shades: &mut [u16; CHUNK]) {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl")
            {
                // SAFETY: the processor has the instructions.
                return unsafe { shades_avx512(self, counts, re, im, shades) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has the instructions.
                return unsafe { shades_avx2(self, counts, re, im, shades) };
            }
        }
        shades_anywhere(self, counts, re, im, shades);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn shades_avx512(palette: &Palette, counts: &[u32], re: &[f64], im: &[f64], shades: &mut [u16; CHUNK]) {
    shades_anywhere(palette, counts, re, im, shades);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn shades_avx2(palette: &Palette, counts: &[u32], re: &[f64], im: &[f64], shades: &mut [u16; CHUNK]) {
    shades_anywhere(palette, counts, re, im, shades);
}

/// The shade of each of at most [`CHUNK`] points. No branches, so that the compiler makes vector code of it.
#[inline(always)]
fn shades_anywhere(palette: &Palette, counts: &[u32], re: &[f64], im: &[f64], shades: &mut [u16; CHUNK]) {
    for (((&count, &re), &im), shade) in counts.iter().zip(re).zip(im).zip(shades) {
        let place = log2(1.0 + smooth(count, re, im)) * palette.scale;
        let place = if place < f64::from(LAST) { place } else { f64::from(LAST) };
        *shade = if count < palette.limit { nearest(place) } else { LAST + 1 };
    }
}

/// Shade `shade` of [`LAST`]: its place among the entries is `shade * 255 / 4095`, rounded to a 16th of an entry.
fn interpolate(table: &[[u8; 3]; ENTRIES], shade: usize) -> [u8; 3] {
    // 4095 shades over 255 entries are 273 / 17 shades an entry: the place in 273rds is exact, 17 a shade.
    let place = shade * 17;
    let (entry, part) = (place / 273, place % 273);
    let next = (entry + 1).min(ENTRIES - 1);
    let mix = |k: usize| (usize::from(table[entry][k]) * (273 - part) + usize::from(table[next][k]) * part + 136) / 273;
    [0, 1, 2].map(|k| u8::try_from(mix(k)).expect("a mix of two bytes is a byte"))
}

/// Reads the tables while compiling: a malformed file does not compile.
const fn parse<const MAPS: usize>(text: &[u8]) -> [[[u8; 3]; ENTRIES]; MAPS] {
    const LINE: usize = ENTRIES * 6 + 1;
    assert!(text.len() == MAPS * LINE, "one line a map");
    let mut tables = [[[0; 3]; ENTRIES]; MAPS];
    let mut at = 0;
    while at < MAPS * ENTRIES * 3 {
        let (map, byte) = (at / (ENTRIES * 3), at % (ENTRIES * 3));
        let digit = map * LINE + byte * 2;
        tables[map][byte / 3][byte % 3] = hex(text[digit]) * 16 + hex(text[digit + 1]);
        at += 1;
    }
    tables
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => panic!("not a hex digit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escapes(points: &[(u32, f64)]) -> Escapes {
        Escapes {
            counts: points.iter().map(|p| p.0).collect(),
            re: points.iter().map(|p| p.1).collect(),
            im: vec![0.0; points.len()],
        }
    }

    #[test]
    fn every_name_names_its_map() {
        for (k, map) in ColourMap::ALL.into_iter().enumerate() {
            assert_eq!((by_name(map.name()), map as usize), (Some(map), k));
        }
        assert_eq!(by_name("Inferno"), None);
    }

    #[test]
    fn the_tables_are_in_their_places() {
        assert_eq!(ColourMap::Inferno.table()[255], [252, 254, 164]);
        assert_eq!(ColourMap::Viridis.table()[0], [68, 1, 84]);
        assert_eq!(ColourMap::Gray.table()[128], [128; 3]);
        assert_eq!(ColourMap::Hot.table()[255], [255; 3]);
    }

    #[test]
    fn shades_pass_from_the_first_entry_to_the_last_without_jumps() {
        for map in ColourMap::ALL {
            let palette = Palette::new(map, [1, 2, 3], 100);
            assert_eq!(palette.shades.len(), 4097);
            assert_eq!(palette.shades[0], map.table()[0]);
            assert_eq!(palette.shades[4095], map.table()[255]);
            assert_eq!(palette.shades[4096], [1, 2, 3]);
            for entry in 0..=15 {
                assert_eq!(palette.shades[entry * 273], map.table()[entry * 17], "every 17th entry is met exactly");
            }
        }
    }

    #[test]
    fn pixels_outside_the_table_take_its_ends() {
        let palette = Palette::new(ColourMap::Hot, [9, 8, 7], 1);
        let mut rgb = vec![];
        palette.paint_into(&escapes(&[(0, f64::MAX), (0, 1.0001), (1, 0.0)]), &mut rgb);
        assert_eq!(rgb, [10, 0, 0, 255, 255, 255, 9, 8, 7]);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "calls functions compiled for instructions that were detected")]
    fn every_instruction_set_gives_the_same_shades() {
        let palette = Palette::new(ColourMap::Hot, [0; 3], 1 << 20);
        let (mut seed, mut points) = (1u64, vec![]);
        for _ in 0..CHUNK * 64 - 5 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // All exponents, with infinities, NaNs, zeros and subnormal numbers among them.
            points.push((
                u32::try_from(seed >> 43).expect("21 bits"),
                f64::from_bits(seed.rotate_left(17)),
                f64::from_bits(seed),
            ));
        }
        for points in points.chunks(CHUNK) {
            let counts: Vec<u32> = points.iter().map(|p| p.0).collect();
            let (re, im): (Vec<f64>, Vec<f64>) = points.iter().map(|p| (p.1, p.2)).unzip();
            let mut shades = [[0; CHUNK]; 3];
            shades_anywhere(&palette, &counts, &re, &im, &mut shades[0]);
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has the instructions.
                unsafe { shades_avx2(&palette, &counts, &re, &im, &mut shades[1]) };
                assert_eq!(shades[0], shades[1]);
            }
            palette.shades(&counts, &re, &im, &mut shades[2]);
            assert_eq!(shades[0], shades[2]);
        }
    }
}
