//! Machines that nobody wants any more: stopped, so that their programs can end, then destroyed.

use super::Planner;
use super::draft::Draft;
use super::index::Owned;
use super::wanted::reference;
use crate::action::Action;
use crate::desired::DesiredMachine;
use crate::machine::{self, Need};
use crate::observed::PlatformState;
use crate::report::NoteReason;

/// The name before the index, and the index: the highest index of a group goes first.
fn by_group_and_index(name: &str) -> (&str, u32) {
    let (group, index) = name.rsplit_once('-').unwrap_or((name, ""));
    (group, index.parse().unwrap_or(0))
}

/// Who asked for a machine's end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// A person, by the tenant's name: done at once.
    ByName,
    /// The manifest, by no longer asking for it: within the disruption budget.
    ByManifest,
}

impl<'a> Planner<'a> {
    /// Plans the end of the tenant's own machines that its manifest does not name.
    pub(super) fn surplus(&mut self, draft: &mut Draft<'a>, wanted: &'a [DesiredMachine]) {
        // Nearly always there is none, and then nothing is gathered.
        let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted.name == name);
        let mut surplus: Vec<Owned<'a>> = draft.owned.to_vec();
        surplus.retain(|owned| !is_wanted(&owned.machine.name));
        surplus.sort_unstable_by(|one, other| {
            by_group_and_index(&other.machine.name).cmp(&by_group_and_index(&one.machine.name))
        });
        for owned in surplus {
            let name = &owned.machine.name;
            if let Some(gap) = draft.organization.gaps.any() {
                draft.note(NoteReason::Unobserved, format!("machine {name} stays: {gap}"));
                continue;
            }
            // What is left as it is keeps its volume too.
            if !draft.withholds() {
                self.bury_held(draft, owned.machine);
            }
            self.remove(draft, owned, "the manifest no longer asks for it", Asked::ByManifest);
        }
        self.bury_free(draft, wanted);
    }

    /// Plans a tenant's end; whether nothing is left that has to go.
    pub(super) fn delete(&mut self, draft: &mut Draft<'a>) -> bool {
        let tenant = draft.tenant;
        let kept = self.bury_all(draft);
        for &owned in draft.owned {
            self.remove(draft, owned, "the tenant is being deleted", Asked::ByName);
        }
        self.bury_buckets(draft);
        let tokens_left = self.tokens(draft);
        let storage_left = self.end_storage(draft);
        if kept > 0 && tenant.app_is_shared {
            let message = format!("its volumes ({kept}) in app {} are kept", tenant.app);
            draft.note(NoteReason::Kept, message);
        } else if kept > 0 {
            let message = format!("app {} and its volumes ({kept}) are kept", tenant.app);
            draft.note(NoteReason::Kept, message);
        } else if draft.app_exists && tenant.app_is_named {
            let message = format!("app {} is kept: the manifest names it", tenant.app);
            draft.note(NoteReason::Kept, message);
        }
        if draft.organization.gaps.any().is_some() {
            let message = "the platform's lists are not whole, so machines may be left";
            draft.note(NoteReason::Unobserved, message);
            return false;
        }
        if let Some(gap) = draft.volume_gap().filter(|_| !draft.tenant.slots.all_retained()) {
            let message = format!("its volumes are to get tombstones first: {gap}");
            draft.note(NoteReason::Unobserved, message);
            return false;
        }
        if let Some(machine) = draft.blank_among(draft.lists.machines_in_app) {
            let message = format!(
                "machine {} may be the tenant's: the platform does not show its config",
                machine.name
            );
            draft.note(NoteReason::Unobserved, message);
            return false;
        }
        // A call that is still to take effect may make a machine yet.
        let is_empty = draft.owned.is_empty() && draft.hold.is_none();
        // Its machines may read the secrets until they are gone.
        is_empty && !self.forget_secrets(draft) && !tokens_left && !storage_left
    }

    fn remove(&mut self, draft: &mut Draft<'a>, owned: Owned<'a>, reason: &str, asked: Asked) {
        let machine = owned.machine;
        if machine.state.is_passing() {
            match machine::patience(machine, self.policy, self.now) {
                Need::Stuck(message) => draft.note(NoteReason::Stuck, message),
                _ => {
                    let state = machine.state.word();
                    draft.note(NoteReason::Waiting, format!("machine {} is {state}", machine.name));
                }
            }
        } else if machine.state != PlatformState::Started {
            if !self.may_go(draft, owned, reason) {
                return;
            }
            draft.act_on(owned, Action::DeleteMachine(reference(machine)), reason);
        } else if asked == Asked::ByName || self.may_disrupt(draft, machine) {
            let reason = format!("to be deleted: {reason}");
            draft.act_on(owned, Action::StopMachine(reference(machine)), reason);
        }
    }
}
