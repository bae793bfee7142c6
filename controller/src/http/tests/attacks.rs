//! What a token that somebody holds must not be good for.

use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt;

use super::roles::{TOKENS, labelled, token};
use super::*;

/// How long something may take to happen before a test fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// The next line of a watch; `None` at its end.
async fn line(lines: &mut BodyDataStream) -> Option<Value> {
    let line = tokio::time::timeout(PATIENCE, lines.next()).await.expect("nothing comes");
    line.map(|line| serde_json::from_slice(&line.unwrap()).unwrap())
}

impl Stage {
    async fn watch_by(&self, bearer: &str, path: &str, accept: &str) -> (u16, BodyDataStream) {
        let request = Request::builder()
            .uri(path)
            .header("authorization", format!("Bearer {bearer}"))
            .header("accept", accept)
            .body(Body::empty())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        (response.status().as_u16(), response.into_body().into_data_stream())
    }

    async fn two_tenants(&self) {
        for (name, tier) in [("acme", "pro"), ("umbra", "free")] {
            let (code, made) = self.ask(Method::POST, TENANTS, labelled(name, tier)).await;
            assert_eq!(code, 201, "{made}");
        }
    }
}

#[tokio::test]
async fn a_watch_ends_when_its_token_is_revoked() {
    let stage = Stage::new().await;
    stage.two_tenants().await;
    let gone = stage.token("gone", "read", None).await;
    let stays = stage.token("stays", "read", None).await;
    let path = format!("{TENANTS}?watch=true");
    let nothing = "/api/v1/namespaces/elsewhere/events?watch=true";
    let (_, mut silent) = stage.watch_by(&gone, nothing, "application/json").await;
    let (_, mut ended) = stage.watch_by(&gone, &path, "application/json").await;
    let (_, mut other) = stage.watch_by(&stays, &path, "application/json").await;
    for _ in 0..2 {
        assert_eq!(line(&mut ended).await.unwrap()["type"], "ADDED");
        assert_eq!(line(&mut other).await.unwrap()["type"], "ADDED");
    }
    // One is made on the way: the others go on.
    stage.token("third", "read", None).await;
    let (code, _) = stage.ask(Method::DELETE, &format!("{TOKENS}/gone"), Value::Null).await;
    assert_eq!(code, 200);
    let change = json!({ "spec": { "reconcile": "Paused" } });
    assert_eq!(stage.ask(Method::PATCH, &acme(), change).await.0, 200);
    assert_eq!(line(&mut ended).await, None);
    assert_eq!(line(&mut silent).await, None);
    assert_eq!(line(&mut other).await.unwrap()["type"], "MODIFIED");
}

#[tokio::test]
async fn what_is_ready_to_be_told_is_not_told_to_a_revoked_token() {
    let stage = Stage::new().await;
    stage.two_tenants().await;
    let gone = stage.token("gone", "read", None).await;
    let path = format!("{TENANTS}?watch=true");
    let (_, mut lines) = stage.watch_by(&gone, &path, "application/json").await;
    assert_eq!(line(&mut lines).await.unwrap()["type"], "ADDED");
    assert_eq!(stage.ask(Method::DELETE, &format!("{TOKENS}/gone"), Value::Null).await.0, 200);
    assert_eq!(line(&mut lines).await, None);
}

#[tokio::test]
async fn a_watch_ends_when_its_token_expires() {
    let stage = Stage::new().await;
    stage.two_tenants().await;
    let mut body = token("short", "read", None);
    body["spec"]["ttl"] = json!("10m");
    let (_, made) = stage.ask(Method::POST, TOKENS, body).await;
    let bearer = made["status"]["token"].as_str().unwrap();
    let path = format!("{TENANTS}?watch=true&timeoutSeconds=86400");
    let (_, mut lines) = stage.watch_by(bearer, &path, "application/json").await;
    for _ in 0..2 {
        assert_eq!(line(&mut lines).await.unwrap()["type"], "ADDED");
    }
    stage.clock.advance(Duration::from_secs(601));
    assert_eq!(line(&mut lines).await, None);
}

#[tokio::test]
async fn one_token_cannot_take_every_place_among_watchers() {
    let stage = Stage::new().await;
    let greedy = stage.token("greedy", "read", None).await;
    let modest = stage.token("modest", "read", None).await;
    let path = format!("{TENANTS}?watch=true");
    let mut open = Vec::new();
    let refused = loop {
        let (code, lines) = stage.watch_by(&greedy, &path, "application/json").await;
        if code != 200 {
            break code;
        }
        open.push(lines);
    };
    assert_eq!((refused, open.len()), (429, 128));
    assert_eq!(stage.watch_by(&modest, &path, "application/json").await.0, 200);
    // A place that is given back can be taken again.
    open.pop();
    assert_eq!(stage.watch_by(&greedy, &path, "application/json").await.0, 200);
}

#[tokio::test]
async fn who_loses_a_tenant_learns_nothing_of_its_new_life() {
    let stage = Stage::new().await;
    stage.two_tenants().await;
    let ci = stage.token("ci", "read", Some("tier=pro")).await;
    let path = format!("{TENANTS}?watch=true");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let (_, mut lines) = stage.watch_by(&ci, &path, "application/json").await;
    let (_, mut rows) = stage.watch_by(&ci, &format!("{path}&includeObject=Object"), table).await;
    assert_eq!(line(&mut lines).await.unwrap()["object"]["metadata"]["name"], "acme");
    line(&mut rows).await.unwrap();
    let moved = json!({
        "metadata": { "labels": { "tier": "theirs" }, "annotations": { "to": "theirs" } },
        "spec": { "machines": [{ "name": "box", "region": "ord", "config": { "image": "theirs:1" } }] },
    });
    let (code, answer) = stage.ask(Method::PATCH, &acme(), moved).await;
    assert_eq!(code, 200, "{answer}");
    let told = line(&mut lines).await.unwrap();
    assert_eq!(told["type"], "DELETED");
    assert_eq!(told["object"]["metadata"]["name"], "acme");
    let metadata = &answer["metadata"];
    assert_eq!(told["object"]["metadata"]["uid"], metadata["uid"]);
    assert_eq!(told["object"]["metadata"]["resourceVersion"], metadata["resourceVersion"]);
    assert!(!told.to_string().contains("theirs"), "{told}");
    let told = line(&mut rows).await.unwrap();
    assert_eq!(told["type"], "DELETED");
    assert!(told.to_string().contains("acme") && !told.to_string().contains("theirs"), "{told}");
    // Classes are everybody's.
    let (_, mut classes) =
        stage.watch_by(&ci, &format!("{CLASSES}?watch=true"), "application/json").await;
    assert_eq!(stage.ask(Method::POST, CLASSES, class("dev")).await.0, 201);
    assert!(line(&mut classes).await.unwrap()["object"]["spec"].is_object());
}

#[tokio::test]
async fn a_limited_token_plans_its_own_tenants_alone() {
    let stage = Stage::new().await;
    stage.two_tenants().await;
    assert_eq!(stage.ask(Method::POST, TENANTS, labelled("beta", "pro")).await.0, 201);
    let umbra = format!("{TENANTS}/umbra");
    let app = json!({ "spec": { "app": "secret-app" } });
    assert_eq!(stage.ask(Method::PATCH, &umbra, app.clone()).await.0, 200);
    let ci = stage.token("ci", "read", Some("tier=pro")).await;
    let path = format!("{}/plan", acme());
    let own = labelled("acme", "pro");
    let mut taken = own.clone();
    taken["spec"]["app"] = json!("secret-app");
    for (items, expected) in [
        (json!([own]), 200),
        (json!([own, labelled("beta", "pro")]), 200),
        (json!([own, labelled("umbra", "free")]), 403),
        (json!([own, labelled("umbra", "pro")]), 403),
        // A name that there is not is refused in the same way: nothing can be probed.
        (json!([own, labelled("nobody", "pro")]), 403),
        (json!([labelled("acme", "free")]), 403),
        (json!([taken]), 422),
        // Whom a class would break is nobody's business here.
        (json!([class("dev"), own]), 200),
    ] {
        let body = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        let (code, answer) = stage.as_caller(&ci, Method::POST, &path, &body).await;
        assert_eq!(code, expected, "{items}: {answer}");
        assert!(!answer["message"].to_string().contains("by tenant `umbra`"), "{answer}");
        if expected == 200 || !items.to_string().contains("umbra") {
            assert!(!answer.to_string().contains("umbra"), "{answer}");
        }
    }
    let all = json!({ "items": [own, labelled("umbra", "free")] });
    assert_eq!(stage.ask(Method::POST, &path, all).await.0, 200);
}

#[tokio::test]
async fn so_many_plans_are_made_at_once_and_no_more() {
    let stage = Stage::new().await;
    stage.two_tenants().await;
    let path = format!("{}/plan", acme());
    let permits = stage.app.plans.available_permits();
    let taken = stage.app.plans.acquire_many(u32::try_from(permits).unwrap()).await.unwrap();
    let (code, answer) = stage.get(&path).await;
    assert_eq!((code, &answer["details"]["retryAfterSeconds"]), (503, &json!(1)), "{answer}");
    drop(taken);
    assert_eq!(stage.get(&path).await.0, 200);
}

#[tokio::test]
async fn a_limited_admin_writes_no_status_that_names_machines_of_others() {
    let stage = Stage::new().await;
    stage.two_tenants().await;
    let chief = stage.token("chief", "admin", Some("tier=pro")).await;
    let path = format!("{}/status", acme());
    let machine = json!({
        "name": "acme-box-0", "id": "machine-of-umbra", "region": "ord", "state": "started",
        "ready": true,
    });
    let status = json!({ "status": { "app": "app-of-umbra", "machines": [machine] } });
    let (code, answer) = stage.as_caller(&chief, Method::PATCH, &path, &status).await;
    assert_eq!(code, 403, "{answer}");
    let read = stage.as_caller(&chief, Method::GET, &path, &Value::Null).await;
    assert_eq!(read.0, 200, "{}", read.1);
}

#[tokio::test]
async fn questions_leave_no_records_and_records_no_lines_of_their_own() {
    let stage = Stage::new().await;
    let reader = stage.token("reader", "read", None).await;
    let before = stage.audit().await.len();
    for method in [Method::OPTIONS, Method::HEAD, Method::TRACE] {
        stage.as_caller(&reader, method, TENANTS, &Value::Null).await;
    }
    assert_eq!(stage.audit().await.len(), before);
    let forged = format!("{TENANTS}/x%0A%1B%5B2J%E2%80%AEadmin");
    stage.as_caller(&reader, Method::DELETE, &forged, &Value::Null).await;
    let records = stage.audit().await;
    assert_eq!(records.len(), before + 1);
    let last = records.last().unwrap();
    let name = last["name"].as_str().unwrap();
    assert!(name.starts_with('x') && name.ends_with("admin"), "{name:?}");
    assert!(!name.contains(['\n', '\u{1b}', '\u{202e}']), "{name:?}");
}

#[tokio::test]
async fn who_hangs_up_has_asked_all_the_same() {
    let stage = Stage::new().await;
    let reader = stage.token("reader", "read", None).await;
    let gone = stage.token("gone", "read", None).await;
    // The first use of a token is written down before anything else.
    assert_eq!(stage.as_caller(&reader, Method::GET, TENANTS, &Value::Null).await.0, 200);
    let before = stage.audit().await.len();
    let requests =
        [(TOKEN, Method::DELETE, format!("{TOKENS}/gone")), (&reader, Method::DELETE, acme())];
    for (bearer, method, path) in requests {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {bearer}"))
            .body(Body::empty())
            .unwrap();
        let mut answer = Box::pin(stage.router.clone().oneshot(request));
        // The client is gone before the first thing that is waited for has happened.
        assert!(futures_util::poll!(&mut answer).is_pending());
        drop(answer);
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while stage.audit().await.len() < before + 2 {
        assert!(tokio::time::Instant::now() < deadline, "a record is missing");
        tokio::task::yield_now().await;
    }
    let mut code = 200;
    while code != 401 {
        assert!(tokio::time::Instant::now() < deadline, "a revoked token is still good");
        code = stage.as_caller(&gone, Method::GET, TENANTS, &Value::Null).await.0;
    }
}
