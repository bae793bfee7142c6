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

/// Called on arrival of a request to one of the interfaces, before it acts.
pub type RequestHook = Arc<dyn Fn(&RequestInfo) + Send + Sync>;
/// Called when an answer of one of the interfaces is ready, before its bytes leave.
pub type AnswerHook = Arc<dyn Fn(&AnswerInfo) + Send + Sync>;

/// What of the platform a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The Machines API: `/v1`.
    Machines,
    /// GraphQL: `/graphql`.
    GraphQl,
    /// S3 and IAM, on their own listener.
    Storage,
}

impl Interface {
    /// The one on the API's listener that a path belongs to; `None` of what only people and machines
    /// read there.
    fn at(path: &str) -> Option<Self> {
        match path {
            "/graphql" => Some(Self::GraphQl),
            _ if path.starts_with("/v1/") => Some(Self::Machines),
            _ => None,
        }
    }
}

/// A request that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInfo {
    /// What it came to.
    pub interface: Interface,
    /// Answers of all interfaces so far.
    pub answers: u64,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
}

/// An answer that is about to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerInfo {
    /// What answers.
    pub interface: Interface,
    /// 1 for the first answer of any interface since the start.
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

    /// Has a request answered, and tells of it before and after.
    async fn around(&self, interface: Interface, request: Request, next: Next) -> Response {
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        if let Some(hook) = &self.on_request {
            let answers = self.answers.load(Ordering::SeqCst);
            hook(&RequestInfo { interface, answers, method: method.clone(), path: path.clone() });
        }
        let response = next.run(request).await;
        let sequence = self.answers.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(hook) = &self.on_answer {
            let status = response.status().as_u16();
            hook(&AnswerInfo { interface, sequence, method, path, status });
        }
        response
    }
}

/// The outermost layer of the API: whatever answers, a refused token included, passes here.
pub(crate) async fn observe(
    State((engine, hooks)): State<(Arc<Engine>, Hooks)>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let mut response = match Interface::at(&path) {
        Some(interface) => hooks.around(interface, request, next).await,
        None => next.run(request).await,
    };
    let id = stamp(&engine, &mut response);
    tracing::debug!(method, path, status = response.status().as_u16(), id, "answered");
    response
}

/// The outermost layer of object storage.
pub(crate) async fn observe_storage(
    State(hooks): State<Hooks>,
    request: Request,
    next: Next,
) -> Response {
    hooks.around(Interface::Storage, request, next).await
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
