//! A picture's file, in the format that was asked for, and what is said when it is complete.

use std::{
    io::{self, Write},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};
use fractally_client::{OutputFile, PictureFormat, Rendered, Sink, convert};
use fractally_proto::{Done, NO_OP_ENGINE, Request};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tracing::debug;

use crate::{
    cli::Format,
    exit::{Failure, say},
    life::Stop,
    progress::human,
};

/// Where a picture goes: counts the bytes of the file, and hashes them where the hash is asked for.
pub(crate) struct Output {
    name: String,
    request: Request,
    file: OutputFile,
    bytes: u64,
    sha256: Option<Sha256>,
    /// Where another format than the job's is wanted: the PNG so far. What a strip may have is bounded by the picture, and the picture
    /// by the limits of the format, which were checked.
    waiting: Option<(PictureFormat, Vec<u8>)>,
}

impl Output {
    /// `path` for the picture of `request` as `format`, for which it must not be too large; `-` is standard output.
    ///
    /// # Errors
    /// As [`OutputFile::create`].
    pub(crate) fn open(path: &Path, request: Request, format: Format, hash: bool) -> io::Result<Self> {
        let file = if path == Path::new("-") { OutputFile::stdout() } else { OutputFile::create(path)? };
        let name = path.to_string_lossy().into_owned();
        let waiting = format.conversion().map(|format| (format, Vec::new()));
        Ok(Self { name, request, file, bytes: 0, sha256: hash.then(Sha256::new), waiting })
    }

    /// Converts the complete PNG, where another format is wanted, and writes that. Ready `stop` gives it up.
    async fn convert(&mut self, stop: Stop) -> Result<(), Failure> {
        let Some((format, png)) = self.waiting.take() else { return Ok(()) };
        let (tell, told) = oneshot::channel();
        // A thread of its own, which nobody waits for at the end: who stops a conversion does not wait for it.
        let convert = move || {
            // Who does not listen any more was stopped.
            let _ = tell.send(convert(&png, format));
        };
        thread::Builder::new().name("convert".to_owned()).spawn(convert).context("cannot convert the picture")?;
        let converted = tokio::select! {
            converted = told => converted.context("the conversion has failed")?,
            () = stop.asked() => return Err(Failure::interrupted()),
        };
        let bytes = converted.map_err(anyhow::Error::from)?;
        self.write_all(&bytes).with_context(|| format!("--output: cannot write {}", self.name))?;
        debug!(%format, bytes = bytes.len(), "converted");
        Ok(())
    }
}

impl Sink for Output {}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((_, png)) = &mut self.waiting {
            return png.write(bytes);
        }
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(&bytes[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What a picture took, for programs.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a str,
    bytes: u64,
    sha256: String,
    width: u32,
    height: u32,
    seconds: f64,
    iterations: u64,
    compute_seconds: f64,
    bands: u64,
    attempts: u64,
    workers: u32,
    engine: &'a str,
    job: String,
    cached: bool,
    reconnects: u32,
}

/// Converts the picture where that is asked for, gives the file its name, and tells about it. The hash was asked for where a program
/// wants to know. `took` is how long the render took, as far as that is known.
pub(crate) async fn finish(rendered: Rendered<Output>, took: Duration, quiet: bool, stop: Stop) -> Result<(), Failure> {
    let Rendered { mut out, done, cached, elapsed, reconnects } = rendered;
    if done.engine == NO_OP_ENGINE {
        return Err(anyhow!("this grid measures: its broker and workers run with --no-op, and what came is no picture").into());
    }
    out.convert(stop).await?;
    let Output { name, request, file, bytes, sha256, .. } = out;
    file.commit().with_context(|| format!("--output: cannot write {name}"))?;
    debug!("file complete");
    let (width, height) = (request.window.w, request.window.h);
    if let Some(sha256) = sha256 {
        let report = Report {
            file: &name,
            bytes,
            sha256: hex(&sha256.finalize()),
            width,
            height,
            seconds: elapsed.as_secs_f64(),
            iterations: done.iterations,
            compute_seconds: done.compute_ns as f64 / 1e9,
            bands: done.bands,
            attempts: done.attempts,
            workers: done.workers,
            engine: &done.engine,
            job: done.job.to_string(),
            cached,
            reconnects,
        };
        let line = serde_json::to_string(&report).context("cannot write JSON")?;
        if name == "-" { say(&line) } else { print_line(&line)? }
    } else if !quiet {
        let effort = effort(&done, took);
        let how = if cached { format!("from the broker's disk in {}; it took {effort}", human(elapsed)) } else { effort };
        say(&format!("{name}: {width}x{height}, {how}"));
    }
    Ok(())
}

fn effort(done: &Done, took: Duration) -> String {
    let (workers, plural) = (done.workers, if done.workers == 1 { "" } else { "s" });
    let rate = done.iterations as f64 / took.as_secs_f64().max(1e-3) / 1e9;
    format!("{} on {workers} worker{plural}, {rate:.2} G iterations/s", human(took))
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line on stdout; a reader that has left is not our failure.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("cannot write to stdout").into())
        }
        _ => Ok(()),
    }
}
