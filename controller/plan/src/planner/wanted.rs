//! One wanted machine: made if it is not there, brought to what is wanted if it is.

use std::cmp::Reverse;
use std::sync::Arc;

use vault_api::tenant::MachineState;

use super::Planner;
use super::anew::Anew;
use super::draft::Draft;
use super::drift::Cause;
use crate::action::{
    Action, CreateMachine, CreateVolume, ExtendVolume, LeftBehind, MachineConfig, MachineRef,
    UpdateMachine, VolumeSource,
};
use crate::desired::{DesiredMachine, DesiredTenant};
use crate::machine::{self, Need, Owner};
use crate::metadata::{Marks, OwnMarks, written_keys};
use crate::observed::{ObservedMachine, PlatformState};
use crate::report::{MachineReport, Note, NoteReason};
use crate::volume::{self, Fit, ForNew};

impl<'a> Planner<'a> {
    /// Plans what a wanted machine needs, and reports where it stands.
    pub(super) fn wanted(
        &mut self,
        draft: &mut Draft<'a>,
        wanted: &'a DesiredMachine,
    ) -> MachineReport {
        let Some(place) = place_of(draft, &wanted.name) else {
            draft.because(Cause::Drift);
            let volume = self.create(draft, wanted);
            draft.because(Cause::Manifest);
            return MachineReport { volume, ..MachineReport::default() };
        };
        let machine = &draft.organization.machines[place];
        let owner = machine::owner(machine, &draft.tenant.name, self.controller_mark);
        if let Owner::SomebodyElse(whose) = owner {
            draft.note(NoteReason::NameTaken, whose);
            return MachineReport::default();
        }
        let fit = volume::for_existing(wanted, machine, draft.lists, self.policy, self.now);
        let report =
            MachineReport { machine: Some(place), volume: fit.held(), ..MachineReport::default() };
        draft.because(Cause::Drift);
        let replacing =
            if machine.is_blank() { None } else { self.anew(draft, wanted, machine, &fit) };
        draft.because(Cause::Manifest);
        if let Some(Anew { down, copy }) = replacing {
            return MachineReport { replacing: down, copy, ..report };
        }
        let in_place = machine.region == *wanted.region;
        let ready = self.bring(draft, wanted, machine, fit) && in_place;
        MachineReport { ready, ..report }
    }

    /// Plans a machine that is not there; the place of the volume that it takes back.
    fn create(&self, draft: &mut Draft<'a>, wanted: &'a DesiredMachine) -> Option<usize> {
        if let Some(message) = self.contest(draft.tenant, wanted) {
            draft.note(NoteReason::NameTaken, message);
            return None;
        }
        let hidden = draft.organization.gaps.hides(&wanted.region);
        let volume_gap = wanted.volume.as_ref().and_then(|_| draft.volume_gap());
        draft.wants_volume |= volume_gap.is_some() && !draft.withholds();
        if let Some(gap) = hidden.or(volume_gap) {
            draft.note(NoteReason::Unobserved, format!("machine {}: {gap}", wanted.name));
            return None;
        }
        let for_new =
            wanted.volume.as_ref().map(|volume| volume::for_new(volume, wanted, draft.lists));
        let planned_gb = wanted.volume.as_ref().map(|volume| volume.size_gb);
        let (source, taken) = match (for_new, &wanted.volume) {
            (Some(ForNew::Obstacle(note)), _) => {
                draft.add(note);
                return None;
            }
            (Some(ForNew::Elsewhere(place, note)), _) => {
                return self.create_elsewhere(draft, wanted, place, note);
            }
            (Some(ForNew::TakeBackOneOf(place, note)), _) => {
                draft.add(note);
                (Some(existing(draft, place)), Some(place))
            }
            (Some(ForNew::TakeBack(place)), _) => (Some(existing(draft, place)), Some(place)),
            (Some(ForNew::Create), Some(volume)) => {
                let left_behind = self
                    .index
                    .volume_elsewhere(&volume.name)
                    .map(|found| LeftBehind { id: found.id.clone(), app: found.app.clone() });
                let reason = match &left_behind {
                    None => "it does not exist".to_owned(),
                    Some(LeftBehind { id, app }) => format!(
                        "it does not exist in this app; volume {id} in app {app} stays there with \
                         its data"
                    ),
                };
                let create = CreateVolume {
                    name: volume.name.clone(),
                    region: Arc::clone(&wanted.region),
                    size_gb: volume.size_gb,
                    machine: wanted.name.clone(),
                    snapshot: None,
                    left_behind,
                };
                draft.wants_volume |= !draft.withholds();
                draft.act(Action::CreateVolume(create), reason);
                (Some(VolumeSource::Planned(volume.name.clone())), None)
            }
            _ => (None, None),
        };
        let create = CreateMachine {
            name: wanted.name.clone(),
            region: Arc::clone(&wanted.region),
            config: self.config(draft.tenant, wanted, source, gb(draft, taken).or(planned_gb)),
            skip_launch: wanted.state == MachineState::Stopped,
            min_secrets_version: draft.secrets_version,
        };
        draft.act(Action::CreateMachine(create), "it does not exist");
        taken
    }

    /// Why a machine is not made, if another tenant comes to the same name.
    fn contest(&self, tenant: &DesiredTenant, wanted: &DesiredMachine) -> Option<String> {
        if self.contested.is_empty() {
            return None;
        }
        let other = self.contested.get(&(Arc::clone(&tenant.name), wanted.name.clone()))?;
        Some(format!(
            "machine {} of the shared app {} is tenant {other}'s too: rename the machine group",
            wanted.name, tenant.app
        ))
    }

    /// Plans a machine at rest where its volume lies, so that both can be moved from there; or tells
    /// that it may not move.
    fn create_elsewhere(
        &self,
        draft: &mut Draft<'a>,
        wanted: &'a DesiredMachine,
        place: usize,
        note: Note,
    ) -> Option<usize> {
        if !wanted.relocate {
            draft.add(note);
            return None;
        }
        let region = draft.organization.volumes[place].region.as_str();
        if let Some(gap) = draft.organization.gaps.hides(region) {
            draft.note(NoteReason::Unobserved, format!("machine {}: {gap}", wanted.name));
            return None;
        }
        let source = Some(existing(draft, place));
        let create = CreateMachine {
            name: wanted.name.clone(),
            region: region.into(),
            config: self.config(draft.tenant, wanted, source, gb(draft, Some(place))),
            skip_launch: true,
            min_secrets_version: draft.secrets_version,
        };
        let reason = format!("its volume lies in region {region}, from where both are moved");
        draft.act(Action::CreateMachine(create), reason);
        Some(place)
    }

    /// Plans what an existing machine needs; whether it needs nothing.
    fn bring(
        &mut self,
        draft: &mut Draft<'a>,
        wanted: &'a DesiredMachine,
        machine: &'a ObservedMachine,
        fit: Fit,
    ) -> bool {
        let volume = fit.held();
        let secrets_mark = draft.tenant.secrets_mark();
        let own = self.own_marks(draft.tenant, &secrets_mark);
        let volume_gb = gb(draft, volume);
        let edits = self.observed.edits.get(&machine.id);
        let need = machine::need(wanted, own, machine, volume_gb, self.policy, self.now);
        let need = need.with_edits(edits);
        let (fits, mounts_known) = match fit {
            Fit::Good(_) => (true, true),
            Fit::Grow(place) => {
                let seen = !matches!(need, Need::Sight(_) | Need::Patience(_) | Need::Stuck(_));
                if seen {
                    // An update now would have to be followed by another one.
                    extend(draft, wanted, machine, place);
                    return false;
                }
                (false, true)
            }
            Fit::Different(_, note) => {
                draft.add(note);
                (false, true)
            }
            Fit::Unclear(note) => {
                draft.add(note);
                (false, false)
            }
            // Such a machine is made anew, unless the platform does not show what it is.
            Fit::Anew(..) => (false, false),
        };
        if let (Need::Correct(why), Some(_)) = (&need, edits) {
            draft.because(Cause::Drift);
            if !draft.withholds() {
                let message = format!("machine {}: {why}", machine.name);
                draft.note(NoteReason::DriftDetected, message);
            }
        }
        draft.because(need.cause());
        let done = self.meet(draft, wanted, machine, (need, mounts_known), volume);
        draft.because(Cause::Manifest);
        done && fits
    }

    /// Plans what meets a machine's need; whether there was none.
    fn meet(
        &mut self,
        draft: &mut Draft<'a>,
        wanted: &'a DesiredMachine,
        machine: &'a ObservedMachine,
        (need, mounts_known): (Need, bool),
        volume: Option<usize>,
    ) -> bool {
        match need {
            Need::Nothing => return true,
            Need::Patience(message) => draft.note(NoteReason::Waiting, message),
            Need::Stuck(message) => draft.note(NoteReason::Stuck, message),
            Need::Sight(message) => draft.note(NoteReason::Unobserved, message),
            Need::Start(reason) => draft.act(Action::StartMachine(reference(machine)), reason),
            Need::Stop(reason) => draft.act(Action::StopMachine(reference(machine)), reason),
            Need::Suspend(reason) => draft.act(Action::SuspendMachine(reference(machine)), reason),
            Need::Update(reason) | Need::Correct(reason) => {
                // What the machine mounts is part of its config.
                let runs = machine.state == PlatformState::Started;
                if !mounts_known || runs && !self.may_disrupt(draft, machine) {
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
        let mut config = self.config(draft.tenant, wanted, source, gb(draft, volume));
        let ours_before = written_keys(&machine.metadata);
        for (key, value) in &machine.metadata {
            if !wanted.config.owns_metadata(key) && !ours_before.contains(key) {
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
        volume_gb: Option<u32>,
    ) -> MachineConfig {
        let rendered = wanted.config.render(&tenant.name, wanted.index);
        let secrets_mark = tenant.secrets_mark();
        let own = self.own_marks(tenant, &secrets_mark);
        let mut config = MachineConfig::new(rendered, own, wanted.spec_hash, volume, volume_gb);
        if tenant.app_is_shared {
            config.see_only(&tenant.secrets);
        }
        config
    }

    fn own_marks<'b>(&'b self, tenant: &'b DesiredTenant, secret_hash: &'b str) -> OwnMarks<'b> {
        OwnMarks { controller: self.controller_mark, tenant: &tenant.name, secret_hash }
    }
}

/// Plans a larger volume; the machine goes on running meanwhile.
fn extend(draft: &mut Draft<'_>, wanted: &DesiredMachine, machine: &ObservedMachine, place: usize) {
    let (volume, Some(size_gb)) =
        (&draft.organization.volumes[place], wanted.volume.as_ref().map(|volume| volume.size_gb))
    else {
        return;
    };
    let reason = format!("it has {} GB and the manifest says {size_gb}", volume.size_gb);
    let extend = ExtendVolume {
        id: volume.id.clone(),
        name: volume.name.clone(),
        from_gb: volume.size_gb,
        size_gb,
        machine: reference(machine),
        is_marked: Marks::read(&machine.metadata).volume_gb.is_some(),
    };
    draft.act(Action::ExtendVolume(extend), reason);
}

/// The size of the volume at a place of the list.
fn gb(draft: &Draft<'_>, place: Option<usize>) -> Option<u32> {
    Some(draft.organization.volumes[place?].size_gb)
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
    let version = machine.version.clone();
    MachineRef { id: machine.id.clone(), name: machine.name.clone(), version }
}
