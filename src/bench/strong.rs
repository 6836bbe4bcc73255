//! `strong`: the same picture on more and more workers, and without a grid.

use fractally_measure::{Record, Series};

use super::{Bench, Site, picture::title, scaling::Scaling};
use crate::exit::Failure;

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Record>, Failure> {
    let request = bench.request;
    let mut what = title(&request);
    if let Site::Here(here) = &bench.site {
        if here.mirrors(&request) {
            what += ", half of it mirrored";
        }
        if let Some(bands) = here.bands {
            what += &format!(", in {bands} equal bands");
        }
    }
    let without_grid = matches!(&bench.site, Site::Here(_));
    Scaling { series: Series::Strong, what, picture: |_| request, without_grid }.measure(bench).await
}
