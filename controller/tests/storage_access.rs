//! What the program says of a key for object storage that is only half there, or would go in clear.

use std::process::{Command, Output};

/// Runs a controller that does not get as far as its platform.
fn run(environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vault-controller"));
    command.args(["--platform-url", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(folder.path().join("data"));
    command.env_clear().env("FLY_API_TOKEN", "test");
    command.envs(environment.iter().copied()).output().unwrap()
}

#[test]
fn a_key_without_its_secret_is_told_at_the_start() {
    let output = run(&[("AWS_ACCESS_KEY_ID", "tid_half")]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("AWS_SECRET_ACCESS_KEY is not set, but AWS_ACCESS_KEY_ID is"), "{said}");
    assert!(!said.contains("tid_half"), "{said}");
}

#[test]
fn keys_do_not_go_in_clear_to_another_machine() {
    let output = run(&[
        ("AWS_ACCESS_KEY_ID", "tid_1"),
        ("AWS_SECRET_ACCESS_KEY", "tsec_hidden"),
        ("AWS_ENDPOINT_URL_IAM", "http://iam.example.com"),
    ]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("plain http is for this machine only"), "{said}");
    assert!(!said.contains("tsec_hidden"), "{said}");
}
