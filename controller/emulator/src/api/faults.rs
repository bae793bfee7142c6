//! Where calls meet faults, and `/_emulator/faults`, where the operator sees and sets them.
//!
//! ```text
//!   call ─▶ hits? ─▶ wait ─▶ lost, refused ────────────────▶ error, or the connection ends
//!                      │
//!                      └▶ carried out (once or twice) ─▶ answer ─▶ lost, failed, shown otherwise
//! ```
//!
//! A call with the header `vault-emulator-faults: off` meets none: it sees what is.

use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use hyper::body::Frame;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Api, MAX_BODY_BYTES, graphql};
use crate::api::error::ApiError;
use crate::faults::{Call, Fault, Hit, Kind, Reply, Subject};
use crate::tokens::{Caller, OPERATOR};
use crate::world::World;

/// The header with which a call stays out of it.
const SWITCH: &str = "vault-emulator-faults";
/// How often a call that waits for somebody's lease looks again.
const LEASE_TICK: Duration = Duration::from_millis(20);
/// Whoever holds a lease in the platform's stead.
const LEASE_OWNER: &str = "0b9c4f7e-5d21-4c1a-9a53-7f0e6f1f2d10@tokens.fly.io";
/// The largest answer that is rewritten, in bytes: a page of a thousand machines in full.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// `GET /_emulator/faults`
pub(super) async fn show(State(api): State<Api>, caller: Caller) -> Result<Json<Value>, ApiError> {
    operator(&caller)?;
    let now = api.engine.now();
    Ok(Json(api.engine.read(|world| Ok(world.faults().show(now)))?))
}

/// `PUT /_emulator/faults`: these faults, and no others; counts begin anew.
pub(super) async fn replace(
    State(api): State<Api>,
    caller: Caller,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    operator(&caller)?;
    let read = Fault::read_json(&body);
    let faults = read.map_err(|problems| ApiError::BadFaults(problems.to_string()))?;
    set(&api, faults)
}

/// `DELETE /_emulator/faults`: all is well again.
pub(super) async fn clear(State(api): State<Api>, caller: Caller) -> Result<Json<Value>, ApiError> {
    operator(&caller)?;
    set(&api, Vec::new())
}

fn set(api: &Api, faults: Vec<Fault>) -> Result<Json<Value>, ApiError> {
    let shown = api.engine.change(|world, now| {
        world.set_faults(now, faults);
        Ok(world.faults().show(now))
    })?;
    api.engine.look_at_the_clock();
    Ok(Json(shown))
}

fn operator(caller: &Caller) -> Result<(), ApiError> {
    if caller.token_id == OPERATOR { Ok(()) } else { Err(ApiError::OperatorOnly) }
}

/// The layer around all calls of the platform.
pub(super) async fn meet(State(api): State<Api>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_graphql = path == "/graphql";
    let is_platform = path.starts_with("/v1/") || path.starts_with("/api/") || is_graphql;
    let none = api.engine.read(|world| Ok(world.faults().is_empty())).unwrap_or(true);
    if none || !is_platform || is_off(request.headers()) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return ApiError::TooLarge.into_response();
    };
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    let call = match is_graphql {
        true => Call::of_operations(method, path, graphql::operations(&body)),
        false => Call::new(method, path),
    };
    // What is no operation that is known is answered by whoever serves it, and met by no fault.
    if is_graphql && call.operations.is_empty() {
        return next.run(Request::from_parts(parts, body.into())).await;
    }
    let Ok(subject) = api.engine.read(|world| Ok(subject(world, &call, &body))) else {
        // The emulator ends, or cannot go on; the handler says which.
        return next.run(Request::from_parts(parts, body.into())).await;
    };
    let arrived =
        api.engine.change(|world, now| Ok(world.faults_mut().arrive(now, &call, &subject)));
    let hits = arrived.unwrap_or_default();
    let faulted = api.faulted();
    let exchange = Exchange { api, call, subject, parts, body };
    if hits.is_empty() {
        return exchange.run(&hits, next).await;
    }
    // On the platform a call goes on when its caller has left.
    let carried_out = faulted.spawn(async move { exchange.run(&hits, next).await });
    carried_out.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a call that a fault hit did not end");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

pub(crate) fn is_off(headers: &HeaderMap) -> bool {
    headers.get(SWITCH).is_some_and(|value| value == "off")
}

/// One call and what is known of it.
struct Exchange {
    api: Api,
    call: Call,
    subject: Subject,
    parts: Parts,
    body: Bytes,
}

impl Exchange {
    async fn run(self, hits: &[Hit], next: Next) -> Response {
        for hit in hits {
            if let Some(response) = self.before(hit).await {
                return response;
            }
        }
        let mut response = next.clone().run(self.request()).await;
        for hit in hits {
            match &hit.kind {
                Kind::DeliveredTwice => response = next.clone().run(self.request()).await,
                Kind::LostReply => return broken(),
                Kind::ActThenFail(reply) => return self.reply(reply),
                _ => {}
            }
        }
        self.shown(response).await
    }

    /// What a hit does before the call is carried out; an answer if it is not to be.
    async fn before(&self, hit: &Hit) -> Option<Response> {
        match &hit.kind {
            Kind::Latency(delay) => {
                self.api.engine.pause(*delay).await;
                None
            }
            Kind::LostRequest => Some(broken()),
            Kind::Fail(reply) => Some(self.reply(reply)),
            Kind::NameTaken => Some(self.name_taken()),
            Kind::StartRefused(_) => {
                Some(self.refuse(
                    412,
                    "failed_precondition: machine getting replaced, refusing to start",
                ))
            }
            Kind::ForeignLease => self.leased(hit.until).await,
            Kind::DeadHost(reply) => Some(self.dead_host(reply, hit.until)),
            _ => None,
        }
    }

    /// Stop and destroy are not refused but wait; everything else is refused at once.
    async fn leased(&self, until: Option<Timestamp>) -> Option<Response> {
        if !self.call.is_one_of(&["stop-machine", "destroy-machine"]) {
            let machine = self.subject.machine_id.as_deref().unwrap_or_default();
            let expires = until.unwrap_or_else(|| self.api.engine.now() + LEASE_TICK);
            let text = format!(
                "machine ID {machine} lease currently held by {LEASE_OWNER}, expires at {expires}"
            );
            return Some(self.refuse(409, &text));
        }
        let (call, subject) = (&self.call, &self.subject);
        let held = || {
            let now = self.api.engine.now();
            self.api.engine.read(|world| Ok(world.faults().is_leased(now, call, subject)))
        };
        while held().unwrap_or(false) {
            self.api.engine.pause(LEASE_TICK).await;
        }
        None
    }

    fn name_taken(&self) -> Response {
        if self.call.is_write() {
            let error = "Validation failed: Name has already been taken".to_owned();
            let code = Some("name_taken".to_owned());
            return self.reply(&Reply { status: 422, error, code });
        }
        self.refuse(403, "unauthorized")
    }

    fn dead_host(&self, reply: &Reply, until: Option<Timestamp>) -> Response {
        let (Some(app), Some(id)) = (&self.call.app, &self.call.machine) else {
            return self.reply(reply);
        };
        if !self.call.is_one_of(&["destroy-machine"]) {
            return self.reply(reply);
        }
        let Some(caller) = self.parts.extensions.get::<Caller>() else {
            return ApiError::Unauthenticated.into_response();
        };
        let accepted =
            self.api.change_app(caller, app, |world, now| world.strand(now, app, id, until));
        match accepted {
            Ok(()) => Json(json!({ "ok": true })).into_response(),
            Err(error) => error.into_response(),
        }
    }

    /// The answer as faults show it.
    async fn shown(&self, response: Response) -> Response {
        if response.status() != StatusCode::OK {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let Ok(bytes) = to_bytes(body, ANSWER_BYTES_MAX).await else {
            tracing::error!(path = self.call.path, "an answer is too long for faults");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else {
            return Response::from_parts(parts, bytes.into());
        };
        let list = self.parts.uri.path_and_query().map_or("", |list| list.as_str());
        let changed = self
            .api
            .engine
            .change(|world, now| Ok(world.faults_mut().answer(now, &self.call, list, &mut value)));
        if !changed.unwrap_or(false) {
            return Response::from_parts(parts, bytes.into());
        }
        parts.headers.remove(http::header::CONTENT_LENGTH);
        Response::from_parts(parts, value.to_string().into())
    }

    fn refuse(&self, status: u16, text: &str) -> Response {
        self.reply(&Reply { status, error: text.to_owned(), code: None })
    }

    fn reply(&self, reply: &Reply) -> Response {
        let fill = |text: &Option<String>| text.clone().unwrap_or_default();
        let error = reply
            .error
            .replace("{machine}", &fill(&self.subject.machine_id))
            .replace("{name}", &fill(&self.subject.machine_name))
            .replace("{volume}", &fill(&self.subject.volume));
        let mut body = json!({ "error": error });
        if let Some(code) = &reply.code {
            body["status"] = json!(code);
        }
        let status = StatusCode::from_u16(reply.status);
        (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
    }

    fn request(&self) -> Request {
        Request::from_parts(self.parts.clone(), self.body.clone().into())
    }
}

/// What a call is about: by its path if that names something, else by its body.
fn subject(world: &World, call: &Call, body: &[u8]) -> Subject {
    let app = call.app.clone();
    if let (Some(app), Some(id)) = (&call.app, &call.machine) {
        let known = world.machine(app, id).map(Subject::of);
        return known.unwrap_or_else(|_| Subject {
            app: Some(app.clone()),
            machine_id: Some(id.clone()),
            ..Subject::default()
        });
    }
    if let (Some(app), Some(id)) = (&call.app, &call.volume) {
        let region = world.volume(app, id).map(|volume| volume.region.clone()).ok();
        let (app, volume) = (Some(app.clone()), Some(id.clone()));
        return Subject { app, volume, region, ..Subject::default() };
    }
    let read: Value = match call.is_write() {
        true => serde_json::from_slice(body).unwrap_or_default(),
        false => Value::Null,
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let is_machine = call.is_one_of(&["create-machine"]);
    let named = text(&read["name"]).or_else(|| text(&read["app_name"]));
    Subject {
        app: app.or_else(|| named.clone().filter(|_| call.is_one_of(&["create-app"]))),
        machine_name: named.filter(|_| is_machine),
        region: text(&read["region"]),
        volume: text(&read["config"]["mounts"][0]["volume"]),
        ..Subject::default()
    }
}

/// An answer of which nothing arrives: its body fails before the first byte is written, and with it
/// the connection ends.
pub(crate) fn broken() -> Response {
    let mut response = Response::new(Body::new(Broken));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// A body that cannot be read.
struct Broken;

impl hyper::body::Body for Broken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Err(std::io::Error::other("a fault ends this connection"))))
    }
}
