//! Two controllers on one data folder: the second one refuses, and the first one goes on.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// Longer than any start, even on a machine that does a lot besides.
const DEADLINE: Duration = Duration::from_secs(30);

/// Starts a controller whose platform cannot be reached: it answers requests all the same.
fn controller(data_dir: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_vault-controller"))
        .args(["--platform-url", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir)
        .env("FLY_API_TOKEN", "test")
        .env_remove("VAULT_MASTER_KEY_FILE")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Waits until the controller has written the files for its clients.
async fn until_started(data_dir: &Path) {
    let started = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !data_dir.join("config.yaml").exists() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, started).await.expect("the controller starts");
}

#[tokio::test]
async fn the_second_controller_on_a_data_folder_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let mut first = controller(&data_dir);
    until_started(&data_dir).await;
    let key = std::fs::read(data_dir.join("master.key")).unwrap();

    let second = controller(&data_dir).wait_with_output();
    let second = tokio::time::timeout(DEADLINE, second).await.expect("it ends").unwrap();
    assert_eq!(second.status.code(), Some(2));
    let message = String::from_utf8(second.stderr).unwrap();
    let database = data_dir.join("controller.db");
    let expected = format!("another controller uses the database {}", database.display());
    assert!(message.contains(&expected), "{message}");

    assert_eq!(std::fs::read(data_dir.join("master.key")).unwrap(), key);
    assert!(first.try_wait().unwrap().is_none(), "the first one goes on");
    first.kill().await.unwrap();

    // The lock goes with its holder.
    std::fs::remove_file(data_dir.join("config.yaml")).unwrap();
    let _third = controller(&data_dir);
    until_started(&data_dir).await;
}
