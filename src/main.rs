//! `fractally`: one binary, every role.
//!
//! This package is the command line, exit codes, logging, and the local grid (child processes of this same binary). It holds
//! no logic of the grid: a subcommand reads its options, calls a library crate, and says what came of it.
//!
//! Read next: `cli.rs` for the options, `grid.rs` for the local grid, `ARCHITECTURE.md` for the house.

mod attach;
mod bench;
mod broker;
mod cli;
mod config;
mod doctor;
mod exit;
mod gateway;
mod grid;
mod jobs;
mod life;
mod manual;
mod notation;
mod output;
mod progress;
mod render;
mod status;
mod submit;
mod table;
mod top;
mod worker;

use std::{io::IsTerminal, process::ExitCode};

use clap::ArgMatches;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Cli, Command, Read},
    config::{Config, Refused},
    life::Stop,
};

/// Program and version, as peers see it.
const AGENT: &str = concat!("fractally ", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    let Read { cli, given, config } = match Cli::read() {
        Ok(read) => read,
        Err(failure) => return exit::report(Err(failure)),
    };
    start_logging(cli.log.as_deref().unwrap_or_else(|| cli.command.default_log()));
    // Before anything exists that a signal would have to undo.
    let stop = match Stop::on_signals(cli.command.drain_timeout()) {
        Ok(stop) => stop,
        Err(error) => return exit::report(Err(error.into())),
    };
    // One thread: the roles that use this runtime only move bytes, and a lone thread moves them with less delay.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(cli, &given, config, stop)),
        Err(error) => Err(exit::Failure::from(anyhow::Error::from(error).context("cannot start"))),
    };
    exit::report(ended)
}

async fn run(cli: Cli, given: &ArgMatches, config: Option<Result<Config, Refused>>, stop: Stop) -> Result<(), exit::Failure> {
    match cli.command {
        Command::Render(options) => {
            let place = options.place(given.subcommand_matches("render").unwrap_or(given))?;
            render::run(options, place, cli.log.as_deref(), stop).await
        }
        Command::Broker(options) => broker::run(options, stop).await,
        Command::Worker(options) => worker::run(options, stop).await,
        Command::Submit(options) => submit::run(options, stop).await,
        Command::Attach(options) => attach::run(options.follow, false, stop).await,
        Command::Fetch(options) => attach::run(options.follow, true, stop).await,
        Command::Cancel(options) => jobs::run_cancel(options, stop).await,
        Command::List(options) => stop.or(jobs::run_list(options)).await,
        Command::Status(options) => stop.or(status::run(options)).await,
        Command::Doctor(options) => doctor::run(options, config, stop).await,
        Command::Top(options) => top::run(options, stop).await,
        Command::Up(options) => gateway::run_up(options, cli.log.as_deref(), stop).await,
        Command::Gateway(options) => gateway::run(options, stop).await,
        Command::Bench(options) => {
            let matches = given.subcommand_matches("bench").unwrap_or(given);
            bench::run(*options, matches, cli.log.as_deref(), stop).await
        }
        Command::Completions(options) => manual::run_completions(&options),
        Command::Man(options) => manual::run_man(&options),
    }
}

fn start_logging(filter: &str) {
    let filter = EnvFilter::builder().parse_lossy(filter);
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_target(false)
        .log_internal_errors(false)
        .init();
}
