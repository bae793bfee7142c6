//! Moving a machine with its volume to another region: one step at a time, read off the platform.
//!
//! ```text
//!   runs ─▶ stop ─▶ no snapshot since? ─▶ snapshot ─▶ wait ─▶ volume from it, there ─▶ wait ─▶ destroy
//!                                                                                               │
//!          a machine that is not there takes the newest volume of its name  ◀── create ◀────────┘
//! ```
//!
//! Nothing is remembered. A snapshot counts if it is not older than the machine's rest, a volume in
//! the new region if it is not older than that snapshot: so whoever comes after a crash sees which
//! step is next, and a copy that missed later writes is never used. The old volume stays. The old
//! machine has to go before the new one comes, because names of machines are unique in an app; by
//! then its data is in both regions.

use std::collections::{HashMap, HashSet};

use vault_api::tenant::DeletionPolicy;

use crate::desired::{Desired, DesiredMachine};
use crate::observed::{Observed, ObservedMachine, ObservedSnapshot, ObservedVolume, PlatformState};
use crate::tombstone::{TombstoneKind, TombstoneState};
use crate::volume::{AppLists, is_in_the_making, is_mountable};

/// A volume whose snapshots the planner has to see.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotsNeeded {
    /// The app's name.
    pub app: String,
    /// The volume's id.
    pub volume: String,
}

/// The volumes of machines that rest in order to be moved.
#[must_use]
pub fn needs_snapshots(desired: &Desired, observed: &Observed) -> Vec<SnapshotsNeeded> {
    let moving = desired.tenants.iter().flat_map(|tenant| {
        let machines = tenant.machines.as_deref().unwrap_or_default().iter();
        machines.filter(|machine| machine.relocate).map(move |machine| (tenant, machine))
    });
    // In a shared app two tenants may come to one name.
    let mut wanted: HashMap<(&str, &str), Vec<&DesiredMachine>> = HashMap::new();
    // Whoever is paused goes no step further.
    for (tenant, machine) in moving.filter(|(tenant, _)| !tenant.deleting && !tenant.paused) {
        wanted.entry((&tenant.app, &machine.name)).or_default().push(machine);
    }
    let mut needed = of_tombstones(desired, observed);
    if wanted.is_empty() {
        return needed;
    }
    for lists in observed.organizations.values() {
        let mut resting: HashMap<&str, &str> = HashMap::new();
        for machine in &lists.machines {
            let is_moving = wanted
                .get(&(machine.app.as_str(), machine.name.as_str()))
                .is_some_and(|wanted| wanted.iter().any(|one| *one.region != *machine.region));
            if is_moving && rests(machine) {
                resting.insert(&machine.id, &machine.app);
            }
        }
        let held = lists.volumes.iter().filter_map(|volume| {
            let app = resting.get(volume.attached_machine.as_deref()?)?;
            Some(SnapshotsNeeded { app: (*app).to_owned(), volume: volume.id.clone() })
        });
        needed.extend(held);
    }
    needed.sort_unstable();
    needed.dedup();
    needed
}

/// The volumes with tombstones whose policy asks for a snapshot: held by a machine that rests, or
/// free and without one.
fn of_tombstones(desired: &Desired, observed: &Observed) -> Vec<SnapshotsNeeded> {
    let paused = desired.tenants.iter().filter(|tenant| tenant.paused);
    let paused: HashSet<&str> = paused.map(|tenant| &*tenant.name).collect();
    let standing = observed.tombstones.iter().filter(|tombstone| {
        tombstone.kind == TombstoneKind::Volume
            && tombstone.state == TombstoneState::Standing
            && tombstone.policy == DeletionPolicy::Snapshot
            && !paused.contains(tombstone.tenant.as_str())
    });
    let mut needed = Vec::new();
    for tombstone in standing {
        let Some(lists) = observed.organizations.get(&tombstone.organization) else { continue };
        let volume = lists.volumes.iter().find(|volume| volume.id == tombstone.id);
        let is_needed = volume.is_some_and(|volume| match &volume.attached_machine {
            None => tombstone.snapshot.is_none(),
            Some(holder) => {
                lists.machines.iter().any(|machine| machine.id == *holder && rests(machine))
            }
        });
        if is_needed {
            let (app, volume) = (tombstone.app.clone(), tombstone.id.clone());
            needed.push(SnapshotsNeeded { app, volume });
        }
    }
    needed
}

/// Whether a machine's programs have ended, so that its volume no longer changes. One that is
/// suspended holds in memory what it has not written yet.
pub(crate) fn rests(machine: &ObservedMachine) -> bool {
    use PlatformState::{Created, Failed, Stopped};
    matches!(machine.state, Stopped | Failed | Created)
}

/// What comes next for a machine that rests in its old region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Begin a snapshot of its volume.
    Snapshot,
    /// Make the volume in the new region from this snapshot.
    Volume(&'a str),
    /// Destroy it: its data is where the new machine will be, on the volume at this place.
    Remove(usize),
    /// The platform is at it. The text says at what.
    Wait(String),
    /// It does not go on by itself. The text says why.
    Stuck(String),
}

/// Decides the next step. `volume` is what the machine holds, `snapshots` what is known of it.
pub(crate) fn step<'a>(
    wanted: &DesiredMachine,
    machine: &ObservedMachine,
    volume: &ObservedVolume,
    snapshots: Option<&'a [ObservedSnapshot]>,
    lists: AppLists<'_>,
) -> Step<'a> {
    let Some(since) = machine.updated_at else {
        return Step::Stuck("the platform does not say since when it rests".to_owned());
    };
    let Some(snapshots) = snapshots else {
        return Step::Wait(format!("the snapshots of volume {} are to be looked at", volume.id));
    };
    let mut fresh: Vec<&ObservedSnapshot> = snapshots
        .iter()
        .filter(|snapshot| snapshot.created_at.is_some_and(|at| at >= since))
        .collect();
    fresh.sort_unstable_by_key(|snapshot| (snapshot.created_at, snapshot.id.as_str()));
    let Some(snapshot) = fresh.iter().find(|snapshot| snapshot.status == "created") else {
        return match fresh.first() {
            None => Step::Snapshot,
            Some(failed) if matches!(failed.status.as_str(), "failed" | "error") => {
                Step::Stuck(format!("snapshot {} of volume {} failed", failed.id, volume.id))
            }
            Some(pending) => {
                let (id, status) = (&pending.id, &pending.status);
                Step::Wait(format!("snapshot {id} of volume {} is {status}", volume.id))
            }
        };
    };
    let copies = lists.volumes_in_app.iter().map(|&place| (place, &lists.volumes[place]));
    let copies =
        copies.filter(|(_, copy)| copy.name == volume.name && copy.region == *wanted.region);
    let mut newest: Option<(usize, &ObservedVolume)> = None;
    for (place, copy) in copies {
        let Some(made) = copy.created_at else {
            return Step::Stuck(format!(
                "the platform does not say when volume {} was made",
                copy.id
            ));
        };
        let is_fresh = Some(made) >= snapshot.created_at;
        if is_fresh && newest.is_none_or(|(_, known)| known.created_at < copy.created_at) {
            newest = Some((place, copy));
        }
    }
    match newest {
        None => Step::Volume(&snapshot.id),
        Some((_, copy)) if copy.attached_machine.is_some() => {
            Step::Stuck(format!("volume {} in its new region is held by another machine", copy.id))
        }
        Some((_, copy)) if is_in_the_making(copy) => {
            Step::Wait(format!("volume {} in its new region is {}", copy.id, copy.state))
        }
        // A copy that went wrong, or of which nothing is known, is no reason to give up the machine
        // that has the data.
        Some((_, copy)) if !is_mountable(copy) => Step::Stuck(format!(
            "volume {} in its new region is {}, and cannot be mounted",
            copy.id, copy.state
        )),
        Some((place, _)) => Step::Remove(place),
    }
}

#[cfg(test)]
mod tests;
