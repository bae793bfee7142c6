//! Passes in between: while nothing moved since a whole look that left nothing to do, nothing is
//! planned.
//!
//! ```text
//!   pass ─▶ Rest of the last plan?
//!             │ none, or it is used up, or something moved ─▶ load, lists, settle, plan, execute
//!             ├ a list of changes shows nothing new ────────▶ what the plan's pass found, once more
//!             └ time for whole lists, and they are the same ▶ the same
//! ```
//!
//! A plan follows from what is stored, what is observed and the time. A pass that left nothing to do
//! and nothing to wait for is therefore true for as long as none of these moved: the store's counter
//! is the same, agents told nothing new, files that secrets come from hold what they held, lists of
//! changes show no machine that changed, and no instant has come that the whole pass named.
//!
//! Not all tenants have to be Ready for that: at night some are paused, or fail and wait for their next
//! attempt, and they are no reason to look at all the others whole every time.
//!
//! | What a tenant is left with | What would change it |
//! |---|---|
//! | it is Ready, or paused, or its manifest cannot be carried out | what is stored, a file, or its machines |
//! | its last attempt failed, or somebody has a lease | the instant until which it is held |
//! | it drifted and that is only reported, or a machine is stuck | its machines |
//! | somebody else has its app's name; there is no key to storage | nothing that any pass could do |
//! | it waits, moves, or is held back by the budget or by an outcome | anything, soon: each pass is whole |
//! | its lists leave something out | nothing that a list of changes shows: each pass is whole |
//!
//! What a list of changes cannot show (apps, volumes) is found by the next whole look, as it is for
//! tenants that are Ready. Whole lists that show what the plan was made for need no plan either: the same
//! would come of it. Now and then there is one all the same, for what no list shows (secrets, snapshots,
//! agents) and for facts that grow old; where there are deploy tokens or buckets, each whole look plans,
//! because those have times and lists of their own. Being late is all that can go wrong here: a pass in
//! between decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vault_api::tenant::DeletionPolicy;
use vault_plan::bucket::{ObservedStorage, StorageLook};
use vault_plan::observed::{Hold, HoldKind, Observed};
use vault_plan::report::{Note, NoteReason, TenantReport};
use vault_plan::time::UnixMillis;
use vault_plan::token::TokenState;
use vault_plan::tombstone::{Tombstone, TombstoneKind};

use super::publish::ABSENT_PASSES;
use super::{Objects, Pass, Planned, Reconciler, StoreError};
use crate::clock::Clock;
use crate::identity::SecretFiles;
use crate::observe::{Seen, observe};
use crate::platform::Platform;
use crate::store::{Kind, Store};

/// For how long after its grace a tombstone is looked at in every pass, in milliseconds: what is held
/// back longer waits for a person, or for its app, and not for a moment.
const MATURE_MS: i64 = 86_400_000;

/// What a whole pass was made from, and what it found. All of it may be lost.
#[derive(Debug)]
pub(super) struct Rest {
    basis: Basis,
    still: Still,
    /// When the whole pass began.
    began: UnixMillis,
    /// How many passes are left before whole lists are read.
    left: u32,
    /// How many whole looks may be left without a plan.
    looks_left: u32,
    pass: Pass,
}

/// What a whole pass saw that left nothing to do, and how long that lasts.
#[derive(Debug)]
pub(super) struct Still {
    organizations: BTreeMap<String, Seen>,
    /// What the secrets from files were.
    files: SecretFiles,
    /// When the first tenant that is held is to be looked at again.
    until: Option<UnixMillis>,
    /// There are deploy tokens or buckets, which have times and lists of their own.
    needs_plans: bool,
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

    /// What the last plan's pass found, if nothing moved since. Else that is forgotten.
    pub(super) async fn rested(&self, basis: &Basis) -> Option<Pass> {
        // Taken out, so that whatever happens on the way makes the next pass plan.
        let mut rest = self.memory().rest.take()?;
        let now = self.clock.now();
        if rest.basis != *basis || !rest.lasts(now) {
            return None;
        }
        if !self.config.secrets.are_same(&rest.still.files) {
            return None;
        }
        let mut pass = rest.pass.again();
        if rest.left > 0 {
            self.nothing_changed(&rest.still).await?;
            rest.left -= 1;
            pass.fleet.floor_reads = rest.still.organizations.len() as u64;
        } else {
            rest.looks_left = rest.looks_left.checked_sub(1)?;
            rest.still.organizations = self.nothing_differs(&rest.still, now).await?;
            (rest.left, rest.began) = (self.config.sweep_every - 1, now);
            pass.swept = true;
        }
        self.memory().rest = Some(rest);
        Some(pass)
    }

    /// Whether lists of changes show nothing new.
    async fn nothing_changed(&self, still: &Still) -> Option<()> {
        for (organization, seen) in &still.organizations {
            // One that cannot be asked is told of by the whole look that follows.
            let changes = self.platform.machines_since(organization, seen.since()).await.ok()?;
            if !seen.is_confirmed_by(&changes) {
                return None;
            }
        }
        Some(())
    }

    /// What whole lists, asked for at `now`, show, if it is what they showed before.
    async fn nothing_differs(
        &self,
        still: &Still,
        now: UnixMillis,
    ) -> Option<BTreeMap<String, Seen>> {
        let organizations: BTreeSet<String> = still.organizations.keys().cloned().collect();
        // What is known and not listed is asked for when it turns out to be missing.
        let look = observe(&*self.platform, &organizations, &BTreeMap::new(), now).await;
        let seen = still.organizations.iter().map(|(slug, seen)| {
            let lists = look.organizations.get(slug).filter(|lists| seen.is_shown_by(lists))?;
            Some((slug.clone(), Seen::of(lists, now)?))
        });
        seen.collect()
    }

    /// What is to be remembered of what `planned` was made from, whose lists were asked for after
    /// `began`, if it leaves nothing to do and nothing to wait for.
    pub(super) fn seen_at_rest(
        &self,
        objects: &mut Objects,
        planned: &Planned,
        began: UnixMillis,
    ) -> Option<Still> {
        if self.config.sweep_every <= 1 || !planned.is_at_rest(began) {
            return None;
        }
        let reports = objects.tenants.iter().zip(&planned.plan.report.tenants);
        for (tenant, report) in reports {
            // What has to be seen to be gone twice is not gone for as long as nobody looks.
            let is_gone = tenant.torn_down
                && report.gone
                && self.has_been_absent(&tenant.name, ABSENT_PASSES);
            if !is_gone && !lasts(report, planned.observed.holds.get(&tenant.name)) {
                return None;
            }
        }
        let organizations = planned.observed.organizations.iter();
        let seen = organizations.map(|(slug, lists)| Some((slug.clone(), Seen::of(lists, began)?)));
        Some(Still {
            organizations: seen.collect::<Option<_>>()?,
            files: std::mem::take(&mut objects.files),
            until: first_until(&planned.observed),
            needs_plans: !planned.observed.tokens.known.is_empty()
                || !planned.observed.tokens.looks.is_empty()
                || planned.observed.storage.look != StorageLook::Spared,
        })
    }

    /// Remembers a whole pass that began at `began` with `basis` and left things as `still` has them.
    pub(super) async fn rest_after(
        &self,
        basis: Basis,
        began: UnixMillis,
        still: Option<Still>,
        pass: &Pass,
    ) -> Result<(), StoreError> {
        let Some(still) = still.filter(|_| pass.is_at_rest()) else { return Ok(()) };
        // Who wrote while the pass ran, it itself perhaps, is taken in by a whole one.
        if self.basis(&basis.missing).await? != basis {
            return Ok(());
        }
        let (left, pass) = (self.config.sweep_every - 1, pass.again());
        let looks_left = if still.needs_plans { 0 } else { self.config.plan_every.max(1) - 1 };
        let mut memory = self.memory();
        memory.rest = Some(Rest { basis, still, began, left, looks_left, pass });
        // Nobody compares versions before the next plan, which reads them from the store.
        memory.edits.forget_versions();
        Ok(())
    }
}

impl Rest {
    /// Whether no instant has come at which the pass would find something else; nor has the clock
    /// been turned back.
    fn lasts(&self, now: UnixMillis) -> bool {
        let mut instants = self.pass.held_until.iter().chain(&self.still.until);
        now >= self.began && instants.all(|until| now < *until)
    }
}

impl Planned {
    /// Whether nothing is open but what tenants' reports tell of.
    fn is_at_rest(&self, now: UnixMillis) -> bool {
        let plan = &self.plan;
        let mut tombstones = self.observed.tombstones.iter();
        let mut tokens = self.observed.tokens.known.values().flat_map(|known| &known.tokens);
        self.is_settled
            && tokens.all(|token| matches!(token.state, TokenState::Live { .. }))
            && is_at_rest(&self.observed.storage)
            && self.unread.is_empty()
            && self.unsettled.is_empty()
            && !tombstones.any(|tombstone| is_watched(tombstone, now))
            && plan.actions.is_empty()
            && plan.to_confirm.is_empty()
            && plan.tombstones.written.is_empty()
            && plan.tombstones.cleared.is_empty()
    }
}

/// Whether all that is known of buckets and keys is certain.
fn is_at_rest(storage: &ObservedStorage) -> bool {
    let mut keys = storage.known.values().flat_map(|known| &known.keys);
    !matches!(storage.look, StorageLook::Failed(_))
        && storage.unclear.is_empty()
        && keys.all(|key| key.id.is_some())
}

/// When the first of all holds ends.
fn first_until(observed: &Observed) -> Option<UnixMillis> {
    let holds = observed.holds.values().chain(observed.tokens.holds.values());
    holds.chain(observed.storage.holds.values()).map(|hold| hold.until).min()
}

/// Whether a tenant, held by `hold` or not, stays as its report says until something moves or its hold
/// ends. One that is not Ready, and of which nobody knows why, does not.
fn lasts(report: &TenantReport, hold: Option<&Hold>) -> bool {
    let is_explained = report.notes.iter().any(|note| !note.reason.harmless());
    (report.ready() || is_explained) && report.notes.iter().all(|note| note_lasts(note, hold))
}

fn note_lasts(note: &Note, hold: Option<&Hold>) -> bool {
    match note.reason {
        NoteReason::Waiting => is_leased(note, hold),
        NoteReason::BackOff
        | NoteReason::DriftDetected
        | NoteReason::Invalid
        | NoteReason::Kept
        | NoteReason::NameTaken
        | NoteReason::NoStorageKey
        | NoteReason::NotSupported
        | NoteReason::Paused
        | NoteReason::Refused
        | NoteReason::Stuck => true,
        NoteReason::BudgetExhausted
        | NoteReason::Relocating
        | NoteReason::Unobserved
        | NoteReason::Unsettled => false,
    }
}

/// Whether what is waited for is the end of somebody's lease: that has an instant, and nothing comes of
/// looking before it.
pub(super) fn is_leased(note: &Note, hold: Option<&Hold>) -> bool {
    let leased = hold.filter(|hold| matches!(hold.kind, HoldKind::Leased { .. }));
    leased.is_some_and(|hold| hold.message == note.message)
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

    /// Whether nothing is on its way.
    fn is_at_rest(&self) -> bool {
        !self.waiting && self.failures == 0 && self.edit_looks == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: UnixMillis = UnixMillis(1_000);

    fn report(ready: bool, notes: &[NoteReason]) -> TenantReport {
        TenantReport {
            tenant: "acme".into(),
            app_exists: ready,
            notes: notes.iter().map(|reason| Note::new(*reason, reason.word())).collect(),
            machines: Vec::new(),
            tokens: Vec::new(),
            storage: None,
            gone: false,
            deletion: None,
        }
    }

    fn leased(message: &str) -> Hold {
        let kind = HoldKind::Leased { until: Some(UNTIL) };
        Hold { until: UNTIL, message: message.to_owned(), kind }
    }

    #[test]
    fn what_lasts_until_something_moves_and_what_does_not() {
        use NoteReason::*;
        for lasting in [
            BackOff,
            DriftDetected,
            Invalid,
            NameTaken,
            NoStorageKey,
            NotSupported,
            Paused,
            Refused,
            Stuck,
        ] {
            assert!(lasts(&report(false, &[lasting]), None), "{lasting:?}");
            assert!(lasts(&report(true, &[Kept, lasting]), None), "{lasting:?}");
            assert!(!lasts(&report(false, &[lasting, Waiting]), None), "{lasting:?}");
        }
        for passing in [BudgetExhausted, Relocating, Unobserved, Unsettled, Waiting] {
            assert!(!lasts(&report(false, &[passing]), None), "{passing:?}");
            assert!(!lasts(&report(true, &[passing, Paused]), None), "{passing:?}");
        }
        assert!(lasts(&report(true, &[]), None));
        assert!(lasts(&report(true, &[Kept]), None));
        // Not Ready, and no word why: something is about to happen.
        assert!(!lasts(&report(false, &[]), None));
        assert!(!lasts(&report(false, &[Kept]), None));
    }

    #[test]
    fn a_lease_lasts_until_its_end_and_nothing_else_that_is_waited_for_does() {
        let waits = report(false, &[NoteReason::Waiting]);
        let word = NoteReason::Waiting.word();
        assert!(lasts(&waits, Some(&leased(word))));
        assert!(!lasts(&waits, Some(&leased("another machine"))));
        let back_off = Hold { kind: HoldKind::BackOff, ..leased(word) };
        assert!(!lasts(&waits, Some(&back_off)));
    }

    #[test]
    fn the_first_hold_that_ends_is_the_end_of_rest() {
        let hold = |until| Hold { until: UnixMillis(until), ..leased("") };
        let mut observed = Observed::default();
        assert_eq!(first_until(&observed), None);
        observed.storage.holds.insert("c".to_owned(), hold(30));
        assert_eq!(first_until(&observed), Some(UnixMillis(30)));
        observed.tokens.holds.insert("b".to_owned(), hold(10));
        observed.holds.insert("a".to_owned(), hold(20));
        assert_eq!(first_until(&observed), Some(UnixMillis(10)));
    }
}
