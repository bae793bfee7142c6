use ulid::Ulid;
use vault_plan::action::ActionKind;

use super::*;
use crate::record::CallRecord;
use crate::store::{Intent, IntentAnswer, IntentState, Settlement, Verdict};

async fn done(stage: &Stage, tenant: &str, random: u128) {
    let id = Ulid::from_parts(1, random);
    let intent = Intent {
        id,
        tenant: tenant.to_owned(),
        organization: ORG.to_owned(),
        app: format!("{tenant}-app"),
        kind: ActionKind::CreateMachine,
        external_name: format!("{tenant}-box-0"),
        external_id: None,
        state: IntentState::Planned,
        planned_at: NOW,
        sent_at: None,
        outcome: None,
        spec_hash: Some("00ff".to_owned()),
    };
    stage.store.plan_intents(vec![intent]).await.unwrap();
    stage.store.send_intent(id, NOW.plus_ms(1)).await.unwrap();
    let call = CallRecord {
        method: "POST".to_owned(),
        path: "/v1/apps/{app}/machines".to_owned(),
        attempt: 1,
        status: Some(200),
        failure: None,
        fly_request_id: Some("01K4Z8-ams".to_owned()),
        sent_at: NOW.plus_ms(2),
        took_ms: 40,
    };
    let external_id = Some("7811d2b4c90e38".to_owned());
    let settlement = Settlement { id, state: IntentState::Acked, external_id, outcome: None };
    let answer =
        IntentAnswer { verdict: Verdict::Settled(settlement), calls: vec![call], written: None };
    stage.store.answer_intent(answer, NOW.plus_ms(42)).await.unwrap();
}

#[tokio::test]
async fn a_trace_is_the_journal_of_one_tenant() {
    let stage = Stage::new().await;
    put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
    let path = format!("{TENANTS}/acme/trace");
    assert_eq!(stage.get(&path).await.1["intents"], json!([]));
    done(&stage, "acme", 1).await;
    done(&stage, "umbra", 2).await;
    let (code, trace) = stage.get(&path).await;
    assert_eq!(
        (code, &trace["kind"], &trace["tenant"]),
        (200, &json!("TenantTrace"), &json!("acme"))
    );
    assert_eq!(
        trace["intents"],
        json!([{
            "id": Ulid::from_parts(1, 1).to_string(),
            "action": "CreateMachine",
            "target": "acme-box-0",
            "targetId": "7811d2b4c90e38",
            "app": "acme-app",
            "specHash": "00ff",
            "state": "acked",
            "plannedAt": "2026-01-01T00:00:00.000Z",
            "sentAt": "2026-01-01T00:00:00.001Z",
            "answeredAt": "2026-01-01T00:00:00.042Z",
            "calls": [{
                "method": "POST",
                "path": "/v1/apps/{app}/machines",
                "attempt": 1,
                "status": 200,
                "flyRequestId": "01K4Z8-ams",
                "sentAt": "2026-01-01T00:00:00.002Z",
                "tookMs": 40,
            }],
        }])
    );
}

#[tokio::test]
async fn what_is_no_limit_and_who_never_was_are_refused() {
    let stage = Stage::new().await;
    put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
    for query in ["limit=0", "limit=2001", "limit=all", "linit=1"] {
        let (code, _) = stage.get(&format!("{TENANTS}/acme/trace?{query}")).await;
        assert_eq!(code, 400, "{query}");
    }
    assert_eq!(stage.get(&format!("{TENANTS}/never/trace")).await.0, 404);
    // One that is gone has a trace still.
    done(&stage, "gone", 1).await;
    assert_eq!(stage.get(&format!("{TENANTS}/gone/trace")).await.0, 200);
}

#[tokio::test]
async fn a_limited_token_reads_no_trace_of_what_it_never_saw() {
    let stage = Stage::new().await;
    let ci = stage.token("ci", "read", Some("tier=pro")).await;
    let labels = super::roles::labelled;
    stage.ask(Method::POST, TENANTS, labels("acme", "pro")).await;
    stage.ask(Method::POST, TENANTS, labels("umbra", "free")).await;
    for (random, tenant, code) in [(1, "acme", 200), (2, "umbra", 404), (3, "gone", 404)] {
        done(&stage, tenant, random).await;
        let path = format!("{TENANTS}/{tenant}/trace");
        let (found, answer) = stage.as_caller(&ci, Method::GET, &path, &Value::Null).await;
        assert_eq!(found, code, "{tenant}: {answer}");
    }
}
