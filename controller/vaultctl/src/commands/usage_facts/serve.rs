//! The listener of `vaultctl usage-facts --listen`.
//!
//! ```text
//!   billing ── GET /usage-facts, bearer token ──▶ here ── operator token, TLS ──▶ controller
//!           ◀───────────── streamed as it comes, or 502 and why ───────────────┘
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::try_unfold;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::error::{Exit, Failure, describe};
use crate::output::Output;

/// How many connections may be open at once: billing systems are few, and each answer that is under
/// way holds a connection to the controller.
const CONNECTIONS_MAX: usize = 64;
/// How long the head of a request may take; it also ends connections on which nothing is asked.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How many bytes the head of a request may have: a token and a path take a few hundred.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long to wait when a connection could not be accepted: mostly there are no file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct Shared {
    client: Client,
    /// Only this tenant is served.
    tenant: Option<String>,
    /// Digests of equal length are compared: the time tells nothing of the token, not even that.
    token: [u8; 32],
}

/// Serves until it is interrupted.
pub(super) async fn serve(
    address: SocketAddr,
    client: Client,
    tenant: Option<String>,
    token: &SecretString,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    use tokio::signal::unix::{SignalKind, signal};

    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::new(Exit::BadInput, format!("cannot listen on {address}: {error}"))
    })?;
    let bound = listener.local_addr().context("the listener has no address")?;
    output.line(&format!("serving usage facts at http://{bound}/usage-facts"))?;
    if !bound.ip().is_loopback() {
        output.note("the token and the facts go in clear: put something in front that speaks TLS");
    }
    let token = Sha256::digest(token.expose_secret().as_bytes()).into();
    let router = router(Arc::new(Shared { client, tenant, token }));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // All arms are cancel-safe: what is dropped is the listener, at the end of the program.
    tokio::select! {
        () = accept(listener, router) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(Exit::Success)
}

/// Takes connections for ever; their tasks end with it.
async fn accept(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed. Whoever finds no seat waits in the system's queue.
        let seat = Arc::clone(&room).acquire_owned().await;
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let _seat = seat;
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            // A client that went away is its own business.
            drop(connection.await);
        });
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/usage-facts", get(facts))
        .with_state(shared)
}

/// Which facts. An option that there is not is refused: a slip would show everybody's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    tenant: Option<String>,
}

async fn facts(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    options: Result<Query<Options>, axum::extract::rejection::QueryRejection>,
) -> Response {
    if !is_authorized(&shared, &headers) {
        let answer = refuse(StatusCode::UNAUTHORIZED, "send the token as Authorization: Bearer …");
        return ([(WWW_AUTHENTICATE, "Bearer")], answer).into_response();
    }
    let asked = match options {
        Ok(Query(options)) => options.tenant.filter(|tenant| !tenant.is_empty()),
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.body_text()),
    };
    let tenant = match (&shared.tenant, asked) {
        (Some(served), Some(asked)) if *served != asked => {
            let message = format!("only facts of tenant {served} are served here");
            return refuse(StatusCode::FORBIDDEN, &message);
        }
        (served, asked) => served.clone().or(asked),
    };
    match shared.client.usage_facts_stream(tenant.as_deref()).await {
        Ok(answer) => {
            // What breaks off there breaks off here: half a list never looks like all of it.
            let stream = try_unfold(answer, async |mut answer: reqwest::Response| {
                let chunk = answer.chunk().await?;
                Ok::<_, reqwest::Error>(chunk.map(|chunk| (chunk, answer)))
            });
            let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
            (headers, Body::from_stream(stream)).into_response()
        }
        Err(error) => refuse(StatusCode::BAD_GATEWAY, &describe(&error.into())),
    }
}

fn is_authorized(shared: &Shared, headers: &HeaderMap) -> bool {
    let presented = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    let presented: [u8; 32] = Sha256::digest(presented.trim().as_bytes()).into();
    shared.token.ct_eq(&presented).into()
}

fn refuse(code: StatusCode, message: &str) -> Response {
    (code, Json(json!({ "error": message }))).into_response()
}
