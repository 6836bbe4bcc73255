//! Golden hashes: the bits that [`ENGINE_ID`] names, of counts, colours and encoded strips, as every kernel makes them.
//!
//! When one of these fails on purpose, the engine id has to change with it, or workers of two versions mix their bits in one
//! picture.

use fractally_fractal::colour::{ColourMap, Palette};
use fractally_fractal::kernel::{self, Escapes, Kernel, Lattice, Watch};
use fractally_fractal::scene::{Scene, Window};
use fractally_fractal::strip::{Output, Scratch, render_strip};
use fractally_fractal::{ENGINE_ID, smooth};
use num_complex::Complex;
use sha2::{Digest, Sha256};

struct Golden {
    name: &'static str,
    scene: Scene,
    map: ColourMap,
    /// The first 8 bytes of SHA-256 of the counts, the smooth values, the colours, and a PNG's strips of 20 rows.
    counts: &'static str,
    smooth: &'static str,
    colours: &'static str,
    strips: &'static str,
}

fn scene(c: (f64, f64), center: (f64, f64), width: f64, size: (u32, u32), iterations: u32) -> Scene {
    Scene::whole(Complex::new(c.0, c.1), Complex::new(center.0, center.1), width, size, iterations)
}

fn goldens() -> Vec<Golden> {
    let spiral = (-0.905_531_251_527_432_5, 0.403_245_115_051_124_4);
    let seed = scene((-0.8, 0.156), (0.0, 0.0), 4.0, (400, 200), 256);
    vec![
        Golden {
            name: "seed",
            scene: seed,
            map: ColourMap::Inferno,
            counts: "5557c09cdd18ed6b",
            smooth: "ab80791f09b05a09",
            colours: "5472ecf2dddcb57f",
            strips: "386c07be404cd6b1",
        },
        Golden {
            name: "crop",
            scene: Scene { window: Window { x: 101, y: 37, w: 211, h: 90 }, bailout: 1e6, ..seed },
            map: ColourMap::Twilight,
            counts: "ea8e47f0fe90059e",
            smooth: "12053d4762a55735",
            colours: "7bc46f299983b17a",
            strips: "3ff8cb2e4af1de68",
        },
        Golden {
            name: "boundary",
            scene: scene((-0.8, 0.156), spiral, 1e-6, (150, 150), 10_000),
            map: ColourMap::Turbo,
            counts: "48d5d39618b58f88",
            smooth: "4d527c2deab18c76",
            colours: "002f6f918d4f138c",
            strips: "7d4e45feb5f0f30c",
        },
        Golden {
            name: "interior",
            scene: scene((-0.123, 0.745), (0.0, 0.0), 3.2, (150, 150), 1_000),
            map: ColourMap::Viridis,
            counts: "dfd94b295fc351a1",
            smooth: "3f5b651bfd60cb75",
            colours: "018b38333533e72d",
            strips: "679f4b61c2b88b4a",
        },
        Golden {
            name: "far constant",
            scene: scene((-2.1, 0.3), (0.0, 0.0), 5.0, (160, 90), 500),
            map: ColourMap::Cubehelix,
            counts: "30b55c6c31cff0bf",
            smooth: "28716a5fba8d654c",
            colours: "1bb997dfbd3d5f4c",
            strips: "3cd148e303995a68",
        },
    ]
}

fn hash(bytes: impl IntoIterator<Item = u8>) -> String {
    let bytes: Vec<u8> = bytes.into_iter().collect();
    Sha256::digest(&bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hashes(kernel: &dyn Kernel, golden: &Golden) -> [String; 4] {
    let scene = &golden.scene;
    let (mut columns, mut rows, mut escapes) = (vec![], vec![], Escapes::default());
    scene.columns_into(&mut columns);
    scene.rows_into(0..scene.window.h, &mut rows);
    let lattice = Lattice { rule: scene.rule(), columns: &columns, rows: &rows };
    kernel.escapes(&lattice, &Watch::new(), &mut escapes).expect("nobody cancels");
    let (mut values, mut rgb) = (vec![], vec![]);
    smooth::smooth_into(&escapes, &mut values);
    let palette = Palette::new(golden.map, [7, 11, 13], scene.iterations);
    palette.paint_into(&escapes, &mut rgb);
    let (mut scratch, mut strips) = (Scratch::new(), vec![]);
    for first in (0..scene.window.h).step_by(20) {
        let rows = first..scene.window.h.min(first + 20);
        let strip =
            render_strip(kernel, scene, rows, &Output::Png(&palette), &mut scratch, &Watch::new()).expect("nobody cancels");
        strips.extend_from_slice(&strip.bytes);
        strips.extend_from_slice(&strip.adler32.to_be_bytes());
    }
    [
        hash(escapes.counts.iter().flat_map(|count| count.to_le_bytes())),
        hash(values.iter().flat_map(|value| value.to_bits().to_le_bytes())),
        hash(rgb),
        hash(strips),
    ]
}

#[test]
fn the_engine_id_names_these_bits() {
    let mut wrong = vec![];
    for golden in goldens() {
        let expected = [golden.counts, golden.smooth, golden.colours, golden.strips];
        for kernel in kernel::all() {
            let found = hashes(kernel, &golden);
            if found != expected {
                wrong.push(format!("{}, kernel {}: counts, smooth, colours, strips are {found:?}", golden.name, kernel.name()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "the bits are not those of {ENGINE_ID}. If that is meant, write the new hashes here AND change ENGINE_ID:\n{}",
        wrong.join("\n")
    );
    assert_eq!(ENGINE_ID, "fractally-1", "a new engine id needs new hashes above, and this line");
}

#[test]
fn a_counts_strip_holds_the_counts() {
    let scene = goldens()[0].scene;
    let mut scratch = Scratch::new();
    let strip =
        render_strip(kernel::best(), &scene, 40..42, &Output::Counts, &mut scratch, &Watch::new()).expect("nobody cancels");
    assert_eq!((strip.raw_len, strip.bytes.len()), (2 * 400 * 4, 2 * 400 * 4));
    let count = |index: usize| *strip.bytes[index * 4..].first_chunk().expect("4 bytes");
    let escape = scene.rule().escape(Complex::new(scene.x(123), scene.y(41)));
    assert_eq!(u32::from_le_bytes(count(400 + 123)), escape.count);
    assert_eq!(strip.iterations, (0..800).map(|index| u64::from(u32::from_le_bytes(count(index)))).sum::<u64>());
}
