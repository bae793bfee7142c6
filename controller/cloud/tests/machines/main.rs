//! The client against a real HTTP server whose answers are written down per test.

mod diagnosis;
mod leases;
mod platform;
mod storage;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use platform::{Answer, Platform, Raw, client, config};
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use vault_cloud::counts::CallCounts;
use vault_cloud::error::{CallError, NotSentReason, UnknownCause};
use vault_cloud::machines::wire::{CreateApp, CreateMachine, CreateVolume, UpdateMachine, Wait};
use vault_cloud::machines::{ClientError, MachinesClient, RateLimits, Waited};

fn machine(id: &str) -> Value {
    json!({"id": id, "name": format!("n-{id}"), "state": "created", "region": "ams", "instance_id": "01K4Z8Q2V7M3N9T5R1X6W0YBCD"})
}

fn row(id: &str) -> Value {
    json!({"id": id, "app_name": "t-42", "name": format!("n-{id}"), "state": "started", "region": "ams", "version": "V"})
}

fn create_machine() -> CreateMachine {
    let config = Map::from_iter([("image".to_owned(), json!("nginx:1.29"))]);
    CreateMachine {
        name: "t-42-web".into(),
        region: "ams".into(),
        config,
        skip_launch: false,
        min_secrets_version: None,
    }
}

#[tokio::test]
async fn calls_that_change_things_step_by_step_have_their_method_path_and_body() {
    let platform = Platform::start().await;
    let client = client(&platform);
    let snapshots = json!([
        {"id": "vs_1", "status": "created", "created_at": "2026-01-01T00:00:00Z"},
        {"id": "vs_2", "created_at": "yesterday"},
        {"status": "created"},
    ]);
    platform.answers([
        Answer::json(200, json!({"ok": true})),
        Answer::text(204, ""),
        Answer::json(200, json!({"volume": {"id": "vol_1"}, "needs_restart": false})),
        Answer::json(200, json!({"volume": {"id": "vol_1"}})),
        Answer::json(200, snapshots),
        Answer::json(200, json!({})),
        Answer::json(200, json!({"version": 3})),
    ]);
    client.suspend_machine("app", "m1").await.unwrap();
    client.set_metadata("app", "m1", "vault_volume_gb", "3").await.unwrap();
    assert!(!client.extend_volume("app", "vol_1", 3).await.unwrap().needs_restart);
    // An answer that does not say is taken for the worse.
    assert!(client.extend_volume("app", "vol_1", 3).await.unwrap().needs_restart);
    let list = client.volume_snapshots("app", "vol_1").await.unwrap();
    let seen: Vec<_> = list.snapshots.iter().map(|one| (&*one.id, one.status.as_deref())).collect();
    assert_eq!(seen, [("vs_1", Some("created")), ("vs_2", None)]);
    assert!(list.snapshots[0].created_at.is_some() && list.snapshots[1].created_at.is_none());
    assert_eq!(list.undecodable.len(), 1);
    client.create_snapshot("app", "vol_1").await.unwrap();
    assert_eq!(client.delete_secret("app", "NAME").await.unwrap().version, Some(3));
    let expected = [
        "POST /v1/apps/app/machines/m1/suspend ",
        r#"POST /v1/apps/app/machines/m1/metadata/vault_volume_gb {"value":"3"}"#,
        r#"PUT /v1/apps/app/volumes/vol_1/extend {"size_gb":3}"#,
        r#"PUT /v1/apps/app/volumes/vol_1/extend {"size_gb":3}"#,
        "GET /v1/apps/app/volumes/vol_1/snapshots ",
        "POST /v1/apps/app/volumes/vol_1/snapshots ",
        "DELETE /v1/apps/app/secrets/NAME ",
    ];
    assert_eq!(platform.requests(), expected);
}

#[tokio::test]
async fn every_call_has_its_method_path_query_and_body() {
    let platform = Platform::start().await;
    let client = client(&platform);
    platform.answers([
        Answer::json(200, json!({"tokens": [{"org_slug": "b"}, {"org_slug": "a"}, {"org_slug": "b"}, {"user": "u"}]})),
        Answer::json(200, json!({"total_apps": 1, "apps": [{"name": "t-42"}]})),
        Answer::json(200, json!({"name": "t-42", "status": "deployed"})),
        Answer::json(201, json!({"id": "x", "created_at": 1})),
        Answer::text(202, ""),
        Answer::json(200, machine("m1")),
        Answer::json(200, machine("m1")),
        Answer::json(200, machine("m1")),
        Answer::json(200, json!({"previous_state": "stopped"})),
        Answer::json(200, json!({"ok": true})),
        Answer::json(200, json!({"ok": true})),
        Answer::json(200, json!({"ok": true})),
        Answer::json(200, json!([{"id": "vol_1", "name": "v", "state": "created", "region": "ams", "size_gb": 1}])),
        Answer::json(200, json!({"id": "vol_1", "name": "v", "state": "created", "region": "ams", "size_gb": 1})),
    ]);
    assert_eq!(client.token_organizations().await.unwrap(), ["a", "b"]);
    assert_eq!(client.list_apps("acme-org").await.unwrap().apps[0].name, "t-42");
    assert_eq!(client.app("a/b ?é").await.unwrap().status, "deployed");
    let app = CreateApp {
        name: "t-42".into(),
        org: "acme-org".into(),
        network: Some("n".into()),
        idempotency_key: None,
    };
    assert_eq!(client.create_app(&app).await.unwrap().id.as_deref(), Some("x"));
    client.delete_app("t-42").await.unwrap();
    assert_eq!(client.machine("t-42", "m1").await.unwrap().id, "m1");
    assert_eq!(client.create_machine("t-42", &create_machine()).await.unwrap().id, "m1");
    let update = UpdateMachine {
        config: create_machine().config,
        current_version: Some("V".into()),
        skip_launch: true,
        min_secrets_version: Some(7),
    };
    assert_eq!(client.update_machine("t-42", "m1", &update).await.unwrap().id, "m1");
    client.start_machine("t-42", "m1").await.unwrap();
    client.stop_machine("t-42", "m1", None).await.unwrap();
    client.delete_machine("t-42", "m1", false, None).await.unwrap();
    client.delete_machine("t-42", "m1", true, None).await.unwrap();
    assert_eq!(client.list_app_volumes("t-42").await.unwrap().volumes[0].id, "vol_1");
    let volume = CreateVolume {
        name: "v".into(),
        region: "ams".into(),
        size_gb: 1,
        ..CreateVolume::default()
    };
    assert_eq!(client.create_volume("t-42", &volume).await.unwrap().id, "vol_1");

    let expected = [
        "GET /v1/tokens/current ",
        "GET /v1/apps?org_slug=acme-org ",
        "GET /v1/apps/a%2Fb%20%3F%C3%A9 ",
        r#"POST /v1/apps {"name":"t-42","org_slug":"acme-org","network":"n"}"#,
        "DELETE /v1/apps/t-42 ",
        "GET /v1/apps/t-42/machines/m1 ",
        r#"POST /v1/apps/t-42/machines {"name":"t-42-web","region":"ams","config":{"image":"nginx:1.29"},"skip_launch":false}"#,
        r#"POST /v1/apps/t-42/machines/m1 {"config":{"image":"nginx:1.29"},"current_version":"V","skip_launch":true,"min_secrets_version":7}"#,
        "POST /v1/apps/t-42/machines/m1/start ",
        "POST /v1/apps/t-42/machines/m1/stop ",
        "DELETE /v1/apps/t-42/machines/m1 ",
        "DELETE /v1/apps/t-42/machines/m1?force=true ",
        "GET /v1/apps/t-42/volumes ",
        r#"POST /v1/apps/t-42/volumes {"name":"v","region":"ams","size_gb":1}"#,
    ];
    assert_eq!(platform.requests(), expected);
}

#[tokio::test]
async fn the_token_goes_out_in_the_form_that_it_needs() {
    for (token, header) in [
        ("Bearer fo1_secret", "Bearer fo1_secret"),
        ("oauth,FlyV1 fm2_a,fm2_b", "FlyV1 fm2_a,fm2_b"),
    ] {
        let platform = Platform::start().await;
        platform.answers([Answer::json(200, json!({"apps": []}))]);
        let mut config = config(&platform.url());
        config.token = token.into();
        MachinesClient::new(config).unwrap().list_apps("o").await.unwrap();
        assert_eq!(platform.headers(0)["authorization"], header);
        assert_eq!(
            platform.headers(0)["user-agent"],
            concat!("vault-cloud/", env!("CARGO_PKG_VERSION"))
        );
    }
}

#[tokio::test]
async fn what_is_no_address_or_no_token_makes_no_client_and_is_not_shown() {
    for url in [
        "",
        "api.machines.dev",
        "ftp://host",
        "https://host/v1",
        "https://host/?a=b",
        "https://user:hunter2@host",
        "unix:user:hunter2",
    ] {
        let error = MachinesClient::new(config(url)).err().unwrap();
        assert!(matches!(error, ClientError::BaseUrl { .. }), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let mut config = config("http://127.0.0.1:1");
    config.token = "fm2_hunter2 fm2_x".into();
    let error = MachinesClient::new(config).err().unwrap();
    assert!(matches!(error, ClientError::Token(_)));
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn pages_are_followed_to_the_end_even_when_one_is_empty() {
    let platform = Platform::start().await;
    platform.answers([
        Answer::json(200, json!({"machines": [row("m1"), row("m2")], "next_cursor": "c 1", "error_regions": ["syd"]})),
        Answer::json(200, json!({"machines": [], "next_cursor": "c2", "error_regions": null})),
        Answer::json(200, json!({"machines": [row("m3"), row("m1")], "next_cursor": "", "error_regions": ["gru", "syd"]})),
        Answer::json(200, json!({"volumes": null, "next_cursor": "v1"})),
        Answer::json(200, json!({"volumes": [{"id": "vol_1", "app_name": "t-42", "name": "v", "state": "created", "region": "ams", "size_gb": 3}], "next_cursor": null})),
    ]);
    let client = client(&platform);
    let list = client.list_org_machines("acme-org").await.unwrap();
    let ids: Vec<_> = list.machines.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["m1", "m2", "m3"]);
    assert_eq!(list.error_regions, ["gru", "syd"]);
    assert!(list.is_partial());
    let volumes = client.list_org_volumes("acme-org").await.unwrap();
    assert_eq!(volumes.volumes[0].app_name, "t-42");
    assert!(!volumes.is_partial());
    assert_eq!(
        platform.requests(),
        [
            "GET /v1/orgs/acme-org/machines?limit=1000 ",
            "GET /v1/orgs/acme-org/machines?limit=1000&cursor=c+1 ",
            "GET /v1/orgs/acme-org/machines?limit=1000&cursor=c2 ",
            "GET /v1/orgs/acme-org/volumes?limit=1000 ",
            "GET /v1/orgs/acme-org/volumes?limit=1000&cursor=v1 ",
        ]
    );
}

#[tokio::test]
async fn a_cursor_that_comes_back_ends_the_list_with_an_error() {
    let platform = Platform::start().await;
    let page =
        |cursor: &str| Answer::json(200, json!({"machines": [row("m1")], "next_cursor": cursor}));
    platform.answers([page("a"), page("b"), page("a")]);
    let error = client(&platform).list_org_machines("acme-org").await.unwrap_err();
    assert!(
        matches!(&error, CallError::Unknown(unknown) if matches!(unknown.cause, UnknownCause::Pages(_))),
        "{error}"
    );
    assert_eq!(platform.requests().len(), 3);
}

#[tokio::test]
async fn a_bad_row_is_told_beside_the_good_ones() {
    let platform = Platform::start().await;
    let odd =
        json!({"id": "m2", "app_name": "t-42", "name": 7, "state": "started", "region": "ams"});
    platform.answers([
        Answer::json(200, json!({"machines": [row("m1"), odd, row("m3")]})),
        Answer::json(200, json!({"total_apps": 2, "apps": [{"name": "a"}, {"id": "x"}]})),
        Answer::json(200, json!({"total_apps": 3, "apps": [{"name": "a"}]})),
        Answer::json(200, json!([{"id": "vol_1"}])),
    ]);
    let client = client(&platform);
    let list = client.list_org_machines("acme-org").await.unwrap();
    assert_eq!(list.machines.len(), 2);
    assert_eq!(
        list.undecodable,
        ["row 1 (id \"m2\"): invalid type: integer `7`, expected a string"]
    );
    assert!(list.is_partial());
    let apps = client.list_apps("acme-org").await.unwrap();
    assert_eq!((apps.apps.len(), apps.undecodable.len(), apps.is_partial()), (1, 1, true));
    assert!(client.list_apps("acme-org").await.unwrap().is_partial());
    assert_eq!(client.list_app_volumes("t-42").await.unwrap().undecodable.len(), 1);
}

#[tokio::test]
async fn a_refusal_carries_all_that_the_platform_said() {
    let platform = Platform::start().await;
    let text = "already_exists: unique machine name violation, \
                machine ID 7811d2b4c90e38 already exists with name \"t-42-web\"";
    platform.answers([
        Answer::json(409, json!({"error": text})).header("fly-request-id", "01K4Z8-ams"),
        Answer::json(404, json!({"error": "machine not found"})),
        Answer::json(422, json!({"error": "Validation failed: Name has already been taken", "status": "name_taken"})),
        Answer::text(403, "<h1>Forbidden</h1>"),
    ]);
    let client = client(&platform);
    let error = client.create_machine("t-42", &create_machine()).await.unwrap_err();
    assert_eq!(error.existing_machine_id(), Some("7811d2b4c90e38"));
    assert_eq!(error.fly_request_id(), Some("01K4Z8-ams"));
    assert_eq!(error.status().map(|status| status.as_u16()), Some(409));
    assert_eq!(error.request().to_string(), "POST /v1/apps/t-42/machines");
    assert!(client.delete_machine("t-42", "m1", true, None).await.unwrap_err().is_not_found());
    let app =
        CreateApp { name: "t-42".into(), org: "o".into(), network: None, idempotency_key: None };
    assert!(client.create_app(&app).await.unwrap_err().name_taken());
    let error = client.app("t-42").await.unwrap_err();
    assert!(error.is_forbidden());
    assert_eq!(error.answer().unwrap().message, "<h1>Forbidden</h1>");
}

#[tokio::test]
async fn a_write_that_may_have_acted_is_unknown_and_not_repeated() {
    let platform = Platform::start().await;
    let client = client(&platform);
    for answer in [
        Answer::json(503, json!({"error": "host unreachable"})),
        Answer::json(408, json!({"error": "deadline_exceeded: host did not answer"})),
        Answer::text(502, "bad gateway"),
        Answer::text(303, "elsewhere").header("location", "/elsewhere"),
        Answer::text(200, "not json"),
        Answer::json(200, json!({"name": "a machine without id"})),
    ] {
        platform.answers([answer]);
        let error = client.create_machine("t-42", &create_machine()).await.unwrap_err();
        assert!(matches!(error, CallError::Unknown(_)), "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(platform.requests().len(), 6);
}

#[tokio::test]
async fn reads_are_repeated_until_they_succeed_or_the_cap() {
    let platform = Platform::start().await;
    let counts = Arc::new(CallCounts::default());
    let mut config = config(&platform.url());
    config.observer = Some(counts.clone());
    let client = MachinesClient::new(config).unwrap();
    platform.answers([
        Answer::text(503, ""),
        Answer::text(500, ""),
        Answer::json(200, machine("m1")),
    ]);
    assert_eq!(client.machine("t-42", "m1").await.unwrap().id, "m1");
    assert_eq!((counts.reads(), counts.writes()), (3, 0));
    platform.answers([
        Answer::text(503, ""),
        Answer::text(503, ""),
        Answer::text(503, ""),
        Answer::text(504, ""),
    ]);
    let error = client.machine("t-42", "m1").await.unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(504));
    assert_eq!((counts.reads(), counts.writes()), (7, 0));
}

#[tokio::test]
async fn after_429_a_write_waits_as_long_as_it_is_told_and_goes_again() {
    let platform = Platform::start().await;
    let sleep = Arc::new(platform::WrittenDown::default());
    let counts = Arc::new(CallCounts::default());
    let mut config = config(&platform.url());
    config.rate_limits = RateLimits::Documented;
    config.sleep = sleep.clone();
    config.observer = Some(counts.clone());
    let client = MachinesClient::new(config).unwrap();
    let limited = || Answer::json(429, json!({"error": "rate limit exceeded"}));
    platform.answers([
        limited().header("retry-after", "7"),
        limited(),
        Answer::json(200, machine("m1")),
    ]);
    client.create_machine("t-42", &create_machine()).await.unwrap();
    let waits = sleep.waits();
    assert_eq!(waits[0], Duration::from_secs(7));
    assert!(waits[1] >= Duration::from_secs(2), "{waits:?}");
    assert_eq!(
        waits.len(),
        2,
        "the clock moved on, so the drained bucket had a token again: {waits:?}"
    );
    assert_eq!((counts.reads(), counts.writes()), (0, 3));

    platform.answers([limited().header("retry-after", "3600")]);
    let error = client.create_machine("t-42", &create_machine()).await.unwrap_err();
    assert!(error.is_rate_limited() && error.is_retryable());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn calls_on_one_app_keep_to_the_rate_and_others_do_not_wait() {
    let platform = Platform::start().await;
    let sleep = Arc::new(platform::WrittenDown::default());
    let mut config = config(&platform.url());
    config.rate_limits = RateLimits::Documented;
    config.sleep = sleep.clone();
    let client = MachinesClient::new(config).unwrap();
    platform.answers((0..8).map(|_| Answer::json(200, machine("m1"))));
    for _ in 0..5 {
        client.create_machine("t-42", &create_machine()).await.unwrap();
    }
    for _ in 0..3 {
        client.create_machine("t-43", &create_machine()).await.unwrap();
    }
    assert_eq!(sleep.waits(), [Duration::from_secs(1); 2]);
}

#[tokio::test]
async fn a_refused_port_and_a_failed_handshake_are_not_sent() {
    let port = Raw::unused_port().await;
    let client = MachinesClient::new(config(&format!("http://127.0.0.1:{port}"))).unwrap();
    let error = client.create_machine("t-42", &create_machine()).await.unwrap_err();
    assert!(
        matches!(&error, CallError::NotSent(not) if matches!(not.reason, NotSentReason::Connect(_))),
        "{error:?}"
    );
    assert!(error.is_retryable());
    assert_eq!(error.to_string(), "POST /v1/apps/t-42/machines was not sent");

    let raw = Raw::start(b"this is no TLS\r\n\r\n").await;
    match MachinesClient::new(config(&raw.url("https"))) {
        Ok(client) => {
            let error = client.start_machine("t-42", "m1").await.unwrap_err();
            assert!(matches!(error, CallError::NotSent(_)), "{error:?}");
        }
        Err(error) => say_skipped(&error),
    }
}

/// Without root certificates no `https` client can be made on this system; everything else can.
#[expect(clippy::print_stderr, reason = "a skipped part of a test says so")]
fn say_skipped(error: &ClientError) {
    assert!(matches!(error, ClientError::Setup(_)), "{error:?}");
    eprintln!(
        "SKIPPED: a failed TLS handshake, because this system has no root certificates ({error:?})"
    );
}

#[tokio::test]
async fn names_that_would_change_the_path_are_not_sent() {
    let platform = Platform::start().await;
    let client = client(&platform);
    for name in ["", ".", ".."] {
        let error = client.delete_machine("t-42", name, true, None).await.unwrap_err();
        assert!(
            matches!(&error, CallError::NotSent(not) if matches!(not.reason, NotSentReason::Segment(_))),
            "{error:?}"
        );
        assert!(!error.is_retryable());
    }
    assert!(platform.requests().is_empty());
}

#[tokio::test]
async fn a_connection_that_breaks_before_or_within_the_answer_is_unknown() {
    let halves: [&'static [u8]; 3] = [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-type: app",
        b"HTTP/1.1 200 OK\r\nfly-request-id: 01K-ams\r\ncontent-length: 100\r\n\r\n{\"ok\":",
    ];
    for half in halves {
        let raw = Raw::start(half).await;
        let client = MachinesClient::new(config(&raw.url("http"))).unwrap();
        let error = client.stop_machine("t-42", "m1", None).await.unwrap_err();
        let CallError::Unknown(unknown) = &error else { panic!("{error:?}") };
        assert!(matches!(unknown.cause, UnknownCause::Broken(_)), "{error:?}");
        assert_eq!(error.fly_request_id(), half.ends_with(b"\"ok\":").then_some("01K-ams"));
        assert_eq!(raw.connections(), 1, "a write is not repeated");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_unknown() {
    let silent = Raw::silent().await;
    let mut config = config(&silent.url("http"));
    config.timeout = Duration::from_millis(200);
    let error =
        MachinesClient::new(config).unwrap().stop_machine("t-42", "m1", None).await.unwrap_err();
    let CallError::Unknown(unknown) = &error else { panic!("{error:?}") };
    assert!(matches!(unknown.cause, UnknownCause::Timeout(_)), "{error:?}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn an_answer_over_the_cap_is_not_read_on() {
    let platform = Platform::start().await;
    let mut large = machine("m1");
    large["name"] = json!("x".repeat(5 << 20));
    platform.answers([Answer::json(200, large), Answer::text(500, &"x".repeat(5 << 20))]);
    let client = client(&platform);
    let error = client.machine("t-42", "m1").await.unwrap_err();
    assert!(
        matches!(&error, CallError::Unknown(unknown) if matches!(unknown.cause, UnknownCause::TooLong { .. })),
        "{error:?}"
    );
    assert_eq!(platform.requests().len(), 1, "it would be too long again");
    let error = client.stop_machine("t-42", "m1", None).await.unwrap_err();
    assert_eq!(error.answer().unwrap().message.len(), 1024);
}

#[tokio::test]
async fn a_wait_ends_with_the_state_or_with_not_yet() {
    let platform = Platform::start().await;
    let over =
        "deadline_exceeded: machine failed to reach desired state, started, currently created";
    platform.answers([
        Answer::json(200, json!({"ok": true, "state": "started", "version": "V", "event_id": "E"})),
        Answer::json(200, json!({"ok": true})),
        Answer::json(408, json!({"error": over})),
        Answer::json(404, json!({"error": "machine not found"})),
    ]);
    let client = client(&platform);
    let wait = |timeout, version: Option<&str>| Wait {
        state: "started".into(),
        timeout: Duration::from_millis(timeout),
        version: version.map(str::to_owned),
    };
    let reached = client.wait("t-42", "m1", &wait(5_500, Some("V"))).await.unwrap();
    assert_eq!(
        reached,
        Waited::Reached {
            state: Some("started".into()),
            version: Some("V".into()),
            event_id: Some("E".into())
        }
    );
    let reached = client.wait("t-42", "m1", &wait(0, None)).await.unwrap();
    assert_eq!(reached, Waited::Reached { state: None, version: None, event_id: None });
    let not_yet = client.wait("t-42", "m1", &wait(900_000, None)).await.unwrap();
    assert_eq!(not_yet, Waited::NotYet { message: over.into() });
    assert!(client.wait("t-42", "m1", &wait(1_000, None)).await.unwrap_err().is_not_found());
    assert_eq!(
        platform.requests()[..3],
        [
            "GET /v1/apps/t-42/machines/m1/wait?state=started&timeout=5&version=V ",
            "GET /v1/apps/t-42/machines/m1/wait?state=started&timeout=1 ",
            "GET /v1/apps/t-42/machines/m1/wait?state=started&timeout=60 ",
        ]
    );
}

#[tokio::test]
async fn no_error_shows_the_token() {
    let secret = "fm2_hunter2";
    let platform = Platform::start().await;
    platform.answers([Answer::json(401, json!({"error": "Authenticate: token validation error"}))]);
    let port = Raw::unused_port().await;
    let mut errors = Vec::new();
    for url in [platform.url(), format!("http://127.0.0.1:{port}")] {
        let mut config = config(&url);
        config.token = secret.into();
        let error = MachinesClient::new(config).unwrap().app("t-42").await.unwrap_err();
        errors.push(format!("{error} {error:?}"));
    }
    assert!(errors.iter().all(|error| !error.contains("hunter2")), "{errors:?}");
}

#[tokio::test]
async fn secrets_are_set_and_their_digests_are_read() {
    let platform = Platform::start().await;
    platform.answers([
        Answer::json(
            201,
            json!({"name": "KEY", "digest": "d1", "value": "hunter2", "version": 7, "Version": 7}),
        ),
        Answer::json(201, json!({"name": "KEY"})),
        Answer::json(200, json!({"secrets": [{"name": "KEY", "digest": "d1"}, {"name": "ODD"}]})),
        Answer::json(200, json!({"secrets": null})),
    ]);
    let mut config = config(&platform.url());
    let counts = Arc::new(CallCounts::default());
    config.observer = Some(counts.clone());
    let client = MachinesClient::new(config).unwrap();
    let value = SecretString::from("hunter2");
    let set = client.set_secret("t-42", "KEY", &value).await.unwrap();
    assert_eq!((set.digest.as_deref(), set.version), (Some("d1"), Some(7)));
    assert!(!format!("{set:?}").contains("hunter2"));
    let set = client.set_secret("t-42", "KEY", &value).await.unwrap();
    assert_eq!((set.digest, set.version), (None, None));
    let list = client.secrets("t-42").await.unwrap();
    assert_eq!((list.secrets[0].name.as_str(), list.secrets[0].digest.as_str()), ("KEY", "d1"));
    assert_eq!(list.undecodable.len(), 1);
    assert!(client.secrets("t-42").await.unwrap().secrets.is_empty());
    assert_eq!((counts.reads(), counts.secret_reads(), counts.writes()), (0, 2, 2));
    assert_eq!(
        platform.requests()[1..3],
        [r#"POST /v1/apps/t-42/secrets/KEY {"value":"hunter2"}"#, "GET /v1/apps/t-42/secrets ",]
    );
}

#[tokio::test]
async fn a_secret_whose_setting_has_an_unknown_outcome_is_set_again() {
    let platform = Platform::start().await;
    platform.answers([
        Answer::json(503, json!({"error": "upstream"})),
        Answer::text(502, "bad gateway"),
        Answer::json(201, json!({"digest": "d1", "version": 3})),
    ]);
    let set = client(&platform).set_secret("t-42", "KEY", &"hunter2".into()).await.unwrap();
    assert_eq!(set.version, Some(3));
    assert_eq!(platform.requests().len(), 3);
}

#[tokio::test]
async fn a_refusal_that_quotes_the_secret_is_told_without_it() {
    let platform = Platform::start().await;
    platform.answers([Answer::json(400, json!({"error": "value \"hunter2\" is too short"}))]);
    let error = client(&platform).set_secret("t-42", "KEY", &"hunter2".into()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    assert_eq!(error.answer().unwrap().message, "value \"[secret]\" is too short");
}
