//! The same picture without a grid: threads of one process take strips in order, and the file is put together as they finish.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        atomic::{AtomicUsize, Ordering},
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
    strip::{Output, Picture, Scratch},
    symmetry::{self, Kept},
};
use fractally_proto::{Layout, Request, StripMeta};
use num_complex::Complex;

use crate::Mirror;

/// Renders into `path` on `count` threads and gives the time that it took. With mirrors, a thread takes a strip and the opposite one.
pub(crate) fn render(request: &Request, path: &Path, count: usize, mirror: Mirror) -> Duration {
    let started = Instant::now();
    let layout = Layout::of(request);
    let out = OutputFile::create(path).expect("the lab can be written");
    let mut file = Assembler::begin(request, out).expect("the file can be written");
    let last = layout.strips() - 1;
    let work: Vec<Vec<u32>> = match mirror {
        Mirror::Off => (0..=last).map(|strip| vec![strip]).collect(),
        Mirror::On => {
            (0..=last / 2).map(|strip| if strip < last - strip { vec![strip, last - strip] } else { vec![strip] }).collect()
        }
    };
    let next = AtomicUsize::new(0);
    let (finished, strips) = mpsc::sync_channel(64);
    thread::scope(|scope| {
        for _ in 0..count {
            let finished = finished.clone();
            let (next, work) = (&next, &work);
            scope.spawn(move || {
                let (scene, palette) = (scene(request), palette(request));
                let (mut scratch, watch) = (Scratch::new(), Watch::new());
                let picture = Picture { kernel: kernel::best(), scene: &scene, output: Output::Png(&palette), watch: &watch };
                while let Some(strips) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let rows = strips.iter().map(|&strip| layout.rows_of(strip)).collect();
                    let mut kept =
                        symmetry::Mirror::of(&scene).filter(|_| mirror == Mirror::On).map(|mirror| Kept::new(mirror, rows));
                    for &strip in strips {
                        let mut bytes = Vec::new();
                        let made = picture.strip_into(layout.rows_of(strip), kept.as_mut(), &mut scratch, &mut bytes);
                        let made = made.expect("nobody cancels");
                        finished.send((strip, bytes, made.adler32)).expect("the file is still being written");
                    }
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
