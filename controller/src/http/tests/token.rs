//! The `token` subresource over HTTP.

use std::collections::BTreeSet;

use super::*;
use crate::store::Store;

fn token() -> String {
    format!("{}/token", acme())
}

/// `acme` with the deploy token `ci`.
fn wanted() -> Value {
    let mut wanted = tenant("acme", "nginx:1");
    wanted["spec"]["tokens"] = json!({ "deploy": [{ "name": "ci", "ttl": "24h" }] });
    wanted
}

impl Stage {
    async fn mint_and_wait(&self) {
        let reconciler = self.app.reconciler.get().unwrap();
        reconciler.pass(&BTreeSet::new()).await.unwrap();
    }
}

async fn minted() -> Stage {
    let stage = Stage::new().await;
    put(&stage.store, &wanted(), Source::Api).await;
    stage.mint_and_wait().await;
    stage
}

#[tokio::test]
async fn a_token_is_given_out_recorded_and_kept_by_nobody_on_the_way() {
    let stage = minted().await;
    let body = json!({ "name": "ci" }).to_string();
    let form = ("application/json", body);
    let (code, headers, answer) = stage.raw(TOKEN, (Method::POST, &token()), form).await;
    assert_eq!(code, 200, "{answer}");
    assert_eq!(headers["cache-control"], "no-store");
    let expected = json!({
        "token": "FlyV1 fm2_lat_1", "name": "ci", "expiresAt": "2026-01-02T00:00:00Z",
    });
    assert_eq!(answer, expected);
    let (_, log) = stage.ask(Method::GET, "/audit-log", Value::Null).await;
    let records = log["items"].as_array().unwrap();
    let record = records.iter().find(|record| record["subresource"] == "token").unwrap();
    assert_eq!(record["message"], "gave out deploy token ci (1)");
    assert_eq!((&record["name"], &record["code"]), (&json!("acme"), &json!(200)));
    assert!(!log.to_string().contains("fm2_"), "{log}");
}

#[tokio::test]
async fn no_other_answer_event_or_file_holds_a_token() {
    let stage = minted().await;
    stage.mint_and_wait().await;
    for path in
        [acme(), TENANTS.to_owned(), "/api/v1/events".to_owned(), format!("{}/plan", acme())]
    {
        let (_, answer) = stage.ask(Method::GET, &path, Value::Null).await;
        assert!(!answer.to_string().contains("fm2_"), "{path}: {answer}");
    }
    let (_, answer) = stage.ask(Method::GET, &acme(), Value::Null).await;
    let token = &answer["status"]["tokens"][0];
    assert_eq!((&token["name"], &token["n"]), (&json!("ci"), &json!(1)), "{answer}");
    assert_eq!(token["expiresAt"], "2026-01-02T00:00:00Z");
    assert_eq!(token["nextRotation"], "2026-01-01T18:00:00Z");
    for file in std::fs::read_dir(stage._folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"fm2_"), "a file holds a token");
    }
}

#[tokio::test]
async fn what_there_is_no_token_for_says_why_and_whether_to_try_again() {
    let stage = Stage::new().await;
    let ask = async |body: Value| {
        let (code, answer) = stage.ask(Method::POST, &token(), body).await;
        (code, answer["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask(json!({ "name": "ci" })).await.0, 404, "there is no such tenant");
    put(&stage.store, &wanted(), Source::Api).await;
    let (code, message) = ask(json!({ "name": "ci" })).await;
    assert_eq!(code, 503, "{message}");
    assert!(message.contains("not there yet"), "{message}");
    let (code, message) = ask(json!({ "name": "cii" })).await;
    assert_eq!(code, 404);
    assert!(message.contains("but ci; did you mean `ci`?"), "{message}");
    for bad in [json!({}), json!({ "nam": "ci" }), json!("ci"), json!({ "name": 7 })] {
        assert_eq!(ask(bad.clone()).await.0, 400, "{bad}");
    }
    assert_eq!(stage.ask(Method::GET, &token(), Value::Null).await.0, 405);
    // One that has ended opens nothing, and is not given out.
    stage.mint_and_wait().await;
    assert_eq!(ask(json!({ "name": "ci" })).await.0, 200);
    stage.clock.advance(std::time::Duration::from_secs(86_400));
    assert_eq!(ask(json!({ "name": "ci" })).await.0, 503);
    let stored = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    let version = Some(stored.resource_version);
    let deleted = crate::store::StoredObject { deleted_at: Some(NOW), ..stored };
    stage.store.put_object(deleted, version).await.unwrap();
    assert_eq!(ask(json!({ "name": "ci" })).await.0, 409);
}

#[tokio::test]
async fn a_token_is_for_operators_of_that_tenant_alone() {
    let stage = minted().await;
    let mut bearers = Vec::new();
    for (name, role, selector) in
        [("looks", "read", None), ("other", "operate", Some("tier=pro")), ("good", "operate", None)]
    {
        let spec = json!({ "role": role, "selector": selector });
        let body = json!({
            "apiVersion": "vaultctl.dev/v1", "kind": "OperatorToken",
            "metadata": { "name": name }, "spec": spec,
        });
        let path = "/apis/vaultctl.dev/v1/operatortokens";
        let (code, made) = stage.ask(Method::POST, path, body).await;
        assert_eq!(code, 201, "{made}");
        bearers.push(made["status"]["token"].as_str().unwrap().to_owned());
    }
    let mut codes = Vec::new();
    for bearer in bearers.iter().map(String::as_str).chain(["nobody"]) {
        let form = ("application/json", json!({ "name": "ci" }).to_string());
        let (code, _, answer) = stage.raw(bearer, (Method::POST, &token()), form).await;
        assert!(code == 200 || !answer.to_string().contains("fm2_"));
        codes.push(code);
    }
    assert_eq!(codes, [403, 404, 200, 401]);
}

#[tokio::test]
async fn a_value_that_was_moved_from_another_tenant_is_not_given_out() {
    let stage = minted().await;
    let mut bob = wanted();
    bob["metadata"]["name"] = json!("bob");
    put(&stage.store, &bob, Source::Api).await;
    stage.mint_and_wait().await;
    // What somebody with the database, and without the master key, can do.
    let database = rusqlite::Connection::open(stage._folder.path().join("controller.db")).unwrap();
    let acme = controller().tenant_uid("acme").to_string();
    let moved = "UPDATE credential SET sealed = (SELECT sealed FROM credential WHERE tenant_uid = \
                 ?1) WHERE tenant_uid <> ?1";
    assert_eq!(database.execute(moved, [&acme]).unwrap(), 1);
    let path = format!("{TENANTS}/bob/token");
    let (code, answer) = stage.ask(Method::POST, &path, json!({ "name": "ci" })).await;
    assert_eq!(code, 503, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("for something else"), "{answer}");
}
