//! The whole `--help` tree is a snapshot: a change to it is a change that a reviewer sees.

use std::process::Command;

/// `vaultctl ARGS…` at a fixed width, without the context of whoever runs the tests.
fn help(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_vaultctl"))
        .args(args)
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .env_remove("VAULTCTL_CONFIG")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", output.status);
    assert!(output.stderr.is_empty(), "{args:?} wrote to stderr");
    String::from_utf8(output.stdout).unwrap()
}

/// The names in the list of subcommands.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect()
}

#[test]
fn the_help_tree_is_as_reviewed() {
    let root = help(&["--help"]);
    let name = if cfg!(feature = "dev") { "root" } else { "root-without-dev" };
    insta::assert_snapshot!(name, root);
    let subcommands = subcommands(&root);
    for expected in [
        "apply",
        "diff",
        "get",
        "describe",
        "events",
        "delete",
        "wait",
        "completion",
        "version",
        "edit",
        "patch",
        "label",
        "annotate",
        "create",
        "replace",
        "explain",
        "api-resources",
        "config",
        "plugin",
    ] {
        assert!(
            subcommands.iter().any(|one| one == expected),
            "{expected} is not in {subcommands:?}"
        );
    }
    for subcommand in subcommands {
        let text = help(&[&subcommand, "--help"]);
        for inner in self::subcommands(&text) {
            let name = format!("{subcommand}-{inner}");
            insta::assert_snapshot!(name, help(&[&subcommand, &inner, "--help"]));
        }
        insta::assert_snapshot!(subcommand, text);
    }
}

#[test]
fn every_command_shows_examples() {
    for subcommand in subcommands(&help(&["--help"])) {
        let text = help(&[&subcommand, "--help"]);
        assert!(text.contains("EXAMPLES:\n  "), "{subcommand} has none");
        let short = help(&[&subcommand, "-h"]);
        let first = short.lines().next().unwrap_or_default();
        assert!(!first.ends_with('.'), "{subcommand}: {first:?} ends with a full stop");
    }
}
