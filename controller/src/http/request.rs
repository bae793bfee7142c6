//! What requests carry besides a name: options in the query and documents in the body.

use axum::body::Bytes;
use serde::Deserialize;
use serde_json::Value;
use vault_api::check::{Document, check};
use vault_api::problem::Problem;

use super::error::ApiError;
use crate::store::Kind;

/// Options of a write. Unknown ones are ignored, as Kubernetes does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WriteOptions {
    dry_run: Option<String>,
    take_ownership: bool,
}

impl WriteOptions {
    /// Whether nothing may be written.
    pub(super) fn dry_run(&self) -> Result<bool, ApiError> {
        match self.dry_run.as_deref() {
            None | Some("") => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                Err(ApiError::BadRequest(format!("dryRun is {other:?}; it can only be \"All\"")))
            }
        }
    }

    /// Whether the writer wants to own the spec from now on.
    pub(super) fn take_ownership(&self) -> bool {
        self.take_ownership
    }
}

/// The body of a DELETE: kubectl puts `dryRun` here, not into the query.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeleteOptions {
    dry_run: Vec<String>,
    preconditions: Preconditions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads the body; an empty one has no options.
    pub(super) fn read(body: &Bytes) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(body)
            .map_err(|error| ApiError::BadRequest(format!("the body is no DeleteOptions: {error}")))
    }

    /// Whether nothing may be deleted.
    pub(super) fn dry_run(&self) -> Result<bool, ApiError> {
        match self.dry_run.as_slice() {
            [] => Ok(false),
            [all] if all == "All" => Ok(true),
            other => {
                Err(ApiError::BadRequest(format!("dryRun is {other:?}; it can only be [\"All\"]")))
            }
        }
    }

    /// Whether the object is the one that was meant.
    pub(super) fn holds_for(&self, uid: &str, resource_version: i64) -> bool {
        let wanted = &self.preconditions;
        wanted.uid.as_deref().is_none_or(|wanted| wanted == uid)
            && wanted
                .resource_version
                .as_deref()
                .is_none_or(|wanted| wanted == resource_version.to_string())
    }
}

/// Reads JSON.
pub(super) fn json(body: &Bytes) -> Result<Value, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::BadRequest(format!("the body is not JSON: {error}")))
}

/// Checks a document alone; `name` is the one in the URL, if there is one.
pub(super) fn document(
    kind: Kind,
    name: Option<&str>,
    value: &Value,
) -> Result<Document, ApiError> {
    let shown = name
        .or_else(|| value.pointer("/metadata/name").and_then(Value::as_str))
        .unwrap_or_default()
        .to_owned();
    let document = check(value).map_err(|problems| ApiError::Invalid(kind, shown, problems))?;
    if document.kind() != kind.word() {
        let (found, wanted) = (document.kind(), kind.word());
        return Err(ApiError::BadRequest(format!("the body is a {found}, not a {wanted}")));
    }
    match name {
        Some(name) if name != document.name() => Err(ApiError::BadRequest(format!(
            "the name of the object ({}) does not match the name in the URL ({name})",
            document.name()
        ))),
        _ => Ok(document),
    }
}

/// The resourceVersion that the writer says to have read; `None` if it does not say.
pub(super) fn resource_version(document: &Document) -> Option<&str> {
    document.metadata().resource_version.as_deref().filter(|version| !version.is_empty())
}

/// The problems of one document among those of a set.
pub(super) fn problems(found: Vec<vault_api::set::SetProblem>) -> Vec<Problem> {
    found.into_iter().map(|found| found.problem).collect()
}
