//! The description of the interface: what its operations have in common, written into each of them.
//!
//! What one operation takes and answers stands beside its handler; what values look like, in `schemas.rs`.

use utoipa::{
    OpenApi,
    openapi::{
        self, ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder,
        link::LinkBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::Type,
    },
};

use crate::problem::{MEDIA_TYPE, ProblemBody};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Fractally",
        description = "Julia sets, rendered on a grid. Problems are RFC 9457 bodies that name the field. Every answer has an X-Request-Id, \
            which the logs of gateway, broker and workers have too; a client may choose it. Renders are counted for the client's address, or \
            for the name in the header Fractally-Client, as far as interest in them goes.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "renders", description = "Pictures of any size, rendered whether or not anybody waits"),
        (name = "tiles", description = "Maps"),
        (name = "talk", description = "The calls of the talk that this grew out of"),
        (name = "health", description = "For those who run it"),
    ),
    paths(metrics, openapi_json),
    components(schemas(ProblemBody)),
)]
struct Description;

/// What all operations are added to.
pub(crate) fn begun() -> openapi::OpenApi {
    Description::openapi()
}

/// Metrics
///
/// For Prometheus or whoever else asks: requests by route and status, durations, bytes, small pictures. They name no client and no render.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, description = "All of them", content((String = "text/plain"), (String = "application/openmetrics-text"))))
)]
#[expect(dead_code, reason = "it stands for the route of metrics.rs")]
fn metrics() {}

/// This description
#[utoipa::path(
    get, path = "/openapi.json", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json"))
)]
#[expect(dead_code, reason = "it stands for a route of app.rs")]
fn openapi_json() {}

/// Parameters in headers, and the operations that heed them; all, where none is named.
const PARAMETERS: [(&str, &str, &[&str]); 5] = [
    ("X-Request-Id", "A name for the request, 1 to 64 letters, digits, `.`, `_` or `-`; anything else is replaced", &[]),
    (
        "Fractally-Client",
        "Who is interested in the render, 1 to 64 letters, digits, `.`, `_` or `-`; else it is the client's address",
        &["ask", "give_up", "root"],
    ),
    ("If-None-Match", "ETags of what the client has", &["image", "image_as", "image_of", "preview", "tile", "root"]),
    ("Range", "One range of bytes of a file that is complete; others are passed over", FILES),
    ("If-Range", "The ETag that the range is of", FILES),
];

/// Operations that answer with a render's file.
const FILES: &[&str] = &["image", "image_as", "image_of"];
/// Operations whose answers can be known by an ETag.
const TAGGED: &[&str] = &["image", "image_as", "image_of", "preview", "tile", "root"];

/// Writes what is common into every operation.
pub(crate) fn complete(description: &mut openapi::OpenApi) {
    for item in description.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
            add_parameters(operation);
            add_problems(operation);
            add_headers(operation);
            name_files(operation);
            add_links(operation);
        }
    }
}

fn name_of(operation: &Operation) -> String {
    operation.operation_id.clone().unwrap_or_default()
}

fn add_parameters(operation: &mut Operation) {
    let name = name_of(operation);
    let of = |(header, about, heeded_by): (&str, &str, &[&str])| {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let parameter = ParameterBuilder::new().name(header).parameter_in(ParameterIn::Header).description(Some(about));
        (heeded_by.is_empty() || heeded_by.contains(&name.as_str())).then(|| parameter.schema(Some(text)).build())
    };
    let parameters = PARAMETERS.into_iter().filter_map(of).map(RefOr::T);
    operation.parameters.get_or_insert_default().extend(parameters);
}

/// The problems that any request may meet.
fn add_problems(operation: &mut Operation) {
    let in_path = |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(one) if one.parameter_in == ParameterIn::Path);
    let has_path = operation.parameters.iter().flatten().any(in_path);
    let unreadable = has_path.then_some(("400", "The path cannot be read"));
    let late = operation.request_body.is_some().then_some(("408", "The body took too long"));
    let any = [("429", "This client asks too much at once"), ("503", "The grid is away, or full")];
    for (status, about) in unreadable.into_iter().chain(late).chain(any) {
        let response = || RefOr::T(ResponseBuilder::new().description(about).build());
        let response = operation.responses.responses.entry(status.to_owned()).or_insert_with(response);
        if let RefOr::T(response) = response {
            let body = || ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemBody"))).build();
            response.content.entry(MEDIA_TYPE.to_owned()).or_insert_with(|| body().into());
        }
    }
}

fn add_headers(operation: &mut Operation) {
    let name = name_of(operation);
    let is_of = |operations: &[&str]| operations.contains(&name.as_str());
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let is_sent = matches!(status.as_str(), "200" | "206");
        let is_known = is_sent || status == "304";
        add_header(response, "X-Request-Id", Type::String, "The request's name in every log", true);
        add_header(response, "Retry-After", Type::Integer, "Seconds", matches!(status.as_str(), "429" | "503"));
        add_header(
            response,
            "ETag",
            Type::String,
            "What it is known by once it does not change any more",
            is_of(TAGGED) && is_known,
        );
        add_header(response, "Accept-Ranges", Type::String, "`bytes`, once it is complete", is_of(FILES) && is_sent);
        add_header(response, "Content-Disposition", Type::String, "A name for the file", is_of(FILES) && is_sent);
        let has_range = is_of(FILES) && matches!(status.as_str(), "206" | "416");
        add_header(response, "Content-Range", Type::String, "Which part it is, and of how much", has_range);
    }
}

/// Bodies that are files: what the macros make of bytes is a list of numbers.
fn name_files(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        for (media_type, content) in &mut response.content {
            let is_file = media_type.starts_with("image/") || media_type == "application/x-npy";
            if let (RefOr::T(content), true) = (content, is_file) {
                let file = ObjectBuilder::new().schema_type(Type::String).content_media_type(media_type);
                content.schema = Some(file.into());
            }
        }
    }
}

fn add_header(response: &mut Response, name: &str, kind: Type, about: &str, is_there: bool) {
    if is_there {
        let schema = ObjectBuilder::new().schema_type(kind);
        let header = HeaderBuilder::new().description(Some(about)).schema(Some(schema)).build();
        response.headers.entry(name.to_owned()).or_insert_with(|| header.into());
    }
}

/// Where to go on from a render that was asked for.
fn add_links(operation: &mut Operation) {
    if name_of(operation) != "ask" {
        return;
    }
    let links = [
        ("look", "id"),
        ("give_up", "id"),
        ("image", "id"),
        ("image_as", "id"),
        ("preview", "id"),
        ("events", "id"),
        ("image_of", "key"),
    ];
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if !matches!(status.as_str(), "200" | "202") {
            continue;
        }
        for (to, parameter) in links {
            let link = LinkBuilder::new().operation_id(to).parameter(parameter, "$response.body#/id");
            response.links.insert(to.to_owned(), link.build().into());
        }
    }
}
