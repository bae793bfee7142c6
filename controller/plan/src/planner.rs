//! One walk over the tenants, in the order of their names.
//!
//! ```text
//!   tenant ─▶ organization read? ─▶ app there and ours? ─▶ secrets set? ─▶ each wanted machine: volume, machine ─▶ surplus machines
//!                  │ no                  │ no: create          │ no: set     │ missing: create                       │ stop, delete
//!                  ▼                     ▼                     ▼             ▼ different: update, start, stop        ▼
//!                note                  action                action        action or note                       action or note
//! ```

mod anew;
mod buckets;
mod budget;
mod burial;
mod draft;
mod drift;
mod index;
mod leftovers;
mod shared;
mod tokens;
mod tombstones;
mod unwanted;
mod wanted;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::action::{Action, AppPlace, Plan, PlannedAction, RemoveSecret, SetSecret};
use crate::desired::{Contested, Desired, DesiredTenant};
use crate::identity::ControllerId;
use crate::observed::{Observed, ObservedMachine, SecretState};
use crate::policy::Policy;
use crate::report::{Note, NoteReason, Report, TenantReport};
use crate::secret;
use crate::time::UnixMillis;
use crate::tombstone::{Tombstone, TombstoneChanges, TombstoneKind};
use budget::Budget;
use draft::Draft;
use drift::Cause;
use index::Index;

/// Decides what to do next so that what is observed becomes what is desired.
///
/// Total and deterministic: the same arguments give the same plan. Carrying out a plan and planning
/// again, with no faults in between, ends in a plan without actions.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observed, policy: &Policy, now: UnixMillis) -> Plan {
    let index = Index::new(desired, observed);
    let mut planner = Planner {
        contested: &desired.contested,
        controller_mark: &desired.controller_mark,
        observed,
        policy,
        now,
        budget: Budget::new(desired, observed, &index, policy, now),
        index: &index,
        new_apps: BTreeSet::new(),
        actions: Vec::new(),
        withheld: Vec::new(),
        to_confirm: BTreeSet::new(),
        controller: &desired.controller,
        desired: &desired.tenants,
        standing: standing(observed),
        tombstones: TombstoneChanges::default(),
        buried: Vec::new(),
    };
    let tenants = desired.tenants.iter().map(|tenant| planner.tenant(tenant)).collect();
    planner.tombstones();
    let leftovers = planner.leftovers();
    let Planner { mut actions, withheld, to_confirm, mut buried, tombstones, .. } = planner;
    if !buried.is_empty() {
        // The actions of one tenant stand together, in the order of their names.
        actions.append(&mut buried);
        actions.sort_by(|one, other| one.tenant.cmp(&other.tenant));
    }
    let report = Report { tenants, strays: index.strays() };
    Plan { actions, withheld, to_confirm, report, tombstones, leftovers }
}

/// The tombstones of volumes that stand, by the volumes' ids.
fn standing(observed: &Observed) -> HashMap<&str, &Tombstone> {
    let all = observed.tombstones.iter();
    let standing = all.filter(|known| known.kind == TombstoneKind::Volume && known.is_open());
    standing.map(|known| (known.id.as_str(), known)).collect()
}

struct Planner<'a> {
    contested: &'a Contested,
    controller_mark: &'a str,
    observed: &'a Observed,
    policy: &'a Policy,
    now: UnixMillis,
    index: &'a Index<'a>,
    budget: Budget,
    /// Shared apps that this plan creates: one tenant does so, and the others wait for it.
    new_apps: BTreeSet<&'a str>,
    actions: Vec<PlannedAction>,
    withheld: Vec<PlannedAction>,
    to_confirm: BTreeSet<AppPlace>,
    controller: &'a ControllerId,
    desired: &'a [DesiredTenant],
    /// The tombstones of volumes that stand, by the volumes' ids.
    standing: HashMap<&'a str, &'a Tombstone>,
    tombstones: TombstoneChanges,
    /// What matured tombstones ask for.
    buried: Vec<PlannedAction>,
}

impl<'a> Planner<'a> {
    fn tenant(&mut self, tenant: &'a DesiredTenant) -> TenantReport {
        let Some(mut draft) = Draft::new(tenant, self.observed, self.index, self.now) else {
            let message = format!("organization {} could not be read", tenant.organization);
            return TenantReport {
                tenant: Arc::clone(&tenant.name),
                app_exists: false,
                notes: vec![Note::new(NoteReason::Unobserved, message)],
                machines: Vec::new(),
                tokens: Vec::new(),
                storage: None,
                gone: false,
                deletion: None,
            };
        };
        let mut gone = false;
        if tenant.deleting {
            gone = self.delete(&mut draft);
        } else {
            self.converge(&mut draft);
        }
        self.to_confirm.extend(draft.app_to_confirm());
        self.withheld.append(&mut draft.drifted);
        let actions = if tenant.paused { &mut self.withheld } else { &mut self.actions };
        draft.finish(gone, actions)
    }

    fn converge(&mut self, draft: &mut Draft<'a>) {
        let machines = match &draft.tenant.machines {
            Ok(machines) => machines,
            Err(problems) => {
                for problem in problems {
                    let message = format!("{}: {}", problem.path, problem.message);
                    draft.note(NoteReason::Invalid, message);
                }
                return;
            }
        };
        self.bury_unnamed_buckets(draft);
        if !self.is_in_place(draft) || !self.has_app(draft) {
            return;
        }
        let has_storage = self.storage(draft);
        self.secrets(draft);
        if !has_storage {
            // Machines would start without what they are to find in their environment.
            self.tokens(draft);
            return;
        }
        self.surplus_secrets(draft);
        draft.machines.reserve_exact(machines.len());
        for wanted in machines {
            let report = self.wanted(draft, wanted);
            draft.machines.push(report);
        }
        draft.because(Cause::Drift);
        self.surplus(draft, machines);
        draft.because(Cause::Manifest);
        self.tokens(draft);
    }

    /// Whether all machines of the tenant are in the app that its manifest names.
    fn is_in_place(&self, draft: &mut Draft<'a>) -> bool {
        let tenant = draft.tenant;
        let elsewhere = draft.owned.iter().find(|owned| {
            owned.machine.app != tenant.app || owned.organization != &*tenant.organization
        });
        let Some(owned) = elsewhere else {
            return true;
        };
        let message = format!(
            "machine {} is in app {} of {} and the manifest says {} of {}; moving a tenant is not \
             supported yet",
            owned.machine.name,
            owned.machine.app,
            owned.organization,
            tenant.app,
            tenant.organization
        );
        draft.note(NoteReason::NotSupported, message);
        false
    }

    /// Whether the tenant's app is there, or will be, and is ours.
    fn has_app(&mut self, draft: &mut Draft<'a>) -> bool {
        let tenant = draft.tenant;
        let app = &tenant.app;
        if !draft.app_exists {
            if let Some(gap) = &draft.organization.gaps.unclear {
                draft.note(NoteReason::Unobserved, format!("app {app}: {gap}"));
                return false;
            }
            if tenant.app_is_shared && self.new_apps.contains(app.as_str()) {
                draft.note(NoteReason::Waiting, format!("app {app} is being created"));
                return false;
            }
            draft.because(Cause::Drift);
            let withheld = draft.withholds();
            // What is held or paused creates nothing that another could wait for.
            if tenant.app_is_shared && draft.hold.is_none() && !tenant.paused && !withheld {
                self.new_apps.insert(app);
            }
            draft.act(Action::CreateApp, "it does not exist");
            draft.because(Cause::Manifest);
            return !withheld;
        }
        if let Some((machine, whose)) = self.of_another_tenant(draft) {
            let message = format!(
                "app {app} holds machine {} of tenant {whose}, which would get what is this \
                 tenant's: its secrets are the app's",
                machine.name
            );
            draft.note(NoteReason::NameTaken, message);
            return false;
        }
        let is_empty = draft.machines_in_app.is_empty();
        if !tenant.app_is_named || !draft.owned.is_empty() || self.is_shared_with_us(draft) {
            return true;
        }
        // In a list that is not whole, an app looks emptier than it is.
        if let (true, Some(gap)) = (is_empty, draft.organization.gaps.any()) {
            draft.note(NoteReason::Unobserved, format!("app {app}: {gap}"));
        } else if let Some(machine) = draft.blank_among(draft.machines_in_app) {
            let message = format!(
                "app {app}: the platform does not show the config of machine {}",
                machine.name
            );
            draft.note(NoteReason::Unobserved, message);
        } else if !is_empty {
            let message = format!("app {app} holds machines that are not ours");
            draft.note(NoteReason::NameTaken, message);
        } else {
            return true;
        }
        false
    }

    /// Plans the setting of secrets, before any machine that is to read them starts.
    fn secrets(&self, draft: &mut Draft<'a>) {
        let tenant = draft.tenant;
        let known = self.observed.secrets.get(&tenant.app);
        // A version that our own write is about to make is known only when it is made.
        draft.secrets_version = known.and_then(|known| known.version);
        for wanted in &tenant.secrets {
            let state = known.and_then(|known| known.states.get(&*wanted.name));
            let machines = draft.owned.iter().map(|owned| owned.machine);
            if let Some(reason) = secret::need(wanted, state, draft.app_exists, machines) {
                let set = SetSecret {
                    name: Arc::clone(&wanted.name),
                    variable: Arc::clone(&wanted.variable),
                    hash: wanted.hash.clone(),
                    tenant_uid: tenant.uid,
                    from: wanted.from.clone(),
                    storage: wanted.storage.clone(),
                };
                let foreign = matches!(state, Some(SecretState::Changed | SecretState::Missing));
                draft.because(if foreign { Cause::Drift } else { Cause::Manifest });
                if !draft.withholds() {
                    draft.secrets_version = None;
                }
                draft.act(Action::SetSecret(set), reason);
                draft.because(Cause::Manifest);
            }
        }
    }

    /// Plans the end of secrets that we are known to have set and the manifest no longer names. What
    /// somebody else set, or a lost memory forgot, stays.
    fn surplus_secrets(&self, draft: &mut Draft<'a>) {
        let tenant = draft.tenant;
        let Some(known) = self.observed.secrets.get(&tenant.app).filter(|_| draft.app_exists)
        else {
            return;
        };
        for (name, state) in &known.states {
            let is_wanted = tenant.secrets.iter().any(|wanted| *wanted.name == **name);
            // In a shared app the others' secrets are none of this tenant's business.
            let is_ours = !tenant.app_is_shared || tenant.uid.owns_secret(name);
            let may_be = matches!(state, SecretState::Set { .. } | SecretState::Unsure);
            if may_be && is_ours && !is_wanted {
                let remove = RemoveSecret { name: name.as_str().into() };
                draft.act(Action::RemoveSecret(remove), "the manifest no longer names it");
                draft.secrets_version = None;
            }
        }
    }

    /// Takes one machine's worth of the disruption budget, or notes that it is used up. A held or
    /// paused tenant takes nothing: nothing will be done for it.
    fn may_disrupt(&mut self, draft: &mut Draft<'a>, machine: &ObservedMachine) -> bool {
        let is_idle = draft.hold.is_some() || draft.tenant.paused || draft.withholds();
        if is_idle || self.budget.take() {
            return true;
        }
        let message =
            format!("machine {} waits: enough machines are down by our doing", machine.name);
        draft.note(NoteReason::BudgetExhausted, message);
        false
    }
}

#[cfg(test)]
mod tests;
