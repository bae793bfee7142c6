//! `token get` and `token list`.

use serde_json::{Value, json};

use crate::fake::Fake;

fn fake() -> Fake {
    let fake = Fake::start();
    let token = |name: &str, n: Value| {
        json!({ "name": name, "n": n, "expiresAt": "2026-01-02T00:00:00Z",
            "nextRotation": "2026-01-01T18:00:00Z" })
    };
    fake.store(
        "tenants",
        json!({
            "apiVersion": "vaultctl.dev/v1", "kind": "Tenant", "metadata": { "name": "acme" },
            "spec": {},
            "status": { "observedGeneration": 1, "conditions": [],
                "tokens": [token("ci", json!(3)), { "name": "new" }] },
        }),
    );
    fake.world
        .lock()
        .unwrap()
        .tokens
        .insert(("acme".to_owned(), "ci".to_owned()), "FlyV1 fm2_x".to_owned());
    fake
}

#[test]
fn a_token_stands_alone_on_standard_output() {
    let fake = fake();
    let ended = fake.run(&["token", "get", "acme", "ci"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (0, "FlyV1 fm2_x\n", "")
    );
    let ended = fake.run(&["token", "get", "acme", "ci", "-o", "json"]);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    let expected =
        json!({ "token": "FlyV1 fm2_x", "name": "ci", "expiresAt": "2026-01-02T00:00:00Z" });
    assert_eq!(told, expected);
    let ended = fake.run(&["token", "get", "acme", "cii"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (4, ""), "{ended:?}");
    assert!(ended.stderr.contains("it has no deploy token"), "{ended:?}");
    assert_eq!(fake.run(&["token", "get", "acme"]).code, 2, "a name is needed");
}

#[test]
fn a_list_shows_names_and_times_and_no_token() {
    let fake = fake();
    let ended = fake.run(&["token", "list", "acme"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let lines: Vec<Vec<&str>> =
        ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["ci", "3", "2026-01-02T00:00:00Z", "2026-01-01T18:00:00Z"]);
    assert_eq!(lines[2], ["new", "<none>", "<none>", "<none>"]);
    let ended = fake.run(&["token", "list", "acme", "-o", "json"]);
    let told: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(told[0]["n"], 3);
    assert_eq!(fake.run(&["token", "list", "nobody"]).code, 4);
    let described = fake.run(&["describe", "tenant", "acme"]);
    assert!(described.stdout.contains("2026-01-01T18:00:00Z"), "{described:?}");
    assert!(!described.stdout.contains("fm2_"));
}
