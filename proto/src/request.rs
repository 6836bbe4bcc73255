//! What to draw. A request is all that a picture depends on: two equal requests on one engine id give equal files.

use serde::{Deserialize, Serialize};

use crate::{ColourMap, Encoding, Limits, Refusal, limits};

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Pixels from left to right.
    pub w: u32,
    /// Pixels from top to bottom.
    pub h: u32,
}

/// The part of the virtual image that is drawn, in pixels from its top left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns.
    pub w: u32,
    /// Rows.
    pub h: u32,
}

impl Window {
    /// All of an image.
    pub fn whole(size: Size) -> Self {
        Self { x: 0, y: 0, w: size.w, h: size.h }
    }
}

/// How counts become colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Colour {
    /// Colours of the points that escape.
    pub map: ColourMap,
    /// Red, green and blue of the points that do not.
    pub interior: [u8; 3],
}

/// A Julia set of z² + c, a view of it, and how it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The constant c: real and imaginary part.
    pub c: [f64; 2],
    /// Centre of the virtual image in the plane: real and imaginary part. The imaginary axis points up.
    pub center: [f64; 2],
    /// Width of the virtual image in plane units; pixels are square.
    pub width: f64,
    /// Pixels of the virtual image.
    pub size: Size,
    /// The part of it that is drawn.
    pub window: Window,
    /// Iteration limit: points that have not escaped by then count as interior.
    pub iterations: u32,
    /// Bailout radius R: a point has escaped when |z| > R.
    pub bailout: f64,
    /// How counts become colours; without effect on raw counts.
    pub colour: Colour,
    /// What the strips hold.
    pub encoding: Encoding,
}

impl Default for Request {
    /// The scene of the talk that Fractally grew out of.
    fn default() -> Self {
        let size = Size { w: 4000, h: 2000 };
        Self {
            c: [-0.8, 0.156],
            center: [0.0, 0.0],
            width: 4.0,
            size,
            window: Window::whole(size),
            iterations: 256,
            bailout: 2.0,
            colour: Colour::default(),
            encoding: Encoding::Png,
        }
    }
}

impl Request {
    /// Pixels that are drawn.
    pub fn pixels(&self) -> u64 {
        u64::from(self.window.w) * u64::from(self.window.h)
    }

    /// Whether the drawn part is its own image under z -> -z, row by row read backwards: then half of the rows need no iterations.
    pub fn is_its_own_half_turn(&self) -> bool {
        let centred = |first: u32, count: u32, all: u32| 2 * u64::from(first) + u64::from(count) == u64::from(all);
        let negative_zero = self.c.iter().any(|part| *part == 0.0 && part.is_sign_negative());
        self.center == [0.0, 0.0]
            && !negative_zero
            && centred(self.window.x, self.window.w, self.size.w)
            && centred(self.window.y, self.window.h, self.size.h)
    }

    /// Checks every field, against what can be drawn at all and against `limits`.
    ///
    /// # Errors
    /// The first field that does not pass, with the limit and the way out.
    pub fn validate(&self, limits: &Limits) -> Result<(), Refusal> {
        self.validate_plane()?;
        self.validate_size(limits)?;
        self.validate_effort(limits)?;
        self.validate_resolution()
    }

    fn validate_plane(&self) -> Result<(), Refusal> {
        for (field, value) in [("c", self.c), ("center", self.center)] {
            for (part, x) in [("real", value[0]), ("imaginary", value[1])] {
                if !x.is_finite() || x.abs() > limits::COORDINATE_MAX {
                    let max = limits::COORDINATE_MAX;
                    return Err(Refusal::invalid(
                        field,
                        format!("the {part} part is {x:?}; give a number between -{max:e} and {max:e}"),
                    ));
                }
            }
        }
        if !self.width.is_finite() || self.width <= 0.0 || self.width > limits::COORDINATE_MAX {
            let max = limits::COORDINATE_MAX;
            return Err(Refusal::invalid(
                "width",
                format!("{:?} plane units; give a number above 0 and up to {max:e}", self.width),
            ));
        }
        if !(limits::BAILOUT_MIN..=limits::BAILOUT_MAX).contains(&self.bailout) {
            let (min, max) = (limits::BAILOUT_MIN, limits::BAILOUT_MAX);
            return Err(Refusal::invalid("bailout", format!("{:?}; give a radius from {min} to {max:e}", self.bailout)));
        }
        Ok(())
    }

    fn validate_size(&self, limits: &Limits) -> Result<(), Refusal> {
        let (size, window) = (self.size, self.window);
        let side = limits::VIRTUAL_SIDE_MAX;
        if size.w == 0 || size.h == 0 || size.w > side || size.h > side {
            return Err(Refusal::invalid(
                "size",
                format!("{}x{}; give a width and a height from 1 to {side} pixels", size.w, size.h),
            ));
        }
        // A request that draws the whole image has one size only: it is named as `size`, whichever bound it breaks.
        let field = if window == Window::whole(size) { "size" } else { "window" };
        let inside = |first: u32, count: u32, all: u32| count > 0 && u64::from(first) + u64::from(count) <= u64::from(all);
        if !inside(window.x, window.w, size.w) || !inside(window.y, window.h, size.h) {
            let message = format!(
                "{}x{}+{}+{} does not lie inside the image of {}x{} pixels; give at least one pixel of it",
                window.w, window.h, window.x, window.y, size.w, size.h
            );
            return Err(Refusal::invalid("window", message));
        }
        if window.w > limits.width_max || window.h > limits.height_max {
            let (w, h) = (limits.width_max, limits.height_max);
            return Err(Refusal::limit(
                field,
                format!("{}x{} is over the limit of {w}x{h} pixels; draw it in parts", window.w, window.h),
            ));
        }
        if self.pixels() > limits.pixels_max {
            let max = limits.pixels_max;
            return Err(Refusal::limit(field, format!("{} pixels are over the limit of {max}; draw it in parts", self.pixels())));
        }
        Ok(())
    }

    fn validate_effort(&self, limits: &Limits) -> Result<(), Refusal> {
        if self.iterations == 0 || self.iterations > limits.iterations_max {
            let max = limits.iterations_max;
            return Err(Refusal::limit("iterations", format!("{}; give a limit from 1 to {max}", self.iterations)));
        }
        let work = u128::from(self.pixels()) * u128::from(self.iterations);
        if work > u128::from(limits.work_max) {
            let max = limits.work_max;
            let message =
                format!("pixels times iterations are {work}, over the limit of {max}; lower the size or the iterations");
            return Err(Refusal::limit("iterations", message));
        }
        Ok(())
    }

    /// Neighbouring pixels must differ by at least 4 units in the last place of their largest coordinate.
    fn validate_resolution(&self) -> Result<(), Refusal> {
        let step = self.width / f64::from(self.size.w);
        let half_height = step * f64::from(self.size.h) / 2.0;
        let reach = (self.center[0].abs() + self.width / 2.0).max(self.center[1].abs() + half_height);
        let ulp = reach.next_up() - reach;
        if step < 4.0 * ulp {
            let least = 4.0 * ulp * f64::from(self.size.w);
            let message = format!(
                "{:e} plane units over {} pixels is finer than double precision resolves at this centre; give at least {least:.3e}, or fewer pixels",
                self.width, self.size.w
            );
            return Err(Refusal::invalid("width", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RefusalCode;

    fn refused(change: impl FnOnce(&mut Request)) -> Refusal {
        let mut request = Request::default();
        change(&mut request);
        request.validate(&Limits::default()).unwrap_err()
    }

    fn sized(request: &mut Request, w: u32, h: u32) {
        request.size = Size { w, h };
        request.window = Window::whole(request.size);
    }

    #[test]
    fn the_default_scene_is_valid() {
        Request::default().validate(&Limits::default()).unwrap();
    }

    #[test]
    fn a_refusal_names_the_field() {
        assert_eq!(refused(|r| r.c[0] = f64::NAN).field, "c");
        assert_eq!(refused(|r| r.c[1] = f64::INFINITY).field, "c");
        assert_eq!(refused(|r| r.center[1] = -2e9).field, "center");
        for width in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(refused(|r| r.width = width).field, "width");
        }
        for bailout in [0.0, 1.999, f64::NAN, 1.1e9] {
            assert_eq!(refused(|r| r.bailout = bailout).field, "bailout");
        }
        assert_eq!(refused(|r| sized(r, 0, 5)).field, "size");
        assert_eq!(refused(|r| sized(r, 5, u32::MAX)).field, "size");
        assert_eq!(refused(|r| r.window.x = 1).field, "window");
        assert_eq!(refused(|r| r.window.h = 0).field, "window");
        assert_eq!(refused(|r| r.iterations = 0).field, "iterations");
    }

    /// Found by fuzzing: 1e308 was written with 309 digits.
    #[test]
    fn a_refusal_of_any_number_is_a_short_line() {
        for value in [f64::MAX, -f64::MAX, f64::NAN, f64::NEG_INFINITY] {
            for refusal in [refused(|r| r.c[0] = value), refused(|r| r.width = value), refused(|r| r.bailout = value)] {
                assert!(refusal.message.len() <= 100, "{refusal}");
            }
        }
        assert_eq!(refused(|r| r.bailout = -5e-324).message, "-5e-324; give a radius from 2 to 1e9");
        assert_eq!(refused(|r| r.bailout = 1.5).message, "1.5; give a radius from 2 to 1e9");
    }

    #[test]
    fn limits_are_those_of_the_broker_and_are_named() {
        let refusal = refused(|r| sized(r, 1_000_001, 1));
        assert_eq!((refusal.code, refusal.field.as_str()), (RefusalCode::Limit, "size"));
        assert!(refusal.message.contains("1000000x1000000"), "{refusal}");
        let limits = Limits { pixels_max: 10, ..Limits::default() };
        let mut request = Request::default();
        sized(&mut request, 11, 1);
        assert_eq!(request.validate(&limits).unwrap_err().field, "size");
        assert_eq!(
            refused(|r| {
                sized(r, 1_000_000, 1_000_000);
                r.iterations = 1_000_000_000;
            })
            .field,
            "iterations"
        );
    }

    #[test]
    fn a_view_below_double_precision_is_refused_with_the_least_width() {
        let refusal = refused(|r| {
            r.center = [-0.9, 0.4];
            r.width = 1e-13;
        });
        assert_eq!(refusal.field, "width");
        let mut request = Request { center: [-0.9, 0.4], width: 4000.0 * 5.0 * f64::EPSILON / 2.0, ..Request::default() };
        request.validate(&Limits::default()).unwrap();
        request.width = 4000.0 * 3.0 * f64::EPSILON / 2.0;
        request.validate(&Limits::default()).unwrap_err();
    }

    #[test]
    fn a_window_may_lie_in_an_image_larger_than_can_be_drawn() {
        let request = Request {
            size: Size { w: 1 << 30, h: 1 << 30 },
            window: Window { x: 12, y: (1 << 30) - 256, w: 256, h: 256 },
            ..Request::default()
        };
        request.validate(&Limits::default()).unwrap();
    }
}
