//! `apply --set … --prune`.

use serde_json::json;

use crate::fake::Fake;

fn manifest(name: &str) -> String {
    format!("apiVersion: vaultctl.dev/v1\nkind: Tenant\nmetadata: {{ name: {name} }}\nspec: {{}}\n")
}

/// Tenants `a` to `d` applied with the set `prod`, `e` by hand, `f` from a folder but labelled.
fn stocked() -> Fake {
    let fake = Fake::start();
    for (name, set, source) in [
        ("a", Some("prod"), "API"),
        ("b", Some("prod"), "API"),
        ("c", Some("prod"), "API"),
        ("d", Some("prod"), "API"),
        ("e", None, "API"),
        ("f", Some("prod"), "folder f.yaml"),
        ("g", Some("test"), "API"),
    ] {
        let mut labels = json!({});
        if let Some(set) = set {
            labels["vaultctl.dev/applied-set"] = json!(set);
        }
        fake.store(
            "tenants",
            json!({ "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
                "metadata": { "name": name, "labels": labels }, "spec": {},
                "status": { "observedGeneration": 1, "conditions": [], "source": source,
                    "machines": [], "volumes": [] } }),
        );
    }
    for name in ["a", "b", "c"] {
        fake.file(&format!("m/{name}.yaml"), &manifest(name));
    }
    fake
}

const PRUNE: [&str; 6] = ["apply", "-f", "m", "--set", "prod", "--prune"];

#[test]
fn what_a_set_has_no_more_is_pruned_and_nothing_else() {
    let fake = stocked();
    let unasked = fake.run(&PRUNE);
    assert_eq!((unasked.code, unasked.stdout.as_str()), (2, ""), "{unasked:?}");
    assert!(unasked.stderr.starts_with("tenant/d goes, with 0 machine(s)\n"), "{}", unasked.stderr);
    assert!(unasked.stderr.contains("hint: pass --yes"), "{}", unasked.stderr);
    for (mode, suffix) in [("--dry-run", " (dry run)"), ("--dry-run=server", " (server dry run)")] {
        let dry = fake.run(&[&PRUNE[..], &[mode]].concat());
        assert!(dry.stdout.ends_with(&format!("\ntenant/d pruned{suffix}\n")), "{dry:?}");
    }
    assert_eq!(fake.writes(), Vec::<String>::new());
    let done = fake.run(&[&PRUNE[..], &["--yes"]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(
        done.stdout,
        "tenant/a unchanged\ntenant/b unchanged\ntenant/c unchanged\ntenant/d pruned\n"
    );
    assert!(done.stderr.ends_with("1 pruned, 3 unchanged\n"), "{}", done.stderr);
    assert_eq!(fake.writes(), ["DELETE tenants/d"]);
}

#[test]
fn a_set_is_recorded_and_not_shared() {
    let fake = stocked();
    fake.file("m/new.yaml", &manifest("new"));
    fake.file("g.yaml", &manifest("g"));
    let set = fake.run(&["apply", "-f", "m/new.yaml", "--set", "prod"]);
    assert_eq!((set.code, set.stdout.as_str()), (0, "tenant/new created\n"), "{set:?}");
    let labels = fake.object("tenants", "new").unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels, json!({ "vaultctl.dev/applied-set": "prod" }));
    let foreign = fake.run(&["apply", "-f", "g.yaml", "--set", "prod"]);
    assert_eq!(foreign.code, 3, "{foreign:?}");
    assert!(foreign.stderr.contains("belongs to the applied set \"test\""), "{}", foreign.stderr);
    let moved = fake.run(&["apply", "-f", "g.yaml", "--set", "prod", "--take-ownership"]);
    assert_eq!(moved.code, 0, "{moved:?}");
}

#[test]
fn mass_deletions_are_refused_and_so_is_an_empty_input() {
    let fake = stocked();
    std::fs::remove_file(fake.folder().join("m/b.yaml")).unwrap();
    std::fs::remove_file(fake.folder().join("m/c.yaml")).unwrap();
    let most = fake.run(&[&PRUNE[..], &["--yes"]].concat());
    assert_eq!(most.code, 2, "{most:?}");
    assert!(
        most.stderr.starts_with("error: 3 of the 4 tenants of the set \"prod\" would be deleted"),
        "{}",
        most.stderr
    );
    assert_eq!(fake.writes(), Vec::<String>::new());
    fake.file("empty.yaml", "# nothing\n");
    let empty = fake.run(&[
        "apply",
        "-f",
        "empty.yaml",
        "--set",
        "prod",
        "--prune",
        "--yes",
        "--allow-mass-delete",
    ]);
    assert_eq!(empty.code, 2, "{empty:?}");
    assert_eq!(fake.writes(), Vec::<String>::new());
    let meant = fake.run(&[&PRUNE[..], &["--yes", "--allow-mass-delete", "-o", "name"]].concat());
    assert_eq!((meant.code, meant.stdout.as_str()), (0, "tenant/a\n"), "{meant:?}");
    assert_eq!(fake.writes(), ["DELETE tenants/b", "DELETE tenants/c", "DELETE tenants/d"]);
}

#[test]
fn a_bad_document_prunes_nothing() {
    let fake = stocked();
    fake.file("m/z.yaml", "kind: [\n");
    let bad = fake.run(&[&PRUNE[..], &["--yes"]].concat());
    assert_eq!(bad.code, 2, "{bad:?}");
    assert!(bad.stderr.contains("Nothing is pruned"), "{}", bad.stderr);
    fake.file("m/z.yaml", &manifest("z").replace("spec: {}", "spec: { class: absent }"));
    let refused = fake.run(&[&PRUNE[..], &["--yes"]].concat());
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.stderr.contains("Nothing is pruned"), "{}", refused.stderr);
    assert_eq!(fake.writes(), Vec::<String>::new());
    for args in [
        &["apply", "-f", "m", "--prune"][..],
        &["apply", "-f", "m", "--set", "a b"],
        &["apply", "-f", "m", "--set", "prod", "--yes"],
    ] {
        assert_eq!(fake.run(args).code, 2, "{args:?}");
    }
}

#[test]
fn what_leaves_the_set_at_the_last_moment_is_not_pruned() {
    let fake = stocked();
    let of = |set: &str| json!({ "vaultctl.dev/applied-set": set });
    fake.world.lock().unwrap().labels_before_deletion = vec![of("test")];
    let moved = fake.run(&[&PRUNE[..], &["--yes"]].concat());
    assert_eq!(moved.code, 0, "{moved:?}");
    assert!(!moved.stdout.contains("pruned"), "{moved:?}");
    assert!(fake.object("tenants", "d").is_some_and(|one| one["metadata"]["labels"] == of("test")));

    // A write that leaves it in the set only costs another look.
    let fake = stocked();
    fake.world.lock().unwrap().labels_before_deletion = vec![of("prod"); 2];
    let touched = fake.run(&[&PRUNE[..], &["--yes"]].concat());
    assert_eq!(touched.code, 0, "{touched:?}");
    assert!(touched.stdout.ends_with("\ntenant/d pruned\n"), "{touched:?}");
    assert_eq!(fake.writes(), ["DELETE tenants/d"]);

    // Somebody who writes without end is no reason to go on for ever.
    let fake = stocked();
    fake.world.lock().unwrap().labels_before_deletion = vec![of("prod"); 50];
    let endless = fake.run(&[&PRUNE[..], &["--yes"]].concat());
    assert_eq!((endless.code, fake.writes()), (10, Vec::new()), "{endless:?}");
}
