//! One pass: load, observe, settle, plan, execute, publish. It takes no hint.

mod agents;
mod objects;
mod secrets;
mod usage;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use vault_api::status::TenantStatus;
use vault_plan::action::{ActionKind, Plan};
use vault_plan::desired::Desired;
use vault_plan::identity::ControllerId;
use vault_plan::observed::{Hold, Observed, ObservedOrganization};
use vault_plan::policy::Policy;
use vault_plan::report::{NoteReason, Stray};
use vault_plan::time::UnixMillis;

use crate::accept::finalizers;
use crate::agents::Agents;
use crate::clock::Clock;
use crate::confirm::confirm;
use crate::events::Event;
use crate::execute::{Turn, execute};
use crate::fleet::Fleet;
use crate::identity::TenantSecrets;
use crate::metrics::{Metrics, PassResult};
use crate::observe::{ObserveError, observe};
use crate::platform::{Calls, Platform};
use crate::secrets::observed as observed_secrets;
use crate::setback::Setbacks;
use crate::settle::settle;
use crate::snapshots;
use crate::source::Source;
use crate::status::{self, Facts};
use crate::store::{Kind, LiveUsage, Store, StoreError};
use objects::{KnownIds, Rows};
pub use objects::{Objects, TenantObject};
use secrets::SecretLooks;
pub use usage::retained_since;

/// How many passes must have found nothing of a deleted tenant before it is forgotten: one list
/// may lie.
const ABSENT_PASSES: u32 = 2;

/// How many statuses are written at once: enough that commits do not count, and few enough that
/// their memory does not while all of them change.
const STATUSES_PER_WRITE: usize = 500;

/// What is told when a tenant is gone.
pub(crate) const DELETED: &str = "the tenant is deleted; its volumes and its app are kept";

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
    /// The names of those that are Ready.
    pub ready: BTreeSet<String>,
    /// How many actions were carried out.
    pub actions: usize,
    /// How many of them did not work.
    pub failures: usize,
    /// Something is on its way: look again soon.
    pub waiting: bool,
    /// When the first tenant that is held may be tried again.
    pub held_until: Option<UnixMillis>,
    /// Organizations that could not be read.
    pub unread: Vec<ObserveError>,
    /// Machines with our mark and no tenant.
    pub strays: Vec<Stray>,
    /// The calls that it made.
    pub calls: Calls,
    /// The fleet as it saw it.
    pub fleet: Fleet,
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
    looks: SecretLooks,
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
        Self { platform, store, clock, config, tell, memory: Mutex::new(Memory::default()) }
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
        let calls_before = self.platform.calls();
        let mut objects = Objects::load(&self.store).await?;
        let planned = self.look_and_plan(&mut objects, Settle::Write).await?;
        let mut pass = self.publish(&objects, &planned, missing).await?;
        let controller = self.config.controller.to_string();
        pass.fleet.add_observed(&planned.observed.organizations, &controller);
        let Planned { plan, unread, .. } = planned;
        pass.unread = unread;
        pass.actions = plan.actions.len();
        self.tell_strays(&plan.report.strays);
        pass.strays.clone_from(&plan.report.strays);
        let turns = self.execute(plan).await?;
        pass.failures = self.remember(&objects, &turns);
        let now = self.clock.now();
        let names: BTreeSet<&str> =
            objects.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        let mut memory = self.memory();
        memory.setbacks.keep_only(|tenant| names.contains(tenant), now);
        pass.held_until = memory.setbacks.next_until(now);
        drop(memory);
        let calls = self.platform.calls();
        pass.calls = Calls {
            reads: calls.reads - calls_before.reads,
            secret_reads: calls.secret_reads - calls_before.secret_reads,
            writes: calls.writes - calls_before.writes,
        };
        Ok(pass)
    }

    async fn execute(&self, plan: Plan) -> Result<Vec<Turn>, StoreError> {
        let secrets = &self.config.secrets;
        let queue = self.config.metrics.queue();
        execute(&self.platform, &self.store, &self.clock, secrets, plan, &self.tell, queue).await
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
        let desired = objects.desired(&self.config);
        let intents = self.store.open_intents().await?;
        let mut organizations: BTreeSet<String> =
            desired.tenants.iter().map(|tenant| tenant.organization.to_string()).collect();
        organizations.insert(self.config.organization.clone());
        organizations.extend(intents.iter().map(|intent| intent.organization.clone()));
        let usage = self.store.live_usage().await?;
        let gone = self.memory().gone.clone();
        let KnownIds { mut known, mut gone_and_named, only_of_intents } =
            objects.known(&intents, &gone);
        usage::add_known(&mut known, &usage, &gone);
        let look = observe(&*self.platform, &organizations, &known).await;
        drop(known);
        gone_and_named.extend(look.gone.difference(&only_of_intents).cloned());
        self.remember_gone(&gone_and_named, &usage, look.gone, &look.organizations);
        let now = self.clock.now();
        let settled = settle(&intents, &look.organizations, self.config.settle_after, now);
        let mut secrets = self.store.secrets().await?;
        if settle_mode == Settle::Write {
            self.store.settle_intents(settled.settlements).await?;
            self.keep_usage(usage, &look.organizations, now).await?;
            self.look_at_secrets(&desired, &look.organizations, &mut secrets, now).await?;
        }
        let revisions =
            objects.tenants.iter().map(|tenant| (tenant.name.as_str(), objects.revision(tenant)));
        let mut holds = self.memory().setbacks.holds(revisions, now);
        merge_holds(&mut holds, settled.holds);
        let mut observed = Observed {
            organizations: look.organizations,
            holds,
            secrets: observed_secrets(&secrets),
            snapshots: BTreeMap::new(),
            replacing: std::mem::take(&mut objects.replacing),
        };
        let needed = vault_plan::needs_snapshots(&desired, &observed);
        observed.snapshots = snapshots::look(&*self.platform, needed).await;
        let policy = &self.config.policy;
        let mut plan = vault_plan::plan(&desired, &observed, policy, now);
        if confirm(&*self.platform, &plan.to_confirm, &mut observed.organizations).await {
            plan = vault_plan::plan(&desired, &observed, policy, now);
        }
        let (unread, unsettled) = (look.failures, settled.open);
        Ok(Planned { desired, observed, plan, unread, unsettled })
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

    /// Writes the statuses that changed, and forgets deleted tenants of which nothing is left.
    async fn publish(
        &self,
        objects: &Objects,
        planned: &Planned,
        missing: &BTreeSet<(Kind, String)>,
    ) -> Result<Pass, PassError> {
        let now = self.clock.now();
        let mut pass = Pass { tenants: objects.tenants.len(), ..Pass::default() };
        let mut actions: HashMap<&str, usize> = HashMap::new();
        for action in &planned.plan.actions {
            *actions.entry(&action.tenant).or_default() += 1;
        }
        let mut rows = Rows::new(&self.store);
        let mut statuses = Vec::new();
        let reports = &planned.plan.report.tenants;
        for ((tenant, desired), report) in
            objects.tenants.iter().zip(&planned.desired.tenants).zip(reports)
        {
            let gone = report.gone && !planned.unsettled.contains(&tenant.name);
            if self.absent_passes(&tenant.name, gone) >= ABSENT_PASSES
                && self.forget(&tenant.name).await?
            {
                pass.tenants -= 1;
                continue;
            }
            let Some(row) = rows.of(&tenant.name).await? else {
                // Somebody else has removed it since the pass began.
                pass.tenants -= 1;
                continue;
            };
            let before = row.status()?;
            let before = before.as_ref();
            pass.waiting |= report.gone && !tenant.torn_down
                || report.notes.iter().any(|note| is_passing(note.reason));
            let facts = Facts {
                desired,
                report,
                organization: organization(&planned.observed, &desired.organization),
                actions: actions.get(tenant.name.as_str()).copied().unwrap_or(0),
                generation: tenant.generation,
                source: &tenant.source.to_string(),
                source_missing: matches!(tenant.source, Source::Folder { .. })
                    && missing.contains(&(Kind::Tenant, tenant.name.clone())),
                before,
            };
            let mut status = status::fold(&facts, now);
            let ready = status::is_ready(&status, tenant.generation);
            self.add_agents(desired, before, &mut status, ready, now);
            pass.fleet.add_tenant(&tenant.name, &status, ready);
            if ready {
                pass.ready.insert(tenant.name.clone());
            }
            if before != Some(&status) {
                self.tell_turn_of_status(tenant, before, &status, now);
                statuses.push((
                    tenant.name.clone(),
                    serde_json::to_value(&status).map_err(StoreError::from)?,
                ));
            }
            if statuses.len() >= STATUSES_PER_WRITE {
                self.store.put_statuses(std::mem::take(&mut statuses)).await?;
            }
        }
        self.store.put_statuses(statuses).await?;
        Ok(pass)
    }

    /// Removes a deleted tenant of which nothing is left, or, while finalizers of others stand on
    /// it, takes our own away; whether it is gone.
    async fn forget(&self, name: &str) -> Result<bool, PassError> {
        let stored = self.store.object(Kind::Tenant, name).await?;
        // One that was made anew since the pass began has nothing to do with what was seen.
        let Some(object) = stored.filter(|object| object.deleted_at.is_some()) else {
            return Ok(false);
        };
        let object = &object;
        let rest = finalizers::torn_down(object);
        let tell = |reason, message: String| {
            (self.tell)(Event::normal(self.clock.now(), &object.name, reason, message));
        };
        let version = object.resource_version;
        let written = match finalizers::may_go(&rest) {
            true => {
                self.store.remove_object(Kind::Tenant, &object.name, version).await.map(|()| true)
            }
            false if rest == *object => return Ok(false),
            false => self.store.put_object(rest.clone(), Some(version)).await.map(|_| false),
        };
        match written {
            Ok(true) => {
                self.memory().absent.remove(&object.name);
                tell("Deleted", DELETED.to_owned());
                Ok(true)
            }
            Ok(false) => {
                let names: Vec<&str> = finalizers::of(&rest).collect();
                let names = names.join(", ");
                tell("TornDown", format!("its machines are gone; it waits for {names}"));
                // Its status is of the version before; the next pass writes it.
                Ok(false)
            }
            // It was written in the meantime; the next pass looks again.
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// How many passes in a row, with this one, found nothing of a deleted tenant.
    fn absent_passes(&self, tenant: &str, gone: bool) -> u32 {
        let mut memory = self.memory();
        if !gone {
            memory.absent.remove(tenant);
            return 0;
        }
        let passes = memory.absent.entry(tenant.to_owned()).or_default();
        *passes += 1;
        *passes
    }

    /// The memory; never held across a wait, so that a preview does not queue behind a pass.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_turn_of_status(
        &self,
        tenant: &TenantObject,
        before: Option<&TenantStatus>,
        status: &TenantStatus,
        now: UnixMillis,
    ) {
        let was = before.is_some_and(|before| status::is_ready(before, tenant.generation));
        let is = status::is_ready(status, tenant.generation);
        let Some(ready) = status.conditions.first() else { return };
        if is && !was {
            (self.tell)(Event::normal(now, &tenant.name, "Ready", ready.message.clone()));
        }
        let told = before
            .and_then(|before| before.conditions.first())
            .is_some_and(|known| known.reason == ready.reason);
        if !is && !told && needs_telling(&ready.reason) {
            (self.tell)(Event::warning(now, &tenant.name, &ready.reason, ready.message.clone()));
        }
    }

    fn tell_strays(&self, strays: &[Stray]) {
        let told = std::mem::replace(&mut self.memory().strays, strays.to_vec());
        for stray in strays.iter().filter(|stray| !told.contains(stray)) {
            let message = format!(
                "machine {} ({}) in app {} is ours, but there is no tenant {}: it is left alone",
                stray.name, stray.id, stray.app, stray.tenant
            );
            (self.tell)(Event::warning(self.clock.now(), &stray.tenant, "Stray", message));
        }
    }

    /// Notes what worked and what did not; how many failed.
    fn remember(&self, objects: &Objects, turns: &[Turn]) -> usize {
        let now = self.clock.now();
        let mut memory = self.memory();
        let revisions: HashMap<&str, i64> = objects
            .tenants
            .iter()
            .map(|tenant| (tenant.name.as_str(), objects.revision(tenant)))
            .collect();
        for turn in turns {
            let revision = revisions.get(turn.tenant.as_str()).copied().unwrap_or(0);
            match &turn.failure {
                Some(failure) => memory.setbacks.failed(
                    &turn.tenant,
                    revision,
                    failure.hold,
                    failure.message.clone(),
                    now,
                ),
                None => memory.setbacks.worked(&turn.tenant),
            }
            for done in turn.done.iter().filter(|done| done.kind == ActionKind::StartMachine) {
                memory.setbacks.started(&turn.tenant, revision, &done.name, now);
            }
        }
        turns.iter().filter(|turn| turn.failure.is_some()).count()
    }
}

/// Whether looking also writes to the journal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settle {
    Write,
    Only,
}

/// An unknown outcome outweighs a back-off: acting before it is known could do it twice.
fn merge_holds(holds: &mut BTreeMap<String, Hold>, unsettled: BTreeMap<String, Hold>) {
    holds.extend(unsettled);
}

fn organization<'a>(observed: &'a Observed, slug: &str) -> Option<&'a ObservedOrganization> {
    observed.organizations.get(slug)
}

/// Reasons for which a tenant will move by itself, soon.
fn is_passing(reason: NoteReason) -> bool {
    matches!(reason, NoteReason::Waiting | NoteReason::BudgetExhausted | NoteReason::Unsettled)
}

fn needs_telling(reason: &str) -> bool {
    [
        NoteReason::Invalid,
        NoteReason::NameTaken,
        NoteReason::NotSupported,
        NoteReason::Refused,
        NoteReason::Stuck,
        NoteReason::Unobserved,
    ]
    .iter()
    .any(|told| told.word() == reason)
}

#[cfg(test)]
mod tests;
