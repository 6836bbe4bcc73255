//! Map tiles: windows of a virtual image that is twice as large at each zoom, so that a tile and a poster agree to the bit.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use fractally_proto::{ColourMap, Limits, Request, Size, Window, notation};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    App,
    conditional::{is_known, strong_etag},
    problem::{Problem, ProblemBody},
    schemas,
    trail::Caller,
};

/// Pixels of a tile, each way.
const SIDE: u32 = 256;
/// At this zoom the virtual image is as large as one can be.
const ZOOM_MAX: u32 = 22;

/// The URL of a map's tiles, for the fields of a request.
pub(crate) fn template(fields: &str) -> String {
    format!("/tiles/{fields}/{{z}}/{{x}}/{{y}}.png")
}

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(tile))
}

/// A tile of a map
///
/// At zoom z the virtual image has 256·2^z pixels each way, and `width` plane units. The tile is its window of 256x256 pixels at column
/// 256·x and row 256·y: the same bytes as a render of that window. Closing the connection takes the work back.
#[utoipa::path(
    get, path = "/tiles/{request}/{z}/{x}/{y}", tag = "tiles",
    params(
        ("request" = inline(schemas::TileFields), Path, description = "Fields as `c=-0.8+0.156i,width=4,cmap=inferno`: of c, center, width, iter, bailout, \
            cmap and interior, those that differ from the defaults; `-` for none"),
        ("z" = u32, Path, description = "Zoom, 0 to 22", maximum = 22),
        ("x" = u32, Path, description = "Column, from 0 to 2^z - 1", maximum = 4_194_303),
        ("y" = String, Path, description = "Row, from 0 to 2^z - 1, and `.png`", pattern = r"^[0-9]+\.png$", example = "0.png"),
    ),
    responses(
        (status = 200, description = "The tile, which never changes", body = Vec<u8>, content_type = "image/png"),
        (status = 304, description = "It has not changed"),
        (status = 404, description = "There is no such tile", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong or over a limit", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
async fn tile(
    State(app): State<App>,
    caller: Caller,
    Path((fields, z, x, y)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = request_of(&fields, &z, &x, &y)?;
    if let Some(engine) = app.grid.engine()
        && headers.contains_key(header::IF_NONE_MATCH)
        && is_known(&headers, &etag(&request, &engine))
    {
        return Ok((StatusCode::NOT_MODIFIED, lasting(etag(&request, &engine))).into_response());
    }
    let small = app.smalls.get(request, &caller).await?;
    let etag = etag(&request, &small.engine);
    if is_known(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, lasting(etag)).into_response());
    }
    Ok(([(header::CONTENT_TYPE, "image/png")], lasting(etag), small.bytes).into_response())
}

fn etag(request: &Request, engine: &str) -> HeaderValue {
    strong_etag(&format!("{}-{engine}", request.content()))
}

/// A tile is what its URL says, for ever; for as long as the engine is the same, to the bit.
fn lasting(etag: HeaderValue) -> [(header::HeaderName, HeaderValue); 2] {
    [(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")), (header::ETAG, etag)]
}

/// What a tile draws.
fn request_of(fields: &str, z: &str, x: &str, y: &str) -> Result<Request, Problem> {
    let number = |name: &str, text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| text.parse::<u32>().ok()).flatten();
        number.ok_or_else(|| {
            Problem::not_found(format!("{name}: {text:?} is not a number of a tile; tiles are at /tiles/FIELDS/Z/X/Y.png"))
        })
    };
    let y = y.strip_suffix(".png").ok_or_else(|| Problem::not_found("tiles are PNG pictures, at /tiles/FIELDS/Z/X/Y.png"))?;
    let (z, x, y) = (number("z", z)?, number("x", x)?, number("y", y)?);
    if z > ZOOM_MAX {
        return Err(Problem::not_found(format!("z: {z}; zooms go from 0 to {ZOOM_MAX}")));
    }
    let side = 1u32 << z;
    if x >= side || y >= side {
        return Err(Problem::not_found(format!("x and y: {x} and {y}; at zoom {z} they go from 0 to {}", side - 1)));
    }
    let size = Size { w: SIDE << z, h: SIDE << z };
    let window = Window { x: SIDE * x, y: SIDE * y, w: SIDE, h: SIDE };
    let request = Request { size, window, ..read_fields(fields)? };
    request.validate(&Limits::default())?;
    Ok(request)
}

/// `field=value`, separated by commas; `-` has none.
fn read_fields(text: &str) -> Result<Request, Problem> {
    let mut request = Request::default();
    for field in text.split(',').filter(|_| text != "-") {
        let Some((name, value)) = field.split_once('=') else {
            let detail = format!("request: {field:?} is not a field and its value; write them as c=-0.8+0.156i,width=4");
            return Err(Problem::invalid("request", detail));
        };
        let wrong = |why: String| Problem::invalid(name, format!("{name}: {why}"));
        let number = |what: &str| value.parse::<f64>().map_err(|_| wrong(format!("{value:?} is not {what}")));
        match name {
            "c" => request.c = notation::complex(value).map_err(wrong)?,
            "center" => request.center = notation::complex(value).map_err(wrong)?,
            "width" => request.width = number("a number of plane units")?,
            "bailout" => request.bailout = number("a radius")?,
            "iter" => {
                request.iterations = value.parse().map_err(|_| wrong(format!("{value:?} is not a number of iterations")))?
            }
            "cmap" => request.colour.map = value.parse::<ColourMap>().map_err(|error| wrong(error.to_string()))?,
            "interior" => request.colour.interior = notation::colour(value).map_err(wrong)?,
            _ => {
                let detail =
                    format!("{name}: there is no such field; a tile has c, center, width, iter, bailout, cmap and interior");
                return Err(Problem::invalid(name, detail));
            }
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Links;

    #[test]
    fn tiles_are_windows_of_one_image() {
        let request = request_of("c=-0.8+0.156i,width=3", "3", "2", "7.png").unwrap();
        assert_eq!((request.size, request.width), (Size { w: 2048, h: 2048 }, 3.0));
        assert_eq!(request.window, Window { x: 512, y: 1792, w: 256, h: 256 });
        assert!(request_of("-", "22", "4194303", "4194303.png").is_ok());
    }

    #[test]
    fn a_renders_link_leads_to_a_map_of_the_same_fields() {
        let request = Request { c: [-1e-7, -0.0], width: 0.5, bailout: 3.5, ..Request::default() };
        let links = serde_json::to_value(Links::of(request.content(), &request)).unwrap();
        let url = links["tiles"].as_str().unwrap().replace("{z}", "0").replace("{x}", "0").replace("{y}", "0");
        let parts: Vec<_> = url.split('/').collect();
        let tile = request_of(parts[2], parts[3], parts[4], parts[5]).unwrap();
        let fields =
            |request: Request| Request { size: Size { w: 1, h: 1 }, window: Window { x: 0, y: 0, w: 1, h: 1 }, ..request };
        assert_eq!(fields(tile).canonical(), fields(request).canonical());
    }

    #[test]
    fn tiles_that_are_not_there_are_not_found_and_fields_that_are_wrong_are_named() {
        for (z, x, y) in [
            ("23", "0", "0.png"),
            ("0", "1", "0.png"),
            ("1", "0", "2.png"),
            ("-1", "0", "0.png"),
            ("0", "0", "0"),
            ("", "0", "0.png"),
        ] {
            assert_eq!(request_of("-", z, x, y).unwrap_err().status(), StatusCode::NOT_FOUND, "{z}/{x}/{y}");
        }
        for fields in ["", "c", "c=x", "iter=0", "iter=1.5", "width=-1", "cmap=no", "size=4x4", "center=1,width=1e-12"] {
            assert_eq!(request_of(fields, "9", "0", "0.png").unwrap_err().status(), StatusCode::UNPROCESSABLE_ENTITY, "{fields}");
        }
    }
}
