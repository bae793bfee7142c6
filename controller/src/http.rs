//! The HTTP API: every route, and who may use it, on this page.
//!
//! | Routes | Who |
//! | --- | --- |
//! | `/livez`, `/readyz`, `/healthz` | everyone |
//! | all others, and paths that there are not | bearers of operator tokens, as [`roles`] says |
//!
//! Handlers never call the platform to change something: they change what is desired and wake the
//! reconciler. The `plan` and `diagnosis` subresources look at the platform, and only look; the
//! `connect` subresource tells what the last pass saw.

mod audit;
mod auth;
mod body;
mod caller;
mod columns;
mod connect;
mod delete;
mod diagnosis;
mod discovery;
mod error;
mod events;
mod fields;
mod forms;
mod health;
mod list;
mod metrics;
mod namespaces;
mod objects;
mod openapi;
mod operator_tokens;
mod operators;
mod options;
mod orphans;
mod others;
mod patch;
mod plan;
mod reading;
mod request;
mod resources;
mod roles;
mod secrets;
mod status;
mod tenant_status;
mod token;
mod trace;
mod undelete;
mod usage;
mod watching;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tokio::sync::{Mutex, Notify, OnceCell, Semaphore, watch};
use vault_api::manifest::MANIFEST_BYTES_MAX;
use vault_api::status::TenantStatus;
use vault_plan::desired::DesiredTenant;
use vault_plan::identity::ControllerId;
use vault_plan::time::UnixMillis;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::platform::Platform;
use crate::reconcile::{Objects, Reconciler};
use crate::store::{ApiStore, Kind, Store};
use crate::view::View;

use error::ApiError;

pub use caller::Caller;
pub use diagnosis::DIAGNOSES_MAX;
pub use operators::Operators;
pub use plan::PLANS_MAX;
pub use watching::{Feeds, Topic};
pub use writes::Writes;

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
    /// The tokens that are known.
    pub operators: Operators,
    /// Wakes the reconciler.
    pub wake: Arc<Notify>,
    /// What the controller says of itself.
    pub view: watch::Receiver<View>,
    /// A pass older than this, in milliseconds, is not a sign of readiness.
    pub stale_after_ms: i64,
    /// Held while an object is checked against the others and written, so that two writes cannot
    /// each pass a check that the other one makes fail. The folder's intake holds it too.
    pub writing: Arc<Mutex<()>>,
    /// The writes that are under way.
    pub writes: Writes,
    /// Whether `spec.secrets` is taken over the API too.
    pub allow_api_secrets: bool,
    /// Whether objects may stand in a watched folder.
    pub watches_folder: bool,
    /// Whether a tenant is deleted when its document stays away from that folder.
    pub prunes_folder: bool,
    /// Tell watchers what happens.
    pub feeds: Feeds,
    /// How long deleted machines stay in the usage facts.
    pub usage_retention: Duration,
    /// A permit per diagnosis that is made.
    pub diagnoses: Semaphore,
    /// A permit per plan that is made for somebody who asks.
    pub plans: Semaphore,
    /// What is counted while the controller runs.
    pub metrics: Arc<Metrics>,
    /// The most tenants for which there are series of their own.
    pub metrics_tenants_max: usize,
    /// When the controller was started.
    pub started_at: UnixMillis,
}

impl<P: Platform, S: Store, C: Clock> App<P, S, C> {
    /// What looks at the platform; an error until that has been reached.
    fn reconciler(&self) -> Result<&Reconciler<P, S, C>, ApiError> {
        let message = "the platform has not been reached yet";
        self.reconciler.get().ok_or_else(|| ApiError::Unavailable(message.to_owned()))
    }

    /// One tenant as its objects want it, with its status.
    async fn desired_tenant(
        &self,
        name: &str,
    ) -> Result<(DesiredTenant, Option<TenantStatus>), ApiError> {
        let not_found = || ApiError::NotFound(Kind::Tenant, name.to_owned());
        let config = self.reconciler()?.config();
        let (mut objects, status) =
            Objects::of_tenant(&self.store, name).await?.ok_or_else(not_found)?;
        let tenant = objects.desired(config).tenants.pop().ok_or_else(not_found)?;
        Ok((tenant, status))
    }
}

/// The whole route table.
pub fn router<P: Platform, S: ApiStore, C: Clock>(app: Arc<App<P, S, C>>) -> Router {
    let open = Router::new()
        .route("/livez", get(health::live))
        .route("/healthz", get(health::ready::<P, S, C>))
        .route("/readyz", get(health::ready::<P, S, C>));
    let operator = Router::new()
        .route("/version", get(health::version))
        .route("/status", get(status::read::<P, S, C>))
        .merge(resource::<P, S, C>(Kind::Tenant))
        .merge(resource::<P, S, C>(Kind::TenantClass))
        .route(
            "/apis/vaultctl.dev/v1/tenants/{name}/plan",
            get(plan::current::<P, S, C>).post(plan::hypothetical::<P, S, C>),
        )
        .route("/apis/vaultctl.dev/v1/tenants/{name}/connect", post(connect::create::<P, S, C>))
        .route("/apis/vaultctl.dev/v1/tenants/{name}/token", post(token::fetch::<P, S, C>))
        .merge(discovery_routes())
        .merge(core_routes::<P, S, C>())
        .route(
            "/apis/vaultctl.dev/v1/tenants/{name}/status",
            get(|state, caller, name, query, headers| {
                reading::read::<P, S, C>(Kind::Tenant, state, caller, name, query, headers)
            })
            .put(tenant_status::replace::<P, S, C>)
            .patch(tenant_status::patch::<P, S, C>),
        )
        .route(
            "/apis/vaultctl.dev/v1/operatortokens",
            get(operator_tokens::list::<P, S, C>).post(operator_tokens::create::<P, S, C>),
        )
        .route(
            "/apis/vaultctl.dev/v1/operatortokens/{name}",
            get(operator_tokens::read::<P, S, C>).delete(operator_tokens::delete::<P, S, C>),
        )
        .route("/apis/vaultctl.dev/v1/tenants/{name}/diagnosis", get(diagnosis::read::<P, S, C>))
        .route("/apis/vaultctl.dev/v1/tenants/{name}/undelete", post(undelete::undelete::<P, S, C>))
        .route("/orphans", get(orphans::list::<P, S, C>))
        .route("/apis/vaultctl.dev/v1/tenants/{name}/trace", get(trace::read::<P, S, C>))
        .route("/audit-log", get(audit::list::<P, S, C>))
        .route("/metrics", get(metrics::read::<P, S, C>))
        .route("/usage-facts", get(usage::list::<P, S, C>))
        .fallback(error::no_such_path)
        .layer(DefaultBodyLimit::max(MANIFEST_BYTES_MAX))
        // From here on, a request meets what stands last first.
        .layer(from_fn_with_state(Arc::clone(&app), roles::authorize::<P, S, C>))
        .layer(from_fn(error::in_our_shape))
        .layer(from_fn_with_state(Arc::clone(&app), audit::keep::<P, S, C>))
        .layer(from_fn_with_state(Arc::clone(&app), auth::authenticate::<P, S, C>));
    open.merge(operator).with_state(app)
}

/// What clients find the resources by.
fn discovery_routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/api", get(discovery::core))
        .route("/api/v1", get(discovery::core_resources))
        .route("/apis", get(discovery::groups))
        .route("/apis/{group}", get(discovery::group))
        .route("/apis/vaultctl.dev/v1", get(discovery::our_resources))
        .route("/openapi/v2", get(openapi::v2::document))
        .route("/openapi/v3", get(openapi::index))
        .route("/openapi/v3/api/v1", get(openapi::core))
        .route("/openapi/v3/apis/vaultctl.dev/v1", get(openapi::ours))
}

/// The core group, read-only.
fn core_routes<P: Platform, S: ApiStore, C: Clock>() -> Router<Arc<App<P, S, C>>> {
    Router::new()
        .route("/api/v1/events", get(events::list::<P, S, C>))
        .route("/api/v1/namespaces", get(namespaces::list::<P, S, C>))
        .route("/api/v1/namespaces/{namespace}", get(namespaces::read::<P, S, C>))
        .route("/api/v1/namespaces/{namespace}/events", get(events::list_in_namespace::<P, S, C>))
        .route("/api/v1/namespaces/{namespace}/events/{name}", get(events::read::<P, S, C>))
}

/// The verbs of one kind.
fn resource<P: Platform, S: ApiStore, C: Clock>(kind: Kind) -> Router<Arc<App<P, S, C>>> {
    let collection = format!("/apis/vaultctl.dev/v1/{}", kind.plural());
    let object = format!("{collection}/{{name}}");
    Router::new()
        .route(
            &collection,
            get(move |state, caller, query, headers| {
                reading::list::<P, S, C>(kind, state, caller, query, headers)
            })
            .post(move |state, request| objects::create::<P, S, C>(kind, state, request)),
        )
        .route(
            &object,
            get(move |state, caller, name, query, headers| {
                reading::read::<P, S, C>(kind, state, caller, name, query, headers)
            })
            .put(move |state, name, request| {
                objects::replace::<P, S, C>(kind, state, name, request)
            })
            .patch(move |state, name, request| {
                objects::patch::<P, S, C>(kind, state, name, request)
            })
            .delete(move |state, name, request| {
                delete::delete::<P, S, C>(kind, state, name, request)
            }),
        )
}

#[cfg(test)]
mod tests;
