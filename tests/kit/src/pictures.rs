//! Pictures that cost nothing to compute, for crowds of puppets and for benchmarks of what the grid itself costs.

use fractally_proto::{Encoding, Request, Size, Window};

/// A picture whose every row is a strip of its own. It is not its own mirror image, so each lease asks for one band.
pub fn rows_as_strips(rows: u32) -> Request {
    let size = Size { w: 100_000, h: rows };
    Request { center: [0.01, 0.0], size, window: Window::whole(size), iterations: 1, ..Request::default() }
}

/// Raw counts of one pixel: a job of one band.
pub fn one_pixel() -> Request {
    let size = Size { w: 1, h: 1 };
    Request { size, window: Window::whole(size), encoding: Encoding::Counts, ..Request::default() }
}
