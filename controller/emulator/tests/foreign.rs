//! Clients that others wrote, unmodified, against an emulator. `.ci/install-clients` installs them
//! into the target folder; without it each test says loudly that it skips.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

#[path = "support/platform.rs"]
mod support;

use self::support::platform;

/// Beyond what a client may take; the fuzzing has three minutes on a quiet computer.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What the script installed, `target/clients/…`; `None` and a line about it if it is not there.
fn installed(path: &str) -> Option<PathBuf> {
    let binary = Path::new(env!("CARGO_BIN_EXE_vault-emulator"));
    // target/release/vault-emulator
    let found = binary.ancestors().nth(2).map(|target| target.join("clients").join(path));
    let found = found.filter(|found| found.exists());
    if found.is_none() {
        skipped(&format!("{path} is not installed; .ci/install-clients does that"));
    }
    found
}

#[allow(clippy::print_stderr, reason = "whoever runs the tests has to see it")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Runs a client to its end; what it said is shown if it fails.
async fn succeeds(command: &mut Command) {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, running).await.expect("in time").expect("runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{:?}: {}\n{}\n{}",
        command.as_std(),
        output.status,
        said(&output.stdout),
        said(&output.stderr)
    );
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

#[tokio::test(flavor = "multi_thread")]
async fn fly_admin_runs_through_the_life_of_an_app() {
    let Some(modules) = installed("node/node_modules") else { return };
    let (platform, _directory) = platform().await;
    let mut command = Command::new("node");
    command.arg(tests().join("foreign/fly_admin.js")).arg(platform.emulator.url());
    command.arg(platform.emulator.operator_token()).arg(modules);
    succeeds(&mut command).await;
    platform.emulator.shutdown().await;
}

/// No 5xx, and no answer that neither the document nor the list of deviations has; and the list of
/// what is not served is exact.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_undocumented_answer() {
    let Some(python) = installed("python/bin/python") else { return };
    let (platform, _directory) = platform().await;
    let out = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(python);
    command.arg(tests().join("foreign/fuzz.py")).arg(tests()).arg(platform.emulator.url());
    command.arg(platform.emulator.operator_token()).arg(out.path());
    succeeds(&mut command).await;
    platform.emulator.shutdown().await;
}

/// With paths in the place of virtual hosts, and otherwise as everybody uses it.
#[tokio::test(flavor = "multi_thread")]
async fn boto3_uses_buckets_keys_and_policies() {
    let Some(python) = installed("boto3/bin/python") else { return };
    let (platform, directory) = platform().await;
    let access = platform.emulator.storage("local").expect("an admin key");
    let mut command = Command::new(python);
    command.arg(tests().join("foreign/storage.py")).arg(&access.endpoint);
    command.arg(&access.access_key_id).arg(access.secret_access_key.expose());
    // What stands in the environment of whoever runs the tests is nothing to it.
    for name in ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"] {
        command.env_remove(name);
    }
    command.env("AWS_CONFIG_FILE", directory.path().join("none"));
    command.env("AWS_SHARED_CREDENTIALS_FILE", directory.path().join("none"));
    succeeds(&mut command).await;
    platform.emulator.shutdown().await;
}
