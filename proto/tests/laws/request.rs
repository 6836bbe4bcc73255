//! Laws of requests: validation answers whatever stands in the fields, and what passes can be cut into strips, leased and named in
//! every message.

use arbitrary::{Result, Unstructured};
use fractally_proto::{
    Band, Colour, ColourMap, Encoding, JobKey, Layout, Limits, Message, Priority, Refusal, Refused, Request, Size, Submit,
    Window, limits,
};

/// Pictures of up to so many strips are gone through whole; of larger ones so many at each end and in the middle.
const STRIPS_LOOKED_AT: u32 = 64;
/// A refusal is one line for people.
const REFUSAL_BYTES_MAX: usize = limits::TEXT_BYTES_MAX;

/// Draws a request, limits and a band from `input` and holds them to the laws. Whether the request is valid.
pub(crate) fn check_request(input: &[u8]) -> bool {
    let mut source = Unstructured::new(input);
    let Ok(request) = request(&mut source) else { return false };
    let Ok(limits) = narrower(&mut source) else { return false };
    let default = Limits::default();
    let verdict = request.validate(&default);
    if let Err(refusal) = &verdict {
        check_refusal(refusal);
        // Narrower limits never let through more.
        let narrow = request.validate(&limits).expect_err("wider limits refused it");
        check_refusal(&narrow);
        return false;
    }
    if let Err(refusal) = request.validate(&limits) {
        check_refusal(&refusal);
    }
    check_words(request);
    let layout = Layout::of(&request);
    check_layout(&request, &layout);
    let first = source.int_in_range(0..=layout.strips() - 1).unwrap_or(0);
    let strips = source.int_in_range(1..=layout.strips() - first).unwrap_or(1);
    check_band(&layout, Band { first, strips });
    check_band(&layout, Band { first, strips: layout.band_strips_max(first) });
    true
}

fn check_refusal(refusal: &Refusal) {
    assert!(!refusal.field.is_empty() && !refusal.message.is_empty() && !refusal.message.contains('\n'), "{refusal:?}");
    assert!(refusal.message.len() <= REFUSAL_BYTES_MAX, "{} bytes: {refusal:?}", refusal.message.len());
    let message = Message::Refused(Refused { key: JobKey([7; 16]), refusal: refusal.clone() });
    assert_eq!(Message::decode(&message.encode()), Ok(message));
}

fn check_words(request: Request) {
    let (key, priority) = (JobKey([7; 16]), Priority::Batch);
    let message = Message::Submit(Submit { key, priority, have: 0, engine: None, window_bytes: 1, request_id: None, request });
    assert_eq!(Message::decode(&message.encode()), Ok(message));
}

fn check_layout(request: &Request, layout: &Layout) {
    let (rows, strips) = (request.window.h, layout.strips());
    assert!(layout.rows() == rows && strips >= 1 && layout.rows_per_strip() >= 1);
    assert_eq!((layout.rows_before(0), layout.rows_before(strips)), (0, rows));
    let near = |at: u32| at.saturating_sub(STRIPS_LOOKED_AT / 2)..at.saturating_add(STRIPS_LOOKED_AT / 2).min(strips);
    let mut sum = 0;
    for strip in near(0).chain(near(strips / 2)).chain(near(strips)) {
        check_strip(layout, strip);
    }
    // Strips between the first and the last are equal, so the sum over all takes three.
    for (strip, times) in [(0, 1), (1, strips.saturating_sub(2)), (strips - 1, u32::from(strips > 1))] {
        if times > 0 {
            let range = layout.rows_of(strip);
            sum += u64::from(range.end - range.start) * u64::from(times);
        }
    }
    assert_eq!(sum, u64::from(rows), "every row once");
    assert_eq!(layout.whole(), Band { first: 0, strips });
}

fn check_strip(layout: &Layout, strip: u32) {
    let rows = layout.rows_of(strip);
    assert_eq!((rows.start, rows.end), (layout.rows_before(strip), layout.rows_before(strip + 1)));
    assert!(rows.start < rows.end && rows.end <= layout.rows() && rows.end - rows.start <= layout.rows_per_strip());
    if strip > 0 && strip + 1 < layout.strips() {
        assert_eq!(rows.end - rows.start, layout.rows_per_strip());
    }
    let (raw, encoded) = (layout.raw_len(strip), layout.encoded_len_max(strip));
    assert!(raw <= limits::STRIP_RAW_BYTES || rows.end - rows.start == 1);
    assert!(raw <= encoded && encoded <= layout.strip_len_max() && encoded <= limits::PAYLOAD_BYTES_MAX as u64);
    check_band(layout, Band { first: strip, strips: 1 });
}

fn check_band(layout: &Layout, band: Band) {
    let rows = layout.rows_of_band(band);
    let opposite = layout.opposite(band);
    assert_eq!(layout.opposite(opposite), band);
    assert_eq!(opposite.strips, band.strips);
    let mirrored = layout.rows_of_band(opposite);
    assert!((layout.rows() - mirrored.end).abs_diff(rows.start) <= 1 && (layout.rows() - mirrored.start).abs_diff(rows.end) <= 1);
    let longest = layout.band_strips_max(band.first);
    assert!((1..=limits::BAND_STRIPS_MAX).contains(&longest) && longest <= layout.strips() - band.first);
    if band.strips <= longest {
        assert!(layout.tile_len_max(band) <= limits::PAYLOAD_BYTES_MAX as u64);
    }
    assert!(layout.tile_len_max(band) >= layout.encoded_len_max(band.first));
}

fn request(source: &mut Unstructured<'_>) -> Result<Request> {
    let size = Size { w: count(source, 1 << 20)?, h: count(source, 1 << 20)? };
    // Half of the windows are the whole image, most of the others lie in it.
    let window = match source.int_in_range(0..=7)? {
        0..=3 => Window::whole(size),
        4 => Window { x: source.arbitrary()?, y: source.arbitrary()?, w: source.arbitrary()?, h: source.arbitrary()? },
        _ => {
            let (x, y) = (source.int_in_range(0..=size.w)?, source.int_in_range(0..=size.h)?);
            Window { x, y, w: source.int_in_range(0..=size.w - x)?, h: source.int_in_range(0..=size.h - y)? }
        }
    };
    Ok(Request {
        c: [number(source, 4.0)?, number(source, 4.0)?],
        center: [number(source, 4.0)?, number(source, 4.0)?],
        width: number(source, 16.0)?.abs(),
        size,
        window,
        iterations: count(source, 10_000)?,
        bailout: 2.0 + number(source, 100.0)?.abs(),
        colour: Colour { map: *source.choose(ColourMap::ALL)?, interior: source.arbitrary()? },
        encoding: *source.choose(&[Encoding::Png, Encoding::Counts])?,
    })
}

/// Mostly numbers of magnitude up to `usual`, which pass, now and then any other.
fn number(source: &mut Unstructured<'_>, usual: f64) -> Result<f64> {
    let edges = [0.0, -0.0, limits::COORDINATE_MAX, f64::MIN_POSITIVE, f64::MAX, f64::EPSILON, f64::INFINITY, f64::NAN];
    Ok(match source.int_in_range(0..=31)? {
        0 => f64::from_bits(source.arbitrary()?),
        1 => *source.choose(&edges)?,
        2 => f64::from(source.arbitrary::<i32>()?),
        _ => usual * f64::from(source.arbitrary::<i32>()?) / f64::from(i32::MAX),
    })
}

/// Mostly counts up to `usual`, which pass, now and then any other.
fn count(source: &mut Unstructured<'_>, usual: u32) -> Result<u32> {
    let edges = [0, 1, 65_535, 65_536, 87_381, 87_382, 999_999, 1_000_000, 1_000_001, limits::VIRTUAL_SIDE_MAX, u32::MAX];
    Ok(match source.int_in_range(0..=31)? {
        0 => source.arbitrary()?,
        1..=3 => *source.choose(&edges)?,
        4..=12 => source.int_in_range(1..=64)?,
        _ => source.int_in_range(1..=usual)?,
    })
}

fn narrower(source: &mut Unstructured<'_>) -> Result<Limits> {
    let default = Limits::default();
    Ok(Limits {
        width_max: source.int_in_range(0..=default.width_max)?,
        height_max: source.int_in_range(0..=default.height_max)?,
        pixels_max: source.int_in_range(0..=default.pixels_max)?,
        iterations_max: source.int_in_range(0..=default.iterations_max)?,
        work_max: source.int_in_range(0..=default.work_max)?,
    })
}

/// Inputs of various lengths for [`check_request`]: what they stand for is told by the drawing alone.
pub(crate) fn request_inputs() -> Vec<Vec<u8>> {
    (0..32u8).map(|start| (0..128u8).map(|at| at.wrapping_mul(start.wrapping_mul(2) | 1).wrapping_add(start)).collect()).collect()
}
