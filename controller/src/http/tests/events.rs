//! Events over HTTP.

use super::*;
use crate::events::Event;

const EVENTS: &str = "/api/v1/events";

fn at(milliseconds: i64) -> vault_plan::time::UnixMillis {
    vault_plan::time::UnixMillis(1_700_000_000_000 + milliseconds)
}

async fn staged() -> Stage {
    let stage = Stage::new().await;
    let happened = vec![
        Event::normal(at(0), "acme", "CreateApp", "app acme-x created"),
        Event::warning(at(1_000), "acme", "Waiting", "no capacity"),
        Event::normal(at(2_000), "umbra", "Ready", "all is well"),
        Event::warning(at(3_000), "", "BadManifest", "a.yaml:1:1: bad"),
        Event::warning(at(61_500), "acme", "Waiting", "no capacity"),
    ];
    stage.store.append_events(happened).await.unwrap();
    stage
}

fn reasons(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|event| event["reason"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_was_said_twice_is_one_event_with_a_count() {
    let stage = staged().await;
    let (code, list) = stage.get(EVENTS).await;
    assert_eq!(
        (code, &list["kind"], &list["apiVersion"]),
        (200, &json!("EventList"), &json!("v1"))
    );
    assert_eq!(reasons(&list), ["CreateApp", "Ready", "BadManifest", "Waiting"]);
    let last = &list["items"][3];
    assert_eq!(last["type"], "Warning");
    assert_eq!(last["message"], "no capacity");
    assert_eq!(last["count"], 2);
    assert_eq!(last["firstTimestamp"], "2023-11-14T22:13:21Z");
    assert_eq!(last["lastTimestamp"], "2023-11-14T22:14:21Z");
    assert_eq!(
        last["involvedObject"],
        json!({ "apiVersion": "vaultctl.dev/v1", "kind": "Tenant", "name": "acme",
            "uid": controller().tenant_uid("acme").to_string() })
    );
    assert_eq!(last["metadata"]["namespace"], "default");
    assert_eq!(list["items"][2]["involvedObject"]["kind"], "Controller");

    let items = list["items"].as_array().unwrap();
    let names: std::collections::BTreeSet<&str> =
        items.iter().map(|event| event["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), items.len(), "names are unique: {names:?}");
    let name = last["metadata"]["name"].clone();
    let again = Event::warning(at(70_000), "acme", "Waiting", "no capacity");
    stage.store.append_events(vec![again]).await.unwrap();
    let later = stage.get(EVENTS).await.1;
    assert_eq!(
        (&later["items"][3]["metadata"]["name"], &later["items"][3]["count"]),
        (&name, &json!(3)),
        "a name stays while the count grows"
    );
}

#[tokio::test]
async fn events_are_selected_by_what_they_are_about() {
    let stage = staged().await;
    let uid = controller().tenant_uid("umbra");
    for (selector, expected) in [
        ("involvedObject.kind=Tenant,involvedObject.name=acme", &["CreateApp", "Waiting"][..]),
        ("involvedObject.kind%3DTenant%2CinvolvedObject.name%3Dacme", &["CreateApp", "Waiting"]),
        (&format!("involvedObject.uid={uid}"), &["Ready"]),
        ("involvedObject.kind=Controller", &["BadManifest"]),
        ("involvedObject.kind=Tenant,involvedObject.name=nobody", &[]),
        ("type=Warning", &["BadManifest", "Waiting"]),
        // As `kubectl describe` asks.
        (
            "involvedObject.name=acme,involvedObject.namespace=,involvedObject.kind=Tenant",
            &["CreateApp", "Waiting"],
        ),
    ] {
        let (code, list) = stage.get(&format!("{EVENTS}?fieldSelector={selector}")).await;
        assert_eq!((code, reasons(&list)), (200, expected.to_vec()), "{selector}");
    }
    for query in ["fieldSelector=message=x", "fieldSelector=reason", "watch=maybe"] {
        let (code, status) = stage.get(&format!("{EVENTS}?{query}")).await;
        assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")), "{query}: {status}");
    }
}

#[tokio::test]
async fn events_are_the_operators_and_read_only() {
    let stage = staged().await;
    let request = Request::builder().uri(EVENTS).body(Body::empty()).unwrap();
    assert_eq!(stage.send(request).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(stage.ask(Method::POST, EVENTS, json!({})).await.0, 405);
}
