//! What a machine is served on its own socket. It needs no token: the socket says who asks.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;

use super::extract::{Body, MachinePath, Nonce, Path};
use super::hooks;
use super::machines::done;
use super::oidc::not_issued;
use super::requests::CreateOidcToken;
use crate::api::error::ApiError;
use crate::engine::{Engine, EngineError};
use crate::oidc::{AUDIENCE_BYTES_MAX, Issuer, Wish};
use crate::world::{Identity, Refusal};

/// The largest request body, in bytes: an audience, every byte of it escaped, and a switch.
const BODY_BYTES_MAX: usize = 8 * AUDIENCE_BYTES_MAX;

/// What the handlers of one machine's socket work with.
#[derive(Clone)]
struct Own {
    engine: Arc<Engine>,
    issuer: Arc<Issuer>,
    identity: Arc<Identity>,
}

/// All routes of a machine's socket. The rest of the platform's API is not served there.
pub(crate) fn routes(engine: Arc<Engine>, issuer: Arc<Issuer>, identity: Arc<Identity>) -> Router {
    let own = Own { engine, issuer, identity };
    Router::new()
        .route("/v1/tokens/oidc", post(create_token))
        .route("/v1/apps/{app}/machines/{machine}/suspend", post(suspend))
        .fallback(async || ApiError::NoSuchRoute)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(own.clone(), stamp))
        .with_state(own)
}

/// A token for whoever the machine wants to show it to; the answer is the token alone.
async fn create_token(
    State(own): State<Own>,
    Body(body): Body<CreateOidcToken>,
) -> Result<String, ApiError> {
    let audience = body.aud.filter(|audience| !audience.is_empty());
    if audience.as_ref().is_some_and(|audience| audience.len() > AUDIENCE_BYTES_MAX) {
        let text = format!("aud: at most {AUDIENCE_BYTES_MAX} bytes");
        return Err(ApiError::Malformed(text));
    }
    let wish = Wish { audience, aws_principal_tags: body.aws_principal_tags.unwrap_or_default() };
    let now = own.engine.now();
    own.issuer.token(&own.identity, wish, now).await.map_err(not_issued)
}

/// A machine puts itself to sleep, and nobody else.
async fn suspend(
    State(own): State<Own>,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    nonce: Nonce,
) -> Result<Json<Value>, ApiError> {
    if app != own.identity.app || machine != own.identity.machine_id {
        return Err(EngineError::Refused(Refusal::Unauthorized).into());
    }
    own.engine.change(|world, now| {
        world.check_lease(now, &app, &machine, nonce.0.as_deref())?;
        world.suspend_machine(now, &app, &machine)
    })?;
    Ok(done())
}

async fn stamp(State(own): State<Own>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    hooks::stamp(&own.engine, &mut response);
    response
}
