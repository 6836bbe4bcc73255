//! Colour: from escape times to red, green, blue.
//!
//! A [`Palette`] is prepared once a render, for one [`ColourMap`], interior colour and limit. A pixel's place in the map is
//! t = log2(1 + v) / log2(1 + limit), with v its smooth value: equal distances in t are equal ratios of v, so that the wide bands
//! far from the set and the fine ones near it both get their share of colours. The table of 4,096 shades is made of integers,
//! and everything else is arithmetic that is alike on every host.
//!
//! A pixel does not pay for that logarithm: 1 + v is cut to [`KEY_BITS`] bits after its leading one, and the palette knows the
//! shade of every such key, which is that of the middle of the numbers that share it. Under a limit of 256 a key is a third of a
//! shade wide.

use crate::kernel::Escapes;
use crate::log2::log2;
use crate::smooth::{smooth, square};

/// Entries of a colour map.
const ENTRIES: usize = 256;
/// The number of the last shade of a palette.
const LAST: u16 = 4095;
/// Bits of a key after the leading one, that is, of the mantissa of 1 + v: 2,048 keys from one power of two to the next.
const KEY_BITS: u32 = 11;
/// Bits of an f32 that a key leaves out.
const CUT: u32 = f32::MANTISSA_DIGITS - 1 - KEY_BITS;
/// Points whose keys are found at a time.
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
    /// The colour of each key from that of 1 to that of 1 + limit, and the interior's: red in the lowest byte, then green, blue.
    colours: Box<[u32]>,
    limit: u32,
}

/// The points of a run, one slice a quantity.
#[derive(Clone, Copy)]
struct Points<'a> {
    counts: &'a [u32],
    re: &'a [f64],
    im: &'a [f64],
}

/// The key of a number that is at least 1, counted from that of 1.
#[inline(always)]
fn key(number: f32) -> u32 {
    (number.to_bits() >> CUT) - (1f32.to_bits() >> CUT)
}

impl Palette {
    /// Spreads `map` over the smooth values from 0 to `limit`, the iteration limit, at least 1. Points that do not escape get
    /// the colour `interior`.
    ///
    /// Between the map's 256 entries lie 15 more each, by linear interpolation in integers.
    #[must_use]
    pub fn new(map: ColourMap, interior: [u8; 3], limit: u32) -> Self {
        let shades: Vec<[u8; 3]> = (0..=LAST).map(|shade| interpolate(map.table(), shade.into())).collect();
        let top = 1.0 + limit as f32;
        let scale = f32::from(LAST) / log2(top);
        let shade = |key: u32| shades[usize::from(nearest_shade(log2(middle(key)) * scale))];
        let colours = (0..=key(top)).map(shade).chain([interior]);
        Self { colours: colours.map(|[r, g, b]| u32::from_le_bytes([r, g, b, 0])).collect(), limit }
    }

    /// Replaces `rgb` by 3 bytes a point: red, green, blue.
    ///
    /// `escapes` was found under the palette's limit.
    pub fn paint_into(&self, escapes: &Escapes, rgb: &mut Vec<u8>) {
        rgb.resize(escapes.counts.len() * 3, 0);
        self.paint(&escapes.counts, &escapes.re, &escapes.im, rgb);
    }

    /// Writes 3 bytes a point to `rgb`; see [`Palette::paint_into`]. The slices are of as many points.
    pub(crate) fn paint(&self, counts: &[u32], re: &[f64], im: &[f64], rgb: &mut [u8]) {
        let chunks = counts.chunks(CHUNK).zip(re.chunks(CHUNK)).zip(im.chunks(CHUNK));
        let mut keys = [0; CHUNK];
        for (((counts, re), im), rgb) in chunks.zip(rgb.chunks_mut(CHUNK * 3)) {
            self.keys(Points { counts, re, im }, &mut keys);
            self.expand(&keys[..counts.len()], rgb);
        }
    }

    /// Looks the colours up. Four points at a time are 12 bytes, written as one.
    fn expand(&self, keys: &[u32], rgb: &mut [u8]) {
        let colour = |key: u32| u128::from(self.colours[key as usize]);
        let ((fours, keys), (twelves, rgb)) = (keys.as_chunks::<4>(), rgb.as_chunks_mut::<12>());
        for (&[a, b, c, d], twelve) in fours.iter().zip(twelves) {
            let bits = colour(a) | colour(b) << 24 | colour(c) << 48 | colour(d) << 72;
            twelve.copy_from_slice(&bits.to_le_bytes()[..12]);
        }
        for (&key, pixel) in keys.iter().zip(rgb.as_chunks_mut::<3>().0) {
            pixel.copy_from_slice(&self.colours[key as usize].to_le_bytes()[..3]);
        }
    }

    #[expect(unsafe_code, reason = "calls functions compiled for instructions that were detected")]
    fn keys(&self, points: Points<'_>, keys: &mut [u32; CHUNK]) {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl")
            {
                // SAFETY: the processor has the instructions.
                return unsafe { keys_avx512(self, points, keys) };
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has the instructions.
                return unsafe { keys_avx2(self, points, keys) };
            }
        }
        keys_anywhere(self, points, keys);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn keys_avx512(palette: &Palette, points: Points<'_>, keys: &mut [u32; CHUNK]) {
    keys_anywhere(palette, points, keys);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn keys_avx2(palette: &Palette, points: Points<'_>, keys: &mut [u32; CHUNK]) {
    keys_anywhere(palette, points, keys);
}

/// The key of each of at most [`CHUNK`] points; the interior's comes after the others.
///
/// No branches, so that the compiler makes vector code of it; and two loops, because numbers of 64 bits and of 32 fill vectors
/// of different lengths.
#[inline(always)]
fn keys_anywhere(palette: &Palette, points: Points<'_>, keys: &mut [u32; CHUNK]) {
    let (limit, last) = (palette.limit, key(1.0 + palette.limit as f32));
    for ((&re, &im), key) in points.re.iter().zip(points.im).zip(&mut *keys) {
        *key = square(re, im);
    }
    for (&count, place) in points.counts.iter().zip(keys) {
        let key = key(1.0 + smooth(count, *place));
        let key = if key < last { key } else { last };
        *place = if count < limit { key } else { last + 1 };
    }
}

/// The middle of the numbers that share a key.
fn middle(key: u32) -> f32 {
    f32::from_bits((((1f32.to_bits() >> CUT) + key) << CUT) + (1 << (CUT - 1)))
}

/// The shade nearest to `place`, which is not negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn nearest_shade(place: f32) -> u16 {
    ((place + 0.5) as u16).min(LAST)
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
            let table = map.table();
            for entry in 0..=15 {
                assert_eq!(interpolate(table, entry * 273), table[entry * 17], "every 17th entry is met exactly");
            }
        }
    }

    #[test]
    fn a_colour_is_that_of_the_formula() {
        for limit in [1, 2, 3, 10, 256, 10_000, 1 << 24, u32::MAX] {
            let palette = Palette::new(ColourMap::Gray, [1, 2, 3], limit);
            let (interior, keys) = palette.colours.split_last().expect("the interior");
            assert_eq!((keys[0], *interior), (0, 0x03_0201));
            assert_eq!(keys[keys.len() - 1], 0xff_ffff);
            for (key, colour) in (0..).zip(keys) {
                let t = f64::from(middle(key)).log2() / (1.0 + f64::from(limit)).log2();
                let grey = f64::from(u8::try_from(colour & 0xff).expect("a byte"));
                // Some of the map's entries are 1 less than their number.
                assert!((grey - 255.0 * t.min(1.0)).abs() < 1.6, "{grey}, not 255 * {t}, at key {key} under {limit}");
            }
            assert!(keys.is_sorted(), "a rising map gives rising keys");
        }
    }

    #[test]
    fn the_middle_of_a_key_has_that_key() {
        assert_eq!((key(1.0), key(2.0), key(1024.0)), (0, 1 << KEY_BITS, 10 << KEY_BITS));
        for k in (0..32 << KEY_BITS).step_by(77) {
            assert_eq!(key(middle(k)), k);
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
    fn every_instruction_set_gives_the_same_keys() {
        let palette = Palette::new(ColourMap::Hot, [0; 3], 1 << 20);
        let (mut seed, mut points) = (1u64, vec![]);
        for _ in 0..CHUNK * 64 - 5 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // All exponents, with infinities, NaNs, zeros and subnormal numbers among them, or those of a picture.
            let exponents = if seed & (1 << 50) == 0 { u64::MAX } else { 0x803f << 48 | ((1 << 48) - 1) };
            let number = |bits: u64| f64::from_bits(bits & exponents | (!exponents & 0x4000 << 48));
            points.push((u32::try_from(seed >> (43 + seed % 21)).expect("21 bits"), number(seed.rotate_left(17)), number(seed)));
        }
        for points in points.chunks(CHUNK) {
            let counts: Vec<u32> = points.iter().map(|p| p.0).collect();
            let (re, im): (Vec<f64>, Vec<f64>) = points.iter().map(|p| (p.1, p.2)).unzip();
            let points = Points { counts: &counts, re: &re, im: &im };
            let mut keys = [[0; CHUNK]; 3];
            keys_anywhere(&palette, points, &mut keys[0]);
            assert!(keys[0].iter().all(|&key| (key as usize) < palette.colours.len()));
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has the instructions.
                unsafe { keys_avx2(&palette, points, &mut keys[1]) };
                assert_eq!(keys[0], keys[1]);
            }
            palette.keys(points, &mut keys[2]);
            assert_eq!(keys[0], keys[2]);
        }
    }
}
