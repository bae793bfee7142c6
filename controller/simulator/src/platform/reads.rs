//! What calls that only look are answered with.

use std::sync::Arc;

use vault_controller::platform::{
    AppList, AppOwner, MachineList, SecretList, VolumeList, WholeMachine,
};
use vault_emulator::world::{Refusal, State};
use vault_plan::observed::{ObservedMachine, ObservedSnapshot, ObservedVolume};
use vault_plan::time::UnixMillis;

use super::Call;
use crate::fate::Fate;
use crate::faults::STALE_MS;
use crate::lists;
use crate::universe::Universe;

pub(super) fn apps(universe: &mut Universe, call: &Call) -> Result<AppList, Refusal> {
    let (now_ms, organization) = (universe.now_ms(), &call.organization);
    let mut list = lists::apps(&universe.world, organization);
    let kept = universe.faults.may_show_again().then(|| Arc::new(list.clone()));
    match call.fate {
        Fate::Stale => {
            let pick = universe.chance.usize(..);
            let earlier = lists::stale(&universe.lists.apps, organization, now_ms - STALE_MS, pick);
            list = earlier.map_or(list, |earlier| (*earlier).clone());
        }
        Fate::Empty => list = AppList::default(),
        Fate::Unreadable => {
            list.names.pop();
            list.partial = true;
        }
        _ => {}
    }
    if let Some(kept) = kept {
        lists::keep(&mut universe.lists.apps, organization, now_ms, kept);
    }
    Ok(list)
}

pub(super) fn machines(universe: &mut Universe, call: &Call) -> Result<MachineList, Refusal> {
    let (now_ms, organization) = (universe.now_ms(), &call.organization);
    let dead = &universe.faults.dead_hosts;
    let mut list = lists::machines(&universe.world, organization, |id| dead.contains_key(id));
    let kept = universe.faults.may_show_again().then(|| Arc::new(list.clone()));
    match call.fate {
        Fate::Stale => {
            let pick = universe.chance.usize(..);
            let earlier =
                lists::stale(&universe.lists.machines, organization, now_ms - STALE_MS, pick);
            list = earlier.map_or(list, |earlier| (*earlier).clone());
        }
        Fate::Empty => list = MachineList::default(),
        Fate::Unreadable if !list.machines.is_empty() => {
            list.machines.remove(universe.chance.usize(0..list.machines.len()));
            list.unreadable = 1;
        }
        Fate::Partial => {
            let regions = crate::workload::REGIONS;
            let region = regions[universe.chance.usize(0..regions.len())];
            list.machines.retain(|machine| machine.region != region);
            list.error_regions.insert(region.to_owned());
        }
        _ => {}
    }
    if let Some(kept) = kept {
        lists::keep(&mut universe.lists.machines, organization, now_ms, kept);
    }
    Ok(list)
}

/// What changed after `since`, as the list shows it: late, with nothing in it, without a region, or
/// without a row, like the whole list. Destroyed machines are shown as long as the platform
/// remembers them.
pub(super) fn machines_since(
    universe: &mut Universe,
    call: &Call,
    since: UnixMillis,
) -> Result<MachineList, Refusal> {
    let (now_ms, organization) = (universe.now_ms(), &call.organization);
    let dead = &universe.faults.dead_hosts;
    let mut list =
        lists::machines_since(&universe.world, organization, since, |id| dead.contains_key(id));
    match call.fate {
        Fate::Stale => {
            let pick = universe.chance.usize(..);
            let kept =
                lists::stale(&universe.lists.machines, organization, now_ms - STALE_MS, pick);
            if let Some(kept) = kept {
                list = (*kept).clone();
                list.machines.retain(|machine| machine.updated_at.is_some_and(|at| at > since));
            }
        }
        Fate::Empty => list = MachineList::default(),
        Fate::Unreadable if !list.machines.is_empty() => {
            list.machines.remove(universe.chance.usize(0..list.machines.len()));
            list.unreadable = 1;
        }
        Fate::Partial => {
            let regions = crate::workload::REGIONS;
            let region = regions[universe.chance.usize(0..regions.len())];
            list.machines.retain(|machine| machine.region != region);
            list.error_regions.insert(region.to_owned());
        }
        _ => {}
    }
    Ok(list)
}

pub(super) fn volumes(universe: &mut Universe, call: &Call) -> Result<VolumeList, Refusal> {
    let (now_ms, organization) = (universe.now_ms(), &call.organization);
    let mut list = lists::volumes(&universe.world, organization);
    let kept = universe.faults.may_show_again().then(|| Arc::new(list.clone()));
    match call.fate {
        Fate::Stale => {
            let pick = universe.chance.usize(..);
            let earlier =
                lists::stale(&universe.lists.volumes, organization, now_ms - STALE_MS, pick);
            list = earlier.map_or(list, |earlier| (*earlier).clone());
        }
        fate => spoil(universe, fate, &mut list),
    }
    if let Some(kept) = kept {
        lists::keep(&mut universe.lists.volumes, organization, now_ms, kept);
    }
    Ok(list)
}

fn spoil(universe: &mut Universe, fate: Fate, list: &mut VolumeList) {
    match fate {
        Fate::Empty => *list = VolumeList::default(),
        Fate::Unreadable if !list.volumes.is_empty() => {
            list.volumes.remove(universe.chance.usize(0..list.volumes.len()));
            list.unreadable = 1;
        }
        _ => {}
    }
}

pub(super) fn app_volumes(universe: &mut Universe, call: &Call) -> Result<VolumeList, Refusal> {
    let mut list = lists::volume_list(universe.world.volumes(&call.app));
    spoil(universe, call.fate, &mut list);
    Ok(list)
}

pub(super) fn machine(
    universe: &mut Universe,
    call: &Call,
) -> Result<Option<ObservedMachine>, Refusal> {
    let dead = universe.faults.dead_hosts.contains_key(&call.subject);
    Ok(match universe.world.machine(&call.app, &call.subject) {
        Ok(row) if row.state != State::Destroyed => Some(lists::machine(row, dead)),
        Ok(_) | Err(_) => None,
    })
}

/// A machine with its config, which does not show while its host is dead.
pub(super) fn whole_machine(
    universe: &mut Universe,
    call: &Call,
) -> Result<Option<WholeMachine>, Refusal> {
    let Some(machine) = machine(universe, call)? else { return Ok(None) };
    let dead = universe.faults.dead_hosts.contains_key(&call.subject);
    let row = universe.world.machine(&call.app, &call.subject)?;
    let config = (!dead).then(|| row.config.clone());
    Ok(Some(WholeMachine { machine, config }))
}

pub(super) fn volume(
    universe: &mut Universe,
    call: &Call,
) -> Result<Option<ObservedVolume>, Refusal> {
    Ok(match universe.world.volume(&call.app, &call.subject) {
        Ok(row) if !lists::is_departing(row) => Some(lists::volume(row)),
        Ok(_) | Err(_) => None,
    })
}

pub(super) fn app_owner(universe: &mut Universe, call: &Call) -> Result<AppOwner, Refusal> {
    Ok(match universe.world.app(&call.app, |_| true) {
        Ok(app) => AppOwner::Organization(app.org.clone()),
        Err(_) => AppOwner::Nobody,
    })
}

pub(super) fn secrets(universe: &mut Universe, call: &Call) -> Result<SecretList, Refusal> {
    universe.world.app(&call.app, |_| true)?;
    let secrets = universe.world.secrets(&call.app);
    let digests = secrets.map(|secret| (secret.name.clone(), secret.digest.clone()));
    Ok(SecretList { digests: digests.collect(), unreadable: 0 })
}

pub(super) fn snapshots(
    universe: &mut Universe,
    call: &Call,
) -> Result<Vec<ObservedSnapshot>, Refusal> {
    let snapshots = universe.world.snapshots(&call.app, &call.subject)?;
    let observed = snapshots.into_iter().map(|snapshot| ObservedSnapshot {
        id: snapshot.id.clone(),
        status: snapshot.status().to_owned(),
        created_at: Some(lists::millis(snapshot.created_at)),
    });
    Ok(observed.collect())
}
