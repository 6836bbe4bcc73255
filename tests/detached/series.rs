//! One state directory, two workers and a crowd of clients, under one broker after another.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use fractally_testkit::{Broker, Dice, Lab, Process, Run, Worker, eventually, lasting_ports};
use serde_json::Value;

use crate::tally::Tally;

/// Jobs that are not over, more or less, as long as the series lasts.
const LIVING: usize = 5;
/// Clients that follow jobs at once.
const FOLLOWERS: usize = 3;
const TICK: Duration = Duration::from_millis(5);

/// Views that lie whole in the Siegel disk of the golden mean, where points go round for ever, so that a job can be met half way.
const DISK: [&str; 4] = ["-c", "-0.390540870218399-0.586787907346969i", "--center", "-0.368684439-0.337745147i"];

/// The grid, the clients that run, and what was promised to those that have ended.
pub(crate) struct Series {
    lab: Lab,
    ports: [String; 2],
    dice: Dice,
    broker: Option<Broker>,
    workers: Vec<Worker>,
    clients: Vec<(Client, Process)>,
    /// Jobs whose id was told.
    jobs: BTreeMap<String, Job>,
    pictures: u32,
    keys: u32,
    /// What those who followed a picture to its end have got, each once.
    got: BTreeSet<(u32, String)>,
    begun: Instant,
    tally: Tally,
}

struct Job {
    picture: u32,
    /// Where it was submitted under this key, and not answered by another job.
    key: Option<String>,
    priority: &'static str,
    /// Somebody has asked for it, whatever came of it.
    is_cancel_asked: bool,
    /// What the list told last.
    state: String,
    rows_done: u64,
}

#[derive(Clone)]
enum Client {
    Submit { picture: u32, key: String, priority: &'static str, is_again: bool },
    Attach(String),
    Cancel(String),
}

impl Series {
    pub(crate) fn start(dice: Dice) -> Self {
        let (lab, ports) = (crate::lab(), lasting_ports());
        let endpoint = format!("tcp://127.0.0.1:{}", ports[1]);
        let workers = ["a", "b"]
            .map(|name| Worker { process: lab.start(Worker::command(&lab, &endpoint, name, 1)), name: name.to_owned() });
        let mut series = Self {
            lab,
            ports,
            dice,
            broker: None,
            workers: workers.into(),
            clients: Vec::new(),
            jobs: BTreeMap::new(),
            pictures: 0,
            keys: 0,
            got: BTreeSet::new(),
            begun: Instant::now(),
            tally: Tally::default(),
        };
        series.start_broker();
        series
    }

    /// Clients come and go for so long.
    pub(crate) fn live(&mut self, life: Duration) {
        let end = Instant::now() + life;
        while Instant::now() < end {
            self.tick(true);
            thread::sleep(TICK);
        }
    }

    /// Kills the broker, and after a while starts another: after some that die before they are ready.
    pub(crate) fn kill(&mut self, away: Duration, early: &[Duration]) {
        self.look();
        let living = self.jobs.values().filter(|job| !job.is_over());
        self.tally.carried += living.clone().count() as u64;
        self.tally.carried_strips += living.filter(|job| job.rows_done > 0).count() as u64;
        self.tally.kills += 1;
        let log = self.broker.take().expect("it runs").die();
        assert!(!log.contains("panicked"), "{log}");
        thread::sleep(away);
        for &after in early {
            let broker = self.lab.start(self.lab.command(self.broker_args()));
            thread::sleep(after);
            broker.kill();
            let log = broker.wait().stderr;
            assert!(!log.contains("panicked"), "{log}");
            self.tally.early_kills += 1;
        }
        self.start_broker();
        self.look();
    }

    /// No more kills: everything comes to the end that was promised.
    pub(crate) fn settle(mut self) -> Tally {
        eventually("every client has come to its end", || {
            self.tick(false);
            self.clients.is_empty().then_some(())
        });
        eventually("every job is over", || {
            self.look();
            self.jobs.values().all(Job::is_over).then_some(())
        });
        self.fetch_all();
        self.tally.seconds = self.begun.elapsed().as_secs_f64();
        self.compare_all();
        let broker = self.broker.take().expect("it runs").process;
        for process in self.workers.drain(..).map(|worker| worker.process).chain([broker]) {
            process.terminate();
            let run = process.wait();
            assert!(run.code() == 0 && !run.stderr.contains("panicked"), "{run:?}");
        }
        // A broker that is killed while it binds leaves the folder of a socket, so only processes are looked for.
        eventually("every process has gone", || self.lab.living().is_empty().then_some(()));
        self.tally
    }

    fn broker_args(&self) -> [&str; 7] {
        ["broker", "--client-port", &self.ports[0], "--worker-port", &self.ports[1], "--state", "state"]
    }

    fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it runs")
    }

    fn start_broker(&mut self) {
        let begun = Instant::now();
        self.broker = Some(Broker::start_by(self.lab.command(self.broker_args())));
        self.tally.ready.push(begun.elapsed());
    }

    /// Asks for the list, and holds it against what was promised.
    fn look(&mut self) {
        let listed = self.broker().jobs(&self.lab);
        let listed: BTreeMap<&str, &Value> = listed.iter().filter_map(|row| Some((row["job"].as_str()?, row))).collect();
        for (id, job) in &mut self.jobs {
            let row = listed.get(id.as_str()).unwrap_or_else(|| panic!("job {id} was accepted, and is lost"));
            let (state, rows_done) = (row["state"].as_str().unwrap(), row["rows_done"].as_u64().unwrap());
            // What is cancelled gives its strips up.
            assert!(rows_done >= job.rows_done || state == "cancelled", "{} rows were on disk: {row}", job.rows_done);
            assert!(!job.is_over() || state == job.state, "it was {}: {row}", job.state);
            assert!(["waiting", "running", "done"].contains(&state) || state == "cancelled" && job.is_cancel_asked, "{row}");
            (job.state, job.rows_done) = (state.to_owned(), rows_done);
        }
    }

    /// Takes what clients that have ended say, and starts others.
    fn tick(&mut self, is_more_wanted: bool) {
        let ended: Vec<_> = self.clients.extract_if(.., |(_, process)| !process.is_running()).collect();
        for (client, process) in ended {
            self.end(client, process.wait());
        }
        if is_more_wanted {
            self.look();
            self.start_more();
        }
    }

    fn start_more(&mut self) {
        let count =
            |series: &Self, is_meant: fn(&Client) -> bool| series.clients.iter().filter(|(client, _)| is_meant(client)).count();
        let submitting = count(self, |client| matches!(client, Client::Submit { .. }));
        let living: Vec<String> = self.jobs.iter().filter(|(_, job)| !job.is_over()).map(|(id, _)| id.clone()).collect();
        if submitting == 0 && living.len() < LIVING {
            let client = self.any_submit();
            self.begin(client);
        }
        if living.is_empty() {
            return;
        }
        let any = living[usize::try_from(self.dice.pick(0..living.len() as u64)).unwrap()].clone();
        if count(self, |client| matches!(client, Client::Attach(_))) < FOLLOWERS {
            self.begin(Client::Attach(any));
        } else if self.dice.pick(0..20) == 0 && count(self, |client| matches!(client, Client::Cancel(_))) == 0 {
            if let Some(job) = self.jobs.get_mut(&any) {
                job.is_cancel_asked = true;
            }
            self.begin(Client::Cancel(any));
        }
    }

    /// Mostly a new picture, sometimes one that there was, sometimes the very same job under its key.
    fn any_submit(&mut self) -> Client {
        let again = self
            .jobs
            .values()
            .filter(|job| !job.is_cancel_asked)
            .find_map(|job| Some((job.picture, job.key.clone()?, job.priority)));
        match (self.dice.pick(0..8), again) {
            (0, Some((picture, key, priority))) => return Client::Submit { picture, key, priority, is_again: true },
            (1, _) if self.pictures > 0 => {}
            _ => self.pictures += 1,
        }
        self.keys += 1;
        let picture = self.pictures - u32::try_from(self.dice.pick(0..2)).unwrap().min(self.pictures - 1);
        let priority = self.dice.one_of(&["interactive", "normal", "batch"]);
        Client::Submit { picture, key: format!("key {}", self.keys), priority, is_again: false }
    }

    fn begin(&mut self, client: Client) {
        let patient = ["--connect-timeout", "30"];
        let process = match &client {
            Client::Submit { picture, key, priority, .. } => {
                let options = picture_args(*picture);
                let options: Vec<_> =
                    options.iter().map(String::as_str).chain(["--key", key, "--priority", priority]).chain(patient).collect();
                self.broker().client(&self.lab, "submit", &options)
            }
            Client::Attach(id) => {
                // Files take their names when they are complete, so that two may write the same.
                self.broker().client(
                    &self.lab,
                    "attach",
                    &[&[id.as_str(), "--json", "-o", &format!("{id}.out")], &patient[..]].concat(),
                )
            }
            Client::Cancel(id) => self.broker().client(&self.lab, "cancel", &[&[id.as_str()], &patient[..]].concat()),
        };
        self.clients.push((client, process));
    }

    fn end(&mut self, client: Client, run: Run) {
        if run.status.code() == Some(3) {
            // It never heard from the broker that was killed, or has no patience, as `cancel`.
            self.tally.tried_again += 1;
            return self.begin(client);
        }
        let said = String::from_utf8_lossy(&run.stdout).trim_end().to_owned();
        match (client, run.status.code()) {
            (Client::Submit { picture, key, priority, is_again }, Some(0)) => {
                self.on_submitted(picture, key, priority, is_again, said, &run)
            }
            (Client::Attach(id), Some(0)) => {
                let (report, picture) = (run.report(), self.jobs[&id].picture);
                self.tally.followers += 1;
                self.tally.reconnects += report["reconnects"].as_u64().unwrap();
                self.got.insert((picture, report["sha256"].as_str().unwrap().to_owned()));
            }
            (Client::Attach(id), Some(4)) => {
                assert!(self.jobs[&id].is_cancel_asked && run.stderr.contains("cancelled"), "{run:?}");
                self.tally.followers += 1;
            }
            (Client::Cancel(id), Some(0)) => {
                let job = self.jobs.get_mut(&id).expect("it was told");
                let state =
                    if said.ends_with("is cancelled") || said.contains("over already: cancelled") { "cancelled" } else { "done" };
                assert!(state == "cancelled" || said.contains("over already: done"), "{run:?}");
                self.tally.too_late += u64::from(state == "done");
                // From here on it must stay so, whatever is killed.
                assert!(!job.is_over() || job.state == state, "it was {}: {run:?}", job.state);
                job.state = state.to_owned();
            }
            (_, _) => panic!("{run:?}"),
        }
    }

    fn on_submitted(&mut self, picture: u32, key: String, priority: &'static str, is_again: bool, id: String, run: &Run) {
        self.tally.keyed += u64::from(is_again);
        let is_cached = run.stderr.contains("drawn this picture already");
        match self.jobs.get(&id) {
            Some(job) => {
                assert_eq!(job.picture, picture, "{run:?}");
                assert!(is_cached || job.key.as_ref() == Some(&key), "{run:?}");
                self.tally.cached += u64::from(is_cached && !is_again);
            }
            None => {
                let is_cancelled_meanwhile = self.jobs.values().any(|job| job.key.as_ref() == Some(&key) && job.is_cancel_asked);
                assert!(!is_cached && (!is_again || is_cancelled_meanwhile), "{run:?}");
                let (state, rows_done) = ("waiting".to_owned(), 0);
                self.jobs.insert(id, Job { picture, key: Some(key), priority, is_cancel_asked: false, state, rows_done });
                self.tally.jobs += 1;
            }
        }
    }

    /// Every job as it came out.
    fn fetch_all(&mut self) {
        for (id, job) in &self.jobs {
            let run = self.broker().ask(&self.lab, "fetch", &[id, "--json", "-o", "fetched"]);
            if job.state == "cancelled" {
                assert_eq!(run.code(), 4, "{run:?}");
                self.tally.cancelled += 1;
            } else {
                self.got.insert((job.picture, run.report()["sha256"].as_str().unwrap().to_owned()));
                self.tally.done += 1;
            }
        }
    }

    /// Every picture that anybody got is the one that a local grid renders.
    fn compare_all(&self) {
        for (picture, sha256) in &self.got {
            let report =
                self.lab.render(picture_args(*picture).iter().map(String::as_str).chain(["--workers", "2", "-o", "alone"]));
            assert_eq!(report["sha256"], sha256.as_str(), "picture {picture}");
        }
    }
}

impl Job {
    fn is_over(&self) -> bool {
        ["done", "cancelled"].contains(&self.state.as_str())
    }
}

/// Four kinds, from one strip to thirty, from nothing to some 10^9 iterations; no two are the same.
fn picture_args(picture: u32) -> Vec<String> {
    let width = format!("{}", 0.1 + f64::from(picture) * 1e-5);
    let of_kind: &[&str] = match picture % 4 {
        0 => &["--size", "200x150", "--iter", "200", "--format", "png"],
        1 => &["--size", "1200x700", "--iter", "400", "--format", "npy"],
        2 => &["--size", "1500x1500", "--iter", "700", "--format", "png"],
        _ => &["--size", "500x800", "--iter", "3000", "--format", "npy"],
    };
    DISK.iter().chain(of_kind).map(|&arg| arg.to_owned()).chain(["--width".to_owned(), width]).collect()
}
