//! Pages of crafted states on screens of several sizes.

use std::time::Duration;

use fractally_proto::{AttemptId, Fault, FaultKind, JobId, JobStory, JournalStatus, Priority, Status, Totals, TryEnd, TryStory};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::{Color, Modifier},
};

use super::{
    crafted::{job, status, worker},
    model::{Model, View},
    page::{draw, rows_needed},
    plain,
};

const SIZES: [[u16; 2]; 8] = [[80, 24], [40, 10], [200, 60], [1, 1], [7, 3], [30, 100], [300, 5], [160, 24]];
/// What no terminal is to see.
const HOSTILE: &str = "\u{1b}[2J\u{7}\r\n\u{9b}1m\u{202e}工e\u{301}\u{200b}";

fn model(looks: impl IntoIterator<Item = Status>) -> Model {
    let mut model = Model::new("tcp://127.0.0.1:5555".to_owned(), Duration::from_secs(1));
    looks.into_iter().for_each(|look| model.on_status(Duration::ZERO, look));
    model
}

/// The page as text, from a terminal of this size.
fn page(model: &Model, view: &View, [columns, rows]: [u16; 2]) -> String {
    plain(shown(model, view, Duration::ZERO, true, [columns, rows]).backend().buffer())
}

fn shown(model: &Model, view: &View, now: Duration, has_colours: bool, [columns, rows]: [u16; 2]) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(frame.buffer_mut(), model, view, now, true, has_colours)).unwrap();
    terminal
}

fn press(view: &mut View, model: &Model, codes: &[KeyCode]) {
    for &code in codes {
        view.on_key(KeyEvent::new(code, KeyModifiers::NONE), model);
    }
}

/// Two looks at a grid of everyday size, two seconds apart.
fn everyday() -> [Status; 2] {
    [(182_000, 1), (184_000, 2)].map(|(uptime_ms, step)| {
        let mut look = status(uptime_ms);
        look.broker.totals = Some(Totals {
            leased: 100 + 38 * step,
            retries: 3,
            backups: 2,
            delivered: 94 + 38 * step,
            withdrawn: 2,
            given_back: 1,
            failed: 2,
            iterations: 3_840_000_000 * step,
            tile_bytes: 8_600_000 * step,
            workers_lost: 1,
            jobs_failed: 0,
            refused: 1,
        });
        let mut swift = worker(1, "studio:4242");
        (swift.threads, swift.leases, swift.bands_done) = (4, 8, 1200 + 30 * step);
        (swift.iterations, swift.busy_ms) = (3_000_000_000 * step, Some(7760 * step));
        let mut slow = worker(2, "attic:77");
        (slow.kernel, slow.leases, slow.bands_done) = ("avx2".to_owned(), 1, 300 + 8 * step);
        (slow.iterations, slow.busy_ms, slow.bands_failed, slow.silent_ms) = (840_000_000 * step, Some(1000 * step), 2, 3200);
        look.workers = vec![swift, slow];
        let mut urgent = job(0x59eb_2c4b_0000_0007);
        (urgent.priority, urgent.iterations) = (Priority::Interactive, 2_000_000_000 * step);
        let mut poster = job(0x59eb_2c4b_0000_0004);
        (poster.priority, poster.detached, poster.attached) = (Priority::Batch, true, false);
        (poster.width, poster.height, poster.rows_done, poster.account) = (60_000, 30_000, 29_999, "posters".to_owned());
        (poster.iterations, poster.leases, poster.workers, poster.eta_ms) = (1_000_000_000 * step, 0, 0, None);
        look.jobs = vec![poster, urgent];
        let fault = |ago_ms: u64, kind: FaultKind, who: &str, job: Option<u64>, why: &str| Fault {
            ago_ms,
            kind,
            who: who.to_owned(),
            job: job.map(JobId),
            why: why.to_owned(),
        };
        look.broker.faults = vec![
            fault(12_000, FaultKind::BandFailed, "attic:77", Some(0x59eb_2c4b_0000_0007), "no progress during the lease"),
            fault(90_000, FaultKind::WorkerLost, "cellar:9", None, "silent for too long"),
        ];
        look
    })
}

fn story(job: u64, tries: u64) -> JobStory {
    let tried = |n: u64| TryStory {
        attempt: AttemptId(n + 1),
        first: u32::try_from(n).unwrap(),
        strips: 1 + u32::try_from(n % 3).unwrap(),
        worker: HOSTILE.to_owned(),
        leased_ms: 10 * n,
        lasted_us: 1500 * n,
        end: [TryEnd::Running, TryEnd::Failed, TryEnd::Delivered, TryEnd::Withdrawn, TryEnd::GivenBack]
            [usize::try_from(n % 5).unwrap()],
        why: HOSTILE.repeat(5),
    };
    JobStory {
        job: JobId(job),
        ended: String::new(),
        engine: "fractally-4".to_owned(),
        strips: 500,
        acked: 120,
        age_ms: 5000,
        attempts: tries,
        bands: 60,
        backups: 1,
        forgotten: 3,
        tries: (0..tries).map(tried).collect(),
    }
}

/// So many workers and jobs whose every text is hostile.
fn crowded(uptime_ms: u64, workers: u64, jobs: u64) -> Status {
    let mut look = status(uptime_ms);
    look.broker.agent = HOSTILE.to_owned();
    look.broker.journal = Some(JournalStatus { jobs: 3, bytes: u64::MAX, bytes_max: 0, trouble: Some(HOSTILE.repeat(9)) });
    look.workers = (1..=workers)
        .map(|number| {
            let mut one = worker(number, &format!("{HOSTILE}{}", number * 7 % 500));
            (one.kernel, one.engine) = (HOSTILE.to_owned(), HOSTILE.to_owned());
            (one.iterations, one.bands_done, one.busy_ms) = (u64::MAX, u64::MAX, Some(u64::MAX));
            (one.silent_ms, one.connected_ms, one.threads) = (u64::MAX, number, u32::MAX);
            one.iterations_per_s = Some(f64::NAN);
            one.benched_ms = (number % 9 == 0).then_some(u64::MAX);
            one
        })
        .collect();
    look.jobs = (1..=jobs)
        .map(|number| {
            let mut one = job(number);
            (one.account, one.rows_done, one.height) = (HOSTILE.repeat(9), u32::MAX, u32::try_from(number % 3).unwrap());
            (one.iterations, one.age_ms, one.eta_ms) = (u64::MAX, 0, Some(u64::MAX));
            one
        })
        .collect();
    let kinds = [FaultKind::BandFailed, FaultKind::JobFailed, FaultKind::Other, FaultKind::ClientExpelled, FaultKind::Refused];
    let fault = |kind| Fault { ago_ms: u64::MAX, kind, who: HOSTILE.to_owned(), job: Some(JobId(0)), why: HOSTILE.repeat(9) };
    look.broker.faults = kinds.into_iter().cycle().take(40).map(fault).collect();
    look
}

#[test]
fn an_everyday_page_stands_on_80_by_24() {
    let model = model(everyday());
    let page = page(&model, &View::default(), [80, 24]);
    println!("{page}");
    let lines: Vec<_> = page.lines().collect();
    assert_eq!(lines.len(), 24);
    let squeezed: Vec<_> = lines.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(squeezed[0], "tcp://127.0.0.1:5555 fractally 0.1.0 up 3m04s epoch 123456789abcdef0");
    assert_eq!(squeezed[1], "iterations 1.92G/s █ bands 19.0/s █ tiles 4.1MiB/s █");
    assert_eq!(squeezed[2], "2 workers, 5 threads 87% busy 2 jobs 1 client 5 done, 2 lost 3.0MiB held");
    assert_eq!(squeezed[3], "9 bands in flight 170 delivered 1 given back 2 withdrawn 176 leased");
    let at = |first: &str| {
        let found = squeezed.iter().find(|line| line.starts_with(first));
        found.unwrap_or_else(|| panic!("{first} in\n{page}")).as_str()
    };
    assert!(at("WORKERS 2 ──").ends_with('─'));
    assert_eq!(at("NAME"), "NAME KERNEL THREADS BANDS ITER/S BUSY DONE FAILED HEARD HERE");
    assert_eq!(at("studio"), "studio:4242 avx512 4 8 1.50G ████▊ 97% 1260 0 120ms 1m00s");
    assert_eq!(at("attic"), "attic:77 avx2 1 1 420M ██▌ 50% 316 2 3.2s 1m00s");
    assert_eq!(at("JOB "), "JOB ACCOUNT CLASS SIZE ROWS WORKERS ITER/S LEFT AGE");
    assert_eq!(at("00000004"), "00000004 posters batch 60000x30000 ████▉ 99% 0 500M ? 1m05s");
    assert_eq!(at("00000007"), "00000007 ada@studio interac… 4000x2000 █▎ 25% 2 1.00G 3m04s 1m05s");
    assert!(at("FAULTS").starts_with("FAULTS 2 bands failed, 1 worker lost, 1 refused, 3 retries, 2 second tries ─"));
    assert_eq!(at("12s"), "12s band failed attic:77 00000007 no progress during the lease");
    assert_eq!(at("1m30s"), "1m30s worker lost cellar:9 silent for too long");
    assert!(squeezed[23].starts_with("q quit p pause"));
}

#[test]
fn a_large_screen_shows_more_and_a_small_one_what_matters_most() {
    let model = model(everyday());
    let large = page(&model, &View::default(), [200, 60]);
    for shown in ["studio:4242", "/THREAD", "interactive", "STATE", "waits", "attached", "FAULTS", "withdrawn"] {
        assert!(large.contains(shown), "{shown} in\n{large}");
    }
    let heads = large.lines().find(|line| line.contains("KERNEL")).unwrap();
    assert!(heads.contains("ACCOUNT"), "workers and jobs stand side by side: {heads}");
    let small = page(&model, &View::default(), [40, 10]);
    for shown in ["tcp://127.0.0.1:5555", "1.92G/s", "WORKERS", "attic:77", "JOBS", "00000004", "q quit"] {
        assert!(small.contains(shown), "{shown} in\n{small}");
    }
}

#[test]
fn no_size_no_crowd_and_no_name_breaks_a_page() {
    for (workers, jobs) in [(0, 0), (500, 0), (0, 100), (500, 100)] {
        let mut model = model([crowded(1000, workers, jobs), crowded(2000, workers, jobs)]);
        model.on_story(Duration::ZERO, JobId(1), Some(story(1, 300)));
        for size in SIZES {
            let mut view = View::default();
            let keys = [
                &[][..],
                &[KeyCode::End],
                &[KeyCode::Tab, KeyCode::End],
                &[KeyCode::Tab, KeyCode::Char('s'), KeyCode::PageDown],
                &[KeyCode::Char('?')],
                &[KeyCode::Char('?'), KeyCode::BackTab, KeyCode::Tab, KeyCode::Home, KeyCode::Char('j'), KeyCode::PageDown],
                &[KeyCode::Char('j'), KeyCode::Char('p')],
            ];
            for keys in keys {
                press(&mut view, &model, keys);
                let page = page(&model, &view, size);
                let is_order = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{200b}');
                assert!(!page.contains(is_order), "{size:?} {keys:?}: {page:?}");
            }
        }
    }
    // Figures of a broker at their ends, whether or not it tells sums of its own.
    let most = Totals { failed: u64::MAX, workers_lost: u64::MAX, refused: u64::MAX, ..Totals::default() };
    for totals in [None, Some(most)] {
        let looks = [1000, 2000].map(|uptime_ms| {
            let mut look = crowded(uptime_ms, 9, 3);
            look.workers.iter_mut().for_each(|worker| (worker.bands_failed, worker.leases) = (u64::MAX, u32::MAX));
            look.broker.totals = totals;
            look
        });
        page(&model(looks), &View::default(), [160, 24]);
    }
    let empty = model([]);
    SIZES.iter().for_each(|&size| drop(page(&empty, &View::default(), size)));
}

#[test]
fn a_long_table_shows_the_selected_row() {
    let mut look = status(1000);
    look.workers = (0..500).map(|number| worker(number + 1, &format!("host{number:03}"))).collect();
    look.jobs = (0..100).map(|number| job(number + 1)).collect();
    let model = model([look]);
    let mut view = View::default();
    let first = page(&model, &view, [80, 24]);
    assert!(first.contains("host000") && first.contains("00000001") && first.contains("WORKERS 500"), "{first}");
    press(&mut view, &model, &[KeyCode::End]);
    let last_job = page(&model, &view, [80, 24]);
    assert!(last_job.contains("00000064") && last_job.contains("host000"), "{last_job}");
    press(&mut view, &model, &[KeyCode::BackTab, KeyCode::PageDown, KeyCode::PageDown]);
    let further = page(&model, &view, [80, 24]);
    assert!(further.contains("host020") && !further.contains("host000"), "{further}");
}

#[test]
fn the_last_state_stays_and_is_dimmed_while_nobody_answers() {
    let mut model = model(everyday());
    model.on_lost("the connection to the broker is lost".to_owned());
    let terminal = shown(&model, &View::default(), Duration::from_millis(3100), true, [80, 24]);
    let buffer = terminal.backend().buffer();
    let page = plain(buffer);
    assert!(page.contains("no answer since 3 s, trying again: the connection to the broker is lost"), "{page}");
    assert!(page.contains("studio:4242"), "{page}");
    let above = buffer.content.iter().take(80 * 23);
    assert!(above.clone().all(|cell| cell.modifier.contains(Modifier::DIM)), "all but the last row is dimmed");
    assert!(!buffer[(0, 23)].modifier.contains(Modifier::DIM));
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted_and_the_rest_still_tells() {
    let model = model(everyday());
    for has_colours in [false, true] {
        let terminal = shown(&model, &View::default(), Duration::ZERO, has_colours, [80, 24]);
        let cells = &terminal.backend().buffer().content;
        assert_eq!(cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset), has_colours);
        assert!(cells.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)), "the selected job");
    }
}

#[test]
fn a_story_tells_what_became_of_each_try() {
    let mut model = model(everyday());
    let mut view = View::default();
    press(&mut view, &model, &[KeyCode::Char('j')]);
    assert!(page(&model, &view, [80, 24]).contains("JOB 59eb2c4b00000004 asking"));
    let mut told = story(0x59eb_2c4b_0000_0004, 40);
    told.tries.iter_mut().for_each(|tried| (tried.worker, tried.why) = ("attic:77".to_owned(), "because".to_owned()));
    model.on_story(Duration::ZERO, told.job, Some(told));
    let page_of = page(&model, &view, [80, 24]);
    for shown in ["lives, 5.0s old", "120 of 500 strips safe, 60 bands in 40 tries, 1 of them second tries", "3 more tries"] {
        assert!(page_of.contains(shown), "{shown} in\n{page_of}");
    }
    let rows: Vec<_> = page_of.lines().filter(|line| line.contains("attic:77")).collect();
    assert!(rows[0].starts_with("running") && rows[0].contains("35-37"), "{page_of}");
    assert!(rows[8].starts_with("failed") && rows[8].contains("because"), "{page_of}");
    model.on_story(Duration::ZERO, JobId(0x59eb_2c4b_0000_0004), None);
    assert!(page(&model, &view, [80, 24]).contains("the broker knows of it no more"));
}

#[test]
fn help_says_what_keys_do_and_a_pause_is_seen() {
    let model = model(everyday());
    let mut view = View::default();
    press(&mut view, &model, &[KeyCode::Char('?')]);
    let page_of = page(&model, &view, [80, 24]);
    assert!(page_of.contains("sort workers by the next column") && page_of.contains("second try"), "{page_of}");
    press(&mut view, &model, &[KeyCode::Char('?'), KeyCode::Char('p')]);
    assert!(page(&model, &view, [80, 24]).contains("PAUSED"));
}

#[test]
fn a_page_that_is_printed_has_room_for_everything() {
    let mut look = status(1000);
    look.workers = (0..500).map(|number| worker(number + 1, &format!("host{number:03}"))).collect();
    look.jobs = (0..100).map(|number| job(number + 1)).collect();
    look.broker.faults = crowded(1, 0, 0).broker.faults;
    let model = model([look]);
    for width in [60, 120, 200] {
        let area = ratatui::layout::Rect::new(0, 0, width, rows_needed(&model, width));
        let mut buffer = ratatui::buffer::Buffer::empty(area);
        draw(&mut buffer, &model, &View::default(), Duration::ZERO, false, false);
        let text = plain(&buffer);
        assert!(text.contains("host000") && text.contains("host499") && text.contains("00000064"), "{width}");
        assert_eq!(text.matches("job failed ").count(), 8, "all faults are there");
        assert!(buffer.content.iter().all(|cell| !cell.modifier.contains(Modifier::REVERSED)), "nothing is selected");
    }
}
