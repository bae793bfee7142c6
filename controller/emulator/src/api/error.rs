//! From refusals to statuses and bodies; nowhere else.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use thiserror::Error;

use crate::engine::EngineError;
use crate::world::Refusal;

/// Why a request has no answer of its own.
#[derive(Clone, Debug, Error)]
pub enum ApiError {
    /// No token, or none that is known.
    #[error("Authenticate: token validation error")]
    Unauthenticated,
    /// The request's limit is used up.
    #[error("rate limit exceeded")]
    RateLimited,
    /// The body, the query or the path does not parse.
    #[error("invalid_argument: {0}")]
    Malformed(String),
    /// The body is larger than is taken.
    #[error("request body too large")]
    TooLarge,
    /// A wait's timeout is out of range.
    #[error(
        "invalid_argument: invalid WaitMachineRequest.Timeout: value must be inside range [1s, 1m0s]"
    )]
    WaitTimeout,
    /// A wait came to its end.
    #[error(
        "deadline_exceeded: machine failed to reach desired state, {wanted}, currently {current}"
    )]
    NotReached {
        /// What was waited for.
        wanted: String,
        /// Where the machine is.
        current: &'static str,
    },
    /// No such path; parts of the platform are not emulated.
    #[error("not found")]
    NoSuchRoute,
    /// The path exists, the method does not.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The document of faults is wrong.
    #[error("{0}")]
    BadFaults(String),
    /// Faults are the operator's.
    #[error("unauthorized: faults are seen and set with the operator's token")]
    OperatorOnly,
    /// A machine's token was asked for by someone else.
    #[error("unauthorized: only a machine gets this token, for itself, over /.fly/api")]
    MachineOnly,
    /// The issuer of machines' tokens has no key; the emulator's log says why.
    #[error("the issuer's key cannot be used")]
    NoIssuer,
    /// A command in a machine took longer than it may.
    #[error("deadline_exceeded: command timed out")]
    CommandTimeout,
    /// A machine cannot be entered; the emulator's log says why.
    #[error("the machine cannot be entered")]
    NoVisit,
    /// A log on disk cannot be read; the emulator's log says why.
    #[error("the log cannot be read")]
    LogUnreadable,
    /// The host has no randomness for a token or a key.
    #[error("no randomness")]
    NoRandomness,
    /// The world's word.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

#[derive(Serialize)]
struct Body {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Malformed(_) | Self::WaitTimeout | Self::BadFaults(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotReached { .. } | Self::CommandTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NoSuchRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::MachineOnly | Self::OperatorOnly => StatusCode::FORBIDDEN,
            Self::NoIssuer
            | Self::NoRandomness
            | Self::LogUnreadable
            | Self::NoVisit
            | Self::Engine(EngineError::Broken(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Engine(EngineError::Closing) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Engine(EngineError::Refused(refusal)) => status_of(refusal),
        }
    }

    /// The machine-readable class that a few errors carry.
    fn class(&self) -> Option<&'static str> {
        match self {
            Self::Engine(EngineError::Refused(Refusal::AppNameTaken)) => Some("name_taken"),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Body { error: self.to_string(), status: self.class() };
        (self.status(), Json(body)).into_response()
    }
}

/// The HTTP status that a refusal of the world is answered with.
#[must_use]
pub fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Unauthorized => StatusCode::FORBIDDEN,
        Refusal::AppNotFound
        | Refusal::MachineNotFound
        | Refusal::VolumeNotFound
        | Refusal::SecretNotFound
        | Refusal::NotFound(_)
        | Refusal::MetadataKeyNotFound => StatusCode::NOT_FOUND,
        Refusal::AppNameTaken
        | Refusal::AppNameMalformed
        | Refusal::IdempotencyKeyReused
        | Refusal::Unprocessable(_)
        | Refusal::LimitReached(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Invalid(_) | Refusal::RegionNotFound(_) | Refusal::NetworkNotFound => {
            StatusCode::BAD_REQUEST
        }
        Refusal::MachineNameInUse { .. }
        | Refusal::ConcurrentUpdate
        | Refusal::LeaseHeld { .. } => StatusCode::CONFLICT,
        Refusal::GettingReplaced
        | Refusal::StillActive
        | Refusal::WrongState { .. }
        | Refusal::NotStopped
        | Refusal::VolumeClaimed(_)
        | Refusal::VolumeBound(_)
        | Refusal::VolumeGoing(_)
        | Refusal::SecretsVersionNotReached { .. }
        | Refusal::Precondition(_)
        | Refusal::StaleVersion => StatusCode::PRECONDITION_FAILED,
    }
}
