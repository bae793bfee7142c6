//! Stopping all processes of a machine where they are, and letting them go on.

use std::fs;
use std::io;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::isolation::Isolation;

/// Rounds over the process tree at most: a process that forks faster than it is stopped stays ahead
/// of any number.
const ROUNDS_MAX: usize = 16;

/// Stops or continues every process of the machine but the caller, which is its first.
pub(super) fn all(isolation: Isolation, frozen: bool) -> io::Result<()> {
    let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
    match isolation {
        // To everyone: in a PID namespace of our own that is the machine and nobody else.
        Isolation::Namespaces | Isolation::UserNamespaces => {
            match kill(Pid::from_raw(-1), signal) {
                // The built-in pause has no process but this one.
                Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        Isolation::PlainProcess => descendants(signal),
    }
}

/// Signals all descendants, again and again until a round finds no new one.
fn descendants(signal: Signal) -> io::Result<()> {
    let mut signalled = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let found = below(std::process::id())?;
        let new: Vec<u32> = found.into_iter().filter(|id| !signalled.contains(id)).collect();
        if new.is_empty() {
            break;
        }
        for id in new {
            // It may have ended between the list and now.
            if let Ok(raw) = i32::try_from(id) {
                let _: Result<_, _> = kill(Pid::from_raw(raw), signal);
            }
            signalled.push(id);
        }
    }
    Ok(())
}

/// All descendants of a process, parents before children.
pub(super) fn below(root: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        // A process that has ended has no children any more: they are their grandparent's.
        let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { continue };
        for thread in threads.flatten() {
            let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let children: Vec<u32> =
                list.split_whitespace().filter_map(|id| id.parse().ok()).collect();
            found.extend(&children);
            open.extend(children);
        }
    }
    Ok(found)
}
