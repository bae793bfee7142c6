//! Namespaces: there is one, in which events lie. Tools that deploy from git look for it.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::App;
use super::error::ApiError;
use super::list;
use super::options::ListOptions;
use super::resources::NAMESPACES;
use crate::clock::Clock;
use crate::store::ApiStore;

/// Cluster-scoped objects have their events in this namespace, as in Kubernetes.
pub(super) const DEFAULT: &str = "default";

/// All namespaces.
pub(super) async fn list<P, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Query(options): Query<ListOptions>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if options.is_watch()? {
        return Err(ApiError::BadRequest("namespaces cannot be watched: list them".to_owned()));
    }
    let version = app.store.resource_version().await?;
    let all = std::iter::once(default(&app));
    list::whole(&NAMESPACES, &headers, &options, version, all, app.clock.now())
}

/// One namespace.
pub(super) async fn read<P, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Path(name): Path<String>,
    Query(options): Query<ListOptions>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if name != DEFAULT {
        return Err(ApiError::NoSuchItem(NAMESPACES.plural, name));
    }
    list::single(&NAMESPACES, &headers, &options, default(&app), app.clock.now())
}

fn default<P, S, C>(app: &App<P, S, C>) -> Value {
    json!({
        "apiVersion": NAMESPACES.api_version(),
        "kind": NAMESPACES.kind,
        "metadata": {
            "name": DEFAULT,
            "uid": app.controller.object_uid(NAMESPACES.kind, DEFAULT).to_string(),
            // It never changes, and was there before everything else.
            "resourceVersion": "1",
            "creationTimestamp": null,
        },
        "spec": {},
        "status": { "phase": "Active" },
    })
}
