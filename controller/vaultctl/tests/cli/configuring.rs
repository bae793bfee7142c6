//! `config`, and colours.

use std::os::unix::fs::PermissionsExt as _;

use crate::fake::Fake;

#[test]
fn view_redacts_and_says_what_won() {
    let fake = Fake::start();
    let view = fake.run(&["config", "view"]);
    assert_eq!(view.code, 0, "{view:?}");
    assert!(!view.stdout.contains("operator-token"), "{}", view.stdout);
    assert_eq!(view.stdout.matches("token: REDACTED").count(), 3, "{}", view.stdout);
    assert_eq!(
        view.stderr,
        "file:    ./.vaultctl/config.yaml (by being there)\n\
         context: fake (by the file's currentContext)\n"
    );
    let raw = fake.run(&["config", "view", "--raw", "--minify", "--context", "stranger"]);
    assert!(raw.stdout.contains("token: other") && !raw.stdout.contains("operator-token"));
    assert!(raw.stderr.ends_with("context: stranger (by --context)\n"), "{}", raw.stderr);
    let file = fake.folder().join(".vaultctl/config.yaml");
    let file = file.to_str().unwrap();
    let env = fake.run_with(&["config", "view", "-o", "json"], &[("VAULTCTL_CONFIG", file)], "");
    assert!(env.stderr.contains(" (by VAULTCTL_CONFIG)\n"), "{}", env.stderr);
    let both = ["config", "view", "--context-file", file];
    let flag = fake.run_with(&both, &[("VAULTCTL_CONFIG", "/nowhere")], "");
    assert!(flag.stderr.contains(" (by --context-file)\n"), "{}", flag.stderr);
}

#[test]
fn contexts_are_listed_used_and_deleted() {
    let fake = Fake::start();
    assert_eq!(fake.run(&["config", "current-context"]).stdout, "fake\n");
    let list = fake.run(&["config", "get-contexts"]);
    assert!(
        list.stdout.starts_with("CURRENT   NAME       SERVER\n*         fake       http://127"),
        "{list:?}"
    );
    let used = fake.run(&["config", "use-context", "stranger"]);
    assert_eq!(
        (used.code, used.stdout.as_str()),
        (0, "context \"stranger\" is the current one now\n")
    );
    assert_eq!(fake.run(&["config", "current-context"]).stdout, "stranger\n");
    let mode = fake.folder().join(".vaultctl/config.yaml").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let wrong = fake.run(&["config", "use-context", "fakee"]);
    assert_eq!(
        (wrong.code, wrong.stderr.as_str()),
        (4, "error: there is no context \"fakee\"\nhint: did you mean fake?\n")
    );
    assert_eq!(fake.run(&["config", "delete-context", "stranger"]).code, 0);
    assert_eq!(fake.run(&["config", "get-contexts", "-o", "name"]).stdout, "fake\nnobody\n");
    assert_eq!(fake.run(&["config", "current-context"]).code, 4, "the current one is gone");
    assert_eq!(fake.run(&["config", "delete-context", "stranger"]).code, 4);
}

#[test]
fn contexts_are_made_with_tokens_from_files_alone() {
    let fake = Fake::start();
    let server = fake.run(&["config", "view", "--minify", "-o", "json"]).stdout;
    let server: serde_json::Value = serde_json::from_str(&server).unwrap();
    let server = server["contexts"][0]["server"].as_str().unwrap().to_owned();
    std::fs::remove_dir_all(fake.folder().join(".vaultctl")).unwrap();
    let bare = fake.run(&["config", "set-context", "mine", "--server", &server]);
    assert_eq!(bare.code, 2, "{bare:?}");
    assert!(bare.stderr.contains("needs --server and --token-file"), "{}", bare.stderr);
    let args = ["config", "set-context", "mine", "--server", &server, "--token-file", "-"];
    let made = fake.run_with_input(&args, "operator-token\n");
    assert_eq!((made.code, made.stdout.as_str()), (0, "context \"mine\" created\n"), "{made:?}");
    assert!(fake.folder().join("home/.config/vaultctl/config.yaml").is_file());
    assert_eq!(fake.run(&["get", "tenants"]).code, 0);
    let changed = fake.run(&["config", "set-context", "mine", "--server", "http://127.0.0.1:1"]);
    assert_eq!(changed.stdout, "context \"mine\" modified\n", "{changed:?}");
    assert_eq!(fake.run(&["get", "tenants"]).code, 6);
    for args in [
        &["config", "set-context", "mine", "--server", "nowhere"][..],
        &["config", "set-context", "mine", "--token-file", "absent"],
        &["config", "set-context", "mine", "--token", "hush"],
        &["config", "frobnicate"],
    ] {
        let ended = fake.run(args);
        assert_eq!(ended.code, 2, "{args:?}: {ended:?}");
    }
    let empty = fake.run_with_input(&["config", "set-context", "mine", "--token-file", "-"], "\n");
    assert_eq!(empty.code, 2, "{empty:?}");
}

#[test]
fn colours_obey_the_environment_then_the_flag_then_the_terminal() {
    let fake = Fake::start();
    fake.file(
        "class.yaml",
        "apiVersion: vaultctl.dev/v1\nkind: TenantClass\nmetadata: { name: box }\nspec: {}\n",
    );
    let diff = |args: &[&str], env: &[(&str, &str)]| {
        let text = fake.run_with(&[&["diff", "-f", "class.yaml"], args].concat(), env, "").stdout;
        text.contains('\u{1b}')
    };
    assert!(!diff(&[], &[]), "a pipe is no terminal");
    assert!(diff(&["--color=always"], &[]));
    assert!(!diff(&["--color=always"], &[("NO_COLOR", "1")]));
    assert!(diff(&["--color=always"], &[("NO_COLOR", "")]));
}
