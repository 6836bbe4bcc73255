//! Holds SPEC.md and the code together: every command has an example in hex, which decodes to the message that is built here
//! and is what that message encodes to.
//!
//! `FRACTALLY_SPEC_PRINT=1 cargo test -p fractally-proto --test spec -- --nocapture` prints the examples anew.

#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test")]

use std::fmt::Write;

use bytes::Bytes;
use fractally_proto::{
    Accepted, Ack, Attach, Attached, AttemptId, BandFailed, BandFailure, BandProgress, BrokerStatus, Bye, ByeOk, Cancel, Colour,
    ColourMap, Credit, DecodeError, Done, Encoding, Epoch, ErrorCode, ErrorReport, Failed, Grid, Heartbeat, Hello, JobId, JobKey,
    JobList, JobQuery, JobReport, JobState, JobStory, Keep, Lease, LeaseKind, Limits, ListQuery, ListedJob, Message, MirrorBand,
    Priority, Progress, Refusal, RefusalCode, Refused, Request, RowSample, Samples, Size, Status, StripMeta, Strips, Submit,
    Tile, TryEnd, TryStory, Welcome, Window, Withdraw, WorkerHello, limits,
};

const SPEC: &str = include_str!("../SPEC.md");

fn request() -> Request {
    let size = Size { w: 3, h: 2 };
    Request {
        c: [-0.4, 0.6],
        center: [0.0, 0.0],
        width: 3.0,
        size,
        window: Window::whole(size),
        iterations: 50,
        bailout: 2.0,
        colour: Colour { map: ColourMap::Inferno, interior: [0, 0, 0] },
        encoding: Encoding::Counts,
    }
}

fn status() -> Status {
    let broker = BrokerStatus {
        agent: "fractally 0.1.0".into(),
        uptime_ms: 1500,
        clients: 1,
        jobs_done: 2,
        jobs_lost: 0,
        held_bytes: 0,
        epoch: None,
        totals: None,
        faults: vec![],
        journal: None,
    };
    Status { broker, workers: vec![], jobs: vec![] }
}

fn story(job: JobId, attempt: AttemptId) -> JobStory {
    let tried = TryStory {
        attempt,
        first: 0,
        strips: 1,
        worker: "host:42".into(),
        leased_ms: 2,
        lasted_us: 950,
        end: TryEnd::Failed,
        why: "no progress during the lease".into(),
    };
    JobStory {
        job,
        ended: String::new(),
        engine: "fractally-2".into(),
        strips: 1,
        acked: 0,
        age_ms: 12_000,
        attempts: 1,
        bands: 0,
        backups: 0,
        forgotten: 0,
        tries: vec![tried],
    }
}

fn listed(job: JobId) -> ListedJob {
    ListedJob {
        job,
        state: JobState::Done,
        why: String::new(),
        account: "ada".into(),
        priority: Priority::Normal,
        request: request(),
        engine: "fractally-2".into(),
        rows_done: 2,
        bytes: 12_288,
        age_ms: 60_000,
        ended_ms: Some(59_000),
        elapsed_ms: 1000,
        iterations: 126,
        compute_ns: 900,
        eta_ms: None,
        followers: 0,
        workers: 1,
        strip_bytes: 24,
        holders: 1,
    }
}

/// One message of every command.
fn examples() -> Vec<Message> {
    let (job, attempt) = (JobId(0x0000_0007_0000_0001), AttemptId(0x0000_0007_0000_0002));
    let key = JobKey(*b"0123456789abcdef");
    let counts = Bytes::from_static(&[50, 0, 0, 0, 11, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 11, 0, 0, 0, 50, 0, 0, 0]);
    let strips = vec![StripMeta(24, 0x06fc_007f)];
    let worker = WorkerHello {
        name: "host:42".into(),
        engine: "fractally-2".into(),
        kernel: "scalar".into(),
        threads: 1,
        credit: 2,
        encodings: vec![Encoding::Counts],
    };
    let sample = RowSample { row: 1, pixels: 3, iterations: 63 };
    vec![
        Message::Hello(Hello { agent: "fractally 0.1.0".into(), epoch: Epoch(42), account: None, worker: Some(worker) }),
        Message::Welcome(Welcome {
            agent: "fractally 0.1.0".into(),
            epoch: Epoch(7),
            heartbeat_ms: 1000,
            dead_after_ms: 4000,
            limits: Limits::default(),
        }),
        Message::Heartbeat(Heartbeat { seen: 3, bands: vec![BandProgress(attempt, 17)] }),
        Message::Bye(Bye { reason: "done".into() }),
        Message::ByeOk(ByeOk {}),
        Message::Error(ErrorReport { code: ErrorCode::Unexpected, message: "a client may not send Lease".into() }),
        Message::Submit(Submit {
            key,
            priority: Priority::Interactive,
            have: 0,
            engine: None,
            window_bytes: 16_777_216,
            request_id: None,
            request: request(),
        }),
        Message::Accepted(Accepted { key, job, strips: 1, rows_per_strip: 2, cached: false }),
        Message::Refused(Refused { key, refusal: Refusal::new(RefusalCode::Limit, "size", "9x9 is over the limit") }),
        Message::Strips(Strips { job, engine: "fractally-2".into(), first: 0, strips: strips.clone() }, counts.clone()),
        Message::Ack(Ack { job, have: 1 }),
        Message::Progress(Progress { job, rows: 1, workers: 1, workers_all: 2, eta_ms: Some(250) }),
        Message::Done(Done {
            job,
            engine: "fractally-2".into(),
            iterations: 126,
            compute_ns: 900,
            elapsed_ms: 3,
            bands: 1,
            attempts: 1,
            workers: 1,
        }),
        Message::Failed(Failed { job, reason: "cancelled".into() }),
        Message::Cancel(Cancel { job, holder: Some("caller 7".parse().unwrap()) }),
        Message::Keep(Keep {
            key,
            priority: Priority::Normal,
            holder: Some("caller 7".parse().unwrap()),
            request_id: Some("req-42".parse().unwrap()),
            request: request(),
        }),
        Message::Attach(Attach { job, have: 0, engine: None, window_bytes: 16_777_216 }),
        Message::Attached(Attached { job, strips: 1, rows_per_strip: 2, rows: 0, request: request() }),
        Message::StatusQuery,
        Message::StatusReport(status().encode()),
        Message::JobQuery(JobQuery { job }),
        Message::JobReport(JobReport { story: Some(story(job, attempt)) }.encode()),
        Message::ListQuery(ListQuery { contents: Some(vec![request().content()]) }),
        Message::ListReport(JobList { jobs: vec![listed(job)], damaged: vec![] }.encode()),
        Message::Lease(Lease {
            job,
            attempt,
            priority: Priority::Interactive,
            lease_ms: 10_000,
            kind: LeaseKind::Band { first: 0, strips: 1 },
            mirror: Some(MirrorBand { attempt: AttemptId(attempt.0 + 1), first: 1, strips: 1 }),
            request_id: Some("req-42".parse().unwrap()),
            request: request(),
        }),
        Message::Tile(
            Tile { attempt, iterations: 126, executed: Some(120), compute_ns: 900, crc32: 0xa5e6_8b90, strips },
            counts,
        ),
        Message::Samples(Samples { attempt, compute_ns: 100 }, RowSample::encode(&[sample])),
        Message::BandFailed(BandFailed { attempt, failure: BandFailure::Declined, reason: "no room".into() }),
        Message::Withdraw(Withdraw { attempt, if_waiting: true }),
        Message::Credit(Credit { credit: 0 }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| u8::try_from(digit).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The frames of the example of a command in SPEC.md.
fn frames_in_spec(name: &str) -> Vec<Bytes> {
    let head = format!("```frames {name}\n");
    let start = SPEC.find(&head).unwrap_or_else(|| panic!("SPEC.md has no example of {name}")) + head.len();
    let block = SPEC[start..].split("```").next().unwrap();
    // A frame may go on in lines that begin with a space.
    block.trim_end().replace("\n ", "").lines().map(unhex).collect()
}

#[test]
fn every_example_is_what_the_code_encodes_and_decodes() {
    for message in examples() {
        if std::env::var_os("FRACTALLY_SPEC_PRINT").is_some() {
            println!("```frames {}", message.name());
            for frame in message.encode() {
                let digits = hex(&frame).into_bytes();
                let lines: Vec<_> = digits.chunks(112).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
                println!("{}", lines.join("\n "));
            }
            println!("```");
            continue;
        }
        let frames = frames_in_spec(message.name());
        assert_eq!(message.encode(), frames, "{}", message.name());
        assert_eq!(Message::decode(&frames).unwrap(), message);
    }
}

#[test]
fn every_command_has_an_example() {
    let known = (0..=255u8).filter(|&command| {
        let frames = [Bytes::from_static(b"FRLY\x01"), Bytes::copy_from_slice(&[command]), Bytes::from_static(&[0x80])];
        Message::decode(&frames) != Err(DecodeError::Command)
    });
    let mut shown: Vec<_> = examples().iter().map(Message::command).collect();
    shown.sort_unstable();
    assert_eq!(known.collect::<Vec<_>>(), shown);
}

#[test]
fn the_probe_is_the_other_kind_of_lease() {
    let grid = Grid { rows: 2, cols: 3, budget_ms: 50 };
    for kind in [LeaseKind::Probe(grid), LeaseKind::Band { first: 3, strips: 4 }] {
        let Some(Message::Lease(lease)) = examples().into_iter().find(|message| message.name() == "Lease") else {
            panic!("there is one")
        };
        let message = Message::Lease(Lease { kind, ..lease });
        assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
}

#[test]
fn a_query_for_too_many_contents_or_for_none_is_malformed() {
    let query = |len| Message::ListQuery(ListQuery { contents: Some(vec![request().content(); len]) });
    for len in [1, limits::LIST_CONTENTS_MAX] {
        assert_eq!(Message::decode(&query(len).encode()), Ok(query(len)));
    }
    for len in [0, limits::LIST_CONTENTS_MAX + 1] {
        assert!(matches!(Message::decode(&query(len).encode()), Err(DecodeError::Field(_))), "{len}");
    }
    let frames = [&b"FRLY\x01"[..], b"\x24", b"\x80"].map(Bytes::from_static);
    assert_eq!(Message::decode(&frames), Ok(Message::ListQuery(ListQuery::default())), "as it was before");
}

#[test]
fn a_name_that_breaks_its_bounds_is_malformed() {
    let frames = |header: &'static [u8]| [&b"FRLY\x01"[..], b"\x18", header].map(Bytes::from_static);
    let cancel = Message::Cancel(Cancel { job: JobId(1), holder: Some("me".parse().unwrap()) });
    assert_eq!(Message::decode(&frames(b"\x82\xa3job\x01\xa6holder\xa2me")), Ok(cancel));
    assert!(matches!(Message::decode(&frames(b"\x82\xa3job\x01\xa6holder\xa0")), Err(DecodeError::Field(_))));
    for message in examples() {
        let mut frames = message.encode();
        let header = frames[2].to_vec();
        let Some(at) = header.windows(6).position(|bytes| bytes == b"req-42") else { continue };
        let mut forged = header;
        forged[at + 3] = b'\n';
        frames[2] = forged.into();
        assert!(matches!(Message::decode(&frames), Err(DecodeError::Field(_))), "{}", message.name());
    }
}

/// A list of a broker that knows nothing of these yet.
#[test]
fn a_list_without_the_later_fields_is_read() {
    let later = [&b"\xa7workers\x01"[..], b"\xabstrip_bytes\x18", b"\xa7holders\x01"].concat();
    let list = JobList { jobs: vec![listed(JobId(1))], damaged: vec![] };
    let mut old = list.encode().to_vec();
    let at = old.windows(later.len()).position(|bytes| bytes == later).expect("they come last");
    old.truncate(at);
    let map = 1 + b"\xa4jobs".len() + 1;
    // A map of more than 15 fields has its length in two bytes.
    assert_eq!(old[map..map + 3], [0xde, 0, 18]);
    old[map + 2] -= 3;
    let read = JobList::decode(&old).unwrap();
    assert_eq!(read.jobs, [ListedJob { workers: 0, strip_bytes: 0, holders: 0, ..listed(JobId(1)) }]);
}

#[test]
fn a_status_survives_its_payload() {
    assert_eq!(Status::decode(&status().encode()).unwrap(), status());
}

#[test]
fn the_numbers_in_the_text_are_those_of_the_code() {
    let limits = Limits::default();
    for number in [
        limits::HEADER_BYTES_MAX as u64,
        limits::PAYLOAD_BYTES_MAX as u64,
        limits::BAND_STRIPS_MAX.into(),
        limits::WORKER_CREDIT_MAX.into(),
        limits::WORKER_THREADS_MAX.into(),
        limits::PROBE_PIXELS_MAX.into(),
        limits::LIST_CONTENTS_MAX as u64,
        limits::HOLDERS_MAX as u64,
        limits::HOLDER_BYTES_MAX as u64,
        limits::WINDOW_MESSAGES,
        limits::WINDOW_BYTES,
        limits::ACK_EVERY_MESSAGES,
        limits.width_max.into(),
        limits.pixels_max,
        limits.iterations_max.into(),
        limits.work_max,
    ] {
        let digits = number.to_string();
        let grouped = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
        let grouped = grouped.collect::<Vec<_>>().join(",");
        assert!(SPEC.contains(&grouped), "SPEC.md does not mention {grouped}");
    }
    let content = request().content();
    assert!(SPEC.contains(&format!("`{content}`")), "SPEC.md does not mention the content id {content}");
    for map in ColourMap::ALL {
        assert!(SPEC.contains(&format!("`{map}`")), "SPEC.md does not mention the colour map {map}");
    }
}

#[test]
fn unknown_fields_are_passed_over_and_missing_ones_are_not() {
    let frames =
        |header: &'static [u8]| [Bytes::from_static(b"FRLY\x01"), Bytes::from_static(b"\x14"), Bytes::from_static(header)];
    let more = b"\x83\xa3job\x01\xa4have\x02\xa5later\x91\x80";
    assert_eq!(Message::decode(&frames(more)), Ok(Message::Ack(Ack { job: JobId(1), have: 2 })));
    assert!(matches!(Message::decode(&frames(b"\x81\xa3job\x01")), Err(DecodeError::Field(_))));
    // The array form that serde would take as well.
    assert!(matches!(Message::decode(&frames(b"\x92\x01\x02")), Err(DecodeError::Header(_))));
    // Indices in place of names, which serde would take too.
    assert!(matches!(Message::decode(&frames(b"\x82\x00\x01\x01\x02")), Err(DecodeError::Header(_))));
}

#[test]
fn a_req_peers_delimiter_is_passed_over() {
    for message in examples() {
        let mut frames = message.encode();
        frames.insert(0, Bytes::new());
        assert_eq!(Message::decode(&frames), Ok(message));
    }
}

#[test]
fn every_frame_is_held_to_its_limit() {
    let header = Bytes::from_static(&[0x80]);
    let preamble = Bytes::from_static(b"FRLY\x01");
    let decode = |frames: &[Bytes]| Message::decode(frames).unwrap_err();
    let [bye, tile] = [Bytes::from_static(b"\x04"), Bytes::from_static(b"\x31")];
    assert_eq!(decode(&[]), DecodeError::FrameCount(0));
    assert_eq!(decode(&vec![preamble.clone(); 5]), DecodeError::FrameCount(5));
    assert_eq!(decode(&[Bytes::from_static(b"FRLY\x02"), bye.clone(), header.clone()]), DecodeError::Version(2));
    assert_eq!(decode(&[Bytes::from_static(b"HTTP/"), bye.clone(), header.clone()]), DecodeError::Magic);
    assert_eq!(decode(&[preamble.clone(), Bytes::from_static(b"\xff"), header.clone()]), DecodeError::Command);
    assert_eq!(decode(&[preamble.clone(), Bytes::new(), header.clone()]), DecodeError::Command);
    assert_eq!(decode(&[preamble.clone(), bye.clone(), header.clone(), Bytes::new()]), DecodeError::Payload);
    assert_eq!(decode(&[preamble.clone(), bye.clone(), vec![0xc0; 4097].into()]), DecodeError::HeaderSize(4097));
    let large = limits::PAYLOAD_BYTES_MAX + 1;
    assert_eq!(decode(&[preamble, tile, header, vec![0; large].into()]), DecodeError::PayloadSize(large));
}

/// Every truncation and every changed byte of every example gives an answer, and the same one each time.
#[test]
fn damaged_messages_give_errors_and_never_panic() {
    for message in examples() {
        let frames = message.encode();
        for (index, frame) in frames.iter().enumerate() {
            for len in 0..frame.len() {
                let mut cut = frames.clone();
                cut[index] = frame.slice(..len);
                let _ = Message::decode(&cut);
            }
            for at in 0..frame.len() {
                for value in 0..=255 {
                    let mut bytes = frame.to_vec();
                    bytes[at] = value;
                    let mut changed = frames.clone();
                    changed[index] = bytes.into();
                    let _ = Message::decode(&changed);
                }
            }
        }
    }
}
