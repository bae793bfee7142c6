//! `label`, `annotate`, `patch`, `create`, `replace`, `edit`.

use serde_json::{Value, json};

use crate::fake::{Ended, Fake};

const CLASS: &str =
    "apiVersion: vaultctl.dev/v1\nkind: TenantClass\nmetadata: { name: big }\nspec: {}\n";
const ACME: &str = "apiVersion: vaultctl.dev/v1\nkind: Tenant\n\
    metadata: { name: acme, labels: { tier: free } }\nspec:\n  class: big\n";

fn stocked() -> Fake {
    let fake = Fake::start();
    for class in ["dev-box", "big"] {
        fake.store(
            "tenantclasses",
            json!({ "apiVersion": "vaultctl.dev/v1", "kind": "TenantClass",
                "metadata": { "name": class }, "spec": {} }),
        );
    }
    for name in ["acme", "umbra"] {
        fake.store(
            "tenants",
            json!({ "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
                "metadata": { "name": name, "labels": { "tier": "pro" } },
                "spec": { "class": "dev-box" }, "status": { "observedGeneration": 1 } }),
        );
    }
    fake
}

fn labels(fake: &Fake, name: &str) -> Value {
    fake.object("tenants", name).unwrap()["metadata"]["labels"].clone()
}

#[test]
fn labels_are_set_and_removed() {
    let fake = stocked();
    let set = fake.run(&["label", "tenant", "acme", "env=dev"]);
    assert_eq!((set.code, set.stdout.as_str()), (0, "tenant/acme labeled\n"), "{set:?}");
    assert_eq!(fake.writes(), [r#"PATCH tenants/acme {"metadata":{"labels":{"env":"dev"}}}"#]);
    let same = fake.run(&["label", "tenant/acme", "env=dev"]);
    assert_eq!((same.code, same.stdout.as_str()), (0, "tenant/acme not labeled\n"));
    let other = fake.run(&["label", "tenant/acme", "tier=free"]);
    assert_eq!((other.code, other.stdout.as_str()), (2, ""));
    assert_eq!(
        other.stderr,
        "error: tenant/acme: the label \"tier\" already has the value \"pro\"\n\
         hint: pass --overwrite to replace it\n"
    );
    assert_eq!(fake.writes().len(), 1);
    let all = fake.run(&["label", "tenants", "--all", "tier=free", "--overwrite"]);
    assert_eq!(all.stdout, "tenant/acme labeled\ntenant/umbra labeled\n");
    let gone = fake.run(&["label", "tn", "acme", "env-", "other-", "--list"]);
    assert_eq!(gone.stdout, "tenant/acme unlabeled\ntier=free\n", "{gone:?}");
    assert_eq!(gone.stderr, "tenant/acme: label \"other\" not found\n");
    assert_eq!(labels(&fake, "acme"), json!({ "tier": "free" }));
    let partly = fake.run(&["label", "tenant", "acme", "nobody", "a=b", "--dry-run=server"]);
    assert_eq!(
        (partly.code, partly.stdout.as_str()),
        (10, "tenant/acme labeled (server dry run)\n")
    );
    assert!(partly.stderr.starts_with("error: tenant/nobody not found\n"), "{}", partly.stderr);
    assert_eq!(labels(&fake, "acme"), json!({ "tier": "free" }));
    for args in [
        &["label", "tenant", "acme"][..],
        &["label", "tenant", "acme", "a b=c"],
        &["label", "tenants", "a=b"],
        &["label", "tenant", "acme", "a=b", "-l", "tier=pro"],
    ] {
        assert_eq!(fake.run(args).code, 2, "{args:?}");
    }
}

#[test]
fn annotations_are_free_text() {
    let fake = stocked();
    let set = fake.run(&["annotate", "tenants", "-l", "tier=pro", "owner=Ada, second floor"]);
    assert_eq!(set.stdout, "tenant/acme annotated\ntenant/umbra annotated\n", "{set:?}");
    // What others wrote there neither breaks a line nor speaks to the terminal.
    let odd = fake.run(&["annotate", "tenant/umbra", "odd=\u{1b}[31mred\nline", "--list"]);
    assert!(odd.stdout.ends_with("\nodd= [31mred line\nowner=Ada, second floor\n"), "{odd:?}");
    let dry = fake.run(&["annotate", "tenant/acme", "owner-", "--dry-run", "-o", "json"]);
    let object: Value = serde_json::from_str(&dry.stdout).unwrap();
    assert_eq!(object["metadata"]["annotations"], json!({}));
    assert_eq!(
        fake.object("tenants", "acme").unwrap()["metadata"]["annotations"],
        json!({ "owner": "Ada, second floor" })
    );
}

#[test]
fn patches_come_in_two_forms() {
    let fake = stocked();
    let merge = fake.run(&["patch", "tenant", "acme", "-p", r#"{"spec":{"class":"big"}}"#]);
    assert_eq!((merge.code, merge.stdout.as_str()), (0, "tenant/acme patched\n"), "{merge:?}");
    let again = fake.run(&["patch", "tenant", "acme", "-p", "spec: { class: big }"]);
    assert_eq!(again.stdout, "tenant/acme patched (no change)\n", "{again:?}");
    fake.file("ops.yaml", "- { op: remove, path: /metadata/labels/tier }\n");
    let json =
        fake.run(&["patch", "tn/acme", "--type=json", "--patch-file", "ops.yaml", "-o", "name"]);
    assert_eq!(json.stdout, "tenant/acme\n", "{json:?}");
    assert_eq!(labels(&fake, "acme"), json!({}));
    let dry = fake.run(&["patch", "tn/acme", "-p", r#"{"spec":{"class":"dev-box"}}"#, "--dry-run"]);
    assert_eq!(dry.stdout, "tenant/acme patched (server dry run)\n", "{dry:?}");
    assert_eq!(fake.object("tenants", "acme").unwrap()["spec"]["class"], "big");
    let misspelt = fake.run(&["patch", "tenant/acme", "-p", r#"{"spec":{"clas":"a"}}"#]);
    assert_eq!(misspelt.code, 2);
    assert!(misspelt.stderr.contains("unknown field \"spec.clas\""), "{}", misspelt.stderr);
    let missing = fake.run(&["patch", "tenant/nobody", "-p", "{}"]);
    assert_eq!(missing.code, 4, "{missing:?}");
    fake.world.lock().unwrap().owned_by_file.push("umbra".to_owned());
    let patch = ["patch", "tenant/umbra", "-p", r#"{"spec":{"class":"big"}}"#];
    assert_eq!(fake.run(&patch).code, 3);
    assert_eq!(fake.run(&[&patch[..], &["--take-ownership"]].concat()).code, 0);
    for args in [
        &["patch", "tenant/acme"][..],
        &["patch", "tenant/acme", "-p", "[]"],
        &["patch", "tenant/acme", "-p", "{}", "--type=json"],
        &["patch", "tenant/acme", "-p", "{"],
        &["patch", "tenant/acme", "-p", "{}", "--type=strategic"],
        &["patch", "tenant/acme", "-p", "{}", "--dry-run=client"],
    ] {
        assert_eq!(fake.run(args).code, 2, "{args:?}");
    }
}

#[test]
fn create_and_replace_insist() {
    let fake = Fake::start();
    fake.file("all.yaml", &format!("{ACME}---\n{CLASS}"));
    let missing = fake.run(&["replace", "-f", "all.yaml"]);
    assert_eq!(missing.code, 4, "{missing:?}");
    let dry = fake.run(&["create", "-f", "all.yaml", "--dry-run"]);
    assert_eq!(dry.stdout, "tenantclass/big created (dry run)\ntenant/acme created (dry run)\n");
    let created = fake.run(&["create", "-f", "all.yaml"]);
    assert_eq!(created.stdout, "tenantclass/big created\ntenant/acme created\n", "{created:?}");
    let again = fake.run(&["create", "-f", "all.yaml"]);
    assert_eq!(again.code, 3, "{again:?}");
    let changed = ACME.replace("tier: free", "env: dev");
    let replaced = fake.run_with_input(&["replace", "-f", "-"], &changed);
    assert_eq!(replaced.stdout, "tenant/acme replaced\n", "{replaced:?}");
    assert_eq!(labels(&fake, "acme"), json!({ "env": "dev" }), "what is not named goes");
    let stale = ACME.replace("name: acme", "name: acme, resourceVersion: '1'");
    assert_eq!(fake.run_with_input(&["replace", "-f", "-"], &stale).code, 3);
}

/// `edit ARGS…` with a shell script as the editor: `$1` is the file.
fn edit(fake: &Fake, args: &[&str], script: &str) -> Ended {
    let path = fake.file("editor.sh", script);
    let editor = format!("sh {}", path.display());
    let tmp = fake.folder().join("tmp");
    std::fs::create_dir_all(&tmp).unwrap();
    let env =
        [("KUBE_EDITOR", editor.as_str()), ("EDITOR", "false"), ("TMPDIR", tmp.to_str().unwrap())];
    fake.run_with(&[&["edit"], args].concat(), &env, "")
}

fn drafts(fake: &Fake) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(fake.folder().join("tmp")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn edit_sends_what_changed() {
    let fake = stocked();
    let script = "grep -q 'managedFields\\|status' \"$1\" && exit 9\nstat -c %a \"$1\" > mode\n\
        sed -i 's/class: dev-box/class: big/' \"$1\"\n";
    let ended = edit(&fake, &["tenant", "acme"], script);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "tenant/acme edited\n"), "{ended:?}");
    assert_eq!(fake.writes(), [r#"PATCH tenants/acme {"spec":{"class":"big"}}"#]);
    assert_eq!(std::fs::read_to_string(fake.folder().join("mode")).unwrap(), "600\n");
    assert!(drafts(&fake).is_empty(), "the file goes");
    let json = edit(&fake, &["tenant/acme", "-o", "json"], "sed -i 's/\"pro\"/\"free\"/' \"$1\"");
    assert_eq!(json.stdout, "tenant/acme edited\n", "{json:?}");
    assert_eq!(labels(&fake, "acme"), json!({ "tier": "free" }));
}

#[test]
fn edit_can_be_cancelled() {
    let fake = stocked();
    for (script, note) in [
        ("true", "Edit cancelled, no changes made.\n"),
        ("echo '# only a comment' >> \"$1\"", "Edit cancelled, no changes made.\n"),
        (": > \"$1\"", "Edit cancelled, saved file was empty.\n"),
    ] {
        let ended = edit(&fake, &["tenant", "acme"], script);
        assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{script}: {ended:?}");
        assert_eq!(ended.stderr, note, "{script}");
    }
    let failed = edit(&fake, &["tenant", "acme"], "exit 3");
    assert_eq!(failed.code, 2, "{failed:?}");
    assert_eq!(edit(&fake, &["tenant", "nobody"], "true").code, 4);
    assert_eq!(fake.writes(), Vec::<String>::new());
    assert!(drafts(&fake).is_empty());
}

#[test]
fn edit_opens_again_what_is_refused() {
    let fake = stocked();
    fake.world.lock().unwrap().refused_patches = 1;
    // First a text that is no YAML, then what the controller refuses, then the same once more.
    let script = "echo >> runs\ncp \"$1\" seen.$(wc -l < runs)\n\
        case $(wc -l < runs) in\n\
        1) sed -i 's/class: dev-box/class: [/' \"$1\" ;;\n\
        2) sed -i 's/class: \\[/class: big/' \"$1\" ;;\n\
        *) sed -i 's/class: big/class: big\\n  org: acme-org/' \"$1\" ;;\n\
        esac\n";
    let ended = edit(&fake, &["tenant", "acme"], script);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "tenant/acme edited\n"), "{ended:?}");
    let seen =
        |run: u32| std::fs::read_to_string(fake.folder().join(format!("seen.{run}"))).unwrap();
    assert!(seen(2).contains("# * it cannot be read: "), "{}", seen(2));
    assert!(seen(3).contains("\n# * spec.class: it is not to my liking\n#\n"), "{}", seen(3));
    assert!(seen(3).contains("\n  class: big\n"), "{}", seen(3));
    assert!(drafts(&fake).is_empty());
}

#[test]
fn edit_keeps_what_was_typed_when_the_editor_or_the_file_fails() {
    let fake = stocked();
    // Saved, and then the editor fails; a file that is no text; one that is too large.
    for (script, said) in [
        ("sed -i 's/class: dev-box/class: big/' \"$1\"; exit 1", "the editor `sh "),
        ("printf '\\377' >> \"$1\"", "error: tenant/acme: the edited file is not UTF-8\n"),
        ("head -c 3000000 /dev/zero | tr '\\0' '#' >> \"$1\"", "the edited file is larger than"),
        // Refused at first; then the editor is left without saving.
        (
            "grep -q 'cannot be read' \"$1\" && exit 1\nsed -i 's/class: dev-box/class: [/' \"$1\"",
            "the editor `sh ",
        ),
    ] {
        let ended = edit(&fake, &["tenant", "acme"], script);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{script}: {ended:?}");
        assert!(ended.stderr.contains(said), "{script}: {ended:?}");
        let [kept] = &drafts(&fake)[..] else { panic!("{script}: {:?}", drafts(&fake)) };
        let note = format!("Your changes are kept in {}\n", kept.display());
        assert!(ended.stderr.contains(&note), "{script}: {ended:?}");
        std::fs::remove_file(kept).unwrap();
    }
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[test]
fn edit_keeps_what_could_not_be_written() {
    let fake = stocked();
    fake.world.lock().unwrap().owned_by_file.push("acme".to_owned());
    let script = "sed -i 's/class: dev-box/class: big/' \"$1\"";
    let owned = edit(&fake, &["tenant", "acme"], script);
    assert_eq!(owned.code, 3, "{owned:?}");
    let [kept] = &drafts(&fake)[..] else { panic!("{:?}", drafts(&fake)) };
    assert!(
        owned.stderr.contains(&format!("Your changes are kept in {}\n", kept.display())),
        "{}",
        owned.stderr
    );
    assert!(std::fs::read_to_string(kept).unwrap().contains("\n  class: big\n"));
    std::fs::remove_file(kept).unwrap();
    // Refused, and then left as it was.
    let name = edit(&fake, &["tenant", "umbra"], "sed -i 's/name: umbra/name: other/' \"$1\"");
    assert_eq!(name.code, 2, "{name:?}");
    let why = "no valid changes were saved: apiVersion, kind and name cannot be changed\n";
    assert!(name.stderr.contains(why), "{}", name.stderr);
    assert_eq!(drafts(&fake).len(), 1);
    let taken = edit(&fake, &["tenant", "acme", "--take-ownership"], script);
    assert_eq!(taken.code, 0, "{taken:?}");
}
