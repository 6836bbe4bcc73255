//! What to draw, as JSON and as text in a URL: the fields of the command line.

use std::fmt;

use fractally_proto::{Colour, ColourMap, ContentId, Encoding, Limits, Priority, Request, Size, Window, notation};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Unexpected, Visitor},
};
use utoipa::ToSchema;

use crate::{problem::Problem, schemas};

/// What to draw and how. Every field may be left out. A render's `request` has this form too and can be sent as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"c": "-0.8+0.156i", "size": "600x400", "cmap": "inferno"}))]
pub(crate) struct Picture {
    /// The constant c of z² + c.
    pub(crate) c: Complex,
    /// Centre of the view in the plane; the imaginary axis points up.
    pub(crate) center: Complex,
    /// Width of the view in plane units; pixels are square.
    #[schema(exclusive_minimum = 0, maximum = 1e9, default = 4.0)]
    pub(crate) width: f64,
    /// Size of the image in pixels.
    pub(crate) size: Pixels,
    /// Draw only this part of the image, in pixels: its size, then its first column and row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<Part>,
    /// Iteration limit: points that have not escaped by then are interior.
    #[schema(minimum = 1, maximum = 1_000_000_000, default = 256)]
    #[serde(deserialize_with = "whole")]
    pub(crate) iter: u32,
    /// Bailout radius: a point has escaped when |z| is greater.
    #[schema(minimum = 2, maximum = 1e9, default = 2.0)]
    pub(crate) bailout: f64,
    /// Colour map.
    #[schema(schema_with = schemas::cmap)]
    pub(crate) cmap: ColourMap,
    /// Colour of interior points.
    pub(crate) interior: Rgb,
    /// A picture, or raw counts as u32 (height x width).
    pub(crate) format: Format,
    /// Interactive renders go before normal ones, and those before batch ones; no class is starved.
    pub(crate) priority: Class,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// A picture.
    #[default]
    Png,
    /// Raw counts.
    Npy,
}

/// Which renders go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Class {
    /// Before all others.
    Interactive,
    /// What most are.
    #[default]
    Normal,
    /// After all others.
    Batch,
}

/// `-0.8+0.156i`, `[-0.8, 0.156]` or `-0.8`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Complex(pub(crate) [f64; 2]);

/// `600x400` or `[600, 400]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pixels(pub(crate) Size);

/// `800x600+100+50` or `[800, 600, 100, 50]`: width, height, first column, first row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part(pub(crate) Window);

/// `#1a2b3c`, or one of a few names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rgb(pub(crate) [u8; 3]);

impl Default for Picture {
    fn default() -> Self {
        let scene = Request::default();
        Self {
            c: Complex(scene.c),
            center: Complex(scene.center),
            width: scene.width,
            size: Pixels(Size { w: 1200, h: 800 }),
            window: None,
            iter: scene.iterations,
            bailout: scene.bailout,
            cmap: scene.colour.map,
            interior: Rgb(scene.colour.interior),
            format: Format::default(),
            priority: Class::default(),
        }
    }
}

impl Picture {
    /// The picture in a JSON body.
    ///
    /// # Errors
    /// 400 for what is not JSON, 422 for a field that is not what it should be, which is named.
    pub(crate) fn from_json(body: &[u8]) -> Result<Self, Problem> {
        // Serde would take a list for the fields in their order.
        if body.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::invalid("body", "body: it is a list; send an object, as {\"c\": \"-0.8+0.156i\"}"));
        }
        let mut json = serde_json::Deserializer::from_slice(body);
        let picture = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let field = error.path().iter().next().map(ToString::to_string);
            let error = error.into_inner();
            match (error.classify(), field) {
                (serde_json::error::Category::Data, Some(field)) => {
                    Problem::invalid(&field, format!("{field}: {}", shortened(&error)))
                }
                (serde_json::error::Category::Data, None) => Problem::invalid("body", format!("body: {}", shortened(&error))),
                _ => Problem::malformed("body", format!("the body is not JSON: {}", shortened(&error))),
            }
        })?;
        json.end().map_err(|error| Problem::malformed("body", format!("the body is not JSON: {}", shortened(&error))))?;
        Ok(picture)
    }

    /// The request that a grid can draw.
    ///
    /// # Errors
    /// 422 with the first field that is over a limit.
    pub(crate) fn request(&self) -> Result<Request, Problem> {
        let request = Request {
            c: self.c.0,
            center: self.center.0,
            width: self.width,
            size: self.size.0,
            window: self.window.map_or_else(|| Window::whole(self.size.0), |part| part.0),
            iterations: self.iter,
            bailout: self.bailout,
            colour: Colour { map: self.cmap, interior: self.interior.0 },
            encoding: match self.format {
                Format::Png => Encoding::Png,
                Format::Npy => Encoding::Counts,
            },
        };
        request.validate(&Limits::default())?;
        Ok(request)
    }

    pub(crate) fn of(request: &Request, priority: Priority) -> Self {
        Self {
            c: Complex(request.c),
            center: Complex(request.center),
            width: request.width,
            size: Pixels(request.size),
            window: Some(request.window).filter(|window| *window != Window::whole(request.size)).map(Part),
            iter: request.iterations,
            bailout: request.bailout,
            cmap: request.colour.map,
            interior: Rgb(request.colour.interior),
            format: match request.encoding {
                Encoding::Png => Format::Png,
                Encoding::Counts => Format::Npy,
            },
            priority: priority.into(),
        }
    }
}

/// An id in a path.
///
/// # Errors
/// 404: no render has such an id.
pub(crate) fn content_id(text: &str) -> Result<ContentId, Problem> {
    let id = text.parse().ok().filter(|id: &ContentId| id.to_string() == text);
    id.ok_or_else(|| Problem::not_found("there is no such render; ids have 32 hexadecimal digits, in lower case"))
}

/// A message of a library with the place in the text left out of what names a field.
fn shortened(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

impl From<Class> for Priority {
    fn from(class: Class) -> Self {
        match class {
            Class::Interactive => Self::Interactive,
            Class::Normal => Self::Normal,
            Class::Batch => Self::Batch,
        }
    }
}

impl From<Priority> for Class {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Interactive => Self::Interactive,
            Priority::Normal => Self::Normal,
            Priority::Batch => Self::Batch,
        }
    }
}

impl fmt::Display for Complex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [re, im] = self.0;
        write!(f, "{re:?}{im:+?}i")
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

impl Serialize for Complex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Serialize for Pixels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.0.w, self.0.h].serialize(serializer)
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.0.w, self.0.h, self.0.x, self.0.y].serialize(serializer)
    }
}

impl Serialize for Rgb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads a value that may be written as text, or as numbers in a list.
struct TextOr<T, const N: usize> {
    expected: &'static str,
    read: fn(&str) -> Result<T, String>,
}

impl<'de, T: FromNumbers<N>, const N: usize> Visitor<'de> for TextOr<T, N> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        let mut numbers = [T::ZERO; N];
        for (at, number) in numbers.iter_mut().enumerate() {
            *number = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(at, &self))?;
        }
        if seq.next_element::<de::IgnoredAny>()?.is_some() {
            return Err(de::Error::invalid_length(N + 1, &self));
        }
        Ok(T::from_numbers(numbers))
    }
}

/// A whole number. JSON does not tell 3 from 3.0, and some who write it do not either.
#[derive(Clone, Copy)]
struct Whole(u32);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole(deserializer).map(Self)
    }
}

fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct WholeNumber;

    impl Visitor<'_> for WholeNumber {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from 0 to {}", u32::MAX)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u32, E> {
            u32::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u32, E> {
            u32::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<u32, E> {
            let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and in range")]
            is_whole.then_some(number as u32).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
        }
    }

    deserializer.deserialize_any(WholeNumber)
}

/// What can be written as so many numbers.
trait FromNumbers<const N: usize> {
    type Number: for<'de> Deserialize<'de> + Copy;
    const ZERO: Self::Number;
    fn from_numbers(numbers: [Self::Number; N]) -> Self;
}

impl FromNumbers<2> for Complex {
    type Number = f64;
    const ZERO: f64 = 0.0;
    fn from_numbers(numbers: [f64; 2]) -> Self {
        Self(numbers)
    }
}

impl FromNumbers<2> for Pixels {
    type Number = Whole;
    const ZERO: Whole = Whole(0);
    fn from_numbers([w, h]: [Whole; 2]) -> Self {
        Self(Size { w: w.0, h: h.0 })
    }
}

impl FromNumbers<4> for Part {
    type Number = Whole;
    const ZERO: Whole = Whole(0);
    fn from_numbers([w, h, x, y]: [Whole; 4]) -> Self {
        Self(Window { x: x.0, y: y.0, w: w.0, h: h.0 })
    }
}

impl<'de> Deserialize<'de> for Complex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| notation::complex(text).map(Self);
        deserializer.deserialize_any(TextOr { expected: "\"RE+IMi\" or [re, im]", read })
    }
}

impl<'de> Deserialize<'de> for Pixels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| notation::size(text).map(Self);
        deserializer.deserialize_any(TextOr { expected: "\"WxH\" or [w, h]", read })
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| notation::window(text).map(Self);
        deserializer.deserialize_any(TextOr { expected: "\"WxH+X+Y\" or [w, h, x, y]", read })
    }
}

impl<'de> Deserialize<'de> for Rgb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        notation::colour(&text).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn every_field_may_be_left_out_or_written_in_either_notation() {
        assert_eq!(Picture::from_json(b"{}").unwrap(), Picture::default());
        let text =
            br##"{"c":"-1+2i","center":"0.5","width":2,"size":"30x20","window":"3x2+1+0","interior":"#010203","cmap":"hot"}"##;
        let numbers =
            br##"{"c":[-1,2],"center":[0.5,0],"width":2.0,"size":[30,20],"window":[3,2,1,0],"interior":"#010203","cmap":"hot"}"##;
        assert_eq!(Picture::from_json(text).unwrap(), Picture::from_json(numbers).unwrap());
    }

    /// Found by requests that were made from the description: what it calls an integer was refused when written with a point.
    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        let [plain, pointed] = [&br#"{"iter":300,"size":[30,20]}"#[..], br#"{"iter":3e2,"size":[30.0,20.0]}"#];
        assert_eq!(Picture::from_json(plain).unwrap(), Picture::from_json(pointed).unwrap());
        for odd in [&br#"{"iter":1.5}"#[..], br#"{"iter":-1.0}"#, br#"{"iter":5e9}"#, br#"{"iter":-0.5}"#] {
            assert_eq!(Picture::from_json(odd).unwrap_err().status(), StatusCode::UNPROCESSABLE_ENTITY);
        }
    }

    #[test]
    fn what_a_request_is_shown_as_draws_the_same() {
        let picture = Picture::from_json(br#"{"c":[-0.1,-0.0],"size":[30,20],"window":[3,2,1,0],"format":"npy"}"#).unwrap();
        let request = picture.request().unwrap();
        let shown = serde_json::to_vec(&Picture::of(&request, Priority::Batch)).unwrap();
        let again = Picture::from_json(&shown).unwrap();
        assert_eq!(again.request().unwrap().content(), request.content());
        assert_eq!(again.priority, Class::Batch);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, status, field) in [
            (&b"{"[..], 400, "body"),
            (b"{} x", 400, "body"),
            (b"\xff", 400, "body"),
            (b"[1]", 422, "body"),
            (b"{\"sise\":1}", 422, "sise"),
            (b"{\"size\":\"5\"}", 422, "size"),
            (b"{\"size\":[5]}", 422, "size"),
            (b"{\"size\":[5,-1]}", 422, "size"),
            (b"{\"c\":[1,2,3]}", 422, "c"),
            (b"{\"c\":\"x\"}", 422, "c"),
            (b"{\"iter\":1.5}", 422, "iter"),
            (b"{\"iter\":99999999999}", 422, "iter"),
            (b"{\"cmap\":\"no\"}", 422, "cmap"),
            (b"{\"interior\":\"no\"}", 422, "interior"),
            (b"{\"priority\":\"no\"}", 422, "priority"),
        ] {
            let problem = Picture::from_json(body).unwrap_err();
            assert_eq!(problem.status(), StatusCode::from_u16(status).unwrap(), "{problem:?}");
            assert!(format!("{problem:?}").contains(&format!("{field:?}")), "{problem:?}");
        }
        for (body, field) in [("{\"width\":0}", "width"), ("{\"iter\":0}", "iter"), ("{\"size\":[0,1]}", "size")] {
            let problem = Picture::from_json(body.as_bytes()).unwrap().request().unwrap_err();
            assert!(format!("{problem:?}").contains(&format!("{field:?}")), "{problem:?}");
        }
    }
}
