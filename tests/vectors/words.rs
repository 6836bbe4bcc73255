//! Messages as frames and as fields, and what a reader must refuse.

use std::iter::repeat_n;

use bytes::Bytes;
use fractally_proto::{
    Ack, AttemptId, Colour, ColourMap, DecodeError, Encoding, Epoch, Grid, Heartbeat, Hello, JobId, JobKey, Lease, LeaseKind,
    Limits, Message, Priority, Refusal, RefusalCode, Refused, Request, Size, Submit, Window, Withdraw, limits,
};

use crate::value::{Value, hex, list, map};

const SPEC: &str = include_str!("../../proto/SPEC.md");
const PREAMBLE: &[u8] = b"FRLY\x01";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The messages that SPEC.md shows.
fn shown() -> Vec<Vec<Bytes>> {
    let blocks = SPEC.split("```frames ").skip(1).map(|rest| rest.split_once('\n').unwrap().1.split("```").next().unwrap());
    blocks.map(|block| block.trim_end().replace("\n ", "").lines().map(|line| unhex(line).into()).collect()).collect()
}

/// Messages beside those: values at the ends of their ranges, and fields that the examples of SPEC.md have not.
fn others() -> Vec<Message> {
    let size = Size { w: 640, h: 480 };
    let request = Request {
        c: [-0.0, 1.0],
        center: [1e-300, -1e9],
        width: 5e-324,
        size,
        window: Window { x: 1, y: 2, w: 639, h: 478 },
        iterations: 1_000_000_000,
        bailout: 1e9,
        colour: Colour { map: ColourMap::Gnuplot2, interior: [0, 127, 255] },
        encoding: Encoding::Png,
    };
    let lease = |kind| {
        let (job, attempt, priority) = (JobId(u64::MAX), AttemptId(1 << 63), Priority::Batch);
        Message::Lease(Lease { job, attempt, priority, lease_ms: 10_000, kind, mirror: None, request_id: None, request })
    };
    let refusal = Refusal::new(RefusalCode::CannotResume, "have", "7 strips; the broker can continue from 2 to 5");
    let hello = |account: Option<&str>| {
        Message::Hello(Hello {
            agent: "agent – ä".into(),
            epoch: Epoch(u64::MAX),
            account: account.map(str::to_owned),
            worker: None,
        })
    };
    vec![
        hello(None),
        hello(Some("ada@host")),
        Message::Heartbeat(Heartbeat { seen: u64::MAX, bands: vec![] }),
        Message::Submit(Submit {
            key: JobKey([0xff; 16]),
            priority: Priority::Normal,
            have: 7,
            engine: Some("fractally-2".into()),
            window_bytes: 33_554_432,
            request_id: Some("req-42".parse().unwrap()),
            request,
        }),
        Message::Refused(Refused { key: JobKey([0; 16]), refusal }),
        Message::Ack(Ack { job: JobId(u64::MAX), have: u32::MAX }),
        lease(LeaseKind::Probe(Grid { rows: 16, cols: 17, budget_ms: 50 })),
        lease(LeaseKind::Band { first: 65_536, strips: 64 }),
        Message::Withdraw(Withdraw { attempt: AttemptId(0), if_waiting: false }),
    ]
}

pub(crate) fn messages() -> Value {
    let others = others().into_iter().map(|message| message.encode());
    list(shown().into_iter().chain(others).map(|frames| {
        let message = Message::decode(&frames).unwrap();
        assert_eq!(message.encode(), frames, "{}", message.name());
        let [_, _, header, ..] = &frames[..] else { panic!("a message has three frames") };
        map([
            ("name", message.name().into()),
            ("frames", list(frames.iter().map(|frame| hex(frame)))),
            ("fields", Value::read(header)),
        ])
    }))
}

/// What has the meaning of another message, though Fractally would not write it so.
pub(crate) fn also_read() -> Value {
    let ack = Message::Ack(Ack { job: JobId(1), have: 2 });
    let ack_of = |header: &[u8]| vec![PREAMBLE.to_vec(), vec![0x14], header.to_vec()];
    let deep = [&b"\x83\xa3job\x01\xa4have\x02\xa1x"[..], &[0x91; 7], b"\x90"].concat();
    let whole_numbers = {
        let Message::Submit(submit) = Message::decode(&shown_as("Submit")).unwrap() else { panic!("it is one") };
        let written = Message::Submit(submit).encode()[2].to_vec();
        // 3.0 as an integer, as some libraries write it, and 2.0 in single precision.
        let written = replaced(&written, &[&b"\xcb"[..], &3f64.to_be_bytes()].concat(), b"\x03");
        replaced(&written, &[&b"\xcb"[..], &2f64.to_be_bytes()].concat(), &[&b"\xca"[..], &2f32.to_be_bytes()].concat())
    };
    let cases = [
        ("an empty frame in front", [vec![vec![]], ack_of(b"\x82\xa3job\x01\xa4have\x02")].concat(), ack.clone()),
        ("a field that nobody knows", ack_of(b"\x83\xa5later\x81\x00\xc0\xa3job\x01\xa4have\x02"), ack.clone()),
        ("nested 8 deep, and an empty list", ack_of(&deep), ack.clone()),
        ("fields in another order", ack_of(b"\x82\xa4have\x02\xa3job\x01"), ack.clone()),
        (
            "longer forms of lengths and numbers",
            ack_of(b"\xde\x00\x02\xd9\x03job\xcf\0\0\0\0\0\0\0\x01\xdb\0\0\0\x04have\xd0\x02"),
            ack,
        ),
        (
            "floating point numbers as integers and in single precision",
            vec![PREAMBLE.to_vec(), vec![0x10], whole_numbers],
            Message::decode(&shown_as("Submit")).unwrap(),
        ),
    ];
    list(cases.map(|(what, frames, message)| {
        let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
        assert_eq!(Message::decode(&frames).unwrap(), message, "{what}");
        map([
            ("what", what.into()),
            ("frames", list(frames.iter().map(|frame| hex(frame)))),
            ("name", message.name().into()),
            ("fields", Value::read(&message.encode()[2])),
        ])
    }))
}

fn shown_as(name: &str) -> Vec<Bytes> {
    shown().into_iter().find(|frames| Message::decode(frames).unwrap().name() == name).unwrap()
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|found| found == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

/// Frames that cost their sender the connection. Frames of many zeros are told as their number.
pub(crate) fn malformed() -> Value {
    let bye = |header: &[u8]| vec![PREAMBLE.to_vec(), vec![0x04], header.to_vec()];
    let of = |command: u8, header: &[u8]| vec![PREAMBLE.to_vec(), vec![command], header.to_vec()];
    let shown = |name: &str| shown_as(name).iter().map(|frame| frame.to_vec()).collect::<Vec<_>>();
    let without = |name: &str, field: &str| {
        let mut frames = shown(name);
        let Value::Map(fields) = Value::read(&frames[2]) else { panic!("a header is a map") };
        assert!(fields.iter().any(|(name, _)| name == field));
        // The name is changed, so that the field is one that nobody knows.
        let written = |name: &str| [&[0xa0 | u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
        frames[2] = replaced(&frames[2], &written(field), &written(&"x".repeat(field.len())));
        frames
    };
    let changed = |name: &str, from: &[u8], to: &[u8]| {
        let mut frames = shown(name);
        frames[2] = replaced(&frames[2], from, to);
        frames
    };
    let [tile, ack] = ["Tile", "Ack"].map(shown);
    let too_deep = [&b"\x81\xa1x"[..], &[0x91; 8], b"\x00"].concat();
    let cases = [
        ("no frames", vec![]),
        ("two frames", tile[..2].to_vec()),
        ("five frames", repeat_n(PREAMBLE.to_vec(), 5).collect()),
        ("two empty frames in front", [vec![vec![], vec![]], ack.clone()].concat()),
        ("not FRLY", vec![b"HTTP/".to_vec(), vec![0x04], vec![0x80]]),
        ("no version", vec![b"FRLY".to_vec(), vec![0x04], vec![0x80]]),
        ("another version", vec![b"FRLY\x02".to_vec(), vec![0x04], vec![0x80]]),
        ("an unknown command", of(0xff, b"\x80")),
        ("no command", vec![PREAMBLE.to_vec(), vec![], vec![0x80]]),
        ("two commands", vec![PREAMBLE.to_vec(), vec![0x04, 0x04], vec![0x80]]),
        ("a header over 4,096 bytes", bye(&vec![0; limits::HEADER_BYTES_MAX + 1])),
        ("an empty header", bye(b"")),
        ("a list for a header", of(0x14, b"\x92\x01\x02")),
        ("a key that is no text", bye(b"\x81\x00\x01")),
        ("a header that ends too early", bye(b"\x81\xa6reason\xa4do")),
        ("bytes behind the header", bye(b"\x80\x00")),
        ("a length beyond the header", bye(b"\xdf\xff\xff\xff\xff\x00")),
        ("a byte that MessagePack does not know", bye(b"\x81\xa6reason\xc1")),
        ("nested 9 deep", bye(&too_deep)),
        ("a payload where none belongs", [ack.clone(), vec![vec![]]].concat()),
        ("no payload where one belongs", tile[..3].to_vec()),
        ("a payload over 8,388,608 bytes", [tile[..3].to_vec(), vec![vec![0; limits::PAYLOAD_BYTES_MAX + 1]]].concat()),
        ("a field twice", of(0x14, b"\x83\xa3job\x01\xa4have\x02\xa3job\x01")),
        ("ACK without have", without("Ack", "have")),
        ("HEARTBEAT without seen", without("Heartbeat", "seen")),
        ("HEARTBEAT with a negative seen", of(0x03, b"\x81\xa4seen\xff")),
        ("HEARTBEAT whose seen is text", of(0x03, b"\x81\xa4seen\xa11")),
        ("HEARTBEAT whose seen is a fraction", of(0x03, b"\x81\xa4seen\xcb\x3f\xf0\0\0\0\0\0\0")),
        ("HEARTBEAT whose seen is true", of(0x03, b"\x81\xa4seen\xc3")),
        ("WELCOME without heartbeat_ms", without("Welcome", "heartbeat_ms")),
        ("ACCEPTED without job", without("Accepted", "job")),
        ("STRIPS without strips", without("Strips", "strips")),
        ("STRIPS whose job is nil", changed("Strips", b"\xa3job\xcf\0\0\0\x07\0\0\0\x01", b"\xa3job\xc0")),
        ("DONE without engine", without("Done", "engine")),
        ("LEASE without attempt", without("Lease", "attempt")),
        ("LEASE without request", without("Lease", "request")),
        ("WITHDRAW without attempt", without("Withdraw", "attempt")),
        ("SUBMIT without key", without("Submit", "key")),
        ("SUBMIT with a colour map that nobody knows", changed("Submit", b"inferno", b"infernp")),
        ("SUBMIT with an encoding that nobody knows", changed("Submit", b"counts", b"countz")),
        ("SUBMIT with a priority that nobody knows", changed("Submit", b"interactive", b"interactivf")),
        ("SUBMIT with a negative number of iterations", changed("Submit", b"iterations\x32", b"iterations\xff")),
        ("SUBMIT with a bailout that is text", changed("Submit", b"bailout\xcb\x40\0\0\0\0\0\0\0", b"bailout\xa12")),
    ];
    list(cases.into_iter().map(|(why, frames)| {
        let frames: Vec<Bytes> = frames.into_iter().map(Bytes::from).collect();
        let error = Message::decode(&frames).expect_err(why);
        let code = if matches!(error, DecodeError::Version(_)) { "version" } else { "malformed" };
        let told = frames.iter().map(|frame| match frame.len() {
            len if len > 1000 => map([("zeros", u64::try_from(len).unwrap().into())]),
            _ => hex(frame).into(),
        });
        map([("why", why.into()), ("frames", list(told)), ("code", code.into())])
    }))
}

/// What makes a sound request one that cannot be.
type Change = Box<dyn Fn(&mut Request)>;

/// Requests that are answered with REFUSED by a broker with the default limits, and the field that it names.
pub(crate) fn refused() -> Value {
    let size = |w: u32, h: u32| {
        move |request: &mut Request| {
            request.size = Size { w, h };
            request.window = Window::whole(request.size);
        }
    };
    let cases: [(&str, Change); 17] = [
        ("no columns", Box::new(size(0, 10))),
        ("a side over 2,147,483,647", Box::new(size(10, 2_147_483_648))),
        ("a picture over 1,000,000 columns", Box::new(size(1_000_001, 1))),
        ("a window outside the image", Box::new(|request| request.window.x = 1)),
        ("a window without rows", Box::new(|request| request.window.h = 0)),
        (
            "a window over 1,000,000 rows",
            Box::new(|request| {
                request.size.h = 1_000_001;
                request.window.h = 1_000_001;
                request.window.w = 1;
            }),
        ),
        ("no iterations", Box::new(|request| request.iterations = 0)),
        ("iterations over 1,000,000,000", Box::new(|request| request.iterations = 1_000_000_001)),
        (
            "pixels times iterations over 10^18",
            Box::new(move |request| {
                size(1_000_000, 1_000_000)(request);
                request.iterations = 1_000_001;
            }),
        ),
        ("c over 1e9", Box::new(|request| request.c[0] = 1.000_000_1e9)),
        ("a centre over 1e9", Box::new(|request| request.center[1] = -1.1e9)),
        ("a width of 0", Box::new(|request| request.width = 0.0)),
        ("a width over 1e9", Box::new(|request| request.width = 1.1e9)),
        ("a negative width", Box::new(|request| request.width = -1.0)),
        ("a bailout below 2", Box::new(|request| request.bailout = 1.999)),
        ("a bailout over 1e9", Box::new(|request| request.bailout = 1.1e9)),
        (
            "a step below 4 units in the last place",
            Box::new(|request| {
                request.center = [-0.9, 0.4];
                request.width = 1e-13;
            }),
        ),
    ];
    list(cases.map(|(why, change)| {
        let mut request = Request::default();
        change(&mut request);
        let refusal = request.validate(&Limits::default()).expect_err(why);
        let code = match refusal.code {
            RefusalCode::Invalid => "invalid",
            RefusalCode::Limit => "limit",
            other => panic!("{other:?} says nothing of a request"),
        };
        map([
            ("why", why.into()),
            ("request", Value::read(&request.canonical())),
            ("code", code.into()),
            ("field", refusal.field.into()),
        ])
    }))
}
