//! The verbs of tenants and classes.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use vault_api::check::Document;
use vault_api::object::{API_VERSION, Status};
use vault_api::set::check_set;

use super::App;
use super::error::ApiError;
use super::request::{self, DeleteOptions, WriteOptions};
use crate::accept::{Decision, Writer, decide, to_document, to_json};
use crate::clock::Clock;
use crate::platform::Platform;
use crate::source::Source;
use crate::store::{Kind, Store, StoredObject};

/// How often a write is tried that a pass overtakes: a pass writes a status once, and takes much
/// longer than this write.
const WRITES_MAX: usize = 5;

type Shared<P, S, C> = State<Arc<App<P, S, C>>>;

pub(super) async fn list<P: Platform, S: Store, C: Clock>(
    kind: Kind,
    State(app): Shared<P, S, C>,
) -> Result<Json<Value>, ApiError> {
    // Read before the objects: a version that is too old makes a watcher see something twice, one
    // that is too new would make it miss something.
    let version = app.store.resource_version().await?;
    let items: Vec<Value> = app.store.objects(kind).await?.iter().map(to_json).collect();
    Ok(Json(json!({
        "apiVersion": API_VERSION,
        "kind": format!("{}List", kind.word()),
        "metadata": { "resourceVersion": version.to_string() },
        "items": items,
    })))
}

pub(super) async fn read<P: Platform, S: Store, C: Clock>(
    kind: Kind,
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(to_json(&existing(&app, kind, &name).await?)))
}

pub(super) async fn create<P: Platform, S: Store, C: Clock>(
    kind: Kind,
    State(app): Shared<P, S, C>,
    Query(options): Query<WriteOptions>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let document = request::document(kind, None, &request::json(&body)?)?;
    let _writing = app.writing.lock().await;
    if app.store.object(kind, document.name()).await?.is_some() {
        return Err(ApiError::AlreadyExists(kind, document.name().to_owned()));
    }
    let object = write(&app, &document, None, &options).await?;
    Ok((StatusCode::CREATED, Json(to_json(&object))).into_response())
}

pub(super) async fn replace<P: Platform, S: Store, C: Clock>(
    kind: Kind,
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
    Query(options): Query<WriteOptions>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let document = request::document(kind, Some(&name), &request::json(&body)?)?;
    let _writing = app.writing.lock().await;
    let mut attempts = Attempts::new();
    loop {
        let stored = existing(&app, kind, &name).await?;
        let written = write(&app, &document, Some(stored), &options).await;
        if !attempts.go_on(&written) {
            return Ok(Json(to_json(&written?)));
        }
    }
}

pub(super) async fn patch<P: Platform, S: Store, C: Clock>(
    kind: Kind,
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
    Query(options): Query<WriteOptions>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let form = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !form.starts_with("application/merge-patch+json") {
        return Err(ApiError::UnsupportedMediaType(format!(
            "a patch in the form {form:?} is not supported: send application/merge-patch+json"
        )));
    }
    let change = request::json(&body)?;
    let _writing = app.writing.lock().await;
    let mut attempts = Attempts::new();
    loop {
        let stored = existing(&app, kind, &name).await?;
        let mut whole = to_json(&stored);
        json_patch::merge(&mut whole, &change);
        let document = request::document(kind, Some(&name), &whole)?;
        let written = write(&app, &document, Some(stored), &options).await;
        if !attempts.go_on(&written) {
            return Ok(Json(to_json(&written?)));
        }
    }
}

pub(super) async fn delete<P: Platform, S: Store, C: Clock>(
    kind: Kind,
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
    Query(options): Query<WriteOptions>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let in_body = DeleteOptions::read(&body)?;
    let dry_run = options.dry_run()? || in_body.dry_run()?;
    let _writing = app.writing.lock().await;
    let mut attempts = Attempts::new();
    loop {
        let stored = existing(&app, kind, &name).await?;
        if !in_body.holds_for(&stored.uid, stored.resource_version) {
            let message = "the object is not the one that was to be deleted".to_owned();
            return Err(ApiError::Conflict(kind, name.clone(), message));
        }
        if let Some(file) = file_of(&app, &stored) {
            let kind_word = kind.word();
            let message =
                format!("{kind_word} {name} stands in manifest {file}: remove it there first");
            return Err(ApiError::Conflict(kind, name.clone(), message));
        }
        let deleted = match kind {
            Kind::Tenant => delete_tenant(&app, stored, dry_run).await,
            Kind::TenantClass => delete_class(&app, stored, dry_run).await,
        };
        if !attempts.go_on(&deleted) {
            return deleted;
        }
    }
}

/// Removes a class that no tenant uses.
async fn delete_class<P: Platform, S: Store, C: Clock>(
    app: &App<P, S, C>,
    class: StoredObject,
    dry_run: bool,
) -> Result<Response, ApiError> {
    let (kind, name) = (class.kind, class.name);
    let users = users_of(app, &name).await?;
    if let Some(first) = users.first() {
        let message = match users.len() {
            1 => format!("class {name} is used by tenant {first}"),
            count => format!("class {name} is used by {count} tenants, {first} among them"),
        };
        return Err(ApiError::Conflict(kind, name, message));
    }
    if !dry_run {
        let removed = app.store.remove_object(kind, &name, class.resource_version).await;
        removed.map_err(|error| ApiError::store(kind, &name, error))?;
    }
    let status = Status::success(200, "").about(kind.plural(), &name);
    Ok(Json(status).into_response())
}

/// Marks a tenant for deletion; it goes when its machines are gone.
async fn delete_tenant<P: Platform, S: Store, C: Clock>(
    app: &App<P, S, C>,
    mut object: StoredObject,
    dry_run: bool,
) -> Result<Response, ApiError> {
    if object.deleted_at.is_none() {
        let (name, version) = (object.name.clone(), object.resource_version);
        object.deleted_at = Some(app.clock.now());
        if !dry_run {
            object = app
                .store
                .put_object(object, Some(version))
                .await
                .map_err(|error| ApiError::store(Kind::Tenant, &name, error))?;
            app.wake.notify_one();
        }
    }
    Ok(Json(to_json(&object)).into_response())
}

/// How often a write may still be repeated because a pass overtook it: passes write statuses all
/// the time, and whoever named no resourceVersion need not know. Who did name one finds it changed
/// in the repetition.
struct Attempts(usize);

impl Attempts {
    fn new() -> Self {
        Self(WRITES_MAX)
    }

    fn go_on<T>(&mut self, outcome: &Result<T, ApiError>) -> bool {
        self.0 -= 1;
        self.0 > 0 && matches!(outcome, Err(ApiError::Raced(..)))
    }
}

/// Checks a document against all others, decides, and stores it unless that is only a rehearsal.
async fn write<P: Platform, S: Store, C: Clock>(
    app: &App<P, S, C>,
    document: &Document,
    stored: Option<StoredObject>,
    options: &WriteOptions,
) -> Result<StoredObject, ApiError> {
    let kind = stored.as_ref().map_or_else(|| kind_of(document), |stored| stored.kind);
    let name = document.name();
    let version = stored.as_ref().map(|stored| stored.resource_version);
    if let (Some(read), Some(version)) = (request::resource_version(document), version)
        && read != version.to_string()
    {
        let message = crate::store::StoreError::Conflict.to_string();
        return Err(ApiError::Conflict(kind, name.to_owned(), message));
    }
    check_against_others(app, kind, document).await?;
    let dry_run = options.dry_run()?;
    let (allowed, takes) = (app.allow_api_secrets, options.take_ownership());
    super::secrets::admit(allowed, kind, document, stored.as_ref(), takes)?;
    let writer = Writer {
        source: &Source::Api,
        take_ownership: options.take_ownership(),
        rehearsal: dry_run,
    };
    let now = app.clock.now();
    let decision = decide(document, stored.as_ref(), writer, &app.controller, now)
        .map_err(|refusal| ApiError::refused(kind, name, &refusal))?;
    match decision {
        Decision::Keep(object) => Ok(object),
        Decision::Create(object) if dry_run => Ok(object),
        // The answer to a rehearsal keeps the old generation, so that a diff shows the change alone.
        Decision::Change(object) if dry_run => {
            let generation = stored.map_or(object.generation, |stored| stored.generation);
            Ok(StoredObject { generation, ..object })
        }
        Decision::Create(object) | Decision::Change(object) => {
            let written = app.store.put_object(object, version).await;
            let object = written.map_err(|error| ApiError::store(kind, name, error))?;
            app.wake.notify_one();
            Ok(object)
        }
    }
}

async fn check_against_others<P: Platform, S: Store, C: Clock>(
    app: &App<P, S, C>,
    kind: Kind,
    document: &Document,
) -> Result<(), ApiError> {
    let mut others = app.store.objects(Kind::TenantClass).await?;
    others.extend(app.store.objects(Kind::Tenant).await?);
    let others: Vec<Document> =
        others.iter().filter_map(|object| to_document(object).ok()).collect();
    let known: Vec<&Document> = others.iter().collect();
    let found = request::problems(check_set(&[document], &known, &[]));
    match found.is_empty() {
        true => Ok(()),
        false => Err(ApiError::Invalid(kind, document.name().to_owned(), found)),
    }
}

async fn existing<P, S: Store, C>(
    app: &App<P, S, C>,
    kind: Kind,
    name: &str,
) -> Result<StoredObject, ApiError> {
    let found = app.store.object(kind, name).await?;
    found.ok_or_else(|| ApiError::NotFound(kind, name.to_owned()))
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

/// The names of the tenants of a class.
async fn users_of<P, S: Store, C>(
    app: &App<P, S, C>,
    class: &str,
) -> Result<Vec<String>, ApiError> {
    let tenants = app.store.objects(Kind::Tenant).await?;
    Ok(tenants
        .into_iter()
        .filter(|tenant| tenant.spec.get("class").and_then(Value::as_str) == Some(class))
        .map(|tenant| tenant.name)
        .collect())
}

fn kind_of(document: &Document) -> Kind {
    match document {
        Document::Tenant(_) => Kind::Tenant,
        Document::TenantClass(_) => Kind::TenantClass,
    }
}
