//! The `connect` subresource over HTTP.

use super::*;
use crate::store::Store;

fn connect() -> String {
    format!("{}/connect", acme())
}

fn request(spec: Value) -> Value {
    json!({ "apiVersion": "vaultctl.dev/v1", "kind": "ConnectRequest", "spec": spec })
}

/// A stored tenant whose machine was last seen in this state.
async fn staged(state: &str) -> Stage {
    let stage = Stage::new().await;
    put(&stage.store, &tenant("acme", "registry.fly.io/x/agent:1"), Source::Api).await;
    let machine = json!({
        "name": "acme-box-0", "id": "m1", "state": state, "region": "ord",
        "privateIp": "127.0.9.1", "version": "01V", "ready": true,
    });
    let status = json!({ "observedGeneration": 1, "conditions": [], "machines": [machine] });
    stage.store.put_statuses(vec![("acme".to_owned(), status.to_string())]).await.unwrap();
    stage
}

#[tokio::test]
async fn a_started_machine_is_told_with_its_credential_and_nobody_keeps_the_answer() {
    let stage = staged("started").await;
    let body = request(json!({ "machine": "box-0" }));
    let (code, answer) = stage.ask(Method::POST, &connect(), body.clone()).await;
    assert_eq!(code, 201, "{answer}");
    let status = &answer["status"];
    assert_eq!(status["address"], "127.0.9.1:8443");
    assert_eq!(status["runsAgent"], true);
    assert_eq!(status["evidence"]["issuer"], format!("https://oidc.example/{ORG}"));
    let secret = tenant_secrets().tenant_secret(controller().tenant_uid("acme"));
    let key = secret.proof_key("m1").text();
    assert_eq!(status["credential"], json!({ "scheme": "hmac-sha256", "key": *key }));
    let raw = Request::builder()
        .method(Method::POST)
        .uri(connect())
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = stage.router.clone().oneshot(raw).await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn what_cannot_be_reached_says_why_and_whether_to_try_again() {
    let stage = staged("stopped").await;
    let ask = async |path: &str, body| stage.ask(Method::POST, path, body).await;
    let (code, answer) = ask(&connect(), request(json!({}))).await;
    assert_eq!((code, &answer["details"]["retryAfterSeconds"]), (503, &json!(1)), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("is stopped"), "{answer}");
    let (code, answer) = ask(&connect(), request(json!({ "machine": "box-7" }))).await;
    assert_eq!(code, 422);
    assert!(answer["message"].as_str().unwrap().contains("box-0"), "{answer}");
    let nobody = format!("{TENANTS}/nobody/connect");
    assert_eq!(ask(&nobody, request(json!({}))).await.0, 404);
    for bad in [json!({}), request(json!({ "machin": "box-0" })), json!({"kind": "Tenant"})] {
        assert_eq!(ask(&connect(), bad).await.0, 400);
    }
    assert_eq!(stage.ask(Method::GET, &connect(), Value::Null).await.0, 405);
}

#[tokio::test]
async fn the_credential_is_the_operators() {
    let stage = staged("started").await;
    let body = request(json!({}));
    let unsigned = Request::builder().method(Method::POST).uri(connect());
    let unsigned = unsigned.body(Body::from(body.to_string())).unwrap();
    assert_eq!(stage.send(unsigned).await.0, StatusCode::UNAUTHORIZED);
}
