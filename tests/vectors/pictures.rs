//! How pictures are cut, sampled, counted and put together.

use fractally_client::Assembler;
use fractally_fractal::{
    colour::{self, Palette},
    kernel::{self, Watch},
    scene::{Scene, Window as Part},
    strip::{Output, Scratch, render_strip},
};
use fractally_proto::{Colour, ColourMap, Encoding, Layout, Request, Size, StripMeta, Window};
use num_complex::Complex;
use sha2::{Digest, Sha256};

use crate::value::{Value, hex, list, map};

fn request(w: u32, h: u32, encoding: Encoding) -> Request {
    let size = Size { w, h };
    Request { size, window: Window::whole(size), encoding, ..Request::default() }
}

fn scene_of(request: &Request) -> Scene {
    let Window { x, y, w, h } = request.window;
    Scene {
        c: Complex::new(request.c[0], request.c[1]),
        center: Complex::new(request.center[0], request.center[1]),
        width: request.width,
        size: (request.size.w, request.size.h),
        window: Part { x, y, w, h },
        iterations: request.iterations,
        bailout: request.bailout,
    }
}

/// First rows of strips: of all where they are few, else of the first and the last ones.
pub(crate) fn strips() -> Value {
    let sizes = [
        (1, 1),
        (3, 2),
        (4000, 2000),
        (1, 200_000),
        (4000, 43),
        (65_536, 3),
        (65_537, 3),
        (87_381, 4),
        (87_382, 4),
        (1_000_000, 2),
        (640, 480),
        (1_000_000, 1_000_000),
    ];
    let cases = sizes.into_iter().flat_map(|(w, h)| [Encoding::Counts, Encoding::Png].map(|encoding| request(w, h, encoding)));
    list(cases.map(|request| {
        let layout = Layout::of(&request);
        let told = (0..layout.strips()).filter(|&strip| strip < 4 || strip + 3 > layout.strips());
        map([
            ("encoding", if request.encoding == Encoding::Counts { "counts" } else { "png" }.into()),
            ("w", request.window.w.into()),
            ("h", request.window.h.into()),
            ("rows_per_strip", layout.rows_per_strip().into()),
            ("strips", layout.strips().into()),
            ("strip_and_first_row", list(told.map(|strip| list([strip, layout.rows_of(strip).start])))),
            ("encoded_bytes_max_of_any", layout.strip_len_max().into()),
        ])
    }))
}

/// Small pictures of all kinds.
fn scenes() -> Vec<(&'static str, Request)> {
    let small = Request { iterations: 200, ..request(20, 12, Encoding::Counts) };
    let spiral = [-0.905_531_251_527_432_5, 0.403_245_115_051_124_4];
    vec![
        ("the centre at 0: its own half-turn", small),
        (
            "odd sides, where half a width is no whole number",
            Request { c: [-0.4, 0.6], center: [0.1, -0.2], ..request(19, 11, Encoding::Counts) },
        ),
        ("a window", Request { window: Window { x: 7, y: 3, w: 9, h: 5 }, ..small }),
        ("deep", Request { center: spiral, width: 1e-9, iterations: 3000, ..small }),
        (
            "points on the circle of the bailout, which have not escaped",
            Request { c: [0.0, 0.0], center: [2.0, 0.0], width: 1e-3, iterations: 20, ..request(3, 3, Encoding::Counts) },
        ),
        ("no pixel escapes", Request { c: [-0.123, 0.745], width: 0.01, iterations: 1_000, ..small }),
        ("one iteration", Request { iterations: 1, ..small }),
        ("a bailout of 1e9, and points far beyond it", Request { bailout: 1e9, width: 1e9, ..small }),
        ("a part of c is -0", Request { c: [-1.0, -0.0], ..small }),
        (
            "the virtual image is too large to draw",
            Request {
                size: Size { w: 2_147_483_647, h: 2_147_483_647 },
                window: Window { x: 1_073_741_000, y: 1_073_741_820, w: 8, h: 6 },
                ..small
            },
        ),
    ]
}

pub(crate) fn points() -> Value {
    list(scenes().into_iter().map(|(what, request)| {
        let scene = scene_of(&request);
        let Window { w, h, .. } = request.window;
        let pixels = [(0, 0), (w - 1, 0), (w / 2, h / 2), (w / 3, h - 1), (w - 1, h - 1)];
        let told =
            pixels.map(|(column, row)| Value::List(vec![column.into(), row.into(), scene.x(column).into(), scene.y(row).into()]));
        map([("what", what.into()), ("request", Value::read(&request.canonical())), ("column_row_x_y", list(told))])
    }))
}

pub(crate) fn counts() -> Value {
    list(scenes().into_iter().map(|(what, request)| {
        let (scene, window) = (scene_of(&request), request.window);
        let count = |row, column| scene.rule().escape(Complex::new(scene.x(column), scene.y(row))).count;
        let rows: Vec<Vec<u32>> = (0..window.h).map(|row| (0..window.w).map(|column| count(row, column)).collect()).collect();
        let raw: Vec<u8> = rows.iter().flatten().flat_map(|count| count.to_le_bytes()).collect();
        let (mut scratch, watch) = (Scratch::new(), Watch::new());
        let strip = render_strip(kernel::best(), &scene, 0..window.h, &Output::Counts, &mut scratch, &watch).unwrap();
        assert_eq!(strip.bytes, raw, "{what}: the kernel and the definition differ");
        let told = [0, window.h / 2, window.h - 1];
        map([
            ("what", what.into()),
            ("request", Value::read(&request.canonical())),
            ("content", request.content().to_string().into()),
            ("iterations", strip.iterations.into()),
            ("crc32", crc32fast::hash(&raw).into()),
            ("adler32", strip.adler32.into()),
            ("row_and_counts", list(told.map(|row| Value::List(vec![row.into(), list(rows[row as usize].clone())])))),
        ])
    }))
}

pub(crate) fn heads() -> Value {
    let sizes = [(1, 1), (640, 480), (1_000_000, 1_000_000)];
    list(sizes.into_iter().flat_map(|(w, h)| [Encoding::Counts, Encoding::Png].map(|encoding| request(w, h, encoding))).map(
        |request| {
            let mut head = vec![];
            Assembler::begin(&request, &mut head).unwrap();
            map([("request", Value::read(&request.canonical())), ("bytes", Value::Bytes(head))])
        },
    ))
}

/// Strips, and the file that they make.
pub(crate) fn files() -> Value {
    let ring = Colour { map: ColourMap::Inferno, interior: [10, 20, 30] };
    let flat = Request { c: [0.0, 0.0], width: 0.001, iterations: 3, colour: ring, ..request(4000, 50, Encoding::Png) };
    let cases = [
        ("one strip", Request { iterations: 50, ..request(24, 16, Encoding::Png) }),
        ("four strips of one colour", flat),
        ("one pixel", request(1, 1, Encoding::Png)),
        ("counts", Request { iterations: 50, ..request(12, 8, Encoding::Counts) }),
    ];
    list(cases.map(|(what, request)| {
        let (scene, layout, Colour { map: colours, interior }) = (scene_of(&request), Layout::of(&request), request.colour);
        let palette = Palette::new(colour::by_name(colours.name()).unwrap(), interior, request.iterations);
        let output = if request.encoding == Encoding::Png { Output::Png(&palette) } else { Output::Counts };
        let mut file = Assembler::begin(&request, vec![]).unwrap();
        let strips: Vec<_> = (0..layout.strips())
            .map(|strip| {
                let (mut scratch, watch) = (Scratch::new(), Watch::new());
                let made = render_strip(kernel::best(), &scene, layout.rows_of(strip), &output, &mut scratch, &watch).unwrap();
                let meta = StripMeta(u32::try_from(made.bytes.len()).unwrap(), made.adler32);
                file.append(strip, &[meta], &made.bytes).unwrap();
                map([("encoded", Value::Bytes(made.bytes)), ("adler32", made.adler32.into())])
            })
            .collect();
        let bytes = file.finish().unwrap();
        map([
            ("what", what.into()),
            ("request", Value::read(&request.canonical())),
            ("strips", Value::List(strips)),
            ("length", u64::try_from(bytes.len()).unwrap().into()),
            ("sha256", hex(&Sha256::digest(&bytes)).into()),
        ])
    }))
}
