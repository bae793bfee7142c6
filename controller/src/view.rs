//! What the controller says of itself: published after each pass, read by health checks, `/status`
//! and `vaultctl dev`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use vault_plan::report::Stray;
use vault_plan::time::UnixMillis;

use crate::fleet::Fleet;
use crate::folder::FolderReport;
use crate::platform::Calls;
use crate::reconcile::Pass;

/// The controller as a whole, at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// How many passes came to their end.
    pub passes: u64,
    /// When the last of them ended.
    pub last_pass_at: Option<UnixMillis>,
    /// The last passes that came to their end, newest first.
    pub recent: VecDeque<PassLine>,
    /// The fleet as the last of them saw it.
    pub fleet: Arc<Fleet>,
    /// How many tenants there are.
    pub tenants: usize,
    /// The names of those that are Ready.
    pub ready: Arc<BTreeSet<String>>,
    /// What cannot be reached or written, as sentences; empty if all is well.
    pub troubles: Vec<String>,
    /// What the watched folder says; `None` until it was taken in once.
    pub folder: Option<FolderReport>,
    /// Machines with our mark and no tenant.
    pub strays: Vec<Stray>,
}

/// How many passes are remembered one by one: those that a person asks about.
const RECENT_MAX: usize = 10;

/// One pass that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassLine {
    /// When it ended.
    pub ended_at: UnixMillis,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
    /// The calls that it made.
    pub calls: Calls,
    /// Its looks at machines that somebody else wrote, which are not among the calls.
    pub edit_looks: u64,
    /// The fewest calls that it could have made.
    pub floor_calls: u64,
    /// The actions that it carried out.
    pub actions: usize,
    /// How many tenants' turns failed.
    pub failures: usize,
}

impl View {
    /// Takes in what a pass found, and when it ended.
    pub fn take_in(&mut self, pass: Pass, began: UnixMillis, ended_at: UnixMillis) {
        self.passes += 1;
        self.last_pass_at = Some(ended_at);
        self.recent.truncate(RECENT_MAX - 1);
        self.recent.push_front(PassLine {
            ended_at,
            took_ms: ended_at.since_ms(began),
            calls: pass.calls,
            edit_looks: pass.edit_looks,
            floor_calls: pass.fleet.floor_reads + pass.actions as u64,
            actions: pass.actions,
            failures: pass.failures,
        });
        self.tenants = pass.tenants;
        self.ready = pass.ready;
        self.strays = pass.strays;
        self.fleet = Arc::new(pass.fleet);
    }
}
