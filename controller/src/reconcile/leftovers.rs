//! When lists are read that no tenant asks for: of buckets and keys where nobody wants a bucket, and of
//! deploy tokens where nobody wants one.
//!
//! ```text
//!   a process starts ─▶ look ─▶ once more, when nothing that was sent before can act any more ─▶ once a day
//! ```
//!
//! Whoever wants nothing pays for no list, so what a lost database forgot would stay at the platform
//! for ever. That a database is new could be written into it, but not that an older one was put back:
//! all that it says is older too, and the platform keeps no mark of ours that could tell. But nobody
//! puts a file in the place of one that a process has open, so each start of a process is taken for
//! the first after a loss, which costs three calls. Once a day is for what no start explains.

use std::collections::BTreeSet;
use std::sync::Arc;

use vault_plan::action::Plan;
use vault_plan::desired::Desired;
use vault_plan::leftovers::suspects;
use vault_plan::observed::Observed;
use vault_plan::time::UnixMillis;

use super::{Reconciler, Settle};
use crate::clock::Clock;
use crate::platform::Platform;
use crate::store::Store;

/// How long it is from one look to the next, in milliseconds: a day. Nothing new comes to what is
/// looked for here while a database lives.
const EVERY_MS: i64 = 86_400_000;
/// How long after the first look of a process the second one is, in milliseconds: a call that an earlier
/// process sent has acted by then, or never will.
const SECOND_MS: i64 = 60_000;
/// How long it is to the next look where the last one could not be made, in milliseconds.
const RETRY_MS: i64 = 600_000;
/// How long it is to the next look where something was left, in milliseconds: it is being revoked, or
/// its tenant's app is still there.
const LEFT_MS: i64 = 10_000;

/// What a look showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing that is not wanted.
    Clean,
    /// Something of ours that nobody wants.
    Left,
    /// It could not be made.
    Failed,
}

/// When one list is read next. It may be lost: then the process has just begun.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RareLook {
    next_at: Option<UnixMillis>,
    /// When a look first showed nothing that is not wanted.
    clean_since: Option<UnixMillis>,
}

impl RareLook {
    /// Whether it is time to look. A clock that was set back does not put it off.
    pub(super) fn is_due(&self, now: UnixMillis) -> bool {
        self.next_at.is_none_or(|at| now >= at || at.since_ms(now) > EVERY_MS)
    }

    /// Notes what a look at `now` showed. Looks that others asked for come at any time, and so one that
    /// follows the first too soon is not taken for the second.
    pub(super) fn looked(&mut self, sight: Sight, now: UnixMillis) {
        let next_at = match sight {
            Sight::Failed => now.plus_ms(RETRY_MS),
            Sight::Left => now.plus_ms(LEFT_MS),
            Sight::Clean => {
                let second_at = self.clean_since.get_or_insert(now).plus_ms(SECOND_MS);
                if now < second_at { second_at } else { now.plus_ms(EVERY_MS) }
            }
        };
        self.next_at = Some(next_at);
    }
}

/// What the last plan found of credentials that no tenant has.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// A bucket explains some of them: the next pass looks at all organizations.
    is_suspicious: bool,
    /// The tenants whose credentials are to go.
    names: Arc<BTreeSet<String>>,
}

impl Leftovers {
    /// The tenants whose credentials are to go: what did not work for them is remembered like that
    /// of tenants that are known.
    pub(super) fn names(&self) -> Arc<BTreeSet<String>> {
        Arc::clone(&self.names)
    }

    /// Takes in a plan, and what it was made from.
    pub(super) fn follow(&mut self, desired: &Desired, observed: &Observed, plan: &Plan) {
        let suspects = suspects(&desired.controller, &desired.tenants, observed);
        self.is_suspicious = !suspects.is_empty();
        if *self.names != plan.leftovers {
            self.names = Arc::new(plan.leftovers.clone());
        }
    }
}

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Adds all organizations that the token covers if the last plan suspects that a tenant is gone:
    /// it may live in one that nobody asks for. Answers whether they are all of them.
    pub(super) async fn add_all_if_suspicious(
        &self,
        organizations: &mut BTreeSet<String>,
        mode: Settle,
    ) -> bool {
        if mode == Settle::Only || !self.memory().leftovers.is_suspicious {
            return false;
        }
        // One that cannot be asked leaves what is suspected for the next pass.
        let Ok(all) = self.platform.organizations().await else { return false };
        organizations.extend(all);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::NOW;

    #[test]
    fn a_process_looks_twice_and_then_once_a_day_and_sooner_where_something_is_left() {
        let mut look = RareLook::default();
        assert!(look.is_due(NOW));
        let mut at = NOW;
        for (sight, wait_ms) in [
            (Sight::Failed, RETRY_MS),
            (Sight::Left, LEFT_MS),
            (Sight::Clean, SECOND_MS),
            (Sight::Clean, EVERY_MS),
            (Sight::Left, LEFT_MS),
            (Sight::Clean, EVERY_MS),
        ] {
            look.looked(sight, at);
            assert!(!look.is_due(at) && !look.is_due(at.plus_ms(wait_ms - 1)), "{sight:?}");
            at = at.plus_ms(wait_ms);
            assert!(look.is_due(at), "{sight:?}");
        }
        look.looked(Sight::Clean, at);
        assert!(look.is_due(at.plus_ms(-EVERY_MS)), "the clock was set back");
    }

    #[test]
    fn a_look_that_others_ask_for_right_after_the_first_is_not_the_second() {
        let mut look = RareLook::default();
        look.looked(Sight::Clean, NOW);
        look.looked(Sight::Clean, NOW.plus_ms(66));
        assert!(!look.is_due(NOW.plus_ms(SECOND_MS - 1)));
        assert!(look.is_due(NOW.plus_ms(SECOND_MS)));
    }
}
