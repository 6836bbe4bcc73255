//! The same picture without a grid: threads of one process take strips in order, and the file is put together as they finish.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use fractally_client::{Assembler, OutputFile};
use fractally_fractal::{
    colour::{self, Palette},
    kernel::{self, Watch},
    scene::{Scene, Window},
    strip::{Output, Scratch, render_strip},
};
use fractally_proto::{Layout, Request, StripMeta};
use num_complex::Complex;

/// Renders into `path` on `count` threads and gives the time that it took.
pub(crate) fn render(request: &Request, path: &Path, count: usize) -> Duration {
    let started = Instant::now();
    let layout = Layout::of(request);
    let out = OutputFile::create(path).expect("the lab can be written");
    let mut file = Assembler::begin(request, out).expect("the file can be written");
    let next = AtomicU32::new(0);
    let (finished, strips) = mpsc::sync_channel(64);
    thread::scope(|scope| {
        for _ in 0..count {
            let finished = finished.clone();
            let next = &next;
            scope.spawn(move || {
                let (scene, palette) = (scene(request), palette(request));
                let (mut scratch, watch) = (Scratch::new(), Watch::new());
                loop {
                    let strip = next.fetch_add(1, Ordering::Relaxed);
                    if strip >= layout.strips() {
                        return;
                    }
                    let made =
                        render_strip(kernel::best(), &scene, layout.rows_of(strip), &Output::Png(&palette), &mut scratch, &watch);
                    let made = made.expect("nobody cancels");
                    finished.send((strip, made.bytes, made.adler32)).expect("the file is still being written");
                }
            });
        }
        drop(finished);
        let mut waiting = BTreeMap::new();
        for (strip, bytes, adler32) in strips {
            waiting.insert(strip, (bytes, adler32));
            while let Some((bytes, adler32)) = waiting.remove(&file.have()) {
                let len = u32::try_from(bytes.len()).expect("a strip is small");
                file.append(file.have(), &[StripMeta(len, adler32)], &bytes).expect("the strip fits");
            }
        }
    });
    file.finish().expect("every strip has come").commit().expect("the file takes its name");
    started.elapsed()
}

fn scene(request: &Request) -> Scene {
    let window = request.window;
    Scene {
        c: Complex::new(request.c[0], request.c[1]),
        center: Complex::new(request.center[0], request.center[1]),
        width: request.width,
        size: (request.size.w, request.size.h),
        window: Window { x: window.x, y: window.y, w: window.w, h: window.h },
        iterations: request.iterations,
        bailout: request.bailout,
    }
}

fn palette(request: &Request) -> Palette {
    let map = colour::by_name(request.colour.map.name()).expect("every name has a table");
    Palette::new(map, request.colour.interior, request.iterations)
}
