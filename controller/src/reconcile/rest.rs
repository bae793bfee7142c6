//! Passes in between: while nothing moved since a whole look that left nothing to do, nothing is
//! planned.
//!
//! ```text
//!   pass ─▶ Rest of the last whole pass?
//!             │ none, or it is used up, or something moved ─▶ whole: load, lists, settle, plan, execute
//!             └ all is as it was ─────────────────────────▶ what the whole pass found, once more
//! ```
//!
//! A plan follows from what is stored, what is observed and the time. A pass that left nothing to do
//! and nothing to wait for is therefore true for as long as none of these moved: the store's counter
//! is the same, agents told nothing new, lists of changes show no machine that changed, and no
//! instant has come that the whole pass named. What no such comparison can see makes every pass a whole one: open intents, gaps, tenants that are not
//! Ready, secrets that are read from files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vault_api::tenant::DeletionPolicy;
use vault_plan::bucket::{ObservedStorage, StorageLook};
use vault_plan::desired::DesiredSecret;
use vault_plan::time::UnixMillis;
use vault_plan::token::TokenState;
use vault_plan::tombstone::{Tombstone, TombstoneKind};

use super::{Pass, Planned, Reconciler, StoreError};
use crate::clock::Clock;
use crate::observe::Seen;
use crate::platform::Platform;
use crate::store::{Kind, Store};

/// For how long after its grace a tombstone is looked at in every pass, in milliseconds: what is held
/// back longer waits for a person, or for its app, and not for a moment.
const MATURE_MS: i64 = 86_400_000;

/// What a whole pass was made from, and what it found. All of it may be lost.
#[derive(Debug)]
pub(super) struct Rest {
    basis: Basis,
    organizations: BTreeMap<String, Seen>,
    /// When the whole pass began.
    began: UnixMillis,
    /// How many passes in between are left.
    left: u32,
    pass: Pass,
}

/// What a pass begins with, besides the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Basis {
    objects_version: i64,
    agents_news: u64,
    missing: BTreeSet<(Kind, String)>,
}

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// What a pass begins with now.
    pub(super) async fn basis(
        &self,
        missing: &BTreeSet<(Kind, String)>,
    ) -> Result<Basis, StoreError> {
        let agents_news = self.config.agents.news();
        let objects_version = self.store.objects_version().await?;
        Ok(Basis { objects_version, agents_news, missing: missing.clone() })
    }

    /// What the last whole pass found, if nothing moved since. Else that is forgotten.
    pub(super) async fn rested(&self, basis: &Basis) -> Option<Pass> {
        // Taken out, so that whatever happens on the way makes the next pass a whole one.
        let mut rest = self.memory().rest.take()?;
        if rest.left == 0 || rest.basis != *basis || !rest.lasts(self.clock.now()) {
            return None;
        }
        for (organization, seen) in &rest.organizations {
            // One that cannot be asked is told of by the whole look that follows.
            let changes = self.platform.machines_since(organization, seen.since()).await.ok()?;
            if !seen.is_confirmed_by(&changes) {
                return None;
            }
        }
        rest.left -= 1;
        let mut pass = rest.pass.again();
        pass.fleet.floor_reads = rest.organizations.len() as u64;
        self.memory().rest = Some(rest);
        Some(pass)
    }

    /// What is to be remembered of the lists that `planned` was made from, which were asked for after
    /// `began`, if it leaves nothing to do and nothing to wait for.
    pub(super) fn seen_at_rest(
        &self,
        planned: &Planned,
        began: UnixMillis,
    ) -> Option<BTreeMap<String, Seen>> {
        if self.config.sweep_every <= 1 || !planned.is_at_rest(began) {
            return None;
        }
        let organizations = planned.observed.organizations.iter();
        organizations.map(|(slug, lists)| Some((slug.clone(), Seen::of(lists, began)?))).collect()
    }

    /// Remembers a whole pass that began at `began` with `basis` and showed `seen`, if it left nothing
    /// to do.
    pub(super) async fn rest_after(
        &self,
        basis: Basis,
        began: UnixMillis,
        seen: Option<BTreeMap<String, Seen>>,
        pass: &Pass,
    ) -> Result<(), StoreError> {
        let Some(organizations) = seen.filter(|_| pass.is_at_rest()) else { return Ok(()) };
        // Who wrote while the pass ran, it itself perhaps, is taken in by a whole one.
        if self.basis(&basis.missing).await? != basis {
            return Ok(());
        }
        let (left, pass) = (self.config.sweep_every - 1, pass.again());
        let mut memory = self.memory();
        memory.rest = Some(Rest { basis, organizations, began, left, pass });
        // Nobody compares versions before the next whole pass, which reads them from the store.
        memory.edits.forget_versions();
        Ok(())
    }
}

impl Rest {
    /// Whether no instant has come at which the pass would find something else; nor has the clock
    /// been turned back.
    fn lasts(&self, now: UnixMillis) -> bool {
        now >= self.began && self.pass.held_until.is_none_or(|until| now < until)
    }
}

impl Planned {
    /// Whether nothing is open, and nothing depends on what no list and no counter shows.
    fn is_at_rest(&self, now: UnixMillis) -> bool {
        let plan = &self.plan;
        let mut tombstones = self.observed.tombstones.iter();
        let from_files =
            |secret: &DesiredSecret| secret.from.as_ref().is_some_and(|from| from.file.is_some());
        let has_files =
            self.desired.tenants.iter().any(|tenant| tenant.secrets.iter().any(from_files));
        let mut tokens = self.observed.tokens.known.values().flat_map(|known| &known.tokens);
        self.is_settled
            && tokens.all(|token| matches!(token.state, TokenState::Live { .. }))
            && self.observed.tokens.holds.is_empty()
            && is_at_rest(&self.observed.storage)
            && self.unread.is_empty()
            && self.unsettled.is_empty()
            && self.observed.holds.is_empty()
            && !tombstones.any(|tombstone| is_watched(tombstone, now))
            && plan.actions.is_empty()
            && plan.to_confirm.is_empty()
            && plan.tombstones.written.is_empty()
            && plan.tombstones.cleared.is_empty()
            && !has_files
    }
}

/// Whether all that is known of buckets and keys is certain.
fn is_at_rest(storage: &ObservedStorage) -> bool {
    let mut keys = storage.known.values().flat_map(|known| &known.keys);
    let is_seen = matches!(storage.look, StorageLook::Spared | StorageLook::Done);
    is_seen
        && storage.unclear.is_empty()
        && storage.holds.is_empty()
        && keys.all(|key| key.id.is_some())
}

/// Whether something may come of a tombstone at any moment, and not only at an instant that the plan
/// names: it waits for its snapshot, or has matured and is held back by what may end.
fn is_watched(tombstone: &Tombstone, now: UnixMillis) -> bool {
    let waits = tombstone.kind == TombstoneKind::Volume
        && tombstone.policy == DeletionPolicy::Snapshot
        && tombstone.snapshot.is_none();
    let mature_ms = now.since_ms(tombstone.due_at);
    tombstone.is_open() && (waits || (0..MATURE_MS).contains(&mature_ms))
}

impl Pass {
    /// What it found, once more: without what it did, of which at rest there is nothing.
    fn again(&self) -> Self {
        Self {
            tenants: self.tenants,
            ready: Arc::clone(&self.ready),
            held_until: self.held_until,
            strays: self.strays.clone(),
            fleet: self.fleet.clone(),
            ..Self::default()
        }
    }

    /// Whether all tenants are Ready, and nothing is on its way.
    fn is_at_rest(&self) -> bool {
        !self.waiting
            && self.failures == 0
            && self.edit_looks == 0
            && self.ready.len() == self.tenants
    }
}
