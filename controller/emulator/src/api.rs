//! The Machines API over the world: the whole route table, and what every handler shares.

pub mod error;
pub mod hooks;

mod addresses;
mod apps;
mod certificates;
mod exec;
mod extract;
pub(crate) mod faults;
mod graphql;
mod leases;
mod lists;
mod logs;
pub(crate) mod machine;
mod machines;
mod metadata;
mod oidc;
mod organizations;
mod platform;
mod policies;
mod requests;
mod running;
mod secrets;
mod volumes;
mod wait;
mod wire;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{DefaultBodyLimit, RawPathParams, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use http::header::AUTHORIZATION;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use self::error::ApiError;
use self::extract::Nonce;
use self::hooks::Hooks;
use crate::engine::{Engine, EngineError};
use crate::oidc::Issuer;
use crate::rate_limit::{Action, RateLimiter};
use crate::runner::MachineRunner;
use crate::tokens::{self, Caller, Tokens};
use crate::world::{App, Order, Refusal, World};

/// The largest request body: a machine config with a few inlined files.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Commands in machines at once: each costs two processes, a thread and up to two megabytes.
const VISITS_MAX: usize = 64;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct Api {
    engine: Arc<Engine>,
    tokens: Arc<Tokens>,
    issuer: Arc<Issuer>,
    limiter: Option<Arc<Mutex<RateLimiter>>>,
    /// Calls that faults hit; they are carried out even if their callers leave.
    faulted: TaskTracker,
    runner: Option<Arc<dyn MachineRunner>>,
    visits: Arc<Semaphore>,
}

/// The whole API. It owns the root of its port, because clients drop any path from the base URL.
pub(crate) fn routes(api: Api, hooks: Hooks) -> Router {
    let machine = "/v1/apps/{app}/machines/{machine}";
    let volume = "/v1/apps/{app}/volumes/{volume}";
    let below = |resource: &str, path: &str| format!("{resource}{path}");
    Router::new()
        .route("/v1/apps", get(apps::list).post(apps::create))
        .route("/v1/apps/{app}", get(apps::show).delete(apps::delete))
        .route("/v1/apps/{app}/deploy_token", post(apps::create_deploy_token))
        .route("/v1/apps/{app}/machines", get(machines::list).post(machines::create))
        .route(machine, get(machines::show).post(machines::update).delete(machines::destroy))
        .route(&below(machine, "/start"), post(machines::start))
        .route(&below(machine, "/stop"), post(machines::stop))
        .route(&below(machine, "/restart"), post(machines::restart))
        .route(&below(machine, "/events"), get(machines::events))
        .route(&below(machine, "/wait"), get(wait::wait))
        .merge(running::routes())
        .merge(leases::routes())
        .merge(exec::routes())
        .merge(addresses::routes())
        .merge(certificates::routes())
        .merge(policies::routes())
        .merge(graphql::routes())
        .merge(logs::routes())
        .route(
            &below(machine, "/metadata"),
            get(metadata::all).put(metadata::merge).patch(metadata::merge),
        )
        .route(
            &below(machine, "/metadata/{key}"),
            get(metadata::show).post(metadata::set).delete(metadata::remove),
        )
        .route("/v1/apps/{app}/secrets", get(secrets::list).post(secrets::change))
        .route(
            "/v1/apps/{app}/secrets/{name}",
            get(secrets::show).post(secrets::set).delete(secrets::delete),
        )
        .route("/v1/apps/{app}/volumes", get(volumes::list).post(volumes::create))
        .route(volume, get(volumes::show).put(volumes::update).delete(volumes::delete))
        .route(&below(volume, "/snapshots"), get(volumes::snapshots).post(volumes::take_snapshot))
        .route(&below(volume, "/extend"), put(volumes::extend))
        .route("/v1/orgs/{org}/machines", get(organizations::machines))
        .route("/v1/orgs/{org}/volumes", get(organizations::volumes))
        .route("/v1/tokens/current", get(platform::current_tokens))
        .route("/v1/tokens/oidc", post(platform::machine_tokens))
        .route("/v1/platform/regions", get(platform::regions))
        .route("/_emulator/faults", get(faults::show).put(faults::replace).delete(faults::clear))
        .route("/v1/platform/placements", post(platform::placements))
        .fallback(async || ApiError::NoSuchRoute)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(api.clone(), faults::meet))
        .layer(from_fn_with_state(api.clone(), authenticate))
        // From here on without a token: what is public by its nature.
        .route("/oidc/{org}/.well-known/openid-configuration", get(oidc::discovery))
        .route("/oidc/{org}/.well-known/jwks", get(oidc::key_set))
        .layer(from_fn_with_state((Arc::clone(&api.engine), hooks), hooks::observe))
        .with_state(api)
}

impl Api {
    pub(crate) fn new(
        engine: Arc<Engine>,
        tokens: Arc<Tokens>,
        issuer: Arc<Issuer>,
        rate_limits: bool,
        runner: Option<Arc<dyn MachineRunner>>,
    ) -> Self {
        let limiter = rate_limits.then(Arc::default);
        let visits = Arc::new(Semaphore::new(VISITS_MAX));
        Self { engine, tokens, issuer, limiter, faulted: TaskTracker::new(), runner, visits }
    }

    /// The calls that outlive their connections; to be waited for when the emulator ends.
    pub(crate) fn faulted(&self) -> TaskTracker {
        self.faulted.clone()
    }

    /// Whose token a header has: one of this emulator's own, or an app's.
    fn caller(&self, header: &str) -> Result<Option<Caller>, ApiError> {
        if let Some(known) = self.tokens.caller(header) {
            return Ok(Some(known.clone()));
        }
        let now = self.engine.now();
        let digests: Vec<String> = tokens::credentials(header).map(tokens::digest).collect();
        let caller = |id: &str, org: &str, app: Option<&str>| Caller {
            token_id: id.to_owned(),
            orgs: Arc::new(BTreeSet::from([org.to_owned()])),
            reads_secrets: false,
            app: app.map(str::to_owned),
        };
        let found = self.engine.read(|world| {
            let mut callers = digests.iter().filter_map(|digest| {
                let deploy = world.deploy_token(now, digest);
                let deploy = deploy.map(|token| caller(&token.name, &token.org, Some(&token.app)));
                deploy.or_else(|| {
                    let token = world.limited_token(now, digest)?;
                    Some(caller(&token.id, &token.org, token.app.as_deref()))
                })
            });
            Ok(callers.next())
        });
        Ok(found?)
    }

    /// Counts a request against its limit.
    fn admit(&self, action: Action, identifier: &str) -> Result<(), ApiError> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        let now = self.engine.now();
        let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
        if limiter.admit(now, action, identifier) { Ok(()) } else { Err(ApiError::RateLimited) }
    }

    /// Reads something of an app that the caller may use.
    fn read_app<R>(
        &self,
        caller: &Caller,
        app: &str,
        look: impl FnOnce(&World, &App) -> Result<R, Refusal>,
    ) -> Result<R, ApiError> {
        let looked =
            self.engine.read(|world| look(world, world.app(app, |org| caller.may_use(org, app))?));
        Ok(looked?)
    }

    /// Changes something in an app that the caller may use.
    fn change_app<R>(
        &self,
        caller: &Caller,
        app: &str,
        change: impl FnOnce(&mut World, jiff::Timestamp) -> Result<R, Refusal>,
    ) -> Result<R, ApiError> {
        let changed = self.engine.change(|world, now| {
            world.app(app, |org| caller.may_use(org, app))?;
            change(world, now)
        });
        Ok(changed?)
    }

    /// The same with one machine, which nobody else may have a lease on.
    fn change_machine<R>(
        &self,
        caller: &Caller,
        (app, machine): (&str, &str),
        nonce: &Nonce,
        change: impl FnOnce(&mut World, jiff::Timestamp) -> Result<R, Refusal>,
    ) -> Result<R, ApiError> {
        self.change_app(caller, app, |world, now| {
            world.check_lease(now, app, machine, nonce.0.as_deref())?;
            change(world, now)
        })
    }

    /// Has a machine stopped or destroyed, after the lease of whoever else has one. The order stands
    /// also if the caller leaves.
    async fn order(
        &self,
        caller: &Caller,
        (app, machine): (&str, &str),
        nonce: &Nonce,
        order: Order,
    ) -> Result<(), ApiError> {
        let ticket = self.change_app(caller, app, |world, now| {
            world.order(now, (app, machine), nonce.0.as_deref(), order)
        })?;
        if let Some(ticket) = ticket {
            let verdict = self.engine.until(machine, |world| world.verdict(machine, &ticket));
            verdict.await?.map_err(EngineError::from)?;
        }
        Ok(())
    }
}

impl Caller {
    fn may_use(&self, org: &str, app: &str) -> bool {
        self.orgs.contains(org) && self.app.as_deref().is_none_or(|own| own == app)
    }

    fn may_use_all_of(&self, org: &str) -> bool {
        self.orgs.contains(org) && self.app.is_none()
    }
}

/// Every route of `/v1` has the same way in: a known token, which opens the app if one is named. What
/// comes after, limits among it, is for those who may use the app, so that nobody uses up another's.
async fn authenticate(
    State(api): State<Api>,
    names: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let caller = header.map(|header| api.caller(header));
    let caller = match caller.unwrap_or(Ok(None)) {
        Ok(Some(caller)) => caller,
        Ok(None) => return ApiError::Unauthenticated.into_response(),
        Err(error) => return error.into_response(),
    };
    // A path that is no text names no app; its handler says what is wrong with it.
    let app = names.ok().and_then(|names| {
        let mut named = names.iter().filter(|(name, _)| *name == "app");
        named.next().map(|(_, app)| app.to_owned())
    });
    if let Some(Err(error)) = app.map(|app| api.read_app(&caller, &app, |_, _| Ok(())))
        && matches!(error, ApiError::Engine(EngineError::Refused(Refusal::Unauthorized)))
    {
        return error.into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}
