//! `fractally-simulator`: the library's scenarios on the command line, and its predictions beside a real grid.

mod args;
mod compare;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use args::{Cli, Command};
use clap::Parser;
use fractally_fractal::kernel;
use fractally_simulator::{Profile, Report, Row, Scene, failures, grids, run, slow_worker_of_eight};

fn main() -> ExitCode {
    match carry_out(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has left is not our failure.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "fractally-simulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(cli: Cli) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let base = cli.common.scenario()?;
    match cli.command {
        Command::Run(args) => {
            let rows = args.scenarios(&base).into_iter().map(|scenario| (run(&scenario), scenario));
            print(&mut out, cli.common.json, rows.map(|(report, scenario)| Row { scenario, report }))
        }
        Command::Grids => print(&mut out, cli.common.json, grids(&base)),
        Command::Failures => print(&mut out, cli.common.json, failures(&base)),
        Command::SlowWorker => {
            let rows = slow_worker_of_eight(&base).into_iter().map(|scenario| (run(&scenario), scenario));
            print(&mut out, cli.common.json, rows.map(|(report, scenario)| Row { scenario, report }))
        }
        Command::Rows => {
            for scene in Scene::ALL.into_iter().filter(|scene| scene.is_real()) {
                writeln!(out, "{scene}{}", Profile::measure(kernel::best(), &scene.request()).line())?;
            }
            Ok(())
        }
        Command::Compare(args) => compare::compare(&mut out, &base, &args, cli.common.json),
    }
}

/// Prints each row as soon as it is there. A scenario without a result is told in its place, and in the exit code.
fn print(out: &mut impl Write, json: bool, rows: impl Iterator<Item = Row>) -> anyhow::Result<()> {
    let mut lost = 0;
    if !json {
        writeln!(out, "{}", Report::HEAD)?;
    }
    for Row { scenario, report } in rows {
        match report {
            Ok(report) if json => writeln!(out, "{}", serde_json::to_string(&report).context("cannot write JSON")?)?,
            Ok(report) => writeln!(out, "{report}")?,
            Err(error) => {
                lost += 1;
                let name = format!("{} ({})", scenario.name, scenario.scene);
                writeln!(io::stderr(), "{name:<39} {:>7} {error}", scenario.workers)?;
            }
        }
    }
    match lost {
        0 => Ok(()),
        lost => Err(anyhow::anyhow!("{lost} scenarios have no result; see above")),
    }
}
