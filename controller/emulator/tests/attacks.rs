//! Requests that are not meant well, over real HTTP, and what has to hold all the same.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use vault_emulator::EmulatorConfig;

#[path = "support/platform.rs"]
mod support;

use self::support::{error, platform, start};

/// As many arrays within each other.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!("x"), |inner, _| json!([inner]))
}

#[tokio::test]
async fn what_is_taken_can_be_read_again_however_deep_it_is() {
    let (platform, directory) = platform().await;
    platform.app("web").await;
    let config = |levels| json!({ "config": { "image": "nginx:1", "more": nested(levels) } });
    let policy = |levels| json!({ "name": "p", "selector": nested(levels), "rules": [] });
    for levels in [62, 63, 64, 110, 125, 300] {
        for (path, body, most) in [
            ("/v1/apps/web/machines", config(levels), 62),
            ("/v1/apps/web/network_policies", policy(levels), 63),
        ] {
            let (status, body) = platform.post(path, body).await;
            if levels <= most {
                assert_eq!(status, StatusCode::OK, "{path} {levels}: {body}");
            } else {
                assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {levels}");
                let text = body["error"].as_str().expect("text");
                assert!(text.contains("invalid request body"), "{text}");
            }
        }
    }
    let (_, machines) = platform.get("/v1/apps/web/machines").await;
    let (_, policies) = platform.get("/v1/apps/web/network_policies").await;
    platform.emulator.shutdown().await;

    let platform = start(support::config(directory.path())).await;
    let (_, again) = platform.get("/v1/apps/web/machines").await;
    assert_eq!(again[0]["config"], machines[0]["config"]);
    assert_eq!(platform.get("/v1/apps/web/network_policies").await.1, policies);
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused_as_json() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    let refused = |name: &str| {
        let text =
            format!("invalid_argument: invalid path: Invalid URL: Invalid UTF-8 in `{name}`");
        (StatusCode::BAD_REQUEST, error(&text))
    };
    for (path, name) in [
        ("/v1/apps/%ff", "app"),
        ("/v1/apps/web/machines/%ff%fe", "machine"),
        ("/v1/apps/web/secrets/%c3%28", "name"),
        ("/v1/orgs/%ff/volumes", "org"),
    ] {
        assert_eq!(platform.get(path).await, refused(name), "{path}");
    }
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn unset_members_are_null_and_hostnames_have_no_case() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    platform.post("/v1/apps/web/secrets/OLD", json!({ "value": "v" })).await;
    let set = async |replace_all: Value| {
        let input = json!({
            "appId": "web", "replaceAll": replace_all, "secrets": [{ "key": "NEW", "value": "v" }],
        });
        let query = "mutation($input: X!) { setSecrets(input: $input) { release { id } } }";
        let body = json!({ "query": query, "variables": { "input": input } });
        let (_, answer) = platform.post("/graphql", body).await;
        assert_eq!(answer, json!({ "data": { "setSecrets": { "release": null } } }));
        let (_, listed) = platform.get("/v1/apps/web/secrets").await;
        let names = listed["secrets"].as_array().expect("rows").iter();
        names.map(|secret| secret["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(set(Value::Null).await, ["NEW", "OLD"]);
    assert_eq!(set(json!(true)).await, ["NEW"]);

    let policy = json!({ "name": null, "selector": null, "rules": null });
    let (status, body) = platform.post("/v1/apps/web/network_policies", policy).await;
    assert_eq!((status, &body["rules"]), (StatusCode::OK, &json!([])), "{body}");

    let host = json!({ "hostname": "Web.example.com" });
    platform.post("/v1/apps/web/certificates/acme", host).await;
    let path = "/v1/apps/web/certificates/WEB.example.com";
    let (status, shown) = platform.get(path).await;
    assert_eq!((status, &shown["hostname"]), (StatusCode::OK, &json!("web.example.com")));
    assert_eq!(platform.call(Method::DELETE, path, None).await.0, StatusCode::NO_CONTENT);
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn nobody_uses_up_the_limits_of_an_app_that_is_not_theirs() {
    let directory = tempfile::tempdir().expect("a folder");
    let limited = EmulatorConfig { rate_limits: true, ..support::config(directory.path()) };
    let mut platform = start(limited).await;
    platform.app("web").await;
    let id = platform.machine("web", "one").await;
    let owner = platform.token.clone();
    let stranger = platform.emulator.org_token("other").expect("a token");
    platform.token = format!("Bearer {stranger}");
    let paths = ["/v1/apps/web/machines".to_owned(), format!("/v1/apps/web/machines/{id}/events")];
    for path in paths.iter().cycle().take(12) {
        let refused = (StatusCode::FORBIDDEN, error("unauthorized"));
        assert_eq!(platform.get(path).await, refused, "{path}");
    }
    // Nor is a stranger told what is wrong with a request.
    let (status, _) = platform.post("/v1/apps/web/certificates/custom", json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    platform.token = owner;
    for path in &paths {
        assert_eq!(platform.get(path).await.0, StatusCode::OK, "{path}");
    }
    platform.emulator.shutdown().await;
}
