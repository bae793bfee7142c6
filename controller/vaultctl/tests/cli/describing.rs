//! `describe` and `events`.

use serde_json::{Value, json};

use crate::fake::Fake;

fn event(kind: &str, name: &str, level: &str, reason: &str, second: u32) -> Value {
    let instant = format!("2026-03-01T12:00:{second:02}Z");
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": format!("{name}.{second}") },
        "involvedObject": { "kind": kind, "name": name }, "type": level, "reason": reason,
        "message": format!("{reason} of {name}."), "count": 1,
        "firstTimestamp": instant, "lastTimestamp": instant,
    })
}

fn stocked() -> Fake {
    let fake = Fake::start();
    for (name, tier) in [("acme", "pro"), ("umbra", "free")] {
        fake.store(
            "tenants",
            json!({
                "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
                "metadata": { "name": name, "labels": { "tier": tier } },
                "spec": { "class": "dev-box" },
                "status": { "observedGeneration": 1, "conditions": [], "org": "local",
                    "machines": [{ "name": format!("{name}-box-0"), "state": "started",
                        "region": "ord", "ready": true,
                        "agent": { "ready": true, "version": "0.1.0" } }] },
            }),
        );
    }
    fake.store(
        "tenantclasses",
        json!({ "apiVersion": "vaultctl.dev/v1", "kind": "TenantClass",
            "metadata": { "name": "dev-box" }, "spec": { "machines": [{ "name": "box" }] } }),
    );
    fake.world.lock().unwrap().events = Some(vec![
        event("Tenant", "acme", "Normal", "Ready", 30),
        event("Tenant", "acme", "Normal", "CreateMachine", 10),
        event("Tenant", "umbra", "Warning", "Waiting", 20),
        event("Controller", "vault-controller", "Warning", "BadManifest", 40),
    ]);
    fake
}

/// Where the words stand; all of them must.
fn places(text: &str, words: &[&str]) -> Vec<usize> {
    words.iter().map(|word| text.find(word).unwrap_or_else(|| panic!("{word} in {text}"))).collect()
}

#[test]
fn describe_tells_all_about_one_tenant() {
    let ended = stocked().run(&["describe", "tenant", "acme"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let places = places(
        &ended.stdout,
        &[
            "Name:",
            "Labels:",
            "tier=pro",
            "Class:",
            "Conditions:",
            "Machines:",
            "acme-box-0",
            "0.1.0, ready",
            "Volumes:",
            "Events:",
            "CreateMachine of acme.",
            "Ready of acme.",
        ],
    );
    assert!(places.is_sorted(), "{}", ended.stdout);
    assert!(!ended.stdout.contains("umbra"), "{}", ended.stdout);
}

#[test]
fn describe_takes_the_grammar_of_get() {
    let fake = stocked();
    let two = fake.run(&["describe", "tenant/umbra", "tenantclass/dev-box"]);
    assert_eq!(two.code, 0, "{two:?}");
    let found = places(
        &two.stdout,
        &["umbra", "Waiting of umbra.", "Name:          dev-box", "Events:        <none>"],
    );
    assert!(found.is_sorted() && !two.stdout.contains("acme"), "{}", two.stdout);
    let every = fake.run(&["describe", "tenants"]);
    assert_eq!(every.stdout.matches("Name:").count(), 2, "{every:?}");
    let selected = fake.run(&["describe", "tenants", "-l", "tier=free"]);
    assert_eq!(selected.stdout.matches("Name:").count(), 1, "{selected:?}");
    assert!(selected.stdout.contains("Waiting of umbra."), "{}", selected.stdout);
    let none = fake.run(&["describe", "tenants", "-l", "tier=gold"]);
    assert_eq!(
        (none.code, none.stdout.as_str(), none.stderr.as_str()),
        (0, "", "No tenants found.\n")
    );
    for args in
        [&["describe"][..], &["describe", "pods"], &["describe", "tenant/acme", "-l", "a=b"]]
    {
        assert_eq!(fake.run(args).code, 2, "{args:?}");
    }
}

#[test]
fn describe_says_what_is_not_there() {
    let ended = stocked().run(&["describe", "tenant", "acmee", "umbra"]);
    assert_eq!(ended.code, 4);
    assert_eq!(ended.stderr, "error: tenant/acmee not found\nhint: did you mean acme?\n");
    assert!(ended.stdout.contains("Waiting of umbra."), "{}", ended.stdout);
    let alone = stocked().run(&["describe", "tenant/nobody"]);
    assert_eq!((alone.code, alone.stdout.as_str()), (4, ""), "{alone:?}");
}

#[test]
fn describe_without_events_is_partly_done() {
    let fake = stocked();
    fake.world.lock().unwrap().events = None;
    let ended = fake.run(&["describe", "tenant/acme"]);
    assert_eq!(ended.code, 10, "{ended:?}");
    assert!(ended.stdout.contains("acme-box-0"), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("Events:        <unknown>\n"), "{}", ended.stdout);
    assert!(ended.stderr.starts_with("The events are not known: "), "{}", ended.stderr);
    assert_eq!(fake.run(&["events"]).code, 4);
}

#[test]
fn events_are_told_in_the_order_in_which_they_happened() {
    let fake = stocked();
    let all = fake.run(&["events"]);
    assert_eq!((all.code, all.stderr.as_str()), (0, ""), "{all:?}");
    let reasons: Vec<&str> =
        all.stdout.lines().skip(1).map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(reasons, ["CreateMachine", "Waiting", "Ready", "BadManifest"], "{}", all.stdout);
    assert!(all.stdout.starts_with("LAST SEEN   TYPE      REASON "), "{}", all.stdout);
    let own = fake.run(&["events", "--for", "tenant/umbra", "--no-headers"]);
    assert_eq!(own.stdout.lines().count(), 1, "{own:?}");
    assert!(own.stdout.contains("tenant/umbra   Waiting of umbra."), "{}", own.stdout);
    let warnings = fake.run(&["events", "--types", "warning", "-o", "name"]);
    assert_eq!(warnings.stdout, "event/umbra.20\nevent/vault-controller.40\n");
    let list: Value =
        serde_json::from_str(&fake.run(&["events", "--for=tenant/acme", "-o", "json"]).stdout)
            .unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("List"), 2));
}

#[test]
fn events_of_nobody_are_none_and_of_nothing_a_mistake() {
    let fake = stocked();
    let none = fake.run(&["events", "--for", "tenant/nobody"]);
    assert_eq!((none.code, none.stdout.as_str()), (0, ""), "{none:?}");
    assert_eq!(none.stderr, "No events found.\n");
    for args in [
        &["events", "--for", "tenants"][..],
        &["events", "--for", "pod/a"],
        &["events", "--types", "Bad"],
        &["events", "-o", "jsn"],
    ] {
        let ended = fake.run(args);
        assert_eq!(ended.code, 2, "{args:?}: {ended:?}");
        assert!(ended.stderr.starts_with("error: "), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn describe_asks_why_a_machine_does_not_come_up() {
    let fake = stocked();
    fake.store(
        "tenants",
        json!({
            "apiVersion": "vaultctl.dev/v1", "kind": "Tenant", "metadata": { "name": "down" },
            "spec": {},
            "status": { "observedGeneration": 1, "conditions": [], "machines": [
                { "name": "down-box-0", "state": "stopped", "region": "ord", "ready": false },
                { "name": "down-box-1", "state": "started", "region": "ord", "ready": true },
            ] },
        }),
    );
    let older = fake.run(&["describe", "tenant/down"]);
    assert_eq!((older.code, older.stderr.as_str()), (0, ""), "{older:?}");
    assert!(
        older.stdout.contains("\nDiagnosis:     <unknown> (this controller does not serve it: it is older than vaultctl)\n"),
        "{}",
        older.stdout
    );
    fake.world.lock().unwrap().diagnosis = Some(json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "Diagnosis", "metadata": { "name": "down" },
        "machines": [
            { "name": "down-box-0", "id": "3d8d", "state": "stopped", "exits": [
                { "at": "2026-03-01T12:00:00Z", "exitCode": 1, "signal": null, "oomKilled": false,
                  "requestedStop": false, "restarting": true }],
              "log": [{ "at": "2026-03-01T12:00:00Z", "message": "no such file: start.sh" }] },
            { "name": "down-box-1", "id": "4e9e", "state": "started", "exits": [], "log": [] },
        ],
    }));
    let ended = fake.run(&["describe", "tenant/down"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stdout.contains("\nMachine down-box-0 (3d8d): stopped\n  EXIT "),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("   no such file: start.sh\n"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("Machine down-box-1"), "{}", ended.stdout);
    let fine = fake.run(&["describe", "tenant/acme"]);
    assert!(!fine.stdout.contains("\nMachine ") && !fine.stdout.contains("Diagnosis"), "{fine:?}");
}
