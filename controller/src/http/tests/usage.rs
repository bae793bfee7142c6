use std::collections::BTreeMap;

use vault_api::usage::UsageVolume;
use vault_plan::time::UnixMillis;

use super::*;
use crate::usage::UsageFact;

fn fact(number: usize, tenant: &str) -> UsageFact {
    UsageFact {
        machine_id: format!("{number:014x}"),
        tenant: tenant.to_owned(),
        organization: ORG.to_owned(),
        app: "app".to_owned(),
        state: "started".to_owned(),
        region: "ord".to_owned(),
        instance_id: Some("01V".to_owned()),
        started_at: Some(NOW),
        stopped_at: None,
        deleted_at: None,
        absent_since: None,
        metadata: BTreeMap::from([("vault_tenant".to_owned(), tenant.to_owned())]),
        volumes: vec![UsageVolume { volume_id: "vol_1".to_owned(), size_gib: 10 }],
    }
}

#[tokio::test]
async fn the_array_is_flat_and_has_exactly_these_names() {
    let stage = Stage::new().await;
    assert_eq!(stage.get("/usage-facts").await, (200, json!([])));
    stage.store.put_usage(vec![fact(1, "acme")], UnixMillis(0)).await.unwrap();
    let expected = json!([{
        "machine_id": "00000000000001",
        "state": "started",
        "region": "ord",
        "instance_id": "01V",
        "started_at": "2026-01-01T00:00:00Z",
        "stopped_at": null,
        "deleted_at": null,
        "metadata": { "vault_tenant": "acme" },
        "volumes": [{ "volume_id": "vol_1", "size_gib": 10 }],
    }]);
    assert_eq!(stage.get("/usage-facts").await, (200, expected));
}

#[tokio::test]
async fn whatever_their_number_all_come_once_and_only_of_the_tenant_that_is_asked_for() {
    for count in [499, 500, 501, 1_000, 1_203] {
        let stage = Stage::new().await;
        let of = |number: usize| if number.is_multiple_of(2) { "acme" } else { "umbra" };
        let facts = (0..count).map(|number| fact(number, of(number))).collect();
        stage.store.put_usage(facts, UnixMillis(0)).await.unwrap();
        let ids = |answer: (u16, Value)| -> Vec<String> {
            let rows = answer.1.as_array().unwrap().clone();
            rows.iter().map(|row| row["machine_id"].as_str().unwrap().to_owned()).collect()
        };
        let expected: Vec<_> = (0..count).map(|number| format!("{number:014x}")).collect();
        assert_eq!(ids(stage.get("/usage-facts").await), expected);
        assert_eq!(ids(stage.get("/usage-facts?tenant=").await), expected);
        let even: Vec<_> = expected.iter().step_by(2).cloned().collect();
        assert_eq!(ids(stage.get("/usage-facts?tenant=acme").await), even);
        assert_eq!(stage.get("/usage-facts?tenant=nobody").await, (200, json!([])));
    }
}

#[tokio::test]
async fn a_slip_in_the_query_does_not_show_everybody() {
    let stage = Stage::new().await;
    let (code, status) = stage.get("/usage-facts?tenannt=acme").await;
    assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")));
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("tenannt") && message.contains("`tenant`"), "{message}");
}

#[tokio::test]
async fn what_was_deleted_before_the_retention_is_not_shown_even_if_it_is_still_stored() {
    let stage = Stage::new().await;
    let deleted_at = |days: i64| Some(UnixMillis(NOW.0 - days * 86_400_000));
    let old = UsageFact { deleted_at: deleted_at(91), ..fact(1, "acme") };
    let new = UsageFact { deleted_at: deleted_at(89), ..fact(2, "acme") };
    stage.store.put_usage(vec![old, new], UnixMillis(0)).await.unwrap();
    let (_, facts) = stage.get("/usage-facts").await;
    assert_eq!(facts.as_array().unwrap().len(), 1);
    assert_eq!(facts[0]["machine_id"], "00000000000002");
}
