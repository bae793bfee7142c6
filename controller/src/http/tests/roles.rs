//! Who may do what, to which tenants; tokens as a resource; and the records that writes leave.

use vault_api::operator::Role;

use super::*;
use crate::http::roles::{RULES, Scope, rule};

pub(super) const TOKENS: &str = "/apis/vaultctl.dev/v1/operatortokens";

impl Stage {
    /// Makes a token over the API.
    pub(super) async fn token(&self, name: &str, role: &str, selector: Option<&str>) -> String {
        let (code, made) = self.ask(Method::POST, TOKENS, token(name, role, selector)).await;
        assert_eq!(code, 201, "{made}");
        made["status"]["token"].as_str().unwrap().to_owned()
    }

    pub(super) async fn as_caller(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let form = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (code, _, answer) = self.raw(token, (method, path), (form, body)).await;
        (code, answer)
    }

    pub(super) async fn audit(&self) -> Vec<Value> {
        let (code, list) = self.get("/audit-log").await;
        assert_eq!(code, 200, "{list}");
        list["items"].as_array().unwrap().clone()
    }
}

pub(super) fn token(name: &str, role: &str, selector: Option<&str>) -> Value {
    let mut body = json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "OperatorToken",
        "metadata": { "name": name }, "spec": { "role": role },
    });
    if let Some(selector) = selector {
        body["spec"]["selector"] = json!(selector);
    }
    body
}

pub(super) fn labelled(name: &str, tier: &str) -> Value {
    let mut body = tenant(name, "nginx:1");
    body["metadata"]["labels"] = json!({ "tier": tier });
    body
}

/// What a limited or unlimited token of a role has to meet on a route that concerns one tenant, or
/// none: `None` if it is let through.
fn refusal(role: Role, limited: bool, foreign: bool, wanted: Role, scope: Scope) -> Option<u16> {
    match (role < wanted, limited, scope) {
        (true, ..) => Some(403),
        (false, true, Scope::Fleet) => Some(403),
        (false, true, Scope::Tenant) if foreign => Some(404),
        _ => None,
    }
}

#[tokio::test]
async fn every_route_lets_through_whom_the_table_names_and_no_others() {
    let stage = Stage::new().await;
    for (name, tier) in [("acme", "pro"), ("umbra", "free")] {
        assert_eq!(stage.ask(Method::POST, TENANTS, labelled(name, tier)).await.0, 201);
    }
    for rule in RULES {
        for method in rule.methods {
            for role in Role::ALL {
                for (limit, target) in
                    [(None, "acme"), (Some("tier=pro"), "acme"), (Some("tier=pro"), "umbra")]
                {
                    let name = format!("t{}", role.word());
                    let bearer = stage.token(&name, role.word(), limit).await;
                    let path = rule.path.replace("{name}", target).replace('*', "v3");
                    // A body that no handler takes: nothing is changed by whoever is let through.
                    let answer = stage.as_caller(&bearer, method.clone(), &path, &json!([])).await;
                    let foreign = target == "umbra";
                    let what = format!("{method} {path} as {role} {limit:?}: {answer:?}");
                    let absent = "the server could not find the requested resource";
                    match refusal(role, limit.is_some(), foreign, rule.role, rule.scope) {
                        // What is not served is there for nobody, whatever the table says.
                        _ if answer.1["message"] == absent => {
                            let body = json!([]);
                            let admin = stage.as_caller(TOKEN, method.clone(), &path, &body);
                            assert_eq!(admin.await.1["message"], absent, "{what}");
                        }
                        Some(code) => assert_eq!(answer.0, code, "{what}"),
                        None => {
                            assert!(![401, 403].contains(&answer.0), "{what}");
                            assert!(rule.scope != Scope::Tenant || answer.0 != 404, "{what}");
                        }
                    }
                    let (code, _) =
                        stage.ask(Method::DELETE, &format!("{TOKENS}/{name}"), Value::Null).await;
                    assert_eq!(code, 200);
                    // DELETE of a tenant takes no body of that kind, so both still stand.
                    assert_eq!(stage.get(&acme()).await.0, 200, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_route_without_a_row_is_for_unlimited_admins() {
    for (method, path) in [
        (Method::GET, "/new"),
        (Method::POST, "/apis/vaultctl.dev/v1/tenants/{name}/rollout"),
        (Method::DELETE, "/apis/vaultctl.dev/v1/tenants"),
    ] {
        let found = rule(&method, path);
        assert_eq!((found.role, found.scope), (Role::Admin, Scope::Fleet), "{method} {path}");
    }
    assert_eq!(rule(&Method::HEAD, TENANTS).role, Role::Read);
}

#[tokio::test]
async fn a_limited_token_sees_and_changes_its_tenants_and_moves_none() {
    let stage = Stage::new().await;
    let ci = stage.token("ci", "operate", Some("tier=pro")).await;
    let umbra = format!("{TENANTS}/umbra");
    stage.ask(Method::POST, TENANTS, labelled("umbra", "free")).await;
    let made = stage.as_caller(&ci, Method::POST, TENANTS, &labelled("acme", "pro")).await;
    assert_eq!(made.0, 201, "{}", made.1);
    let refused = stage.as_caller(&ci, Method::POST, TENANTS, &labelled("beta", "free")).await;
    assert_eq!((refused.0, &refused.1["reason"]), (403, &json!("Forbidden")), "{}", refused.1);
    let (_, list) = stage.as_caller(&ci, Method::GET, TENANTS, &Value::Null).await;
    let names: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect();
    assert_eq!(names, ["acme"]);
    let tier = |tier: Value| json!({ "metadata": { "labels": { "tier": tier } } });
    // Out of the selector, into it, and by a rehearsal.
    for (path, patch, code) in [
        (acme(), tier(json!("free")), 403),
        (acme(), tier(Value::Null), 403),
        (format!("{}?dryRun=All", acme()), tier(json!("free")), 403),
        (umbra.clone(), tier(json!("pro")), 404),
        (acme(), json!({ "metadata": { "labels": { "x": "1" } } }), 200),
    ] {
        let (found, answer) = stage.as_caller(&ci, Method::PATCH, &path, &patch).await;
        assert_eq!(found, code, "{path} {patch}: {answer}");
    }
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        let (code, answer) =
            stage.as_caller(&ci, method.clone(), &umbra, &labelled("umbra", "pro")).await;
        assert_eq!((code, &answer["reason"]), (404, &json!("NotFound")), "{method}");
    }
    // Whose app it is that is taken, such a token is not told.
    let app = json!({ "spec": { "app": "shared-app" } });
    assert_eq!(stage.ask(Method::PATCH, &umbra, app.clone()).await.0, 200);
    let (code, taken) = stage.as_caller(&ci, Method::PATCH, &acme(), &app).await;
    assert_eq!(code, 422, "{taken}");
    assert!(!taken.to_string().contains("umbra"), "{taken}");
    // Events of others, and of the controller, are not its business.
    let events =
        ["umbra", "acme", ""].map(|tenant| crate::events::Event::normal(NOW, tenant, "R", "m"));
    stage.store.append_events(events.to_vec()).await.unwrap();
    let (_, list) = stage.as_caller(&ci, Method::GET, "/api/v1/events", &Value::Null).await;
    let about = list["items"].as_array().unwrap().iter();
    let about: Vec<&Value> = about.map(|event| &event["involvedObject"]["name"]).collect();
    assert_eq!(about, ["acme"]);
}

#[tokio::test]
async fn a_token_is_shown_once_kept_as_a_digest_and_ends_when_it_should() {
    let stage = Stage::new().await;
    let mut body = token("ci", "read", None);
    body["spec"]["ttl"] = json!("1h");
    let dry = stage.ask(Method::POST, &format!("{TOKENS}?dryRun=All"), body.clone()).await;
    assert_eq!((dry.0, dry.1["status"].get("token")), (201, None));
    assert_eq!(stage.get(&format!("{TOKENS}/ci")).await.0, 404);
    let (code, made) = stage.ask(Method::POST, TOKENS, body.clone()).await;
    assert_eq!((code, &made["spec"]["expiresAt"]), (201, &json!("2026-01-01T01:00:00Z")));
    let bearer = made["status"]["token"].as_str().unwrap().to_owned();
    assert!(bearer.starts_with("vop_") && bearer.len() == 56, "32 bytes in base32");
    assert_eq!(stage.ask(Method::POST, TOKENS, body).await.0, 409);
    let stored = format!("{:?}", stage.store.operators().await.unwrap());
    assert!(!stored.contains(&bearer));
    for path in [TOKENS.to_owned(), format!("{TOKENS}/ci"), "/audit-log".to_owned()] {
        assert!(!stage.get(&path).await.1.to_string().contains(&bearer), "{path}");
    }
    assert_eq!(stage.as_caller(&bearer, Method::GET, TENANTS, &Value::Null).await.0, 200);
    let shown = stage.get(&format!("{TOKENS}/ci")).await.1;
    assert_eq!(shown["status"]["lastUsedAt"], "2026-01-01T00:00:00Z");
    for wrong in [&bearer[..55], &bearer.to_uppercase(), &format!("{bearer}a")] {
        assert_eq!(stage.as_caller(wrong, Method::GET, TENANTS, &Value::Null).await.0, 401);
    }
    stage.clock.advance(Duration::from_secs(3_600));
    let (code, ended) = stage.as_caller(&bearer, Method::GET, TENANTS, &Value::Null).await;
    assert_eq!((code, &ended["message"]), (401, &json!("the token has expired")));
    let other = stage.token("other", "read", None).await;
    assert_eq!(stage.as_caller(&other, Method::GET, TENANTS, &Value::Null).await.0, 200);
    assert_eq!(stage.ask(Method::DELETE, &format!("{TOKENS}/other"), Value::Null).await.0, 200);
    assert_eq!(stage.as_caller(&other, Method::GET, TENANTS, &Value::Null).await.0, 401);
    assert_eq!(stage.ask(Method::DELETE, &format!("{TOKENS}/other"), Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_token_that_makes_no_sense_is_refused_with_the_nearest_word() {
    let stage = Stage::new().await;
    let with = |field: &str, value: Value| {
        let mut body = token("ci", "read", None);
        body["spec"][field] = value;
        body
    };
    for (body, words) in [
        (token("ci", "oprate", None), "did you mean `operate`?"),
        (with("rol", json!("x")), "did you mean `role`?"),
        (token("ci", "read", Some("tier in")), "spec.selector"),
        (token("controller", "admin", None), "metadata.name"),
        (token("No Name", "admin", None), "metadata.name"),
        (with("ttl", json!("soon")), "spec.ttl"),
        (with("ttl", json!("-1h")), "spec.ttl"),
        (with("expiresAt", json!("2020-01-01T00:00:00Z")), "spec.expiresAt"),
        (json!({ "kind": "Tenant" }), "OperatorToken"),
    ] {
        let (code, status) = stage.ask(Method::POST, TOKENS, body.clone()).await;
        assert_eq!(code, 400, "{body}: {status}");
        assert!(status["message"].as_str().unwrap().contains(words), "{status}");
    }
}

#[tokio::test]
async fn every_write_with_a_known_token_leaves_one_record() {
    let stage = Stage::new().await;
    let reader = stage.token("dashboard", "read", None).await;
    stage.ask(Method::POST, TENANTS, tenant("acme", "nginx:1")).await;
    stage.ask(Method::PUT, &acme(), tenant("acme", "nginx:1")).await;
    stage.ask(Method::PUT, &format!("{}?dryRun=All", acme()), tenant("acme", "nginx:2")).await;
    stage.ask(Method::DELETE, &acme(), json!({ "dryRun": ["All"] })).await;
    stage.ask(Method::POST, TENANTS, tenant("acme", "nginx:1")).await;
    stage.as_caller(&reader, Method::DELETE, &acme(), &Value::Null).await;
    stage.as_caller("vop_stranger", Method::DELETE, &acme(), &Value::Null).await;
    stage.ask(Method::PATCH, &format!("{}/status", acme()), json!({ "status": 1 })).await;
    stage.ask(Method::DELETE, &acme(), Value::Null).await;
    stage.get(&acme()).await;
    let records = stage.audit().await;
    let told: Vec<String> = records
        .iter()
        .map(|record| {
            let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
            format!(
                "{} {} {}/{}{} {} {}",
                text("who"),
                text("verb"),
                text("kind"),
                text("name"),
                text("subresource"),
                record["code"],
                record["dryRun"],
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "controller create OperatorToken/dashboard 201 false",
            "controller create Tenant/acme 201 false",
            "controller update Tenant/acme 200 false",
            "controller update Tenant/acme 200 true",
            "controller delete Tenant/acme 200 true",
            "controller create Tenant/acme 409 false",
            "dashboard delete Tenant/acme 403 false",
            "controller patch Tenant/acmestatus 422 false",
            "controller delete Tenant/acme 200 false",
        ]
    );
    assert!(records[6]["message"].as_str().unwrap().contains("this needs operate"));
    let (_, list) = stage.get("/audit-log").await;
    assert_eq!(list["metadata"]["unknownCallers"], 1);
    let (_, list) = stage.get("/audit-log?limit=2&tenant=acme&since=1h").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(list["items"][1]["message"], "deletion asked for");
    for query in ["limit=0", "limit=x", "since=yesterday"] {
        assert_eq!(stage.get(&format!("/audit-log?{query}")).await.0, 400, "{query}");
    }
}
