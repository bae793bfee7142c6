//! The part of a pass that keeps usage facts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use vault_plan::LastUsed;
use vault_plan::observed::ObservedOrganization;
use vault_plan::time::UnixMillis;

use super::Reconciler;
use crate::clock::Clock;
use crate::observe::{Known, KnownMachine};
use crate::platform::Platform;
use crate::store::{LiveUsage, Store, StoreError, UsagePage};
use crate::usage::{UsageFact, fold, is_marked};

/// How many facts of a tenant are read at a time: the lives of its machines within the retention.
const FACTS_PER_PAGE: u32 = 500;

/// Since when deleted machines are remembered.
#[must_use]
pub fn retained_since(now: UnixMillis, retention: Duration) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX)))
}

/// Adds the machines that nobody's status names, so that those which are missing from a list are
/// asked for by id as well. One that was asked for, and is gone, is not asked for again.
pub(super) fn add_known(
    known: &mut BTreeMap<String, Known>,
    usage: &LiveUsage,
    gone: &BTreeSet<String>,
) {
    let asked = |id: &String| gone.contains(id);
    for fact in usage.facts.iter().filter(|fact| fact.absent_since.is_none()) {
        if !asked(&fact.machine_id) {
            let is_named = known
                .get(&fact.organization)
                .is_some_and(|known| known.machines.contains_key(&fact.machine_id));
            // Nearly all are, so that nothing has to be copied for them.
            if !is_named {
                let known = known.entry(fact.organization.clone()).or_default();
                let (app, region) = (fact.app.clone(), Some(fact.region.clone()));
                known.machines.insert(fact.machine_id.clone(), KnownMachine { app, region });
            }
        }
    }
}

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// When machines last ran on the volumes of these tenants, as far as their facts tell. A machine
    /// that still runs holds its volume, so that nobody has to choose there.
    pub(super) async fn last_used(
        &self,
        tenants: &BTreeSet<Arc<str>>,
    ) -> Result<LastUsed, StoreError> {
        let mut last_used = LastUsed::new();
        let deleted_since = retained_since(self.clock.now(), self.config.usage_retention);
        for tenant in tenants {
            let mut after = String::new();
            loop {
                let page = UsagePage {
                    tenant: Some(tenant.to_string()),
                    after: after.clone(),
                    limit: FACTS_PER_PAGE,
                    deleted_since,
                };
                let facts = self.store.usage_page(page).await?;
                for fact in &facts {
                    note_use(&mut last_used, fact);
                }
                match facts.last() {
                    Some(last) => last.machine_id.clone_into(&mut after),
                    None => break,
                }
            }
        }
        Ok(last_used)
    }

    /// Keeps what the lists told of machines' lives. Writes nothing if nothing is new, and no
    /// machine has to be forgotten; whether anything was new.
    pub(super) async fn keep_usage(
        &self,
        usage: LiveUsage,
        organizations: &BTreeMap<String, ObservedOrganization>,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let controller = self.config.controller.to_string();
        let since = retained_since(now, self.config.usage_retention);
        let expired = usage.oldest_deleted_at.is_some_and(|at| at < since);
        let mut previous: BTreeMap<_, _> =
            usage.facts.into_iter().map(|fact| (fact.machine_id.clone(), fact)).collect();
        let machines = organizations.values().flat_map(|organization| &organization.machines);
        let new = machines.filter(|machine| !previous.contains_key(&machine.id));
        // A machine of a host that is out of reach shows no mark; perhaps it is remembered.
        let ours = new.filter(|machine| is_marked(machine, &controller) || machine.is_blank());
        let new: Vec<String> = ours.map(|machine| machine.id.clone()).collect();
        if !new.is_empty() {
            let returned = self.store.usage_of(new).await?;
            previous.extend(returned.into_iter().map(|fact| (fact.machine_id.clone(), fact)));
        }
        let changes = fold(&previous, organizations, &controller, now);
        if changes.is_empty() && !expired {
            return Ok(false);
        }
        self.store.put_usage(changes, since).await?;
        Ok(true)
    }
}

/// Notes when a machine last ran on the volumes that it held.
fn note_use(last_used: &mut LastUsed, fact: &UsageFact) {
    let Some(at) = fact.stopped_at.or(fact.started_at) else { return };
    for volume in &fact.volumes {
        let known = last_used.entry(volume.volume_id.clone()).or_insert(at);
        *known = at.max(*known);
    }
}
