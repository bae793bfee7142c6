//! The `undelete` subresource: a deleted tenant comes back as it was, as long as what it had is there.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use vault_api::object::Status;
use vault_plan::tombstone::{Tombstone, TombstoneKind, TombstoneState};

use super::error::ApiError;
use super::objects::Shared;
use super::request::WriteRequest;
use crate::accept::to_json;
use crate::clock::{Clock, rfc3339};
use crate::events::Event;
use crate::platform::Platform;
use crate::source::Source;
use crate::store::{ApiStore, Kind, StoredObject, Undelete};

/// Brings a tenant back: its spec, its labels and its owner as they were, and with its derived names
/// its app and its volumes. Where the folder prunes, a tenant without a file would go again at once:
/// there the API owns it from now on.
pub(super) async fn undelete<P: Platform, S: ApiStore, C: Clock>(
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
    request: WriteRequest,
) -> Result<Response, ApiError> {
    if request.options.dry_run()? {
        return Err(ApiError::BadRequest("undelete takes no dryRun".to_owned()));
    }
    let _writing = app.writing.lock().await;
    if let Some(stored) = app.store.object(Kind::Tenant, &name).await? {
        return Err(is_there(name, &stored));
    }
    let (now, trail) = (app.clock.now(), &request.trail);
    let record = trail.record(now, 200, "undeleted");
    let object = match app.store.undelete(&name, app.prunes_folder, record).await? {
        Undelete::Done(object, _) => *object,
        Undelete::Exists => return Err(ApiError::AlreadyExists(Kind::Tenant, name)),
        Undelete::Unknown => return Err(ApiError::NotFound(Kind::Tenant, name)),
        Undelete::TooLate(lost) => return Err(too_late(&name, &lost)),
    };
    trail.kept();
    let message = format!("the tenant is there again; it is owned by {}", object.source);
    app.store.append_events(vec![Event::normal(now, &name, "Undeleted", message)]).await?;
    app.wake.notify_one();
    Ok(Json(to_json(&object)).into_response())
}

/// Why a tenant that exists cannot come back.
fn is_there(name: String, stored: &StoredObject) -> ApiError {
    let message = match (&stored.source, stored.deleted_at) {
        (_, Some(_)) => {
            format!("tenant {name} is still being deleted; it can come back once it is gone")
        }
        (Source::Folder { file }, None) => format!("tenant {name} stands in manifest {file}"),
        (Source::Api, None) => format!("there is a tenant {name}"),
    };
    ApiError::Conflict(Kind::Tenant, name, message)
}

/// What is lost, and what is left of it.
fn too_late(name: &str, lost: &[Tombstone]) -> ApiError {
    let lost: Vec<String> = lost.iter().map(loss).collect();
    let message = format!(
        "tenant {name} cannot come back as it was: {}; apply its manifest again to make it anew",
        lost.join("; ")
    );
    let status = Status::failure(410, "Gone", message).about(Kind::Tenant.plural(), name);
    ApiError::Refused(Box::new(status))
}

fn loss(tombstone: &Tombstone) -> String {
    let what = match tombstone.kind {
        TombstoneKind::Volume => {
            format!("volume {} ({} GB, of {})", tombstone.id, tombstone.size_gb, tombstone.machine)
        }
        TombstoneKind::Tenant => format!("app {}", tombstone.app),
        TombstoneKind::Bucket => format!("bucket {}", tombstone.id),
    };
    let outcome = tombstone.outcome.as_deref().unwrap_or("it is being deleted");
    let when = match (tombstone.state, tombstone.ended_at) {
        (TombstoneState::Ended, Some(at)) => format!(" ({})", rfc3339(at)),
        _ => String::new(),
    };
    match (&tombstone.snapshot, tombstone.kind) {
        (Some(snapshot), _) => format!(
            "{what}: {outcome}{when}, and snapshot {snapshot} remains for as long as Fly.io keeps it"
        ),
        (None, TombstoneKind::Volume) => {
            format!("{what}: {outcome}{when}, and no snapshot of it is known")
        }
        (None, TombstoneKind::Tenant | TombstoneKind::Bucket) => format!("{what}: {outcome}{when}"),
    }
}
