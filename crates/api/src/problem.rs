//! Problem documents (RFC 9457): what every error of the API is.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vertice_store::{FindError, ReadError, SubmitError};

use crate::guard::is_for_bouncers;
use crate::keyring::KeyError;
use crate::page;
use crate::read::quiet;

/// An error, as the client sees it.
#[derive(Clone, Debug, Deserialize, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// What kind of problem it is: a stable name.
    #[serde(rename = "type")]
    #[schema(example = "urn:vertice:problem:not-found")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What went wrong this time, and what to do about it.
    pub detail: String,
    /// The path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What else there is to know.
    #[serde(flatten)]
    pub more: Box<Map<String, Value>>,
    #[serde(skip)]
    retry_after_s: Option<u16>,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Timeout,
    Conflict,
    TooLarge,
    UnsupportedMedia,
    Unprocessable,
    TooMany,
    HeadTooLarge,
    Internal,
    Unavailable,
}

impl Kind {
    const ALL: [Kind; 14] = [
        Kind::BadRequest,
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::MethodNotAllowed,
        Kind::Timeout,
        Kind::Conflict,
        Kind::TooLarge,
        Kind::UnsupportedMedia,
        Kind::Unprocessable,
        Kind::TooMany,
        Kind::HeadTooLarge,
        Kind::Internal,
        Kind::Unavailable,
    ];

    /// The name, the title, the status, and what to say when nothing more is known.
    const fn parts(self) -> (&'static str, &'static str, StatusCode, &'static str) {
        match self {
            Kind::BadRequest => {
                ("bad-request", "Bad request", StatusCode::BAD_REQUEST, "the request can not be understood")
            }
            Kind::Unauthorized => ("unauthorized", "Unauthorized", StatusCode::UNAUTHORIZED, "an API key is needed"),
            Kind::Forbidden => ("forbidden", "Forbidden", StatusCode::FORBIDDEN, "this is not allowed"),
            Kind::NotFound => {
                ("not-found", "Not found", StatusCode::NOT_FOUND, "there is nothing here; see /api/v1/openapi.json")
            }
            Kind::MethodNotAllowed => (
                "method-not-allowed",
                "Method not allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "the Allow header names what this path understands",
            ),
            Kind::Timeout => ("timeout", "Request timeout", StatusCode::REQUEST_TIMEOUT, "the request came too slowly"),
            Kind::Conflict => ("conflict", "Conflict", StatusCode::CONFLICT, "things do not stand that way"),
            Kind::TooLarge => {
                ("too-large", "Content too large", StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
            }
            Kind::UnsupportedMedia => (
                "unsupported-media-type",
                "Unsupported media type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is of a type that is not read here",
            ),
            Kind::Unprocessable => (
                "unprocessable",
                "Unprocessable content",
                StatusCode::UNPROCESSABLE_ENTITY,
                "the body does not say what is needed",
            ),
            Kind::TooMany => {
                ("too-many-requests", "Too many requests", StatusCode::TOO_MANY_REQUESTS, "try again later")
            }
            Kind::HeadTooLarge => (
                "head-too-large",
                "Request header fields too large",
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the head of the request is too large",
            ),
            Kind::Internal => (
                "internal",
                "Internal error",
                StatusCode::INTERNAL_SERVER_ERROR,
                "something went wrong here; the log of the process says more",
            ),
            Kind::Unavailable => {
                ("unavailable", "Service unavailable", StatusCode::SERVICE_UNAVAILABLE, "try again later")
            }
        }
    }

    /// The kind that goes with a status which something other than our own code gave.
    fn of(status: StatusCode) -> Kind {
        let other = if status.is_server_error() { Kind::Internal } else { Kind::BadRequest };
        Kind::ALL.into_iter().find(|k| k.parts().2 == status).unwrap_or(other)
    }
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        let (name, title, status, _) = kind.parts();
        Problem {
            kind: format!("urn:vertice:problem:{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            instance: None,
            more: Box::default(),
            retry_after_s: None,
        }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(Kind::NotFound, detail)
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(Kind::BadRequest, detail)
    }

    /// A member more.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn retry_after(mut self, after: Duration) -> Problem {
        let seconds = after.as_millis().div_ceil(1_000).max(1);
        self.retry_after_s = Some(u16::try_from(seconds).unwrap_or(u16::MAX));
        self
    }

    /// Something that should not happen: the process's log has the cause, the client does not.
    pub(crate) fn internal(doing: &str, error: &dyn std::fmt::Display) -> Problem {
        tracing::error!(%error, "{doing}");
        Problem::new(Kind::Internal, Kind::Internal.parts().3)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Written out by `render`, which knows the path.
        response.extensions_mut().insert(self);
        response
    }
}

/// Makes a problem document of every error, also of those that the framework answers by itself, and
/// adds what every answer carries.
pub(crate) async fn render(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    // A page for a person says by itself what is wrong.
    if (status.is_client_error() || status.is_server_error()) && !page::is(&response) {
        let kind = Kind::of(status);
        let mut problem =
            response.extensions_mut().remove::<Problem>().unwrap_or_else(|| Problem::new(kind, kind.parts().3));
        let (json, kind) = if is_for_bouncers(&path) {
            // Bouncers read and log the one member that CrowdSec's errors have.
            (serde_json::json!({ "message": problem.detail }).to_string(), "application/json")
        } else {
            problem.instance = Some(path);
            (serde_json::to_string(&problem).expect("a problem has text keys"), "application/problem+json")
        };
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(quiet(json));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Problem {
        let detail = error.to_string();
        match error {
            SubmitError::Busy { retry_after } | SubmitError::DiskFull { retry_after } => {
                Problem::new(Kind::Unavailable, detail).retry_after(retry_after)
            }
            SubmitError::TooLarge { .. } => Problem::new(Kind::TooLarge, detail),
            // Without Retry-After: it does not help before somebody has looked at the disk.
            SubmitError::Stopped(_) => Problem::new(Kind::Unavailable, detail),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Problem {
        let kind = match error {
            KeyError::Store(error) => return Problem::from(error),
            KeyError::Read(error) => return Problem::from(error),
            KeyError::Draw(error) => return Problem::internal("drawing an API key", &error),
            KeyError::NoName { .. } | KeyError::Taken { .. } => Kind::Unprocessable,
            KeyError::TooMany { .. } | KeyError::Exists { .. } | KeyError::Last => Kind::Conflict,
            KeyError::None { .. } => Kind::NotFound,
        };
        Problem::new(kind, error.to_string())
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match &error {
            // Whoever looks after it must hear of damage, and it holds no secrets.
            ReadError::Damaged(damage) => {
                tracing::error!(%damage, "a read found damage");
                Problem::new(Kind::Internal, damage.to_string())
            }
            ReadError::Database { .. } => Problem::internal("reading the store", &error),
        }
    }
}

impl From<FindError> for Problem {
    fn from(error: FindError) -> Problem {
        let detail = error.to_string();
        match error {
            FindError::NotFound { .. } => Problem::not_found(detail),
            FindError::TooShort { .. } => Problem::bad_request(detail),
            FindError::Ambiguous { candidates, .. } => {
                Problem::new(Kind::Conflict, detail).with("candidates", candidates)
            }
            FindError::Read(read) => read.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_kind_and_others_fall_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.parts().2), kind);
        }
        assert_eq!(Kind::of(StatusCode::IM_A_TEAPOT), Kind::BadRequest);
        assert_eq!(Kind::of(StatusCode::BAD_GATEWAY), Kind::Internal);
    }

    #[test]
    fn store_errors_say_whether_to_try_again() {
        let retry = Duration::from_millis(1_200);
        let busy = Problem::from(SubmitError::Busy { retry_after: retry }).into_response();
        assert_eq!(busy.headers()[header::RETRY_AFTER], "2");
        let stopped = vertice_store::Stopped { reason: "EIO".into(), fatal: true, taken_over: false };
        let fatal = Problem::from(SubmitError::Stopped(stopped)).into_response();
        assert_eq!(fatal.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!fatal.headers().contains_key(header::RETRY_AFTER));
    }
}
