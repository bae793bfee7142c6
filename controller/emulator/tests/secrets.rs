//! App secrets over real HTTP, and in machines.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[path = "support/platform.rs"]
mod support;

use self::support::{Platform, config, console, error, platform, start, with_processes};

const SECRETS: &str = "/v1/apps/web/secrets";

/// Whatever is answered, no value is in it.
async fn quietly(
    platform: &Platform,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let answer = platform.call(method, path, body).await;
    assert!(!answer.1.to_string().contains("hush"), "{path}: {}", answer.1);
    answer
}

fn versions(body: &Value) -> (u64, u64) {
    (body["version"].as_u64().expect("a number"), body["Version"].as_u64().expect("a number"))
}

#[tokio::test]
async fn secrets_are_set_shown_and_removed_in_versions() {
    let (platform, directory) = platform().await;
    platform.app("web").await;
    assert_eq!(platform.get(SECRETS).await, (StatusCode::OK, json!({ "secrets": [] })));

    let one = format!("{SECRETS}/ONE");
    let (status, first) =
        quietly(&platform, Method::POST, &one, Some(json!({ "value": "hush-1" }))).await;
    assert_eq!((status, versions(&first)), (StatusCode::CREATED, (1, 1)), "{first}");
    assert_eq!(first["name"], "ONE");
    let (_, second) =
        quietly(&platform, Method::POST, &one, Some(json!({ "value": "hush-2" }))).await;
    assert_ne!(second["digest"], first["digest"]);
    assert_eq!(second["created_at"], first["created_at"]);

    let values = json!({ "values": { "ONE": null, "TWO": "hush-2", "THREE": "" } });
    let (status, bulk) = quietly(&platform, Method::POST, SECRETS, Some(values)).await;
    assert_eq!((status, versions(&bulk)), (StatusCode::OK, (3, 3)));
    let names = |body: &Value| -> Vec<String> {
        let rows = body["secrets"].as_array().expect("secrets");
        rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&bulk), ["THREE", "TWO"]);
    assert_ne!(bulk["secrets"][1]["digest"], second["digest"]);
    let (_, empty) = quietly(&platform, Method::POST, SECRETS, Some(json!({}))).await;
    assert_eq!(versions(&empty), (3, 3));

    let (_, list) = quietly(&platform, Method::GET, &format!("{SECRETS}?version=3"), None).await;
    assert_eq!(names(&list), ["THREE", "TWO"]);
    let late = "failed_precondition: min_secrets_version 4: the app's secrets are at version 3";
    for parameter in ["min_version", "version"] {
        let refused = platform.get(&format!("{SECRETS}?{parameter}=4")).await;
        assert_eq!(refused, (StatusCode::PRECONDITION_FAILED, error(late)));
    }
    let malformed = platform.get(&format!("{SECRETS}?min_version=x")).await;
    assert_eq!(malformed.0, StatusCode::BAD_REQUEST);
    let (_, shown) = platform.get(&format!("{SECRETS}?show_secrets=true")).await;
    assert_eq!(shown["secrets"][1]["value"], "hush-2");
    let (_, shown) = platform.get(&format!("{SECRETS}/TWO?show_secrets=true")).await;
    assert_eq!(shown["value"], "hush-2");
    let (status, quiet) = quietly(&platform, Method::GET, &format!("{SECRETS}/TWO"), None).await;
    assert_eq!((status, &quiet["digest"]), (StatusCode::OK, &shown["digest"]));
    assert!(quiet["created_at"].is_string() && quiet["updated_at"].is_string());

    let two = format!("{SECRETS}/TWO");
    let deleted = platform.call(Method::DELETE, &two, None).await;
    assert_eq!(deleted, (StatusCode::OK, json!({ "version": 4, "Version": 4 })));
    let gone = (StatusCode::NOT_FOUND, error("secret not found"));
    assert_eq!(platform.call(Method::DELETE, &two, None).await, gone);
    assert_eq!(platform.get(&two).await, gone);
    platform.emulator.shutdown().await;

    // What was acknowledged is there again, in a file that is its owner's alone.
    use std::os::unix::fs::PermissionsExt;
    let world = std::fs::metadata(directory.path().join("world.jsonl")).expect("a file");
    assert_eq!(world.permissions().mode() & 0o777, 0o600);
    let platform = start(config(directory.path())).await;
    assert_eq!(names(&platform.get(SECRETS).await.1), ["THREE"]);
    let (_, next) =
        quietly(&platform, Method::POST, &two, Some(json!({ "value": "hush-2" }))).await;
    assert_eq!((versions(&next), &next["digest"]), ((5, 5), &shown["digest"]));
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_not_quoted() {
    let (mut platform, _directory) = platform().await;
    platform.app("web").await;
    let post = Method::POST;
    for (path, body, status) in [
        (SECRETS, json!({ "values": { "BAD-NAME": "hush" } }), 400),
        (SECRETS, json!({ "values": "hush" }), 400),
        (SECRETS, json!({ "values": { "A": ["hush"] } }), 400),
        (SECRETS, json!(["hush"]), 400),
        ("/v1/apps/web/secrets/A", json!({ "value": { "hush": 1 } }), 400),
        ("/v1/apps/web/secrets/A", json!({}), 400),
        ("/v1/apps/web/secrets/A", json!({ "value": "hush\0" }), 400),
        ("/v1/apps/web/secrets/1A", json!({ "value": "hush" }), 400),
        ("/v1/apps/web/secrets/A", json!({ "value": "hush".repeat(20_000) }), 400),
        ("/v1/apps/none/secrets/A", json!({ "value": "hush" }), 404),
    ] {
        let (found, answer) = quietly(&platform, post.clone(), path, Some(body)).await;
        assert_eq!(found.as_u16(), status, "{path}: {answer}");
    }
    assert_eq!(platform.get(SECRETS).await.1, json!({ "secrets": [] }));
    let token = platform.emulator.org_token("other").expect("a token");
    platform.token = format!("Bearer {token}");
    for method in [Method::GET, Method::POST] {
        let (status, _) = platform.call(method, SECRETS, None).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn a_machine_waits_for_no_version_that_is_not_there() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    platform.post(SECRETS, json!({ "values": { "A": "1" } })).await;
    let machine = |version: u64| json!({ "name": "m", "min_secrets_version": version, "config": { "image": "a" } });
    let machines = "/v1/apps/web/machines";
    let (status, body) = platform.post(machines, machine(2)).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    let text = body["error"].as_str().expect("a text");
    assert!(text.contains("min_secrets_version 2") && text.contains("at version 1"), "{text}");
    let (status, created) = platform.post(machines, machine(1)).await;
    assert_eq!(status, StatusCode::OK, "{created}");
    let path = format!("{machines}/{}", created["id"].as_str().expect("an id"));
    assert_eq!(platform.post(&path, machine(2)).await.0, StatusCode::PRECONDITION_FAILED);
    assert_eq!(platform.post(&path, machine(0)).await.0, StatusCode::OK);
    platform.emulator.shutdown().await;
}

/// A machine has the secrets of the moment at which its process starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_has_the_secrets_of_its_start() {
    let directory = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let platform = start(with_processes(directory.path(), None)).await;
    platform.app("web").await;
    let set = async |value: &str| {
        let (status, _) = platform.post(&format!("{SECRETS}/S"), json!({ "value": value })).await;
        assert_eq!(status, StatusCode::CREATED);
    };
    set("first").await;
    let config = json!({
        "image": "a", "env": { "S": "config" },
        "init": { "exec": ["/bin/sh", "-c", "echo value $S; exec sleep 1000"] },
    });
    let id = platform.create("web", "m", config).await;
    platform.wait("web", &id, "started").await;
    support::wait_for_console(directory.path(), &id, "value first").await;
    set("second").await;
    assert!(!console(directory.path(), &id).contains("second"), "setting restarts nothing");
    platform.post(&format!("/v1/apps/web/machines/{id}/restart"), json!({})).await;
    let printed = support::wait_for_console(directory.path(), &id, "value second").await;
    assert!(!printed.contains("config"), "{printed}");
    platform.emulator.shutdown().await;
}
