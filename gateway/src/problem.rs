//! What went wrong, as RFC 9457 has it: a status, one line for people, and the field that caused it.
//!
//! A handler gives a [`Problem`]; the outermost layer (`trail.rs`) writes the body, because it knows the request's id.

use axum::response::{IntoResponse, Response};
use fractally_client::{AssembleError, RenderError, SessionError};
use fractally_proto::{Refusal, RefusalCode};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of problems.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Why there is no other answer.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    field: Option<String>,
    retry_after_s: Option<u32>,
}

/// A problem as it is sent, RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Problem")]
pub(crate) struct ProblemBody {
    /// `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, the limit, and the way out, in one line.
    detail: String,
    /// The field, parameter or header that caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// The id of the request, as the log has it.
    request_id: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), field: None, retry_after_s: None }
    }

    /// 404.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// A problem with a field.
    pub(crate) fn of_field(status: StatusCode, field: &str, detail: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(status, detail) }
    }

    /// 400: a part of the URL or a header that cannot be read.
    pub(crate) fn malformed(field: &str, detail: impl Into<String>) -> Self {
        Self::of_field(StatusCode::BAD_REQUEST, field, detail)
    }

    /// 422: a field that cannot be drawn.
    pub(crate) fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::of_field(StatusCode::UNPROCESSABLE_ENTITY, field, detail)
    }

    /// 409.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 429.
    pub(crate) fn too_many(detail: impl Into<String>, retry_after_s: u32) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).after(retry_after_s)
    }

    /// 503.
    pub(crate) fn unavailable(detail: impl Into<String>, retry_after_s: u32) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(retry_after_s)
    }

    fn after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// What stands for an answer that the web stack gave by itself.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::NOT_FOUND => "there is nothing at this path; /docs tells what there is",
            StatusCode::METHOD_NOT_ALLOWED => "this path takes other methods; the header Allow names them",
            StatusCode::INTERNAL_SERVER_ERROR => {
                "the gateway met what it should never meet; its log tells what, and the way on is to ask again"
            }
            _ => "the request cannot be answered",
        };
        Self::new(status, detail)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The answer to the request of this id. Headers that `response` has stay.
    pub(crate) fn write(self, request_id: &str, response: Response) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            detail: self.detail,
            field: self.field,
            request_id: request_id.to_owned(),
        };
        let body = serde_json::to_vec(&body).expect("a problem is plain text and a number");
        let (mut parts, _) = response.into_parts();
        parts.status = self.status;
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            parts.headers.insert(header::RETRY_AFTER, seconds.into());
        }
        Response::from_parts(parts, body.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let field = field_of(&refusal.field);
        let Refusal { code, message, .. } = refusal;
        match code {
            RefusalCode::Invalid if refusal.field == "journal" => {
                Self::unavailable("the broker keeps no renders; it was started without --state", 60)
            }
            RefusalCode::Invalid | RefusalCode::Limit => Self::invalid(field, format!("{field}: {message}")),
            RefusalCode::Busy if refusal.field == "account" => Self { field: Some(refusal.field), ..Self::too_many(message, 2) },
            RefusalCode::Busy => Self::unavailable(message, 2),
            RefusalCode::Closing => Self::unavailable(message, 5),
            RefusalCode::KeyConflict | RefusalCode::CannotResume => Self::unavailable(message, 1),
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        Self::unavailable(format!("the grid does not answer: {error}"), 2)
    }
}

impl From<RenderError> for Problem {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Session(error) => error.into(),
            RenderError::Refused(refusal) => refusal.into(),
            RenderError::NoPicture(reason) | RenderError::Failed(reason) => {
                Self::conflict(format!("there is no picture: {reason}"))
            }
            RenderError::NotDone { .. } => Self::unavailable(error.to_string(), 1),
            RenderError::Assemble(AssembleError::Io(_) | AssembleError::Misfit(_)) | RenderError::Stopped => {
                Self::unavailable(error.to_string(), 1)
            }
        }
    }
}

/// A field as the interface names it.
fn field_of(field: &str) -> &str {
    match field {
        "iterations" => "iter",
        "encoding" => "format",
        field => field,
    }
}
