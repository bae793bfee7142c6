//! Reaping what is not ours, when the agent is PID 1.
//!
//! Usually it is not: Fly's own init, or the emulator's, is PID 1, and orphans go there. We do not
//! make ourselves a subreaper, because they are reaped well there.

use std::collections::HashSet;
use std::fs;

use rustix::process::{Pid, WaitId, WaitIdOptions};

/// Reaps our children that have ended, but for those in `known`.
pub(super) fn reap(known: &HashSet<i32>) {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let Ok(folder) = fs::read_dir("/proc") else {
        return;
    };
    for entry in folder.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.filter(|pid| !known.contains(pid)) else {
            continue;
        };
        // It may be gone by now.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let (Some(('Z', parent)), Some(id)) = (state_and_parent(&stat), Pid::from_raw(pid))
            && parent == own
        {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            if let Err(error) = rustix::process::waitid(WaitId::Pid(id), options) {
                tracing::debug!(process = pid, %error, "an orphan was not reaped");
            }
        }
    }
}

/// The third and fourth field of `/proc/PID/stat`. The second is a name in parentheses, which may
/// hold anything.
fn state_and_parent(stat: &str) -> Option<(char, i32)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_confuse_the_fields() {
        assert_eq!(state_and_parent("7 (sh) Z 1 7 7 0"), Some(('Z', 1)));
        assert_eq!(state_and_parent("7 (a) Z 1 (b) S 42 7"), Some(('S', 42)));
        assert_eq!(state_and_parent("7 (sh"), None);
        assert_eq!(state_and_parent(""), None);
    }
}
