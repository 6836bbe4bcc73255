//! Where a run goes: files that are opened before anything is measured and appear whole or not at all, and a table for people. And
//! `bench report`, which reads runs instead of measuring one.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf, absolute},
};

use anyhow::{Context, anyhow, bail};
use fractally_client::OutputFile;
use fractally_measure::{Run, csv, html, merge, table};

use crate::{
    cli::{OutputArgs, ReportArgs},
    exit::{Failure, say},
    output::print_line,
};

/// Bytes of a run's file that are read: a run of all series has some hundred kilobytes.
const RUN_BYTES_MAX: u64 = 64 << 20;

/// What is to be written, each to its file.
pub(super) struct Outputs {
    outputs: Vec<Output>,
    /// Whether one of them goes there.
    takes_stdout: bool,
}

struct Output {
    option: &'static str,
    name: String,
    file: OutputFile,
    write: Form,
}

/// A way to tell a run.
type Form = fn(&Run) -> String;

impl Outputs {
    /// Opens all of them.
    ///
    /// # Errors
    /// One cannot be written, or two go to one place.
    pub(super) fn open(args: &OutputArgs) -> Result<Self, Failure> {
        let wanted: [(_, _, Form); 3] =
            [("--json", &args.json, Run::to_json), ("--csv", &args.csv, csv), ("--html", &args.html, html)];
        let (mut outputs, mut taken) = (Vec::new(), Vec::<PathBuf>::new());
        for (option, path, write) in wanted {
            let Some(path) = path else { continue };
            let name = path.display().to_string();
            // However it is written: `a` and `./a` are one file.
            let place = if is_stdout(path) { path.clone() } else { absolute(path).unwrap_or_else(|_| path.clone()) };
            if taken.contains(&place) {
                return Err(Failure::usage(format!("{option}: {name} is where another one goes; give each its own")));
            }
            let file = if is_stdout(path) { Ok(OutputFile::stdout()) } else { OutputFile::create(path) };
            let file = file.with_context(|| format!("{option}: cannot write {name}"))?;
            outputs.push(Output { option, name, file, write });
            taken.push(place);
        }
        Ok(Self { outputs, takes_stdout: taken.iter().any(|place| is_stdout(place)) })
    }

    /// Writes them, and the table where nobody said to be `quiet`: to stderr if stdout is somebody else's.
    pub(super) fn write(self, run: &Run, quiet: bool) -> Result<(), Failure> {
        let told = table(run);
        for Output { option, name, mut file, write } in self.outputs {
            let mut text = write(run);
            if !text.ends_with('\n') {
                text.push('\n');
            }
            let written = file.write_all(text.as_bytes()).and_then(|()| file.commit());
            written.with_context(|| format!("{option}: cannot write {name}"))?;
        }
        match (quiet, self.takes_stdout) {
            (true, _) => Ok(()),
            (false, true) => {
                say(told.trim_end());
                Ok(())
            }
            (false, false) => print_line(told.trim_end()),
        }
    }
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// `fractally bench report`.
pub(super) fn report(args: &ReportArgs) -> Result<(), Failure> {
    let outputs = Outputs::open(&args.outputs)?;
    let runs = args.runs.iter().map(|path| read(path).with_context(|| path.display().to_string()));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let merged = merge(&runs).map_err(|error| anyhow!("these runs are not one: {error}"))?;
    outputs.write(&merged, args.quiet)
}

fn read(path: &Path) -> anyhow::Result<Run> {
    let mut json = Vec::new();
    File::open(path)?.take(RUN_BYTES_MAX + 1).read_to_end(&mut json)?;
    if json.len() as u64 > RUN_BYTES_MAX {
        bail!("it has more than {} MiB; no run has so many figures", RUN_BYTES_MAX >> 20);
    }
    Ok(Run::read(&json)?)
}
