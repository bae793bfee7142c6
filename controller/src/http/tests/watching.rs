//! Watches over HTTP.

use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt;

use super::*;
use crate::events::Event;
use crate::store::StoredObject;

/// How long a line may take to come before a test fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lines of one watch.
struct Lines(BodyDataStream);

impl Lines {
    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a line is missing");
        line.map(|line| serde_json::from_slice(&line.unwrap()).unwrap())
    }

    /// Type and name of the next line.
    async fn told(&mut self) -> (String, String) {
        let line = self.next().await.expect("the watch has ended");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&line["type"]), text(&line["object"]["metadata"]["name"]))
    }

    async fn expect(&mut self, told: &str, name: &str) {
        assert_eq!(self.told().await, (told.to_owned(), name.to_owned()));
    }
}

impl Stage {
    async fn watch_as(&self, path: &str, accept: &str) -> Lines {
        let request = Request::builder()
            .uri(path)
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("accept", accept)
            .body(Body::empty())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        Lines(response.into_body().into_data_stream())
    }

    async fn watch(&self, query: &str) -> Lines {
        self.watch_as(&format!("{TENANTS}?watch=true&{query}"), "application/json").await
    }

    async fn version(&self) -> i64 {
        self.store.resource_version().await.unwrap()
    }

    async fn write(&self, object: &StoredObject, tier: &str) -> StoredObject {
        let mut changed = object.clone();
        changed.metadata.insert("labels".to_owned(), json!({ "tier": tier }));
        self.store.put_object(changed, Some(object.resource_version)).await.unwrap()
    }

    async fn make(&self, name: &str, tier: &str) -> StoredObject {
        let mut document = tenant(name, "nginx:1");
        document["metadata"]["labels"] = json!({ "tier": tier });
        put(&self.store, &document, Source::Api).await
    }

    async fn remove(&self, object: &StoredObject) {
        let removed =
            self.store.remove_object(object.kind, &object.name, object.resource_version).await;
        removed.unwrap();
    }
}

#[tokio::test]
async fn a_watch_tells_what_happens_from_a_version_on() {
    let stage = Stage::new().await;
    let acme = stage.make("acme", "pro").await;
    let since = stage.version().await;
    let acme = stage.write(&acme, "free").await;
    let mut lines = stage.watch(&format!("resourceVersion={since}")).await;
    lines.expect("MODIFIED", "acme").await;
    let umbra = stage.make("umbra", "pro").await;
    lines.expect("ADDED", "umbra").await;
    stage
        .store
        .put_statuses(vec![("acme".to_owned(), json!({ "app": "x" }).to_string())])
        .await
        .unwrap();
    let line = lines.next().await.unwrap();
    assert_eq!(
        (&line["type"], &line["object"]["status"]["app"]),
        (&json!("MODIFIED"), &json!("x"))
    );
    assert_eq!(line["object"], stage.get(&self::acme()).await.1);
    stage.remove(&umbra).await;
    let line = lines.next().await.unwrap();
    assert_eq!(
        (&line["type"], &line["object"]["metadata"]["name"]),
        (&json!("DELETED"), &json!("umbra"))
    );
    let told: i64 =
        line["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert_eq!(told, stage.version().await, "the version at which it went");
    drop(acme);
}

#[tokio::test]
async fn what_enters_and_leaves_a_selection_is_added_and_deleted() {
    let stage = Stage::new().await;
    let acme = stage.make("acme", "pro").await;
    let since = stage.version().await;
    let selected = format!("resourceVersion={since}&labelSelector=tier%3Dfree");
    let mut live = stage.watch(&selected).await;
    let acme = stage.write(&acme, "free").await;
    live.expect("ADDED", "acme").await;
    stage.store.put_statuses(vec![("acme".to_owned(), json!({}).to_string())]).await.unwrap();
    live.expect("MODIFIED", "acme").await;
    let acme = stage.store.object(acme.kind, "acme").await.unwrap().unwrap();
    let acme = stage.write(&acme, "pro").await;
    live.expect("DELETED", "acme").await;
    // What is never selected is never told: the next line is of another tenant.
    stage.remove(&acme).await;
    stage.make("umbra", "free").await;
    live.expect("ADDED", "umbra").await;

    // Whoever comes later is told what it did not know, from where it stood.
    let mut late = stage.watch(&selected).await;
    late.expect("ADDED", "umbra").await;
    let mut pro = stage.watch(&format!("resourceVersion={since}&labelSelector=tier%3Dpro")).await;
    pro.expect("DELETED", "acme").await;
    let mut named =
        stage.watch(&format!("resourceVersion={since}&fieldSelector=metadata.name%3Dumbra")).await;
    named.expect("ADDED", "umbra").await;
}

#[tokio::test]
async fn an_initial_list_ends_with_a_bookmark() {
    let stage = Stage::new().await;
    for name in ["a", "b", "c"] {
        stage.make(name, "pro").await;
    }
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = stage.watch(query).await;
    for name in ["a", "b", "c"] {
        lines.expect("ADDED", name).await;
    }
    let bookmark = lines.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let metadata = &bookmark["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(metadata["resourceVersion"], stage.version().await.to_string());
    stage.make("d", "pro").await;
    lines.expect("ADDED", "d").await;
    // Without a version, as without the option, what exists is told first.
    stage.watch("resourceVersion=0").await.expect("ADDED", "a").await;
    stage.watch("").await.expect("ADDED", "a").await;
}

#[tokio::test]
async fn bookmarks_come_now_and_then_and_the_time_is_kept() {
    let stage = Stage::new().await;
    let since = stage.version().await;
    let path = format!("resourceVersion={since}&timeoutSeconds=100");
    let mut plain = stage.watch(&path).await;
    let mut marked = stage.watch(&format!("{path}&allowWatchBookmarks=true")).await;
    put(&stage.store, &class("dev"), Source::Api).await;
    let acme = stage.make("acme", "pro").await;
    plain.expect("ADDED", "acme").await;
    marked.expect("ADDED", "acme").await;
    stage.clock.advance(Duration::from_secs(61));
    let line = marked.next().await.unwrap();
    assert_eq!(line["type"], "BOOKMARK");
    let told: i64 =
        line["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(told >= since && told <= acme.resource_version, "{told}");
    stage.clock.advance(Duration::from_secs(40));
    assert_eq!(plain.next().await, None);
    assert_eq!(marked.next().await, None);
}

#[tokio::test]
async fn the_end_of_the_controller_ends_watches() {
    let stage = Stage::new().await;
    let mut lines = stage.watch("").await;
    stage.make("acme", "pro").await;
    lines.expect("ADDED", "acme").await;
    stage.stop.cancel();
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_version_that_is_not_known_is_gone() {
    let stage = Stage::new().await;
    let acme = stage.make("acme", "0").await;
    let newest = stage.version().await;
    for version in [1, newest + 1] {
        let (code, status) =
            stage.get(&format!("{TENANTS}?watch=true&resourceVersion={version}")).await;
        assert_eq!((code, &status["reason"]), (410, &json!("Expired")), "{version}");
    }
    let mut slow = stage.watch(&format!("resourceVersion={newest}")).await;
    let mut object = acme;
    for number in 0..4_200 {
        object = stage.write(&object, &number.to_string()).await;
    }
    // It has not read a line for longer than what is remembered.
    let line = slow.next().await.unwrap();
    assert_eq!(
        (&line["type"], &line["object"]["code"], &line["object"]["reason"]),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
    assert_eq!(slow.next().await, None);
}

#[tokio::test]
async fn who_falls_behind_misses_nothing() {
    let stage = Stage::new().await;
    let since = stage.version().await;
    let mut slow = stage.watch(&format!("resourceVersion={since}")).await;
    stage.make("first", "pro").await;
    slow.expect("ADDED", "first").await;
    // More than the ring holds.
    let made: Vec<String> = (0..700).map(|number| format!("t{number:04}")).collect();
    for chunk in made.chunks(64) {
        futures_util::future::join_all(chunk.iter().map(|name| stage.make(name, "pro"))).await;
    }
    let mut told = std::collections::BTreeMap::new();
    while told.len() < made.len() {
        let (event, name) = slow.told().await;
        assert_eq!(event, "ADDED", "{name}");
        assert!(told.insert(name.clone(), event).is_none(), "{name} was told twice");
    }
    stage.make("last", "pro").await;
    slow.expect("ADDED", "last").await;
}

#[tokio::test]
async fn watches_are_tables_for_those_who_ask() {
    let stage = Stage::new().await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let mut lines = stage.watch_as(&format!("{TENANTS}?watch=true"), table).await;
    stage.make("acme", "pro").await;
    let line = lines.next().await.unwrap();
    assert_eq!((&line["type"], &line["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(line["object"]["rows"][0]["cells"][0], "acme");
    assert_eq!(line["object"]["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn there_is_room_for_so_many_watches_and_no_more() {
    let stage = Stage::new().await;
    let mut open = Vec::new();
    for _ in 0..512 {
        open.push(stage.watch("").await);
    }
    let (code, status) = stage.get(&format!("{TENANTS}?watch=true")).await;
    assert_eq!((code, &status["reason"]), (429, &json!("TooManyRequests")));
    assert!(status["details"]["retryAfterSeconds"].is_number());
    open.pop();
    drop(stage.watch("").await);
}

#[tokio::test]
async fn events_are_watched_as_they_happen() {
    let stage = Stage::new().await;
    let since = stage.version().await;
    let about = "fieldSelector=involvedObject.name%3Dacme,involvedObject.kind%3DTenant";
    let path =
        format!("/api/v1/namespaces/default/events?watch=true&resourceVersion={since}&{about}");
    let mut lines = stage.watch_as(&path, "application/json").await;
    let happened = |tenant: &str, reason: &str| Event::normal(NOW, tenant, reason, "so it is");
    stage
        .store
        .append_events(vec![happened("umbra", "Made"), happened("acme", "Made")])
        .await
        .unwrap();
    let line = lines.next().await.unwrap();
    assert_eq!((&line["type"], &line["object"]["reason"]), (&json!("ADDED"), &json!("Made")));
    let name = line["object"]["metadata"]["name"].clone();
    stage.store.append_events(vec![happened("acme", "Made")]).await.unwrap();
    let line = lines.next().await.unwrap();
    assert_eq!((&line["type"], &line["object"]["count"]), (&json!("MODIFIED"), &json!(2)));
    assert_eq!(line["object"]["metadata"]["name"], name);
    // A namespace that there is not stays silent until its time is up.
    let path = "/api/v1/namespaces/other/events?watch=true&timeoutSeconds=5";
    let mut silent = stage.watch_as(path, "application/json").await;
    stage.clock.advance(Duration::from_secs(6));
    assert_eq!(silent.next().await, None);
}
