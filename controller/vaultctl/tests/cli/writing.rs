//! `apply` and `delete`.

use serde_json::{Value, json};

use crate::fake::Fake;

const CLASS: &str = "apiVersion: vaultctl.dev/v1\nkind: TenantClass\nmetadata: { name: dev-box }\n\
    spec:\n  machines:\n    - name: box\n      region: ord\n";
const ACME: &str = "apiVersion: vaultctl.dev/v1\nkind: Tenant\n\
    metadata: { name: acme, labels: { tier: pro } }\nspec:\n  class: dev-box\n";

#[test]
fn apply_creates_then_leaves_alone_then_changes() {
    let fake = Fake::start();
    // The tenant's file sorts before its class's; the class is applied first all the same.
    fake.file("m/a.yaml", ACME);
    fake.file("m/b.yaml", CLASS);
    let first = fake.run(&["apply", "-f", "m"]);
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(first.stdout, "tenantclass/dev-box created\ntenant/acme created\n");
    assert_eq!(first.stderr, "2 created\n");

    let writes = fake.writes().len();
    let again = fake.run(&["apply", "-f", "m"]);
    assert_eq!(again.stdout, "tenantclass/dev-box unchanged\ntenant/acme unchanged\n");
    assert_eq!(fake.writes().len(), writes, "an apply that changes nothing writes nothing");

    let changed = ACME.replace("tier: pro", "tier: free");
    let one = fake.run_with_input(&["apply", "-f", "-"], &changed);
    assert_eq!(
        (one.code, one.stdout.as_str(), one.stderr.as_str()),
        (0, "tenant/acme configured\n", "")
    );
    assert_eq!(
        fake.object("tenants", "acme").unwrap()["metadata"]["labels"],
        json!({ "tier": "free" })
    );
}

#[test]
fn vars_of_the_command_line_are_set_in_tenants_only() {
    let fake = Fake::start();
    fake.file("class.yaml", CLASS);
    fake.file("acme.yaml", &ACME.replace("spec:\n", "spec:\n  vars: { plan: free, size: s }\n"));
    let files = ["-f", "class.yaml", "-f", "acme.yaml"];
    let vars = ["--var", "plan=pro", "--var", "motto=a=b"];
    let ended = fake.run(&[&["apply"], &files[..], &vars[..]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    let expected = json!({ "plan": "pro", "size": "s", "motto": "a=b" });
    assert_eq!(fake.object("tenants", "acme").unwrap()["spec"]["vars"], expected);
    assert!(fake.object("tenantclasses", "dev-box").unwrap()["spec"].get("vars").is_none());
    // What was applied with a var differs from the file without it.
    let same = fake.run(&[&["diff"], &files[..], &vars[..]].concat());
    assert_eq!(same.code, 0, "{same:?}");
    let other = fake.run(&["diff", "-f", "acme.yaml", "--var", "plan=free"]);
    assert_eq!(other.code, 1, "{other:?}");
    assert!(other.stdout.contains("free"), "{}", other.stdout);

    let nobody = fake.run(&["apply", "-f", "class.yaml", "--var", "plan=pro"]);
    assert_eq!(nobody.code, 2, "{nobody:?}");
    assert!(nobody.stderr.contains("there is none in the input"), "{}", nobody.stderr);
    assert_eq!(fake.run(&["apply", "-f", "acme.yaml", "--var", "1=x"]).code, 2);
}

#[test]
fn apply_prints_objects_for_programs() {
    let fake = Fake::start();
    fake.file("class.yaml", CLASS);
    fake.file("acme.yaml", ACME);
    let names = fake.run(&["apply", "-f", "acme.yaml", "-f", "class.yaml", "-o", "name"]);
    assert_eq!(names.stdout, "tenantclass/dev-box\ntenant/acme\n");
    let one: Value =
        serde_json::from_str(&fake.run(&["apply", "-f", "acme.yaml", "-o", "json"]).stdout)
            .unwrap();
    assert_eq!(one["kind"], "Tenant");
}

#[test]
fn a_bad_document_never_hides_the_good_ones() {
    let fake = Fake::start();
    fake.file("m/acme.yaml", ACME);
    fake.file("m/bad.yaml", &format!("{}---\n{CLASS}", ACME.replace("class:", "clas:")));
    let ended = fake.run(&["apply", "-f", "m"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("bad.yaml:5:3: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean `class`?"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "tenantclass/dev-box created\ntenant/acme created\n");

    let all_bad = fake.run(&["apply", "-f", "m/bad.yaml", "-f", "absent", "--context", "nobody"]);
    assert_eq!(all_bad.code, 2, "{all_bad:?}");
    assert!(all_bad.stderr.contains("absent:1:1: cannot be read: "), "{}", all_bad.stderr);
}

#[test]
fn what_the_controller_refuses_is_shown_in_the_file() {
    let fake = Fake::start();
    fake.file("acme.yaml", ACME);
    let ended = fake.run(&["apply", "-f", "acme.yaml"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(
        ended.stderr.starts_with("acme.yaml:5:10: there is no class `dev-box`"),
        "{}",
        ended.stderr
    );
    assert!(fake.object("tenants", "acme").is_none());
}

#[test]
fn dry_runs_keep_nothing() {
    let fake = Fake::start();
    fake.file("all.yaml", &format!("{CLASS}---\n{ACME}"));
    for (mode, suffix) in [
        ("--dry-run", " (dry run)"),
        ("--dry-run=client", " (dry run)"),
        ("--dry-run=server", " (server dry run)"),
    ] {
        let ended = fake.run(&["apply", "-f", "all.yaml", mode]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(
            ended.stdout,
            format!("tenantclass/dev-box created{suffix}\ntenant/acme created{suffix}\n")
        );
        assert!(fake.world.lock().unwrap().objects.is_empty(), "{mode}");
    }
}

#[test]
fn apply_tries_again_when_overtaken_but_not_for_ever() {
    let fake = Fake::start();
    fake.file("all.yaml", &format!("{CLASS}---\n{ACME}"));
    assert_eq!(fake.run(&["apply", "-f", "all.yaml"]).code, 0);
    fake.file("acme.yaml", &ACME.replace("tier: pro", "tier: free"));
    fake.world.lock().unwrap().overtaken = 3;
    let ended = fake.run(&["apply", "-f", "acme.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "tenant/acme configured\n"), "{ended:?}");
    assert_eq!(
        fake.object("tenants", "acme").unwrap()["metadata"]["labels"],
        json!({ "tier": "free", "foreign": "yes" }),
        "what was written meanwhile is kept"
    );
    fake.file("acme.yaml", &ACME.replace("tier: pro", "tier: other"));
    fake.world.lock().unwrap().overtaken = u32::MAX;
    assert_eq!(fake.run(&["apply", "-f", "acme.yaml"]).code, 3);
}

#[test]
fn an_owner_is_named_and_can_be_replaced() {
    let fake = Fake::start();
    fake.file("all.yaml", &format!("{CLASS}---\n{ACME}"));
    assert_eq!(fake.run(&["apply", "-f", "all.yaml"]).code, 0);
    fake.world.lock().unwrap().owned_by_file.push("acme".to_owned());
    fake.file("acme.yaml", &ACME.replace("tier: pro", "tier: free"));
    let ended = fake.run(&["apply", "-f", "acme.yaml"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended.stderr.contains("tenant/acme: acme is owned by folder acme.yaml"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("--take-ownership"), "{}", ended.stderr);
    assert_eq!(fake.run(&["diff", "-f", "acme.yaml"]).code, 1);
    let partly = fake.run(&["apply", "-f", "acme.yaml", "-f", "class.yaml"]);
    assert_eq!(partly.code, 2, "{partly:?}");
    fake.file("class.yaml", CLASS);
    assert_eq!(fake.run(&["apply", "-f", "acme.yaml", "-f", "class.yaml"]).code, 10);
    assert_eq!(fake.run(&["apply", "-f", "acme.yaml", "--take-ownership"]).code, 0);
}

fn with_volume() -> Fake {
    let fake = Fake::start();
    let volume = json!({ "template": "data", "name": "v_abc", "id": "vol_1", "state": "created",
        "machine": "acme-box-0", "sizeGb": 10 });
    fake.store(
        "tenantclasses",
        json!({ "apiVersion": "vaultctl.dev/v1", "kind": "TenantClass",
        "metadata": { "name": "dev-box" } }),
    );
    fake.store("tenants", json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "Tenant", "metadata": { "name": "acme" }, "spec": {},
        "status": { "observedGeneration": 1, "conditions": [], "machines": [], "volumes": [volume] },
    }));
    fake
}

#[test]
fn delete_waits_and_says_what_is_kept() {
    let fake = with_volume();
    fake.world.lock().unwrap().reads_until_gone = 2;
    let ended = fake.run(&["delete", "tenant", "acme", "--yes"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "tenant/acme deleted\n"), "{ended:?}");
    assert_eq!(ended.stderr, "tenant/acme keeps volume v_abc (data, 10 GB, of acme-box-0)\n");
    assert!(fake.object("tenants", "acme").is_none());

    assert_eq!(fake.run(&["delete", "tenant", "acme", "--yes"]).code, 4);
    assert_eq!(fake.run(&["delete", "tenant", "acme", "--yes", "--ignore-not-found"]).code, 0);
    let class = fake.run(&["delete", "tenantclass/dev-box", "-y"]);
    assert_eq!((class.code, class.stdout.as_str()), (0, "tenantclass/dev-box deleted\n"));
}

#[test]
fn delete_asks_only_on_a_terminal() {
    let fake = with_volume();
    let ended = fake.run(&["delete", "tenant", "acme"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("pass --yes"), "{}", ended.stderr);
    assert!(fake.object("tenants", "acme").is_some());
    for (mode, suffix) in [("--dry-run", " (dry run)"), ("--dry-run=server", " (server dry run)")] {
        let dry = fake.run(&["delete", "tenant", "acme", mode]);
        assert_eq!((dry.code, dry.stdout), (0, format!("tenant/acme deleted{suffix}\n")));
    }
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[test]
fn delete_can_leave_early_and_can_be_too_slow() {
    let fake = with_volume();
    fake.world.lock().unwrap().reads_until_gone = u32::MAX;
    let slow = fake.run(&["delete", "tenant", "acme", "--yes", "--timeout=0"]);
    assert_eq!(slow.code, 5, "{slow:?}");
    assert!(slow.stderr.starts_with("error: tenant/acme: timed out"), "{}", slow.stderr);
    let early = fake.run(&["delete", "tenant", "acme", "--yes", "--wait=false"]);
    assert_eq!((early.code, early.stdout.as_str()), (0, "tenant/acme deleting\n"));
}

#[test]
fn delete_of_files_takes_what_they_name() {
    let fake = with_volume();
    fake.file("all.yaml", &format!("{CLASS}---\n{ACME}"));
    let ended = fake.run(&["delete", "-f", "all.yaml", "--yes"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(fake.world.lock().unwrap().objects.is_empty());
}

#[test]
fn delete_of_some_is_partly() {
    let fake = with_volume();
    fake.world.lock().unwrap().owned_by_file.push("acme".to_owned());
    let owned = fake.run(&["delete", "tenant", "acme", "--yes"]);
    assert_eq!(owned.code, 3);
    assert!(owned.stderr.contains("has the file acme.yaml"), "{}", owned.stderr);
    assert_eq!(fake.run(&["delete", "tenant/acme", "tenantclass/dev-box", "--yes"]).code, 10);
}

#[test]
fn delete_takes_all_of_a_type_or_those_with_labels() {
    let fake = Fake::start();
    let kinds = [
        ("tenants", "Tenant", "a", "trial"),
        ("tenants", "Tenant", "b", "trial"),
        ("tenants", "Tenant", "c", "pro"),
        ("tenantclasses", "TenantClass", "k", "trial"),
    ];
    for (resource, kind, name, tier) in kinds {
        fake.store(
            resource,
            json!({ "apiVersion": "vaultctl.dev/v1", "kind": kind,
            "metadata": { "name": name, "labels": { "tier": tier } }, "spec": { "class": "k" } }),
        );
    }
    // A variable that is not set must not mean everything.
    for args in [
        &["delete", "tenants", "-l", "", "--yes"][..],
        &["delete", "tenants", "-l", " ", "--yes"],
        &["delete", "tenant", "a", "--all", "--yes"],
        &["delete", "tenant", "a", "-l", "tier=trial", "--yes"],
        &["delete", "tenants", "--all", "-l", "tier=trial", "--yes"],
        &["delete", "-f", "all.yaml", "--all", "--yes"],
        &["delete", "events", "--all", "--yes"],
        &["delete", "tenants", "--all"],
    ] {
        let ended = fake.run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{args:?}: {ended:?}");
    }
    assert_eq!(fake.writes(), Vec::<String>::new());
    let dry = fake.run(&["delete", "tenants", "-l", "tier=trial", "--dry-run=server"]);
    let lines = "tenant/a deleted (server dry run)\ntenant/b deleted (server dry run)\n";
    assert_eq!((dry.code, dry.stdout.as_str()), (0, lines), "{dry:?}");
    let some = fake.run(&["delete", "tenants", "-l", "tier=trial", "--yes"]);
    assert_eq!(some.stdout, "tenant/a deleted\ntenant/b deleted\n", "{some:?}");
    let none = fake.run(&["delete", "tenants", "-l", "tier=trial", "--yes"]);
    assert_eq!((none.code, none.stdout.as_str()), (0, ""), "{none:?}");
    assert!(none.stderr.contains("nothing was deleted"), "{none:?}");
    // The class is in use until its last tenant is gone.
    fake.world.lock().unwrap().reads_until_gone = 2;
    let all = fake.run(&["delete", "all", "--all", "--yes"]);
    assert_eq!((all.code, all.stderr.as_str()), (0, ""), "{all:?}");
    assert_eq!(all.stdout, "tenant/c deleted\ntenantclass/k deleted\n", "{all:?}");
}
