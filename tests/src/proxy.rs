//! A proxy between controller and platform: it numbers answers, says when one passes, loses one.
//!
//! ```text
//!   controller ── request ──▶ Requested ──▶ forward ──▶ platform acts
//!       ▲                                                   │
//!       └── Delivered ◀── on the wire ◀── Answered ◀────────┘
//!                                            └── the k-th write: its connection is closed instead
//! ```
//!
//! Only what the controller asks is numbered: a story's own calls go to the platform itself.

mod stream;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::world::controller::Moment;
use stream::{Handed, Watched};

/// A page of a list is the largest body; this is far above a thousand machines with their configs.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Called at each moment of each answer, with the answer's number; for [`Moment::Requested`] with
/// the number of answers before the request. It may block for as long as a process takes to die.
pub type MomentHook = Arc<dyn Fn(Moment, u64) + Send + Sync>;

/// A call that changed something, or was to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The number of its answer among all answers, from 1.
    pub answer: u64,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// What the platform answered.
    pub status: u16,
}

/// A running proxy. Dropped, it closes all connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

struct Shared {
    upstream: SocketAddr,
    http: reqwest::Client,
    hook: MomentHook,
    answers: AtomicU64,
    refuses: AtomicBool,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    /// Every write that the platform answered, in the order of its answers.
    writes: Vec<Write>,
    /// The number of the write whose answer is to be lost, from 1.
    to_lose: Option<usize>,
    lost: Option<Write>,
}

/// Why a connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("the proxy refuses for now")]
    Refused,
    #[error("the answer is lost on purpose")]
    Lost,
    #[error("the platform did not answer")]
    Platform(#[from] reqwest::Error),
    #[error("the request could not be read")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the answer could not be passed on")]
    Answer(#[from] hyper::http::Error),
}

impl Proxy {
    /// Starts a proxy on a free port of this machine.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(upstream: SocketAddr, hook: MomentHook) -> anyhow::Result<Self> {
        crate::client::install_provider();
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("a port for the proxy")?;
        let shared = Arc::new(Shared {
            upstream,
            http,
            hook,
            answers: AtomicU64::new(0),
            refuses: AtomicBool::new(false),
            ledger: Mutex::default(),
        });
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _serving: serving })
    }

    /// The base of all URLs, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many answers of the platform have arrived.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::SeqCst)
    }

    /// Every write that the platform has answered, in the order of its answers.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.shared.ledger().writes.clone()
    }

    /// Loses the answer of the `number`-th write since the start, from 1: the platform acts, and
    /// the controller's connection is closed without a byte.
    pub fn lose_write(&self, number: usize) {
        self.shared.ledger().to_lose = Some(number);
    }

    /// The write whose answer was lost, once it was.
    #[must_use]
    pub fn lost(&self) -> Option<Write> {
        self.shared.ledger().lost.clone()
    }

    /// While it refuses, requests are not passed on: for the controller the platform is gone.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(
        &self,
        request: Request<Incoming>,
        handed: &Handed,
    ) -> Result<Response<Full<Bytes>>, Closed> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Closed::Refused);
        }
        (self.hook)(Moment::Requested, self.answers());
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let url = format!("http://{}{}", self.upstream, request.uri());
        let headers = end_to_end(request.headers());
        let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map_err(Closed::Request)?.to_bytes();
        let sent = self.http.request(method.clone(), url).headers(headers).body(body).send();
        let answered = sent.await?;
        let (status, headers) = (answered.status(), end_to_end(answered.headers()));
        let body = answered.bytes().await?;

        let number = self.answers.fetch_add(1, Ordering::SeqCst) + 1;
        (self.hook)(Moment::Answered, number);
        if method != "GET" && path.starts_with("/v1/apps") {
            let method = method.to_string();
            self.note(Write { answer: number, method, path, status: status.as_u16() })?;
        }
        let mut response = Response::builder().status(status).body(Full::new(body))?;
        *response.headers_mut() = headers;
        handed.expect(number);
        Ok(response)
    }

    fn answers(&self) -> u64 {
        self.answers.load(Ordering::SeqCst)
    }

    fn note(&self, write: Write) -> Result<(), Closed> {
        let mut ledger = self.ledger();
        ledger.writes.push(write.clone());
        if ledger.to_lose != Some(ledger.writes.len()) {
            return Ok(());
        }
        ledger.lost = Some(write);
        Err(Closed::Lost)
    }
}

/// Accepts until it is dropped, and with it every connection.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    // An error is one of the machine (no more file descriptors), and a story fails by it.
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let hook = Arc::clone(&shared.hook);
    let handed = Handed::new(move |number| hook(Moment::Delivered, number));
    let io = TokioIo::new(Watched::new(stream, handed.clone()));
    let service = hyper::service::service_fn(move |request| {
        let (shared, handed) = (Arc::clone(&shared), handed.clone());
        async move { shared.serve(request, &handed).await }
    });
    // It ends when the controller closes it or dies, or by an error of ours that closes it.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
}

/// The headers without those of one connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}
