//! From what went wrong to a status code and a Kubernetes Status: nowhere else.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use vault_api::object::Status;
use vault_api::problem::Problem;

use crate::accept::Refusal;
use crate::reconcile::PassError;
use crate::store::{Kind, StoreError};

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
    /// The object has problems.
    Invalid(Kind, String, Vec<Problem>),
    /// Not yet: try again.
    Unavailable(String),
    /// The store refused.
    Store(StoreError),
}

impl ApiError {
    /// Names the object that a refusal is about.
    pub(super) fn refused(kind: Kind, name: &str, refusal: &Refusal) -> Self {
        Self::Conflict(kind, name.to_owned(), refusal.to_string())
    }

    /// Names the object that a store error is about.
    pub(super) fn store(kind: Kind, name: &str, error: StoreError) -> Self {
        match error {
            StoreError::Conflict => {
                Self::Conflict(kind, name.to_owned(), StoreError::Conflict.to_string())
            }
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
            Self::Invalid(kind, name, problems) => {
                Status::invalid(kind.plural(), &name, &problems)
            }
            Self::Unavailable(message) => Status::failure(503, "ServiceUnavailable", message),
            Self::Store(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store refused");
                Status::failure(500, "InternalError", "the controller's database refused")
            }
        };
        let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (code, Json(status)).into_response()
    }
}

/// The answer to a path that is not in the table.
pub(super) async fn no_such_path() -> Response {
    let status =
        Status::failure(404, "NotFound", "the server could not find the requested resource");
    (StatusCode::NOT_FOUND, Json(status)).into_response()
}
