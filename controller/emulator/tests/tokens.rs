//! Limited access tokens over GraphQL: minted, listed in pages, revoked; and what each opens.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[path = "support/platform.rs"]
mod support;

use self::support::{Platform, platform};

async fn ask(platform: &Platform, query: &str, variables: Value) -> Value {
    let (status, body) =
        platform.post("/graphql", json!({ "query": query, "variables": variables })).await;
    assert_eq!(status, StatusCode::OK);
    body
}

async fn mint(platform: &Platform, input: Value) -> Value {
    let query = "mutation($input: CreateLimitedAccessTokenInput!) { \
        createLimitedAccessToken(input: $input) { limitedAccessToken { \
        id name profile profileParams token tokenHeader createdAt expiresAt revokedAt \
        user { email } organization { slug } } } }";
    let body = ask(platform, query, json!({ "input": input })).await;
    body["data"]["createLimitedAccessToken"]["limitedAccessToken"].clone()
}

fn deploy(app: &str) -> Value {
    json!({
        "name": "vault/u/1", "organizationId": "local", "profile": "deploy",
        "profileParams": { "app_id": app }, "expiry": "24h0m0s",
    })
}

async fn status(platform: &Platform, token: &str, method: Method, path: &str) -> StatusCode {
    let url = format!("{}{path}", platform.emulator.url());
    let request = platform.client.request(method.clone(), url).header("authorization", token);
    let request = if method == Method::POST {
        request.body(json!({ "app_name": "new", "org_slug": "local" }).to_string())
    } else {
        request
    };
    request.send().await.expect("an answer").status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_token_opens_its_app_and_nothing_else_until_it_is_revoked() {
    let (platform, _directory) = platform().await;
    platform.app("acme").await;
    platform.app("sibling").await;
    let ids = ask(&platform, "{ app(name: \"acme\") { id organization { id } } }", json!({})).await;
    let (app, org) = (&ids["data"]["app"]["id"], &ids["data"]["app"]["organization"]["id"]);
    let mut input = deploy(app.as_str().expect("an id"));
    input["organizationId"] = org.clone();
    let made = mint(&platform, input).await;
    assert_eq!(
        (&made["name"], &made["profile"]),
        (&json!("vault/u/1"), &json!("deploy")),
        "{made}"
    );
    assert_eq!(made["revokedAt"], Value::Null);
    let token = made["tokenHeader"].as_str().expect("a token").to_owned();
    assert_eq!(token, format!("FlyV1 {}", made["token"].as_str().expect("a token")));
    for (method, path, wanted) in [
        (Method::GET, "/v1/apps/acme", StatusCode::OK),
        (Method::GET, "/v1/apps/acme/machines", StatusCode::OK),
        (Method::GET, "/v1/apps/sibling", StatusCode::FORBIDDEN),
        (Method::POST, "/v1/apps", StatusCode::FORBIDDEN),
        (Method::GET, "/v1/orgs/local/machines", StatusCode::FORBIDDEN),
        (Method::GET, "/_emulator/faults", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(status(&platform, &token, method, path).await, wanted, "{path}");
    }
    // It mints no other, and revokes none, itself included.
    let holder = Platform { token: token.clone(), ..platform };
    assert_eq!(mint(&holder, deploy("acme")).await, Value::Null);
    let revoke = "mutation($input: DeleteLimitedAccessTokenInput!) { \
        deleteLimitedAccessToken(input: $input) { token } }";
    let named = json!({ "input": { "id": made["id"] } });
    let refused = ask(&holder, revoke, named.clone()).await;
    assert_eq!(refused["data"], Value::Null, "{refused}");
    let operator = format!("Bearer {}", holder.emulator.operator_token());
    let platform = Platform { token: operator, ..holder };
    let revoked = ask(&platform, revoke, named).await;
    assert!(revoked["errors"].is_null(), "{revoked}");
    let after = status(&platform, &token, Method::GET, "/v1/apps/acme").await;
    assert_eq!(after, StatusCode::UNAUTHORIZED);
    // By the token itself too.
    let second = mint(&platform, deploy("acme")).await;
    let named = json!({ "input": { "token": second["tokenHeader"] } });
    ask(&platform, revoke, named).await;
    let token = second["tokenHeader"].as_str().expect("a token");
    let after = status(&platform, token, Method::GET, "/v1/apps/acme").await;
    assert_eq!(after, StatusCode::UNAUTHORIZED);
    platform.emulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_without_what_is_shown_once() {
    let (platform, directory) = platform().await;
    platform.app("acme").await;
    platform.app("sibling").await;
    for app in ["acme", "sibling", "acme", "acme"] {
        mint(&platform, deploy(app)).await;
    }
    let whole =
        json!({ "name": "all", "organizationId": "local", "profile": "deploy_organization" });
    let whole = mint(&platform, whole).await;
    let token = whole["tokenHeader"].as_str().expect("a token").to_owned();
    assert_eq!(
        status(&platform, &token, Method::GET, "/v1/orgs/local/machines").await,
        StatusCode::OK
    );
    assert_eq!(
        status(&platform, &token, Method::GET, "/v1/orgs/other/machines").await,
        StatusCode::FORBIDDEN
    );
    let query = "query($first: Int, $after: String) { organization(slug: \"local\") { id \
        limitedAccessTokens(first: $first, after: $after) { nodes { id name token expiresAt revokedAt } \
        pageInfo { hasNextPage endCursor } } } }";
    let (mut after, mut found) = (Value::Null, Vec::new());
    loop {
        let body = ask(&platform, query, json!({ "first": 2, "after": after })).await;
        let list = &body["data"]["organization"]["limitedAccessTokens"];
        let nodes = list["nodes"].as_array().expect("nodes").clone();
        assert!(nodes.len() <= 2 && nodes.iter().all(|node| node["token"].is_null()), "{body}");
        found.extend(nodes);
        if list["pageInfo"]["hasNextPage"] == json!(false) {
            break;
        }
        after = list["pageInfo"]["endCursor"].clone();
    }
    assert_eq!(found.len(), 5, "{found:?}");
    let query = "{ app(name: \"acme\") { id limitedAccessTokens { nodes { name } } } }";
    let body = ask(&platform, query, json!({})).await;
    let nodes = body["data"]["app"]["limitedAccessTokens"]["nodes"].as_array().map(Vec::len);
    assert_eq!(nodes, Some(3), "{body}");
    for input in [
        json!({ "name": "n", "organizationId": "elsewhere", "profile": "deploy_organization" }),
        json!({ "name": "n", "organizationId": "other", "profile": "deploy", "profileParams": { "app_id": "acme" } }),
        json!({ "name": "n", "organizationId": "local", "profile": "deploy" }),
        json!({ "name": "n", "organizationId": "local", "profile": "litefs_cloud" }),
        json!({ "name": "n", "organizationId": "local", "profile": "deploy_organization", "expiry": "soon" }),
    ] {
        assert_eq!(mint(&platform, input.clone()).await, Value::Null, "{input}");
    }
    // Their texts are nowhere on disk.
    platform.emulator.shutdown().await;
    let world = std::fs::read_to_string(directory.path().join("world.jsonl")).expect("a journal");
    let text = token.trim_start_matches("FlyV1 ");
    assert!(!world.contains(text), "a token's text is kept");
    let again = support::start(support::config(directory.path())).await;
    assert_eq!(
        status(&again, &token, Method::GET, "/v1/orgs/local/machines").await,
        StatusCode::OK
    );
}
