//! Faults over HTTP: what a client meets, and how the operator sees and sets them.

#[path = "support/platform.rs"]
mod support;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Platform, platform};

const FAULTS: &str = "/_emulator/faults";

async fn set(platform: &Platform, faults: Value) {
    let (status, body) = platform.call(Method::PUT, FAULTS, Some(faults)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

async fn fired(platform: &Platform) -> Vec<u64> {
    let (_, shown) = platform.get(FAULTS).await;
    let shown = shown.as_array().expect("a list").iter();
    shown.map(|fault| fault["fired"].as_u64().expect("a number")).collect()
}

/// A call whose answer may not come.
async fn attempt(platform: &Platform, method: Method, path: &str, body: &Value) -> Option<u16> {
    let request = platform.client.request(method, format!("{}{path}", platform.emulator.url()));
    let request = request.header("authorization", &platform.token).body(body.to_string());
    Some(request.send().await.ok()?.status().as_u16())
}

#[tokio::test]
async fn only_the_operator_sees_and_sets_faults_and_errors_say_what_is_wrong() {
    let (platform, _directory) = platform().await;
    let url = format!("{}{FAULTS}", platform.emulator.url());
    let org = format!("Bearer {}", platform.emulator.org_token("local").expect("a token"));
    for (token, wanted) in [(Some(org), 403), (None, 401)] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let request = platform.client.request(method.clone(), &url).body("[]");
            let request = match &token {
                Some(token) => request.header("authorization", token),
                None => request,
            };
            let status = request.send().await.expect("an answer").status();
            assert_eq!(status.as_u16(), wanted, "{method}");
        }
    }
    let wrong = json!([{ "kind": "lost-replay" }]);
    let (status, body) = platform.call(Method::PUT, FAULTS, Some(wrong)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let text = "fault 1: kind: unknown kind `lost-replay`; did you mean `lost-reply`?";
    assert_eq!(body, json!({ "error": text }));
    assert_eq!(platform.get(FAULTS).await.1, json!([]));

    set(&platform, json!([{ "kind": "fail", "action": "list-apps", "times": 3 }])).await;
    let wanted = json!([{ "kind": "fail", "action": "list-apps", "times": 3,
                          "matched": 0, "fired": 0, "active": true }]);
    assert_eq!(platform.get(FAULTS).await.1, wanted);
    assert_eq!(platform.get("/v1/apps?org_slug=local").await.0.as_u16(), 503);
    assert_eq!(fired(&platform).await, [1]);
    let off = platform.client.get(format!("{}/v1/apps?org_slug=local", platform.emulator.url()));
    let off = off.header("authorization", &platform.token).header("vault-emulator-faults", "off");
    assert_eq!(off.send().await.expect("an answer").status(), StatusCode::OK);
    assert_eq!(fired(&platform).await, [1]);
    let (status, body) = platform.call(Method::DELETE, FAULTS, None).await;
    assert_eq!((status, body), (StatusCode::OK, json!([])));
    assert_eq!(platform.get("/v1/apps?org_slug=local").await.0, StatusCode::OK);
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn lost_calls_end_the_connection_before_or_after_they_act() {
    let (platform, _directory) = platform().await;
    let create = |name: &str| json!({ "app_name": name, "org_slug": "local" });
    set(&platform, json!([{ "kind": "lost-request", "times": 1 }])).await;
    assert_eq!(attempt(&platform, Method::POST, "/v1/apps", &create("one")).await, None);
    assert_eq!(platform.get("/v1/apps/one").await.0, StatusCode::NOT_FOUND);
    set(&platform, json!([{ "kind": "lost-reply", "times": 1 }])).await;
    assert_eq!(attempt(&platform, Method::POST, "/v1/apps", &create("two")).await, None);
    assert_eq!(platform.get("/v1/apps/two").await.0, StatusCode::OK);
    set(&platform, json!([{ "kind": "act-then-fail", "status": 502 }])).await;
    assert_eq!(attempt(&platform, Method::POST, "/v1/apps", &create("three")).await, Some(502));
    assert_eq!(platform.get("/v1/apps/three").await.0, StatusCode::OK);
    set(&platform, json!([{ "kind": "delivered-twice" }])).await;
    let (status, body) = platform.post("/v1/apps", create("four")).await;
    assert_eq!((status.as_u16(), &body["status"]), (422, &json!("name_taken")), "{body}");
    assert_eq!(platform.get("/v1/apps/four").await.0, StatusCode::OK);
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn presets_answer_in_the_platforms_words() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    let id = platform.machine("web", "one").await;
    platform.wait("web", &id, "started").await;
    let machine = format!("/v1/apps/web/machines/{id}");
    let config = json!({ "image": "nginx:1", "mounts": [{ "volume": "vol_1", "path": "/d" }] });
    let body = json!({ "name": "two", "region": "ams", "config": config });
    let cases = [
        (
            json!({ "kind": "region-full" }),
            "/v1/apps/web/machines",
            422,
            "could not find a candidate host",
            json!("insufficient_capacity"),
        ),
        (
            json!({ "kind": "host-full" }),
            "/v1/apps/web/machines",
            409,
            "aborted: could not reserve resource for machine",
            Value::Null,
        ),
        (
            json!({ "kind": "volume-host-full" }),
            "/v1/apps/web/machines",
            412,
            "existing volume 'vol_1'",
            json!("volume_placement_capacity"),
        ),
        (
            json!({ "kind": "organization-limit", "status": 403 }),
            "/v1/apps/web/machines",
            403,
            "billing@fly.io",
            Value::Null,
        ),
        (
            json!({ "kind": "rate-limit" }),
            "/v1/apps/web/machines",
            429,
            "rate limit exceeded",
            Value::Null,
        ),
        (
            json!({ "kind": "token-trouble" }),
            "/v1/apps/web/machines",
            401,
            "Authenticate: token validation error",
            Value::Null,
        ),
        (json!({ "kind": "dead-host" }), machine.as_str(), 408, "deadline_exceeded", Value::Null),
        (
            json!({ "kind": "foreign-lease", "for": "1h" }),
            machine.as_str(),
            409,
            "lease currently held by",
            Value::Null,
        ),
        (
            json!({ "kind": "name-taken" }),
            "/v1/apps",
            422,
            "Name has already been taken",
            json!("name_taken"),
        ),
    ];
    for (fault, path, status, text, code) in cases {
        set(&platform, json!([fault])).await;
        let (seen, answer) = platform.post(path, body.clone()).await;
        assert_eq!((seen.as_u16(), &answer["status"]), (status, &code), "{fault}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(text)), "{answer}");
    }
    assert_eq!(platform.call(Method::DELETE, FAULTS, None).await.0, StatusCode::OK);
    let (_, machines) = platform.get("/v1/apps/web/machines").await;
    assert_eq!(machines.as_array().map(Vec::len), Some(1), "nothing was carried out");
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn a_stop_waits_for_a_foreign_lease_and_happens_although_its_caller_left() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    let id = platform.machine("web", "one").await;
    platform.wait("web", &id, "started").await;
    set(&platform, json!([{ "kind": "foreign-lease" }])).await;
    let stop = format!("{}/v1/apps/web/machines/{id}/stop", platform.emulator.url());
    let request = platform.client.post(stop).header("authorization", &platform.token);
    let left = request.timeout(Duration::from_millis(200)).send().await;
    assert!(left.expect_err("it waits").is_timeout());
    assert_eq!(fired(&platform).await, [1]);
    let (_, machine) = platform.get(&format!("/v1/apps/web/machines/{id}")).await;
    assert_eq!(machine["state"], "started");
    assert_eq!(platform.call(Method::DELETE, FAULTS, None).await.0, StatusCode::OK);
    platform.wait("web", &id, "stopped").await;
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn an_emulator_starts_with_faults_and_ends_while_calls_wait() {
    let directory = tempfile::tempdir().expect("a folder");
    let file = directory.path().join("faults.yaml");
    std::fs::write(&file, "- kind: latency\n  delay: 1h\n  action: list-apps\n").expect("writes");
    let faults = vault_emulator::faults::Fault::read_file(&file).expect("reads");
    let config = support::config(&directory.path().join("data"));
    let platform = support::start(vault_emulator::EmulatorConfig { faults, ..config }).await;
    let url = format!("{}/v1/apps?org_slug=local", platform.emulator.url());
    let request = platform.client.get(url).header("authorization", &platform.token);
    let mut waiting = tokio::task::JoinSet::new();
    waiting.spawn(request.send());
    let seen = tokio::time::timeout(Duration::from_secs(30), async {
        while fired(&platform).await != [1] {
            tokio::task::yield_now().await;
        }
    });
    seen.await.expect("the call waits");
    let ended = tokio::time::timeout(Duration::from_secs(20), platform.emulator.shutdown());
    ended.await.expect("ends all the same");
    drop(waiting.join_next().await.expect("a task").expect("that ends"));

    std::fs::write(&file, "- kind: latency\n").expect("writes");
    let error = vault_emulator::faults::Fault::read_file(&file).expect_err("wrong");
    let place = format!("{}:1:3: fault 1 (latency): this kind needs `delay`", file.display());
    assert_eq!(error.to_string(), place);
}
