//! `/oidc/{org}/.well-known/…`: what verifiers of machines' tokens read, without a token of their
//! own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::Api;
use super::extract::Path;
use crate::api::error::ApiError;
use crate::oidc::{IssueError, Issuer};

pub(super) async fn discovery(
    State(api): State<Api>,
    Path(org): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let issuer = api.issuer.of(&org).ok_or(ApiError::NoSuchRoute)?;
    Ok(Json(Issuer::discovery(&issuer)))
}

pub(super) async fn key_set(
    State(api): State<Api>,
    Path(org): Path<String>,
) -> Result<Json<Value>, ApiError> {
    api.issuer.of(&org).ok_or(ApiError::NoSuchRoute)?;
    let issuer = Arc::clone(&api.issuer);
    issuer.key_set().await.map(Json).map_err(not_issued)
}

/// The reason is for the emulator's log: it names files of the host.
pub(super) fn not_issued(error: IssueError) -> ApiError {
    let error = anyhow::Error::from(error);
    tracing::error!(error = format!("{error:#}"), "no token and no key can be given out");
    ApiError::NoIssuer
}
