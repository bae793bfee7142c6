//! `completion`.

use std::process::Command;

use crate::fake::Fake;
use crate::skipped;

const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

#[test]
fn every_shell_gets_a_script_that_names_the_commands() {
    let fake = Fake::start();
    // It needs no controller, nor a context.
    std::fs::remove_dir_all(fake.folder().join(".vaultctl")).unwrap();
    for shell in SHELLS {
        let ended = fake.run(&["completion", shell]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{shell}");
        for command in ["apply", "describe", "events", "completion"] {
            assert!(ended.stdout.contains(command), "{shell}: {command}");
        }
        parse(&fake, shell, &ended.stdout);
    }
    for args in [&["completion"][..], &["completion", "cmd"]] {
        assert_eq!(fake.run(args).code, 2, "{args:?}");
    }
}

/// Lets the shell read the script without running it, where the shell is there and can.
fn parse(fake: &Fake, shell: &str, script: &str) {
    let path = fake.file(&format!("completion.{shell}"), script);
    if !matches!(shell, "bash" | "fish" | "zsh") {
        return;
    }
    match Command::new(shell).arg("-n").arg(&path).output() {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && errors.is_empty(), "{shell}: {errors}");
        }
        Err(error) => skipped(&format!("{shell} is not here to read its script: {error}")),
    }
}

#[test]
fn bash_completes_commands_options_and_values() {
    let fake = Fake::start();
    let path = fake.file("completion.bash", &fake.run(&["completion", "bash"]).stdout);
    for (line, expected) in [
        ("vaultctl desc", "describe"),
        ("vaultctl get --sel", "--selector"),
        ("vaultctl events --typ", "--types"),
        ("vaultctl completion z", "zsh"),
    ] {
        let (words, current) = line.rsplit_once(' ').unwrap();
        let index = words.split(' ').count();
        let before = words.rsplit(' ').next().unwrap();
        let script = format!(
            "source '{}'; COMP_WORDS=({line}); COMP_CWORD={index}; \
             _vaultctl vaultctl '{current}' '{before}'; echo \"${{COMPREPLY[*]}}\"",
            path.display()
        );
        let output = Command::new("bash").args(["--norc", "-c", &script]).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{line}: {errors}");
    }
}
