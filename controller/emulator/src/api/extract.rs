//! Extractors: bodies as lenient as the platform takes them, queries, and who calls.

use axum::body::Bytes;
use axum::extract::{self, FromRequest, FromRequestParts, Query, Request};
use http::StatusCode;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::api::error::ApiError;
use crate::tokens::Caller;

/// How deep a body may nest. The parser reads 127 levels and no more, and what is stored lies some
/// levels deeper in the journal than in its request: it has to be read again from there.
const DEPTH_MAX: usize = 64;

/// The parts of the path that the route names.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = extract::Path::from_request_parts(parts, state).await;
        let malformed = |rejection: extract::rejection::PathRejection| {
            ApiError::Malformed(format!("invalid path: {}", rejection.body_text()))
        };
        read.map(|extract::Path(names)| Self(names)).map_err(malformed)
    }
}

/// A JSON body; an empty one is the same as `{}`, and the content type does not matter.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::TooLarge
            } else {
                ApiError::Malformed(rejection.body_text())
            }
        })?;
        let text = if bytes.trim_ascii().is_empty() { b"{}" } else { bytes.as_ref() };
        let malformed = |error| ApiError::Malformed(format!("invalid request body: {error}"));
        // By way of a map, because a struct would also be read from a JSON array.
        let members: Map<String, Value> = serde_json::from_slice(text).map_err(malformed)?;
        if members.values().any(|member| is_deeper_than(member, DEPTH_MAX - 1)) {
            let text = format!("invalid request body: nested over {DEPTH_MAX} levels deep");
            return Err(ApiError::Malformed(text));
        }
        T::deserialize(members).map(Self).map_err(malformed)
    }
}

/// Whether arrays and objects nest in more levels than these; a bare value has none.
fn is_deeper_than(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return value.is_array() || value.is_object();
    };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper_than(item, below)),
        Value::Object(members) => members.values().any(|member| is_deeper_than(member, below)),
        _ => false,
    }
}

/// The query string.
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(parameters)| Self(parameters))
            .map_err(|error| ApiError::Malformed(format!("invalid query: {error}")))
    }
}

/// The nonce of the machine's lease, if the caller holds it.
pub(super) struct Nonce(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Nonce {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let header = parts.headers.get("fly-machine-lease-nonce");
        let text = header.and_then(|header| header.to_str().ok()).map(str::trim);
        Ok(Self(text.filter(|text| !text.is_empty()).map(str::to_owned)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or(ApiError::Unauthenticated)
    }
}

/// `…/apps/{app}`
#[derive(Deserialize)]
pub(super) struct AppPath {
    pub(super) app: String,
}

/// `…/apps/{app}/machines/{machine}`
#[derive(Deserialize)]
pub(super) struct MachinePath {
    pub(super) app: String,
    pub(super) machine: String,
}

/// `…/apps/{app}/volumes/{volume}`
#[derive(Deserialize)]
pub(super) struct VolumePath {
    pub(super) app: String,
    pub(super) volume: String,
}
