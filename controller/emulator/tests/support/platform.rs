//! What the tests over HTTP share: an emulator and a client that holds one of its tokens.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use vault_emulator::{AgentCommand, Emulator, EmulatorConfig, MachinesMode};

/// Far beyond what anything here takes; only a failure waits this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const TICK: Duration = Duration::from_millis(20);

/// An emulator and a client that holds one of its tokens.
pub(crate) struct Platform {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
    pub(crate) token: String,
}

pub(crate) fn config(data_dir: &Path) -> EmulatorConfig {
    EmulatorConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        storage_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: data_dir.to_owned(),
        orgs: vec!["other".to_owned()],
        machines: MachinesMode::None,
        masked: Vec::new(),
        rate_limits: false,
        boot_delay: Duration::ZERO,
        faults: Vec::new(),
        on_answer: None,
        on_request: None,
    }
}

pub(crate) async fn start(config: EmulatorConfig) -> Platform {
    // A second installation in this process is refused, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let emulator = Emulator::start(config).await.expect("starts");
    let token = format!("Bearer {}", emulator.operator_token());
    Platform { client: Client::new(), token, emulator }
}

impl Platform {
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}{path}", self.emulator.url()));
        let request = request.header("authorization", &self.token);
        let request = match body {
            Some(body) => request.body(body.to_string()),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        let id = answer
            .headers()
            .get("fly-request-id")
            .expect("an id")
            .to_str()
            .expect("text")
            .to_owned();
        assert_eq!((id.len(), &id[26..]), (30, "-ord"), "{id}");
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        let body =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) };
        (status, body)
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn app(&self, name: &str) {
        let (status, body) =
            self.post("/v1/apps", json!({ "app_name": name, "org_slug": "local" })).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
    }

    pub(crate) async fn machine(&self, app: &str, name: &str) -> String {
        let body = json!({ "name": name, "region": "ams", "config": { "image": "nginx:1.29" } });
        let (status, body) = self.post(&format!("/v1/apps/{app}/machines"), body).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["id"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn wait(&self, app: &str, id: &str, state: &str) -> Value {
        let path = format!("/v1/apps/{app}/machines/{id}/wait?state={state}&timeout=30");
        let (status, body) = self.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// Creates a machine of this config, by name; its id.
    pub(crate) async fn create(&self, app: &str, name: &str, config: Value) -> String {
        let body = json!({ "name": name, "config": config });
        let (status, body) = self.post(&format!("/v1/apps/{app}/machines"), body).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["id"].as_str().expect("an id").to_owned()
    }
}

pub(crate) async fn platform() -> (Platform, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a folder");
    (start(config(directory.path())).await, directory)
}

pub(crate) fn error(text: &str) -> Value {
    json!({ "error": text })
}

/// The same with machines as processes.
pub(crate) fn with_processes(data_dir: &Path, agent: Option<AgentCommand>) -> EmulatorConfig {
    let machines = MachinesMode::Process {
        launcher: env!("CARGO_BIN_EXE_vault-emulator").into(),
        launcher_args: vec!["machine-init".to_owned()],
        agent,
    };
    EmulatorConfig { machines, ..config(data_dir) }
}

/// What a machine has printed so far.
pub(crate) fn console(data_dir: &Path, machine: &str) -> String {
    let path = data_dir.join("machines").join(machine).join("console.log");
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Waits until the condition is met.
#[allow(clippy::disallowed_methods, reason = "the one place where these tests wait")]
pub(crate) async fn eventually(what: &str, mut is_met: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_met() {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(TICK).await;
    }
}

/// Waits until the machine has printed the text; all that it has printed by then.
pub(crate) async fn wait_for_console(data_dir: &Path, machine: &str, text: &str) -> String {
    let what = format!("{machine} says {text:?}");
    eventually(&what, || console(data_dir, machine).contains(text)).await;
    console(data_dir, machine)
}
