//! What the controller says of itself: published after each pass, read by health checks, `/status`
//! and `vaultctl dev`.

use std::collections::BTreeSet;

use vault_plan::report::Stray;
use vault_plan::time::UnixMillis;

use crate::folder::FolderReport;
use crate::platform::Calls;

/// The controller as a whole, at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// How many passes came to their end.
    pub passes: u64,
    /// When the last of them ended.
    pub last_pass_at: Option<UnixMillis>,
    /// How long it took, in milliseconds.
    pub last_pass_ms: i64,
    /// The calls that it made.
    pub last_pass_calls: Calls,
    /// The actions that it carried out.
    pub last_pass_actions: usize,
    /// How many tenants there are.
    pub tenants: usize,
    /// The names of those that are Ready.
    pub ready: BTreeSet<String>,
    /// What cannot be reached or written, as sentences; empty if all is well.
    pub troubles: Vec<String>,
    /// What the watched folder says; `None` until it was taken in once.
    pub folder: Option<FolderReport>,
    /// Machines with our mark and no tenant.
    pub strays: Vec<Stray>,
}
