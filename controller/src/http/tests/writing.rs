//! Writes in all their forms, as kubectl and others send them.

use super::*;
use crate::accept::finalizers::TEARDOWN;

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

fn warnings(headers: &axum::http::HeaderMap) -> Vec<String> {
    headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn unknown_fields_are_refused_told_or_dropped_as_the_writer_asks() {
    let stage = Stage::new().await;
    let mut body = tenant("acme", "nginx:1");
    body["spec"]["regionn"] = json!("ord");
    body["metadata"]["labels"] = json!({ "tier": "pro" });
    let doubled = body.to_string().replace(r#""tier":"pro""#, r#""tier":"free","tier":"pro""#);
    let ask = async |mode: &str| {
        let path = format!("{TENANTS}?dryRun=All{mode}");
        stage.raw(TOKEN, (Method::POST, &path), (JSON, doubled.clone())).await
    };
    let (code, _, status) = ask("&fieldValidation=Strict").await;
    assert_eq!(code, 400);
    let message = status["message"].as_str().unwrap();
    let expected = r#"strict decoding error: unknown field "spec.regionn""#;
    assert!(message.starts_with(expected), "{message}");
    assert!(message.ends_with(r#"duplicate field "metadata.labels.tier""#), "{message}");
    for mode in ["", "&fieldValidation=Warn"] {
        let (code, headers, made) = ask(mode).await;
        assert_eq!((code, &made["metadata"]["labels"]["tier"]), (201, &json!("pro")));
        assert!(made["spec"].get("regionn").is_none());
        let told = warnings(&headers);
        assert!(told[0].starts_with(r#"299 - "unknown field \"spec.regionn\""#), "{told:?}");
        assert_eq!(told[1], r#"299 - "duplicate field \"metadata.labels.tier\"""#);
    }
    let (code, headers, _) = ask("&fieldValidation=Ignore").await;
    assert_eq!((code, warnings(&headers)), (201, Vec::new()));
}

#[tokio::test]
async fn a_secret_that_is_written_where_none_belongs_is_kept_nowhere() {
    let stage = Stage::new().await;
    let mut body = tenant("acme", "nginx:1");
    body["spec"]["machines"][0]["secretValue"] = json!("hunter2");
    body["spec"]["volumes"][0]["from"] = json!({ "value": "hunter2" });
    let applied = body.to_string();
    body["metadata"]["annotations"] =
        json!({ "kubectl.kubernetes.io/last-applied-configuration": applied });
    for mode in ["Warn", "Ignore"] {
        let path = format!("{TENANTS}?fieldValidation={mode}");
        let (code, made) = stage.ask(Method::POST, &path, body.clone()).await;
        assert_eq!(code, 201, "{made}");
        assert!(!made.to_string().contains("hunter2"), "{made}");
        let stored = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
        assert!(!format!("{stored:?}").contains("hunter2"));
        // What kubectl compares with the next time is otherwise whole.
        let kept = made["metadata"]["annotations"].as_object().unwrap().values().next().unwrap();
        let kept: Value = serde_json::from_str(kept.as_str().unwrap()).unwrap();
        assert_eq!(kept["spec"], made["spec"]);
        let version = stored.resource_version;
        stage.store.remove_object(Kind::Tenant, "acme", version).await.unwrap();
    }
    // `secrets[]` names where a value comes from; the value itself has no place in it.
    let mut body = tenant("beta", "nginx:1");
    body["spec"]["secrets"] = json!([{ "name": "A", "from": { "value": "hunter2" } }]);
    let applied = body.to_string();
    body["metadata"]["annotations"] =
        json!({ "kubectl.kubernetes.io/last-applied-configuration": applied });
    let path = format!("{TENANTS}?fieldValidation=Ignore");
    stage.ask(Method::POST, &path, body).await;
    let stored = stage.store.objects(Kind::Tenant).await.unwrap();
    assert!(!format!("{stored:?}").contains("hunter2"), "{stored:?}");
}

#[tokio::test]
async fn objects_come_as_json_or_yaml_and_patches_in_two_forms() {
    let stage = Stage::new().await;
    let yaml =
        "apiVersion: vaultctl.dev/v1\nkind: TenantClass\nmetadata: { name: dev }\nspec: {}\n";
    let made = stage.raw(TOKEN, (Method::POST, CLASSES), ("application/yaml", yaml.into())).await;
    assert_eq!((made.0, &made.2["metadata"]["name"]), (201, &json!("dev")));
    let path = format!("{CLASSES}/dev");
    let steps = json!([
        { "op": "test", "path": "/metadata/name", "value": "dev" },
        { "op": "add", "path": "/metadata/labels", "value": { "a": "1" } },
    ]);
    let form = ("application/json-patch+json", steps.to_string());
    let (code, _, after) = stage.raw(TOKEN, (Method::PATCH, &path), form).await;
    assert_eq!((code, &after["metadata"]["labels"]["a"]), (200, &json!("1")));
    let wrong = json!([{ "op": "remove", "path": "/spec/nothing" }]).to_string();
    let form = ("application/json-patch+json", wrong);
    assert_eq!(stage.raw(TOKEN, (Method::PATCH, &path), form).await.0, 422);
    for form in ["application/apply-patch+yaml", "application/strategic-merge-patch+json"] {
        let (code, _, status) = stage.raw(TOKEN, (Method::PATCH, &path), (form, "{}".into())).await;
        assert_eq!((code, &status["reason"]), (415, &json!("UnsupportedMediaType")), "{form}");
    }
    let protobuf = ("application/vnd.kubernetes.protobuf", "k8s".to_owned());
    assert_eq!(stage.raw(TOKEN, (Method::PUT, &path), protobuf).await.0, 415);
}

#[tokio::test]
async fn a_stale_write_names_the_object_and_another_uid_is_another_object() {
    let stage = Stage::new().await;
    let made = stage.ask(Method::POST, TENANTS, tenant("acme", "nginx:1")).await.1;
    for (field, value) in [("resourceVersion", "1"), ("uid", "nobody")] {
        let mut body = made.clone();
        body["metadata"][field] = json!(value);
        for method in [Method::PUT, Method::PATCH] {
            let (code, status) = stage.ask(method, &acme(), body.clone()).await;
            assert_eq!((code, &status["reason"]), (409, &json!("Conflict")), "{field}: {status}");
            assert_eq!(status["details"]["name"], "acme");
            assert_eq!(status["details"]["kind"], "tenants");
        }
    }
    let mut renamed = made.clone();
    renamed["metadata"]["name"] = json!("umbra");
    assert_eq!(stage.ask(Method::PATCH, &acme(), renamed).await.0, 400);
    // Nothing of it was taken, and the same object may come back as it was.
    assert_eq!(stage.ask(Method::PUT, &acme(), made.clone()).await, (200, made));
}

#[tokio::test]
async fn a_deleted_tenant_goes_when_the_last_finalizer_is_gone() {
    let stage = Stage::new().await;
    let mut body = tenant("acme", "nginx:1");
    body["metadata"]["finalizers"] = json!(["example.com/billing", TEARDOWN]);
    let made = stage.ask(Method::POST, TENANTS, body).await.1;
    assert_eq!(made["metadata"]["finalizers"], json!(["example.com/billing"]), "ours is ours");
    let (code, deleted) = stage.ask(Method::DELETE, &acme(), Value::Null).await;
    let finalizers = &deleted["metadata"]["finalizers"];
    assert_eq!((code, finalizers), (200, &json!(["example.com/billing", TEARDOWN])));
    let again = stage.ask(Method::POST, TENANTS, tenant("acme", "nginx:1")).await;
    assert_eq!((again.0, &again.1["reason"]), (409, &json!("AlreadyExists")));
    assert!(again.1["message"].as_str().unwrap().contains("being deleted"));
    let patch = |names: Value| json!({ "metadata": { "finalizers": names } });
    let (code, status) =
        stage.ask(Method::PATCH, &acme(), patch(json!(["example.com/late"]))).await;
    assert_eq!(
        (code, &status["details"]["causes"][0]["field"]),
        (422, &json!("metadata.finalizers"))
    );
    // Nobody takes ours away: machines would be left behind.
    let (code, after) = stage.ask(Method::PATCH, &acme(), patch(Value::Null)).await;
    assert_eq!((code, &after["metadata"]["finalizers"]), (200, &json!([TEARDOWN])));
    assert_eq!(stage.get(&acme()).await.0, 200);
}

#[tokio::test]
async fn the_last_foreign_finalizer_taken_away_lets_a_torn_down_tenant_go() {
    let stage = Stage::new().await;
    let mut body = tenant("acme", "nginx:1");
    body["metadata"]["finalizers"] = json!(["example.com/billing"]);
    stage.ask(Method::POST, TENANTS, body).await;
    stage.ask(Method::DELETE, &acme(), Value::Null).await;
    let stored = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    let done = crate::accept::finalizers::torn_down(&stored);
    stage.store.put_object(done, Some(stored.resource_version)).await.unwrap();
    let none = json!({ "metadata": { "finalizers": [] } });
    let dry = format!("{}?dryRun=All", acme());
    assert_eq!(stage.ask(Method::PATCH, &dry, none.clone()).await.0, 200);
    assert_eq!(stage.get(&acme()).await.0, 200);
    assert_eq!(stage.ask(Method::PATCH, &acme(), none).await.0, 200);
    assert_eq!(stage.get(&acme()).await.0, 404);
    let events = stage.store.events(Some("acme")).await.unwrap();
    assert!(events.iter().any(|series| series.event.reason == "Deleted"), "{events:?}");
}

#[tokio::test]
async fn finalizers_have_names_of_a_domain_and_not_many() {
    let stage = Stage::new().await;
    let many: Vec<String> = (0..21).map(|number| format!("example.com/f{number}")).collect();
    for bad in [json!(["plain"]), json!(["example.com/"]), json!(many)] {
        let mut body = tenant("acme", "nginx:1");
        body["metadata"]["finalizers"] = bad.clone();
        let (code, status) = stage.ask(Method::POST, TENANTS, body).await;
        assert_eq!(code, 422, "{bad}: {status}");
    }
}

#[tokio::test]
async fn a_delete_keeps_to_its_options_wherever_they_stand() {
    let stage = Stage::new().await;
    stage.ask(Method::POST, CLASSES, class("dev")).await;
    let path = format!("{CLASSES}/dev");
    for (query, body) in [
        ("?propagationPolicy=Orphan", Value::Null),
        ("", json!({ "propagationPolicy": "Orphan" })),
        ("", json!({ "orphanDependents": true })),
        ("?propagationPolicy=Backgroud", Value::Null),
        ("", json!({ "gracePeriodSeconds": -1 })),
    ] {
        let (code, status) =
            stage.ask(Method::DELETE, &format!("{path}{query}"), body.clone()).await;
        assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")), "{query} {body}");
    }
    let wrong = json!({ "preconditions": { "resourceVersion": "1" } });
    assert_eq!(stage.ask(Method::DELETE, &path, wrong).await.0, 409);
    let dry = stage.ask(Method::DELETE, &format!("{path}?dryRun=All"), Value::Null).await;
    assert_eq!((dry.0, &dry.1["status"]), (200, &json!("Success")));
    let options = json!({
        "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
        "propagationPolicy": "Background",
    });
    let (code, status) = stage.ask(Method::DELETE, &path, options).await;
    assert_eq!((code, &status["status"]), (200, &json!("Success")));
    assert!(status["details"]["uid"].is_string());
    assert_eq!(stage.get(&path).await.0, 404);
}

#[tokio::test]
async fn status_and_spec_are_written_through_their_own_doors() {
    let stage = Stage::new().await;
    let made = stage.ask(Method::POST, TENANTS, tenant("acme", "nginx:1")).await.1;
    let status = json!({ "observedGeneration": 7, "conditions": [] });
    let change = json!({ "status": status, "metadata": { "labels": { "a": "1" } } });
    let (_, after) = stage.ask(Method::PATCH, &acme(), change.clone()).await;
    assert_eq!((after.get("status"), &after["metadata"]["labels"]["a"]), (None, &json!("1")));
    let door = format!("{}/status", acme());
    let mut both = change;
    both["metadata"]["labels"]["a"] = json!("2");
    both["spec"] = json!({ "machines": [] });
    let (code, after) = stage.ask(Method::PATCH, &door, both).await;
    assert_eq!((code, &after["status"]["observedGeneration"]), (200, &json!(7)));
    assert_eq!((&after["metadata"]["labels"]["a"], &after["spec"]), (&json!("1"), &made["spec"]));
    assert_eq!(after["metadata"]["generation"], 1);
    let mut stale = after.clone();
    stale["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    assert_eq!(stage.ask(Method::PUT, &door, stale).await.0, 409);
    let bad = json!({ "status": { "observedGeneration": "many" } });
    assert_eq!(stage.ask(Method::PATCH, &door, bad).await.0, 422);
    assert_eq!(stage.get(&door).await, (200, after));
}

#[tokio::test]
async fn a_label_from_the_api_survives_a_change_of_the_file() {
    let stage = Stage::new().await;
    let source = Source::Folder { file: "a.yaml".to_owned() };
    let mut file = tenant("acme", "nginx:1");
    file["metadata"]["labels"] = json!({ "tier": "pro", "old": "1" });
    put(&stage.store, &file, source.clone()).await;
    let patch = json!({ "metadata": { "labels": { "seen": "yes" } } });
    let form = (MERGE, patch.to_string());
    assert_eq!(stage.raw(TOKEN, (Method::PATCH, &acme()), form).await.0, 200);
    file["metadata"]["labels"] = json!({ "tier": "free" });
    let stored = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    let writer = crate::accept::Writer { source: &source, take_ownership: false, rehearsal: false };
    let document = crate::testing::document(&file);
    let decided = crate::accept::decide(&document, Some(&stored), writer, &controller(), NOW);
    let shown = crate::accept::to_json(decided.unwrap().object());
    assert_eq!(shown["metadata"]["labels"], json!({ "tier": "free", "seen": "yes" }));
    assert!(!shown.to_string().contains("setByFile"));
}
