//! The part of a pass that does not believe a list which falls back behind one before.

use std::collections::BTreeMap;

use vault_plan::observed::ObservedOrganization;
use vault_plan::time::UnixMillis;

use super::{Reconciler, Settle};
use crate::clock::Clock;
use crate::platform::Platform;
use crate::settle::{Settled, TakenDown};
use crate::store::{Intent, Store, StoreError};

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Holds the tenants whose machines the lists show as they were before we took them down, though
    /// an earlier list showed that they were.
    pub(super) async fn hold_what_fell_back(
        &self,
        open: &[Intent],
        settled: &mut Settled,
        organizations: &BTreeMap<String, ObservedOrganization>,
        now: UnixMillis,
        mode: Settle,
    ) -> Result<(), StoreError> {
        let settle_after = self.config.settle_after;
        let remembered = self.memory().taken_down.clone();
        let mut taken_down = match remembered {
            Some(taken_down) => taken_down,
            // A process that has just begun knows only what stands in the journal.
            None => {
                let wait_ms = i64::try_from(settle_after.as_millis()).unwrap_or(i64::MAX);
                let since = UnixMillis(now.0.saturating_sub(wait_ms));
                let verified = self.store.intents_verified_since(since).await?;
                TakenDown::of(verified, settle_after, now)
            }
        };
        taken_down.follow(open, &settled.settlements, settle_after, now);
        taken_down.hold(settled, organizations);
        if mode == Settle::Write {
            self.memory().taken_down = Some(taken_down);
        }
        Ok(())
    }
}
