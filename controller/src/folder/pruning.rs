//! Which tenants go because their documents did, and how many of them at once.
//!
//! ```text
//!   missing for a while ─▶ folder without problems? ─▶ not too many, and not all? ─▶ deleted
//!                                 └ no ─▶ nothing ◀─ no ┘   (unless --allow-mass-delete, once)
//! ```
//!
//! A folder is emptied by a checkout that failed, a mount that is away, a path that was mistyped.
//! Nobody means that as the end of their tenants.

use std::collections::{BTreeMap, VecDeque};

use vault_plan::time::UnixMillis;

use super::{Change, Files, Intake};
use crate::accept::finalizers;
use crate::store::{Kind, StoredObject};

/// How long a document must have been missing before its tenant is pruned.
const PRUNE_AFTER_MS: i64 = 3_000;

/// So many tenants may go together whatever their share is.
const MASS_MIN: usize = 3;

/// The share of a folder's tenants that may go together, in percent.
const MASS_PERCENT: usize = 20;

/// What goes within this time goes together, in milliseconds: files that vanish one by one are seen
/// one by one.
const TOGETHER_MS: i64 = 600_000;

/// What is remembered of what went.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    /// Somebody said that more may go, once.
    pub(super) allow_once: bool,
    /// When tenants were pruned, the oldest first: at most as many as there were tenants.
    pruned_at: VecDeque<UnixMillis>,
}

impl Pruning {
    /// How many went lately.
    fn lately(&mut self, now: UnixMillis) -> usize {
        self.pruned_at.retain(|at| now.since_ms(*at).max(at.since_ms(now)) < TOGETHER_MS);
        self.pruned_at.len()
    }
}

/// Whether so many of so many tenants are more than may go together.
#[must_use]
pub(crate) fn is_mass(going: usize, of: usize) -> bool {
    going > MASS_MIN.max(of * MASS_PERCENT / 100)
}

impl Intake<'_> {
    /// Marks tenants for deletion that have been missing for a while; and whether there are some
    /// that may be pruned later. Classes stay: they cost nothing, and a tenant may come back.
    pub(super) fn prune(
        &mut self,
        files: &Files,
        missing_since: &BTreeMap<(Kind, String), UnixMillis>,
        pruning: &mut Pruning,
    ) -> (Vec<Change>, bool) {
        let missing: Vec<(&StoredObject, UnixMillis)> = missing_since
            .iter()
            .filter(|((kind, _), _)| *kind == Kind::Tenant)
            .filter_map(|(key, since)| Some((self.stored.0.get(key)?, *since)))
            .filter(|(object, _)| object.deleted_at.is_none())
            .collect();
        if missing.is_empty() {
            return (Vec::new(), false);
        }
        let count = missing.len();
        let lately = pruning.lately(self.now);
        let of = self.report.tenants.len() + count + lately;
        let (obstacle, is_mass) = if files.readings.iter().any(|it| !it.problems.is_empty()) {
            (Some("the folder has problems".to_owned()), false)
        } else if self.report.tenants.is_empty() {
            (Some("the folder holds no tenant any more".to_owned()), true)
        } else if is_mass(count + lately, of) {
            let message = format!("{} of {of} tenants of the folder would go", count + lately);
            (Some(message), true)
        } else {
            (None, false)
        };
        let is_allowed = is_mass && pruning.allow_once;
        if let Some(obstacle) = obstacle.filter(|_| !is_allowed) {
            self.refuse(&obstacle, &missing, is_mass);
            return (Vec::new(), false);
        }
        let due: Vec<Change> = missing
            .into_iter()
            .filter(|(_, since)| self.now.since_ms(*since) >= PRUNE_AFTER_MS)
            .map(|(object, _)| (finalizers::deleted(object, self.now), "pruned"))
            .collect();
        let later = due.len() < count;
        if is_allowed && !later {
            pruning.allow_once = false;
        } else {
            pruning.pruned_at.extend(due.iter().map(|_| self.now));
        }
        (due, later)
    }

    fn refuse(&mut self, obstacle: &str, missing: &[(&StoredObject, UnixMillis)], is_mass: bool) {
        /// How many names a message holds: enough to see what it is about.
        const NAMES_MAX: usize = 5;
        let names: Vec<&str> =
            missing.iter().take(NAMES_MAX).map(|(object, _)| object.name.as_str()).collect();
        let more = if missing.len() > NAMES_MAX { ", …" } else { "" };
        let way = match is_mass {
            true => "delete them by name, or start with --allow-mass-delete,",
            false => "delete them by name",
        };
        self.report.problems.push(format!(
            "{obstacle}; refusing to prune what is missing ({} tenants: {}{more}): {way} if that \
             is meant",
            missing.len(),
            names.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_go_whatever_the_share_and_else_a_fifth() {
        for (going, of, mass) in [
            (1, 1, false),
            (3, 3, false),
            (3, 100, false),
            (4, 4, true),
            (4, 19, true),
            (4, 20, false),
            (5, 24, true),
            (5, 25, false),
            (20, 100, false),
            (21, 100, true),
            (2_000, 10_000, false),
            (2_001, 10_000, true),
        ] {
            assert_eq!(is_mass(going, of), mass, "{going} of {of}");
        }
    }

    #[test]
    fn what_went_long_ago_no_longer_counts() {
        let mut pruning = Pruning::default();
        let now = UnixMillis(10_000_000);
        pruning.pruned_at.extend([now, now, now.plus_ms(TOGETHER_MS / 2)]);
        assert_eq!(pruning.lately(now.plus_ms(1)), 3);
        assert_eq!(pruning.lately(now.plus_ms(TOGETHER_MS)), 1);
        assert_eq!(pruning.lately(now.plus_ms(2 * TOGETHER_MS)), 0);
    }
}
