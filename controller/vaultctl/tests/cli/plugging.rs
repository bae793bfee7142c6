//! Plugins.

use std::os::unix::fs::PermissionsExt as _;

use crate::fake::{Ended, Fake};

fn plugin(fake: &Fake, name: &str, mode: u32) {
    let path =
        fake.file(name, "#!/bin/sh\necho \"$(basename \"$0\")|$*|$VAULTCTL_CONFIG\"\nexit 42\n");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn run(fake: &Fake, args: &[&str]) -> Ended {
    let own = std::env::var("PATH").unwrap_or_default();
    let folder = fake.folder().display();
    let path = format!("{folder}/first:{folder}/second:{own}");
    fake.run_with(args, &[("PATH", &path)], "")
}

#[test]
fn the_longest_name_wins_and_the_rest_is_passed_on() {
    let fake = Fake::start();
    plugin(&fake, "first/vaultctl-foo", 0o755);
    plugin(&fake, "second/vaultctl-foo-bar", 0o755);
    plugin(&fake, "second/vaultctl-under_score", 0o755);
    let config = fake.folder().join(".vaultctl/config.yaml");
    let config = config.canonicalize().unwrap();
    for (args, line) in [
        (&["foo"][..], "vaultctl-foo|"),
        (&["foo", "bar", "--flag", "-x", "a b"], "vaultctl-foo-bar|--flag -x a b"),
        (&["foo", "baz", "--help"], "vaultctl-foo|baz --help"),
        (&["foo", "--", "bar"], "vaultctl-foo|-- bar"),
        (&["under-score"], "vaultctl-under_score|"),
    ] {
        let ended = run(&fake, args);
        assert_eq!(ended.code, 42, "{args:?}: {ended:?}");
        let (told, file) = ended.stdout.trim_end().rsplit_once('|').unwrap();
        assert_eq!(told, line.trim_end_matches("||"), "{args:?}");
        assert_eq!(std::fs::canonicalize(file).unwrap(), config, "{args:?}");
    }
}

#[test]
fn a_plugin_never_stands_before_a_command() {
    let fake = Fake::start();
    for name in ["first/vaultctl-get", "first/vaultctl-get-tenants", "first/vaultctl-help"] {
        plugin(&fake, name, 0o755);
    }
    plugin(&fake, "first/vaultctl-locked", 0o644);
    let get = run(&fake, &["get", "tenants"]);
    assert_eq!((get.code, get.stderr.as_str()), (0, "No tenants found.\n"), "{get:?}");
    assert!(run(&fake, &["help"]).stdout.contains("Usage: vaultctl"));
    for args in [&["locked"][..], &["../first/vaultctl-get"], &["absent"]] {
        assert_eq!(run(&fake, args).code, 2, "{args:?}");
    }
    let near = run(&fake, &["descrbe"]);
    assert!(near.stderr.contains("describe"), "{}", near.stderr);
}

#[test]
fn the_list_says_what_is_never_run() {
    let fake = Fake::start();
    let none = fake.run_with(&["plugin", "list"], &[("PATH", "/nowhere")], "");
    assert_eq!((none.code, none.stdout.as_str()), (4, ""), "{none:?}");
    plugin(&fake, "first/vaultctl-foo", 0o755);
    plugin(&fake, "first/vaultctl-locked", 0o644);
    plugin(&fake, "second/vaultctl-foo", 0o755);
    plugin(&fake, "second/vaultctl-get", 0o755);
    let list = run(&fake, &["plugin", "list", "--name-only"]);
    assert_eq!(list.code, 0, "{list:?}");
    let names: Vec<&str> = list.stdout.lines().take(4).collect();
    assert_eq!(names, ["vaultctl-foo", "vaultctl-locked", "vaultctl-foo", "vaultctl-get"]);
    let folder = fake.folder().display();
    for warning in [
        format!("warning: {folder}/first/vaultctl-locked is not executable\n"),
        format!(
            "warning: {folder}/second/vaultctl-foo is never run: {folder}/first/vaultctl-foo comes first on PATH\n"
        ),
        format!(
            "warning: {folder}/second/vaultctl-get is never run: vaultctl has a command \"get\" itself\n"
        ),
    ] {
        assert!(list.stderr.contains(&warning), "{warning} in {}", list.stderr);
    }
}
