//! What the rows of a picture cost: measured on real scenes, kept as a small table, stretched to any size.

use std::fmt;

use fractally_fractal::{
    colour::{self, Palette},
    kernel::{Kernel, Watch},
    probe::{ProbeGrid, probe},
    scene as plane,
    strip::{Output, Scratch, render_strip},
};
use fractally_proto::{ColourMap, Encoding, Request, Size, Window};
use num_complex::Complex;
use thiserror::Error;

/// Made by `fractally-simulator rows`.
const TABLE: &str = include_str!("rows.txt");
/// Rows of a profile.
const POINTS: u32 = 256;
/// Rows of the strips that tell how well a scene deflates, and how many strips.
const SAMPLE: (u32, u32) = (4, 32);

/// The scenes of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// The default picture: lives of all lengths, nearly all short.
    Talk,
    /// Deep at the boundary: costly rows beside cheap ones.
    Boundary,
    /// The rabbit, half of it interior that the kernels know as such: most work is at the rim.
    Interior,
    /// Every row costs the same; no real scene.
    Even,
}

/// No scene has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no scene {0}; choose talk, boundary, interior or even")]
pub struct UnknownScene(String);

impl Scene {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Talk, Self::Boundary, Self::Interior, Self::Even];

    /// Its name, as the command line and the table have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Talk => "talk",
            Self::Boundary => "boundary",
            Self::Interior => "interior",
            Self::Even => "even",
        }
    }

    /// Whether there is something to measure.
    pub fn is_real(self) -> bool {
        self != Self::Even
    }

    /// What is drawn, at its usual size. The scenes of the benchmark of limits that have these names.
    pub fn request(self) -> Request {
        let (rabbit, spiral) = ([-0.123, 0.745], [-0.905_531_251_527_432_5, 0.403_245_115_051_124_4]);
        let whole = |size: Size| Request { size, window: Window::whole(size), ..Request::default() };
        match self {
            Self::Talk => Request::default(),
            Self::Boundary => Request { center: spiral, width: 1e-6, iterations: 10_000, ..whole(Size { w: 2000, h: 2000 }) },
            Self::Interior => Request { c: rabbit, width: 3.2, iterations: 10_000, ..whole(Size { w: 4000, h: 4000 }) },
            // Off the centre: it is not its own half-turn.
            Self::Even => Request { center: [1.0, 0.0], iterations: 1000, ..whole(Size { w: 4000, h: 4000 }) },
        }
    }

    /// What its rows cost.
    pub fn profile(self) -> Profile {
        if !self.is_real() {
            return Profile { iterations: vec![500.0], encoded: 0.25 };
        }
        let line = TABLE.lines().find_map(|line| line.strip_prefix(self.name()));
        line.and_then(Profile::read).expect("a test reads every line of the table")
    }
}

impl std::str::FromStr for Scene {
    type Err = UnknownScene;

    fn from_str(name: &str) -> Result<Self, UnknownScene> {
        Self::ALL.into_iter().find(|scene| scene.name() == name).ok_or_else(|| UnknownScene(name.to_owned()))
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Cost along the height of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Iterations executed for a pixel, on average, at heights (k + 1/2) / len from the top; at least one entry.
    pub iterations: Vec<f64>,
    /// Bytes of a PNG's strip for each raw byte.
    pub encoded: f64,
}

impl Profile {
    /// Looks at a real scene: some hundred rows of it, and about as many pixels in each.
    pub fn measure(kernel: &dyn Kernel, request: &Request) -> Self {
        let scene = scene_of(request);
        let step = |len: u32| (len / POINTS).max(1);
        let grid = ProbeGrid { row_step: step(request.window.h), column_step: step(request.window.w) };
        let rows = probe(kernel, &scene, grid, &Watch::new());
        let iterations = rows.into_iter().map(|row| row.iterations as f64 / f64::from(row.samples.max(1))).collect();
        Self { iterations, encoded: encoded(kernel, &scene, request) }
    }

    /// As a line of the table, without the name.
    pub fn line(&self) -> String {
        let mut line = format!(" {:.4}", self.encoded);
        for iterations in &self.iterations {
            line += &format!(" {iterations:.1}");
        }
        line
    }

    fn read(line: &str) -> Option<Self> {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<f64>().ok());
        let encoded = numbers.next()??;
        let iterations = numbers.collect::<Option<Vec<f64>>>()?;
        (!iterations.is_empty()).then_some(Self { iterations, encoded })
    }

    /// Iterations a pixel at a height in [0, 1] from the top: linear between the measured rows, constant beyond them.
    pub(crate) fn at(&self, height: f64) -> f64 {
        let last = self.iterations.len() - 1;
        let place = (height * self.iterations.len() as f64 - 0.5).clamp(0.0, last as f64);
        let left = usize::try_from(crate::whole(place)).unwrap_or(last).min(last);
        let right = (left + 1).min(last);
        self.iterations[left] + (self.iterations[right] - self.iterations[left]) * (place - left as f64)
    }
}

/// How many bytes a raw byte becomes.
fn encoded(kernel: &dyn Kernel, scene: &plane::Scene, request: &Request) -> f64 {
    if request.encoding == Encoding::Counts {
        return 1.0;
    }
    let (rows, strips) = SAMPLE;
    let map = colour::by_name(ColourMap::default().name()).expect("every name of the protocol has a table");
    let palette = Palette::new(map, [0, 0, 0], scene.iterations);
    let (mut raw, mut made, mut scratch) = (0, 0, Scratch::new());
    for k in 0..strips {
        let first = u32::try_from(u64::from(scene.window.h) * u64::from(2 * k + 1) / u64::from(2 * strips)).unwrap_or(0);
        let end = scene.window.h.min(first + rows);
        let strip = render_strip(kernel, scene, first..end, &Output::Png(&palette), &mut scratch, &Watch::new());
        let strip = strip.expect("nobody cancels");
        (raw, made) = (raw + strip.raw_len, made + strip.bytes.len());
    }
    made as f64 / raw.max(1) as f64
}

fn scene_of(request: &Request) -> plane::Scene {
    let Request { center, window, size, .. } = *request;
    plane::Scene {
        c: Complex::new(request.c[0], request.c[1]),
        center: Complex::new(center[0], center[1]),
        width: request.width,
        size: (size.w, size.h),
        window: plane::Window { x: window.x, y: window.y, w: window.w, h: window.h },
        iterations: request.iterations,
        bailout: request.bailout,
    }
}

#[cfg(test)]
mod tests {
    use fractally_fractal::kernel;

    use super::*;

    #[test]
    fn every_scene_has_its_line() {
        for scene in Scene::ALL {
            let profile = scene.profile();
            assert!(profile.encoded > 0.0 && profile.encoded <= 1.1, "{scene}");
            assert!(profile.iterations.iter().all(|&n| n >= 0.0 && n <= f64::from(scene.request().iterations)), "{scene}");
            assert_eq!(scene.name().parse(), Ok(scene));
        }
        assert!("nowhere".parse::<Scene>().is_err());
    }

    #[test]
    fn the_table_is_what_is_measured() {
        // Kernels differ in what they execute in the interior, so only the scene that has none is held to its line.
        let (told, measured) = (Scene::Talk.profile(), Profile::measure(kernel::best(), &Scene::Talk.request()));
        assert_eq!(told.iterations.len(), measured.iterations.len());
        for (told, measured) in told.iterations.iter().zip(&measured.iterations) {
            assert!((told - measured).abs() <= 0.051, "{told} is not {measured}");
        }
    }

    #[test]
    fn a_profile_is_linear_between_its_rows() {
        let profile = Profile { iterations: vec![10.0, 20.0], encoded: 1.0 };
        assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(|height| profile.at(height)), [10.0, 10.0, 15.0, 20.0, 20.0]);
    }
}
