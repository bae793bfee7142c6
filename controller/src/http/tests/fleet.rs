use std::collections::BTreeSet;
use std::time::Duration;

use vault_cloud::counts::{Attempt, CallObserver, CallOutcome};
use vault_cloud::operation::Operation;

use super::openmetrics::Samples;
use super::*;
use crate::metrics::CONTENT_TYPE;
use crate::testing::rejected;

impl Stage {
    /// A pass, as the main loop counts and publishes it.
    async fn pass(&self) {
        let began = self.app.clock.now();
        self.app.clock.advance(Duration::from_millis(250));
        let pass = self.app.reconciler.get().unwrap().pass(&BTreeSet::new()).await.unwrap();
        self.app.metrics.pass(pass.result(), Duration::from_millis(250));
        let ended = self.app.clock.now();
        self.publish.send_modify(|view| view.take_in(pass, began, ended));
    }

    async fn metrics(&self) -> Samples {
        let request =
            Request::builder().uri("/metrics").header("authorization", format!("Bearer {TOKEN}"));
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], CONTENT_TYPE);
        let body = to_bytes(response.into_body(), 10_000_000).await.unwrap();
        Samples::read(std::str::from_utf8(&body).unwrap())
    }
}

/// One tenant that is Ready, and one whose app's name is taken.
async fn two_tenants() -> Stage {
    let stage = Stage::new().await;
    put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
    stage.pass().await;
    stage.pass().await;
    stage.platform.fail("create_app", rejected(403, "not yours"), false);
    put(&stage.store, &tenant("umbra", "nginx:1"), Source::Api).await;
    stage.pass().await;
    stage.pass().await;
    stage
}

#[tokio::test]
async fn the_metrics_are_strict_openmetrics_and_count_what_passes_did() {
    let stage = two_tenants().await;
    let samples = stage.metrics().await;
    for (series, value) in [
        (r#"controller_runtime_reconcile_total{controller="tenant",result="requeue_after"}"#, 1.0),
        (r#"controller_runtime_reconcile_total{controller="tenant",result="error"}"#, 1.0),
        (r#"controller_runtime_reconcile_errors_total{controller="tenant"}"#, 1.0),
        (r#"controller_runtime_reconcile_time_seconds_count{controller="tenant"}"#, 4.0),
        (r#"controller_runtime_reconcile_time_seconds_sum{controller="tenant"}"#, 1.0),
        (r#"workqueue_adds_total{name="turns"}"#, 2.0),
        (r#"workqueue_retries_total{name="turns"}"#, 1.0),
        (r#"workqueue_depth{name="turns"}"#, 0.0),
        (r#"workqueue_work_duration_seconds_count{name="turns"}"#, 2.0),
        (r#"workqueue_queue_duration_seconds_count{name="turns"}"#, 2.0),
        (r#"workqueue_unfinished_work_seconds{name="turns"}"#, 0.0),
        (r#"leader_election_master_status{name="vault-controller"}"#, 1.0),
        ("vault_tenants", 2.0),
        ("vault_tenants_ready", 1.0),
        (r#"vault_tenant_ready{tenant="acme"}"#, 1.0),
        (r#"vault_tenant_ready{tenant="umbra"}"#, 0.0),
        (r#"vault_machines{state="started"}"#, 1.0),
        (r#"vault_machines_by_region{region="ord"}"#, 1.0),
        ("vault_volumes", 1.0),
        ("vault_volumes_size_gigabytes", 1.0),
        (r#"vault_intents{state="sent"}"#, 0.0),
        ("vault_usage_facts", 1.0),
        ("vault_orphans", 0.0),
        ("vault_sweep_error_regions", 0.0),
        ("vault_tenant_series_omitted", 0.0),
        ("process_start_time_seconds", 1_767_225_510.0),
    ] {
        assert!(
            (samples.value(series) - value).abs() < 1e-9,
            "{series}: {}",
            samples.value(series)
        );
    }
    assert!(samples.value("vault_api_calls_over_floor_ratio") >= 1.0);
    assert!(samples.value("vault_database_size_bytes") > 0.0);
    assert_eq!(samples.count("vault_resource_info{"), 2);
}

#[tokio::test]
async fn a_quiet_pass_is_at_the_floor_and_what_a_list_leaves_out_is_seen() {
    let stage = Stage::new().await;
    put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
    for _ in 0..3 {
        stage.pass().await;
    }
    let ratio = stage.metrics().await.value("vault_api_calls_over_floor_ratio");
    assert!((ratio - 1.0).abs() < 1e-9, "{ratio}");
    stage.platform.world().error_regions.insert("ams".to_owned());
    let mut stray = stage.platform.world().machines[0].clone();
    stray.id = "0000000000beef".to_owned();
    stray.name = "old-box-0".to_owned();
    stray.metadata.insert("vault_tenant".to_owned(), "old".to_owned());
    stage.platform.world().machines.push(stray);
    stage.pass().await;
    let samples = stage.metrics().await;
    let seen = [samples.value("vault_sweep_error_regions"), samples.value("vault_orphans")];
    assert_eq!(seen, [1.0, 1.0]);
}

#[tokio::test]
async fn calls_to_the_platform_are_counted_by_status_and_method() {
    let stage = Stage::new().await;
    let attempt = Attempt {
        operation: Operation::ListApps,
        outcome: CallOutcome::Done,
        status: Some(StatusCode::OK),
        failure: None,
        fly_request_id: Some("01K4Z8-ams"),
        waited: Duration::ZERO,
        took: Duration::from_millis(40),
        repeated: false,
    };
    let lost = Attempt {
        operation: Operation::CreateMachine,
        outcome: CallOutcome::Unknown,
        status: None,
        failure: Some("timeout"),
        fly_request_id: None,
        waited: Duration::from_secs(2),
        took: Duration::from_secs(30),
        repeated: true,
    };
    for attempt in [attempt, attempt, lost] {
        stage.app.metrics.call(&attempt);
    }
    let samples = stage.metrics().await;
    for (series, value) in [
        (r#"rest_client_requests_total{code="200",method="GET"}"#, 2.0),
        (r#"rest_client_requests_total{code="<error>",method="POST"}"#, 1.0),
        (r#"rest_client_request_retries_total{code="<error>",method="POST"}"#, 1.0),
        (r#"rest_client_rate_limiter_duration_seconds_sum{verb="POST"}"#, 2.0),
        (
            r#"rest_client_request_duration_seconds_bucket{le="0.1",verb="GET",operation="list_apps"}"#,
            2.0,
        ),
    ] {
        assert!((samples.value(series) - value).abs() < 1e-9, "{series}");
    }
    assert_eq!(samples.count("rest_client_request_retries_total"), 1);
}

#[tokio::test]
async fn beyond_the_cap_no_tenant_has_series_of_its_own() {
    let stage = Stage::new().await;
    for name in ["a1", "a2", "a3"] {
        put(&stage.store, &tenant(name, "nginx:1"), Source::Api).await;
    }
    stage.pass().await;
    assert_eq!(stage.metrics().await.count("vault_tenant_ready{"), 3);
    put(&stage.store, &tenant("a4", "nginx:1"), Source::Api).await;
    stage.pass().await;
    let samples = stage.metrics().await;
    assert_eq!(
        (samples.count("vault_tenant_ready{"), samples.count("vault_resource_info{")),
        (0, 0)
    );
    assert_eq!(samples.value("vault_tenant_series_omitted"), 4.0);
}

#[tokio::test]
async fn the_status_is_the_whole_fleet_in_one_document() {
    let stage = two_tenants().await;
    let (code, status) = stage.get("/status").await;
    assert_eq!((code, &status["tenants"]), (200, &json!({ "total": 2, "ready": 1 })));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["startedAt"], "2025-12-31T23:58:30Z");
    assert_eq!(status["uptimeSeconds"], 91);
    assert_eq!(
        status["machines"],
        json!({ "total": 1, "byState": { "started": 1 }, "byRegion": { "ord": 1 } })
    );
    assert_eq!(status["volumes"], json!({ "total": 1, "sizeGb": 1 }));
    let not_ready = &status["notReady"];
    assert_eq!(
        (&not_ready["total"], &not_ready["tenants"][0]["name"]),
        (&json!(1), &json!("umbra"))
    );
    assert!(!not_ready["tenants"][0]["message"].as_str().unwrap().is_empty());
    let conditions = status["conditions"].as_array().unwrap();
    let holds = |kind: &str, word: &str| -> u64 {
        let of_kind = conditions.iter().filter(|one| one["type"] == kind && one["status"] == word);
        of_kind.map(|one| one["count"].as_u64().unwrap()).sum()
    };
    assert_eq!((holds("Ready", "True"), holds("Ready", "False")), (1, 1));
    assert_eq!(status["passes"], 4);
    assert_eq!(status["recentPasses"].as_array().unwrap().len(), 4);
    assert_eq!(status["recentPasses"][0], status["lastPass"]);
    assert_eq!(status["recentPasses"][1]["failures"], 1);
    assert_eq!(status["lastPass"]["milliseconds"], 250);
    assert_eq!(status["intents"].as_object().unwrap().len(), 5);
    assert_eq!(status["usage"], json!({ "facts": 1, "retentionSeconds": 7_776_000 }));
    assert!(status["database"]["bytes"].as_u64().unwrap() > 0);
    assert_eq!((&status["troubles"], &status["strays"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn only_so_many_tenants_that_are_not_ready_are_named_and_so_many_passes_kept() {
    let stage = Stage::new().await;
    for number in 0..105 {
        put(&stage.store, &tenant(&format!("t-{number:03}"), "nginx:1"), Source::Api).await;
    }
    for _ in 0..12 {
        stage.platform.fail("machines", rejected(500, "down"), false);
        stage.pass().await;
    }
    let (_, status) = stage.get("/status").await;
    assert_eq!(status["notReady"]["total"], 105);
    assert_eq!(status["notReady"]["tenants"].as_array().unwrap().len(), 100);
    assert_eq!(status["recentPasses"].as_array().unwrap().len(), 10);
    assert_eq!(status["passes"], 12);
}
