//! One wanted machine: made if it is not there, brought to what is wanted if it is.

use std::cmp::Reverse;
use std::sync::Arc;

use vault_api::tenant::MachineState;

use super::Planner;
use super::draft::Draft;
use crate::action::{
    Action, CreateMachine, CreateVolume, MachineConfig, MachineRef, UpdateMachine, VolumeSource,
};
use crate::desired::{DesiredMachine, DesiredTenant};
use crate::machine::{self, Need, Owner};
use crate::metadata::OwnMarks;
use crate::observed::{ObservedMachine, PlatformState};
use crate::report::{MachineReport, NoteReason};
use crate::volume::{self, Fit, ForNew};

impl<'a> Planner<'a> {
    /// Plans what a wanted machine needs, and reports where it stands.
    pub(super) fn wanted(
        &mut self,
        draft: &mut Draft<'a>,
        wanted: &'a DesiredMachine,
    ) -> MachineReport {
        let Some(place) = place_of(draft, &wanted.name) else {
            let volume = self.create(draft, wanted);
            return MachineReport { machine: None, volume, ready: false };
        };
        let machine = &draft.organization.machines[place];
        let owner = machine::owner(machine, &draft.tenant.name, self.controller_mark);
        if let Owner::SomebodyElse(whose) = owner {
            draft.note(NoteReason::NameTaken, whose);
            return MachineReport { machine: None, volume: None, ready: false };
        }
        let (fits, volume) = self.compare(draft, wanted, machine);
        let ready = self.bring(draft, wanted, machine, volume) && fits;
        let volume = match volume {
            Mounts::AsWanted(volume) | Mounts::Wrong(volume) => volume,
        };
        MachineReport { machine: Some(place), volume, ready }
    }

    /// Plans a machine that is not there; the place of the volume that it takes back.
    fn create(&self, draft: &mut Draft<'a>, wanted: &'a DesiredMachine) -> Option<usize> {
        if let Some(gap) = draft.organization.gaps.hides(&wanted.region) {
            draft.note(NoteReason::Unobserved, format!("machine {}: {gap}", wanted.name));
            return None;
        }
        let for_new =
            wanted.volume.as_ref().map(|volume| volume::for_new(volume, wanted, draft.lists));
        let (source, taken) = match (for_new, &wanted.volume) {
            (Some(ForNew::Obstacle(note)), _) => {
                draft.add(note);
                return None;
            }
            (Some(ForNew::TakeBackOneOf(place, note)), _) => {
                draft.add(note);
                (Some(existing(draft, place)), Some(place))
            }
            (Some(ForNew::TakeBack(place)), _) => (Some(existing(draft, place)), Some(place)),
            (Some(ForNew::Create), Some(volume)) => {
                let create = CreateVolume {
                    name: volume.name.clone(),
                    region: Arc::clone(&wanted.region),
                    size_gb: volume.size_gb,
                    machine: wanted.name.clone(),
                };
                draft.act(Action::CreateVolume(create), "it does not exist");
                (Some(VolumeSource::Planned(volume.name.clone())), None)
            }
            _ => (None, None),
        };
        let create = CreateMachine {
            name: wanted.name.clone(),
            region: Arc::clone(&wanted.region),
            config: self.config(draft.tenant, wanted, source),
            skip_launch: wanted.state == MachineState::Stopped,
            min_secrets_version: draft.secrets_version,
        };
        draft.act(Action::CreateMachine(create), "it does not exist");
        taken
    }

    /// Notes what of an existing machine cannot be changed; whether there is nothing of that.
    fn compare(
        &self,
        draft: &mut Draft<'a>,
        wanted: &DesiredMachine,
        machine: &ObservedMachine,
    ) -> (bool, Mounts) {
        let same_region = machine.region == *wanted.region;
        if !same_region {
            let message = format!(
                "machine {} is in region {} and the manifest says {}; moving a machine is not \
                 supported yet",
                machine.name, machine.region, wanted.region
            );
            draft.note(NoteReason::NotSupported, message);
        }
        let volume = wanted.volume.as_ref();
        match volume::for_existing(volume, machine, draft.lists, self.policy, self.now) {
            Fit::Good(volume) => (same_region, Mounts::AsWanted(volume)),
            Fit::Different(volume, note) => {
                draft.add(note);
                (false, Mounts::AsWanted(Some(volume)))
            }
            Fit::Wrong(volume, note) => {
                draft.add(note);
                (false, Mounts::Wrong(volume))
            }
        }
    }

    /// Plans what an existing machine needs; whether it needs nothing.
    fn bring(
        &mut self,
        draft: &mut Draft<'a>,
        wanted: &'a DesiredMachine,
        machine: &'a ObservedMachine,
        mounts: Mounts,
    ) -> bool {
        let secrets_mark = draft.tenant.secrets_mark();
        let own = self.own_marks(draft.tenant, &secrets_mark);
        match machine::need(wanted, own, machine, self.policy, self.now) {
            Need::Nothing => return true,
            Need::Patience(message) => draft.note(NoteReason::Waiting, message),
            Need::Stuck(message) => draft.note(NoteReason::Stuck, message),
            Need::Sight(message) => draft.note(NoteReason::Unobserved, message),
            Need::Start(reason) => draft.act(Action::StartMachine(reference(machine)), reason),
            Need::Stop(reason) => draft.act(Action::StopMachine(reference(machine)), reason),
            Need::Update(reason) => {
                // What the machine mounts is part of its config; the note about it stands already.
                let Mounts::AsWanted(volume) = mounts else {
                    return false;
                };
                if machine.state == PlatformState::Started && !self.may_disrupt(draft, machine) {
                    return false;
                }
                let update = self.update(draft, wanted, machine, volume);
                draft.act(Action::UpdateMachine(update), reason);
            }
        }
        false
    }

    fn update(
        &self,
        draft: &Draft<'a>,
        wanted: &DesiredMachine,
        machine: &ObservedMachine,
        volume: Option<usize>,
    ) -> UpdateMachine {
        let source = volume.map(|place| existing(draft, place));
        let mut config = self.config(draft.tenant, wanted, source);
        for (key, value) in &machine.metadata {
            if !wanted.config.owns_metadata(key) {
                config.keep_metadata(key, value);
            }
        }
        UpdateMachine {
            machine: reference(machine),
            config,
            current_version: machine.version.clone(),
            skip_launch: wanted.state == MachineState::Stopped,
            min_secrets_version: draft.secrets_version,
        }
    }

    fn config(
        &self,
        tenant: &DesiredTenant,
        wanted: &DesiredMachine,
        volume: Option<VolumeSource>,
    ) -> MachineConfig {
        let rendered = wanted.config.render(&tenant.name, wanted.index);
        let secrets_mark = tenant.secrets_mark();
        let own = self.own_marks(tenant, &secrets_mark);
        MachineConfig::new(rendered, own, wanted.spec_hash, volume)
    }

    fn own_marks<'b>(&'b self, tenant: &'b DesiredTenant, secret_hash: &'b str) -> OwnMarks<'b> {
        OwnMarks { controller: self.controller_mark, tenant: &tenant.name, secret_hash }
    }
}

/// What a machine mounts, beside what it should: the place of the volume that it holds.
#[derive(Clone, Copy)]
enum Mounts {
    AsWanted(Option<usize>),
    Wrong(Option<usize>),
}

/// Where the machine of that name stands in the organization's list. A name is free again as soon as
/// its machine is being destroyed, so two may be listed: the living one counts, then the newer row.
fn place_of(draft: &Draft<'_>, name: &str) -> Option<usize> {
    let lists = draft.lists;
    let named = lists.machines_in_app.iter().copied().filter(|&at| lists.machines[at].name == name);
    named.min_by_key(|&place| {
        let machine = &lists.machines[place];
        (machine.state == PlatformState::Destroying, Reverse(machine.updated_at))
    })
}

fn existing(draft: &Draft<'_>, place: usize) -> VolumeSource {
    VolumeSource::Existing(draft.organization.volumes[place].id.clone())
}

/// What an action says of the machine that it is about.
pub(super) fn reference(machine: &ObservedMachine) -> MachineRef {
    MachineRef { id: machine.id.clone(), name: machine.name.clone() }
}
