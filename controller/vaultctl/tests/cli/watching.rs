//! `get --watch`, `events --watch`, and `wait`, which watches too.

use serde_json::{Value, json};

use crate::fake::Fake;

fn tenant(name: &str, tier: &str) -> Value {
    json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
        "metadata": { "name": name, "labels": { "tier": tier } }, "spec": { "class": "dev-box" },
    })
}

fn stocked() -> Fake {
    let fake = Fake::start();
    fake.store("tenants", tenant("acme", "pro"));
    fake
}

#[test]
fn rows_follow_beneath_one_header() {
    let fake = stocked();
    let mut watch = fake.begin(&["get", "tenants", "-w", "-L", "tier"]);
    assert!(watch.line().starts_with("NAME   READY     STATUS "));
    assert!(watch.line().starts_with("acme   Unknown   Pending "));
    fake.until_watching(1);
    fake.store("tenants", tenant("a-much-longer-name", "free"));
    assert!(watch.line().starts_with("a-much-longer-name   Unknown   Pending "));
    fake.store("tenants", tenant("acme", "free"));
    let row = watch.line();
    assert!(row.starts_with("acme                 Unknown   Pending ") && row.ends_with("free"));
    fake.remove("tenants", "acme");
    assert!(watch.line().starts_with("acme "));
    assert_eq!(watch.stop(), "");
    let reads = fake.reads();
    assert_eq!(reads[0], "list tenants?limit=500");
    assert!(
        reads[1].starts_with("watch tenants?watch=true&resourceVersion=1&allowWatchBookmarks=true"),
        "{reads:?}"
    );
}

#[test]
fn what_happened_can_be_told_with_each_object() {
    let fake = stocked();
    let mut watch =
        fake.begin(&["get", "tenants", "--watch-only", "--output-watch-events", "-o", "name"]);
    fake.until_watching(1);
    fake.store("tenants", tenant("umbra", "pro"));
    assert_eq!(watch.line(), "ADDED tenant/umbra");
    fake.store("tenants", tenant("umbra", "free"));
    assert_eq!(watch.line(), "MODIFIED tenant/umbra");
    fake.remove("tenants", "umbra");
    assert_eq!(watch.line(), "DELETED tenant/umbra");
    watch.stop();
}

#[test]
fn what_changes_from_now_on_has_a_header_as_well() {
    let fake = stocked();
    let mut watch = fake.begin(&["get", "tenants", "--watch-only"]);
    fake.until_watching(1);
    fake.store("tenants", tenant("umbra", "pro"));
    assert!(watch.line().starts_with("NAME    READY     STATUS "));
    assert!(watch.line().starts_with("umbra   Unknown   Pending "));
    watch.stop();
    let mut watch = fake.begin(&["get", "tenants", "--watch-only", "-o", "yaml"]);
    fake.until_watching(2);
    fake.store("tenants", tenant("globex", "pro"));
    assert_eq!(watch.line(), "apiVersion: vaultctl.dev/v1");
    watch.stop();
}

#[test]
fn selectors_and_names_are_watched_alone() {
    let fake = stocked();
    let mut selected = fake.begin(&["get", "tn", "-l", "tier=free", "-w", "-o", "name"]);
    fake.until_watching(1);
    let mut named = fake.begin(&[
        "get",
        "tenant",
        "acme",
        "-w",
        "-o",
        "jsonpath={.metadata.labels.tier}{\"\\n\"}",
    ]);
    assert_eq!(named.line(), "pro");
    fake.until_watching(2);
    fake.store("tenants", tenant("other", "pro"));
    fake.store("tenants", tenant("umbra", "free"));
    fake.store("tenants", tenant("acme", "gold"));
    assert_eq!(selected.line(), "tenant/umbra");
    assert_eq!(named.line(), "gold");
    selected.stop();
    named.stop();
    let absent = fake.run(&["get", "tenant", "acmee", "-w"]);
    assert_eq!(
        (absent.code, absent.stderr.as_str()),
        (4, "error: tenant/acmee not found\nhint: did you mean acme?\n")
    );
}

#[test]
fn documents_follow_one_another() {
    let fake = stocked();
    let mut yaml = fake.begin(&["get", "tenants", "-w", "-o", "yaml"]);
    assert_eq!(yaml.line(), "apiVersion: vaultctl.dev/v1");
    fake.until_watching(1);
    fake.store("tenants", tenant("umbra", "pro"));
    while yaml.line() != "---" {}
    assert_eq!(yaml.line(), "apiVersion: vaultctl.dev/v1");
    yaml.stop();
}

#[test]
fn a_watch_that_ends_is_taken_up_and_one_that_is_too_old_begins_anew() {
    let fake = stocked();
    {
        let mut world = fake.world.lock().unwrap();
        world.short_watches = 2;
    }
    let mut watch = fake.begin(&["get", "tenants", "-w", "-o", "name"]);
    assert_eq!(watch.line(), "tenant/acme");
    fake.until_watching(3);
    fake.store("tenants", tenant("umbra", "pro"));
    assert_eq!(watch.line(), "tenant/umbra");
    assert_eq!(watch.stop(), "");
    assert_eq!(fake.reads().iter().filter(|read| read.starts_with("list")).count(), 1);

    let fake = stocked();
    fake.store("tenants", tenant("gone", "pro"));
    fake.world.lock().unwrap().forgotten = 2;
    let mut watch = fake.begin(&["get", "tenants", "-w", "-o", "name"]);
    assert_eq!((watch.line(), watch.line()), ("tenant/acme".into(), "tenant/gone".into()));
    fake.remove("tenants", "gone");
    fake.store("tenants", tenant("new", "pro"));
    // A watch tells that it is gone on stdout, a new list beside it; nothing is told twice.
    let mut line = watch.line();
    if line == "tenant/gone" {
        line = watch.line();
    }
    assert_eq!(line, "tenant/new");
    fake.until_watching(3);
    watch.stop();
    assert_eq!(fake.reads().iter().filter(|read| read.starts_with("list")).count(), 3);
}

#[test]
fn one_thing_is_watched_at_a_time_and_unsorted() {
    let fake = stocked();
    for args in [
        &["get", "all", "-w"][..],
        &["get", "tenant", "acme", "umbra", "-w"],
        &["get", "tenants", "-w", "--sort-by", ".metadata.name"],
        &["get", "tenants", "-w", "--field-selector", "spec.class=a"],
    ] {
        let ended = fake.run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{args:?}: {ended:?}");
    }
    let nobody = fake.run(&["get", "tenants", "-w", "--context", "nobody"]);
    assert_eq!(nobody.code, 6, "a controller that was never there is not waited for: {nobody:?}");
}

#[test]
fn a_watch_whose_reader_leaves_ends() {
    let fake = stocked();
    let binary = env!("CARGO_BIN_EXE_vaultctl");
    let script = format!("'{binary}' get tenants -w -o name | head -n 1; echo ${{PIPESTATUS[0]}}");
    let shell = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(fake.folder())
        .env_remove("VAULTCTL_CONFIG")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    fake.until_watching(1);
    // The pipe tells nobody that its reader has left until something is written into it.
    for index in 0..50 {
        fake.store("tenants", tenant(&format!("umbra-{index}"), "pro"));
    }
    let output = shell.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "tenant/acme\n0\n");
}

#[test]
fn events_are_watched() {
    let fake = stocked();
    let event = |name: &str, level: &str, reason: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": format!("{name}.{reason}") },
            "involvedObject": { "kind": "Tenant", "name": name }, "type": level, "reason": reason,
            "message": "it happened", "count": 1, "firstTimestamp": "2026-03-01T12:00:00Z",
            "lastTimestamp": "2026-03-01T12:00:00Z",
        })
    };
    fake.world.lock().unwrap().events = Some(vec![event("acme", "Warning", "First")]);
    let mut watch =
        fake.begin(&["events", "--for", "tenant/acme", "--types", "Warning", "-w", "--no-headers"]);
    assert!(watch.line().contains("   Warning   First   tenant/acme"), "First");
    fake.until_watching(1);
    fake.happen(event("umbra", "Warning", "Foreign"));
    fake.happen(event("acme", "Normal", "Fine"));
    fake.happen(event("acme", "Warning", "Second"));
    assert!(watch.line().contains("   Warning   Second   tenant/acme"), "Second");
    watch.stop();
    let listed = fake.run(&["get", "events", "--field-selector", "type=Normal", "-o", "name"]);
    assert_eq!(listed.stdout, "event/acme.Fine\n", "{listed:?}");
    let one = fake.run(&["get", "event", "acme.Second", "-o", "jsonpath={.reason}"]);
    assert_eq!(one.stdout, "Second", "{one:?}");
}

#[test]
fn wait_sees_what_happens_while_it_waits() {
    let fake = stocked();
    let mut created = fake.begin(&["wait", "--for=create", "tenant/new", "--timeout=1m"]);
    let mut deleted = fake.begin(&["wait", "--for=delete", "tenant/acme", "--timeout=1m"]);
    fake.until_watching(2);
    fake.store("tenants", tenant("new", "pro"));
    assert_eq!(created.line(), "tenant/new created");
    fake.remove("tenants", "acme");
    assert_eq!(deleted.line(), "tenant/acme deleted");
    created.stop();
    deleted.stop();
    fake.store("tenants", tenant("umbra", "pro"));
    let mut path = fake.begin(&[
        "wait",
        "--for=jsonpath={.metadata.labels.tier}=gold",
        "tn/umbra",
        "--timeout=1m",
    ]);
    fake.until_watching(3);
    fake.store("tenants", tenant("umbra", "free"));
    fake.store("tenants", tenant("umbra", "gold"));
    assert_eq!(path.line(), "tenant/umbra condition met");
    path.stop();
    let reads = fake.reads();
    assert!(
        reads.iter().any(|read| read.contains("fieldSelector=metadata.name%3Dumbra")),
        "{reads:?}"
    );
}

#[test]
fn lists_are_read_in_pages() {
    let fake = Fake::start();
    for index in 0..7 {
        fake.store("tenants", tenant(&format!("t-{index}"), "pro"));
    }
    let all = fake.run(&["get", "tenants", "--chunk-size=3", "-o", "name"]);
    assert_eq!((all.code, all.stdout.lines().count()), (0, 7), "{all:?}");
    assert_eq!(
        fake.reads(),
        [
            "list tenants?limit=3",
            "list tenants?limit=3&continue=t-2",
            "list tenants?limit=3&continue=t-5",
        ]
    );
    fake.world.lock().unwrap().pages_expire = true;
    let at_once = fake.run(&["get", "tenants", "--chunk-size=3", "-o", "name"]);
    assert_eq!((at_once.code, at_once.stdout), (0, all.stdout));
    assert_eq!(fake.reads().last().unwrap(), "list tenants?");
    let whole = fake.run(&["get", "tenants", "--chunk-size=0", "--no-headers"]);
    assert_eq!(whole.stdout.lines().count(), 7);
    assert_eq!(fake.reads().last().unwrap(), "list tenants?");
}
