//! `weak`: a picture that grows with the workers, so that each has as much to do as one alone.

use fractally_measure::{Record, Series};
use fractally_proto::{Limits, Size};

use super::{
    Bench, Site,
    picture::{grown, title},
    scaling::Scaling,
};
use crate::exit::Failure;

/// Whether the largest picture is within the limits.
///
/// # Errors
/// It is not: which limit, and the way out.
pub(super) fn check(bench: &Bench<'_>) -> Result<(), Failure> {
    let threads = match &bench.site {
        Site::Here(here) => here.workers,
        Site::Running(grid) => grid.threads(),
    };
    let largest = grown(&bench.request, threads);
    largest.validate(&Limits::default()).map_err(|refusal| {
        let Size { w, h } = largest.size;
        Failure::usage(format!(
            "weak: its picture for {threads} threads has {w}x{h} pixels: {}; let it begin with a smaller --size",
            refusal.message
        ))
    })
}

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Record>, Failure> {
    let request = bench.request;
    let mut what = format!("{}, as many pixels for each thread", title(&request));
    if let Site::Here(here) = &bench.site
        && let Some(bands) = here.bands
    {
        what += &format!(", in {bands} equal bands");
    }
    let picture = |threads: u32| grown(&request, threads);
    Scaling { series: Series::Weak, what, picture, without_grid: false }.measure(bench).await
}
