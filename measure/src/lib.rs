//! What `fractally bench` found: records with their samples, what follows from them, and how it is told.
//!
//! No clock, no processes, no files: who measures is the program (`src/bench/`), which fills a [`Run`]. Nor is anything here that is true
//! of one benchmark only: a record has a series, a size of the grid, a unit and samples.
//!
//! Read next: `run.rs` (what is recorded), `curve.rs` (speed-up and efficiency), then `table.rs`, `csv.rs` and `html.rs`.

mod curve;
mod run;

pub use curve::{Curve, Point, curves};
pub use run::{FORMAT, Host, Member, Record, Run, Series, Spread, Unit, UnreadableRun};
