//! The reading verbs of tenants and classes: get, list, watch.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::App;
use super::caller::Caller;
use super::error::ApiError;
use super::options::ListOptions;
use super::resources::Resource;
use super::watching::{self, Topic};
use super::{list, objects};
use crate::accept::to_json;
use crate::clock::Clock;
use crate::platform::Platform;
use crate::store::{ApiStore, Kind};

/// The objects of a kind, or what happens to them.
pub(super) async fn list<P: Platform, S: ApiStore, C: Clock>(
    kind: Kind,
    State(app): State<Arc<App<P, S, C>>>,
    Extension(caller): Extension<Caller>,
    Query(options): Query<ListOptions>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    match options.is_watch()? {
        true => watching::answer(&app, &caller, Topic::Objects(kind), &headers, &options).await,
        false => list::objects(&app, &caller, kind, &headers, &options).await,
    }
}

/// One object.
pub(super) async fn read<P: Platform, S: ApiStore, C: Clock>(
    kind: Kind,
    State(app): State<Arc<App<P, S, C>>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(options): Query<ListOptions>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let object = to_json(&objects::existing(&app, &caller, kind, &name).await?);
    list::single(Resource::of(kind), &headers, &options, object, app.clock.now())
}
