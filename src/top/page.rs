//! The page: header, workers, jobs, faults, and what lies over them. Pure: a model and a view give cells.
//!
//! Read next: `columns.rs` for what stands in the tables, `paint.rs` for how it stays in its room.

use std::time::Duration;

use fractally_proto::{JobId, JobStory, Status};
use ratatui::{buffer::Buffer, layout::Rect, style::Modifier};

use super::{
    columns::{FAULTS, JOBS, TRIES, WORKERS, fault_row, job_row, sorted_column, try_row, worker_row},
    looks::Rates,
    model::{Focus, Model, Over, Rows, View},
    paint::{Look, Painter, Table},
    text::{bytes, count, figure, percent, short, short_ms, some, spark},
};

/// Rows of the faults' table at the most, where workers and jobs could use them.
const FAULTS_MAX: u16 = 6;
/// A screen of so many columns has workers and jobs side by side.
const WIDE: u16 = 160;
/// Rows of a page that is printed, at the most: all workers and jobs of the largest broker.
const ROWS_MAX: u16 = 10_000;

const KEYS: &str = "q quit  p pause  s sort  Tab table  ↑↓ scroll  j story  ? help";

const HELP: [&str; 20] = [
    "q Esc Ctrl-C  quit; Esc closes this and a story first",
    "p             pause, and go on",
    "s             sort workers by the next column",
    "Tab           arrows scroll the next table",
    "↑ ↓ PgUp PgDn Home End  scroll",
    "j Enter       what happened to the bands of the",
    "              selected job, and why tries ended",
    "Ctrl-L Ctrl-Z draw anew; stop as a shell's job",
    "",
    "Rates and BUSY are means of the last 5 seconds,",
    "or between two looks that lie farther apart;",
    "the small curves show each look.",
    "BANDS  held by a worker, waiting ones included",
    "BUSY   share of its threads' time with a band",
    "HEARD  since it last said anything",
    "LEFT   if the job had all workers to itself",
    "retry  a band again after a failure or return",
    "second try  of a band somebody is late with",
    "lost   a worker that went without goodbye",
    "refused  requests that were not accepted",
];

/// Draws everything into `buffer`. `is_live` where somebody sits before it, and keys do something.
pub(crate) fn draw(buffer: &mut Buffer, model: &Model, view: &View, now: Duration, is_live: bool, has_colours: bool) {
    let mut painter = Painter::new(buffer, has_colours);
    let area = painter.area();
    let silence = model.silence(now, view.paused);
    let footer = u16::from(is_live && area.height > 2);
    let inner = Rect { height: area.height.saturating_sub(footer), ..area };
    if let Some(status) = model.looks.latest() {
        let head = header(&mut painter, inner, model, status);
        let body = Rect { y: inner.y + head, height: inner.height - head, ..inner };
        match view.over {
            Over::Story(job) => story(&mut painter, body, model, view, job),
            Over::Nothing | Over::Help => tables(&mut painter, body, model, view, status, is_live),
        }
    } else {
        painter.put((area.x, area.y), area.width, &format!("{}: no answer yet", model.endpoint), Look::Strong);
    }
    if view.over == Over::Help {
        help(&mut painter, inner);
    }
    if silence.is_some() {
        painter.mark(area, Modifier::DIM);
    }
    if footer > 0 {
        let last = Rect { y: area.bottom() - 1, height: 1, ..area };
        painter.clear(last);
        let (text, look) = match (silence, view.notice, view.paused) {
            (Some((_, why)), _, true) => (format!("PAUSED; the broker went away: {why}"), Look::Bad),
            (Some((since, why)), _, false) => (no_answer(since, why), Look::Bad),
            (None, Some(notice), _) => (notice.to_owned(), Look::Odd),
            (None, None, true) => (format!("PAUSED; p goes on   {KEYS}"), Look::Odd),
            (None, None, false) => (KEYS.to_owned(), Look::Faint),
        };
        painter.put((last.x, last.y), last.width, &text, look);
    }
}

/// Rows that a page needs to show everything in so many columns.
pub(crate) fn rows_needed(model: &Model, width: u16) -> u16 {
    let Some(status) = model.looks.latest() else { return 1 };
    let section = |rows: usize| 2 + rows.max(1);
    let (workers, jobs) = (section(status.workers.len()), section(status.jobs.len()));
    let both = if width >= WIDE { workers.max(jobs) } else { workers + jobs };
    let rows = usize::from(HEADER) + both + 1 + status.broker.faults.len();
    // A lower page would have less of a header.
    u16::try_from(rows).unwrap_or(ROWS_MAX).clamp(16, ROWS_MAX)
}

fn no_answer(since: Duration, why: &str) -> String {
    let because = if why.is_empty() { String::new() } else { format!(": {why}") };
    format!("no answer since {} s, trying again{because}", since.as_secs())
}

/// Rows of a whole header.
const HEADER: u16 = 4;

/// Draws as much of the header as a screen of this height has room for, and gives its height.
fn header(painter: &mut Painter<'_>, area: Rect, model: &Model, status: &Status) -> u16 {
    let height = match area.height {
        0..3 => area.height,
        3..8 => 2,
        8..16 => 3,
        _ => HEADER,
    };
    for line in 0..height {
        let row = Rect { y: area.y + line, height: 1, ..area };
        match line {
            0 => whose(painter, row, model, status),
            1 => rates(painter, row, model),
            2 => crowd(painter, row, model, status),
            _ => bands(painter, row, status),
        }
    }
    height
}

/// Program and endpoint, and how long it has lived.
fn whose(painter: &mut Painter<'_>, row: Rect, model: &Model, status: &Status) {
    let up = format!("up {}", short_ms(status.broker.uptime_ms));
    let epoch = status.broker.epoch.map_or_else(String::new, |epoch| format!("  epoch {epoch}"));
    let mut life = format!("{up}{epoch}");
    // Where there is no room for all, the epoch is what nobody misses.
    if life.chars().count() + model.endpoint.chars().count() + status.broker.agent.chars().count() + 4 > usize::from(row.width) {
        life = up;
    }
    let right = painter.put_right((row.right(), row.y), row.width, &life, Look::Plain);
    let width = right.saturating_sub(row.x).saturating_sub(1);
    painter.line(
        (row.x, row.y),
        width,
        &[(&model.endpoint, Look::Strong), ("  ", Look::Plain), (&status.broker.agent, Look::Faint)],
    );
}

/// Iterations, bands and bytes a second, each with its trend.
fn rates(painter: &mut Painter<'_>, row: Rect, model: &Model) {
    let rates = model.looks.figures().rates;
    let told = |of: &dyn Fn(Rates) -> Option<String>| rates.and_then(of).unwrap_or_else(|| "-".to_owned());
    let parts = [
        ("iterations", told(&|rates| Some(format!("{}/s", figure(rates.iterations))))),
        ("bands", told(&|rates| Some(format!("{}/s", figure(rates.bands))))),
        ("tiles", told(&|rates| Some(format!("{}/s", bytes(rates.bytes?))))),
    ];
    let (mut x, mut left) = (row.x, 3);
    for (part, (name, told)) in parts.iter().enumerate() {
        // Each has an even share of what is left.
        let width = (row.right() - x) / left;
        left -= 1;
        let end = x + width;
        let label = if width < 20 { &name[..name.len().min(4)] } else { *name };
        let at = painter.line((x, row.y), width, &[(label, Look::Faint), (" ", Look::Plain), (told, Look::Strong)]);
        let room = end.saturating_sub(at + 2);
        let of = |rates: &Rates| [rates.iterations, rates.bands, rates.bytes.unwrap_or(0.0)][part];
        let curve = spark(model.looks.trend().map(of), room.into());
        painter.put((at + 1, row.y), room, &curve, Look::Good);
        x = end;
    }
}

/// Who is there, and what has come of it.
fn crowd(painter: &mut Painter<'_>, row: Rect, model: &Model, status: &Status) {
    let broker = &status.broker;
    let threads = status.workers.iter().map(|worker| u64::from(worker.threads)).sum::<u64>();
    let busy = model.looks.figures().busy.map_or_else(String::new, |busy| format!(" {} busy", percent(busy)));
    let mut parts = vec![
        (format!("{}, {}{busy}", some(status.workers.len() as u64, "worker"), some(threads, "thread")), Look::Plain),
        (some(status.jobs.len() as u64, "job"), Look::Plain),
        (some(broker.clients.into(), "client"), Look::Plain),
        (format!("{} done, {} lost", count(broker.jobs_done), count(broker.jobs_lost)), Look::Plain),
        (format!("{} held", bytes(broker.held_bytes as f64)), Look::Plain),
    ];
    if let Some(journal) = &broker.journal {
        let (used, all) = (bytes(journal.bytes as f64), bytes(journal.bytes_max as f64));
        match &journal.trouble {
            Some(trouble) => parts.insert(0, (format!("journal: {trouble}"), Look::Bad)),
            None => parts.push((format!("journal {used} of {all}"), Look::Plain)),
        }
    }
    spread(painter, row, &parts);
}

/// What has become of bands.
fn bands(painter: &mut Painter<'_>, row: Rect, status: &Status) {
    let held = status.workers.iter().map(|worker| u64::from(worker.leases)).sum::<u64>();
    let in_flight = format!("{} in flight", some(held, "band"));
    let mut parts = vec![(in_flight, Look::Strong)];
    match &status.broker.totals {
        Some(totals) => {
            let plain = |number: u64, what: &str| (format!("{} {what}", count(number)), Look::Plain);
            parts.extend([
                plain(totals.delivered, "delivered"),
                plain(totals.given_back, "given back"),
                plain(totals.withdrawn, "withdrawn"),
                plain(totals.leased, "leased"),
            ]);
        }
        None => {
            let done = sum(status.workers.iter().map(|worker| worker.bands_done));
            parts.push((format!("{} delivered by those here", count(done)), Look::Plain));
        }
    }
    spread(painter, row, &parts);
}

/// Texts with two columns between, as many as fit whole; the first in any case.
fn spread(painter: &mut Painter<'_>, row: Rect, parts: &[(String, Look)]) {
    let mut x = row.x;
    for (index, (text, look)) in parts.iter().enumerate() {
        let needs = text.chars().count();
        if index > 0 && needs > usize::from(row.right().saturating_sub(x)) {
            return;
        }
        x = painter.put((x, row.y), row.right().saturating_sub(x), text, *look) + 2;
    }
}

/// Rows of workers, jobs and faults.
struct Split {
    workers: Rect,
    jobs: Rect,
    faults: Rect,
}

/// Workers and jobs share the room; who needs less leaves the rest to the other. Faults have a few rows below, on a small screen one, or
/// none but while they are scrolled.
fn split(area: Rect, status: &Status, focus: Focus) -> Split {
    let needs = |rows: usize| u16::try_from(rows.max(1)).unwrap_or(ROWS_MAX).min(ROWS_MAX) + 2;
    let (workers, jobs) = (needs(status.workers.len()), needs(status.jobs.len()));
    let faults = u16::try_from(status.broker.faults.len()).unwrap_or(ROWS_MAX);
    let is_wide = area.width >= WIDE;
    let wanted = if is_wide { workers.max(jobs) } else { workers.saturating_add(jobs) };
    let spare = area.height.saturating_sub(wanted).saturating_sub(1);
    let has_focus = focus == Focus::Faults;
    let faults = match area.height {
        0..10 if !has_focus => 0,
        0..10 => area.height.saturating_sub(6).min(faults + 1),
        height => (1 + faults.min(FAULTS_MAX.min(height / 5).max(spare))).min(height),
    };
    let upper = area.height - faults;
    let below = Rect { y: area.y + upper, height: faults, ..area };
    if is_wide {
        let half = area.width / 2;
        let left = Rect { width: half - 1, height: upper, ..area };
        let right = Rect { x: area.x + half + 1, width: area.width - half - 1, height: upper, ..area };
        return Split { workers: left, jobs: right, faults: below };
    }
    let fair = upper / 2;
    let workers = workers.min(fair.max(upper.saturating_sub(jobs)));
    let jobs = upper - workers;
    Split { workers: Rect { height: workers, ..area }, jobs: Rect { y: area.y + workers, height: jobs, ..area }, faults: below }
}

fn tables(painter: &mut Painter<'_>, area: Rect, model: &Model, view: &View, status: &Status, is_live: bool) {
    let split = split(area, status, view.focus);
    let figures = model.looks.figures();
    let selected = |rows: Rows, focus: Focus| {
        let at = view.selected(model, rows).filter(|_| is_live)?;
        // Only of jobs it matters which one is selected while another table is scrolled.
        (view.focus == focus || focus == Focus::Jobs).then_some((at, view.focus == focus))
    };
    let workers = model.workers(view.sort);
    let mark = |focus: Focus| if is_live && view.focus == focus { "▸ " } else { "" };
    if split.workers.height > 0 {
        painter.title(split.workers, &format!("{}WORKERS", mark(Focus::Workers)), &workers.len().to_string(), Look::Plain);
        let table = Table {
            columns: &WORKERS,
            sorted: Some(sorted_column(view.sort)),
            rows: workers.len(),
            selected: selected(Rows::Workers, Focus::Workers),
            row: &|row| worker_row(workers[row], figures.worker(workers[row].worker)),
        };
        painter.table(below(split.workers), &table);
    }
    if split.jobs.height > 0 {
        painter.title(split.jobs, &format!("{}JOBS", mark(Focus::Jobs)), &status.jobs.len().to_string(), Look::Plain);
        let table = Table {
            columns: &JOBS,
            sorted: None,
            rows: status.jobs.len(),
            selected: selected(Rows::Jobs, Focus::Jobs),
            row: &|row| job_row(&status.jobs[row], figures.job(status.jobs[row].job)),
        };
        painter.table(below(split.jobs), &table);
    }
    if split.faults.height > 0 {
        let (about, look) = about_faults(status);
        painter.title(split.faults, &format!("{}FAULTS", mark(Focus::Faults)), &about, look);
        let table = Table {
            columns: &FAULTS,
            sorted: None,
            rows: status.broker.faults.len(),
            selected: selected(Rows::Faults, Focus::Faults),
            row: &|row| fault_row(&status.broker.faults[row]),
        };
        painter.rows(below(split.faults), &table);
    }
}

/// As much as there can be, where a broker's figures are more than that.
fn sum(figures: impl Iterator<Item = u64>) -> u64 {
    figures.fold(0, u64::saturating_add)
}

/// All but the title.
fn below(area: Rect) -> Rect {
    Rect { y: area.y + 1, height: area.height - 1, ..area }
}

fn about_faults(status: &Status) -> (String, Look) {
    let Some(totals) = &status.broker.totals else {
        let failed = sum(status.workers.iter().map(|worker| worker.bands_failed));
        return (format!("{} failed on those here", some(failed, "band")), if failed > 0 { Look::Odd } else { Look::Plain });
    };
    let words = |number: u64, [one, many]: [&str; 2]| format!("{} {}", count(number), if number == 1 { one } else { many });
    let told = [
        (totals.jobs_failed, ["job failed", "jobs failed"]),
        (totals.failed, ["band failed", "bands failed"]),
        (totals.workers_lost, ["worker lost", "workers lost"]),
        (totals.refused, ["refused", "refused"]),
        (totals.retries, ["retry", "retries"]),
        (totals.backups, ["second try", "second tries"]),
    ];
    let told: Vec<_> = told.into_iter().filter(|&(number, _)| number > 0).map(|(number, what)| words(number, what)).collect();
    let about = if told.is_empty() { "none".to_owned() } else { told.join(", ") };
    let look = match totals {
        _ if totals.jobs_failed > 0 => Look::Bad,
        _ if totals.failed > 0 || totals.workers_lost > 0 || totals.refused > 0 => Look::Odd,
        _ => Look::Plain,
    };
    (about, look)
}

/// What happened to the bands of one job.
fn story(painter: &mut Painter<'_>, area: Rect, model: &Model, view: &View, job: JobId) {
    if area.height == 0 {
        return;
    }
    let title = format!("JOB {job}");
    let story = match model.story(job) {
        Some(Some(story)) => story,
        Some(None) => return painter.title(area, &title, "the broker knows of it no more; j goes back", Look::Odd),
        None => return painter.title(area, &title, "asking", Look::Plain),
    };
    let (about, look) = about_story(story);
    painter.title(area, &title, &about, look);
    let lines = sums_of(story);
    let mut y = area.y + 1;
    for line in &lines {
        if y < area.bottom() {
            painter.put((area.x, y), area.width, line, Look::Plain);
            y += 1;
        }
    }
    let rows = Rows::Tries(job);
    let table = Table {
        columns: &TRIES,
        sorted: None,
        rows: story.tries.len(),
        selected: view.selected(model, rows).map(|at| (at, true)),
        row: &|row| try_row(&story.tries[row]),
    };
    painter.table(Rect { y, height: area.bottom().saturating_sub(y), ..area }, &table);
}

fn about_story(story: &JobStory) -> (String, Look) {
    let age = short(Duration::from_millis(story.age_ms));
    match story.ended.as_str() {
        "" => (format!("lives, {age} old"), Look::Good),
        "done" => (format!("done in {age}"), Look::Good),
        ended => (format!("over after {age}: {ended}"), Look::Odd),
    }
}

fn sums_of(story: &JobStory) -> Vec<String> {
    let JobStory { engine, strips, acked, attempts, bands, backups, forgotten, .. } = story;
    let sums = format!(
        "{acked} of {} safe, {} in {attempts} tries, {backups} of them second tries  {engine}",
        some(u64::from(*strips), "strip"),
        some(*bands, "band")
    );
    let more = (*forgotten > 0).then(|| format!("{forgotten} more tries are not told"));
    [sums].into_iter().chain(more).collect()
}

fn help(painter: &mut Painter<'_>, area: Rect) {
    let wide = HELP.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let width = u16::try_from(wide + 4).unwrap_or(u16::MAX).min(area.width);
    let height = u16::try_from(HELP.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    let panel = Rect { x, y, width, height };
    painter.clear(panel);
    painter.mark(panel, Modifier::REVERSED);
    let inside = width.saturating_sub(4);
    for (y, line) in (panel.y + 1..panel.bottom()).zip(HELP) {
        painter.put((panel.x + 2, y), inside, line, Look::Plain);
    }
}
