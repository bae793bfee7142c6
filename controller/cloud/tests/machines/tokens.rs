//! Deploy tokens over GraphQL.

use vault_cloud::counts::CallCounts;
use vault_cloud::tokens::{NewToken, Token, TokensClient};

use super::*;

fn tokens(platform: &Platform) -> TokensClient {
    TokensClient::new(config(&platform.url())).unwrap()
}

fn new() -> NewToken {
    NewToken { name: "vault/u/3".to_owned(), lifetime: Duration::from_secs(86_400) }
}

fn app() -> Answer {
    let organization = json!({"id": "org-id", "slug": "acme-org"});
    Answer::json(200, json!({"data": {"app": {"id": "app-id", "organization": organization}}}))
}

fn minted(token: Value) -> Answer {
    let data = json!({"createLimitedAccessToken": {"limitedAccessToken": token}});
    Answer::json(200, json!({"data": data}))
}

fn page(nodes: Value, next: Option<&str>) -> Answer {
    let info = json!({"hasNextPage": next.is_some(), "endCursor": next});
    let list = json!({"nodes": nodes, "pageInfo": info});
    Answer::json(200, json!({"data": {"organization": {"limitedAccessTokens": list}}}))
}

fn error(code: Option<&str>, message: &str) -> Answer {
    let extensions = code.map(|code| json!({"code": code}));
    let error = json!({"message": message, "extensions": extensions});
    Answer::json(200, json!({"data": null, "errors": [error]}))
}

/// The variables of a request, and the path that it went to.
fn sent(request: &str) -> (String, Value) {
    let (line, body) = request.split_once(" {").unwrap();
    let body: Value = serde_json::from_str(&format!("{{{body}")).unwrap();
    (line.to_owned(), body["variables"].clone())
}

#[tokio::test]
async fn a_token_is_minted_for_one_app_by_the_ids_of_graphql() {
    let platform = Platform::start().await;
    let token = json!({"id": "lat_1", "name": "vault/u/3", "tokenHeader": "FlyV1 fm2_secret",
        "expiresAt": "2026-01-02T00:00:00Z"});
    platform.answers([app(), minted(token)]);
    let made = tokens(&platform).mint("t-42", &new()).await.unwrap();
    assert_eq!(made.id, "lat_1");
    assert_eq!(secrecy::ExposeSecret::expose_secret(&made.value), "FlyV1 fm2_secret");
    assert_eq!(made.expires_at.map(|at| at.to_string()).as_deref(), Some("2026-01-02T00:00:00Z"));
    let requests = platform.requests();
    assert_eq!(sent(&requests[0]), ("POST /graphql".to_owned(), json!({"name": "t-42"})));
    let input = json!({
        "name": "vault/u/3", "organizationId": "org-id", "profile": "deploy",
        "profileParams": {"app_id": "app-id"}, "expiry": "24h0m0s",
    });
    assert_eq!(sent(&requests[1]).1, json!({ "input": input }));
}

#[tokio::test]
async fn a_mint_is_sent_once_and_says_whether_a_token_may_be_there() {
    let platform = Platform::start().await;
    let client = tokens(&platform);
    // Nothing was asked for yet: whatever the look came to, no token is there.
    platform.answers([error(None, "Could not find App")]);
    assert!(client.mint("t-42", &new()).await.unwrap_err().is_not_found());
    platform.answers((0..4).map(|_| Answer::text(503, "")));
    let error_of_look = client.mint("t-42", &new()).await.unwrap_err();
    assert!(matches!(error_of_look, CallError::NotSent(_)), "{error_of_look:?}");
    platform.answers([Answer::json(200, json!({"data": {"app": {"id": "app-id"}}}))]);
    assert!(matches!(client.mint("t-42", &new()).await, Err(CallError::NotSent(_))));
    let before = platform.requests().len();
    // The mint itself was refused.
    platform.answers([app(), error(Some("UNAUTHORIZED"), "You may not")]);
    assert!(client.mint("t-42", &new()).await.unwrap_err().is_forbidden());
    // Whether it acted is open, and it is not repeated.
    let broken = [
        Answer::text(503, ""),
        Answer::text(408, ""),
        Answer::text(200, "FlyV1 fm2_secret"),
        Answer::json(200, json!({"data": {}})),
        error(Some("SERVER_ERROR"), "oops"),
        minted(json!({"id": "lat_1"})),
        minted(json!({"id": "lat_1", "tokenHeader": "fm2_secret\nX-Header: y"})),
        minted(json!({"id": 7, "tokenHeader": "FlyV1 fm2_secret"})),
        minted(json!({"id": "lat_1", "tokenHeader": format!("fm2_{}", "s".repeat(20_000))})),
    ];
    let count = broken.len();
    for answer in broken {
        platform.answers([app(), answer]);
        let open = client.mint("t-42", &new()).await.unwrap_err();
        assert!(matches!(open, CallError::Unknown(_)), "{open:?}");
        let text = format!("{open} {open:?}");
        assert!(!text.contains("fm2_"), "an error never shows a token: {text}");
    }
    assert_eq!(platform.requests().len(), before + 2 + 2 * count);
}

#[tokio::test]
async fn what_was_minted_is_taken_even_if_something_beside_it_failed() {
    let platform = Platform::start().await;
    let data = json!({"createLimitedAccessToken": {"limitedAccessToken":
        {"id": "lat_1", "tokenHeader": "FlyV1 fm2_secret", "expiresAt": null}}});
    let errors = json!([{"message": "expiresAt could not be resolved"}]);
    platform.answers([app(), Answer::json(200, json!({"data": data, "errors": errors}))]);
    let made = tokens(&platform).mint("t-42", &new()).await.unwrap();
    assert_eq!((made.id.as_str(), made.expires_at), ("lat_1", None));
}

#[tokio::test]
async fn all_pages_of_a_list_are_read_and_odd_rows_hide_nothing() {
    let platform = Platform::start().await;
    let first = json!([
        {"id": "1", "name": "vault/u/1", "expiresAt": "2026-01-02T00:00:00Z", "revokedAt": null},
        null,
        {"id": "2", "name": "vault/u/2", "revokedAt": "2026-01-01T00:00:00Z"},
        {"id": "", "name": "x"},
        {"id": "3", "name": "n".repeat(300)},
    ]);
    platform.answers([page(first, Some("c1")), page(json!([{"id": "4", "name": "ci"}]), None)]);
    let list = tokens(&platform).list("acme-org").await.unwrap();
    let seen: Vec<_> = list.tokens.iter().map(|one| (&*one.id, one.revoked)).collect();
    assert_eq!(seen, [("1", false), ("2", true), ("4", false)]);
    assert_eq!(list.undecodable, 3);
    let last = Token { id: "4".into(), name: "ci".into(), expires_at: None, revoked: false };
    assert_eq!(list.tokens[2], last);
    let variables: Vec<_> = platform.requests().iter().map(|one| sent(one).1).collect();
    assert_eq!(variables[0], json!({"slug": "acme-org", "first": 500, "after": null}));
    assert_eq!(variables[1]["after"], "c1");
}

#[tokio::test]
async fn a_list_that_is_not_whole_is_no_list() {
    let platform = Platform::start().await;
    let client = tokens(&platform);
    let data = json!({"organization": {"limitedAccessTokens": {"nodes": [], "pageInfo": {}}}});
    platform.answers([Answer::json(200, json!({"data": data, "errors": [{"message": "part"}]}))]);
    assert!(client.list("acme-org").await.is_err(), "an error beside the data");
    platform.answers([Answer::json(200, json!({"data": {"organization": {"id": "o"}}}))]);
    assert!(matches!(client.list("acme-org").await, Err(CallError::Unknown(_))));
    platform.answers([page(json!([]), Some("c")), page(json!([]), Some("c"))]);
    assert!(client.list("acme-org").await.is_err(), "the pages do not end");
    let endless = json!({"nodes": [], "pageInfo": {"hasNextPage": true}});
    let data = json!({"organization": {"limitedAccessTokens": endless}});
    platform.answers([Answer::json(200, json!({"data": data}))]);
    assert!(client.list("acme-org").await.is_err(), "no cursor to the next page");
    // A look is repeated, as every look is.
    platform.answers([Answer::text(503, ""), page(json!([]), None)]);
    assert_eq!(client.list("acme-org").await.unwrap().tokens.len(), 0);
}

#[tokio::test]
async fn a_token_is_revoked_by_its_id_once() {
    let platform = Platform::start().await;
    let client = tokens(&platform);
    let gone = json!({"data": {"deleteLimitedAccessToken": {"token": "fm2_gone"}}});
    platform.answers([
        Answer::json(200, gone),
        error(Some("NOT_FOUND"), "no"),
        Answer::text(502, ""),
    ]);
    client.revoke("lat_1").await.unwrap();
    assert!(client.revoke("lat_1").await.unwrap_err().is_not_found());
    assert!(matches!(client.revoke("lat_1").await, Err(CallError::Unknown(_))));
    assert_eq!(sent(&platform.requests()[0]).1, json!({"input": {"id": "lat_1"}}));
    assert_eq!(platform.requests().len(), 3);
}

#[tokio::test]
async fn looks_at_tokens_are_counted_with_the_looks_that_are_made_now_and_then() {
    let platform = Platform::start().await;
    let counts = Arc::new(CallCounts::default());
    let mut config = config(&platform.url());
    config.observer = Some(Arc::clone(&counts) as _);
    let client = TokensClient::new(config).unwrap();
    let token = json!({"id": "lat_1", "tokenHeader": "FlyV1 fm2_secret"});
    platform.answers([page(json!([]), None), app(), minted(token)]);
    client.list("acme-org").await.unwrap();
    client.mint("t-42", &new()).await.unwrap();
    assert_eq!((counts.reads(), counts.secret_reads(), counts.writes()), (0, 2, 1));
}
