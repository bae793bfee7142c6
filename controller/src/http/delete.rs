//! Deleting tenants and classes: asking for it, and the reasons against it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use vault_api::object::Status;

use super::App;
use super::error::ApiError;
use super::objects::{Attempts, Shared, existing, store};
use super::request::{DeleteOptions, WriteRequest};
use crate::accept::{finalizers, to_json};
use crate::clock::Clock;
use crate::platform::Platform;
use crate::source::Source;
use crate::store::{ApiStore, Kind, Named, StoredObject};

/// Asks for an object's deletion. It goes at once if nothing holds it back; a tenant goes when its
/// machines are gone.
pub(super) async fn delete<P: Platform, S: ApiStore, C: Clock>(
    kind: Kind,
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
    request: WriteRequest,
) -> Result<Response, ApiError> {
    let options = DeleteOptions::read(&request)?;
    let dry_run = options.dry_run()?;
    let _writing = app.writing.lock().await;
    let mut attempts = Attempts::new();
    loop {
        let stored = existing(&app, &request.caller, kind, &name).await?;
        if let Some(obstacle) = options.obstacle(&stored) {
            return Err(ApiError::Conflict(kind, name, obstacle));
        }
        if let Some(obstacle) = obstacle(&app, &stored).await? {
            return Err(ApiError::Conflict(kind, name, obstacle));
        }
        let deleted = one(&app, &request, stored, dry_run).await;
        if !attempts.go_on(&deleted) {
            return deleted;
        }
    }
}

async fn one<P: Platform, S: ApiStore, C: Clock>(
    app: &App<P, S, C>,
    request: &WriteRequest,
    stored: StoredObject,
    dry_run: bool,
) -> Result<Response, ApiError> {
    if stored.deleted_at.is_some() {
        request.trail.note("already being deleted");
        return Ok(Json(to_json(&stored)).into_response());
    }
    let version = stored.resource_version;
    let mut object = finalizers::deleted(&stored, app.clock.now());
    let goes = finalizers::may_go(&object);
    if !dry_run {
        let (trail, code) = (&request.trail, StatusCode::OK);
        object = store(app, trail, object, Some(version), code, "deletion asked for").await?;
    }
    if !goes {
        return Ok(Json(to_json(&object)).into_response());
    }
    let status = Status::success(200, "").about(object.kind.plural(), &object.name);
    let mut status = json!(status);
    status["details"]["uid"] = object.uid.into();
    Ok(Json(status).into_response())
}

/// Why the object cannot go, if it cannot.
async fn obstacle<P, S: ApiStore, C>(
    app: &App<P, S, C>,
    object: &StoredObject,
) -> Result<Option<String>, ApiError> {
    let (kind, name) = (object.kind.word(), &object.name);
    if let Some(file) = file_of(app, object) {
        return Ok(Some(format!("{kind} {name} stands in manifest {file}: remove it there first")));
    }
    if object.kind == Kind::Tenant {
        return Ok(None);
    }
    let users = app.store.count_naming(Named::Class(name.clone())).await?;
    Ok(match users {
        (_, None) => None,
        (1, Some(tenant)) => Some(format!("class {name} is used by tenant {tenant}")),
        (count, Some(first)) => {
            Some(format!("class {name} is used by {count} tenants, {first} among them"))
        }
    })
}

/// The manifest that still holds the object. Until the folder was read, it may; without a folder
/// nothing does.
fn file_of<P, S, C>(app: &App<P, S, C>, object: &StoredObject) -> Option<String> {
    let Source::Folder { file } = &object.source else { return None };
    if !app.watches_folder {
        return None;
    }
    let key = (object.kind, object.name.clone());
    let gone = app.view.borrow().folder.as_ref().is_some_and(|seen| seen.missing.contains(&key));
    (!gone).then(|| file.clone())
}
