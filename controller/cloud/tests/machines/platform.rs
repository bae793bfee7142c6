//! Servers for the tests: one that answers by script, and one that misbehaves below HTTP.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use vault_cloud::machines::{ClientConfig, MachinesClient, RateLimits};
use vault_cloud::sleep::Sleep;

/// A configuration for a test: any token, no rate limits, no real pauses.
pub(crate) fn config(url: &str) -> ClientConfig {
    // A second test finds it installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut config = ClientConfig::new(url, "fm2_test".into());
    config.rate_limits = RateLimits::Off;
    config.sleep = Arc::new(WrittenDown::default());
    config
}

/// A client for a test, see [`config`].
pub(crate) fn client(platform: &Platform) -> MachinesClient {
    MachinesClient::new(config(&platform.url())).unwrap()
}

/// Time that moves by being waited for, and a list of the waits.
#[derive(Default)]
pub(crate) struct WrittenDown(Mutex<Vec<Duration>>);

impl WrittenDown {
    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.0.lock().unwrap().clone()
    }
}

impl Sleep for WrittenDown {
    fn now(&self) -> Duration {
        self.0.lock().unwrap().iter().sum()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.lock().unwrap().push(duration);
        Box::pin(std::future::ready(()))
    }
}

/// One answer of a script.
pub(crate) struct Answer(Response<Body>);

impl Answer {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self::text(status, &body.to_string())
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self(Response::builder().status(status).body(body.to_owned().into()).unwrap())
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.0.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    seen: Vec<(String, HeaderMap)>,
}

/// A server on a free port that gives its answers in order and writes down what it was asked. Ends
/// when it is dropped.
pub(crate) struct Platform {
    port: u16,
    script: Arc<Mutex<Script>>,
    _server: JoinSet<()>,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(Mutex::new(Script::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, script, _server: server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Adds answers to the script. A request beyond it is answered with 418.
    pub(crate) fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.lock().unwrap().answers.extend(answers);
    }

    /// `METHOD PATH?QUERY BODY` of every request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.script.lock().unwrap().seen.iter().map(|(request, _)| request.clone()).collect()
    }

    /// The headers of one request.
    pub(crate) fn headers(&self, index: usize) -> HeaderMap {
        self.script.lock().unwrap().seen[index].1.clone()
    }
}

async fn answer(
    State(script): State<Arc<Mutex<Script>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut script = script.lock().unwrap();
    let kinds = ["application/json", "application/x-www-form-urlencoded"];
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok());
    let has_type = kind.is_some_and(|kind| kinds.contains(&kind));
    assert_eq!(has_type, !body.is_empty(), "a body says what it is, and no body says nothing");
    script.seen.push((format!("{method} {uri} {}", String::from_utf8_lossy(&body)), headers));
    script.answers.pop_front().unwrap_or_else(|| Answer::text(418, "the script is over")).0
}

/// A server that writes fixed bytes after the head of a request, whatever it was, and closes; or
/// never writes. Ends when it is dropped.
pub(crate) struct Raw {
    port: u16,
    connections: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Raw {
    /// A port of this machine on which nobody listens.
    pub(crate) async fn unused_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
    }

    pub(crate) async fn start(bytes: &'static [u8]) -> Self {
        Self::serve(Some(bytes)).await
    }

    pub(crate) async fn silent() -> Self {
        Self::serve(None).await
    }

    async fn serve(bytes: Option<&'static [u8]>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                assert!(read > 0, "a request came");
                match bytes {
                    Some(bytes) => stream.write_all(bytes).await.unwrap(),
                    None => kept.push(stream),
                }
            }
        });
        Self { port, connections, _server: server }
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
