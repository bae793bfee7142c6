//! Machines' tokens: asked for inside a machine on its own socket, checked outside by discovery.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

#[path = "support/platform.rs"]
mod support;

use self::support::{Platform, error, platform, start, with_processes};

/// Without a token, as verifiers read.
async fn public(platform: &Platform, url: &str) -> (StatusCode, Value) {
    let answer = platform.client.get(url).send().await.expect("an answer");
    let status = answer.status();
    (status, serde_json::from_str(&answer.text().await.expect("a text")).expect("JSON"))
}

/// Follows discovery as a verifier does, and checks everything that a verifier checks.
async fn verified(platform: &Platform, token: &str, audience: &str) -> Value {
    let issuer = format!("{}/oidc/local", platform.emulator.url());
    let (_, discovery) =
        public(platform, &format!("{issuer}/.well-known/openid-configuration")).await;
    assert_eq!(discovery["issuer"], json!(issuer));
    let (_, keys) = public(platform, discovery["jwks_uri"].as_str().expect("a URL")).await;
    let keys: JwkSet = serde_json::from_value(keys).expect("keys");
    let header = jsonwebtoken::decode_header(token).expect("a header");
    assert_eq!(header.alg, Algorithm::RS256);
    let key = keys.find(&header.kid.expect("a key's id")).expect("its key");
    let key = DecodingKey::from_jwk(key).expect("a key");
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[&issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp", "nbf"]);
    validation.validate_nbf = true;
    validation.leeway = 1;
    let verified = jsonwebtoken::decode::<Value>(token, &key, &validation).expect("a good token");
    // The same token with one bit of its claims changed is not.
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[1] = {
        let mut claims = verified.claims.clone();
        claims["machine_id"] = json!("00000000000000");
        data_encoding::BASE64URL_NOPAD.encode(claims.to_string().as_bytes())
    };
    jsonwebtoken::decode::<Value>(parts.join("."), &key, &validation).expect_err("forged");
    verified.claims
}

#[tokio::test]
async fn issuers_are_public_and_tokens_are_for_machines_only() {
    let (mut platform, directory) = platform().await;
    let base = platform.emulator.url();
    for org in ["local", "other"] {
        let issuer = format!("{base}/oidc/{org}");
        let discovery = format!("{issuer}/.well-known/openid-configuration");
        let (status, body) = public(&platform, &discovery).await;
        assert_eq!((status, &body["issuer"]), (StatusCode::OK, &json!(issuer)));
        assert_eq!(body["jwks_uri"], json!(format!("{issuer}/.well-known/jwks")));
        assert_eq!(body["id_token_signing_alg_values_supported"], json!(["RS256"]));
    }
    for path in ["/oidc/none/.well-known/openid-configuration", "/oidc/none/.well-known/jwks"] {
        let answer = public(&platform, &format!("{base}{path}")).await;
        assert_eq!(answer, (StatusCode::NOT_FOUND, error("not found")), "{path}");
    }
    let (status, keys) = public(&platform, &format!("{base}/oidc/local/.well-known/jwks")).await;
    assert_eq!(status, StatusCode::OK);
    let key = keys["keys"][0].as_object().expect("a key");
    let members: Vec<&str> = key.keys().map(String::as_str).collect();
    assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"], "the public half alone");
    assert!(directory.path().join("oidc.key").is_file());

    let (status, _) = platform.post("/v1/tokens/oidc", json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    platform.token = "Bearer x".to_owned();
    let (status, _) = platform.post("/v1/tokens/oidc", json!({})).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    platform.emulator.shutdown().await;
}

/// What the machine below asks: method, path, further header, body.
fn questions() -> [(&'static str, &'static str, String, String); 9] {
    let none = String::new;
    let token = "/v1/tokens/oidc";
    [
        ("POST", token, none(), r#"{"aud":"me"}"#.to_owned()),
        ("POST", token, none(), none()),
        ("POST", token, none(), r#"{"aud":5}"#.to_owned()),
        ("POST", token, none(), format!(r#"{{"aud":"{}"}}"#, "x".repeat(513))),
        ("POST", token, none(), format!(r#"{{"aud":"{}"}}"#, "x".repeat(5000))),
        ("POST", token, format!("X-Long: {}\r\n", "x".repeat(20_000)), none()),
        ("GET", token, none(), none()),
        ("GET", "/v1/apps?org_slug=local", none(), none()),
        ("GET", "/oidc/local/.well-known/jwks", none(), none()),
    ]
}

/// Sends a request and answers status and body.
fn ask(
    socket: &Path,
    method: &str,
    path: &str,
    header: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: flaps\r\n{header}Content-Length: {length}\r\n\r\n{body}"
    );
    // One that is refused early may be cut off while it is still being sent.
    drop(stream.write_all(request.as_bytes()));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned());
    Ok((status, body))
}

/// Not a test of its own: a machine runs this.
#[test]
#[ignore = "started inside a machine by `a_machine_proves_which_one_it_is`"]
fn inside_a_machine() {
    let Ok(other) = std::env::var("VAULT_TEST_OTHER") else {
        return;
    };
    let own = std::env::var("FLY_API_SOCKET").unwrap_or_else(|_| "/.fly/api".to_owned());
    let own = Path::new(&own);
    let mut said = String::from("\n");
    for (number, (method, path, header, body)) in questions().into_iter().enumerate() {
        let (status, body) = ask(own, method, path, &header, &body).expect("an answer");
        said += &format!("ANSWER {number} {status} {body}\n");
    }
    let written = std::fs::write(own.with_file_name("x"), "x").is_ok();
    let removed = std::fs::remove_file(own).is_ok();
    let reached = UnixStream::connect(other).is_ok();
    said += &format!("WRITTEN {written} REMOVED {removed} REACHED {reached}\nDONE\n");
    std::io::stdout().write_all(said.as_bytes()).expect("said");
}

/// As many connections as there is room for, and one more that waits until there is room again.
fn a_socket_has_room_for_few(socket: &Path) {
    let mut idle: Vec<_> =
        (0..16).map(|_| UnixStream::connect(socket).expect("connected")).collect();
    let mut last = UnixStream::connect(socket).expect("connected");
    last.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    last.set_read_timeout(Some(Duration::from_millis(300))).expect("set");
    let mut answer = [0; 12];
    last.read_exact(&mut answer).expect_err("there is no room");
    idle.pop();
    last.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    last.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 404");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_proves_which_one_it_is() {
    // Under `/var/tmp`, which machines see of their host, and deeper than a socket's address goes.
    let directory = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let data_dir = directory.path().join("x".repeat(120));
    let platform = start(with_processes(&data_dir, None)).await;
    if platform.emulator.isolation().contains("NOTHING IS ISOLATED") {
        let line = b"SKIPPED: this host isolates nothing, so sockets cannot be kept apart\n";
        std::io::stderr().write_all(line).expect("said");
        return;
    }
    platform.app("web").await;
    let other = platform.create("web", "other", json!({ "image": "a" })).await;
    platform.wait("web", &other, "started").await;
    let others = data_dir.join("machines").join(&other).join("fly/api");
    // `started` says that the machine was told to start, as on the platform.
    let comes = "the machine's socket is there";
    support::eventually(comes, || others.exists()).await;

    let this = std::env::current_exe().expect("this test");
    let exec = json!([this, "--exact", "inside_a_machine", "--ignored", "--nocapture"]);
    let config = json!({
        "image": "registry.fly.io/x/y:1", "init": { "exec": exec },
        "env": { "VAULT_TEST_OTHER": others },
    });
    let id = platform.create("web", "asker", config).await;
    let console = support::wait_for_console(&data_dir, &id, "DONE").await;
    let answer = |number: usize| {
        let prefix = format!("ANSWER {number} ");
        let line = console.lines().find_map(|line| line.strip_prefix(&prefix)).expect("an answer");
        let (status, body) = line.split_once(' ').expect("a status");
        (status.parse::<u16>().expect("a number"), body.to_owned())
    };
    let statuses: Vec<u16> = (0..questions().len()).map(|number| answer(number).0).collect();
    assert_eq!(statuses, [200, 200, 400, 400, 413, 431, 405, 404, 404], "{console}");
    assert!(console.contains("WRITTEN false REMOVED false REACHED false"), "{console}");

    let claims = verified(&platform, &answer(0).1, "me").await;
    verified(&platform, &answer(1).1, "https://fly.io/local").await;
    let (_, machine) = platform.get(&format!("/v1/apps/web/machines/{id}")).await;
    let (_, apps) = platform.get("/v1/apps?org_slug=local").await;
    let app = &apps["apps"][0];
    let number = |value: &Value| json!(value.as_u64().expect("a number").to_string());
    for (claim, wanted) in [
        ("sub", json!("local:web:asker")),
        ("app_id", number(&app["internal_numeric_id"])),
        ("app_name", json!("web")),
        ("org_id", number(&app["organization"]["internal_numeric_id"])),
        ("org_name", json!("local")),
        ("image", json!("registry.fly.io/x/y:1")),
        ("image_digest", machine["image_ref"]["digest"].clone()),
        ("machine_id", json!(id)),
        ("machine_name", json!("asker")),
        ("machine_version", machine["instance_id"].clone()),
        ("region", machine["region"].clone()),
    ] {
        assert_eq!(claims[claim], wanted, "{claim}");
    }
    let times = ["iat", "nbf", "exp"].map(|name| claims[name].as_i64().expect("a time"));
    assert_eq!((times[1] - times[0], times[2] - times[0]), (0, 600));
    assert_eq!(claims["jti"].as_str().map(str::len), Some(26));
    platform.emulator.shutdown().await;
    assert!(!others.exists(), "a socket goes with its machine");

    // The socket is there again with the machine, and the key is the same one.
    let key = std::fs::read(data_dir.join("oidc.key")).expect("a key");
    let platform = start(with_processes(&data_dir, None)).await;
    platform.wait("web", &other, "started").await;
    support::eventually(comes, || others.exists()).await;
    let opened = std::fs::File::open(others.parent().expect("a folder")).expect("opened");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&opened);
    let short = Path::new("/proc/self/fd").join(fd.to_string()).join("api");
    let crowded = short.clone();
    let machines = [&id, &other].map(|id| format!("/v1/apps/web/machines/{id}/suspend"));
    let asked = tokio::task::spawn_blocking(move || {
        a_socket_has_room_for_few(&crowded);
        let body = r#"{"aud":"again","aws_principal_tags":true}"#;
        let token = ask(&short, "POST", "/v1/tokens/oidc", "", body).expect("an answer");
        let [others, own] =
            machines.map(|path| ask(&short, "POST", &path, "", "").expect("an answer"));
        (token, others, own)
    });
    let ((status, token), others, own) = asked.await.expect("joined");
    assert_eq!((status, others.0), (200, 403), "no machine puts another one to sleep");
    assert_eq!(own, (200, r#"{"ok":true}"#.to_owned()));
    platform.wait("web", &other, "suspended").await;
    let claims = verified(&platform, &token, "again").await;
    assert_eq!(claims["machine_id"], json!(other));
    let tags = &claims["https://aws.amazon.com/tags"]["principal_tags"];
    assert_eq!(tags["machine_name"], json!(["other"]));
    assert_eq!(std::fs::read(data_dir.join("oidc.key")).expect("a key"), key);
    let path = format!("/v1/apps/web/machines/{other}?force=true");
    platform.call(Method::DELETE, &path, None).await;
    let folder = data_dir.join("machines").join(&other);
    support::eventually("the machine's folder is gone", || !folder.exists()).await;
    platform.emulator.shutdown().await;
}
