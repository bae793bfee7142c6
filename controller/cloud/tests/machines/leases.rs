//! Leases on the wire.

use vault_cloud::machines::NewLease;

use super::*;

fn new() -> NewLease {
    NewLease { ttl: 15, description: "01K4Z8Q2V7M3N9T5R1X6W0YBCD".to_owned() }
}

#[tokio::test]
async fn a_lease_is_read_in_both_forms_and_named_by_whoever_acts_under_it() {
    let platform = Platform::start().await;
    let client = client(&platform);
    let inner = json!({"nonce": "abc123", "version": "01V", "expires_at": 1, "owner": "me"});
    platform.answers([
        Answer::json(201, json!({"status": "success", "data": inner})),
        Answer::json(201, inner),
        Answer::json(200, json!({"ok": true})),
        Answer::json(200, json!({"ok": true})),
        Answer::json(200, json!({"status": "success", "data": {"ok": true}})),
        Answer::json(200, json!({"ok": true})),
    ]);
    for _ in 0..2 {
        let lease = client.acquire_lease("app", "m1", &new()).await.unwrap();
        assert_eq!((lease.nonce.as_str(), lease.version.as_deref()), ("abc123", Some("01V")));
    }
    client.stop_machine("app", "m1", Some("abc123")).await.unwrap();
    client.delete_machine("app", "m1", false, Some("abc123")).await.unwrap();
    client.release_lease("app", "m1", "abc123").await.unwrap();
    client.stop_machine("app", "m1", None).await.unwrap();
    let body = r#"{"ttl":15,"description":"01K4Z8Q2V7M3N9T5R1X6W0YBCD"}"#;
    let expected = [
        format!("POST /v1/apps/app/machines/m1/lease {body}"),
        format!("POST /v1/apps/app/machines/m1/lease {body}"),
        "POST /v1/apps/app/machines/m1/stop ".to_owned(),
        "DELETE /v1/apps/app/machines/m1 ".to_owned(),
        "DELETE /v1/apps/app/machines/m1/lease ".to_owned(),
        "POST /v1/apps/app/machines/m1/stop ".to_owned(),
    ];
    assert_eq!(platform.requests(), expected);
    let nonce = |index: usize| platform.headers(index).get("fly-machine-lease-nonce").cloned();
    for index in 2..=4 {
        assert_eq!(nonce(index).unwrap(), "abc123", "{index}");
    }
    assert!(nonce(0).is_none() && nonce(5).is_none());
}

#[tokio::test]
async fn a_lease_without_a_nonce_that_a_header_takes_is_none_and_is_asked_for_once() {
    let platform = Platform::start().await;
    let client = client(&platform);
    for nonce in [json!(""), json!("a b"), json!("a\nb"), json!("x".repeat(300)), json!(7)] {
        platform.answers([Answer::json(201, json!({"data": {"nonce": nonce}}))]);
        let error = client.acquire_lease("app", "m1", &new()).await.unwrap_err();
        assert!(matches!(error, CallError::Unknown(_)), "{nonce}: {error}");
    }
    let before = platform.requests().len();
    platform.answers([Answer::text(503, "")]);
    assert!(client.acquire_lease("app", "m1", &new()).await.is_err());
    assert_eq!(platform.requests().len(), before + 1, "its own lease would refuse a second one");
    // What cannot stand in a header is not sent.
    let error = client.stop_machine("app", "m1", Some("a\r\nx: y")).await.unwrap_err();
    assert!(matches!(error, CallError::NotSent(_)), "{error}");
}
