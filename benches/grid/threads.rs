//! The same picture without a grid: threads of one process make its strips, and the file is put together as they finish.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use fractally_client::{Assembler, OutputFile};
use fractally_proto::Request;
use fractally_worker::{Kernel, Threads, render_on_threads};

use crate::Mirror;

/// Renders into `path` on `count` threads and gives the time that it took. With mirrors, a thread takes a strip and the opposite one.
pub(crate) fn render(request: &Request, path: &Path, count: usize, mirror: Mirror) -> Duration {
    let started = Instant::now();
    let out = OutputFile::create(path).expect("the lab can be written");
    let mut file = Assembler::begin(request, out).expect("the file can be written");
    let (kernel, _) = Kernel::choose(None).expect("there is a fastest kernel");
    let count = u32::try_from(count).expect("a machine has few cores");
    let threads = Threads { count, kernel, mirror: mirror == Mirror::On };
    let append = |strip, meta, bytes: &[u8]| file.append(strip, &[meta], bytes).map_err(io::Error::other);
    render_on_threads(request, threads, append).expect("threads render what a grid does");
    file.finish().expect("every strip has come").commit().expect("the file takes its name");
    started.elapsed()
}
