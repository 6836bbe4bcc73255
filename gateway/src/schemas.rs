//! What values look like, for the description of the interface: it refuses what the gateway refuses of one value by itself.
//!
//! What several fields together forbid (pixels times iterations, a view finer than double precision) no schema says; the problems do.

use fractally_proto::{ColourMap, limits};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, OneOfBuilder, RefOr, Schema,
        schema::{ArrayBuilder, ArrayItems, Type},
    },
};

use crate::picture::{Complex, Part, Pixels, Rgb};

/// A number as it is written in text.
const NUMBER: &str = r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?";
/// Names of colours, and hexadecimal digits behind a `#`, which URLs leave out.
const COLOUR: &str = "(#?[0-9a-fA-F]{6}|black|white|gray|red|green|blue|navy|gold)";
/// Pixels of one direction, and a place among them.
const PIXELS: &str = "0*[1-9][0-9]{0,9}";
const PLACE: &str = "[0-9]{1,10}";

/// `-0.8+0.156i` and its kin.
fn complex() -> String {
    format!("[-+]?({NUMBER}|({NUMBER})?[ij]|{NUMBER}[-+]({NUMBER})?[ij])")
}

/// Text, or a list of such numbers.
fn text_or_numbers<const N: usize>(pattern: &str, example: &str, numbers: [ObjectBuilder; N]) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).examples([example]);
    let list = ArrayBuilder::new().prefix_items(numbers.map(Schema::from)).items(ArrayItems::False);
    OneOfBuilder::new().item(text).item(list.min_items(Some(N)).max_items(Some(N))).into()
}

fn coordinate() -> ObjectBuilder {
    let max = limits::COORDINATE_MAX;
    ObjectBuilder::new().schema_type(Type::Number).minimum(Some(-max)).maximum(Some(max))
}

/// Whole pixels, so many at the least.
fn pixels(least: u32) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(least)).maximum(Some(limits::VIRTUAL_SIDE_MAX))
}

impl PartialSchema for Complex {
    fn schema() -> RefOr<Schema> {
        text_or_numbers(&format!("^{}$", complex()), "-0.8+0.156i", [coordinate(), coordinate()])
    }
}
impl ToSchema for Complex {}

impl PartialSchema for Pixels {
    fn schema() -> RefOr<Schema> {
        text_or_numbers(&format!("^{PIXELS}x{PIXELS}$"), "600x400", [pixels(1), pixels(1)])
    }
}
impl ToSchema for Pixels {}

impl PartialSchema for Part {
    fn schema() -> RefOr<Schema> {
        let pattern = format!(r"^{PIXELS}x{PIXELS}\+{PLACE}\+{PLACE}$");
        text_or_numbers(&pattern, "300x200+10+20", [pixels(1), pixels(1), pixels(0), pixels(0)])
    }
}
impl ToSchema for Part {}

impl PartialSchema for Rgb {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(format!("^{COLOUR}$")));
        text.examples(["#1a2b3c"]).default(Some("black".into())).into()
    }
}
impl ToSchema for Rgb {}

/// The closed list of names.
pub(crate) fn cmap() -> Schema {
    let names = ColourMap::ALL.iter().map(|map| map.name());
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).default(Some("inferno".into())).into()
}

/// The same, as a parameter.
pub(crate) struct Cmap;

impl PartialSchema for Cmap {
    fn schema() -> RefOr<Schema> {
        cmap().into()
    }
}
impl ToSchema for Cmap {}

/// Ids of renders.
pub(crate) struct Ids;

impl PartialSchema for Ids {
    fn schema() -> RefOr<Schema> {
        let id = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9a-f]{32}$"));
        ArrayBuilder::new().items(id).min_items(Some(1)).max_items(Some(64)).into()
    }
}
impl ToSchema for Ids {}

/// One event of a stream.
pub(crate) struct Told;

impl PartialSchema for Told {
    fn schema() -> RefOr<Schema> {
        let event = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["render", "gone", "end"]));
        let data = ObjectBuilder::new().schema_type(Type::String).content_media_type("application/json");
        let data = data.description(Some("A render; of one that is not there its id; `{}` at the end"));
        let told = ObjectBuilder::new().schema_type(Type::Object).property("event", event).property("data", data);
        told.required("event").required("data").into()
    }
}
impl ToSchema for Told {}

/// The fields of a tile in its URL.
pub(crate) struct TileFields;

impl PartialSchema for TileFields {
    fn schema() -> RefOr<Schema> {
        tile_fields().into()
    }
}
impl ToSchema for TileFields {}

fn tile_fields() -> Schema {
    let names: Vec<_> = ColourMap::ALL.iter().map(|map| map.name()).collect();
    let (complex, cmap) = (complex(), names.join("|"));
    let iter = "0*[1-9][0-9]{0,8}";
    let field = format!("((c|center)={complex}|(width|bailout)=[+]?{NUMBER}|iter={iter}|cmap=({cmap})|interior={COLOUR})")
        .replace("#?", "");
    let pattern = format!("^(-|{field}(,{field})*)$");
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    text.examples(["c=-0.8+0.156i,width=4,cmap=inferno"]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_the_whole_text() {
        for schema in [Complex::schema(), Pixels::schema(), Part::schema(), Rgb::schema(), tile_fields().into()] {
            let text = serde_json::to_value(&schema).unwrap();
            let pattern = text["pattern"].as_str().or_else(|| text["oneOf"][0]["pattern"].as_str()).unwrap().to_owned();
            assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{pattern}");
            assert_eq!(pattern.matches('(').count(), pattern.matches(')').count(), "{pattern}");
        }
    }
}
