//! One picture's work, exactly: iterations of every row, and what they and the pixels take on a host of speed 1.

use std::ops::Range;

use fractally_proto::{Band, Encoding, Layout, Request, StripMeta};

use crate::scene::Profile;

/// What a thread of speed 1 takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Host {
    /// Nanoseconds for one iteration of one pixel.
    pub ns_per_iteration: f64,
    /// Nanoseconds for a pixel beside its iterations: colour, filter and deflate.
    pub ns_per_pixel: f64,
}

impl Default for Host {
    /// One core of an AMD EPYC (Zen 4, AVX-512), as `compare` and the benchmark of pixels find it.
    fn default() -> Self {
        Self { ns_per_iteration: 0.3, ns_per_pixel: 6.6 }
    }
}

/// The rows of one picture.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) request: Request,
    pub(crate) layout: Layout,
    host: Host,
    encoded: f64,
    /// Iterations of all rows before a row, one entry more than rows.
    before: Vec<f64>,
}

impl Work {
    /// `scale` multiplies what the profile says of iterations.
    pub(crate) fn new(request: Request, profile: &Profile, scale: f64, host: Host) -> Self {
        let (w, h) = (f64::from(request.window.w), request.window.h);
        let mut before = Vec::with_capacity(h as usize + 1);
        let mut sum = 0.0;
        before.push(sum);
        for row in 0..h {
            sum += w * scale * profile.at((f64::from(row) + 0.5) / f64::from(h));
            before.push(sum);
        }
        Self { request, layout: Layout::of(&request), host, encoded: profile.encoded, before }
    }

    /// Iterations of all pixels in `rows`.
    pub(crate) fn iterations(&self, rows: Range<u32>) -> f64 {
        self.before[rows.end as usize] - self.before[rows.start as usize]
    }

    /// Seconds at speed 1 for the pixels of a band, without their iterations.
    pub(crate) fn pixel_seconds(&self, band: Band) -> f64 {
        self.pixels(band) * self.host.ns_per_pixel / 1e9
    }

    /// Seconds at speed 1 for so many iterations.
    pub(crate) fn iteration_seconds(&self, iterations: f64) -> f64 {
        iterations * self.host.ns_per_iteration / 1e9
    }

    /// Seconds at speed 1 for a band; one whose mirror is at hand costs its pixels alone.
    pub(crate) fn seconds(&self, band: Band, is_mirrored: bool) -> f64 {
        let iterations = if is_mirrored { 0.0 } else { self.iterations(self.layout.rows_of_band(band)) };
        self.pixel_seconds(band) + self.iteration_seconds(iterations)
    }

    fn pixels(&self, band: Band) -> f64 {
        let rows = self.layout.rows_of_band(band);
        f64::from(rows.end - rows.start) * f64::from(self.request.window.w)
    }

    /// What its strips take once encoded.
    pub(crate) fn strips(&self, band: Band) -> Vec<StripMeta> {
        let ratio = if self.request.encoding == Encoding::Counts { 1.0 } else { self.encoded };
        let encoded = |strip: u32| {
            let max = self.layout.encoded_len_max(strip);
            crate::whole(self.layout.raw_len(strip) as f64 * ratio).clamp(1, max)
        };
        band.range().map(|strip| StripMeta(u32::try_from(encoded(strip)).unwrap_or(u32::MAX), strip)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;

    #[test]
    fn bands_cost_what_the_picture_costs() {
        let request = Scene::Talk.request();
        let work = Work::new(request, &Scene::Talk.profile(), 3.0, Host::default());
        let whole = work.seconds(work.layout.whole(), false);
        let bands = (0..work.layout.strips()).map(|first| work.seconds(Band { first, strips: 1 }, false));
        assert!((bands.sum::<f64>() - whole).abs() < 1e-9);
        assert!(work.seconds(work.layout.whole(), true) < whole / 2.0);
        assert!(work.iterations(0..0) < 0.5 && work.iterations(0..request.window.h) > 1e8);
    }
}
