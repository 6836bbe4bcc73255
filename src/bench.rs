//! `fractally bench`: what a grid does, measured on grids of this machine or on a running one.
//!
//! Each series is a file and gives records (`fractally_measure`); this one says which series fit, and puts the run together. How the
//! figures are told is `measure/`'s. The development benchmarks, which compare parts of the program, are in `benches/`.
//!
//! Read next: `grids.rs` for what is measured and how one job is, `strong.rs` for the simplest series.

mod grids;
mod latency;
mod machine;
mod outputs;
mod overhead;
mod payload;
mod picture;
mod scaling;
mod start;
mod strong;
mod tell;
mod weak;

use std::{collections::BTreeSet, num::NonZero};

use clap::ArgMatches;
use fractally_measure::{FORMAT, Host, Member, Record, Run, Series};
use fractally_proto::{Limits, NO_OP_ENGINE, Request};
use fractally_worker::{ENGINE_ID, Kernel};

use self::{grids::Grid, machine::Moment, outputs::Outputs, picture::is_mirrored, tell::Tell};
use crate::{
    AGENT,
    cli::{BenchAction, BenchArgs, Place},
    exit::{Code, Failure},
    grid::Setup,
    life::Stop,
    worker,
};

pub(crate) async fn run(args: BenchArgs, matches: &ArgMatches, log: Option<&str>, stop: Stop) -> Result<(), Failure> {
    if let Some(BenchAction::Report(report)) = &args.action {
        return outputs::report(report);
    }
    let place = args.place(matches)?;
    let request = args.picture.request(args.format);
    request.validate(&Limits::default())?;
    let outputs = Outputs::open(&args.outputs)?;
    let tell = Tell::new(args.quiet);
    let site = match place {
        Place::Local(workers) => Site::Here(Here {
            workers: workers.unwrap_or_else(worker::cores),
            kernel: Kernel::choose(args.kernel.as_deref()).map_err(worker::unknown_kernel)?.0,
            mirror: !args.no_mirror,
            bands: args.bands,
            log,
        }),
        Place::Grid(endpoint) => Site::Running(Grid::running(&args, endpoint, &tell).await?),
    };
    let bench = Bench { request, runs: args.runs, warm_up: args.warm_up, scale: args.scale, site, stop, tell };
    let measured = bench.measure(&args.asked()).await;
    bench.tell.clear();
    let run = measured.map_err(|failure| match failure.code {
        Code::Interrupted => Failure { message: "stopped; what was measured is not kept".to_owned(), ..failure },
        _ => failure,
    })?;
    outputs.write(&run, args.quiet)
}

/// What is measured, where, and how often.
struct Bench<'a> {
    /// The picture of those series that have none of their own.
    request: Request,
    /// Measurements of each thing that count, at least 1.
    runs: u32,
    /// Measurements of each thing before them.
    warm_up: u32,
    /// What sizes are multiplied by where a series has its own.
    scale: f64,
    site: Site<'a>,
    stop: Stop,
    tell: Tell,
}

/// Where it is measured.
enum Site<'a> {
    /// On grids of this machine, started for it.
    Here(Here<'a>),
    /// On a running grid, as it is.
    Running(Grid),
}

/// What local grids are like.
struct Here<'a> {
    /// Workers of the largest.
    workers: u32,
    kernel: Kernel,
    mirror: bool,
    /// Equal bands of a picture, where that is asked for.
    bands: Option<NonZero<u32>>,
    log: Option<&'a str>,
}

impl Here<'_> {
    /// Whether rows of the picture are spared that are mirror images of others. With equal bands, those are leased one by one.
    fn mirrors(&self, request: &Request) -> bool {
        self.mirror && self.bands.is_none() && is_mirrored(request)
    }

    /// A grid that renders as fast as it can.
    fn setup(&self, workers: u32) -> Setup<'_> {
        Setup { mirror: self.mirror, log: self.log, ..Setup::of(workers, self.kernel) }
    }
}

impl Bench<'_> {
    /// Measures those of the series that fit, in their order.
    async fn measure(&self, asked: &[Series]) -> Result<Run, Failure> {
        let fitting = self.fitting(asked)?;
        if fitting.contains(&Series::Weak) {
            weak::check(self)?;
        }
        let before = Moment::now();
        let host = Host { load_before: before.load, ..machine::host() };
        if host.was_busy() {
            let Host { cores, load_before: [load, ..], .. } = host;
            self.tell.warn(&format!(
                "this machine is busy (load {load:.1}, {cores} cores): the figures will be noise; end what else runs, or compare them only \
                 with one another"
            ));
        }
        let mut records = Vec::new();
        for series in fitting {
            records.extend(self.one(series).await?);
        }
        Ok(self.run_of(records, host, before.rfc3339()))
    }

    async fn one(&self, series: Series) -> Result<Vec<Record>, Failure> {
        match series {
            Series::Strong => strong::measure(self).await,
            Series::Weak => weak::measure(self).await,
            Series::Overhead => overhead::measure(self).await,
            Series::Latency => latency::measure(self).await,
            Series::Payload => payload::measure(self).await,
            Series::Start => start::measure(self).await,
        }
    }

    /// The series that can be measured here. Why the others cannot is told.
    ///
    /// # Errors
    /// There are none.
    fn fitting(&self, asked: &[Series]) -> Result<Vec<Series>, Failure> {
        let (mut fitting, mut left_out) = (Vec::new(), Vec::<(&str, Vec<&str>)>::new());
        for &series in asked {
            match self.misfit(series) {
                None => fitting.push(series),
                Some(reason) => match left_out.iter_mut().find(|(other, _)| *other == reason) {
                    Some((_, names)) => names.push(series.name()),
                    None => left_out.push((reason, vec![series.name()])),
                },
            }
        }
        let reasons: Vec<_> = left_out.iter().map(|(reason, names)| format!("{}: {reason}", names.join(", "))).collect();
        if fitting.is_empty() {
            return Err(Failure::usage(format!("nothing to measure; {}", reasons.join("; "))));
        }
        reasons.iter().for_each(|reason| self.tell.warn(&format!("left out: {reason}")));
        Ok(fitting)
    }

    /// Why a series cannot be measured here, and what to do.
    fn misfit(&self, series: Series) -> Option<&'static str> {
        let Site::Running(grid) = &self.site else { return None };
        let is_no_op = grid.members.iter().all(|member| member.engine == NO_OP_ENGINE);
        match (series, is_no_op) {
            (Series::Start, _) => Some("a running grid has started already; leave out --broker"),
            (Series::Overhead, false) => Some(
                "it needs a grid that computes nothing; start `fractally broker --no-op` and `fractally worker --no-op`, or leave out \
                 --broker",
            ),
            (Series::Strong | Series::Weak | Series::Latency | Series::Payload, true) => {
                Some("all workers of this grid compute nothing (--no-op); start broker and workers without it")
            }
            _ => None,
        }
    }

    fn run_of(&self, records: Vec<Record>, host: Host, started: String) -> Run {
        let (engine, workers) = match &self.site {
            Site::Here(here) => {
                let (name, kernel, engine) = ("a local grid's".to_owned(), here.kernel.name().to_owned(), ENGINE_ID.to_owned());
                (ENGINE_ID.to_owned(), vec![Member { name, kernel, threads: 1, engine }])
            }
            Site::Running(grid) => {
                let engines: BTreeSet<_> = grid.members.iter().map(|member| &*member.engine).collect();
                (Vec::from_iter(engines).join(", "), grid.members.clone())
            }
        };
        let host = Host { load_after: machine::load(), ..host };
        let (program, command) = (AGENT.to_owned(), machine::command_line());
        Run { format: FORMAT, program, engine, command, started, host, workers, records }
    }

    /// Measurements of each thing, those to warm up included.
    fn rounds(&self) -> u32 {
        self.warm_up + self.runs
    }

    /// Whether a round's measurements count.
    fn counts(&self, round: u32) -> bool {
        round >= self.warm_up
    }

    /// So many, at the chosen scale, at least one.
    fn scaled(&self, count: u32) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
        let scaled = (f64::from(count) * self.scale).round() as u32;
        scaled.max(1)
    }
}
