//! What moved since a whole look: one list of changes, compared with what the whole look showed.
//!
//! ```text
//!   whole look ─▶ Seen: `since`, fingerprints of rows that changed after it, all ids
//!                   │
//!   list of changes after `since` ─▶ the same rows again, and of no id that was listed the end?
//!                   │ yes                                     │ no, or it cannot be said
//!                   ▼                                         ▼
//!              nothing moved                            a whole look
//! ```
//!
//! `since` lies an overlap before the look, because lists are views of a moment that lag: a change may
//! turn up late, with its old time. What the overlap contains is told again with each list of changes;
//! it is news only if it is not what the whole look showed. Of that a fingerprint per row is kept: after
//! a whole fleet was made, all of its rows are in the overlap, and they are the larger part of a fleet.
//!
//! Why this is safe: nothing is ever decided on a list of changes. It can say that all is as it was,
//! and then nothing is done; else the pass looks whole, and concludes from absence what it may conclude
//! from whole lists and from answers by id. A change that no list of changes shows (of an app or of a
//! volume, or one that comes later than the overlap) waits for the next whole look, which is at most
//! [`crate::reconcile::ReconcileConfig::sweep_every`] passes away.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use vault_plan::observed::{ObservedMachine, ObservedOrganization, PlatformState};
use vault_plan::time::UnixMillis;

use crate::platform::MachineList;

/// How much later than its time a change may turn up in lists, in milliseconds. The platform promises
/// nothing; a minute is more than was ever seen, and costs a few rows.
const OVERLAP_MS: i64 = 60_000;
/// How far the platform's clock may be behind ours, in milliseconds: both follow network time.
const CLOCK_SKEW_MAX_MS: i64 = 60_000;

/// What a whole look showed of the machines of one organization.
#[derive(Debug)]
pub struct Seen {
    since: UnixMillis,
    /// Makes fingerprints, by a key of its own: 64 bits say of two rows that they are the same, and are
    /// wrong once in 10¹⁹ rows; then the next whole look shows it.
    fingerprints: RandomState,
    /// Of all rows of all lists, whatever their order.
    whole: u64,
    /// All ids, each with the fingerprint of its row if that changed after `since`.
    rows: HashMap<Box<str>, Option<u64>>,
}

impl Seen {
    /// What is remembered of whole lists that were asked for at `asked_at`. `None` if they leave
    /// something out, or show a machine without the time of its last change: of those, lists of
    /// changes prove nothing.
    #[must_use]
    pub fn of(lists: &ObservedOrganization, asked_at: UnixMillis) -> Option<Self> {
        if lists.gaps.any().is_some() || !lists.gaps.volumes.is_empty() {
            return None;
        }
        let mut newest = asked_at.plus_ms(-CLOCK_SKEW_MAX_MS);
        for machine in &lists.machines {
            newest = newest.max(machine.updated_at?);
        }
        let since = newest.plus_ms(-OVERLAP_MS);
        let fingerprints = RandomState::new();
        let row = |machine: &ObservedMachine| {
            let moved = machine.updated_at.is_some_and(|at| at > since);
            (machine.id.as_str().into(), moved.then(|| fingerprints.hash_one(machine)))
        };
        let rows = lists.machines.iter().map(row).collect();
        let whole = whole(&fingerprints, lists);
        Some(Self { since, fingerprints, whole, rows })
    }

    /// Whether whole lists show what these did, and leave nothing out.
    #[must_use]
    pub fn is_shown_by(&self, lists: &ObservedOrganization) -> bool {
        lists.gaps.any().is_none()
            && lists.gaps.volumes.is_empty()
            && whole(&self.fingerprints, lists) == self.whole
    }

    /// After which time changes are to be asked for.
    #[must_use]
    pub fn since(&self) -> UnixMillis {
        self.since
    }

    /// Whether a list of the changes after [`Self::since`] shows that nothing moved.
    #[must_use]
    pub fn is_confirmed_by(&self, changes: &MachineList) -> bool {
        if !changes.error_regions.is_empty() || changes.unreadable > 0 {
            return false;
        }
        let mut confirmed = 0;
        for machine in &changes.machines {
            match self.rows.get(machine.id.as_str()) {
                Some(Some(seen)) if *seen == self.fingerprints.hash_one(machine) => confirmed += 1,
                // The platform's times are finer than ours: a row of the very moment is none after it.
                Some(None) if machine.updated_at == Some(self.since) => {}
                // It was gone before the whole look.
                None if machine.state == PlatformState::Destroyed => {}
                Some(_) | None => return false,
            }
        }
        confirmed == self.rows.values().flatten().count()
    }
}

/// A sum, because rows come in any order: 64 bits of a key that nobody knows, as for each row.
fn whole(by: &RandomState, lists: &ObservedOrganization) -> u64 {
    let ObservedOrganization { id, apps, app_ids, machines, volumes, gaps: _ } = lists;
    // What they are is part of it: an app's name is no volume.
    let organization = by.hash_one(("organization", id));
    let apps = apps.iter().map(|app| by.hash_one(("app", app)));
    let app_ids = app_ids.iter().map(|named| by.hash_one(("id", named)));
    let machines = machines.iter().map(|machine| by.hash_one(("machine", machine)));
    let volumes = volumes.iter().map(|volume| by.hash_one(("volume", volume)));
    let rows = apps.chain(app_ids).chain(machines).chain(volumes);
    rows.fold(organization, u64::wrapping_add)
}

#[cfg(test)]
mod tests;
