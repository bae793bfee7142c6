use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn acme() -> Object {
    Object(json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
        "metadata": {
            "name": "acme", "generation": 2, "creationTimestamp": "2026-03-01T11:55:30Z",
            "labels": { "tier": "pro", "env": "dev" }, "annotations": { "note": "a\u{1b}[31mb" },
        },
        "spec": { "class": "dev-box", "reconcile": "Paused" },
        "status": {
            "observedGeneration": 1, "source": "folder acme.yaml", "org": "local",
            "app": "acme-7k2m9qxa",
            "conditions": [
                { "type": "Ready", "status": "False", "observedGeneration": 1, "reason": "Changing",
                  "lastTransitionTime": "2026-03-01T11:59:00Z", "message": "1 of 2 is as wanted." },
            ],
            "machines": [
                { "name": "acme-box-0", "id": "3d8d", "state": "started", "region": "ord",
                  "privateIp": "fdaa::3", "version": "01J0", "ready": true,
                  "agent": { "ready": true, "version": "0.1.0" } },
                { "name": "acme-box-1", "region": "ord", "ready": false,
                  "agent": { "ready": false, "message": "it did not\nanswer" } },
            ],
            "volumes": [
                { "template": "data", "name": "v_abc", "machine": "acme-box-0", "sizeGb": 10 },
            ],
        },
    }))
}

fn event(kind: &str, name: &str, reason: &str, count: u64) -> Object {
    Object(json!({
        "kind": "Event", "type": "Warning", "reason": reason, "message": "it happened",
        "count": count, "firstTimestamp": "2026-03-01T11:55:00Z",
        "lastTimestamp": "2026-03-01T11:59:48Z", "involvedObject": { "kind": kind, "name": name },
    }))
}

#[test]
fn a_tenant_is_told_with_its_own_events() {
    let events = [
        event("Tenant", "acme", "CreateMachine", 1),
        event("Tenant", "umbra", "NotMine", 1),
        event("TenantClass", "acme", "NotMine", 1),
        event("Tenant", "acme", "Waiting", 3),
    ];
    let text = describe(Resource::Tenant, &acme(), &Trouble::None, Some(&events), now());
    insta::assert_snapshot!(text);
    assert!(!text.contains('\u{1b}'), "nothing of it speaks to the terminal");
}

#[test]
fn a_class_is_told_by_its_templates() {
    let class = Object(json!({
        "kind": "TenantClass",
        "metadata": { "name": "dev-box", "generation": 1,
            "creationTimestamp": "2026-02-27T12:00:00Z" },
        "spec": {
            "machines": [{ "name": "box", "region": "ord", "count": 2, "state": "Started",
                "config": { "image": "registry.fly.io/vault-tenants/agent:1" } }],
            "volumes": [{ "name": "data", "sizeGb": 10, "deletionPolicy": "Retain" }],
        },
    }));
    insta::assert_snapshot!(describe(
        Resource::TenantClass,
        &class,
        &Trouble::None,
        Some(&[]),
        now()
    ));
}

#[test]
fn what_is_not_there_and_what_is_not_known_are_told_apart() {
    let bare = Object(json!({ "metadata": { "name": "new" }, "spec": {} }));
    let text = describe(Resource::Tenant, &bare, &Trouble::None, Some(&[]), now());
    for name in ["Labels:", "Created:", "App:", "Conditions:", "Machines:", "Volumes:", "Events:"] {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.ends_with(" <none>"), "{line:?}");
    }
    let foreign = Object(json!({ "metadata": { "name": "new" }, "status": { "machines": 7 } }));
    let text = describe(Resource::Tenant, &foreign, &Trouble::None, None, now());
    for name in ["Conditions:", "Machines:", "Volumes:", "Events:"] {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.ends_with(" <unknown>"), "{line:?}");
    }
}

#[test]
fn a_machine_that_does_not_come_up_is_told_with_its_exits_and_its_log() {
    let diagnosis: Diagnosis = serde_json::from_value(json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "Diagnosis", "metadata": { "name": "acme" },
        "machines": [
            { "name": "acme-box-0", "id": "3d8d", "state": "stopped",
              "exits": [{ "at": "2026-03-01T11:58:00Z", "exitCode": 137, "signal": 9,
                  "oomKilled": true, "requestedStop": false, "restarting": true }],
              "log": [{ "at": "2026-03-01T11:57:59Z", "message": "eating\u{1b}[31m memory\n" }] },
            { "name": "acme-box-1", "id": "4e9e", "state": "failed", "exits": [], "log": [],
              "trouble": "the logs could not be read: HTTP 503" },
        ],
    }))
    .unwrap();
    let text = describe(Resource::Tenant, &acme(), &Trouble::Known(diagnosis), None, now());
    let told = text.split_once("Machine ").unwrap().1;
    insta::assert_snapshot!(told);
    let unknown = Trouble::Unknown("it is older".to_owned());
    let text = describe(Resource::Tenant, &acme(), &unknown, None, now());
    assert!(text.contains("\nDiagnosis:     <unknown> (it is older)\n"), "{text}");
}
