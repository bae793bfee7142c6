//! `usage-facts`: printed, and served.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::fake::Fake;

const TOKEN: &str = "a-billing-token";

fn fact(id: &str, tenant: &str) -> Value {
    json!({
        "machine_id": id, "state": "started", "region": "ord", "instance_id": null,
        "started_at": "2026-01-01T00:00:00Z", "stopped_at": null, "deleted_at": null,
        "metadata": { "vault_tenant": tenant },
        "volumes": [{ "volume_id": "vol_1", "size_gib": 10 }],
    })
}

fn fake() -> Fake {
    let fake = Fake::start();
    fake.world.lock().unwrap().usage = vec![fact("m1", "acme"), fact("m2", "umbra")];
    fake
}

/// A running listener; ends with the test.
struct Listener {
    child: Child,
    address: String,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Listener {
    fn start(fake: &Fake, args: &[&str], variable: Option<&str>) -> Self {
        let mut command = fake.command(&["usage-facts", "--listen", "127.0.0.1:0"]);
        if let Some(token) = variable {
            command.env("VAULTCTL_USAGE_BEARER_TOKEN", token);
        }
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("serving usage facts at http://").unwrap();
        let address = address.strip_suffix("/usage-facts").unwrap().to_owned();
        Self { child, address }
    }

    /// Status and body.
    fn get(&self, path: &str, token: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "GET {path} HTTP/1.0\r\nHost: x\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn facts(&self, path: &str) -> Value {
        let (code, body) = self.get(path, &format!("Bearer {TOKEN}"));
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

#[test]
fn the_array_is_printed_whole_or_of_one_tenant() {
    let fake = fake();
    let all = fake.run(&["usage-facts"]);
    assert_eq!((all.code, all.stderr.as_str()), (0, ""));
    let expected = json!([fact("m1", "acme"), fact("m2", "umbra")]);
    assert_eq!(serde_json::from_str::<Value>(&all.stdout).unwrap(), expected);
    let one = fake.run(&["usage-facts", "--tenant", "umbra"]);
    assert_eq!(serde_json::from_str::<Value>(&one.stdout).unwrap(), json!([fact("m2", "umbra")]));
}

#[test]
fn the_listener_serves_whoever_shows_the_token_and_nobody_else() {
    let fake = fake();
    let file = fake.file("token", &format!("{TOKEN}\n"));
    let file = file.to_str().unwrap();
    for (args, variable) in [
        (&["--bearer-token", TOKEN][..], None),
        (&["--bearer-token-file", file][..], None),
        (&[][..], Some(TOKEN)),
        // What is said on the command line counts more than what lies about.
        (&["--bearer-token", TOKEN][..], Some("another")),
    ] {
        let listener = Listener::start(&fake, args, variable);
        assert_eq!(listener.facts("/usage-facts").as_array().unwrap().len(), 2);
        assert_eq!(listener.facts("/usage-facts?tenant=acme"), json!([fact("m1", "acme")]));
        assert_eq!(listener.get("/healthz", "").0, 200);
        for wrong in ["", "Bearer", "Bearer ", "Bearer a-billing-toke", "Basic a-billing-token"] {
            let (code, body) = listener.get("/usage-facts?tenant=acme", wrong);
            assert_eq!((code, body.contains("vol_1")), (401, false), "{wrong:?}: {body}");
        }
        let operator = listener.get("/usage-facts", "Bearer operator-token");
        assert_eq!(operator.0, 401, "the controller's own token opens nothing here");
    }
}

#[test]
fn a_listener_for_one_tenant_shows_no_other() {
    let fake = fake();
    let listener = Listener::start(&fake, &["--tenant", "acme", "--bearer-token", TOKEN], None);
    for path in ["/usage-facts", "/usage-facts?tenant=acme"] {
        assert_eq!(listener.facts(path), json!([fact("m1", "acme")]));
    }
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(listener.get("/usage-facts?tenant=umbra", &bearer).0, 403);
    let (code, body) = listener.get("/usage-facts?tenannt=acme", &bearer);
    assert!(code == 400 && body.contains("tenannt"), "{code} {body}");
}

#[test]
fn a_controller_that_cannot_be_reached_is_a_bad_gateway_that_says_so() {
    let fake = fake();
    for (context, why) in [("nobody", "cannot reach the controller"), ("stranger", "not known")] {
        let args = ["--context", context, "--bearer-token", TOKEN];
        let listener = Listener::start(&fake, &args, None);
        let (code, body) = listener.get("/usage-facts", &format!("Bearer {TOKEN}"));
        assert_eq!(code, 502, "{body}");
        let error: Value = serde_json::from_str(&body).unwrap();
        assert!(error["error"].as_str().unwrap().contains(why), "{body}");
        assert_eq!(listener.get("/healthz", "").0, 200);
    }
}

#[test]
fn without_a_usable_token_nothing_is_served() {
    let fake = fake();
    let empty = fake.file("empty", "\n");
    let listen = ["usage-facts", "--listen", "127.0.0.1:0"];
    for args in [
        &[][..],
        &["--bearer-token", ""],
        &["--bearer-token", "two words"],
        &["--bearer-token-file", empty.to_str().unwrap()],
        &["--bearer-token-file", "no-such-file"],
        &["--bearer-token", "a", "--bearer-token-file", "b"],
    ] {
        let ended = fake.run(&[&listen[..], args].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{args:?}: {}", ended.stderr);
    }
    assert_eq!(fake.run(&["usage-facts", "--bearer-token", "a"]).code, 2);
}
