//! `get`, `wait`, `version`, `diff`: what does not write.

use serde_json::{Value, json};

use crate::fake::Fake;

fn tenant(name: &str, tier: &str) -> Value {
    json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
        "metadata": { "name": name, "labels": { "tier": tier } },
        "spec": { "class": "dev-box" },
    })
}

fn class() -> Value {
    json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "TenantClass",
        "metadata": { "name": "dev-box" }, "spec": { "machines": [{ "name": "box" }] },
    })
}

fn stocked() -> Fake {
    let fake = Fake::start();
    fake.store("tenantclasses", class());
    fake.store("tenants", tenant("acme", "pro"));
    fake.store("tenants", tenant("umbra", "free"));
    fake
}

#[test]
fn get_lists_selects_and_picks() {
    let fake = stocked();
    let all = fake.run(&["get", "tenants"]);
    assert_eq!(all.code, 0, "{all:?}");
    let lines: Vec<&str> = all.stdout.lines().collect();
    assert!(lines[0].starts_with("NAME    READY     STATUS"), "{}", lines[0]);
    assert!(lines[1].starts_with("acme    Unknown   Pending"), "{}", lines[1]);
    assert_eq!(lines.len(), 3);

    let free = fake.run(&["get", "tenants", "-l", "tier in (free)", "-o", "name"]);
    assert_eq!(free.stdout, "tenant/umbra\n");
    let both = fake.run(&["get", "all", "-o", "name"]);
    assert_eq!(both.stdout, "tenant/acme\ntenant/umbra\ntenantclass/dev-box\n");
    let template = r#"jsonpath={.items[*].metadata.name}{"\n"}"#;
    assert_eq!(fake.run(&["get", "tenants", "-o", template]).stdout, "acme umbra\n");

    let list: Value =
        serde_json::from_str(&fake.run(&["get", "tenants", "-o", "json"]).stdout).unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("List"), 2));
    let one: Value =
        serde_json::from_str(&fake.run(&["get", "tenant", "acme", "-o", "json"]).stdout).unwrap();
    assert_eq!(one["metadata"]["name"], "acme");
    assert!(fake.run(&["get", "tenant/acme", "-o", "yaml"]).stdout.contains("\nkind: Tenant\n"));
}

#[test]
fn get_says_what_is_not_there() {
    let fake = stocked();
    let ended = fake.run(&["get", "tenant", "acmee", "umbra"]);
    assert_eq!(ended.code, 4);
    assert_eq!(ended.stderr, "error: tenant/acmee not found\nhint: did you mean acme?\n");
    assert!(ended.stdout.contains("umbra"));

    let none = Fake::start().run(&["get", "tenants"]);
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
    assert_eq!(none.stderr, "No tenants found.\n");
}

#[test]
fn usage_errors_end_with_2() {
    let fake = stocked();
    for args in [
        &["get"][..],
        &["get", "pods"],
        &["get", "tenants", "-o", "jsn"],
        &["get", "tenants", "-l", "a b"],
        &["get", "tenant", "acme", "-l", "tier=pro"],
        &["wait", "tenants"],
        &["wait", "tenants", "-l", ""],
        &["wait", "tenant/acme", "--for", "phase"],
        &["wait", "tenant/acme", "--timeout", "soon"],
        &["diff"],
        &["apply"],
        &["delete"],
        &["delete", "tenants"],
        &["frobnicate"],
        &["get", "tenants", "--context", "nowhere"],
        &["get", "tenants", "--context-file", "absent.yaml"],
        &["get", "tenants", "--context-file="],
        &["get", "tenants", "-o", "jsonpath="],
        &["events", "--for", "acme"],
        &["delete", "event", "acme.1", "--yes"],
        &["label", "event", "acme.1", "a=b"],
        &["annotate", "events", "--all", "a=b"],
        &["patch", "event", "acme.1", "-p", "{}"],
        &["edit", "event", "acme.1"],
    ] {
        let ended = fake.run(args);
        assert_eq!(ended.code, 2, "{args:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{args:?}");
        assert!(ended.stderr.starts_with("error: "), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn who_is_refused_and_who_is_not_reached_are_told_apart() {
    let fake = stocked();
    let refused = fake.run(&["get", "tenants", "--context", "stranger"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("the token is not known\nhint: "), "{}", refused.stderr);
    let unreached = fake.run(&["get", "tenants", "--context", "nobody"]);
    assert_eq!(unreached.code, 6, "{unreached:?}");
    assert!(
        unreached.stderr.starts_with("error: cannot reach the controller at http://127.0.0.1:1: "),
        "{}",
        unreached.stderr
    );
    assert!(!unreached.stderr.contains("operator-token"));
}

#[test]
fn without_a_context_it_says_where_it_looked() {
    let fake = Fake::start();
    std::fs::remove_dir_all(fake.folder().join(".vaultctl")).unwrap();
    let ended = fake.run(&["get", "tenants"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("./.vaultctl/config.yaml, then /"), "{}", ended.stderr);
    assert!(ended.stderr.contains("vaultctl dev manifests/"), "{}", ended.stderr);
}

#[test]
fn wait_waits_for_the_condition() {
    let fake = stocked();
    fake.world.lock().unwrap().reads_until_ready = 3;
    let ended = fake.run(&["wait", "tenant/acme", "--timeout", "1m"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "tenant/acme condition met\n"),
        "{ended:?}"
    );
    let again = fake.run(&["wait", "--for=condition=Ready", "tenant", "acme", "--timeout=0"]);
    assert_eq!(again.code, 0);
    let all = fake.run(&["wait", "--all", "tenants", "--timeout=0"]);
    assert_eq!(all.code, 5, "{all:?}");
    assert!(
        all.stderr.contains("timed out waiting for condition Ready on tenant/umbra: "),
        "{}",
        all.stderr
    );
    // One that is not as wanted does not keep the others from being looked at.
    let some = fake.run(&["wait", "tenant", "umbra", "nobody", "acme", "--timeout=0"]);
    assert_eq!((some.code, some.stdout.as_str()), (5, "tenant/acme condition met\n"), "{some:?}");
    assert!(some.stderr.contains("on tenant/umbra: "), "{some:?}");
    assert!(some.stderr.contains("error: tenant/nobody not found\n"), "{some:?}");
    let away = fake.run(&["wait", "tenant", "acme", "umbra", "--context", "nobody"]);
    assert_eq!((away.code, away.stderr.matches("cannot reach").count()), (6, 1), "{away:?}");
    assert_eq!(fake.run(&["wait", "tenant/nobody"]).code, 4);
    assert_eq!(fake.run(&["wait", "--for=delete", "tenant/nobody"]).code, 0);
    assert_eq!(fake.run(&["wait", "--for=create", "tenant/nobody", "--timeout=0"]).code, 5);
}

#[test]
fn a_hint_names_what_the_command_has() {
    let fake = stocked();
    for args in [&["patch", "tenants", "-p", "{}"][..], &["edit", "tenants"]] {
        let ended = fake.run(args);
        let said = "error: no object is named\nhint: say TYPE NAME or TYPE/NAME\n";
        assert_eq!((ended.code, ended.stderr.as_str()), (2, said), "{args:?}");
    }
    fake.world.lock().unwrap().owned_by_file.push("acme".to_owned());
    let manifest =
        "apiVersion: vaultctl.dev/v1\nkind: Tenant\nmetadata: { name: acme }\nspec: {}\n";
    let owned = fake.run_with_input(&["replace", "-f", "-"], manifest);
    assert_eq!(owned.code, 3, "{owned:?}");
    assert!(owned.stderr.ends_with(", or pass --take-ownership\n"), "{owned:?}");
}

#[test]
fn a_slip_in_an_exec_is_not_taken_for_a_code_of_the_command() {
    let fake = stocked();
    for args in [
        &["exec"][..],
        &["exec", "acme"],
        &["exec", "--frobnicate", "acme", "--", "true"],
        &["--color", "never", "exec", "acme", "--connect-timeout", "soon", "--", "true"],
    ] {
        let ended = fake.run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (255, ""), "{args:?}: {ended:?}");
        assert!(ended.stderr.starts_with("error: "), "{args:?}: {ended:?}");
    }
    let help = fake.run(&["exec", "--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{help:?}");
    assert_eq!(fake.run(&["get", "exec", "--frobnicate"]).code, 2);
}

#[test]
fn an_empty_vaultctl_config_is_one_that_is_not_set() {
    let fake = stocked();
    let ended = fake.run_with(&["get", "tenants", "-o", "name"], &[("VAULTCTL_CONFIG", "")], "");
    assert_eq!((ended.code, ended.stdout.lines().count()), (0, 2), "{ended:?}");
    let view = fake.run_with(&["config", "view"], &[("VAULTCTL_CONFIG", "")], "");
    assert!(view.stderr.contains("./.vaultctl/config.yaml (by being there)"), "{view:?}");
}

#[test]
fn version_asks_the_controller_if_it_can() {
    let fake = Fake::start();
    let both = fake.run(&["version"]);
    assert_eq!(both.code, 0);
    assert!(both.stdout.starts_with(concat!(
        "Client: v",
        env!("CARGO_PKG_VERSION"),
        "\nServer: v9.9.9 (http://127"
    )));
    let client = fake.run(&["version", "--client", "-o", "json"]);
    let document: Value = serde_json::from_str(&client.stdout).unwrap();
    assert_eq!(document["clientVersion"]["gitVersion"], concat!("v", env!("CARGO_PKG_VERSION")));
    assert!(document.get("serverVersion").is_none());
    let alone = fake.run(&["version", "--context", "nobody"]);
    assert_eq!((alone.code, alone.stdout.lines().count()), (0, 1));
    assert!(alone.stderr.contains("cannot reach the controller"), "{}", alone.stderr);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let fake = Fake::start();
    for index in 0..3000 {
        fake.store("tenants", tenant(&format!("tenant-with-a-long-name-{index:04}"), "pro"));
    }
    let binary = env!("CARGO_BIN_EXE_vaultctl");
    let script = format!("'{binary}' get tenants -o yaml | head -n 1; echo ${{PIPESTATUS[0]}}");
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(fake.folder())
        .env_remove("VAULTCTL_CONFIG")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "apiVersion: v1\n0\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

const MANIFEST: &str = "apiVersion: vaultctl.dev/v1\nkind: TenantClass\nmetadata: { name: dev-box }\n\
    spec:\n  machines:\n    - name: box\n      region: ord\n---\n\
    apiVersion: vaultctl.dev/v1\nkind: Tenant\nmetadata: { name: acme }\nspec: { class: dev-box }\n";

#[test]
fn diff_compares_objects_and_writes_nothing() {
    let fake = stocked();
    fake.file("m/all.yaml", MANIFEST);
    let ended = fake.run(&["diff", "-f", "m"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("--- live/tenantclass/dev-box\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("\n+    region: ord\n"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("tenant/acme"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("resourceVersion"), "{}", ended.stdout);
    assert!(fake.writes().iter().all(|write| write.contains("dryRun")), "{:?}", fake.writes());

    assert_eq!(fake.run(&["apply", "-f", "m"]).code, 0);
    let same = fake.run(&["diff", "-f", "m"]);
    assert_eq!((same.code, same.stdout.as_str()), (0, ""), "{same:?}");

    fake.file("m/bad.yaml", "kind: [\n");
    let bad = fake.run(&["diff", "-f", "m"]);
    assert_eq!(bad.code, 2, "{bad:?}");
    assert!(bad.stderr.contains("bad.yaml:"), "{}", bad.stderr);
    assert_eq!(fake.run(&["diff", "-f", "m", "--context", "nobody"]).code, 2);
}

#[test]
fn diff_of_a_first_manifest_is_all_new() {
    let fake = Fake::start();
    fake.file("all.yaml", MANIFEST);
    let ended = fake.run(&["diff", "-f", "all.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("+++ applied/tenantclass/dev-box\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("+++ applied/tenant/acme\n"), "{}", ended.stdout);
    assert!(fake.object("tenants", "acme").is_none());
    assert_eq!(fake.run(&["diff", "-f", "all.yaml", "--context", "nobody"]).code, 6);
}

#[test]
fn diff_of_many_manifests_reads_lists_and_asks_for_what_they_do_not_show() {
    let fake = stocked();
    let tenant = |number: usize, class: &str| {
        format!(
            "---\napiVersion: vaultctl.dev/v1\nkind: Tenant\nmetadata: {{ name: t{number:03} }}\n\
             spec: {{ class: {class} }}\n"
        )
    };
    let all: String = (0..200).map(|number| tenant(number, "dev-box")).collect();
    fake.file("all.yaml", &all);
    assert_eq!(fake.run(&["apply", "-f", "all.yaml"]).code, 0);
    let (reads, looks) = (fake.reads().len(), fake.objects_read());
    let same = fake.run(&["diff", "-f", "all.yaml"]);
    assert_eq!((same.code, same.stdout.as_str()), (0, ""), "{same:?}");
    assert_eq!((fake.reads().len() - reads, fake.objects_read() - looks), (1, 0));

    fake.remove("tenants", "t007");
    let changed = format!(
        "{}{}",
        tenant(200, "dev-box"),
        all.replacen("t000 }", "t000, labels: { tier: pro } }", 1)
    );
    fake.file("all.yaml", &changed);
    let ended = fake.run(&["diff", "-f", "all.yaml"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let shown: Vec<_> = ended.stdout.lines().filter(|line| line.starts_with("+++ ")).collect();
    let name = |name| format!("+++ applied/tenant/{name}");
    assert_eq!(shown, [name("t200"), name("t000"), name("t007")]);
}

#[test]
fn diff_plan_covers_every_tenant_that_is_touched() {
    let fake = stocked();
    fake.file("class.yaml", MANIFEST.split("---\n").next().unwrap());
    let ended = fake.run(&["diff", "-f", "class.yaml", "--plan"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(
        ended.stdout,
        "tenant/acme\n\
         ACTION          TARGET               WHY\n\
         UpdateMachine   machine acme-box-0   dev-box changes.\n\n\
         tenant/umbra\n\
         ACTION          TARGET                WHY\n\
         UpdateMachine   machine umbra-box-0   dev-box changes.\n"
    );
    let all = fake.run(&["diff", "--plan", "-o", "json"]);
    assert_eq!(all.code, 0, "{all:?}");
    let list: Value = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(list["items"][0]["kind"], "TenantPlan");
    let idle = fake.run(&["diff", "--plan"]);
    assert_eq!(
        (idle.stdout.as_str(), idle.stderr.as_str()),
        ("", "Nothing to do for 2 of 2 tenants.\n")
    );
    assert_eq!(fake.writes(), Vec::<String>::new());
}
