//! What happens around every request: its number, its id, and the hooks of tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;
use ulid::Ulid;

use crate::engine::Engine;
use crate::world::region::NEAREST;

/// Called on arrival of a request to `/v1`, before it acts.
pub type RequestHook = Arc<dyn Fn(&RequestInfo) + Send + Sync>;
/// Called when an answer of `/v1` is ready, before its bytes leave.
pub type AnswerHook = Arc<dyn Fn(&AnswerInfo) + Send + Sync>;

/// A request that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// Answers given so far.
    pub answers: u64,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
}

/// An answer that is about to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerInfo {
    /// 1 for the first answer since the start.
    pub sequence: u64,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The HTTP status.
    pub status: u16,
}

/// The hooks and the count that they share.
#[derive(Clone)]
pub(crate) struct Hooks {
    on_request: Option<RequestHook>,
    on_answer: Option<AnswerHook>,
    answers: Arc<AtomicU64>,
}

impl Hooks {
    pub(crate) fn new(on_request: Option<RequestHook>, on_answer: Option<AnswerHook>) -> Self {
        Self { on_request, on_answer, answers: Arc::default() }
    }
}

/// The outermost layer: whatever answers, a refused token included, passes here.
pub(crate) async fn observe(
    State((engine, hooks)): State<(Arc<Engine>, Hooks)>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let counted = path.starts_with("/v1/");
    if let Some(hook) = hooks.on_request.as_ref().filter(|_| counted) {
        let answers = hooks.answers.load(Ordering::SeqCst);
        hook(&RequestInfo { answers, method: method.clone(), path: path.clone() });
    }
    let mut response = next.run(request).await;
    let id = stamp(&engine, &mut response);
    tracing::debug!(method, path, status = response.status().as_u16(), id, "answered");
    if counted {
        let sequence = hooks.answers.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(hook) = &hooks.on_answer {
            hook(&AnswerInfo { sequence, method, path, status: response.status().as_u16() });
        }
    }
    response
}

/// Puts the headers on an answer that every answer of the platform has; returns the request's id.
pub(crate) fn stamp(engine: &Engine, response: &mut Response) -> String {
    let id = request_id(engine);
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("fly-request-id", id);
    }
    headers.insert("server", HeaderValue::from_static("Fly/vault-emulator"));
    id
}

/// A ULID, a dash, and the region of the edge.
fn request_id(engine: &Engine) -> String {
    let mut random = [0; 16];
    // An id that repeats is a nuisance, a refused answer would be worse.
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::warn!(%error, "no randomness for a request id");
    }
    let milliseconds = u64::try_from(engine.now().as_millisecond()).unwrap_or(0);
    format!("{}-{NEAREST}", Ulid::from_parts(milliseconds, u128::from_be_bytes(random)))
}
