//! What an update cannot change: the machine is stopped, destroyed and made anew.
//!
//! ```text
//!   mounts changed, or another region without a volume ─▶ stop ─▶ destroy ─▶ (next pass) create
//!   another region with a volume ─▶ relocate: Snapshot? no ─▶ a note
//!                                                      yes ─▶ crate::relocation, step by step
//! ```
//!
//! Volumes outlive their machines, so nothing is lost by it. Nothing is taken away before it is
//! certain that the volume of what follows can be had.

use std::sync::Arc;

use vault_api::tenant::MachineState;

use super::Planner;
use super::draft::Draft;
use super::wanted::reference;
use crate::action::{Action, CreateVolume, SnapshotVolume};
use crate::desired::DesiredMachine;
use crate::machine::{self, Need};
use crate::observed::{ObservedMachine, PlatformState};
use crate::relocation::{self, Step};
use crate::report::NoteReason;
use crate::volume::{self, Fit, ForNew};

/// How a machine stands that is made anew.
#[derive(Clone, Copy)]
pub(super) struct Anew {
    /// It is down, or about to be, for that reason.
    pub(super) down: bool,
    /// The place of the volume that has its data in the new region, once it may go.
    pub(super) copy: Option<usize>,
}

impl Anew {
    fn in_place(down: bool) -> Self {
        Self { down, copy: None }
    }
}

impl<'a> Planner<'a> {
    /// Plans what cannot be done in place; `None` if the machine stays.
    pub(super) fn anew(
        &mut self,
        draft: &mut Draft<'a>,
        wanted: &'a DesiredMachine,
        machine: &'a ObservedMachine,
        fit: &Fit,
    ) -> Option<Anew> {
        let elsewhere = machine.region != *wanted.region;
        let why = || {
            format!("it is in region {} and the manifest says {}", machine.region, wanted.region)
        };
        match fit {
            Fit::Anew(_, why) => Some(Anew::in_place(self.replace(draft, wanted, machine, why))),
            Fit::Good(None) if elsewhere => {
                Some(Anew::in_place(self.replace(draft, wanted, machine, &why())))
            }
            Fit::Good(Some(place)) | Fit::Grow(place) | Fit::Different(place, _) if elsewhere => {
                if wanted.relocate {
                    return Some(self.relocate(draft, wanted, machine, *place));
                }
                let message = format!(
                    "machine {}: {}; a machine with a volume moves only with `relocate: Snapshot`",
                    machine.name,
                    why()
                );
                draft.note(NoteReason::Invalid, message);
                None
            }
            // Taken down to be moved, it is left down: started now it would write to the volume that
            // is being copied, and which no list shows at the moment. A database that was lost does not
            // remember that it was: whatever rests where it must not stay is going to be moved.
            Fit::Unclear(note)
                if elsewhere
                    && (self.was_taken_down(draft, machine)
                        || wanted.relocate && relocation::rests(machine)) =>
            {
                draft.add(note.clone());
                Some(Anew::in_place(true))
            }
            Fit::Good(_) | Fit::Grow(_) | Fit::Different(..) | Fit::Unclear(..) => None,
        }
    }

    /// Whether an earlier pass took a machine down in order to make it anew.
    fn was_taken_down(&self, draft: &Draft<'a>, machine: &ObservedMachine) -> bool {
        let named = (draft.tenant.name.to_string(), machine.name.clone());
        machine.state != PlatformState::Started && self.observed.replacing.contains(&named)
    }

    fn replace(
        &mut self,
        draft: &mut Draft<'a>,
        wanted: &DesiredMachine,
        machine: &'a ObservedMachine,
        why: &str,
    ) -> bool {
        if self.is_hidden(draft, machine) {
            return false;
        }
        let for_new =
            wanted.volume.as_ref().map(|volume| volume::for_new(volume, wanted, draft.lists));
        match for_new {
            Some(ForNew::Elsewhere(..)) if wanted.relocate => {}
            Some(ForNew::Obstacle(note) | ForNew::Elsewhere(_, note)) => {
                draft.add(note);
                return false;
            }
            Some(ForNew::TakeBack(_) | ForNew::TakeBackOneOf(..) | ForNew::Create) | None => {}
        }
        let reason = format!("to be made anew: {why}");
        if machine.state.is_passing() {
            self.wait(draft, machine)
        } else if machine.state == PlatformState::Started {
            self.stop(draft, wanted, machine, reason)
        } else {
            draft.act(Action::DeleteMachine(reference(machine)), reason);
            true
        }
    }

    fn relocate(
        &mut self,
        draft: &mut Draft<'a>,
        wanted: &'a DesiredMachine,
        machine: &'a ObservedMachine,
        place: usize,
    ) -> Anew {
        if self.is_hidden(draft, machine) {
            return Anew::in_place(false);
        }
        let volume = &draft.organization.volumes[place];
        let way = format!("from region {} to {}", machine.region, wanted.region);
        let reason = format!("to be moved {way}");
        if machine.state.is_passing() {
            return Anew::in_place(self.wait(draft, machine));
        }
        if machine.state == PlatformState::Started {
            return Anew::in_place(self.stop(draft, wanted, machine, reason));
        }
        if !relocation::rests(machine) {
            let reason = format!("{reason}: it has to write out what it holds in memory");
            draft.act(Action::StartMachine(reference(machine)), reason);
            return Anew::in_place(true);
        }
        // Its rest begins anew when it is shown as stopped: what is copied before would not count then,
        // and be copied once more.
        if machine::is_being_made(machine, self.policy, self.now) {
            let message = format!("machine {} is being made ready to be moved", machine.name);
            draft.note(NoteReason::Waiting, message);
            return Anew::in_place(true);
        }
        let snapshots = self.observed.snapshots.get(&volume.id).map(Vec::as_slice);
        let step = relocation::step(wanted, machine, volume, snapshots, draft.lists);
        let mut copy = None;
        let (what, action) = match step {
            Step::Stuck(why) => {
                let message = format!("machine {} moves {way}: {why}", machine.name);
                draft.note(NoteReason::Stuck, message);
                return Anew::in_place(true);
            }
            Step::Wait(why) => (why, None),
            Step::Snapshot => {
                let snapshot = SnapshotVolume {
                    id: volume.id.clone(),
                    name: volume.name.clone(),
                    machine: machine.name.clone(),
                };
                let what = format!("a snapshot of volume {} is to be made", volume.id);
                (what, Some(Action::SnapshotVolume(snapshot)))
            }
            Step::Volume(snapshot) => {
                draft.wants_volume = true;
                if let Some(gap) = draft.volume_gap() {
                    let message = format!("machine {} stays: {gap}", machine.name);
                    draft.note(NoteReason::Unobserved, message);
                    return Anew::in_place(true);
                }
                let wanted_gb = wanted.volume.as_ref().map_or(0, |volume| volume.size_gb);
                let create = CreateVolume {
                    name: volume.name.clone(),
                    region: Arc::clone(&wanted.region),
                    size_gb: wanted_gb.max(volume.size_gb),
                    machine: wanted.name.clone(),
                    snapshot: Some(snapshot.to_owned()),
                    left_behind: None,
                };
                let what = format!("its volume is to be made from snapshot {snapshot}");
                (what, Some(Action::CreateVolume(create)))
            }
            Step::Remove(place) => {
                copy = Some(place);
                let what = format!("its volume is there; volume {} is kept", volume.id);
                (what, Some(Action::DeleteMachine(reference(machine))))
            }
        };
        draft.note(NoteReason::Relocating, format!("machine {} moves {way}: {what}", machine.name));
        if let Some(action) = action {
            draft.act(action, format!("{reason}: {what}"));
        }
        Anew { down: true, copy }
    }

    /// Whether a list leaves something out: then nothing is taken away on its word.
    fn is_hidden(&self, draft: &mut Draft<'a>, machine: &ObservedMachine) -> bool {
        let Some(gap) = draft.organization.gaps.any() else { return false };
        draft.note(NoteReason::Unobserved, format!("machine {} stays: {gap}", machine.name));
        true
    }

    /// Waits for a machine that is on its way; it counts as down meanwhile.
    fn wait(&self, draft: &mut Draft<'a>, machine: &ObservedMachine) -> bool {
        match machine::patience(machine, self.policy, self.now) {
            Need::Stuck(message) => draft.note(NoteReason::Stuck, message),
            Need::Patience(message) => draft.note(NoteReason::Waiting, message),
            _ => {}
        }
        true
    }

    /// Stops a running machine within the disruption budget, unless it should not run anyway.
    fn stop(
        &mut self,
        draft: &mut Draft<'a>,
        wanted: &DesiredMachine,
        machine: &'a ObservedMachine,
        reason: String,
    ) -> bool {
        if wanted.state != MachineState::Started {
            draft.act(Action::StopMachine(reference(machine)), "it should not run");
            return true;
        }
        let may = self.may_disrupt(draft, machine);
        if may {
            draft.act(Action::StopMachine(reference(machine)), reason);
        }
        may
    }
}
