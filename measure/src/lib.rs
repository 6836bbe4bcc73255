//! What `fractally bench` found: records with their samples, what follows from them, and how it is told.
//!
//! No clock, no processes, no files: who measures is the program (`src/bench/`), which fills a [`Run`]. Nor is anything here that is true
//! of one benchmark only: a record has a series, a size of the grid, a unit and samples.
//!
//! Read next: `run.rs` (what is recorded), `curve.rs` (speed-up and efficiency), `merge.rs` (several runs as one), `group.rs`
//! (the rows of all tables), then who tells them: `table.rs`, `csv.rs` and `html.rs`.

mod csv;
mod curve;
mod facts;
mod figure;
#[cfg(test)]
mod fixture;
mod group;
mod html;
mod merge;
mod run;
mod table;
mod text;

pub use csv::csv;
pub use curve::{Curve, ON_THREADS, Point, curves};
pub use html::html;
pub use merge::{MergeError, NO_OP, merge};
pub use run::{FORMAT, Host, Member, Record, Run, Series, Spread, Unit, UnreadableRun};
pub use table::table;
