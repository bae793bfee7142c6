//! From what went wrong to a status code and a Kubernetes Status: nowhere else.

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use vault_api::object::Status;
use vault_api::problem::Problem;

use crate::accept::Refusal;
use crate::reconcile::PassError;
use crate::store::{Kind, StoreError};

/// The HTTP library's refusals are single sentences.
const REFUSAL_BYTES_MAX: usize = 4_096;
/// When it is worth to try again after a watch was turned away.
const WATCH_RETRY_SECONDS: u32 = 10;

/// Why a request was not carried out.
#[derive(Debug)]
pub(super) enum ApiError {
    /// No token, or a wrong one.
    Unauthorized(&'static str),
    /// The request itself makes no sense.
    BadRequest(String),
    /// The body is in a form that the verb does not take.
    UnsupportedMediaType(String),
    /// There is no such object.
    NotFound(Kind, String),
    /// There is one already.
    AlreadyExists(Kind, String),
    /// The object has changed since it was read, or somebody else owns it.
    Conflict(Kind, String, String),
    /// Somebody else wrote the object between our read and our write.
    Raced(Kind, String),
    /// The writer has read an older version.
    Stale(Kind, String),
    /// There is one already, which is being deleted.
    Deleting(Kind, String),
    /// Anything else that is refused, in the words of the answer.
    Refused(Box<Status>),
    /// The request is too large in what it asks for.
    TooLarge(String),
    /// The request is well-formed and does not fit the object.
    Unprocessable(String),
    /// The object has problems.
    Invalid(Kind, String, Vec<Problem>),
    /// There is no such object of a kind that is not stored; its plural and name.
    NoSuchItem(&'static str, String),
    /// The path is not in the table.
    NoSuchPath,
    /// No form of the answer is one that the client takes.
    NotAcceptable,
    /// An option of a list or a watch has a value that it cannot have.
    InvalidOption(String),
    /// What was asked for is not known any more: list again.
    Expired(&'static str),
    /// The version that was asked for has not been given out yet.
    TooLargeVersion {
        /// What was asked for.
        wanted: i64,
        /// The newest.
        newest: i64,
    },
    /// Too many clients watch.
    TooManyWatches,
    /// Not yet: try again.
    Unavailable(String),
    /// A machine of a tenant is not there yet: try again soon.
    NotYet {
        /// The tenant.
        name: String,
        /// What is waited for.
        message: String,
        /// How soon to try again.
        retry_after_seconds: u32,
    },
    /// The store refused.
    Store(StoreError),
}

impl ApiError {
    /// Names the object that a refusal is about.
    pub(super) fn refused(kind: Kind, name: &str, refusal: Refusal) -> Self {
        match refusal {
            Refusal::Finalizers { problem, .. } => {
                Self::Invalid(kind, name.to_owned(), vec![problem])
            }
            refusal => Self::Conflict(kind, name.to_owned(), refusal.to_string()),
        }
    }

    /// What the caller may not do: `path` is a route, or a resource.
    pub(super) fn forbidden(path: &str, name: Option<&str>, why: &str) -> Self {
        let mut parts = path.strip_prefix("/apis/vaultctl.dev/v1/").unwrap_or(path).split('/');
        let resource = parts.next().filter(|part| !part.is_empty());
        let status = match (resource, name) {
            (Some(resource), Some(name)) => {
                let message = format!("{resource}.vaultctl.dev {name:?} is forbidden: {why}");
                Status::failure(403, "Forbidden", message).about(resource, name)
            }
            (Some(resource), None) => {
                let message = format!("{resource}.vaultctl.dev is forbidden: {why}");
                Status::failure(403, "Forbidden", message).about(resource, "")
            }
            (None, _) => Status::failure(403, "Forbidden", format!("{path} is forbidden: {why}")),
        };
        Self::Refused(Box::new(status))
    }

    /// Names the object that a store error is about.
    pub(super) fn store(kind: Kind, name: &str, error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Raced(kind, name.to_owned()),
            error => Self::Store(error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PassError> for ApiError {
    fn from(error: PassError) -> Self {
        match error {
            PassError::Store(error) => Self::Store(error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unauthorized(message) => Status::failure(401, "Unauthorized", message),
            Self::BadRequest(message) => Status::failure(400, "BadRequest", message),
            Self::UnsupportedMediaType(message) => {
                Status::failure(415, "UnsupportedMediaType", message)
            }
            Self::NotFound(kind, name) => {
                let message = format!("{}.vaultctl.dev {name:?} not found", kind.plural());
                Status::failure(404, "NotFound", message).about(kind.plural(), &name)
            }
            Self::AlreadyExists(kind, name) => {
                let message = format!("{}.vaultctl.dev {name:?} already exists", kind.plural());
                Status::failure(409, "AlreadyExists", message).about(kind.plural(), &name)
            }
            Self::Conflict(kind, name, message) => {
                Status::failure(409, "Conflict", message).about(kind.plural(), &name)
            }
            Self::Deleting(kind, name) => {
                let plural = kind.plural();
                let message = format!(
                    "object is being deleted: {plural}.vaultctl.dev {name:?} already exists; it \
                     can be made again once it is gone"
                );
                Status::failure(409, "AlreadyExists", message).about(plural, &name)
            }
            Self::Refused(status) => *status,
            Self::TooLarge(message) => Status::failure(413, "RequestEntityTooLarge", message),
            Self::Unprocessable(message) => Status::failure(422, "Invalid", message),
            Self::Raced(kind, name) | Self::Stale(kind, name) => {
                let message = format!(
                    "Operation cannot be fulfilled on {}.vaultctl.dev {name:?}: the object has \
                     been modified; please apply your changes to the latest version and try again",
                    kind.plural()
                );
                Status::failure(409, "Conflict", message).about(kind.plural(), &name)
            }
            Self::Invalid(kind, name, problems) => Status::invalid(kind.plural(), &name, &problems),
            Self::NotYet { name, message, retry_after_seconds } => {
                return not_yet(&name, message, retry_after_seconds);
            }
            Self::NoSuchItem(plural, name) => {
                let mut status =
                    Status::failure(404, "NotFound", format!("{plural} {name:?} not found"))
                        .about(plural, &name);
                if let Some(details) = &mut status.details {
                    details.group.clear();
                }
                status
            }
            Self::NoSuchPath => nowhere(),
            Self::NotAcceptable => {
                let message = "only application/json is answered, and as Table or \
                               PartialObjectMetadata of meta.k8s.io/v1";
                Status::failure(406, "NotAcceptable", message)
            }
            Self::InvalidOption(message) => {
                let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {message}");
                Status::failure(422, "Invalid", message)
            }
            Self::Expired(message) => Status::failure(410, "Expired", message),
            Self::TooLargeVersion { wanted, newest } => {
                return too_large_version(wanted, newest);
            }
            Self::TooManyWatches => return too_many_watches(),
            Self::Unavailable(message) => Status::failure(503, "ServiceUnavailable", message),
            Self::Store(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store refused");
                Status::failure(500, "InternalError", "the controller's database refused")
            }
        };
        let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        answer(code, status)
    }
}

/// What the audit log tells of an answer that refuses: an extension of the answer.
#[derive(Clone, Debug)]
pub(super) struct Outcome(pub(super) String);

fn answer(code: StatusCode, status: Status) -> Response {
    let outcome = Outcome(status.message.clone());
    let mut response = (code, Json(status)).into_response();
    response.extensions_mut().insert(outcome);
    response
}

/// Says twice how soon to try again: as Kubernetes does, and as HTTP does.
fn not_yet(name: &str, message: String, retry_after_seconds: u32) -> Response {
    let status = Status::failure(503, "ServiceUnavailable", message).about("tenants", name);
    let mut status = serde_json::json!(status);
    status["details"]["retryAfterSeconds"] = retry_after_seconds.into();
    let header = [(RETRY_AFTER, retry_after_seconds.to_string())];
    (StatusCode::SERVICE_UNAVAILABLE, header, Json(status)).into_response()
}

/// The answer to a path that is not in the table.
pub(super) async fn no_such_path() -> ApiError {
    ApiError::NoSuchPath
}

fn nowhere() -> Status {
    Status::failure(404, "NotFound", "the server could not find the requested resource")
}

/// In the shape by which client libraries know that they have to list anew.
fn too_large_version(wanted: i64, newest: i64) -> Response {
    let message = format!("Too large resource version: {wanted}, current: {newest}");
    let mut status = serde_json::json!(Status::failure(504, "Timeout", message));
    status["details"] = serde_json::json!({
        "causes": [{
            "reason": "ResourceVersionTooLarge", "message": "Too large resource version",
        }],
        "retryAfterSeconds": 1,
    });
    let header = [(RETRY_AFTER, "1")];
    (StatusCode::GATEWAY_TIMEOUT, header, Json(status)).into_response()
}

fn too_many_watches() -> Response {
    let message = "too many clients watch: try again later";
    let mut status = serde_json::json!(Status::failure(429, "TooManyRequests", message));
    status["details"] = serde_json::json!({ "retryAfterSeconds": WATCH_RETRY_SECONDS });
    let header = [(RETRY_AFTER, WATCH_RETRY_SECONDS.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, header, Json(status)).into_response()
}

/// Puts the refusals of the HTTP library (no such verb, a body over the cap, a query that cannot be
/// read), which are plain text, into the shape of all others.
pub(super) async fn in_our_shape(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let code = response.status();
    let is_text = response
        .headers()
        .get(CONTENT_TYPE)
        .is_none_or(|form| form.as_bytes().starts_with(b"text/plain"));
    let is_failure = code.is_client_error() || code.is_server_error();
    if !is_failure || !is_text {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = to_bytes(body, REFUSAL_BYTES_MAX).await.unwrap_or_default();
    let (reason, otherwise) = match code {
        StatusCode::METHOD_NOT_ALLOWED => {
            ("MethodNotAllowed", "the server does not allow this method on the requested resource")
        }
        StatusCode::PAYLOAD_TOO_LARGE => ("RequestEntityTooLarge", "the body is too large"),
        StatusCode::NOT_FOUND => ("NotFound", "the server could not find the requested resource"),
        code if code.is_client_error() => ("BadRequest", "the request cannot be read"),
        _ => ("InternalError", "the request could not be answered"),
    };
    let message = match text.is_empty() {
        true => otherwise.to_owned(),
        false => String::from_utf8_lossy(&text).into_owned(),
    };
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    let status = Status::failure(code.as_u16(), reason, message);
    let mut response = answer(code, status);
    // Such as `Allow`.
    response.headers_mut().extend(parts.headers);
    response
}
