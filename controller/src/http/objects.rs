//! The verbs of tenants and classes; deleting has a room of its own.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::Value;
use vault_api::check::Document;

use super::App;
use super::audit::Trail;
use super::body::{self, Body};
use super::caller::Caller;
use super::error::ApiError;
use super::others::check_against_others;
use super::patch::Patch;
use super::request::{self, Reply, WriteRequest};
use super::secrets;
use crate::accept::{Decision, Writer, decide, finalizers, to_json};
use crate::clock::Clock;
use crate::events::Event;
use crate::platform::Platform;
use crate::reconcile::DELETED;
use crate::source::Source;
use crate::store::{ApiStore, Kind, StoredObject};

/// How often a write is tried that a pass overtakes: a pass writes a status once, and takes much
/// longer than this write.
const WRITES_MAX: usize = 5;

pub(super) type Shared<P, S, C> = State<Arc<App<P, S, C>>>;

pub(super) async fn create<P: Platform, S: ApiStore, C: Clock>(
    kind: Kind,
    State(app): Shared<P, S, C>,
    request: WriteRequest,
) -> Result<Reply, ApiError> {
    let body = body::read(&request.content_type, &request.body)?;
    let name = body.value.pointer("/metadata/name").and_then(Value::as_str);
    request.trail.about(name.unwrap_or_default());
    let (document, warnings) = request.document(kind, None, body)?;
    let _writing = app.writing.lock().await;
    if let Some(there) = app.store.object(kind, document.name()).await? {
        return Err(match there.deleted_at {
            None => ApiError::AlreadyExists(kind, there.name),
            Some(_) => ApiError::Deleting(kind, there.name),
        });
    }
    let object = write(&app, &request, &document, None).await?;
    Ok(Reply { code: StatusCode::CREATED, body: to_json(&object), warnings })
}

pub(super) async fn replace<P: Platform, S: ApiStore, C: Clock>(
    kind: Kind,
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
    request: WriteRequest,
) -> Result<Reply, ApiError> {
    let body = body::read(&request.content_type, &request.body)?;
    let (document, warnings) = request.document(kind, Some(&name), body)?;
    let _writing = app.writing.lock().await;
    let mut attempts = Attempts::new();
    loop {
        let stored = existing(&app, &request.caller, kind, &name).await?;
        let written = write(&app, &request, &document, Some(stored)).await;
        if !attempts.go_on(&written) {
            return Ok(Reply { code: StatusCode::OK, body: to_json(&written?), warnings });
        }
    }
}

pub(super) async fn patch<P: Platform, S: ApiStore, C: Clock>(
    kind: Kind,
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
    request: WriteRequest,
) -> Result<Reply, ApiError> {
    let change = Patch::read(&request.content_type, &request.body)?;
    let _writing = app.writing.lock().await;
    let mut attempts = Attempts::new();
    loop {
        let stored = existing(&app, &request.caller, kind, &name).await?;
        let mut value = to_json(&stored);
        change.apply(&mut value)?;
        let whole = Body { value, duplicates: change.duplicates() };
        let (document, warnings) = request.document(kind, Some(&name), whole)?;
        let written = write(&app, &request, &document, Some(stored)).await;
        if !attempts.go_on(&written) {
            return Ok(Reply { code: StatusCode::OK, body: to_json(&written?), warnings });
        }
    }
}

/// How often a write may still be repeated because a pass overtook it: passes write statuses all
/// the time, and whoever named no resourceVersion need not know. Who did name one finds it changed
/// in the repetition.
pub(super) struct Attempts(usize);

impl Attempts {
    pub(super) fn new() -> Self {
        Self(WRITES_MAX)
    }

    pub(super) fn go_on<T>(&mut self, outcome: &Result<T, ApiError>) -> bool {
        self.0 -= 1;
        self.0 > 0 && matches!(outcome, Err(ApiError::Raced(..)))
    }
}

/// Checks a document against all others, decides, and stores it unless that is only a rehearsal.
async fn write<P: Platform, S: ApiStore, C: Clock>(
    app: &App<P, S, C>,
    request: &WriteRequest,
    document: &Document,
    stored: Option<StoredObject>,
) -> Result<StoredObject, ApiError> {
    let kind = stored.as_ref().map_or_else(|| kind_of(document), |stored| stored.kind);
    let name = document.name();
    if let Some(stored) = &stored {
        request::must_be_read(document, stored)?;
    }
    check_against_others(&app.store, &request.caller, kind, document).await?;
    let dry_run = request.options.dry_run()?;
    let (allowed, takes) = (app.allow_api_secrets, request.options.take_ownership());
    secrets::admit(allowed, kind, document, stored.as_ref(), takes)?;
    let writer = Writer {
        source: &Source::Api,
        take_ownership: request.options.take_ownership(),
        rehearsal: dry_run,
    };
    let decision = decide(document, stored.as_ref(), writer, &app.controller, app.clock.now())
        .map_err(|refusal| ApiError::refused(kind, name, refusal))?;
    must_stay_visible(&request.caller, decision.object())?;
    let (object, code, note) = match decision {
        Decision::Keep(object) => {
            request.trail.note("unchanged");
            return Ok(object);
        }
        Decision::Create(object) => (object, StatusCode::CREATED, "created"),
        Decision::Change(object) => (object, StatusCode::OK, "changed"),
    };
    let Some(stored) = stored else {
        return match dry_run {
            true => Ok(object),
            false => store(app, &request.trail, object, None, code, note).await,
        };
    };
    match dry_run {
        // The answer to a rehearsal keeps the old generation, so that a diff shows the change alone.
        true => Ok(StoredObject { generation: stored.generation, ..object }),
        false => {
            let version = Some(stored.resource_version);
            store(app, &request.trail, object, version, code, note).await
        }
    }
}

/// Stores an object together with the record of the request. An object that was to be deleted, and
/// whose last finalizer was taken away, goes.
pub(super) async fn store<P: Platform, S: ApiStore, C: Clock>(
    app: &App<P, S, C>,
    trail: &Trail,
    object: StoredObject,
    version: Option<i64>,
    code: StatusCode,
    note: &str,
) -> Result<StoredObject, ApiError> {
    let (kind, name, now) = (object.kind, object.name.clone(), app.clock.now());
    let failed = |error| ApiError::store(kind, &name, error);
    let goes = version.filter(|_| finalizers::may_go(&object));
    let note = if goes.is_some() { "deleted" } else { note };
    let record = trail.record(now, code.as_u16(), note);
    let object = match goes {
        Some(version) => {
            let removed = app.store.remove_object_audited(kind, &name, version, record).await;
            removed.map_err(failed)?;
            object
        }
        None => app.store.put_object_audited(object, version, record).await.map_err(failed)?,
    };
    trail.kept();
    if goes.is_some() && kind == Kind::Tenant {
        let event = Event::normal(now, &name, "Deleted", DELETED);
        app.store.append_events(vec![event]).await?;
    }
    app.wake.notify_one();
    Ok(object)
}

/// A limited token keeps to its tenants: none of its writes leads into or out of them.
pub(super) fn must_stay_visible(caller: &Caller, object: &StoredObject) -> Result<(), ApiError> {
    match caller.limit() {
        Some(limit) if !caller.sees(object) => {
            let why = format!(
                "token {:?} is limited to tenants with {limit}, and the labels of this one would \
                 be others",
                caller.name()
            );
            Err(ApiError::forbidden(object.kind.plural(), Some(&object.name), &why))
        }
        _ => Ok(()),
    }
}

/// The stored object, if it exists for this caller.
pub(super) async fn existing<P, S: ApiStore, C>(
    app: &App<P, S, C>,
    caller: &Caller,
    kind: Kind,
    name: &str,
) -> Result<StoredObject, ApiError> {
    let found = app.store.object(kind, name).await?.filter(|object| caller.sees(object));
    found.ok_or_else(|| ApiError::NotFound(kind, name.to_owned()))
}

fn kind_of(document: &Document) -> Kind {
    match document {
        Document::Tenant(_) => Kind::Tenant,
        Document::TenantClass(_) => Kind::TenantClass,
    }
}
