//! The C baseline: compiled here, run as a process that times itself.

use std::path::PathBuf;
use std::process::Command;

use crate::scenes::Work;

/// What one would write. The compiler may fuse operations, so a few counts differ from ours; that makes C faster, not slower.
const FLAGS: [&str; 3] = ["-O3", "-march=native", "-fopenmp"];

/// A compiled baseline.
pub(crate) struct Baseline {
    program: PathBuf,
}

impl Baseline {
    /// Compiles it.
    ///
    /// # Errors
    /// What was missing, for a person.
    pub(crate) fn compile() -> Result<Self, String> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let (source, program) = (folder.join("limits-baseline.c"), folder.join("limits-baseline"));
        std::fs::write(&source, include_str!("baseline.c")).map_err(|error| format!("{}: {error}", source.display()))?;
        let made = Command::new("cc").args(FLAGS).arg(&source).arg("-o").arg(&program).output();
        match made {
            Err(error) => Err(format!("cc: {error}")),
            Ok(made) if !made.status.success() => Err(format!("cc: {}", String::from_utf8_lossy(&made.stderr))),
            Ok(_) => Ok(Self { program }),
        }
    }

    /// Runs the scene on all cores; seconds, and the sum of the counts.
    pub(crate) fn run(&self, work: &Work) -> (f64, u64) {
        let scene = &work.scene;
        let numbers = [scene.c.re, scene.c.im, scene.width, scene.center.re, scene.center.im];
        let out = Command::new(&self.program)
            .args([scene.size.0, scene.size.1].map(|side| side.to_string()))
            .args(numbers.map(|number| format!("{number:e}")))
            .args([scene.iterations, work.band_rows(), work.every].map(|number| number.to_string()))
            .output()
            .expect("it was compiled a moment ago");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [seconds, sum, _threads] => (seconds.parse().expect("seconds"), sum.parse().expect("a sum")),
            _ => panic!("the baseline printed {text:?}"),
        }
    }
}
