//! The pictures that are measured: what they are called, how they grow, and the ones that a series has for itself.

use std::fmt::Write;

use fractally_proto::{Colour, Encoding, Layout, Request, Size, Window};

/// What a picture is called in records: pictures of one name are points of one curve, so whatever is not as by default is told.
pub(super) fn title(request: &Request) -> String {
    let default = Request::default();
    let format = match request.encoding {
        Encoding::Png => "png",
        Encoding::Counts => "counts",
    };
    if (Request { encoding: default.encoding, ..*request }) == default {
        return format!("the talk's scene, {format}");
    }
    let Request { c, center, width, size, window, iterations, bailout, colour, encoding: _ } = request;
    let mut title = format!("c = {}, {}x{}", complex(*c), size.w, size.h);
    let mut tell = |text: String| {
        let _ = write!(title, ", {text}");
    };
    if *window != Window::whole(*size) {
        tell(format!("window {}", part(window)));
    }
    if *center != default.center || *width != default.width {
        tell(format!("{width} wide round {}", complex(*center)));
    }
    tell(format!("{iterations} iterations"));
    if *bailout != default.bailout {
        tell(format!("bailout {bailout}"));
    }
    if *colour != default.colour && request.encoding == Encoding::Png {
        tell(format!("{} on {}", colour.map.name(), hex(colour)));
    }
    tell(format.to_owned());
    title
}

/// The options of `fractally render` that draw it.
pub(super) fn options(request: &Request) -> Vec<String> {
    let Request { c, center, width, size, window, iterations, bailout, colour, encoding } = request;
    let format = match encoding {
        Encoding::Png => "png",
        Encoding::Counts => "npy",
    };
    let options = [
        ("-c", complex(*c)),
        ("--center", complex(*center)),
        ("--width", width.to_string()),
        ("--size", format!("{}x{}", size.w, size.h)),
        ("--window", part(window)),
        ("--iter", iterations.to_string()),
        ("--bailout", bailout.to_string()),
        ("--cmap", colour.map.name().to_owned()),
        ("--interior", hex(colour)),
        ("--format", format.to_owned()),
    ];
    options.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect()
}

/// The same view with `n` times the pixels: so every row costs as much for each of its pixels as it did, wherever the view lies, and the
/// work grows as the pixels do. The last column is left out, since a picture that is its own half-turn costs half of one that is not,
/// but only up to a size: that would show as a bend of the curve.
pub(super) fn grown(request: &Request, n: u32) -> Request {
    let factor = f64::from(n).sqrt();
    // Grown by even numbers, what was in the middle stays there.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
    let grow = |side: u32| side.saturating_add(2 * (f64::from(side) * (factor - 1.0) / 2.0).round().min(1e9) as u32);
    let (size, window) = (request.size, request.window);
    let grown = Size { w: grow(size.w), h: grow(size.h) };
    let place = |first: u32, count: u32, all: u32, count_now: u32, all_now: u32| {
        let (room, room_now) = (u64::from(all - count), u64::from(all_now.saturating_sub(count_now)));
        u32::try_from((u64::from(first) * room_now).checked_div(room).unwrap_or(0)).unwrap_or(u32::MAX)
    };
    let (w, h) = (grow(window.w).min(grown.w), grow(window.h).min(grown.h));
    let (x, y) = (place(window.x, window.w, size.w, w, grown.w), place(window.y, window.h, size.h, h, grown.h));
    Request { size: grown, window: Window { x, y, w: (w - 1).max(1), h }, ..*request }
}

/// Whether a grid spares the rows of it that are mirror images of others: half of the picture then waits for the other half, for which a
/// broker has so much room at its default bounds and with fewer than 22 threads.
pub(super) fn is_mirrored(request: &Request) -> bool {
    const ROOM: u64 = 36 << 20;
    let layout = Layout::of(request);
    request.is_its_own_half_turn() && u64::from(layout.strips() / 2) * layout.strip_len_max() <= ROOM
}

/// A picture whose every row is a strip of its own, which is not its own half-turn: each lease asks for one band, and what workers that
/// compute nothing say of it makes bands of one strip: at the least speed that a broker believes in, such a row takes a second.
pub(super) fn rows_as_strips(rows: u32) -> Request {
    let size = Size { w: 500_000, h: rows };
    Request { center: [0.01, 0.0], size, window: Window::whole(size), iterations: 1, ..Request::default() }
}

/// Counts of one pixel: a job of one band.
pub(super) fn one_pixel() -> Request {
    let size = Size { w: 1, h: 1 };
    Request { size, window: Window::whole(size), encoding: Encoding::Counts, ..Request::default() }
}

/// Counts that cost nothing to compute, 32 KiB a row.
pub(super) fn cheap_counts(rows: u32) -> Request {
    let size = Size { w: 8192, h: rows };
    Request { size, window: Window::whole(size), iterations: 1, encoding: Encoding::Counts, ..Request::default() }
}

/// In the Siegel disk of the golden mean, where no kernel can spare an iteration: work for all threads of a grid, for minutes.
pub(super) fn endless() -> Request {
    let size = Size { w: 20_000, h: 20_000 };
    let (c, center) = ([-0.390_540_870_218_399, -0.586_787_907_346_969], [-0.368_684_439, -0.337_745_147]);
    Request { c, center, width: 0.2, size, window: Window::whole(size), iterations: 8000, ..Request::default() }
}

/// As it is read again to the bit.
fn complex([re, im]: [f64; 2]) -> String {
    format!("{re}{im:+}i")
}

fn part(window: &Window) -> String {
    let Window { x, y, w, h } = window;
    format!("{w}x{h}+{x}+{y}")
}

fn hex(colour: &Colour) -> String {
    let [r, g, b] = colour.interior;
    format!("#{r:02x}{g:02x}{b:02x}")
}

#[cfg(test)]
mod tests {
    use fractally_proto::{ColourMap, Limits, notation};

    use super::*;

    fn unlike() -> Request {
        Request {
            c: [-0.1, 1e-17],
            center: [1e-3, -0.0],
            width: 0.1 + 0.2,
            size: Size { w: 301, h: 200 },
            window: Window { x: 3, y: 5, w: 7, h: 11 },
            iterations: 99,
            bailout: 1e9,
            colour: Colour { map: ColourMap::ALL[1], interior: [1, 2, 255] },
            encoding: Encoding::Png,
        }
    }

    #[test]
    fn the_talks_scene_has_a_name_and_others_tell_all_that_differs() {
        assert_eq!(title(&Request::default()), "the talk's scene, png");
        assert_eq!(title(&Request { encoding: Encoding::Counts, ..Request::default() }), "the talk's scene, counts");
        let base = unlike();
        let mut titles: Vec<_> = [
            base,
            Request { c: [-0.1, -1e-17], ..base },
            Request { center: [0.0, 0.0], ..base },
            Request { width: 4.0, ..base },
            Request { size: Size { w: 302, h: 200 }, ..base },
            Request { window: Window::whole(base.size), ..base },
            Request { iterations: 100, ..base },
            Request { bailout: 2.0, ..base },
            Request { colour: Colour::default(), ..base },
            Request { encoding: Encoding::Counts, ..base },
        ]
        .iter()
        .map(title)
        .collect();
        titles.sort();
        titles.dedup();
        assert_eq!(titles.len(), 10, "{titles:?}");
    }

    #[test]
    fn options_draw_the_same_picture_to_the_bit() {
        let options = options(&unlike());
        let value = |option: &str| &*options[options.iter().position(|word| word == option).unwrap() + 1];
        let same = |read: [f64; 2], written: [f64; 2]| read.map(f64::to_bits) == written.map(f64::to_bits);
        assert!(same(notation::complex(value("-c")).unwrap(), unlike().c));
        assert!(same(notation::complex(value("--center")).unwrap(), unlike().center));
        assert_eq!(value("--width").parse::<f64>().unwrap().to_bits(), unlike().width.to_bits());
        assert_eq!(notation::window(value("--window")), Ok(unlike().window));
        assert_eq!(notation::colour(value("--interior")), Ok([1, 2, 255]));
        assert_eq!((value("--format"), value("--bailout")), ("png", "1000000000"));
    }

    #[test]
    fn a_picture_grows_with_the_workers_and_shows_the_same() {
        for (request, tolerance) in [(Request::default(), 0.002), (unlike(), 0.5)] {
            for n in [1, 2, 3, 4, 7, 64, 512] {
                let grown = grown(&request, n);
                grown.validate(&Limits::default()).unwrap();
                let share = grown.pixels() as f64 / request.pixels() as f64 / f64::from(n);
                assert!((share - 1.0).abs() < tolerance, "{n}: {share}");
                assert!(!grown.is_its_own_half_turn());
            }
        }
        let Window { x, y, w, h } = grown(&Request::default(), 4).window;
        assert_eq!((x, y, w, h), (0, 0, 7999, 4000));
        let size = Size { w: 1, h: 1 };
        let smallest = grown(&Request { size, window: Window::whole(size), ..Request::default() }, 1);
        assert_eq!(smallest.window, Window::whole(size));
    }

    #[test]
    fn pictures_are_mirrored_up_to_a_size() {
        let scene = Request::default();
        assert!(is_mirrored(&scene) && !is_mirrored(&Request { center: [0.1, 0.0], ..scene }));
        let size = Size { w: 8000, h: 4000 };
        assert!(!is_mirrored(&Request { size, window: Window::whole(size), ..scene }), "half of it has 48 MB");
    }

    #[test]
    fn every_row_without_work_is_a_strip() {
        let request = rows_as_strips(1000);
        assert_eq!(Layout::of(&request).strips(), 1000);
        assert!(!request.is_its_own_half_turn());
        for request in [rows_as_strips(1_000_000), one_pixel(), cheap_counts(81_920), endless()] {
            request.validate(&Limits::default()).unwrap();
        }
    }
}
