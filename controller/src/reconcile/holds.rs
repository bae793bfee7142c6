//! What did not work for a tenant, and until when it is left alone for that.
//!
//! ```text
//!   turns that ended ─▶ remember ─▶ Setbacks ─▶ held_back ─▶ the next plan
//!                                      └─ forget_setbacks: of tenants that nobody knows any more
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};

use vault_plan::action::ActionKind;
use vault_plan::observed::Hold;
use vault_plan::time::UnixMillis;
use vault_plan::tombstone::Tombstone;

use super::{Objects, Reconciler, tombstones};
use crate::clock::Clock;
use crate::execute::Turn;
use crate::platform::Platform;
use crate::store::Store;

/// All tenants that something may have failed for, with what changes when somebody changes what they
/// should be: those that there are, those that tombstones name, and those whose credentials are left.
pub(super) fn revisions<'a>(
    objects: &'a Objects,
    standing: &'a [Tombstone],
    leftovers: &'a BTreeSet<String>,
) -> impl Iterator<Item = (&'a str, i64)> {
    let own = objects.tenants.iter();
    let own = own.map(|tenant| (tenant.name.as_str(), objects.revision(tenant)));
    own.chain(tombstones::revisions(standing, objects))
        .chain(leftovers.iter().map(|name| (name.as_str(), 0)))
}

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// The tenants whose last attempt failed.
    pub(super) fn held_back(
        &self,
        objects: &Objects,
        standing: &[Tombstone],
        now: UnixMillis,
    ) -> BTreeMap<String, Hold> {
        let memory = self.memory();
        let leftovers = memory.leftovers.names();
        memory.setbacks.holds(revisions(objects, standing, &leftovers), now)
    }

    /// Notes what worked and what did not; how many failed.
    pub(super) fn remember(&self, objects: &Objects, turns: &[Turn]) -> usize {
        let now = self.clock.now();
        let revisions: HashMap<&str, i64> = objects
            .tenants
            .iter()
            .map(|tenant| (tenant.name.as_str(), objects.revision(tenant)))
            .collect();
        for turn in turns {
            let revision = revisions.get(turn.tenant.as_str()).copied().unwrap_or(0);
            let is_about_tokens = self.remember_tokens(turn, revision, now)
                || self.remember_storage(turn, revision, now);
            let mut memory = self.memory();
            match turn.failure.as_ref().filter(|_| !is_about_tokens) {
                Some(failure) => memory.setbacks.failed(
                    &turn.tenant,
                    revision,
                    failure.hold,
                    failure.message.clone(),
                    now,
                ),
                None => memory.setbacks.worked(&turn.tenant),
            }
            for done in &turn.done {
                match done.kind {
                    ActionKind::StartMachine => {
                        memory.setbacks.started(&turn.tenant, revision, &done.name, now);
                    }
                    ActionKind::UpdateMachine => {
                        memory.setbacks.updated(&turn.tenant, revision, &done.name, now);
                        memory.edits.forget_versions();
                    }
                    ActionKind::CreateMachine => memory.edits.forget_versions(),
                    _ => {}
                }
            }
        }
        turns.iter().filter(|turn| turn.has_failed()).count()
    }

    /// Forgets the setbacks of tenants that are no more; when the first of the others may be tried
    /// again.
    pub(super) fn forget_setbacks(
        &self,
        objects: &Objects,
        buried: &BTreeSet<String>,
    ) -> Option<UnixMillis> {
        let now = self.clock.now();
        let names: BTreeSet<&str> =
            objects.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        let mut memory = self.memory();
        let left = memory.leftovers.names();
        let is_known = |tenant: &str| {
            names.contains(tenant) || buried.contains(tenant) || left.contains(tenant)
        };
        memory.setbacks.keep_only(is_known, now);
        memory.changes.keep_only(&names);
        memory.token_setbacks.keep_only(is_known, now);
        memory.storage_setbacks.keep_only(is_known, now);
        let held = [
            memory.setbacks.next_until(now),
            memory.token_setbacks.next_until(now),
            memory.storage_setbacks.next_until(now),
        ];
        held.into_iter().flatten().min()
    }
}
