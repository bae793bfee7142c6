//! Processes of machines, found by an argument that only they have.

use std::fs;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// The processes that have `marker` as one whole argument.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn with_argument(marker: &str) -> anyhow::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let name = entry.context("reading /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may end while we look.
        let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        if arguments.split(|&byte| byte == 0).any(|argument| argument == marker.as_bytes()) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The agent of a machine: the process of the agent's program with that machine's id.
///
/// # Errors
/// If `/proc` cannot be read, or there is not exactly one.
pub fn agent_of(machine_id: &str) -> anyhow::Result<i32> {
    let variable = format!("FLY_MACHINE_ID={machine_id}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let name = entry.context("reading /proc")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let is_agent = read("comm") == b"vault-agent\n";
        // The commands that an agent runs have its environment, and for a moment its name.
        if is_agent
            && read("environ").split(|&byte| byte == 0).any(|one| one == variable.as_bytes())
        {
            found.push(pid);
        }
    }
    match found.as_slice() {
        [pid] => Ok(*pid),
        _ => anyhow::bail!("the agents of {machine_id}: {found:?}"),
    }
}

/// Kills one process as `kill -9` does.
///
/// # Errors
/// If it is not there any more.
pub fn kill(pid: i32) -> anyhow::Result<()> {
    let pid = Pid::from_raw(pid).context("no process has this id")?;
    kill_process(pid, Signal::KILL).with_context(|| format!("killing {pid:?}"))
}
