//! An issuer on loopback, honest at `/oidc/acme-org` and dishonest elsewhere.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::signer::ISSUERS;

pub(crate) struct TestIssuer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    keys: Mutex<Vec<Value>>,
    reads: AtomicUsize,
    address: SocketAddr,
}

impl TestIssuer {
    pub(crate) async fn start() -> Self {
        crate::install_cryptography();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let keys = Mutex::new(vec![ISSUERS.jwk()]);
        let shared = Arc::new(Shared { keys, reads: AtomicUsize::new(0), address });
        let routes = Router::new()
            .route("/oidc/{org}/.well-known/openid-configuration", get(discovery))
            .route("/oidc/{org}/.well-known/jwks", get(keys_of))
            .with_state(shared.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, routes).await.expect("serves") });
        Self { address, shared, _task: task }
    }

    /// The URL of the honest one.
    pub(crate) fn url(&self) -> String {
        self.url_of("acme-org")
    }

    pub(crate) fn url_of(&self, org: &str) -> String {
        format!("http://{}/oidc/{org}", self.address)
    }

    pub(crate) fn publish(&self, keys: Vec<Value>) {
        *self.shared.keys.lock().expect("not poisoned") = keys;
    }

    /// How often the keys were read.
    pub(crate) fn reads(&self) -> usize {
        self.shared.reads.load(Ordering::SeqCst)
    }
}

async fn discovery(State(shared): State<Arc<Shared>>, Path(org): Path<String>) -> Response {
    let issuer = |org: &str| format!("http://{}/oidc/{org}", shared.address);
    let keys = format!("{}/.well-known/jwks", issuer(&org));
    let document = |issuer: String, keys: String| {
        axum::Json(HashMap::from([("issuer", issuer), ("jwks_uri", keys)])).into_response()
    };
    match org.as_str() {
        "elsewhere" => document(issuer(&org), "http://127.0.0.2/keys".to_owned()),
        "another" => document(issuer("acme-org"), keys),
        "redirecting" => {
            Redirect::temporary("/oidc/acme-org/.well-known/openid-configuration").into_response()
        }
        "failing" => StatusCode::BAD_GATEWAY.into_response(),
        "endless" => " ".repeat(65 << 10).into_response(),
        "silly" => "silly".into_response(),
        _ => document(issuer(&org), keys),
    }
}

async fn keys_of(State(shared): State<Arc<Shared>>, Path(org): Path<String>) -> Response {
    shared.reads.fetch_add(1, Ordering::SeqCst);
    let keys = match org.as_str() {
        "keyless" => Vec::new(),
        _ => shared.keys.lock().expect("not poisoned").clone(),
    };
    axum::Json(json!({"keys": keys})).into_response()
}
