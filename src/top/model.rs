//! What is shown, and what keys do to it. Pure: time is an argument, since the start; answers and keys come in as values.
//!
//! Read next: `page.rs` for how it looks, `live.rs` for where answers and keys come from.

use std::{cmp::Reverse, time::Duration};

use fractally_proto::{JobId, JobStory, Status, TryEnd, WorkerStatus};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::looks::Looks;

/// A broker is called late when it has not answered for so long after it was to be asked.
const LATE: Duration = Duration::from_secs(2);
/// Rows that a page key moves.
const PAGE: isize = 10;

/// What is known of the broker.
pub(crate) struct Model {
    pub(crate) endpoint: String,
    every: Duration,
    pub(crate) looks: Looks,
    /// What the broker told of a job; nothing where it knows of none such.
    told: Option<(JobId, Option<JobStory>)>,
    heard: Duration,
    /// Why it does not answer, since it was last heard.
    lost: Option<String>,
}

/// What is looked at, and how.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) focus: Focus,
    pub(crate) sort: Sort,
    workers: Place,
    jobs: Place,
    faults: Place,
    tries: Place,
    pub(crate) paused: bool,
    pub(crate) over: Over,
    /// Why the last key did nothing.
    pub(crate) notice: Option<&'static str>,
}

/// The table that arrows scroll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Focus {
    Workers,
    #[default]
    Jobs,
    Faults,
}

/// What lies over the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Over {
    #[default]
    Nothing,
    Help,
    /// The story of a job.
    Story(JobId),
}

/// By what workers are sorted. Names upwards, the rest the largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Name,
    Threads,
    Bands,
    Rate,
    Busy,
    Done,
    Failed,
    /// The longest silent first.
    Heard,
}

/// A row that is selected: by what it shows, and by its index where that is gone.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: Option<u64>,
    index: usize,
}

/// What the loop is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    GoOn,
    Quit,
    /// Stop as a job of the shell.
    Suspend,
    /// Draw all of it anew.
    Redraw,
}

/// What the broker is to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) paused: bool,
    pub(crate) story: Option<JobId>,
}

impl Model {
    pub(crate) fn new(endpoint: String, every: Duration) -> Self {
        Self { endpoint, every, looks: Looks::default(), told: None, heard: Duration::ZERO, lost: None }
    }

    /// The broker has told its status.
    pub(crate) fn on_status(&mut self, now: Duration, status: Status) {
        self.looks.take(status);
        self.on_answer(now);
    }

    /// The broker has told what it knows of a job. Running tries come first, then those that failed, then the latest.
    pub(crate) fn on_story(&mut self, now: Duration, job: JobId, mut story: Option<JobStory>) {
        if let Some(story) = &mut story {
            let rank = |end| match end {
                TryEnd::Running => 0,
                TryEnd::Failed => 1,
                TryEnd::Delivered | TryEnd::Withdrawn | TryEnd::GivenBack => 2,
            };
            story.tries.sort_by_key(|tried| (rank(tried.end), Reverse(tried.leased_ms), tried.first));
        }
        self.told = Some((job, story));
        self.on_answer(now);
    }

    fn on_answer(&mut self, now: Duration) {
        (self.heard, self.lost) = (now, None);
    }

    /// The broker does not answer.
    pub(crate) fn on_lost(&mut self, why: String) {
        self.lost = Some(why);
    }

    /// For how long the broker has not answered, and why, where it should have.
    pub(crate) fn silence(&self, now: Duration, paused: bool) -> Option<(Duration, &str)> {
        let since = now.saturating_sub(self.heard);
        match &self.lost {
            Some(why) => Some((since, why)),
            None => (!paused && since > self.every + LATE).then_some((since, "")),
        }
    }

    /// What the broker has told of this job, once it has told anything; nothing in it where the broker knows of none such.
    pub(crate) fn story(&self, job: JobId) -> Option<Option<&JobStory>> {
        self.told.as_ref().filter(|(of, _)| *of == job).map(|(_, story)| story.as_ref())
    }

    /// Workers in their order.
    pub(crate) fn workers(&self, sort: Sort) -> Vec<&WorkerStatus> {
        let mut workers: Vec<_> = self.looks.latest().map(|status| status.workers.iter().collect()).unwrap_or_default();
        let largest = |key: fn(&WorkerStatus) -> u64| move |worker: &&WorkerStatus| Reverse(key(worker));
        let figures = self.looks.figures();
        let by_share = |of: &dyn Fn(&WorkerStatus) -> Option<f64>, a: &WorkerStatus, b: &WorkerStatus| {
            of(b).unwrap_or(-1.0).total_cmp(&of(a).unwrap_or(-1.0))
        };
        match sort {
            Sort::Name => workers.sort_by(|a, b| (&a.name, a.worker).cmp(&(&b.name, b.worker))),
            Sort::Threads => workers.sort_by_key(largest(|worker| worker.threads.into())),
            Sort::Bands => workers.sort_by_key(largest(|worker| worker.leases.into())),
            Sort::Rate => workers.sort_by(|a, b| by_share(&|worker| figures.worker(worker.worker).iterations, a, b)),
            Sort::Busy => workers.sort_by(|a, b| by_share(&|worker| figures.worker(worker.worker).busy, a, b)),
            Sort::Done => workers.sort_by_key(largest(|worker| worker.bands_done)),
            Sort::Failed => workers.sort_by_key(largest(|worker| worker.bands_failed)),
            Sort::Heard => workers.sort_by_key(largest(|worker| worker.silent_ms)),
        }
        workers
    }

    fn keys(&self, rows: Rows, view: &View) -> Vec<u64> {
        let status = self.looks.latest();
        match rows {
            Rows::Workers => self.workers(view.sort).iter().map(|worker| worker.worker).collect(),
            Rows::Jobs => status.map(|status| status.jobs.iter().map(|job| job.job.0).collect()).unwrap_or_default(),
            // These have no names: the selection stays at its index.
            Rows::Faults => vec![0; status.map_or(0, |status| status.broker.faults.len())],
            Rows::Tries(job) => self
                .story(job)
                .flatten()
                .map(|story| story.tries.iter().map(|tried| tried.attempt.0).collect())
                .unwrap_or_default(),
        }
    }
}

/// Rows among which one is selected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows {
    Workers,
    Jobs,
    Faults,
    Tries(JobId),
}

impl Sort {
    /// In the order of the key.
    const ALL: [Self; 8] =
        [Self::Name, Self::Threads, Self::Bands, Self::Rate, Self::Busy, Self::Done, Self::Failed, Self::Heard];

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|&sort| sort == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

impl View {
    /// What the broker is to be asked for this.
    pub(crate) fn wanted(&self) -> Wanted {
        let story = match self.over {
            Over::Story(job) => Some(job),
            Over::Nothing | Over::Help => None,
        };
        Wanted { paused: self.paused, story }
    }

    /// Index of the selected row, where there are rows.
    pub(crate) fn selected(&self, model: &Model, rows: Rows) -> Option<usize> {
        let place = match rows {
            Rows::Workers => self.workers,
            Rows::Jobs => self.jobs,
            Rows::Faults => self.faults,
            Rows::Tries(_) => self.tries,
        };
        place.of(&model.keys(rows, self))
    }

    /// A key was pressed.
    pub(crate) fn on_key(&mut self, key: KeyEvent, model: &Model) -> Wish {
        self.notice = None;
        let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match (key.code, with_control) {
            (KeyCode::Char('q'), false) | (KeyCode::Char('c'), true) => return Wish::Quit,
            (KeyCode::Char('z'), true) => return Wish::Suspend,
            (KeyCode::Char('l'), true) => return Wish::Redraw,
            (KeyCode::Esc, _) if self.over == Over::Nothing => return Wish::Quit,
            (KeyCode::Esc, _) => self.over = Over::Nothing,
            (KeyCode::Char('p'), false) => self.paused = !self.paused,
            (KeyCode::Char('s'), false) => self.sort = self.sort.next(),
            (KeyCode::Char('?' | 'h'), false) => {
                self.over = if self.over == Over::Help { Over::Nothing } else { Over::Help };
            }
            (KeyCode::Char('j') | KeyCode::Enter, false) => self.turn_story(model),
            (KeyCode::Tab, false) => {
                self.focus = match self.focus {
                    Focus::Workers => Focus::Jobs,
                    Focus::Jobs => Focus::Faults,
                    Focus::Faults => Focus::Workers,
                }
            }
            (KeyCode::BackTab, _) => {
                self.focus = match self.focus {
                    Focus::Workers => Focus::Faults,
                    Focus::Jobs => Focus::Workers,
                    Focus::Faults => Focus::Jobs,
                }
            }
            (KeyCode::Up, _) => self.scroll(model, -1),
            (KeyCode::Down, _) => self.scroll(model, 1),
            (KeyCode::PageUp, _) => self.scroll(model, -PAGE),
            (KeyCode::PageDown, _) => self.scroll(model, PAGE),
            (KeyCode::Home, _) => self.scroll(model, isize::MIN),
            (KeyCode::End, _) => self.scroll(model, isize::MAX),
            _ => self.notice = Some("no such key; ? shows those that there are"),
        }
        Wish::GoOn
    }

    fn turn_story(&mut self, model: &Model) {
        if matches!(self.over, Over::Story(_)) {
            self.over = Over::Nothing;
            return;
        }
        let jobs = model.keys(Rows::Jobs, self);
        match self.jobs.of(&jobs) {
            Some(index) => {
                self.tries = Place::default();
                self.over = Over::Story(JobId(jobs[index]));
            }
            None => self.notice = Some("there is no job to tell of"),
        }
    }

    fn scroll(&mut self, model: &Model, by: isize) {
        let rows = match (self.over, self.focus) {
            (Over::Story(job), _) => Rows::Tries(job),
            (_, Focus::Workers) => Rows::Workers,
            (_, Focus::Jobs) => Rows::Jobs,
            (_, Focus::Faults) => Rows::Faults,
        };
        let keys = model.keys(rows, self);
        let place = match rows {
            Rows::Workers => &mut self.workers,
            Rows::Jobs => &mut self.jobs,
            Rows::Faults => &mut self.faults,
            Rows::Tries(_) => &mut self.tries,
        };
        let Some(at) = place.of(&keys) else { return };
        let index = at.saturating_add_signed(by).min(keys.len() - 1);
        // A first row that was not chosen stays the first, whatever it shows.
        let key = (index > 0 && keys[index] > 0).then_some(keys[index]);
        *place = Place { key, index };
    }
}

impl Place {
    fn of(self, keys: &[u64]) -> Option<usize> {
        let there = self.key.and_then(|key| keys.iter().position(|&one| one == key));
        there.or_else(|| keys.len().checked_sub(1).map(|last| self.index.min(last)))
    }
}

#[cfg(test)]
mod tests {
    use fractally_proto::{AttemptId, TryStory};

    use super::*;
    use crate::top::crafted::{job, status, worker};

    fn press(view: &mut View, model: &Model, code: KeyCode) -> Wish {
        view.on_key(KeyEvent::new(code, KeyModifiers::NONE), model)
    }

    fn model(workers: &[(u64, &str, u64)], jobs: &[u64]) -> Model {
        let mut model = Model::new("tcp://there:1".to_owned(), Duration::from_secs(1));
        let mut look = status(1000);
        look.workers.extend(workers.iter().map(|&(number, name, done)| {
            let mut one = worker(number, name);
            (one.bands_done, one.silent_ms) = (done, done);
            one
        }));
        look.jobs.extend(jobs.iter().copied().map(job));
        model.on_status(Duration::ZERO, look);
        model
    }

    fn names(model: &Model, sort: Sort) -> Vec<&str> {
        model.workers(sort).iter().map(|worker| worker.name.as_str()).collect()
    }

    #[test]
    fn keys_that_quit() {
        let (mut view, model) = (View::default(), model(&[], &[]));
        assert_eq!(press(&mut view, &model, KeyCode::Char('q')), Wish::Quit);
        assert_eq!(press(&mut view, &model, KeyCode::Esc), Wish::Quit);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(view.on_key(control_c, &model), Wish::Quit);
        assert_eq!(press(&mut view, &model, KeyCode::Char('?')), Wish::GoOn);
        assert_eq!(press(&mut view, &model, KeyCode::Esc), Wish::GoOn, "it closes the help");
        assert_eq!((view.over, press(&mut view, &model, KeyCode::Esc)), (Over::Nothing, Wish::Quit));
        assert_eq!(press(&mut view, &model, KeyCode::Char('x')), Wish::GoOn);
        assert!(view.notice.is_some());
    }

    #[test]
    fn workers_are_sorted_by_the_column_that_s_chooses() {
        let model = model(&[(1, "b", 5), (2, "a", 7), (3, "c", 6)], &[]);
        let mut view = View::default();
        assert_eq!(names(&model, view.sort), ["a", "b", "c"]);
        let mut seen = vec![view.sort];
        for _ in 0..Sort::ALL.len() - 1 {
            press(&mut view, &model, KeyCode::Char('s'));
            assert!(!seen.contains(&view.sort));
            seen.push(view.sort);
            assert_eq!(names(&model, view.sort).len(), 3);
        }
        press(&mut view, &model, KeyCode::Char('s'));
        assert_eq!(view.sort, Sort::Name);
        assert_eq!(names(&model, Sort::Done), ["a", "c", "b"]);
        assert_eq!(names(&model, Sort::Heard), ["a", "c", "b"]);
        assert_eq!(names(&model, Sort::Busy), ["b", "a", "c"], "what is not known changes no order");
    }

    #[test]
    fn the_selection_follows_its_job_and_stays_in_place_when_that_ends() {
        let first = model(&[], &[10, 20, 30, 40]);
        let mut view = View::default();
        assert_eq!(view.selected(&first, Rows::Jobs), Some(0));
        press(&mut view, &first, KeyCode::Down);
        press(&mut view, &first, KeyCode::Down);
        assert_eq!(view.selected(&first, Rows::Jobs), Some(2));
        assert_eq!(view.selected(&model(&[], &[5, 10, 20, 30, 40]), Rows::Jobs), Some(3));
        assert_eq!(view.selected(&model(&[], &[10, 40]), Rows::Jobs), Some(1));
        assert_eq!(view.selected(&model(&[], &[]), Rows::Jobs), None);
        press(&mut view, &first, KeyCode::End);
        assert_eq!(view.selected(&first, Rows::Jobs), Some(3));
        press(&mut view, &first, KeyCode::Down);
        press(&mut view, &first, KeyCode::PageUp);
        assert_eq!(view.selected(&first, Rows::Jobs), Some(0));
        press(&mut view, &model(&[], &[]), KeyCode::Home);
    }

    #[test]
    fn arrows_scroll_the_table_that_tab_has_chosen() {
        let mut model = model(&[(1, "a", 0), (2, "b", 0)], &[10, 20]);
        let mut look = status(2000);
        look.workers = vec![worker(1, "a"), worker(2, "b")];
        let fault = fractally_proto::Fault {
            ago_ms: 5,
            kind: fractally_proto::FaultKind::Refused,
            who: String::new(),
            job: None,
            why: String::new(),
        };
        look.broker.faults = vec![fault; 3];
        model.on_status(Duration::ZERO, look);
        let mut view = View::default();
        press(&mut view, &model, KeyCode::Tab);
        press(&mut view, &model, KeyCode::Down);
        press(&mut view, &model, KeyCode::Down);
        assert_eq!((view.focus, view.selected(&model, Rows::Faults)), (Focus::Faults, Some(2)));
        press(&mut view, &model, KeyCode::Tab);
        press(&mut view, &model, KeyCode::Down);
        assert_eq!((view.focus, view.selected(&model, Rows::Workers)), (Focus::Workers, Some(1)));
        press(&mut view, &model, KeyCode::BackTab);
        assert_eq!(view.focus, Focus::Faults);
    }

    #[test]
    fn j_tells_of_the_selected_job_until_it_is_pressed_again() {
        let (none, some) = (model(&[], &[]), model(&[], &[10, 20]));
        let mut view = View::default();
        press(&mut view, &none, KeyCode::Char('j'));
        assert_eq!((view.over, view.notice.is_some(), view.wanted().story), (Over::Nothing, true, None));
        press(&mut view, &some, KeyCode::Down);
        press(&mut view, &some, KeyCode::Char('j'));
        assert_eq!(view.wanted(), Wanted { paused: false, story: Some(JobId(20)) });
        // It may end meanwhile.
        assert_eq!(view.wanted().story, Some(JobId(20)));
        press(&mut view, &none, KeyCode::Char('j'));
        assert_eq!(view.wanted().story, None);
        press(&mut view, &none, KeyCode::Char('p'));
        assert!(view.wanted().paused);
    }

    #[test]
    fn what_runs_and_what_failed_is_told_first() {
        let tried = |attempt: u64, leased_ms: u64, end: TryEnd| {
            let (attempt, worker, why) = (AttemptId(attempt), String::new(), String::new());
            TryStory { attempt, first: 0, strips: 1, worker, leased_ms, lasted_us: 0, end, why }
        };
        let tries = vec![
            tried(1, 10, TryEnd::Delivered),
            tried(2, 20, TryEnd::Failed),
            tried(3, 30, TryEnd::Withdrawn),
            tried(4, 40, TryEnd::Running),
            tried(5, 5, TryEnd::Running),
        ];
        let story = JobStory {
            job: JobId(7),
            ended: String::new(),
            engine: String::new(),
            strips: 1,
            acked: 0,
            age_ms: 50,
            attempts: 5,
            bands: 1,
            backups: 0,
            forgotten: 0,
            tries,
        };
        let mut model = model(&[], &[7]);
        assert!(model.story(JobId(7)).is_none(), "nothing is told yet");
        model.on_story(Duration::ZERO, JobId(7), Some(story));
        let order: Vec<_> = model.story(JobId(7)).flatten().unwrap().tries.iter().map(|tried| tried.attempt.0).collect();
        assert_eq!(order, [4, 5, 2, 3, 1]);
        assert!(model.story(JobId(8)).is_none());
        model.on_story(Duration::ZERO, JobId(8), None);
        assert!(matches!(model.story(JobId(8)), Some(None)), "the broker knows of none such");
    }

    #[test]
    fn a_silence_is_told_with_its_length_until_the_next_answer() {
        let mut model = model(&[], &[]);
        let at = Duration::from_millis;
        assert_eq!(model.silence(at(3000), false), None);
        assert_eq!(model.silence(at(3001), false), Some((at(3001), "")), "it was to be asked a second after the last answer");
        assert_eq!(model.silence(at(9000), true), None, "it is not asked");
        model.on_lost("gone".to_owned());
        assert_eq!(model.silence(at(500), true), Some((at(500), "gone")));
        model.on_status(at(5000), status(2000));
        assert_eq!(model.silence(at(5500), false), None);
    }
}
