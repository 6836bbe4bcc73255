//! What is simulated: a picture, workers, a network, a broker, and what happens to them.

use fractally_proto::{Request, Size, Window, limits};

use crate::{Error, Host, Profile, Scene, cost::Work, rng::Rng};

/// The most workers.
const WORKERS_MAX: u32 = 20_000;
/// Pictures are stretched to so many rows, or to so many strips for each thread; beyond that, points get costlier.
const ROWS_MAX: f64 = 16_000.0;
const STRIPS_PER_THREAD: f64 = 128.0;
/// The most pixels on a side.
const SIDE_MAX: u32 = 1_000_000;

/// One run. Times are in seconds unless the name says otherwise, and those of [`Event`]s count from SUBMIT.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// For reports.
    pub name: String,
    /// Where the costs of rows come from.
    pub scene: Scene,
    /// In place of the scene's picture and costs, where it is no scene of the table.
    pub picture: Option<(Request, Profile)>,
    /// Pixels of the picture, where the scene's are not wanted.
    pub size: Option<Size>,
    /// How long the picture shall take on a grid that loses nothing, all rows computed. Larger pictures of the scene are drawn for
    /// this; from 16,000 rows or 128 strips a thread on (or where `size` is given) the points get costlier instead. Nothing draws the
    /// scene as it is.
    pub seconds: Option<f64>,
    /// A job that runs first and is not reported, so that the broker knows its workers' speeds; as long as this on such a grid.
    pub warm_up: Option<f64>,
    /// Whether workers spare rows whose mirror images they have.
    pub mirror: bool,
    /// How many.
    pub workers: u32,
    /// Threads of each.
    pub threads: u32,
    /// Bands that a worker takes at once, for each of its threads.
    pub credit: u32,
    /// Workers differ in speed by up to this much either way, as a fraction.
    pub spread: f64,
    /// Bands take longer or shorter by up to this much, as a fraction.
    pub noise: f64,
    /// What a thread of speed 1 takes.
    pub host: Host,
    /// One way, microseconds.
    pub latency_us: f64,
    /// Broker's time for a band, microseconds. It consists of four messages (LEASE, TILE, STRIPS, ACK); any other costs as one.
    pub broker_us: f64,
    /// Bytes a second to the client; nothing is no limit.
    pub client_bytes_per_s: Option<f64>,
    /// The client acknowledges after so many STRIPS at the latest. Nothing is never for their number, only for their bytes and for
    /// the time since it last did: then it can wait for a broker that waits for it.
    pub ack_messages: Option<u32>,
    /// Bytes of one job that may be leased or wait; nothing is the broker's default.
    pub reorder_bytes_max: Option<u64>,
    /// The same over all jobs.
    pub held_bytes_max: Option<u64>,
    /// What befalls workers.
    pub events: Vec<Event>,
    /// All that is left to chance.
    pub seed: u64,
}

/// Something befalls a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Which, from 0.
    pub worker: u32,
    /// When, in seconds after SUBMIT; nothing is "before it, and for good".
    pub at: Option<f64>,
    /// What.
    pub change: Change,
}

/// What befalls a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// From now on its speed is so many times its own; at 0 its threads stand still and its heartbeats go on.
    Speed(f64),
    /// Its process ends, and its connection with it.
    Dies,
    /// It is started again.
    Returns,
    /// The whole process stands still.
    Freezes,
    /// It goes on.
    Thaws,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "run".to_owned(),
            scene: Scene::Boundary,
            picture: None,
            size: None,
            seconds: Some(30.0),
            warm_up: None,
            mirror: true,
            workers: 8,
            threads: 1,
            credit: 2,
            spread: 0.0,
            noise: 0.0,
            host: Host::default(),
            latency_us: 100.0,
            broker_us: 13.0,
            client_bytes_per_s: None,
            ack_messages: Some(32),
            reorder_bytes_max: None,
            held_bytes_max: None,
            events: Vec::new(),
            seed: 1,
        }
    }
}

impl Scenario {
    /// Whether it can be.
    ///
    /// # Errors
    /// The first field that cannot.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let whole = |field: &str, value: u32, max: u32| match value {
            0 => Err(Error::Scenario(format!("{field} is 0; give at least 1"))),
            _ if value > max => Err(Error::Scenario(format!("{field} is {value}; the limit is {max}"))),
            _ => Ok(()),
        };
        whole("workers", self.workers, WORKERS_MAX)?;
        whole("threads", self.threads, limits::WORKER_THREADS_MAX)?;
        whole("credit", self.credit, limits::WORKER_CREDIT_MAX)?;
        whole("credit x threads", self.credit * self.threads, limits::WORKER_CREDIT_MAX)?;
        if let Some(Size { w, h }) = self.size {
            whole("the picture's width", w, SIDE_MAX)?;
            whole("the picture's height", h, SIDE_MAX)?;
        }
        let within = |field: &str, value: f64, min: f64, max: f64| {
            let message = || Error::Scenario(format!("{field} is {value}; give a number from {min} to {max}"));
            (min..=max).contains(&value).then_some(()).ok_or_else(message)
        };
        within("seconds", self.seconds.unwrap_or(1.0), 1e-3, 1e6)?;
        within("warm-up", self.warm_up.unwrap_or(1.0), 1e-3, 1e6)?;
        within("spread", self.spread, 0.0, 0.99)?;
        within("noise", self.noise, 0.0, 0.99)?;
        within("latency", self.latency_us, 0.0, 1e6)?;
        within("broker", self.broker_us, 0.0, 1e6)?;
        within("ns per iteration", self.host.ns_per_iteration, 1e-6, 1e6)?;
        within("ns per pixel", self.host.ns_per_pixel, 0.0, 1e6)?;
        within("client's bandwidth", self.client_bytes_per_s.unwrap_or(1e6), 1.0, 1e15)?;
        for event in &self.events {
            within("time of an event", event.at.unwrap_or(0.0), 0.0, 1e6)?;
            if event.worker >= self.workers {
                let message = format!("there is no worker {}; they are 0 to {}", event.worker, self.workers - 1);
                return Err(Error::Scenario(message));
            }
            if let Change::Speed(factor) = event.change {
                within("speed", factor, 0.0, 1e3)?;
            }
        }
        Ok(())
    }

    /// Each worker's own speed.
    pub(crate) fn speeds(&self, rng: &mut Rng) -> Vec<f64> {
        (0..self.workers).map(|_| rng.about_one(self.spread)).collect()
    }

    /// The picture, so large that a grid of these threads and speeds takes `seconds` for it at the least.
    pub(crate) fn work(&self, seconds: Option<f64>, speeds: &[f64]) -> Result<Work, Error> {
        let (mut request, profile) = self.picture.clone().unwrap_or_else(|| (self.scene.request(), self.scene.profile()));
        if let Some(size) = self.size {
            (request.size, request.window) = (size, Window::whole(size));
        }
        let natural = self.seconds_of(&request, &profile);
        let Some(seconds) = seconds else { return Ok(Work::new(request, &profile, 1.0, self.host)) };
        let wanted = seconds * speeds.iter().sum::<f64>() * f64::from(self.threads);
        if self.size.is_none() {
            let strips = STRIPS_PER_THREAD * f64::from(self.workers) * f64::from(self.threads);
            let pixels_per_strip = limits::STRIP_RAW_BYTES as f64 / 3.0;
            let rows_max = (strips * pixels_per_strip * f64::from(request.size.h) / f64::from(request.size.w)).sqrt();
            let stretch = (wanted / natural.sum()).sqrt().min(rows_max.max(ROWS_MAX) / f64::from(request.size.h));
            let side = |side: u32| u32::try_from(crate::whole(f64::from(side) * stretch / 2.0)).unwrap_or(1).max(1) * 2;
            request.size = Size { w: side(request.size.w), h: side(request.size.h) };
            request.window = Window::whole(request.size);
        }
        let parts = self.seconds_of(&request, &profile);
        let scale = (wanted - parts.pixels) / parts.iterations;
        if scale.is_nan() || scale <= 0.0 || !scale.is_finite() {
            let message = format!("{seconds} s are too short for the pixels of this picture alone; draw a smaller one");
            return Err(Error::Scenario(message));
        }
        let limit = crate::whole((f64::from(request.iterations) * scale).ceil()).max(request.iterations.into());
        let too_costly = || Error::Scenario(format!("{seconds} s ask for {limit} iterations a pixel; draw a larger picture"));
        request.iterations = u32::try_from(limit).map_err(|_| too_costly())?;
        Ok(Work::new(request, &profile, scale, self.host))
    }

    fn seconds_of(&self, request: &Request, profile: &Profile) -> Parts {
        let mean = profile.iterations.iter().sum::<f64>() / profile.iterations.len() as f64;
        let pixels = request.pixels() as f64 / 1e9;
        Parts { iterations: pixels * mean * self.host.ns_per_iteration, pixels: pixels * self.host.ns_per_pixel }
    }
}

/// Seconds at speed 1.
struct Parts {
    iterations: f64,
    pixels: f64,
}

impl Parts {
    fn sum(&self) -> f64 {
        self.iterations + self.pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_takes_as_long_as_was_asked_for() {
        for (scene, seconds, size) in [
            (Scene::Talk, 0.5, None),
            (Scene::Boundary, 30.0, None),
            (Scene::Interior, 100.0, Some(Size { w: 3000, h: 1000 })),
            (Scene::Even, 2.0, None),
        ] {
            let scenario = Scenario { scene, size, threads: 2, ..Scenario::default() };
            let work = scenario.work(Some(seconds), &[1.0, 0.5]).unwrap();
            let took = work.seconds(work.layout.whole(), false);
            assert!((took / (3.0 * seconds) - 1.0).abs() < 0.01, "{scene}: {took} s for {seconds} s");
        }
    }

    #[test]
    fn what_cannot_be_is_told_and_not_tried() {
        let dies = |worker| Event { worker, at: Some(1.0), change: Change::Dies };
        let wrong = [
            Scenario { workers: 0, ..Scenario::default() },
            Scenario { workers: u32::MAX, ..Scenario::default() },
            Scenario { spread: f64::NAN, ..Scenario::default() },
            Scenario { latency_us: -1.0, ..Scenario::default() },
            Scenario { events: vec![dies(8)], ..Scenario::default() },
            Scenario { size: Some(Size { w: 0, h: 7 }), ..Scenario::default() },
            Scenario { size: Some(Size { w: 100_000, h: 100_000 }), seconds: Some(1.0), ..Scenario::default() },
            Scenario { size: Some(Size { w: 1, h: 1 }), seconds: Some(1e6), ..Scenario::default() },
        ];
        for scenario in wrong {
            assert!(matches!(crate::run(&scenario), Err(Error::Scenario(_))), "{scenario:?}");
        }
    }
}
