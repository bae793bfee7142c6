//! What a write is held against: few of the stored objects, and the right ones.

use super::*;

const USERS: usize = 230;

/// A class of more tenants than are decoded at a time, of which only the last needs it.
async fn stage_with_users() -> Stage {
    let stage = Stage::new().await;
    let mut class = tenant("dev", "nginx:1");
    class["kind"] = json!("TenantClass");
    assert_eq!(stage.ask(Method::POST, CLASSES, class).await.0, 201);
    for number in 0..USERS {
        let mut user = tenant(&format!("user-{number:03}"), "nginx:1");
        user["spec"]["class"] = json!("dev");
        if number == USERS - 1 {
            user["spec"] = json!({ "class": "dev" });
        }
        put(&stage.store, &user, Source::Api).await;
    }
    stage
}

#[tokio::test]
async fn a_class_is_held_against_all_its_tenants_and_tells_how_many_there_are() {
    let stage = stage_with_users().await;
    let path = format!("{CLASSES}/dev");
    let mut broken = stage.get(&path).await.1;
    broken["spec"] = json!({ "volumes": [{ "name": "data", "sizeGb": 10 }] });
    broken["spec"]["machines"] = json!([{ "name": "box", "region": "ord" }]);
    let (code, status) = stage.ask(Method::PUT, &path, broken).await;
    assert_eq!(code, 422, "{status}");
    let last = format!("user-{:03}", USERS - 1);
    assert!(status["message"].as_str().unwrap().contains(&last), "{status}");

    let (code, status) = stage.ask(Method::DELETE, &path, json!({})).await;
    assert_eq!(code, 409, "{status}");
    let told = format!("class dev is used by {USERS} tenants, user-000 among them");
    assert!(status["message"].as_str().unwrap().contains(&told), "{status}");
}

#[tokio::test]
async fn an_app_is_named_once_whoever_stands_between() {
    let stage = Stage::new().await;
    let named = |name: &str, app: &str| {
        let mut tenant = tenant(name, "nginx:1");
        tenant["spec"]["app"] = json!(app);
        tenant
    };
    for (name, app) in [("acme", "one"), ("beta", "two"), ("zeta", "three")] {
        assert_eq!(stage.ask(Method::POST, TENANTS, named(name, app)).await.0, 201);
    }
    // Its own app, before and after the other's name.
    for (name, app) in [("acme", "one"), ("zeta", "three")] {
        let path = format!("{TENANTS}/{name}");
        assert_eq!(stage.ask(Method::PUT, &path, named(name, app)).await.0, 200);
    }
    for name in ["aaron", "beta", "yeti"] {
        let path = format!("{TENANTS}/{name}");
        let (method, path) = match name {
            "beta" => (Method::PUT, path.as_str()),
            _ => (Method::POST, TENANTS),
        };
        let (code, status) = stage.ask(method, path, named(name, "one")).await;
        assert_eq!(code, 422, "{status}");
        assert!(status["message"].as_str().unwrap().contains("tenant `acme`"), "{status}");
    }
}

#[tokio::test]
async fn a_class_that_is_not_there_is_told_with_the_nearest_of_all() {
    let stage = stage_with_users().await;
    let mut tenant = tenant("acme", "nginx:1");
    tenant["spec"]["class"] = json!("devv");
    let (code, status) = stage.ask(Method::POST, TENANTS, tenant).await;
    assert_eq!(code, 422, "{status}");
    assert!(status["message"].as_str().unwrap().contains("`dev`"), "{status}");
}
