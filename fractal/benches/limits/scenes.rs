//! The scenes, and how they are cut into bands.

use fractally_fractal::kernel::{Kernel, Lattice, Watch};
use fractally_fractal::scene::Scene;
use num_complex::Complex;

/// Pixels of a band: some tens of thousands, as a worker would be given.
const BAND_PIXELS: u32 = 32_768;

/// A scene, all of it or a sample.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) scene: Scene,
    /// One band of this many is computed.
    pub(crate) every: u32,
}

impl Work {
    pub(crate) fn band_rows(&self) -> u32 {
        (BAND_PIXELS / self.scene.size.0).max(1)
    }

    /// First rows of the bands to compute.
    fn bands(&self) -> impl Iterator<Item = u32> + use<> {
        (0..self.scene.size.1).step_by((self.band_rows() * self.every) as usize)
    }

    pub(crate) fn pixels(&self) -> u64 {
        let rows: u32 = self.bands().map(|first| self.band_rows().min(self.scene.size.1 - first)).sum();
        u64::from(rows) * u64::from(self.scene.size.0)
    }

    /// Finds all counts with `threads` threads that take one band after the other; the sum of the counts.
    pub(crate) fn run(&self, kernel: &dyn Kernel, threads: usize, counts: &mut [u32]) -> u64 {
        let (band_rows, width) = (self.band_rows(), self.scene.size.0 as usize);
        let chunks = counts.chunks_mut(band_rows as usize * width).step_by(self.every as usize);
        let bands = std::sync::Mutex::new(self.bands().zip(chunks));
        let mut columns = vec![];
        self.scene.columns_into(&mut columns);
        let take_bands = || {
            let (mut rows, watch) = (vec![], Watch::new());
            loop {
                let next = bands.lock().expect("no thread panics").next();
                let Some((first, counts)) = next else { return watch.iterations() };
                self.scene.rows_into(first..self.scene.size.1.min(first + band_rows), &mut rows);
                let lattice = Lattice { rule: self.scene.rule(), columns: &columns, rows: &rows };
                kernel.counts(&lattice, &watch, counts).expect("nobody cancels");
            }
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(take_bands)).collect();
            take_bands() + others.into_iter().map(|thread| thread.join().expect("no panic")).sum::<u64>()
        })
    }
}

fn work(name: &'static str, c: (f64, f64), center: (f64, f64), width: f64, size: (u32, u32), limit: u32, every: u32) -> Work {
    let scene = Scene::whole(Complex::new(c.0, c.1), Complex::new(center.0, center.1), width, size, limit);
    Work { name, scene, every }
}

/// What each scene is there for: `S1` the default picture, lives of all lengths; `S2` deep at the boundary; `S3` mostly interior,
/// `S3q` the same smaller; `S4` a dendrite, cost per point; `S5` long lives under a high limit; `S5p` the parabolic c = 1/4.
pub(crate) fn scenes() -> [Work; 7] {
    let origin = (0.0, 0.0);
    let rabbit = (-0.123, 0.745);
    let spiral = (-0.905_531_251_527_432_5, 0.403_245_115_051_124_4);
    [
        work("S1", (-0.8, 0.156), origin, 4.0, (4000, 2000), 256, 1),
        work("S2", (-0.8, 0.156), spiral, 1e-6, (2000, 2000), 10_000, 1),
        work("S3", rabbit, origin, 3.2, (4000, 4000), 10_000, 25),
        work("S3q", rabbit, origin, 3.2, (1000, 1000), 10_000, 1),
        work("S4", (0.0, 1.0), origin, 3.2, (4000, 4000), 2_000, 1),
        work("S5", (-0.75, 0.01), origin, 3.2, (1000, 1000), 50_000, 1),
        work("S5p", (0.25, 0.0), origin, 3.2, (1000, 1000), 50_000, 7),
    ]
}
