//! One walk over the tenants, in the order of their names.
//!
//! ```text
//!   tenant ─▶ organization read? ─▶ app there and ours? ─▶ each wanted machine: volume, machine ─▶ surplus machines
//!                  │ no                  │ no: create         │ missing: create                       │ stop, delete
//!                  ▼                     ▼                    ▼ different: update, start, stop        ▼
//!                note                  action               action or note                       action or note
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use vault_api::tenant::MachineState;

use crate::action::{
    Action, CreateMachine, CreateVolume, MachineConfig, MachineRef, Plan, PlannedAction,
    UpdateMachine, VolumeSource,
};
use crate::desired::{Desired, DesiredMachine, DesiredTenant, DesiredVolume};
use crate::machine::{self, Need};
use crate::metadata::Marks;
use crate::observed::{
    Hold, HoldKind, Observed, ObservedMachine, ObservedOrganization, PlatformState,
};
use crate::policy::Policy;
use crate::report::{MachineReport, Note, NoteReason, Report, Stray, TenantReport};
use crate::time::UnixMillis;
use crate::volume::{self, VolumeMatch};

/// Decides what to do next so that what is observed becomes what is desired.
///
/// Total and deterministic: the same arguments give the same plan. Carrying out a plan and planning
/// again, with no faults in between, ends in a plan without actions.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observed, policy: &Policy, now: UnixMillis) -> Plan {
    let index = Index::new(desired, observed);
    let budget = policy.disruption_budget(index.owned);
    let mut planner = Planner {
        controller_mark: &desired.controller_mark,
        observed,
        policy,
        now,
        budget_left: budget.saturating_sub(index.disrupted),
        index: &index,
        actions: Vec::new(),
    };
    let tenants = desired
        .tenants
        .iter()
        .map(|tenant| planner.tenant(tenant))
        .collect();
    Plan {
        actions: planner.actions,
        report: Report {
            tenants,
            strays: strays(desired, &index),
        },
    }
}

/// Where things are in the lists, by what they are looked up by.
struct Index<'a> {
    observed: &'a Observed,
    organizations: HashMap<&'a str, OrganizationIndex<'a>>,
    /// Our machines by the tenant that their metadata names.
    owned_by_tenant: HashMap<&'a str, Vec<(&'a str, usize)>>,
    /// How many machines carry our mark.
    owned: usize,
    /// How many of them are down by our doing, as far as their states tell. A machine that is
    /// booting for the first time is counted too: that errs on the side of waiting.
    disrupted: usize,
}

#[derive(Default)]
struct OrganizationIndex<'a> {
    apps: HashSet<&'a str>,
    machines_by_app: HashMap<&'a str, Vec<usize>>,
    volumes_by_app: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Index<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        let deleting: HashSet<&str> = desired
            .tenants
            .iter()
            .filter(|tenant| tenant.deleting)
            .map(|tenant| &*tenant.name)
            .collect();
        let mut index = Self {
            observed,
            organizations: HashMap::with_capacity(observed.organizations.len()),
            owned_by_tenant: HashMap::with_capacity(desired.tenants.len()),
            owned: 0,
            disrupted: 0,
        };
        for (slug, organization) in &observed.organizations {
            let apps = organization.apps.len();
            let mut entry = OrganizationIndex {
                apps: organization.apps.iter().map(String::as_str).collect(),
                machines_by_app: HashMap::with_capacity(apps),
                volumes_by_app: HashMap::with_capacity(apps),
            };
            for (place, machine) in organization.machines.iter().enumerate() {
                if machine.state == PlatformState::Destroyed {
                    continue;
                }
                entry
                    .machines_by_app
                    .entry(&machine.app)
                    .or_default()
                    .push(place);
                let marks = Marks::read(&machine.metadata);
                let (Some(controller), Some(tenant)) = (marks.controller, marks.tenant) else {
                    continue;
                };
                if controller == desired.controller_mark {
                    index.owned += 1;
                    let passing = machine.state.is_passing();
                    index.disrupted += usize::from(passing && !deleting.contains(tenant));
                    index
                        .owned_by_tenant
                        .entry(tenant)
                        .or_default()
                        .push((slug, place));
                }
            }
            for (place, volume) in organization.volumes.iter().enumerate() {
                entry
                    .volumes_by_app
                    .entry(&volume.app)
                    .or_default()
                    .push(place);
            }
            index.organizations.insert(slug, entry);
        }
        index
    }
}

struct Planner<'a> {
    controller_mark: &'a str,
    observed: &'a Observed,
    policy: &'a Policy,
    now: UnixMillis,
    index: &'a Index<'a>,
    budget_left: usize,
    actions: Vec<PlannedAction>,
}

/// One tenant while it is being planned.
struct Draft<'a> {
    tenant: &'a DesiredTenant,
    organization: &'a ObservedOrganization,
    /// Places of the machines in the tenant's app, whoever they belong to.
    machines_in_app: &'a [usize],
    /// Places of the volumes in the tenant's app.
    volumes_in_app: &'a [usize],
    /// The machines that carry this tenant's mark, wherever they are.
    owned: &'a [(&'a str, usize)],
    app_exists: bool,
    actions: Vec<(Action, String)>,
    notes: Vec<Note>,
    machines: Vec<MachineReport>,
}

impl<'a> Draft<'a> {
    fn new(
        tenant: &'a DesiredTenant,
        organization: &'a ObservedOrganization,
        index: &'a Index<'a>,
    ) -> Self {
        let app = tenant.app.as_str();
        let lists = &index.organizations[&*tenant.organization];
        Self {
            tenant,
            organization,
            machines_in_app: lists.machines_by_app.get(app).map_or(&[], Vec::as_slice),
            volumes_in_app: lists.volumes_by_app.get(app).map_or(&[], Vec::as_slice),
            owned: index
                .owned_by_tenant
                .get(&*tenant.name)
                .map_or(&[], Vec::as_slice),
            app_exists: lists.apps.contains(app),
            actions: Vec::new(),
            notes: Vec::new(),
            machines: Vec::new(),
        }
    }

    fn act(&mut self, action: Action, reason: impl Into<String>) {
        self.actions.push((action, reason.into()));
    }

    fn note(&mut self, reason: NoteReason, message: impl Into<String>) {
        self.notes.push(Note {
            reason,
            message: message.into(),
        });
    }
}

impl<'a> Planner<'a> {
    fn tenant(&mut self, tenant: &'a DesiredTenant) -> TenantReport {
        let Some(organization) = self.observed.organizations.get(&*tenant.organization) else {
            let message = format!("organization {} could not be read", tenant.organization);
            return TenantReport {
                tenant: Arc::clone(&tenant.name),
                app_exists: false,
                notes: vec![Note {
                    reason: NoteReason::Unobserved,
                    message,
                }],
                machines: Vec::new(),
                gone: false,
            };
        };
        let mut draft = Draft::new(tenant, organization, self.index);
        let gone = match tenant.deleting {
            true => self.delete(&mut draft),
            false => {
                self.converge(&mut draft);
                false
            }
        };
        self.release(&mut draft);
        TenantReport {
            tenant: Arc::clone(&tenant.name),
            app_exists: draft.app_exists,
            notes: draft.notes,
            machines: draft.machines,
            gone,
        }
    }

    fn converge(&mut self, draft: &mut Draft<'a>) {
        let tenant = draft.tenant;
        let machines = match &tenant.machines {
            Ok(machines) => machines,
            Err(problems) => {
                for problem in problems {
                    draft.note(
                        NoteReason::Invalid,
                        format!("{}: {}", problem.path, problem.message),
                    );
                }
                return;
            }
        };
        if let Some(machine) = self.machine_in_another_app(draft) {
            draft.note(
                NoteReason::NotSupported,
                format!(
                    "machine {} is in app {} and the manifest says {}; moving a tenant to another \
                     app is not supported yet",
                    machine.name, machine.app, tenant.app
                ),
            );
            return;
        }
        if !self.app(draft) {
            return;
        }
        for wanted in machines {
            let report = self.machine(draft, wanted);
            draft.machines.push(report);
        }
        for machine in self.surplus(draft, machines) {
            self.remove(draft, machine, "the manifest no longer asks for it", true);
        }
    }

    fn machine_in_another_app(&self, draft: &Draft<'a>) -> Option<&'a ObservedMachine> {
        draft
            .owned
            .iter()
            .map(|&(organization, place)| self.machine_at(organization, place))
            .find(|machine| machine.app != draft.tenant.app)
    }

    fn machine_at(&self, organization: &str, place: usize) -> &'a ObservedMachine {
        &self.observed.organizations[organization].machines[place]
    }

    /// Whether the tenant's app is there, or will be, and is ours.
    fn app(&self, draft: &mut Draft<'a>) -> bool {
        let tenant = draft.tenant;
        if draft.app_exists {
            let ours =
                !tenant.app_is_named || !draft.owned.is_empty() || draft.machines_in_app.is_empty();
            if !ours {
                draft.note(
                    NoteReason::NameTaken,
                    format!("app {} holds machines that are not ours", tenant.app),
                );
            }
            return ours;
        }
        if let Some(gap) = &draft.organization.gaps.unclear {
            draft.note(NoteReason::Unobserved, format!("app {}: {gap}", tenant.app));
            return false;
        }
        draft.act(Action::CreateApp, "it does not exist");
        true
    }

    fn machine(&mut self, draft: &mut Draft<'a>, wanted: &'a DesiredMachine) -> MachineReport {
        let machines = &draft.organization.machines;
        let place = draft
            .machines_in_app
            .iter()
            .copied()
            .find(|&at| machines[at].name == wanted.name);
        let machine = place.map(|place| &machines[place]);
        let found = wanted.volume.as_ref().map(|volume| {
            volume::find(
                volume,
                machine,
                &draft.organization.volumes,
                draft.volumes_in_app,
            )
        });
        let volume = match found {
            Some(VolumeMatch::Found(place) | VolumeMatch::FoundAmong(place, _)) => Some(place),
            _ => None,
        };
        let ready = match machine {
            None => {
                self.create(draft, wanted, found);
                false
            }
            Some(machine) => {
                let volume_fits = volume_fits(draft, wanted, machine, found);
                self.existing(draft, wanted, machine, volume) && volume_fits
            }
        };
        MachineReport {
            machine: place,
            volume,
            ready,
        }
    }

    fn create(
        &mut self,
        draft: &mut Draft<'a>,
        wanted: &'a DesiredMachine,
        found: Option<VolumeMatch>,
    ) {
        if let Some(gap) = draft.organization.gaps.hides(&wanted.region) {
            draft.note(
                NoteReason::Unobserved,
                format!("machine {}: {gap}", wanted.name),
            );
            return;
        }
        let volume = match (&wanted.volume, found) {
            (Some(volume), Some(found)) => match volume_source(draft, wanted, volume, found) {
                Some(source) => Some(source),
                None => return,
            },
            _ => None,
        };
        let config = self.config(draft.tenant, wanted, volume);
        draft.act(
            Action::CreateMachine(CreateMachine {
                name: wanted.name.clone(),
                region: Arc::clone(&wanted.region),
                config,
                skip_launch: wanted.state == MachineState::Stopped,
            }),
            "it does not exist",
        );
    }

    fn config(
        &self,
        tenant: &DesiredTenant,
        wanted: &DesiredMachine,
        volume: Option<VolumeSource>,
    ) -> MachineConfig {
        let rendered = wanted.config.render(&tenant.name, wanted.index);
        MachineConfig::new(
            rendered,
            self.controller_mark,
            &tenant.name,
            wanted.spec_hash,
            volume,
        )
    }

    /// Plans what an existing machine needs; whether it is as wanted.
    fn existing(
        &mut self,
        draft: &mut Draft<'a>,
        wanted: &'a DesiredMachine,
        machine: &'a ObservedMachine,
        volume: Option<usize>,
    ) -> bool {
        let owner = Marks::read(&machine.metadata).controller;
        if owner.is_some_and(|owner| owner != self.controller_mark) {
            draft.note(
                NoteReason::NameTaken,
                format!("machine {} belongs to another controller", machine.name),
            );
            return false;
        }
        let tenant = draft.tenant;
        let need = machine::need(
            wanted,
            &tenant.name,
            self.controller_mark,
            machine,
            self.policy,
            self.now,
        );
        let reference = MachineRef {
            id: machine.id.clone(),
            name: machine.name.clone(),
        };
        match need {
            Need::Nothing => return true,
            Need::Patience(message) => draft.note(NoteReason::Waiting, message),
            Need::Stuck(message) => draft.note(NoteReason::Stuck, message),
            Need::Impossible(message) => draft.note(NoteReason::NotSupported, message),
            Need::Start(reason) => draft.act(Action::StartMachine(reference), reason),
            Need::Stop(reason) => draft.act(Action::StopMachine(reference), reason),
            Need::Update(reason) => {
                if machine.state == PlatformState::Started && !self.may_disrupt(draft, machine) {
                    return false;
                }
                let volume = volume.map(|place| {
                    VolumeSource::Existing(draft.organization.volumes[place].id.clone())
                });
                let mut config = self.config(tenant, wanted, volume);
                for (key, value) in &machine.metadata {
                    if !wanted.config.owns_metadata(key) {
                        config.keep_metadata(key, value);
                    }
                }
                let update = UpdateMachine {
                    machine: reference,
                    config,
                    current_version: machine.version.clone(),
                    skip_launch: wanted.state == MachineState::Stopped,
                };
                draft.act(Action::UpdateMachine(update), reason);
            }
        }
        false
    }

    /// Takes one machine's worth of the disruption budget, or notes that it is used up.
    fn may_disrupt(&mut self, draft: &mut Draft<'a>, machine: &ObservedMachine) -> bool {
        if self.budget_left == 0 {
            draft.note(
                NoteReason::BudgetExhausted,
                format!(
                    "machine {} waits: enough machines are down by our doing",
                    machine.name
                ),
            );
            return false;
        }
        self.budget_left -= 1;
        true
    }

    /// The tenant's own machines that its manifest does not name.
    fn surplus(
        &self,
        draft: &Draft<'a>,
        machines: &'a [DesiredMachine],
    ) -> Vec<&'a ObservedMachine> {
        draft
            .owned
            .iter()
            .map(|&(organization, place)| self.machine_at(organization, place))
            .filter(|machine| machines.iter().all(|wanted| wanted.name != machine.name))
            .collect()
    }

    /// Plans a machine's end: first stopped, so that its programs can finish, then destroyed.
    fn remove(
        &mut self,
        draft: &mut Draft<'a>,
        machine: &'a ObservedMachine,
        reason: &str,
        budgeted: bool,
    ) {
        let reference = MachineRef {
            id: machine.id.clone(),
            name: machine.name.clone(),
        };
        match &machine.state {
            state if state.is_passing() => {
                match machine::patience(machine, self.policy, self.now) {
                    Need::Stuck(message) => draft.note(NoteReason::Stuck, message),
                    _ => draft.note(
                        NoteReason::Waiting,
                        format!("machine {} is {}", machine.name, machine.state.word()),
                    ),
                }
            }
            PlatformState::Started => {
                if !budgeted || self.may_disrupt(draft, machine) {
                    draft.act(
                        Action::StopMachine(reference),
                        format!("to be deleted: {reason}"),
                    );
                }
            }
            _ => draft.act(Action::DeleteMachine(reference), reason),
        }
    }

    /// Plans a tenant's end; whether nothing is left that has to go.
    fn delete(&mut self, draft: &mut Draft<'a>) -> bool {
        for &(organization, place) in draft.owned {
            let machine = self.machine_at(organization, place);
            self.remove(draft, machine, "the tenant is being deleted", false);
        }
        let kept = draft.volumes_in_app.len();
        if kept > 0 {
            draft.note(
                NoteReason::Kept,
                format!("app {} and its volumes ({kept}) are kept", draft.tenant.app),
            );
        } else if draft.app_exists {
            draft.note(
                NoteReason::Kept,
                format!(
                    "app {} is kept: deleting apps is not supported yet",
                    draft.tenant.app
                ),
            );
        }
        let gaps = &draft.organization.gaps;
        if gaps.unclear.is_some() || !gaps.regions.is_empty() {
            draft.note(
                NoteReason::Unobserved,
                "the platform's lists are not whole, so machines may be left".to_owned(),
            );
            return false;
        }
        draft.owned.is_empty()
    }

    /// Hands the tenant's actions over, unless the tenant is held.
    fn release(&mut self, draft: &mut Draft<'a>) {
        let tenant = draft.tenant;
        let hold = self.observed.holds.get(&*tenant.name);
        let held = hold.filter(|hold| self.now < hold.until && !draft.actions.is_empty());
        let actions = std::mem::take(&mut draft.actions);
        match held {
            Some(hold) => draft.note(hold_reason(hold), hold.message.clone()),
            None => {
                self.actions
                    .extend(actions.into_iter().map(|(action, reason)| PlannedAction {
                        tenant: Arc::clone(&tenant.name),
                        organization: Arc::clone(&tenant.organization),
                        app: tenant.app.clone(),
                        action,
                        reason,
                    }));
            }
        }
    }
}

fn hold_reason(hold: &Hold) -> NoteReason {
    match hold.kind {
        HoldKind::BackOff => NoteReason::BackOff,
        HoldKind::Unsettled => NoteReason::Unsettled,
        HoldKind::NameTaken => NoteReason::NameTaken,
        HoldKind::Refused => NoteReason::Refused,
    }
}

/// Where a new machine's volume comes from; `None`, with a note, if it cannot be had now.
fn volume_source(
    draft: &mut Draft<'_>,
    wanted: &DesiredMachine,
    volume: &DesiredVolume,
    found: VolumeMatch,
) -> Option<VolumeSource> {
    let volumes = &draft.organization.volumes;
    match found {
        VolumeMatch::Found(place) | VolumeMatch::FoundAmong(place, _) => {
            let existing = &volumes[place];
            if existing.region != *wanted.region {
                let message = format!(
                    "volume {} ({}) lies in region {} and the manifest says {}; moving a volume \
                     is not supported yet",
                    existing.id, existing.name, existing.region, wanted.region
                );
                draft.note(NoteReason::NotSupported, message);
                return None;
            }
            if let VolumeMatch::FoundAmong(_, count) = found {
                let message = format!(
                    "{count} volumes are named {}; {} is used, the others are left alone",
                    volume.name, existing.id
                );
                draft.note(NoteReason::Kept, message);
            }
            Some(VolumeSource::Existing(existing.id.clone()))
        }
        VolumeMatch::HeldElsewhere(place) => {
            let message = format!("volume {} is still attached", volumes[place].id);
            draft.note(NoteReason::Waiting, message);
            None
        }
        VolumeMatch::Missing | VolumeMatch::NotAttachable => {
            let create = CreateVolume {
                name: volume.name.clone(),
                region: Arc::clone(&wanted.region),
                size_gb: volume.size_gb,
                machine: wanted.name.clone(),
            };
            draft.act(Action::CreateVolume(create), "it does not exist");
            Some(VolumeSource::Planned(volume.name.clone()))
        }
    }
}

/// Whether an existing machine has the volume that it should have; notes what cannot be changed.
fn volume_fits(
    draft: &mut Draft<'_>,
    wanted: &DesiredMachine,
    machine: &ObservedMachine,
    found: Option<VolumeMatch>,
) -> bool {
    let volumes = &draft.organization.volumes;
    let message = match (&wanted.volume, found) {
        (Some(volume), Some(VolumeMatch::Found(place))) => {
            let seen = volumes[place].size_gb;
            if seen == volume.size_gb {
                return true;
            }
            format!(
                "volume {} has {seen} GB and the manifest says {}; resizing is not supported yet",
                volumes[place].id, volume.size_gb
            )
        }
        (Some(volume), _) => format!(
            "machine {} was made without volume {}; attaching one is not supported yet",
            machine.name, volume.template
        ),
        (None, _) => {
            let attached = draft.volumes_in_app.iter().find(|&&place| {
                volumes[place].attached_machine.as_deref() == Some(machine.id.as_str())
            });
            match attached {
                None => return true,
                Some(&place) => format!(
                    "machine {} holds volume {}, which the manifest does not name; detaching is \
                     not supported yet",
                    machine.name, volumes[place].id
                ),
            }
        }
    };
    draft.note(NoteReason::NotSupported, message);
    false
}

fn strays(desired: &Desired, index: &Index<'_>) -> Vec<Stray> {
    let known: HashSet<&str> = desired.tenants.iter().map(|tenant| &*tenant.name).collect();
    let mut strays: Vec<Stray> = index
        .owned_by_tenant
        .iter()
        .filter(|(tenant, _)| !known.contains(*tenant))
        .flat_map(|(tenant, places)| {
            places
                .iter()
                .map(|&(organization, place)| (*tenant, organization, place))
        })
        .map(|(tenant, organization, place)| {
            let machine = &index.observed.organizations[organization].machines[place];
            Stray {
                organization: organization.to_owned(),
                app: machine.app.clone(),
                id: machine.id.clone(),
                name: machine.name.clone(),
                tenant: tenant.to_owned(),
            }
        })
        .collect();
    strays.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    strays
}
