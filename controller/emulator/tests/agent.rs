//! Machines whose image is the agent: which program they run, where it is found, and that it comes
//! back.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use vault_emulator::{AgentCommand, EmulatorConfig};

#[path = "support/platform.rs"]
mod support;

use self::support::{console, start, with_processes};

/// An agent that says how it was started and then only waits, under a name that can be found.
fn agent(folder: &Path, mark: &str) -> AgentCommand {
    let program = folder.join("agent");
    let script = format!(
        "#!/bin/sh\necho \"started: $* at $VAULT_LISTEN, secret $VAULT_TENANT_SECRET\"\n\
         exec sleep {mark}\n"
    );
    fs::write(&program, script).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    AgentCommand { program, args: vec!["agent".to_owned(), "--now".to_owned()] }
}

/// The process of this host that sleeps for this long.
fn sleeper(mark: &str) -> Option<Pid> {
    let ids = fs::read_dir("/proc").expect("proc").flatten();
    let mut ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let line = format!("sleep\0{mark}\0");
    let id = ids.find(|id: &i32| {
        fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|found| found == line.as_bytes())
    })?;
    Pid::from_raw(id)
}

async fn an_agent_runs_and_comes_back(data_dir: &Path, folder: &Path, masked: Vec<PathBuf>) {
    let mark = format!("9{}{}", std::process::id(), masked.len());
    let config = with_processes(data_dir, Some(agent(folder, &mark)));
    let platform = start(EmulatorConfig { masked, ..config }).await;
    platform.app("web").await;
    let secret = json!({ "value": "derived" });
    platform.post("/v1/apps/web/secrets/VAULT_TENANT_SECRET", secret).await;
    let image = json!({ "image": "registry.fly.io/vault-tenants/agent:1" });
    let id = platform.create("web", "box", image).await;
    platform.wait("web", &id, "started").await;
    let first = support::wait_for_console(data_dir, &id, "secret derived").await;
    let (_, machine) = platform.get(&format!("/v1/apps/web/machines/{id}")).await;
    let address: IpAddr =
        machine["private_ip"].as_str().expect("a text").parse().expect("an address");
    let listens = match address {
        IpAddr::V4(address) => format!("{address}:8443"),
        IpAddr::V6(address) => format!("[{address}]:8443"),
    };
    assert!(first.contains(&format!("started: agent --now at {listens},")), "{first}");

    // Killed from outside, it comes back by the default policy, as the same version.
    support::eventually("the agent runs", || sleeper(&mark).is_some()).await;
    let before = sleeper(&mark).expect("found before");
    kill_process(before, Signal::KILL).expect("killed");
    let starts = || console(data_dir, &id).matches("started: ").count();
    support::eventually("the agent is back", || starts() == 2).await;
    assert_eq!(console(data_dir, &id).matches("--- run ").count(), 2);
    platform.wait("web", &id, "started").await;
    let (_, again) = platform.get(&format!("/v1/apps/web/machines/{id}")).await;
    assert_eq!(again["instance_id"], machine["instance_id"]);
    assert_eq!(again["private_ip"], machine["private_ip"]);
    platform.emulator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_tmp_runs_and_comes_back() {
    let data_dir = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    an_agent_runs_and_comes_back(data_dir.path(), folder.path(), Vec::new()).await;
}

/// As when everything lies in one folder: the agent, the controller's data, and in that ours.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_a_masked_folder_runs_and_comes_back() {
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let data_dir = folder.path().join("platform");
    let masked = vec![folder.path().to_owned()];
    an_agent_runs_and_comes_back(&data_dir, folder.path(), masked).await;
}
