//! Volumes whose machines go for good: what their policy says of them, before the machine goes.
//!
//! ```text
//!   surplus or deleted machine ─▶ its volume: Retain? ─▶ kept, and said
//!                                     │ Snapshot, Delete
//!                                     ▼
//!                                 tombstone ─▶ Snapshot? ─▶ at rest ─▶ snapshot ─▶ created? ─▶ destroy it
//! ```
//!
//! A tombstone is written while the machine still stands, so that no crash can come between the end
//! of the machine and the memory of what was to become of its volume. A machine that is made anew or
//! relocated does not come by here.

use std::collections::BTreeSet;

use vault_api::tenant::DeletionPolicy;

use super::Planner;
use super::draft::Draft;
use super::index::Owned;
use super::wanted::reference;
use crate::action::{Action, SnapshotVolume};
use crate::desired::{DesiredMachine, Slot};
use crate::observed::{ObservedMachine, ObservedVolume, PlatformState};
use crate::relocation::rests;
use crate::report::NoteReason;
use crate::tombstone::{Cause, Tombstone, TombstoneKind, TombstoneState};

impl<'a> Planner<'a> {
    /// Makes tombstones for the volumes of a deleted tenant, as far as their policy asks for it; how
    /// many are kept.
    pub(super) fn bury_all(&mut self, draft: &Draft<'a>) -> usize {
        let lists = draft.lists;
        let mut buried = 0;
        if !draft.tenant.slots.all_retained() && !draft.tenant.paused {
            for &place in lists.volumes_in_app {
                let volume = &lists.volumes[place];
                let slot = match self.holder(draft, volume) {
                    Holder::Nobody if is_newest(draft, volume) => self.slot(draft, volume),
                    Holder::Ours(machine) => held_slot(draft, volume, &machine.name),
                    Holder::Nobody | Holder::SomebodyElse => None,
                };
                let slot = slot.filter(|slot| slot.policy != DeletionPolicy::Retain);
                if let Some(slot) = slot {
                    self.bury(draft, volume, slot, Cause::Deleted);
                    buried += 1;
                }
            }
        }
        lists.volumes_in_app.len() - buried
    }

    /// Makes a tombstone for the volume of a machine that the manifest no longer asks for.
    pub(super) fn bury_held(&mut self, draft: &Draft<'a>, machine: &ObservedMachine) {
        let Some(volume) = held_by(draft, machine).filter(|_| !draft.tenant.paused) else { return };
        if let Some(slot) = held_slot(draft, volume, &machine.name)
            && slot.policy != DeletionPolicy::Retain
        {
            self.bury(draft, volume, slot, Cause::Unwanted);
        }
    }

    /// Makes tombstones for free volumes of machines that the manifest no longer asks for, and that
    /// are gone: whoever took them away.
    pub(super) fn bury_free(&mut self, draft: &Draft<'a>, wanted: &[DesiredMachine]) {
        let (tenant, lists) = (draft.tenant, draft.lists);
        if tenant.slots.all_retained() || tenant.paused || draft.organization.gaps.any().is_some() {
            return;
        }
        let mut names = BTreeSet::new();
        names.extend(
            wanted.iter().filter_map(|machine| Some(machine.volume.as_ref()?.name.as_str())),
        );
        for &place in lists.volumes_in_app {
            let volume = &lists.volumes[place];
            if volume.attached_machine.is_some() || names.contains(volume.name.as_str()) {
                continue;
            }
            let slot = self.slot(draft, volume).filter(|slot| {
                slot.policy != DeletionPolicy::Retain
                    // A machine that no longer mounts it has not gone for good.
                    && !tenant.slots.wants_machine(&tenant.name, &slot.machine)
            });
            if let Some(slot) = slot
                && is_newest(draft, volume)
                && !draft.owned.iter().any(|owned| owned.machine.name == slot.machine)
            {
                self.bury(draft, volume, slot, Cause::Unwanted);
            }
        }
    }

    /// Whether a machine at rest may be destroyed; if not, its volume gets the snapshot that its
    /// policy asks for first.
    pub(super) fn may_go(&mut self, draft: &mut Draft<'a>, owned: Owned<'a>, reason: &str) -> bool {
        let machine = owned.machine;
        let Some(volume) = held_by(draft, machine) else { return true };
        let standing = self.standing.get(volume.id.as_str()).copied();
        let Some(tombstone) = standing else {
            // The policy of a tombstone that this very plan makes is looked at by the next one.
            let is_new = self
                .tombstones
                .written
                .iter()
                .any(|new| new.id == volume.id && new.policy == DeletionPolicy::Snapshot);
            if is_new {
                let message = format!("a snapshot of volume {} is to be made", volume.id);
                draft.note(NoteReason::Waiting, message);
                draft.snapshotting = true;
            }
            return !is_new;
        };
        if tombstone.policy != DeletionPolicy::Snapshot {
            return true;
        }
        draft.snapshotting = true;
        if !rests(machine) {
            let reason = format!("{reason}: it has to write out what it holds in memory");
            draft.act_on(owned, Action::StartMachine(reference(machine)), reason);
            return false;
        }
        let (tombstone, id) = (tombstone.clone(), volume.id.as_str());
        match self.snapshot_since(id, machine.updated_at) {
            Snapshot::Done(snapshot) => {
                if tombstone.snapshot.as_deref() != Some(&*snapshot) {
                    let message = format!("snapshot {snapshot} of volume {id} is made");
                    draft.note(NoteReason::Waiting, message);
                    self.write(Tombstone { snapshot: Some(snapshot), ..tombstone });
                }
                draft.snapshotting = false;
                return true;
            }
            Snapshot::Pending(message) => draft.note(NoteReason::Waiting, message),
            Snapshot::Stuck(message) => {
                let message = format!("machine {} stays: {message}", machine.name);
                draft.note(NoteReason::Stuck, message);
            }
            Snapshot::Missing => {
                let snapshot = SnapshotVolume {
                    id: volume.id.clone(),
                    name: volume.name.clone(),
                    machine: machine.name.clone(),
                };
                let reason = format!("{reason}: its volume's policy is Snapshot");
                draft.act_on(owned, Action::SnapshotVolume(snapshot), reason);
            }
        }
        false
    }

    /// What is known of a snapshot of this volume that was begun at `since`, or later.
    pub(super) fn snapshot_since(
        &self,
        volume: &str,
        since: Option<crate::time::UnixMillis>,
    ) -> Snapshot {
        let Some(since) = since else {
            let message = "the platform does not say since when the machine rests".to_owned();
            return Snapshot::Stuck(message);
        };
        let Some(known) = self.observed.snapshots.get(volume) else {
            let message = format!("the snapshots of volume {volume} are to be looked at");
            return Snapshot::Pending(message);
        };
        let mut fresh: Vec<_> =
            known.iter().filter(|one| one.created_at.is_some_and(|at| at >= since)).collect();
        fresh.sort_unstable_by_key(|one| (one.created_at, one.id.as_str()));
        if let Some(done) = fresh.iter().find(|one| one.status == "created") {
            return Snapshot::Done(done.id.clone());
        }
        let failed = |status: &str| matches!(status, "failed" | "error");
        match fresh.iter().find(|one| !failed(&one.status)).or_else(|| fresh.first()) {
            None => Snapshot::Missing,
            Some(one) if failed(&one.status) => {
                Snapshot::Stuck(format!("snapshot {} of volume {volume} failed", one.id))
            }
            Some(one) => Snapshot::Pending(format!(
                "snapshot {} of volume {volume} is {}",
                one.id, one.status
            )),
        }
    }

    fn bury(&mut self, draft: &Draft<'a>, volume: &ObservedVolume, slot: Slot, cause: Cause) {
        if self.standing.contains_key(volume.id.as_str()) {
            return;
        }
        let tenant = draft.tenant;
        let tombstone = Tombstone {
            kind: TombstoneKind::Volume,
            id: volume.id.clone(),
            tenant: tenant.name.to_string(),
            uid: tenant.uid,
            organization: tenant.organization.to_string(),
            app: volume.app.clone(),
            name: volume.name.clone(),
            region: volume.region.clone(),
            size_gb: volume.size_gb,
            machine: slot.machine,
            template: slot.template.to_string(),
            policy: slot.policy,
            cause,
            snapshot: None,
            made_at: self.now,
            due_at: self.now.plus_ms(self.policy.deletion_grace_ms),
            sightings: 0,
            seen_at: None,
            state: TombstoneState::Standing,
            ended_at: None,
            outcome: None,
        };
        self.write(tombstone);
    }

    /// Has a tombstone written; what was to be written of it before is part of it.
    pub(super) fn write(&mut self, tombstone: Tombstone) {
        let written = &mut self.tombstones.written;
        match written
            .iter_mut()
            .find(|known| known.id == tombstone.id && known.kind == tombstone.kind)
        {
            Some(known) => *known = tombstone,
            None => written.push(tombstone),
        }
    }

    fn slot(&self, draft: &Draft<'a>, volume: &ObservedVolume) -> Option<Slot> {
        let tenant = draft.tenant;
        tenant.slots.find(&tenant.name, tenant.uid, &volume.name)
    }

    fn holder(&self, draft: &Draft<'a>, volume: &ObservedVolume) -> Holder<'a> {
        let Some(id) = &volume.attached_machine else { return Holder::Nobody };
        let owned = draft.owned.iter().find(|owned| owned.machine.id == *id);
        owned.map_or(Holder::SomebodyElse, |owned| Holder::Ours(owned.machine))
    }
}

/// How far the snapshot of a volume is.
pub(super) enum Snapshot {
    Done(String),
    Missing,
    Pending(String),
    Stuck(String),
}

/// Who holds a volume.
enum Holder<'a> {
    Nobody,
    Ours(&'a ObservedMachine),
    SomebodyElse,
}

fn held_by<'a>(draft: &Draft<'a>, machine: &ObservedMachine) -> Option<&'a ObservedVolume> {
    let mut volumes = draft.organization.volumes.iter();
    volumes.find(|volume| {
        volume.app == machine.app && volume.attached_machine.as_deref() == Some(&machine.id)
    })
}

fn held_slot(draft: &Draft<'_>, volume: &ObservedVolume, machine: &str) -> Option<Slot> {
    let tenant = draft.tenant;
    tenant.slots.held(&tenant.name, tenant.uid, machine, &volume.name)
}

/// Whether a free volume is the one with the data: nobody holds one of its name, and none is newer.
/// Others of its name were left behind by a move, and are kept.
fn is_newest(draft: &Draft<'_>, volume: &ObservedVolume) -> bool {
    let lists = draft.lists;
    let others = lists.volumes_in_app.iter().map(|&place| &lists.volumes[place]);
    let mut others = others.filter(|other| other.name == volume.name && other.id != volume.id);
    others.all(|other| other.attached_machine.is_none() && other.created_at < volume.created_at)
}

/// The stage of a deletion, read off what is left of the tenant.
pub(super) fn stage(draft: &Draft<'_>) -> vault_api::status::DeletionStage {
    use vault_api::status::DeletionStage;
    let is_up = |owned: &Owned<'_>| {
        use PlatformState::{Replacing, Started, Starting, Stopping, Suspending};
        matches!(owned.machine.state, Started | Starting | Stopping | Replacing | Suspending)
    };
    match draft.owned {
        [] => DeletionStage::Tombstoned,
        owned if owned.iter().any(is_up) => DeletionStage::StoppingMachines,
        _ if draft.snapshotting => DeletionStage::Snapshotting,
        _ => DeletionStage::RemovingMachines,
    }
}
