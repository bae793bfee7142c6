//! The `status` subresource of tenants: what the controller says of them, and nothing else.
//!
//! The status is the controller's, and its next pass says again what it sees. An admin may write it
//! all the same, to mend what a mistake has left behind: ids that are no longer true, for instance.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::Value;
use vault_api::check::Document;

use super::App;
use super::body::{self, Body};
use super::error::ApiError;
use super::fields;
use super::objects::{Attempts, Shared, existing, store};
use super::patch::Patch;
use super::request::{self, Reply, WriteRequest};
use crate::accept::to_json;
use crate::clock::Clock;
use crate::platform::Platform;
use crate::store::{ApiStore, Kind, StoredObject};

/// Replaces the status by that of the body; the rest of the body counts for nothing.
pub(super) async fn replace<P: Platform, S: ApiStore, C: Clock>(
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
    request: WriteRequest,
) -> Result<Reply, ApiError> {
    let sent = body::read(&request.content_type, &request.body)?;
    change(&app, &name, &request, |whole| {
        *whole = sent.value.clone();
        Ok(sent.duplicates.clone())
    })
    .await
}

/// Changes the status as a patch says; what the patch says of the rest counts for nothing.
pub(super) async fn patch<P: Platform, S: ApiStore, C: Clock>(
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
    request: WriteRequest,
) -> Result<Reply, ApiError> {
    let sent = Patch::read(&request.content_type, &request.body)?;
    change(&app, &name, &request, |whole| {
        sent.apply(whole)?;
        Ok(sent.duplicates())
    })
    .await
}

async fn change<P: Platform, S: ApiStore, C: Clock>(
    app: &App<P, S, C>,
    name: &str,
    request: &WriteRequest,
    apply: impl Fn(&mut Value) -> Result<Vec<vault_api::problem::FieldPath>, ApiError>,
) -> Result<Reply, ApiError> {
    let _writing = app.writing.lock().await;
    let mut attempts = Attempts::new();
    loop {
        let stored = existing(app, &request.caller, Kind::Tenant, name).await?;
        let mut sent = to_json(&stored);
        let duplicates = apply(&mut sent)?;
        // The stored object with what was sent of status and of the version that was read.
        let mut value = to_json(&stored);
        for pointer in ["resourceVersion", "uid", "name"] {
            if let Some(said) = sent.pointer(&format!("/metadata/{pointer}")) {
                value["metadata"][pointer] = said.clone();
            }
        }
        value["status"] = sent.get("status").cloned().unwrap_or(Value::Null);
        let body = Body { value, duplicates };
        let (value, warnings) = fields::settle(request.options.field_validation()?, body)?;
        let document = request::document(Kind::Tenant, Some(name), &value)?;
        let written = write(app, request, &document, stored).await;
        if !attempts.go_on(&written) {
            return Ok(Reply { code: StatusCode::OK, body: to_json(&written?), warnings });
        }
    }
}

async fn write<P: Platform, S: ApiStore, C: Clock>(
    app: &App<P, S, C>,
    request: &WriteRequest,
    document: &Document,
    stored: StoredObject,
) -> Result<StoredObject, ApiError> {
    request::must_be_read(document, &stored)?;
    let Document::Tenant(tenant) = document else {
        return Err(ApiError::BadRequest("only tenants have a status".to_owned()));
    };
    let status = tenant.status.as_ref().map(serde_json::to_value).transpose();
    let status = status.map_err(crate::store::StoreError::from)?;
    let version = stored.resource_version;
    let is_same = stored.status == status;
    let object = StoredObject { status, ..stored };
    if is_same || request.options.dry_run()? {
        request.trail.note("unchanged");
        return Ok(object);
    }
    let code = StatusCode::OK;
    store(app, &request.trail, object, Some(version), code, "status changed").await
}
