//! The end of a pass's thinking: what each tenant's status says now, and what is told of its turns.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use vault_api::status::TenantStatus;
use vault_plan::observed::{Observed, ObservedOrganization};
use vault_plan::report::{NoteReason, Stray};
use vault_plan::time::UnixMillis;

use super::objects::Rows;
use super::rest::is_leased;
use super::{Objects, Pass, PassError, Planned, Reconciler, TenantObject};
use crate::accept::finalizers;
use crate::clock::Clock;
use crate::events::Event;
use crate::platform::Platform;
use crate::source::Source;
use crate::status::{self, Facts};
use crate::store::{Kind, Store, StoreError};

/// How many passes must have found nothing of a deleted tenant before it is forgotten: one list
/// may lie.
pub(super) const ABSENT_PASSES: u32 = 2;

/// How many statuses are written at once: enough that commits do not count, and few enough that
/// their memory does not while all of them change.
const STATUSES_PER_WRITE: usize = 500;

/// What is told when a tenant is gone.
pub(crate) const DELETED: &str =
    "the tenant is deleted; `vaultctl undelete` brings it back as long as what it had is there";

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Writes the statuses that changed, and forgets deleted tenants of which nothing is left.
    pub(super) async fn publish(
        &self,
        objects: &Objects,
        planned: &Planned,
        missing: &BTreeSet<(Kind, String)>,
    ) -> Result<Pass, PassError> {
        let now = self.clock.now();
        let mut pass = Pass { tenants: objects.tenants.len(), ..Pass::default() };
        let mut actions: HashMap<&str, usize> = HashMap::new();
        let disturbs = planned.plan.actions.iter().filter(|action| !action.action.keeps_ready());
        for action in disturbs {
            *actions.entry(&action.tenant).or_default() += 1;
        }
        let changed = self.memory().changes.classes(objects.class_generations());
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
            let hold = planned.observed.holds.get(&tenant.name);
            let mut notes = report.notes.iter().filter(|note| !is_leased(note, hold));
            // Looking more often does not end a call sooner; its end is told.
            pass.waiting |= !planned.under_way.contains(&tenant.name)
                && (report.gone && !tenant.torn_down || notes.any(|note| is_passing(note.reason)));
            let facts = Facts {
                desired,
                report,
                organization: organization(&planned.observed, &desired.organization),
                actions: actions.get(tenant.name.as_str()).copied().unwrap_or(0),
                generation: tenant.generation,
                revision: objects.revision(tenant),
                source: &tenant.source.to_string(),
                source_missing: matches!(tenant.source, Source::Folder { .. })
                    && missing.contains(&(Kind::Tenant, tenant.name.clone())),
                before,
            };
            let mut status = status::fold(&facts, now);
            let ready = status::is_ready(&status, tenant.generation);
            self.add_agents(desired, before, &mut status, ready, now);
            let is_new = before.is_none_or(|known| known.observed_generation != tenant.generation)
                || tenant.class().is_some_and(|class| changed.contains(class));
            self.memory().changes.note(&tenant.name, is_new, ready);
            pass.fleet.add_tenant(&tenant.name, &status, ready);
            if ready {
                Arc::make_mut(&mut pass.ready).insert(tenant.name.clone());
            }
            if before != Some(&status) {
                self.tell_turn_of_status(tenant, before, &status, now);
                let text = serde_json::to_string(&status).map_err(StoreError::from)?;
                statuses.push((tenant.name.clone(), text));
            }
            if statuses.len() >= STATUSES_PER_WRITE {
                self.store.put_statuses(std::mem::take(&mut statuses)).await?;
            }
        }
        self.store.put_statuses(statuses).await?;
        Ok(pass)
    }

    /// Tells of strays that the last pass did not see.
    pub(super) fn tell_strays(&self, strays: &[Stray]) {
        let told = std::mem::replace(&mut self.memory().strays, strays.to_vec());
        for stray in strays.iter().filter(|stray| !told.contains(stray)) {
            let message = format!(
                "machine {} ({}) in app {} is ours, but there is no tenant {}: it is left alone",
                stray.name, stray.id, stray.app, stray.tenant
            );
            (self.tell)(Event::warning(self.clock.now(), &stray.tenant, "Stray", message));
        }
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

    /// Whether so many passes in a row found nothing of a deleted tenant.
    pub(super) fn has_been_absent(&self, tenant: &str, passes: u32) -> bool {
        self.memory().absent.get(tenant).is_some_and(|found| *found >= passes)
    }

    fn tell_turn_of_status(
        &self,
        tenant: &TenantObject,
        before: Option<&TenantStatus>,
        status: &TenantStatus,
        now: UnixMillis,
    ) {
        let was = before.is_some_and(|before| status::is_ready(before, tenant.generation));
        let stage_before = before.and_then(|before| Some(before.deletion.as_ref()?.stage));
        if let Some(deletion) = &status.deletion
            && stage_before != Some(deletion.stage)
        {
            let (reason, message) = (deletion.stage.word(), deletion.message.clone());
            (self.tell)(Event::normal(now, &tenant.name, reason, message));
        }
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
        NoteReason::DriftDetected,
    ]
    .iter()
    .any(|told| told.word() == reason)
}
