//! A controller of a few hundred lines: objects in memory, Kubernetes' answers, and a script of
//! what else happens. It decides nothing; it only keeps the HTTP contract.

mod lists;
mod patches;
mod run;
mod watches;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Path as UrlPath, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

pub(crate) use run::Ended;
use watches::Log;

/// How long anything may take that a running command is to do; long, because machines are slow.
const PATIENCE: Duration = Duration::from_secs(60);

const TOKEN: &str = "operator-token";

type Shared = Arc<Mutex<World>>;
type Answer = Result<Response, Response>;

/// What the fake keeps, and what it does besides.
#[derive(Default)]
pub(crate) struct World {
    /// By plural resource and name.
    pub(crate) objects: BTreeMap<(String, String), Value>,
    /// Writes, as `METHOD PATH?QUERY`.
    pub(crate) writes: Vec<String>,
    /// How many reads of a tenant it takes until its deletion is done.
    pub(crate) reads_until_gone: u32,
    /// How many reads of a tenant it takes until it is Ready.
    pub(crate) reads_until_ready: u32,
    /// How many writes are overtaken by someone else's.
    pub(crate) overtaken: u32,
    /// Labels that someone else gives to the object just before a deletion arrives, last one first.
    pub(crate) labels_before_deletion: Vec<Value>,
    /// Names whose writes are refused as owned by a file.
    pub(crate) owned_by_file: Vec<String>,
    /// Events, oldest first; `None` from a controller that serves none.
    pub(crate) events: Option<Vec<Value>>,
    /// Usage facts; each has `vault_tenant` in its metadata.
    pub(crate) usage: Vec<Value>,
    /// Lists and watches, as `list RESOURCE?QUERY` and `watch RESOURCE?QUERY`.
    pub(crate) reads: Vec<String>,
    /// How often single objects were read.
    pub(crate) objects_read: usize,
    /// How many watches end as soon as they have told what there is to tell.
    pub(crate) short_watches: u32,
    /// How many watches begin too far in the past.
    pub(crate) forgotten: u32,
    /// Whether a list takes longer than is remembered: a second page is refused.
    pub(crate) pages_expire: bool,
    /// What is served as the diagnosis of any tenant; `None` from a controller that serves none.
    pub(crate) diagnosis: Option<Value>,
    /// How many patches are refused as invalid, though they are not.
    pub(crate) refused_patches: u32,
    /// Deploy tokens by tenant and name.
    pub(crate) tokens: BTreeMap<(String, String), String>,
    asked: Arc<Condvar>,
    log: Log,
    version: u64,
}

/// A running fake and a folder with its context file.
pub(crate) struct Fake {
    pub(crate) world: Shared,
    folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Fake {
    /// Listens on a free port.
    pub(crate) fn start() -> Self {
        let world = Shared::default();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(Arc::clone(&world));
        runtime.handle().spawn(async move { axum::serve(listener, router).await });
        let folder = tempfile::tempdir().unwrap();
        let context = format!(
            "apiVersion: vaultctl.dev/v1\nkind: Config\ncurrentContext: fake\ncontexts:\n\
             - {{ name: fake, server: 'http://{address}', token: {TOKEN} }}\n\
             - {{ name: stranger, server: 'http://{address}', token: other }}\n\
             - {{ name: nobody, server: 'http://127.0.0.1:1', token: {TOKEN} }}\n"
        );
        std::fs::create_dir(folder.path().join(".vaultctl")).unwrap();
        std::fs::write(folder.path().join(".vaultctl/config.yaml"), context).unwrap();
        Self { world, folder, _runtime: runtime }
    }

    /// Puts a manifest into the working directory.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The working directory.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stores an object as if it had been applied long ago.
    pub(crate) fn store(&self, resource: &str, object: Value) {
        let mut world = self.world.lock().unwrap();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let key = (resource.to_owned(), name);
        let before = world.objects.get(&key).cloned();
        let stored = world.stamped(object, before.as_ref());
        world.put(key, stored);
    }

    /// The stored object.
    pub(crate) fn object(&self, resource: &str, name: &str) -> Option<Value> {
        let world = self.world.lock().unwrap();
        world.objects.get(&(resource.to_owned(), name.to_owned())).cloned()
    }

    /// The writes so far.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.world.lock().unwrap().writes.clone()
    }

    /// Removes an object as if someone else had deleted it.
    pub(crate) fn remove(&self, resource: &str, name: &str) {
        let mut world = self.world.lock().unwrap();
        world.take(&(resource.to_owned(), name.to_owned()));
    }

    /// Lets something happen.
    pub(crate) fn happen(&self, event: Value) {
        let mut world = self.world.lock().unwrap();
        world.version += 1;
        let version = world.version;
        world.log.tell(version, "events", "ADDED", &event);
        world.events.get_or_insert_default().push(event);
    }

    /// Returns once so many watches have begun: what happens then is not missed, and is not in the
    /// list before it.
    pub(crate) fn until_watching(&self, count: usize) {
        let world = self.world.lock().unwrap();
        let asked = Arc::clone(&world.asked);
        let watches = |world: &mut World| {
            world.reads.iter().filter(|read| read.starts_with("watch ")).count()
        };
        let (mut world, _) =
            asked.wait_timeout_while(world, PATIENCE, |world| watches(world) < count).unwrap();
        assert!(watches(&mut world) >= count, "no watch began: {:?}", world.reads);
    }

    /// How often single objects were read so far.
    pub(crate) fn objects_read(&self) -> usize {
        self.world.lock().unwrap().objects_read
    }

    /// The lists and watches so far.
    pub(crate) fn reads(&self) -> Vec<String> {
        self.world.lock().unwrap().reads.clone()
    }
}

impl World {
    /// The object with the bookkeeping of a write.
    fn stamped(&mut self, mut object: Value, before: Option<&Value>) -> Value {
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        metadata["generation"] =
            json!(before.and_then(|one| one["metadata"]["generation"].as_i64()).unwrap_or(0) + 1);
        metadata["uid"] = json!("0000");
        metadata["creationTimestamp"] = json!("2026-03-01T12:00:00Z");
        if let Some(status) = before.and_then(|one| one.get("status"))
            && object.get("status").is_none()
        {
            object["status"] = status.clone();
        }
        object
    }

    /// Keeps an object and tells the watches.
    fn put(&mut self, key: (String, String), object: Value) {
        let kind = if self.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        self.log.tell(self.version, &key.0, kind, &object);
        self.objects.insert(key, object);
    }

    /// Forgets an object and tells the watches.
    fn take(&mut self, key: &(String, String)) {
        if let Some(mut object) = self.objects.remove(key) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.log.tell(self.version, &key.0, "DELETED", &object);
        }
    }

    /// One look at an object moves its life on.
    fn look(&mut self, key: &(String, String)) {
        let Some(object) = self.objects.get_mut(key) else {
            return;
        };
        if object["metadata"].get("deletionTimestamp").is_some() {
            if self.reads_until_gone == 0 {
                self.take(key);
            } else {
                self.reads_until_gone -= 1;
            }
            return;
        }
        if let Some(left) = self.reads_until_ready.checked_sub(1) {
            self.reads_until_ready = left;
            if left == 0 {
                let generation = object["metadata"]["generation"].clone();
                object["status"]["conditions"] = json!([{
                    "type": "Ready", "status": "True", "observedGeneration": generation,
                    "lastTransitionTime": "2026-03-01T12:00:00Z", "reason": "AllReady",
                    "message": "all is well",
                }]);
                self.version += 1;
                object["metadata"]["resourceVersion"] = json!(self.version.to_string());
                let object = object.clone();
                self.log.tell(self.version, &key.0, "MODIFIED", &object);
            }
        }
    }
}

fn router(world: Shared) -> Router {
    let base = "/apis/vaultctl.dev/v1/{resource}";
    Router::new()
        .route("/version", get(async || Json(json!({ "gitVersion": "v9.9.9" }))))
        .route("/api/v1", get(async || Json(lists::core_resources())))
        .route("/apis/vaultctl.dev/v1", get(async || Json(lists::resources())))
        .route("/api/v1/events", get(lists::events))
        .route("/usage-facts", get(usage_facts))
        .route(base, get(lists::objects).post(create))
        .route(
            &format!("{base}/{{name}}"),
            get(read).put(replace).patch(patches::patch).delete(remove),
        )
        .route(&format!("{base}/{{name}}/diagnosis"), get(diagnosis))
        .route(&format!("{base}/{{name}}/token"), axum::routing::post(deploy_token))
        .route(&format!("{base}/{{name}}/plan"), get(plan).post(plan_with))
        .layer(middleware::from_fn(authenticate))
        .with_state(world)
}

async fn authenticate(headers: HeaderMap, request: Request, next: Next) -> Response {
    let expected = format!("Bearer {TOKEN}");
    if headers.get("authorization").is_some_and(|found| *found == *expected) {
        return next.run(request).await;
    }
    status(401, "Unauthorized", "the token is not known", &[])
}

async fn read(State(world): State<Shared>, UrlPath(key): UrlPath<(String, String)>) -> Answer {
    let mut world = world.lock().unwrap();
    world.objects_read += 1;
    world.look(&key);
    let found = world.objects.get(&key).ok_or_else(|| not_found(&key))?;
    Ok(Json(found.clone()).into_response())
}

type Options = Query<BTreeMap<String, String>>;

async fn create(
    State(world): State<Shared>,
    UrlPath(resource): UrlPath<String>,
    Query(options): Options,
    Json(object): Json<Value>,
) -> Answer {
    let mut world = world.lock().unwrap();
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let key = (resource, name);
    if world.objects.contains_key(&key) {
        return Err(status(409, "AlreadyExists", "it exists", &[]));
    }
    if let Some(refusal) = world.refusal(&object) {
        return Err(refusal);
    }
    world.writes.push(format!("POST {}/{} {options:?}", key.0, key.1));
    let version = world.version;
    let stored = world.stamped(object, None);
    if options.contains_key("dryRun") {
        world.version = version;
    } else {
        world.put(key, stored.clone());
    }
    Ok((StatusCode::CREATED, Json(stored)).into_response())
}

async fn replace(
    State(world): State<Shared>,
    UrlPath(key): UrlPath<(String, String)>,
    Query(options): Options,
    Json(object): Json<Value>,
) -> Answer {
    let mut world = world.lock().unwrap();
    let mut before = world.objects.get(&key).cloned().ok_or_else(|| not_found(&key))?;
    let is_dry = options.contains_key("dryRun");
    if !is_dry && world.overtaken > 0 {
        world.overtaken -= 1;
        before["metadata"]["labels"]["foreign"] = json!("yes");
        let changed = world.stamped(before.clone(), Some(&before));
        world.put(key.clone(), changed);
        return Err(status(409, "Conflict", "the object has been modified", &[]));
    }
    let sent = &object["metadata"]["resourceVersion"];
    if !sent.is_null() && *sent != before["metadata"]["resourceVersion"] {
        return Err(status(409, "Conflict", "the object has been modified", &[]));
    }
    if world.owned_by_file.contains(&key.1) && !is_dry && !options.contains_key("takeOwnership") {
        let message = format!("{} is owned by folder {}.yaml", key.1, key.1);
        return Err(status(409, "Conflict", &message, &[]));
    }
    if let Some(refusal) = world.refusal(&object) {
        return Err(refusal);
    }
    world.writes.push(format!("PUT {}/{} {options:?}", key.0, key.1));
    let version = world.version;
    let stored = world.stamped(object, Some(&before));
    if is_dry {
        world.version = version;
    } else {
        world.put(key, stored.clone());
    }
    Ok(Json(stored).into_response())
}

async fn remove(
    State(world): State<Shared>,
    UrlPath(key): UrlPath<(String, String)>,
    Json(body): Json<Value>,
) -> Answer {
    let mut world = world.lock().unwrap();
    assert_eq!(body["kind"], "DeleteOptions");
    if !world.objects.contains_key(&key) {
        return Err(not_found(&key));
    }
    if world.owned_by_file.contains(&key.1) {
        let message = format!("{} has the file {}.yaml", key.1, key.1);
        return Err(status(409, "Conflict", &message, &[]));
    }
    let uses = |one: (&(String, String), &Value)| {
        one.0.0 == "tenants" && key.0 == "tenantclasses" && one.1["spec"]["class"] == *key.1
    };
    if world.objects.iter().any(uses) {
        return Err(status(409, "Conflict", &format!("class {} is used", key.1), &[]));
    }
    let mut object = world.objects[&key].clone();
    if let Some(labels) = world.labels_before_deletion.pop() {
        object["metadata"]["labels"] = labels;
        let before = object.clone();
        object = world.stamped(object, Some(&before));
        world.put(key.clone(), object.clone());
    }
    for member in ["uid", "resourceVersion"] {
        let wanted = &body["preconditions"][member];
        if !wanted.is_null() && *wanted != object["metadata"][member] {
            return Err(status(409, "Conflict", &format!("the {member} is another one"), &[]));
        }
    }
    if body.get("dryRun").is_some() {
        return Ok(Json(object).into_response());
    }
    if key.0 == "tenantclasses" {
        world.take(&key);
        return Ok(Json(json!({ "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Success", "code": 200 }))
        .into_response());
    }
    world.version += 1;
    object["metadata"]["resourceVersion"] = json!(world.version.to_string());
    object["metadata"]["deletionTimestamp"] = json!("2026-03-01T13:00:00Z");
    world.writes.push(format!("DELETE {}/{}", key.0, key.1));
    world.put(key, object.clone());
    Ok(Json(object).into_response())
}

async fn usage_facts(State(world): State<Shared>, Query(options): Options) -> Response {
    let world = world.lock().unwrap();
    let is_wanted = |fact: &&Value| {
        let tenant = options.get("tenant");
        tenant.is_none_or(|tenant| fact["metadata"]["vault_tenant"] == **tenant)
    };
    Json(world.usage.iter().filter(is_wanted).collect::<Vec<_>>()).into_response()
}

async fn diagnosis(State(world): State<Shared>) -> Answer {
    let diagnosis = world.lock().unwrap().diagnosis.clone();
    diagnosis
        .map(|diagnosis| Json(diagnosis).into_response())
        .ok_or_else(|| status(404, "NotFound", "the server could not find the resource", &[]))
}

async fn deploy_token(
    State(world): State<Shared>,
    UrlPath((_, tenant)): UrlPath<(String, String)>,
    Json(body): Json<Value>,
) -> Answer {
    let name = body["name"].as_str().unwrap().to_owned();
    let known = world.lock().unwrap().tokens.get(&(tenant, name.clone())).cloned();
    let answer =
        |token| json!({ "token": token, "name": name, "expiresAt": "2026-01-02T00:00:00Z" });
    known
        .map(|token| Json(answer(token)).into_response())
        .ok_or_else(|| status(404, "NotFound", "it has no deploy token of that name", &[]))
}

async fn plan(UrlPath((_, name)): UrlPath<(String, String)>) -> Response {
    Json(tenant_plan(&name, &[])).into_response()
}

async fn plan_with(
    UrlPath((_, name)): UrlPath<(String, String)>,
    Json(body): Json<Value>,
) -> Response {
    assert_eq!((&body["kind"], &body["apiVersion"]), (&json!("List"), &json!("v1")));
    Json(tenant_plan(&name, body["items"].as_array().unwrap())).into_response()
}

/// One action per document that was sent along, so that a test sees what was sent.
fn tenant_plan(name: &str, documents: &[Value]) -> Value {
    let actions: Vec<Value> = documents
        .iter()
        .map(|document| {
            json!({ "action": "UpdateMachine", "target": format!("machine {name}-box-0"),
                "reason": format!("{} changes.", document["metadata"]["name"].as_str().unwrap()) })
        })
        .collect();
    json!({ "apiVersion": "vaultctl.dev/v1", "kind": "TenantPlan", "tenant": name,
        "actions": actions, "notes": [] })
}

impl World {
    /// The one rule that needs the world: a class must be there.
    fn refusal(&self, object: &Value) -> Option<Response> {
        let class = object["spec"]["class"].as_str()?;
        let key = ("tenantclasses".to_owned(), class.to_owned());
        let message = format!("there is no class `{class}`");
        let causes = [("spec.class", message.as_str())];
        (!self.objects.contains_key(&key))
            .then(|| status(422, "Invalid", "the tenant is invalid", &causes))
    }
}

fn not_found(key: &(String, String)) -> Response {
    status(404, "NotFound", &format!("{} {:?} not found", key.0, key.1), &[])
}

fn status(code: u16, reason: &str, message: &str, causes: &[(&str, &str)]) -> Response {
    let causes: Vec<Value> = causes
        .iter()
        .map(|(field, message)| {
            json!({ "reason": "FieldValueInvalid", "message": message, "field": field })
        })
        .collect();
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": message, "details": { "causes": causes },
    });
    (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
}
