//! One pass: load, observe, settle, plan, execute, publish. It takes no hint.

mod agents;
mod changes;
mod doubts;
mod edits;
mod fallback;
mod holds;
mod leftovers;
mod named;
mod objects;
mod publish;
mod rest;
mod secrets;
mod storage;
mod tokens;
mod tombstones;
mod under_way;
mod usage;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use vault_plan::action::Plan;
use vault_plan::desired::Desired;
use vault_plan::identity::ControllerId;
use vault_plan::observed::{Observed, ObservedOrganization};
use vault_plan::policy::Policy;
use vault_plan::report::Stray;
use vault_plan::time::UnixMillis;

use crate::agents::Agents;
use crate::clock::Clock;
use crate::confirm::{confirm, confirm_apps, put_off};
use crate::events::Event;
use crate::execute::{Seams, Standing, Turn, Turns, Work};
use crate::fleet::Fleet;
use crate::identity::TenantSecrets;
use crate::metrics::{Metrics, PassResult};
use crate::observe::{ObserveError, observe};
use crate::platform::{Calls, Platform};
use crate::secrets::observed as observed_secrets;
use crate::setback::Setbacks;
use crate::settle::{TakenDown, settle};
use crate::slices::Slices;
use crate::snapshots;
use crate::store::{Kind, LiveUsage, Store, StoreError};
use crate::tokens::Looks;
use changes::Changes;
use edits::EditLooks;
use leftovers::{Leftovers, RareLook};
use objects::KnownIds;
pub use objects::{Objects, TenantObject};
pub(crate) use publish::DELETED;
use rest::Rest;
use storage::StorageLooks;
pub use usage::retained_since;

/// What a reconciler needs to know besides its seams.
#[derive(Clone, Debug)]
pub struct ReconcileConfig {
    /// The identity of this controller.
    pub controller: ControllerId,
    /// The organization of tenants that name none.
    pub organization: String,
    /// The planner's limits.
    pub policy: Policy,
    /// How long a call whose answer was lost may still take effect.
    pub settle_after: Duration,
    /// Derives tenants' secrets.
    pub secrets: Arc<TenantSecrets>,
    /// What is known of agents, and the way to have them asked.
    pub agents: Arc<Agents>,
    /// The address of the issuer of machines' identities, without the organization.
    pub oidc_issuer: String,
    /// How long deleted machines stay in the usage facts.
    pub usage_retention: Duration,
    /// What is counted of turns.
    pub metrics: Arc<Metrics>,
    /// One pass of so many looks at the platform whole, if nothing seems to move in between; with 1
    /// each does.
    pub sweep_every: u32,
    /// One of so many whole looks in a row plans, although they show what the last plan was made for;
    /// with 1 each does.
    pub plan_every: u32,
    /// A pass waits for its turns until none has ended for so long; without it, for all of them.
    pub turn_patience: Option<Duration>,
}

/// Why a pass did not come to its end.
#[derive(Debug, Error)]
pub enum PassError {
    /// The store refused.
    #[error("the store refused")]
    Store(#[from] StoreError),
}

/// What a pass found and did.
#[derive(Debug, Default)]
pub struct Pass {
    /// How many tenants there are.
    pub tenants: usize,
    /// The names of those that are Ready; shared by all who remember the pass.
    pub ready: Arc<BTreeSet<String>>,
    /// How many actions were carried out.
    pub actions: usize,
    /// How many of them did not work.
    pub failures: usize,
    /// Something is on its way: look again soon.
    pub waiting: bool,
    /// Tenants whose turns are under way: nothing else is done for them.
    pub under_way: BTreeSet<String>,
    /// Tenants, deleted ones among them, with a call of which is not known what came of it: nothing
    /// more is done about them until that is seen, or cannot come any more.
    pub unsettled: usize,
    /// When the first tenant that is held may be tried again.
    pub held_until: Option<UnixMillis>,
    /// Organizations that could not be read.
    pub unread: Vec<ObserveError>,
    /// Machines with our mark and no tenant.
    pub strays: Vec<Stray>,
    /// The calls that it made, but for the next.
    pub calls: Calls,
    /// How often it read a machine that somebody else wrote: once per version, and not per pass.
    pub edit_looks: u64,
    /// The fleet as it saw it.
    pub fleet: Fleet,
    /// It looked at the platform whole; else it saw that nothing moved since the one that did.
    pub swept: bool,
    /// It planned; else all was as it was for the last plan.
    pub planned: bool,
}

impl Pass {
    /// How it ended, for those who count.
    #[must_use]
    pub fn result(&self) -> PassResult {
        if self.failures > 0 || !self.unread.is_empty() {
            return PassResult::Error;
        }
        match self.waiting || self.actions > 0 {
            true => PassResult::RequeueAfter,
            false => PassResult::Success,
        }
    }
}

/// Runs passes over three seams.
pub struct Reconciler<P, S, C> {
    platform: Arc<P>,
    store: S,
    clock: C,
    config: ReconcileConfig,
    tell: Arc<dyn Fn(Event) + Send + Sync>,
    memory: Mutex<Memory>,
    turns: tokio::sync::Mutex<Turns>,
}

/// What a pass remembers for the next one. All of it may be lost.
#[derive(Debug, Default)]
struct Memory {
    setbacks: Setbacks,
    /// How many passes in a row found nothing left of a deleted tenant.
    absent: HashMap<String, u32>,
    /// Known ids that the platform called gone.
    gone: BTreeSet<String>,
    strays: Vec<Stray>,
    /// The slices of apps whose secrets are looked at.
    looks: Slices<String>,
    token_looks: Looks,
    rare_tokens: BTreeMap<String, RareLook>,
    token_setbacks: Setbacks,
    storage_looks: StorageLooks,
    storage_setbacks: Setbacks,
    edits: EditLooks,
    rest: Option<Rest>,
    /// `None` until the journal has been asked.
    taken_down: Option<TakenDown>,
    changes: Changes,
    /// The tenants whose turns were under way when the last pass began.
    under_way: BTreeSet<String>,
    leftovers: Leftovers,
}

/// A plan, and all that it was made from.
pub struct Planned {
    /// What should exist.
    pub desired: Desired,
    /// What does.
    pub observed: Observed,
    /// What to do about it.
    pub plan: Plan,
    /// Organizations that could not be read.
    pub unread: Vec<ObserveError>,
    /// Tenants with a call whose effect may still appear.
    pub unsettled: BTreeSet<String>,
    /// Tenants whose turns are under way, and for whom nothing is planned.
    pub under_way: BTreeSet<String>,
    /// No intent was open, and no machine's life took a turn.
    is_settled: bool,
}

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Joins the seams. `tell` is called with each event as it happens, and keeps it.
    pub fn new(
        platform: Arc<P>,
        store: S,
        clock: C,
        config: ReconcileConfig,
        tell: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Self {
        let (memory, turns) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { platform, store, clock, config, tell, memory, turns }
    }

    /// The platform, to look at.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// The settings.
    pub fn config(&self) -> &ReconcileConfig {
        &self.config
    }

    /// Runs one pass.
    ///
    /// # Errors
    /// If the store refuses. A platform that cannot be reached is no error: it stands in the pass.
    pub async fn pass(&self, missing: &BTreeSet<(Kind, String)>) -> Result<Pass, PassError> {
        let mut turns = self.turns.lock().await;
        let calls_before = self.platform.calls();
        let began = self.clock.now();
        let basis = self.basis(missing).await?;
        if let Some(mut pass) = self.rested(&basis).await {
            pass.calls = self.calls_since(calls_before, 0);
            return Ok(pass);
        }
        let edit_looks_before = self.memory().edits.made;
        let mut objects = Objects::load(&self.store).await?;
        let failed_late = self.take_in(&objects, &mut turns)?;
        let mut planned = self.look_and_plan(&mut objects, Settle::Write).await?;
        self.keep_tombstones(&objects, &mut planned).await?;
        let look_again_at = planned.plan.tombstones.look_again_at;
        let mut pass = self.publish(&objects, &planned, missing).await?;
        let controller = self.config.controller.to_string();
        pass.fleet.add_observed(&planned.observed.organizations, &controller);
        pass.unsettled = planned.unsettled.len();
        let still = self.seen_at_rest(&mut objects, &planned, began);
        let Planned { plan, unread, observed, .. } = planned;
        let buried: BTreeSet<String> =
            observed.tombstones.into_iter().map(|tombstone| tombstone.tenant).collect();
        pass.unread = unread;
        pass.actions = plan.actions.len();
        self.tell_strays(&plan.report.strays);
        pass.strays.clone_from(&plan.report.strays);
        let ended = self.execute(plan, &mut turns).await?;
        pass.failures = failed_late + self.remember(&objects, &ended);
        pass.under_way = turns.tenants();
        pass.held_until =
            self.forget_setbacks(&objects, &buried).into_iter().chain(look_again_at).min();
        pass.edit_looks = self.memory().edits.made - edit_looks_before;
        pass.calls = self.calls_since(calls_before, pass.edit_looks);
        (pass.swept, pass.planned) = (true, true);
        self.rest_after(basis, began, still, &pass).await?;
        Ok(pass)
    }

    /// The calls since then, without as many looks as are counted apart.
    fn calls_since(&self, before: Calls, looks: u64) -> Calls {
        let calls = self.platform.calls();
        Calls {
            reads: (calls.reads - before.reads).saturating_sub(looks),
            secret_reads: calls.secret_reads - before.secret_reads,
            writes: calls.writes - before.writes,
        }
    }

    async fn execute(&self, plan: Plan, turns: &mut Turns) -> Result<Vec<Turn>, StoreError> {
        let seams = Seams {
            platform: &self.platform,
            store: &self.store,
            clock: &self.clock,
            secrets: &self.config.secrets,
            tell: &self.tell,
            queue: self.config.metrics.queue(),
        };
        let work = Work { standing: self.standing(&plan), plan };
        turns.carry_out(seams, work, self.config.turn_patience).await
    }

    /// What is known of the tenants that are to be acted for.
    fn standing(&self, plan: &Plan) -> Standing {
        let memory = self.memory();
        let tenants: BTreeSet<&str> = plan.actions.iter().map(|action| &*action.tenant).collect();
        let of = |is: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
            tenants.iter().filter(|tenant| is(tenant)).map(|&tenant| tenant.to_owned()).collect()
        };
        Standing {
            changed: of(&|tenant| memory.changes.is_waited_for(tenant)),
            failed: of(&|tenant| memory.setbacks.has_failed(tenant)),
        }
    }

    /// Plans for `objects` as if they were stored; changes nothing.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn preview(&self, mut objects: Objects) -> Result<Planned, PassError> {
        self.look_and_plan(&mut objects, Settle::Only).await
    }

    async fn look_and_plan(
        &self,
        objects: &mut Objects,
        settle_mode: Settle,
    ) -> Result<Planned, PassError> {
        let mut desired = objects.desired(&self.config);
        let under_way = self.memory().under_way.clone();
        let mut intents = self.store.open_intents().await?;
        let mut is_settled = intents.is_empty();
        let mut organizations: BTreeSet<String> =
            desired.tenants.iter().map(|tenant| tenant.organization.to_string()).collect();
        organizations.insert(self.config.organization.clone());
        organizations.extend(intents.iter().map(|intent| intent.organization.clone()));
        intents.retain(|intent| !under_way.contains(&intent.tenant));
        let tombstones = self.store.tombstones().await?;
        organizations.extend(tombstones::organizations(&tombstones));
        let all_organizations = self.add_all_if_suspicious(&mut organizations, settle_mode).await;
        if settle_mode == Settle::Write {
            self.doubt_what_was_sent(&intents, self.clock.now()).await?;
        }
        let storage = self.look_at_storage(&mut desired, objects, &tombstones, settle_mode).await?;
        let usage = self.store.live_usage().await?;
        let gone = self.memory().gone.clone();
        let KnownIds { mut known, mut gone_and_named, only_of_intents } =
            objects.known(&intents, &gone);
        usage::add_known(&mut known, &usage, &gone);
        tombstones::add_known(&mut known, &tombstones);
        let look = observe(&*self.platform, &organizations, &known, self.clock.now()).await;
        drop(known);
        gone_and_named.extend(look.gone.difference(&only_of_intents).cloned());
        self.remember_gone(&gone_and_named, &usage, look.gone, &look.organizations);
        let now = self.clock.now();
        let mut settled = settle(&intents, &look.organizations, self.config.settle_after, now);
        let lists = &look.organizations;
        self.hold_what_fell_back(&intents, &mut settled, lists, now, settle_mode).await?;
        let mut secrets = self.store.secrets().await?;
        if settle_mode == Settle::Write {
            self.store.settle_intents(settled.settlements, now).await?;
            is_settled &= !self.keep_usage(usage, &look.organizations, now).await?;
            let all_read = look.failures.is_empty();
            let seen = (lists, all_read);
            self.look_at_secrets(&desired, seen, &tombstones, &mut secrets, now).await?;
            self.look_at_edits(&desired, &look.organizations, all_read, now).await?;
        }
        let mut holds = self.held_back(objects, &tombstones, now);
        // An unknown outcome outweighs a back-off: acting before it is known could do it twice.
        holds.extend(settled.holds);
        under_way::hold(&mut holds, &under_way, now);
        let tokens =
            self.look_at_tokens(&desired, objects, &look.organizations, settle_mode).await?;
        let mut observed = Observed {
            organizations: look.organizations,
            holds,
            secrets: observed_secrets(&secrets),
            snapshots: BTreeMap::new(),
            last_used: BTreeMap::new(),
            replacing: std::mem::take(&mut objects.replacing),
            tokens,
            storage,
            tombstones,
            edits: self.known_edits().await?,
            reached: objects.reached(),
            all_organizations: all_organizations && look.failures.is_empty(),
        };
        let choosing = vault_plan::needs_history(&desired, &observed);
        observed.last_used = self.last_used(&choosing).await?;
        let needed = vault_plan::needs_snapshots(&desired, &observed);
        observed.snapshots = snapshots::look(&*self.platform, needed, now).await;
        let policy = &self.config.policy;
        let mut plan = vault_plan::plan(&desired, &observed, policy, now);
        if confirm_apps(&*self.platform, &plan, &mut observed, now).await {
            plan = vault_plan::plan(&desired, &observed, policy, now);
        }
        let lists = &mut observed.organizations;
        let haunted = self.haunted(&plan.to_confirm, now).await?;
        put_off(&haunted, lists);
        let asked: BTreeSet<_> = plan.to_confirm.difference(&haunted).cloned().collect();
        let found = confirm(&*self.platform, &asked, lists, now).await || !haunted.is_empty();
        if found {
            plan = vault_plan::plan(&desired, &observed, policy, now);
        }
        under_way::leave_out(&mut plan, &under_way);
        if settle_mode == Settle::Write {
            self.memory().leftovers.follow(&desired, &observed, &plan);
        }
        let (unread, mut unsettled) = (look.failures, settled.open);
        unsettled.extend(under_way.iter().cloned());
        Ok(Planned { desired, observed, plan, unread, unsettled, under_way, is_settled })
    }

    /// Keeps the ids that the platform called gone, for as long as a status or a usage fact names
    /// them and no list shows them again.
    fn remember_gone(
        &self,
        named: &BTreeSet<String>,
        usage: &LiveUsage,
        gone: BTreeSet<String>,
        organizations: &BTreeMap<String, ObservedOrganization>,
    ) {
        let mut memory = self.memory();
        memory.gone.extend(gone);
        if memory.gone.is_empty() {
            return;
        }
        let used: HashSet<&str> = usage.facts.iter().map(|fact| fact.machine_id.as_str()).collect();
        memory.gone.retain(|id| named.contains(id) || used.contains(id.as_str()));
        for organization in organizations.values() {
            for machine in &organization.machines {
                memory.gone.remove(&machine.id);
            }
            for volume in &organization.volumes {
                memory.gone.remove(&volume.id);
            }
        }
    }

    /// The memory; never held across a wait, so that a preview does not queue behind a pass.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether looking also writes to the journal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settle {
    Write,
    Only,
}

#[cfg(test)]
mod tests;
