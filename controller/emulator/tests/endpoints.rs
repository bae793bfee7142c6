//! The endpoints beyond the life of a machine, over real HTTP: leases, suspend, snapshots, deploy
//! tokens, addresses, certificates, policies, and what goes into a machine that runs as a process.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[path = "support/platform.rs"]
mod support;

use self::support::{Platform, error, eventually, platform, start, with_processes};

/// A call by whoever holds the lease.
async fn with_nonce(
    platform: &Platform,
    method: Method,
    path: &str,
    nonce: &str,
) -> (StatusCode, Value) {
    let request = platform.client.request(method, format!("{}{path}", platform.emulator.url()));
    let request = request.header("authorization", &platform.token);
    let answer = request.header("fly-machine-lease-nonce", nonce).send().await.expect("an answer");
    (answer.status(), answer.json().await.expect("JSON"))
}

#[tokio::test]
async fn a_lease_refuses_start_and_holds_stop_and_destroy_up() {
    let (platform, _directory) = platform().await;
    platform.app("web").await;
    let body = json!({ "name": "one", "lease_ttl": 3600, "config": { "image": "nginx:1" } });
    let (_, created) = platform.post("/v1/apps/web/machines", body).await;
    let (id, nonce) = (created["id"].as_str().expect("an id"), created["nonce"].as_str());
    let nonce = nonce.expect("a nonce");
    platform.wait("web", id, "started").await;
    let path = format!("/v1/apps/web/machines/{id}");
    let (_, shown) = platform.get(&format!("{path}?include_leases=true")).await;
    assert_eq!(shown["lease"]["owner"], "operator@tokens.fly.io");
    assert!(shown["lease"].get("nonce").is_none() && shown.get("nonce").is_none());
    assert!(platform.get(&path).await.1.get("lease").is_none());

    for call in ["/restart", "/suspend", "/cordon", "/lease", ""] {
        let (status, body) = platform.post(&format!("{path}{call}"), json!({})).await;
        assert_eq!(status, StatusCode::CONFLICT, "{call}");
        let text = body["error"].as_str().expect("text");
        assert!(text.contains(&format!("machine ID {id} lease currently held by")), "{text}");
    }
    // Metadata is not guarded.
    let (status, _) = platform.post(&format!("{path}/metadata/k"), json!({ "value": "v" })).await;
    assert_eq!(status, StatusCode::NO_CONTENT);

    // The client gives up; the stop is done all the same, once the lease ends.
    let stop = platform.client.post(format!("{}{path}/stop", platform.emulator.url()));
    let stop = stop.header("authorization", &platform.token).timeout(Duration::from_millis(200));
    assert!(stop.send().await.expect_err("blocks").is_timeout());
    assert_eq!(platform.get(&path).await.1["state"], "started");
    let lease = format!("{path}/lease");
    let (status, renewed) =
        with_nonce(&platform, Method::POST, &format!("{lease}?ttl=60"), nonce).await;
    assert_eq!((status, &renewed["data"]["nonce"]), (StatusCode::CREATED, &json!(nonce)));
    let (_, known) = platform.get(&lease).await;
    assert_eq!((&known["status"], &known["data"]), (&json!("success"), &renewed["data"]));
    let (_, released) = with_nonce(&platform, Method::DELETE, &lease, nonce).await;
    assert_eq!(released, json!({ "status": "success", "data": { "ok": true } }));
    platform.wait("web", id, "stopped").await;
    assert_eq!(platform.get(&lease).await, (StatusCode::NOT_FOUND, error("lease not found")));
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn a_deploy_token_opens_its_app_alone() {
    let (mut platform, _directory) = platform().await;
    platform.app("mine").await;
    platform.app("other").await;
    platform.post("/v1/apps/mine/secrets/S", json!({ "value": "v" })).await;
    let path = "/v1/apps/mine/deploy_token";
    for bad in ["soon", "-1h", "0s"] {
        let answer = platform.post(path, json!({ "expiry": bad })).await;
        assert_eq!(answer.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    let (status, made) = platform.post(path, json!({ "expiry": "24h0m0s" })).await;
    assert_eq!(status, StatusCode::OK);
    platform.token = format!("FlyV1 {}", made["token"].as_str().expect("a token"));
    assert_eq!(platform.get("/v1/apps/mine").await.0, StatusCode::OK);
    platform.machine("mine", "one").await;
    let (_, tokens) = platform.get("/v1/tokens/current").await;
    assert_eq!(tokens["tokens"][0]["apps"], json!(["mine"]));
    let (_, secrets) = platform.get("/v1/apps/mine/secrets?show_secrets=true").await;
    assert!(secrets["secrets"][0].get("value").is_none());
    let refused = (StatusCode::FORBIDDEN, error("unauthorized"));
    for path in ["/v1/apps/other", "/v1/orgs/local/machines", "/v1/apps?org_slug=local"] {
        assert_eq!(platform.get(path).await, refused, "{path}");
    }
    let more = json!({ "name": "new", "org_slug": "local" });
    assert_eq!(platform.post("/v1/apps", more).await, refused);
    assert_eq!(platform.post(path, json!({})).await, refused, "no token makes its own successor");
    platform.token.push('x');
    assert_eq!(platform.get("/v1/apps/mine").await.0, StatusCode::UNAUTHORIZED);
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn what_belongs_to_an_app_is_kept_over_a_restart() {
    let (platform, directory) = platform().await;
    platform.app("web").await;
    let (_, v6) = platform.post("/v1/apps/web/ip_assignments", json!({ "type": "v6" })).await;
    let (_, pair) =
        platform.post("/v1/apps/web/ip_assignments", json!({ "type": "egress_pair" })).await;
    assert!(pair["ip"].is_null() && pair["ip_pair"]["v4"].is_string(), "{pair}");
    let (status, body) =
        platform.post("/v1/apps/web/ip_assignments", json!({ "type": "v5" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["error"].as_str().expect("text").contains("shared_v4"), "{body}");
    let acme = "/v1/apps/web/certificates/acme";
    let host = json!({ "hostname": "a.example.com" });
    assert_eq!(platform.post(acme, host.clone()).await.0, StatusCode::CREATED);
    assert_eq!(platform.post(acme, host).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let rule = json!({ "action": "allow", "direction": "ingress", "ports": [{ "protocol": "tcp", "port": 80 }] });
    let policy = json!({ "name": "p", "selector": { "all": true }, "rules": [rule] });
    let (_, written) = platform.post("/v1/apps/web/network_policies", policy).await;
    let (_, places) = platform
        .post(
            "/v1/platform/placements",
            json!({ "org_slug": "local", "count": 2, "region": "lhr,any" }),
        )
        .await;
    assert_eq!(
        (&places["Regions"][0]["Region"], &places["Regions"][0]["Count"]),
        (&json!("lhr"), &json!(2))
    );
    platform.emulator.shutdown().await;

    let platform = start(support::config(directory.path())).await;
    let (_, ips) = platform.get("/v1/apps/web/ip_assignments").await;
    assert_eq!(ips["ips"].as_array().map(Vec::len), Some(3));
    let path = format!("/v1/apps/web/ip_assignments/{}", v6["ip"].as_str().expect("an address"));
    assert_eq!(platform.call(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    let (_, certificates) = platform.get("/v1/apps/web/certificates?filter=a.ex").await;
    assert_eq!(certificates["total_count"], 1);
    assert_eq!(platform.get("/v1/apps/web/network_policies").await.1, json!([written]));
    platform.emulator.shutdown().await;
}

#[tokio::test]
async fn a_volume_is_snapshotted_restored_and_forked() {
    let (platform, directory) = platform().await;
    platform.app("web").await;
    let new = json!({ "name": "data", "region": "ams", "size_gb": 2 });
    let (_, volume) = platform.post("/v1/apps/web/volumes", new).await;
    let id = volume["id"].as_str().expect("an id");
    let files = |id: &str| directory.path().join("volumes").join(id);
    std::fs::create_dir_all(files(id)).expect("made");
    std::fs::write(files(id).join("file"), "kept").expect("written");
    let path = format!("/v1/apps/web/volumes/{id}");
    let settings = json!({ "snapshot_retention": 9, "auto_backup_enabled": false });
    let (_, updated) = platform.call(Method::PUT, &path, Some(settings)).await;
    assert_eq!((&updated["snapshot_retention"], &updated["size_gb"]), (&json!(9), &json!(2)));
    let snapshots = format!("{path}/snapshots");
    let (status, taken) = platform.post(&snapshots, json!({})).await;
    assert_eq!((status, &taken["retention_days"]), (StatusCode::OK, &json!(9)));
    let taken = taken["id"].as_str().expect("an id").to_owned();
    let copy = directory.path().join("snapshots").join(&taken).join("file");
    eventually("the snapshot is taken", || copy.exists()).await;
    loop {
        let (_, listed) = platform.get(&snapshots).await;
        if listed[0]["status"] == "created" {
            assert_eq!((&listed[0]["id"], &listed[0]["size"]), (&json!(taken), &json!(4)));
            break;
        }
        tokio::task::yield_now().await;
    }
    std::fs::write(files(id).join("file"), "changed").expect("written");
    for (source, wanted) in
        [(json!({ "snapshot_id": taken }), "kept"), (json!({ "source_volume_id": id }), "changed")]
    {
        let mut new = json!({ "name": "copy", "region": "lhr" });
        new.as_object_mut().expect("an object").extend(source.as_object().expect("one").clone());
        let (status, made) = platform.post("/v1/apps/web/volumes", new).await;
        assert_eq!((status, &made["size_gb"]), (StatusCode::OK, &json!(2)), "{made}");
        let copied = files(made["id"].as_str().expect("an id")).join("file");
        eventually("the volume is filled", || copied.exists()).await;
        assert_eq!(std::fs::read_to_string(copied).expect("read"), wanted);
    }
    platform.emulator.shutdown().await;
}

/// A machine that prints, listens to signals, and counts.
const PROGRAM: &str = "trap 'echo usr1' USR1; echo hello; echo oops >&2; n=0; \
    while true; do n=$((n+1)); echo $n > /tmp/count-$FLY_MACHINE_ID; sleep 0.02; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_running_machine_is_entered_listed_signalled_and_suspended() {
    let directory = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let platform = start(with_processes(directory.path(), None)).await;
    platform.app("web").await;
    let config = json!({
        "image": "nginx:1", "env": { "MINE": "1" }, "restart": { "policy": "no" },
        "init": { "exec": ["/bin/sh", "-c", PROGRAM] },
    });
    let id = platform.create("web", "one", config).await;
    platform.wait("web", &id, "started").await;
    let path = format!("/v1/apps/web/machines/{id}");
    let exec = async |body: Value| platform.post(&format!("{path}/exec"), body).await;
    let shell = |script: &str| json!({ "command": ["/bin/sh", "-c", script] });

    let (status, ran) = exec(shell("echo out $MINE $FLY_MACHINE_ID; echo err >&2; exit 3")).await;
    assert_eq!(status, StatusCode::OK, "{ran}");
    let wanted = json!({ "exit_code": 3, "exit_signal": 0, "stdout": format!("out 1 {id}\n"), "stderr": "err\n" });
    assert_eq!(ran, wanted);
    let (_, cat) = exec(json!({ "cmd": "cat -", "stdin": "given" })).await;
    assert_eq!(cat["stdout"], "given");
    let (_, killed) = exec(shell("kill -9 $$")).await;
    assert_eq!((&killed["exit_code"], &killed["exit_signal"]), (&json!(137), &json!(9)));
    let (_, missing) = exec(json!({ "command": ["/no/such"] })).await;
    assert_eq!(missing["exit_code"], 127);
    let (_, much) = exec(shell("head -c 3000000 /dev/zero | tr '\\0' x")).await;
    assert_eq!(much["stdout"].as_str().map(str::len), Some(1 << 20), "bounded, and not stuck");
    let mut slow = shell("sleep 600");
    slow["timeout"] = json!(1);
    let late = (StatusCode::REQUEST_TIMEOUT, error("deadline_exceeded: command timed out"));
    assert_eq!(exec(slow).await, late);
    for bad in [json!({}), json!({ "command": [""] }), json!({ "command": ["a\u{0}b"] })] {
        assert_eq!(exec(bad.clone()).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }

    let (status, processes) = platform.get(&format!("{path}/ps?sort_by=pid&order=asc")).await;
    assert_eq!(status, StatusCode::OK, "{processes}");
    let commands: Vec<_> =
        processes.as_array().expect("rows").iter().map(|row| row["command"].to_string()).collect();
    assert!(commands.iter().any(|line| line.contains("trap")), "{commands:?}");

    let signal = json!({ "signal": "SIGUSR1" });
    assert_eq!(platform.post(&format!("{path}/signal"), signal).await.0, StatusCode::OK);
    support::wait_for_console(directory.path(), &id, "usr1").await;
    let logs = format!("/api/v1/apps/web/logs?instance={id}");
    let (_, log) = platform.get(&logs).await;
    let messages: Vec<_> = log["data"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| &row["attributes"]["message"])
        .collect();
    assert!(messages.contains(&&json!("hello")) && messages.contains(&&json!("oops")), "{log}");
    let token = log["meta"]["next_token"].as_str().expect("a token");
    assert_eq!(platform.get(&format!("{logs}&next_token={token}")).await.1["data"], json!([]));

    let count = async || {
        let (_, read) = exec(shell("cat /tmp/count-$FLY_MACHINE_ID")).await;
        read["stdout"].as_str().expect("text").trim().to_owned()
    };
    assert_eq!(platform.post(&format!("{path}/suspend"), json!({})).await.0, StatusCode::OK);
    platform.wait("web", &id, "suspended").await;
    let (status, body) = exec(shell("true")).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{body}");
    let (_, started) = platform.post(&format!("{path}/start"), json!({})).await;
    assert_eq!(started["previous_state"], "suspended");
    platform.wait("web", &id, "started").await;
    let first = count().await;
    assert!(first.parse::<u64>().expect("a number") > 1, "it went on and did not begin anew");
    while count().await == first {}
    let (_, machine) = platform.get(&path).await;
    let kinds: Vec<_> =
        machine["events"].as_array().expect("events").iter().map(|event| &event["type"]).collect();
    assert!(!kinds.contains(&&json!("exit")), "{kinds:?}");
    platform.emulator.shutdown().await;
}
