//! What happens by itself while faults are on: hosts die, people meddle, disks are lost, clocks jump.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use vault_emulator::world::{Machine, NewVolume, SecretValue, State, Update};

use crate::actor::SETTLE_AFTER;
use crate::process::ProcessId;
use crate::universe::{Shared, Universe};
use crate::workload::ORGANIZATIONS;

/// How long nothing happens, in milliseconds.
const CALM_MS: std::ops::Range<i64> = 500..12_000;
/// How long a host does not answer, in milliseconds.
const DEAD_MS: std::ops::Range<i64> = 2_000..30_000;
/// How far a clock is from the platform's at most, in milliseconds. Together with the latest request
/// it stays below what the controller waits for.
const CLOCK_WRONG_MS: i64 = 1_500;

/// What may happen in a run.
#[derive(Clone, Copy, Debug)]
pub struct Nature {
    /// Disks are lost, or older ones put back.
    pub disks: bool,
    /// People stop, change and destroy machines, and change secrets.
    pub people: bool,
}

/// Lets things happen for ever.
pub async fn happen(shared: &Shared, nature: Nature) {
    loop {
        let calm_ms = shared.lock().draw_ms(CALM_MS);
        shared.sleep(Duration::from_millis(calm_ms.unsigned_abs())).await;
        let mut universe = shared.lock();
        if universe.faults.are_on() {
            one(&mut universe, nature);
        }
    }
}

fn one(universe: &mut Universe, nature: Nature) {
    match universe.chance.u8(0..16) {
        0..=2 => dead_host(universe),
        3 | 4 => clock(universe),
        5 => universe.controllers[0].back_up(),
        6 if nature.disks => lose_disk(universe),
        7 if nature.disks => restore_disk(universe),
        8 | 9 if nature.people => stop(universe),
        10 if nature.people => edit(universe),
        11 if nature.people => destroy(universe),
        12 | 13 if nature.people => secret(universe),
        14 if nature.people => volume(universe),
        _ => {}
    }
}

fn told(universe: &mut Universe, what: impl FnOnce() -> String) {
    universe.trace.fault();
    universe.trace.line(universe.now_ms(), what);
}

/// One of the first controller's machines.
fn a_machine(universe: &mut Universe) -> Option<Machine> {
    let everything = vault_emulator::world::query::Filter::default();
    let apps = ORGANIZATIONS.iter().flat_map(|organization| universe.world.apps(organization));
    let machines = apps.flat_map(|app| universe.world.machines(&app.name, &everything));
    let its = machines.filter(|row| universe.oracles.foreign.owner(&row.id) == Some(0));
    let ids: Vec<(String, String)> = its.map(|row| (row.app.clone(), row.id.clone())).collect();
    let (app, id) = ids.get(universe.chance.usize(0..ids.len().max(1)))?;
    universe.world.machine(app, id).ok().cloned()
}

fn dead_host(universe: &mut Universe) {
    let Some(machine) = a_machine(universe) else { return };
    let lasts_ms = universe.draw_ms(DEAD_MS);
    let until_ms = universe.now_ms() + lasts_ms;
    told(universe, || format!("the host of {} does not answer", machine.name));
    universe.faults.dead_hosts.insert(machine.id.clone(), until_ms);
    universe.after(lasts_ms, move |universe| {
        universe.faults.dead_hosts.remove(&machine.id);
    });
}

fn clock(universe: &mut Universe) {
    let wrong_by_ms = universe.draw_ms(-CLOCK_WRONG_MS..CLOCK_WRONG_MS);
    told(universe, || format!("controller 0's clock is wrong by {wrong_by_ms} ms"));
    universe.controllers[0].clock_wrong_by_ms = wrong_by_ms;
}

fn kill_all(universe: &mut Universe, when: &str) {
    let process: Option<ProcessId> = universe.processes.living_of(0);
    if let Some(process) = process {
        universe.kill(process, when);
    }
}

fn lose_disk(universe: &mut Universe) {
    kill_all(universe, "with its disk");
    universe.trace.line(universe.now_ms(), || "controller 0's disk is lost".to_owned());
    let now_ms = universe.now_ms();
    universe.controllers[0].lose_disk(now_ms);
    universe.oracles.pardons.disk_lost = true;
    universe.oracles.budget.forgets(0, universe.now_ms());
}

fn restore_disk(universe: &mut Universe) {
    let pick = universe.chance.usize(..);
    if universe.controllers[0].backups.is_empty() {
        return;
    }
    kill_all(universe, "and an older disk is put back");
    universe.trace.line(universe.now_ms(), || "controller 0 has an older disk now".to_owned());
    universe.controllers[0].restore(pick);
    // What the last process sent and the older disk has forgotten has acted by then: see the section
    // about state in ARCHITECTURE.md. A volume on its way would otherwise be made twice.
    let settle_after_ms = i64::try_from(SETTLE_AFTER.as_millis()).unwrap_or(i64::MAX);
    universe.controllers[0].rests_until_ms = universe.now_ms() + settle_after_ms;
    universe.oracles.pardons.disk_restored = true;
    universe.oracles.budget.forgets(0, universe.now_ms());
}

fn stop(universe: &mut Universe) {
    let Some(machine) = a_machine(universe) else { return };
    let now = universe.timestamp();
    if machine.state == State::Started
        && universe.world.stop_machine(now, &machine.app, &machine.id, None, None).is_ok()
    {
        told(universe, || format!("somebody stops {}", machine.name));
        universe.platform_changed();
    }
}

fn edit(universe: &mut Universe) {
    let Some(machine) = a_machine(universe) else { return };
    let now = universe.timestamp();
    let mut config = machine.config.clone();
    config.insert("image".to_owned(), json!("theirs:1"));
    let update = Update { config, ..Update::default() };
    if universe.world.update_machine(now, &machine.app, &machine.id, update).is_ok() {
        told(universe, || format!("somebody changes {}", machine.name));
        universe.platform_changed();
    }
}

fn destroy(universe: &mut Universe) {
    let Some(machine) = a_machine(universe) else { return };
    let now = universe.timestamp();
    if matches!(machine.state, State::Destroying | State::Destroyed) {
        return;
    }
    if universe.world.destroy_machine(now, &machine.app, &machine.id, true).is_ok() {
        told(universe, || format!("somebody destroys {}", machine.name));
        universe.oracles.taken(0, &machine);
        universe.platform_changed();
    }
}

/// What strangers set secrets to.
pub(crate) const STRANGERS_SECRET: &str = "theirs";

fn secret(universe: &mut Universe) {
    let Some(machine) = a_machine(universe) else { return };
    let now = universe.timestamp();
    let names: Vec<String> =
        universe.world.secrets(&machine.app).map(|secret| secret.name.clone()).collect();
    let Some(name) = names.get(universe.chance.usize(0..names.len().max(1))).cloned() else {
        return;
    };
    let value = universe.chance.bool().then(|| SecretValue::new(STRANGERS_SECRET.to_owned()));
    let what = if value.is_some() { "changes" } else { "removes" };
    let changes = BTreeMap::from([(name.clone(), value)]);
    if universe.world.change_secrets(now, &machine.app, changes).is_ok() {
        universe.oracles.pardons.secrets_changed = true;
        told(universe, || format!("somebody {what} secret {name} of {}", machine.app));
    }
}

/// Somebody makes a volume of their own in one of our apps.
fn volume(universe: &mut Universe) {
    let Some(machine) = a_machine(universe) else { return };
    let now = universe.timestamp();
    let region = Some(machine.region.clone());
    let new = NewVolume { name: "theirs".to_owned(), region, ..NewVolume::default() };
    if universe.world.create_volume(now, &machine.app, new).is_ok() {
        universe.oracles.pardons.occupied.insert(machine.app.clone());
        told(universe, || format!("somebody makes a volume in {}", machine.app));
    }
}
