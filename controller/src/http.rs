//! The HTTP API: every route, and who may use it, on this page.
//!
//! | Routes | Who |
//! | --- | --- |
//! | `/livez`, `/readyz`, `/healthz` | everyone |
//! | `/version`, `/status`, `/apis/vaultctl.dev/v1/…`, `/api/v1/events`, and paths that there are not | the operator token |
//!
//! Handlers never call the platform to change something: they change what is desired and wake the
//! reconciler. The `plan` subresource looks at the platform, and only looks; the `connect`
//! subresource tells what the last pass saw.

mod auth;
mod connect;
mod error;
mod events;
mod health;
mod objects;
mod plan;
mod request;
mod secrets;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tokio::sync::{Mutex, Notify, OnceCell, watch};
use vault_api::manifest::MANIFEST_BYTES_MAX;
use vault_plan::identity::ControllerId;

use crate::clock::Clock;
use crate::platform::Platform;
use crate::reconcile::Reconciler;
use crate::store::{Kind, Store};
use crate::view::View;

pub use auth::TokenDigest;

/// What handlers share.
pub struct App<P, S, C> {
    /// Objects are read from and written to it.
    pub store: S,
    /// Tells the time.
    pub clock: C,
    /// The identity that new objects' uids are derived from.
    pub controller: ControllerId,
    /// There once the platform has been reached for the first time.
    pub reconciler: Arc<OnceCell<Reconciler<P, S, C>>>,
    /// The one operator token.
    pub operator: TokenDigest,
    /// Wakes the reconciler.
    pub wake: Arc<Notify>,
    /// What the controller says of itself.
    pub view: watch::Receiver<View>,
    /// A pass older than this, in milliseconds, is not a sign of readiness.
    pub stale_after_ms: i64,
    /// Held while an object is checked against the others and written, so that two writes cannot
    /// each pass a check that the other one makes fail. The folder's intake holds it too.
    pub writing: Arc<Mutex<()>>,
    /// Whether `spec.secrets` is taken over the API too.
    pub allow_api_secrets: bool,
    /// Whether objects may stand in a watched folder.
    pub watches_folder: bool,
}

/// The whole route table.
pub fn router<P: Platform, S: Store, C: Clock>(app: Arc<App<P, S, C>>) -> Router {
    let open = Router::new()
        .route("/livez", get(health::live))
        .route("/healthz", get(health::ready::<P, S, C>))
        .route("/readyz", get(health::ready::<P, S, C>));
    let operator = Router::new()
        .route("/version", get(health::version))
        .route("/status", get(health::status::<P, S, C>))
        .merge(resource::<P, S, C>(Kind::Tenant))
        .merge(resource::<P, S, C>(Kind::TenantClass))
        .route(
            "/apis/vaultctl.dev/v1/tenants/{name}/plan",
            get(plan::current::<P, S, C>).post(plan::hypothetical::<P, S, C>),
        )
        .route("/apis/vaultctl.dev/v1/tenants/{name}/connect", post(connect::create::<P, S, C>))
        .route("/api/v1/events", get(events::list::<P, S, C>))
        .fallback(error::no_such_path)
        .layer(DefaultBodyLimit::max(MANIFEST_BYTES_MAX))
        .layer(from_fn(error::in_our_shape))
        .layer(from_fn_with_state(Arc::clone(&app), auth::require_operator::<P, S, C>));
    open.merge(operator).with_state(app)
}

/// The verbs of one kind.
fn resource<P: Platform, S: Store, C: Clock>(kind: Kind) -> Router<Arc<App<P, S, C>>> {
    let collection = format!("/apis/vaultctl.dev/v1/{}", kind.plural());
    let object = format!("{collection}/{{name}}");
    Router::new()
        .route(
            &collection,
            get(move |state| objects::list::<P, S, C>(kind, state)).post(
                move |state, query, body| objects::create::<P, S, C>(kind, state, query, body),
            ),
        )
        .route(
            &object,
            get(move |state, name| objects::read::<P, S, C>(kind, state, name))
                .put(move |state, name, query, body| {
                    objects::replace::<P, S, C>(kind, state, name, query, body)
                })
                .patch(move |state, name, query, headers, body| {
                    objects::patch::<P, S, C>(kind, state, name, query, headers, body)
                })
                .delete(move |state, name, query, body| {
                    objects::delete::<P, S, C>(kind, state, name, query, body)
                }),
        )
}

#[cfg(test)]
mod tests;
