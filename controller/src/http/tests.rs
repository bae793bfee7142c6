mod attacks;
mod connect;
mod deletion;
mod diagnosis;
mod events;
mod fleet;
mod openmetrics;
mod others;
mod reading;
mod roles;
mod token;
mod trace;
mod usage;
mod watching;
mod writing;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use vault_plan::policy::Policy;

use super::*;
use crate::reconcile::ReconcileConfig;
use crate::source::Source;
use crate::store::{SqliteStore, Store};
use crate::testing::{
    FakePlatform, NOW, ORG, SteppedClock, class, controller, open, put, tenant, tenant_secrets,
};

const TOKEN: &str = "vop1_test";
const TENANTS: &str = "/apis/vaultctl.dev/v1/tenants";
const CLASSES: &str = "/apis/vaultctl.dev/v1/tenantclasses";

struct Stage {
    _folder: TempDir,
    _tasks: JoinSet<()>,
    clock: SteppedClock,
    stop: CancellationToken,
    store: SqliteStore,
    publish: watch::Sender<View>,
    platform: Arc<FakePlatform>,
    app: Arc<App<FakePlatform, SqliteStore, SteppedClock>>,
    router: Router,
}

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let (publish, view) = watch::channel(View::default());
        let metrics = Arc::new(Metrics::default());
        let config = ReconcileConfig {
            controller: controller(),
            organization: ORG.to_owned(),
            policy: Policy::default(),
            settle_after: std::time::Duration::from_secs(10),
            secrets: tenant_secrets(),
            agents: crate::agents::Agents::new().0,
            oidc_issuer: "https://oidc.example".to_owned(),
            usage_retention: std::time::Duration::from_secs(90 * 86_400),
            metrics: Arc::clone(&metrics),
            sweep_every: 1,
            plan_every: 1,
            turn_patience: None,
        };
        let platform = Arc::new(FakePlatform::default());
        let clock = SteppedClock::new();
        let stop = CancellationToken::new();
        let feeds = Feeds::new(stop.clone());
        let mut tasks = JoinSet::new();
        for task in feeds.tasks(&store, controller()) {
            tasks.spawn(task);
        }
        let reconciler = Reconciler::new(
            Arc::clone(&platform),
            store.clone(),
            clock.clone(),
            config,
            Arc::new(|_| {}),
        );
        let app = App {
            store: store.clone(),
            clock: clock.clone(),
            controller: controller(),
            reconciler: Arc::new(OnceCell::new_with(Some(reconciler))),
            operators: Operators::load(&SecretString::from(TOKEN), &store).await.unwrap(),
            wake: Arc::new(Notify::new()),
            view,
            stale_after_ms: 30_000,
            writing: Arc::default(),
            allow_api_secrets: false,
            watches_folder: true,
            prunes_folder: false,
            feeds,
            usage_retention: std::time::Duration::from_secs(90 * 86_400),
            diagnoses: Semaphore::new(DIAGNOSES_MAX),
            plans: Semaphore::new(PLANS_MAX),
            writes: Writes::default(),
            metrics: Arc::clone(&metrics),
            metrics_tenants_max: 3,
            started_at: UnixMillis(NOW.0 - 90_000),
        };
        let app = Arc::new(app);
        let router = router(Arc::clone(&app));
        Self { _folder: folder, _tasks: tasks, clock, stop, store, publish, platform, app, router }
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let code = response.status();
        let body = to_bytes(response.into_body(), 10_000_000).await.unwrap();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    /// A request of the operator's; JSON comes back.
    async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let form = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", form);
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let (code, text) = self.send(request.body(body).unwrap()).await;
        (code.as_u16(), serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")))
    }

    /// A request with any token and body; the answer's code, headers and JSON come back.
    async fn raw(
        &self,
        token: &str,
        (method, path): (Method, &str),
        (form, body): (&str, String),
    ) -> (u16, axum::http::HeaderMap, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", form)
            .body(Body::from(body))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (code, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body(), 10_000_000).await.unwrap();
        (code, headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, Value::Null).await
    }
}

fn acme() -> String {
    format!("{TENANTS}/acme")
}

#[tokio::test]
async fn only_health_is_open() {
    let stage = Stage::new().await;
    let paths = [TENANTS, CLASSES, "/status", "/version", "/apis", "/nowhere", &acme()];
    let wrong =
        ["", "Bearer", "Bearer ", "Bearer vop1_tes", "Bearer vop1_test1", "Basic vop1_test"];
    for path in paths {
        for header in wrong {
            let request = Request::builder().uri(path).header("authorization", header);
            let (code, text) = stage.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(code, StatusCode::UNAUTHORIZED, "{path} {header:?}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["reason"], "Unauthorized");
        }
    }
    let request = Request::builder().uri("/livez").body(Body::empty()).unwrap();
    assert_eq!(stage.send(request).await, (StatusCode::OK, "ok".to_owned()));
}

#[tokio::test]
async fn a_body_is_not_read_before_the_token_and_is_capped_after_it() {
    let stage = Stage::new().await;
    // A body that never ends: whoever read it would not answer.
    let endless =
        Body::from_stream(futures_util::stream::repeat(Ok::<_, std::convert::Infallible>("a")));
    let request = Request::builder().method(Method::POST).uri(TENANTS).body(endless).unwrap();
    assert_eq!(stage.send(request).await.0, StatusCode::UNAUTHORIZED);
    let large = json!("a".repeat(MANIFEST_BYTES_MAX));
    let (code, status) = stage.ask(Method::POST, TENANTS, large).await;
    assert_eq!((code, &status["reason"]), (413, &json!("RequestEntityTooLarge")));
}

#[tokio::test]
async fn secrets_are_not_taken_over_the_api() {
    let stage = Stage::new().await;
    let secrets = json!([{ "name": "A", "from": { "env": "VAULTCTL_SECRET_A" } }]);
    let mut with_secrets = tenant("acme", "nginx:1");
    with_secrets["spec"]["secrets"] = secrets.clone();
    let mut class_with_secrets = class("dev");
    class_with_secrets["spec"]["secrets"] = secrets.clone();
    let refused = |(code, status): (u16, Value)| {
        assert_eq!((code, &status["reason"]), (422, &json!("Invalid")), "{status}");
        assert_eq!(status["details"]["causes"][0]["field"], "spec.secrets", "{status}");
    };
    refused(stage.ask(Method::POST, TENANTS, with_secrets.clone()).await);
    refused(stage.ask(Method::POST, &format!("{TENANTS}?dryRun=All"), with_secrets.clone()).await);
    refused(stage.ask(Method::POST, CLASSES, class_with_secrets).await);

    // One of the folder keeps its own; another writer may neither change nor take them.
    let source = Source::Folder { file: "acme.yaml".to_owned() };
    put(&stage.store, &with_secrets, source).await;
    let mut labelled = with_secrets.clone();
    labelled["metadata"]["labels"] = json!({ "tier": "pro" });
    assert_eq!(stage.ask(Method::PUT, &acme(), labelled).await.0, 200);
    let taken = format!("{}?takeOwnership=true", acme());
    refused(stage.ask(Method::PUT, &taken, with_secrets.clone()).await);
    let mut another = with_secrets.clone();
    another["spec"]["secrets"][0]["from"]["env"] = json!("VAULTCTL_SECRET_OF_OTHERS");
    refused(stage.ask(Method::PUT, &taken, another.clone()).await);
    // Nor ask what would be done with them.
    let list = json!({ "kind": "List", "items": [another] });
    refused(stage.ask(Method::POST, &format!("{}/plan", acme()), list).await);
}

#[tokio::test]
async fn refusals_have_the_shape_of_a_status() {
    let stage = Stage::new().await;
    let created = stage.ask(Method::POST, TENANTS, tenant("acme", "nginx:1")).await;
    assert_eq!(created.0, 201);
    let mut unknown_field = tenant("beta", "nginx:1");
    unknown_field["spec"]["regionn"] = json!("ord");
    let mut stale = tenant("acme", "nginx:2");
    stale["metadata"]["resourceVersion"] = json!("1");
    let table = [
        (Method::GET, format!("{TENANTS}/beta"), Value::Null, 404, "NotFound"),
        (Method::GET, "/nowhere".to_owned(), Value::Null, 404, "NotFound"),
        (Method::POST, acme(), json!({}), 405, "MethodNotAllowed"),
        (Method::POST, TENANTS.to_owned(), tenant("acme", "nginx:1"), 409, "AlreadyExists"),
        (Method::PUT, acme(), stale, 409, "Conflict"),
        (
            Method::POST,
            format!("{TENANTS}?fieldValidation=Strict"),
            unknown_field,
            400,
            "BadRequest",
        ),
        (
            Method::POST,
            format!("{TENANTS}?fieldValidation=strict"),
            tenant("beta", "b"),
            400,
            "BadRequest",
        ),
        (Method::POST, TENANTS.to_owned(), class("dev"), 400, "BadRequest"),
        (Method::PUT, acme(), tenant("beta", "nginx:1"), 400, "BadRequest"),
        (Method::PUT, format!("{}?dryRun=Some", acme()), tenant("acme", "b"), 400, "BadRequest"),
        (Method::DELETE, acme(), json!({ "dryRun": ["Some"] }), 400, "BadRequest"),
        (Method::DELETE, acme(), json!({ "preconditions": { "uid": "x" } }), 409, "Conflict"),
    ];
    for (method, path, body, code, reason) in table {
        let (found, status) = stage.ask(method.clone(), &path, body).await;
        assert_eq!((found, &status["reason"]), (code, &json!(reason)), "{method} {path}: {status}");
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)));
    }
    let (_, status) = stage.get(&format!("{TENANTS}/beta")).await;
    assert_eq!(
        status["details"],
        json!({ "name": "beta", "group": "vaultctl.dev", "kind": "tenants" })
    );
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(acme())
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/apply-patch+yaml");
    let (code, _) = stage.send(request.body(Body::from("{}")).unwrap()).await;
    assert_eq!(code, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(stage.get(&acme()).await.1, created.1);
}

#[tokio::test]
async fn a_rehearsal_changes_nothing_and_shows_the_old_version_and_generation() {
    let stage = Stage::new().await;
    let (code, shown) =
        stage.ask(Method::POST, &format!("{TENANTS}?dryRun=All"), tenant("acme", "nginx:1")).await;
    assert_eq!((code, &shown["metadata"].get("resourceVersion")), (201, &None));
    assert_eq!(stage.get(&acme()).await.0, 404);

    // Of a folder's tenant too: a question is not refused.
    let source = Source::Folder { file: "a.yaml".to_owned() };
    put(&stage.store, &tenant("acme", "nginx:1"), source).await;
    let before = stage.get(&acme()).await.1;
    let dry = format!("{}?dryRun=All", acme());
    for (method, body) in [
        (Method::PUT, tenant("acme", "nginx:2")),
        (Method::PATCH, json!({ "spec": { "volumes": [{ "name": "data", "sizeGb": 2 }] } })),
    ] {
        let (code, shown) = stage.ask(method.clone(), &dry, body.clone()).await;
        assert_eq!(code, 200, "{shown}");
        assert_ne!(shown["spec"], before["spec"]);
        assert_eq!(shown["metadata"], before["metadata"]);
        assert_eq!(stage.get(&acme()).await.1, before);
        let (code, _) = stage.ask(method, &acme(), body).await;
        assert_eq!(code, 409);
    }
}

#[tokio::test]
async fn a_merge_patch_changes_what_it_names_and_survives_a_pass_between() {
    let stage = Stage::new().await;
    let before = stage.ask(Method::POST, TENANTS, tenant("acme", "nginx:1")).await.1;
    stage
        .store
        .put_statuses(vec![(
            "acme".to_owned(),
            json!({
                "observedGeneration": 1, "conditions": [],
            })
            .to_string(),
        )])
        .await
        .unwrap();
    let patch = json!({ "metadata": { "labels": { "tier": "pro" } } });
    let (code, after) = stage.ask(Method::PATCH, &acme(), patch).await;
    assert_eq!((code, &after["metadata"]["labels"]["tier"]), (200, &json!("pro")), "{after}");
    assert_eq!(after["metadata"]["generation"], 1);
    assert_eq!(after["status"]["observedGeneration"], 1);
    assert_eq!(after["spec"], before["spec"]);
    let version = before["metadata"]["resourceVersion"].clone();
    let late = json!({ "metadata": { "resourceVersion": version, "labels": null } });
    assert_eq!(stage.ask(Method::PATCH, &acme(), late).await.0, 409);
}

#[tokio::test]
async fn the_options_of_a_delete_stand_in_its_body() {
    let stage = Stage::new().await;
    stage.ask(Method::POST, TENANTS, tenant("acme", "nginx:1")).await;
    let (code, shown) = stage.ask(Method::DELETE, &acme(), json!({ "dryRun": ["All"] })).await;
    assert_eq!(code, 200);
    assert!(shown["metadata"]["deletionTimestamp"].is_string());
    assert!(stage.get(&acme()).await.1["metadata"].get("deletionTimestamp").is_none());
    let (code, _) = stage.ask(Method::DELETE, &acme(), json!({})).await;
    assert_eq!(code, 200);
    assert!(stage.get(&acme()).await.1["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn what_stands_in_a_file_or_is_used_is_not_deleted() {
    let stage = Stage::new().await;
    let source = Source::Folder { file: "a.yaml".to_owned() };
    put(&stage.store, &class("dev"), Source::Api).await;
    let mut member = tenant("acme", "nginx:1");
    member["spec"] = json!({ "class": "dev" });
    put(&stage.store, &member, source).await;
    for (path, word) in [(acme(), "a.yaml"), (format!("{CLASSES}/dev"), "tenant acme")] {
        let (code, status) = stage.ask(Method::DELETE, &path, Value::Null).await;
        assert_eq!(code, 409);
        assert!(status["message"].as_str().unwrap().contains(word), "{status}");
    }
    stage.publish.send_modify(|view| {
        let missing = [(Kind::Tenant, "acme".to_owned())].into();
        view.folder = Some(crate::folder::FolderReport { missing, ..Default::default() });
    });
    assert_eq!(stage.ask(Method::DELETE, &acme(), Value::Null).await.0, 200);
}

#[tokio::test]
async fn a_plan_tells_what_is_and_what_would_be() {
    let stage = Stage::new().await;
    let path = format!("{}/plan", acme());
    assert_eq!(stage.get(&path).await.0, 404);
    let body = json!({ "items": [tenant("acme", "nginx:1")] });
    let (code, plan) = stage.ask(Method::POST, &path, body).await;
    let actions = |plan: &Value| -> Vec<String> {
        let actions = plan["actions"].as_array().unwrap().iter();
        actions.map(|action| action["action"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (code, actions(&plan)),
        (
            200,
            ["CreateApp", "SetSecret", "CreateVolume", "CreateMachine"].map(str::to_owned).to_vec()
        )
    );
    assert_eq!(stage.get(&acme()).await.0, 404);
    stage.ask(Method::POST, TENANTS, tenant("acme", "nginx:1")).await;
    assert_eq!(actions(&stage.get(&path).await.1), actions(&plan));
    assert_eq!(stage.ask(Method::POST, &path, json!({})).await.0, 400);
}

#[tokio::test]
async fn readiness_names_what_fails() {
    let stage = Stage::new().await;
    let ask = || Request::builder().uri("/readyz?verbose").body(Body::empty()).unwrap();
    let (code, text) = stage.send(ask()).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("[+]store ok\n[-]pass failed"), "{text}");
    stage.publish.send_modify(|view| {
        view.passes = 1;
        view.last_pass_at = Some(NOW);
    });
    let (code, text) = stage.send(ask()).await;
    assert_eq!(code, StatusCode::OK);
    assert!(text.contains("[+]pass ok\n[+]platform ok\n"), "{text}");
    stage.publish.send_modify(|view| view.troubles.push("down".to_owned()));
    assert!(stage.send(ask()).await.1.contains("[-]platform failed"));
}
