//! `strong`: the same picture on more and more workers, and without a grid.

use fractally_measure::{Record, Series};

use super::{
    Bench, Site,
    picture::{is_mirrored, title},
    scaling::Scaling,
};
use crate::exit::Failure;

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Record>, Failure> {
    let request = bench.request;
    let mut what = title(&request);
    if let Site::Here(here) = &bench.site {
        // With equal bands, mirror images are leased one by one.
        if here.mirror && here.bands.is_none() && is_mirrored(&request) {
            what += ", half of it mirrored";
        }
        if let Some(bands) = here.bands {
            what += &format!(", in {bands} equal bands");
        }
    }
    // Threads of one process cut nothing into bands.
    let without_grid = matches!(&bench.site, Site::Here(here) if here.bands.is_none());
    Scaling { series: Series::Strong, what, picture: |_| request, without_grid }.measure(bench).await
}
