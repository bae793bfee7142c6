//! The API as clients meet it: statuses, bodies and texts over real HTTP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use vault_emulator::{AnswerInfo, Emulator, EmulatorConfig, Interface, RequestInfo};

#[path = "support/platform.rs"]
mod support;

use self::support::{config, error, platform, start, with_processes};

#[tokio::test]
async fn tokens_open_their_organizations_and_nothing_else() {
    let (mut platform, directory) = platform().await;
    platform.app("mine").await;
    let stored = std::fs::read_to_string(directory.path().join("operator.token")).expect("a token");
    assert_eq!(stored.trim(), platform.emulator.operator_token());
    let (_, body) = platform.get("/v1/tokens/current").await;
    let slugs: Vec<_> =
        body["tokens"].as_array().expect("tokens").iter().map(|token| &token["org_slug"]).collect();
    assert_eq!(slugs, ["local", "other"]);

    platform.token =
        format!("FlyV1 fm2_discharge,{}", platform.emulator.org_token("other").expect("a token"));
    let unauthorized = (StatusCode::FORBIDDEN, error("unauthorized"));
    assert_eq!(platform.get("/v1/apps/mine").await, unauthorized);
    assert_eq!(platform.get("/v1/apps/mine/machines").await, unauthorized);
    assert_eq!(platform.get("/v1/orgs/local/machines").await, unauthorized);
    assert_eq!(platform.get("/v1/apps?org_slug=local").await, unauthorized);
    assert_eq!(platform.get("/v1/apps/free").await.0, StatusCode::NOT_FOUND);
    let taken = platform.post("/v1/apps", json!({ "name": "mine", "org_slug": "other" })).await;
    let body = json!({ "error": "Validation failed: Name has already been taken", "status": "name_taken" });
    assert_eq!(taken, (StatusCode::UNPROCESSABLE_ENTITY, body));

    for token in ["Bearer wrong", "FlyV1 fm2_x", "", "Basic abc"] {
        platform.token = token.to_owned();
        let refused = (StatusCode::UNAUTHORIZED, error("Authenticate: token validation error"));
        assert_eq!(platform.get("/v1/apps/mine").await, refused, "{token}");
    }
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn an_app_lives_and_dies() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    platform.machine("web", "one").await;
    let (status, app) = platform.get("/v1/apps/web").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&app["name"], &app["machine_count"], &app["status"]),
        (&json!("web"), &json!(1), &json!("deployed"))
    );
    assert_eq!(app["organization"]["slug"], "local");
    let (_, list) = platform.get("/v1/apps?org_slug=personal").await;
    assert_eq!((&list["total_apps"], &list["apps"][0]["name"]), (&json!(1), &json!("web")));
    let malformed = platform.post("/v1/apps", json!({ "name": "No!", "org_slug": "local" })).await;
    let text = "Validation failed: Name under 63 chars using numbers, lowercase letters and dashes";
    assert_eq!(malformed, (StatusCode::UNPROCESSABLE_ENTITY, error(text)));
    assert_eq!(platform.get("/v1/apps").await.0, StatusCode::BAD_REQUEST);

    let deleted = platform.call(Method::DELETE, "/v1/apps/web", None).await;
    assert_eq!(deleted, (StatusCode::ACCEPTED, Value::Null));
    // Asynchronous: polled until it is gone, with the deadline of the test run.
    let gone = tokio::time::timeout(Duration::from_secs(20), async {
        while platform.get("/v1/apps/web").await.0 != StatusCode::NOT_FOUND {}
    });
    gone.await.expect("the app goes");
    assert_eq!(platform.call(Method::DELETE, "/v1/apps/web", None).await.0, StatusCode::NOT_FOUND);
    platform.app("web").await;
    assert_eq!(platform.get("/v1/apps/web/machines").await, (StatusCode::OK, json!([])));
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn a_machine_looks_and_moves_as_on_the_platform() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    let body = json!({
        "name": "one", "region": "lhr,eu", "unknown": 1, "lease_ttl": null,
        "config": { "image": "nginx:1.29", "metadata": { "owner": "t-42" }, "services": [], "new_member": { "x": [1] } },
    });
    let (status, created) = platform.post("/v1/apps/web/machines", body).await;
    assert_eq!((status, &created["state"]), (StatusCode::OK, &json!("created")), "{created}");
    assert_eq!(created["region"], "lhr");
    assert!(created["private_ip"].as_str().expect("an address").starts_with("fdaa:"));
    assert_eq!(created["image_ref"]["repository"], "library/nginx");
    assert!(created["image_ref"]["digest"].as_str().expect("a digest").starts_with("sha256:"));
    let wanted = json!({
        "image": "nginx:1.29", "metadata": { "owner": "t-42" }, "services": [], "new_member": { "x": [1] },
        "init": {}, "dns": {}, "restart": { "policy": "on-failure" },
        "guest": { "cpu_kind": "shared", "cpus": 1, "memory_mb": 256 },
    });
    assert_eq!(created["config"], wanted);
    let event = &created["events"][0];
    assert_eq!(
        (&event["type"], &event["status"], &event["source"]),
        (&json!("launch"), &json!("created"), &json!("user"))
    );
    assert!(event["timestamp"].is_i64() && event["id"].as_str().expect("an id").len() == 26);

    let id = created["id"].as_str().expect("an id");
    let path = format!("/v1/apps/web/machines/{id}");
    let reached = platform.wait("web", id, "started").await;
    assert_eq!((&reached["ok"], &reached["version"]), (&json!(true), &created["instance_id"]));
    let refused = platform.call(Method::DELETE, &path, None).await;
    let text = "failed_precondition: unable to destroy machine, not currently stopped";
    assert_eq!(refused, (StatusCode::PRECONDITION_FAILED, error(text)));
    let active = platform.call(Method::POST, &format!("{path}/start"), None).await;
    assert_eq!(active.0, StatusCode::PRECONDITION_FAILED);
    let ok = (StatusCode::OK, json!({ "ok": true }));
    let stop = json!({ "id": id, "signal": null, "timeout": "0s" });
    assert_eq!(platform.post(&format!("{path}/stop"), stop).await, ok);
    platform.wait("web", id, "stopped").await;
    let (_, stopped) = platform.get(&path).await;
    let exit = &stopped["events"][0];
    assert_eq!(
        (&exit["type"], &exit["source"], &exit["request"]["exit_event"]["requested_stop"]),
        (&json!("exit"), &json!("flyd"), &json!(true))
    );
    let (_, started) = platform.call(Method::POST, &format!("{path}/start"), None).await;
    assert_eq!(started, json!({ "previous_state": "stopped", "migrated": false, "new_host": "" }));
    platform.wait("web", id, "started").await;
    assert_eq!(
        platform
            .call(Method::POST, &format!("{path}/restart?timeout=5&force_stop=true"), None)
            .await,
        ok
    );

    platform.wait("web", id, "started").await;
    let stale = json!({ "current_version": "x", "config": { "image": "nginx:2" } });
    assert_eq!(platform.post(&path, stale).await.0, StatusCode::CONFLICT);
    let update =
        json!({ "current_version": created["instance_id"], "config": { "image": "nginx:2" } });
    let (status, updated) = platform.post(&path, update).await;
    assert_eq!((status, &updated["state"]), (StatusCode::OK, &json!("replacing")));
    assert_ne!(updated["instance_id"], created["instance_id"]);
    platform.wait("web", id, "settled").await;
    let (_, events) = platform.get(&format!("{path}/events?limit=2")).await;
    assert_eq!(events.as_array().map(Vec::len), Some(2));

    assert_eq!(platform.call(Method::DELETE, &format!("{path}?kill=true"), None).await, ok);
    platform.wait("web", id, "destroyed").await;
    assert_eq!(platform.get(&path).await.1["state"], "destroyed");
    assert_eq!(platform.get("/v1/apps/web/machines").await.1, json!([]));
    let (_, deleted) =
        platform.get("/v1/apps/web/machines?include_deleted=true&summary=true").await;
    assert_eq!(deleted[0]["id"], created["id"]);
    assert!(deleted[0].get("config").is_none() && deleted[0].get("events").is_none());
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn bad_requests_have_the_platforms_answers() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    let id = platform.machine("web", "one").await;
    let machines = "/v1/apps/web/machines";
    let cases = [
        (machines, json!({ "config": {} }), 400, "config.image"),
        (
            machines,
            json!({ "config": { "image": "a" }, "region": "xyz" }),
            400,
            "target region xyz not found",
        ),
        (
            machines,
            json!({ "name": "one", "config": { "image": "a" } }),
            409,
            &format!("machine ID {id} already exists with name \"one\""),
        ),
        (machines, json!({ "lease_ttl": -1, "config": { "image": "a" } }), 400, "ttl"),
        (machines, json!([]), 400, "invalid request body"),
        ("/v1/apps/none/machines", json!({ "config": { "image": "a" } }), 404, "app not found"),
        ("/v1/apps/web/machines/00000000000000/start", json!({}), 404, "machine not found"),
        (
            "/v1/apps/web/volumes",
            json!({ "name": "d", "region": "ams", "size_gb": 501 }),
            400,
            "size_gb",
        ),
        (
            "/v1/apps/web/volumes",
            json!({ "name": "d", "snapshot_id": "vs_1" }),
            404,
            "snapshot not found",
        ),
        ("/v1/nothing", json!({}), 404, "not found"),
        ("/v1/orgs/local/machines", json!({}), 405, "method not allowed"),
    ];
    for (path, body, status, text) in cases {
        let answer = platform.post(path, body.clone()).await;
        assert_eq!(answer.0.as_u16(), status, "{path} {body}: {}", answer.1);
        let error = answer.1["error"].as_str().expect("an error");
        assert!(error.contains(text), "{path} {body}: {error}");
    }
    let huge = platform.post(machines, json!({ "name": "x".repeat(2_000_000) })).await;
    assert_eq!(huge, (StatusCode::PAYLOAD_TOO_LARGE, error("request body too large")));
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn volumes_are_claimed_and_released() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    let unset = json!({ "name": "data", "region": "ams", "size_gb": 1, "encrypted": null, "snapshot_id": null, "compute": null });
    let (status, volume) = platform.post("/v1/apps/web/volumes", unset).await;
    assert_eq!(status, StatusCode::OK, "{volume}");
    assert_eq!(
        (&volume["attached_machine_id"], &volume["size_gb"], &volume["fstype"]),
        (&Value::Null, &json!(1), &json!("ext4"))
    );
    let id = volume["id"].as_str().expect("an id");
    let mounting = json!({ "region": "ams", "config": { "image": "a", "mounts": [{ "volume": id, "path": "/data" }] } });
    let (_, owner) = platform.post("/v1/apps/web/machines", mounting.clone()).await;
    let owner = owner["id"].as_str().expect("an id");
    let claimed = format!("failed_precondition: volume already claimed by machine {owner}");
    assert_eq!(
        platform.post("/v1/apps/web/machines", mounting).await,
        (StatusCode::PRECONDITION_FAILED, error(&claimed))
    );
    let path = format!("/v1/apps/web/volumes/{id}");
    let bound = format!("failed_precondition: volume is currently bound to machine: {owner}");
    assert_eq!(
        platform.call(Method::DELETE, &path, None).await,
        (StatusCode::PRECONDITION_FAILED, error(&bound))
    );
    let (_, extended) =
        platform.call(Method::PUT, &format!("{path}/extend"), Some(json!({ "size_gb": 5 }))).await;
    assert_eq!(
        (&extended["volume"]["size_gb"], &extended["needs_restart"]),
        (&json!(5), &json!(false))
    );
    platform.call(Method::DELETE, &format!("/v1/apps/web/machines/{owner}?force=true"), None).await;
    platform.wait("web", owner, "destroyed").await;
    let (status, deleted) = platform.call(Method::DELETE, &path, None).await;
    assert_eq!((status, &deleted["id"]), (StatusCode::OK, &volume["id"]));
    let (_, listed) = platform.get("/v1/orgs/local/volumes?summary=true").await;
    assert_eq!(listed["volumes"][0]["app_name"], "web");
    assert!(listed["volumes"][0].get("blocks").is_none());
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn metadata_is_written_in_place() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    let id = platform.machine("web", "one").await;
    let path = format!("/v1/apps/web/machines/{id}/metadata");
    let empty = (StatusCode::NO_CONTENT, Value::Null);
    let merge = json!({ "metadata": { "a": "1", "b": "2", "c": null } });
    assert_eq!(platform.call(Method::PATCH, &path, Some(merge)).await, empty);
    assert_eq!(
        platform.call(Method::PUT, &path, Some(json!({ "metadata": { "b": "" } }))).await,
        empty
    );
    assert_eq!(platform.post(&format!("{path}/d"), json!({ "value": "4" })).await, empty);
    assert_eq!(platform.get(&path).await, (StatusCode::OK, json!({ "a": "1", "d": "4" })));
    assert_eq!(platform.get(&format!("{path}/a")).await, (StatusCode::OK, json!({ "value": "1" })));
    assert_eq!(platform.call(Method::DELETE, &format!("{path}/a"), None).await, empty);
    assert_eq!(platform.get(&format!("{path}/a")).await.0, StatusCode::NOT_FOUND);
    let stale = json!({ "metadata": { "x": "1" }, "machine_version": "old" });
    assert_eq!(
        platform.call(Method::PATCH, &path, Some(stale)).await.0,
        StatusCode::PRECONDITION_FAILED
    );
    let (_, found) = platform.get("/v1/apps/web/machines?metadata.d=4&region=ams").await;
    assert_eq!(found[0]["id"], json!(id));
    assert_eq!(platform.get("/v1/apps/web/machines?metadata.d=4&metadata.a=1").await.1, json!([]));
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn a_wait_blocks_and_ends_in_408_with_the_platforms_words() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    let id = platform.machine("web", "one").await;
    platform.wait("web", &id, "started").await;
    let path = format!("/v1/apps/web/machines/{id}/wait");
    let text =
        "deadline_exceeded: machine failed to reach desired state, stopped, currently started";
    assert_eq!(
        platform.get(&format!("{path}?state=stopped&timeout=1")).await,
        (StatusCode::REQUEST_TIMEOUT, error(text))
    );
    let range = "invalid_argument: invalid WaitMachineRequest.Timeout: value must be inside range [1s, 1m0s]";
    for timeout in ["0", "61", "x"] {
        let answer = platform.get(&format!("{path}?timeout={timeout}")).await;
        assert_eq!(answer, (StatusCode::BAD_REQUEST, error(range)));
    }
    assert_eq!(platform.get(&format!("{path}?state=asleep")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(
        platform.get("/v1/apps/web/machines/00000000000000/wait").await.0,
        StatusCode::NOT_FOUND
    );

    // A wait that is under way ends with the change, long before its timeout.
    let stop = format!("/v1/apps/web/machines/{id}/stop");
    let long = format!("{path}?state=destroyed,stopped&timeout=60");
    let both = tokio::time::timeout(Duration::from_secs(30), async {
        tokio::join!(platform.get(&long), platform.call(Method::POST, &stop, None))
    });
    let ((status, body), _) = both.await.expect("in time");
    assert_eq!((status, &body["state"]), (StatusCode::OK, &json!("stopped")));
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn the_lists_of_an_organization_are_paged() {
    const MACHINES: usize = 1203;
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    for number in 0..MACHINES {
        platform.machine("web", &format!("m{number}")).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut path = "/v1/orgs/local/machines".to_owned();
    let mut sizes = Vec::new();
    loop {
        let (status, page) = platform.get(&path).await;
        assert_eq!((status, &page["error_regions"]), (StatusCode::OK, &json!([])));
        let rows = page["machines"].as_array().expect("machines");
        sizes.push(rows.len());
        let keys = [
            "app_name",
            "config",
            "created_at",
            "id",
            "name",
            "private_ip",
            "region",
            "state",
            "updated_at",
            "version",
        ];
        assert!(keys.iter().all(|key| rows[0].get(key).is_some()), "{}", rows[0]);
        seen.extend(rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()));
        assert_eq!(page["last_machine_id"], rows[rows.len() - 1]["id"]);
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/orgs/local/machines?cursor={cursor}&limit=5000"),
            None => break,
        }
    }
    // Machines that were still booting may have moved to a later page and been seen twice.
    assert_eq!((seen.len(), sizes[0]), (MACHINES, 1000));
    let (_, last) = platform.get("/v1/orgs/local/machines?limit=1000&summary=true").await;
    assert!(last["machines"][0].get("config").is_none());
    let after = last["last_updated_at"].as_str().expect("a time");
    let (_, rest) = platform.get(&format!("/v1/orgs/local/machines?updated_after={after}")).await;
    assert_eq!(rest["machines"].as_array().map(Vec::len), Some(MACHINES - 1000));
    for bad in ["cursor=x", "limit=0", "limit=x", "updated_after=soon"] {
        let (status, _) = platform.get(&format!("/v1/orgs/local/machines?{bad}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
    }
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn limits_hold_per_action_and_identifier() {
    let directory = tempfile::tempdir().expect("a folder");
    let platform = start(EmulatorConfig { rate_limits: true, ..config(directory.path()) }).await;
    platform.app("web").await;
    let mut limited = 0;
    for _ in 0..20 {
        let answer = platform.get("/v1/apps/web/machines").await;
        if answer.0 == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(answer.1, error("rate limit exceeded"));
            limited += 1;
        }
    }
    assert!(limited > 0, "twenty lists in a row");
    platform.app("another").await;
    assert_eq!(platform.get("/v1/apps/another/machines").await.0, StatusCode::OK);
    for _ in 0..20 {
        assert_eq!(platform.get("/v1/orgs/local/machines").await.0, StatusCode::OK);
    }
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn hooks_count_what_comes_and_goes() {
    let directory = tempfile::tempdir().expect("a folder");
    let (answers, requests) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (seen, arrived) = (Arc::clone(&answers), Arc::clone(&requests));
    let on_answer =
        Arc::new(move |info: &AnswerInfo| seen.lock().expect("a lock").push(info.clone()));
    let on_request =
        Arc::new(move |info: &RequestInfo| arrived.lock().expect("a lock").push(info.clone()));
    let config = EmulatorConfig {
        on_answer: Some(on_answer),
        on_request: Some(on_request),
        ..config(directory.path())
    };
    let platform = start(config).await;
    platform.app("web").await;
    platform.get("/livez").await;
    platform.get("/v1/apps/none?x=1").await;
    platform.post("/graphql", json!({ "query": "{ viewer { id } }" })).await;
    let storage = platform.emulator.storage("local").expect("it has storage").endpoint.clone();
    let refused = reqwest::get(format!("{storage}/bucket/key")).await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let info = |interface, sequence, method: &str, path: &str, status| AnswerInfo {
        interface,
        sequence,
        method: method.to_owned(),
        path: path.to_owned(),
        status,
    };
    assert_eq!(
        *answers.lock().expect("a lock"),
        [
            info(Interface::Machines, 1, "POST", "/v1/apps", 201),
            info(Interface::Machines, 2, "GET", "/v1/apps/none", 404),
            info(Interface::GraphQl, 3, "POST", "/graphql", 200),
            info(Interface::Storage, 4, "GET", "/bucket/key", 403),
        ]
    );
    let counts: Vec<u64> =
        requests.lock().expect("a lock").iter().map(|info| info.answers).collect();
    assert_eq!(counts, [0, 1, 2, 3]);
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn the_world_survives_a_restart() {
    let (platform, directory) = platform().await;
    platform.app("web").await;
    let id = platform.machine("web", "one").await;
    platform.wait("web", &id, "started").await;
    let (_, before) = platform.get("/v1/orgs/local/machines").await;
    let token = platform.token.clone();
    let taken =
        Emulator::start(config(directory.path())).await.err().expect("the folder is in use");
    assert!(format!("{taken:#}").contains("in use by another emulator"), "{taken:#}");
    // Dropped and not shut down: what was acknowledged is already on disk.
    drop(platform);
    let platform = start(config(directory.path())).await;
    assert_eq!(platform.token, token);
    assert_eq!(platform.get("/v1/orgs/local/machines").await.1, before);
    let (status, _) =
        platform.post("/v1/apps", json!({ "name": "web", "org_slug": "local" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn shutting_down_does_not_wait_for_those_who_wait() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    let id = platform.machine("web", "one").await;
    platform.wait("web", &id, "started").await;
    let url = format!("{}/v1/apps/web/machines/{id}/wait?state=stopped", platform.emulator.url());
    let waiting = platform.client.get(url).header("authorization", &platform.token).send();
    let ended = tokio::time::timeout(Duration::from_secs(30), async {
        let mut waiting = std::pin::pin!(waiting);
        // The wait is on its way before the end begins; the list proves that the server is alive.
        tokio::select! {
            biased;
            answer = &mut waiting => panic!("too early: {answer:?}"),
            _ = platform.get("/v1/apps/web") => {}
        }
        tokio::join!(waiting, platform.emulator.shutdown()).0
    });
    if let Ok(answer) = ended.await.expect("in time") {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

/// Machines as processes, end to end; how they are isolated is tested beside the runner.
#[tokio::test(flavor = "multi_thread")]
async fn machines_are_processes_and_start_again_with_the_emulator() {
    let directory = tempfile::tempdir().expect("a folder");
    let config = || with_processes(directory.path(), None);
    let platform = start(config()).await;
    platform.app("web").await;
    let once = json!({ "image": "a", "restart": { "policy": "no" }, "init": { "exec": ["/bin/sh", "-c", "exit 7"] } });
    let once = platform.create("web", "once", once).await;
    platform.wait("web", &once, "stopped,failed").await;
    let (_, ended) = platform.get(&format!("/v1/apps/web/machines/{once}")).await;
    assert_eq!(ended["events"][0]["request"]["exit_event"]["exit_code"], 7, "{ended}");

    let agent = json!({ "image": "x/agent:1", "restart": { "policy": "no" } });
    let agent = platform.create("web", "agent", agent).await;
    platform.wait("web", &agent, "stopped,failed").await;
    let (_, ended) = platform.get(&format!("/v1/apps/web/machines/{agent}")).await;
    assert_eq!(ended["events"][0]["request"]["exit_event"]["exit_code"], 127, "{ended}");

    let pause = platform.create("web", "pause", json!({ "image": "a" })).await;
    platform.wait("web", &pause, "started").await;
    let (_, before) = platform.get(&format!("/v1/apps/web/machines/{pause}")).await;
    platform.emulator.shutdown().await;

    let platform = start(config()).await;
    platform.wait("web", &pause, "started").await;
    let (_, after) = platform.get(&format!("/v1/apps/web/machines/{pause}")).await;
    assert_eq!(after["instance_id"], before["instance_id"]);
    assert_eq!(after["events"][0]["type"], "start");
    assert_ne!(after["events"][0]["id"], before["events"][0]["id"], "a new run");
    platform.post(&format!("/v1/apps/web/machines/{pause}/stop"), json!({})).await;
    platform.wait("web", &pause, "stopped").await;
    platform.emulator.shutdown().await;
}
