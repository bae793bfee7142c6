//! What calls that may change something do to the platform, and who is told of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use vault_controller::platform::{MachineUpdate, NewMachine, NewVolume, SecretSet, WrittenMachine};
use vault_emulator::world::{
    CopyFrom, Machine, NewApp, NewMachine as PlatformMachine, NewVolume as PlatformVolume, Order,
    Refusal, SecretValue, Update,
};

use super::Call;
use crate::universe::{BEGIN_MS, Universe};

pub(super) fn create_app(universe: &mut Universe, call: &Call) -> Result<(), Refusal> {
    let now = universe.timestamp();
    let (name, org) = (Some(call.app.clone()), call.organization.clone());
    universe.world.create_app(now, NewApp { name, org, ..NewApp::default() })?;
    universe.oracles.made_app(call);
    Ok(())
}

pub(super) fn set_secret(
    universe: &mut Universe,
    call: &Call,
    value: &str,
) -> Result<SecretSet, Refusal> {
    let now = universe.timestamp();
    touches(universe, call);
    let value = Some(SecretValue::new(value.to_owned()));
    let changes = BTreeMap::from([(call.subject.clone(), value)]);
    let version = universe.world.change_secrets(now, &call.app, changes)?;
    let digest = universe.world.secret(&call.app, &call.subject)?.digest.clone();
    Ok(SecretSet { digest: Some(digest), version: Some(version) })
}

pub(super) fn delete_secret(universe: &mut Universe, call: &Call) -> Result<Option<u64>, Refusal> {
    let now = universe.timestamp();
    touches(universe, call);
    universe.world.delete_secret(now, &call.app, &call.subject).map(Some)
}

pub(super) fn create_volume(
    universe: &mut Universe,
    call: &Call,
    new: &NewVolume,
) -> Result<String, Refusal> {
    let now = universe.timestamp();
    touches(universe, call);
    let volume = PlatformVolume {
        name: new.name.clone(),
        region: Some(new.region.clone()),
        size_gb: Some(new.size_gb),
        from: new.snapshot_id.clone().map(CopyFrom::Snapshot),
        ..PlatformVolume::default()
    };
    let made = universe.world.create_volume(now, &call.app, volume)?;
    universe.oracles.made_volume(call, &made);
    Ok(made.id)
}

pub(super) fn create_machine(
    universe: &mut Universe,
    call: &Call,
    new: &NewMachine,
) -> Result<WrittenMachine, Refusal> {
    let now = universe.timestamp();
    touches(universe, call);
    let machine = PlatformMachine {
        name: Some(new.name.clone()),
        region: Some(new.region.clone()),
        config: new.config.clone(),
        skip_launch: new.skip_launch,
        min_secrets_version: new.min_secrets_version,
        ..PlatformMachine::default()
    };
    let made = universe.world.create_machine(now, &call.app, machine)?;
    universe.oracles.made_machine(universe.now_ms(), call, &made);
    Ok(WrittenMachine { id: made.id, version: Some(made.version) })
}

pub(super) fn update_machine(
    universe: &mut Universe,
    call: &Call,
    update: &MachineUpdate,
) -> Result<WrittenMachine, Refusal> {
    let now = universe.timestamp();
    touches_machine(universe, call)?;
    let before = universe.world.machine(&call.app, &call.subject)?.clone();
    let update = Update {
        config: update.config.clone(),
        skip_launch: update.skip_launch,
        current_version: update.current_version.clone(),
        min_secrets_version: update.min_secrets_version,
        ..Update::default()
    };
    let written = universe.world.update_machine(now, &call.app, &call.subject, update)?;
    takes_down(universe, call, &before);
    Ok(WrittenMachine { id: written.id, version: Some(written.version) })
}

fn takes_down(universe: &mut Universe, call: &Call, before: &Machine) {
    let now_ms = universe.now_ms();
    let disk = &universe.controllers[call.controller].disk;
    universe.oracles.takes_down(call, before, disk, now_ms);
}

pub(super) fn start_machine(universe: &mut Universe, call: &Call) -> Result<(), Refusal> {
    let now = universe.timestamp();
    touches_machine(universe, call)?;
    universe.world.start_machine(now, &call.app, &call.subject).map(drop)
}

pub(super) fn stop_machine(
    universe: &mut Universe,
    call: &Call,
    lease: Option<&str>,
) -> Result<(), Refusal> {
    let now = universe.timestamp();
    touches_machine(universe, call)?;
    let before = universe.world.machine(&call.app, &call.subject)?.clone();
    let order = Order::Stop { signal: None, timeout: None };
    universe.world.order(now, (&call.app, &call.subject), lease, order)?;
    takes_down(universe, call, &before);
    Ok(())
}

pub(super) fn suspend_machine(universe: &mut Universe, call: &Call) -> Result<(), Refusal> {
    let now = universe.timestamp();
    touches_machine(universe, call)?;
    universe.world.suspend_machine(now, &call.app, &call.subject)
}

pub(super) fn set_metadata(
    universe: &mut Universe,
    call: &Call,
    (key, value): &(String, String),
) -> Result<(), Refusal> {
    let now = universe.timestamp();
    touches_machine(universe, call)?;
    let changes = BTreeMap::from([(key.clone(), Some(value.clone()))]);
    universe.world.merge_metadata(now, &call.app, &call.subject, changes, None)
}

/// A machine has to start anew to see that its volume grew, as it nearly always has to at Fly.
pub(super) fn extend_volume(
    universe: &mut Universe,
    call: &Call,
    size_gb: u32,
) -> Result<bool, Refusal> {
    let now = universe.timestamp();
    touches(universe, call);
    universe.world.extend_volume(now, &call.app, &call.subject, size_gb)?;
    Ok(true)
}

pub(super) fn create_snapshot(universe: &mut Universe, call: &Call) -> Result<(), Refusal> {
    let now = universe.timestamp();
    touches(universe, call);
    universe.world.create_snapshot(now, &call.app, &call.subject).map(drop)
}

pub(super) fn delete_machine(
    universe: &mut Universe,
    call: &Call,
    lease: Option<&str>,
) -> Result<(), Refusal> {
    let now = universe.timestamp();
    touches_machine(universe, call)?;
    let was_going = is_going(universe, call);
    let order = Order::Destroy { force: false };
    universe.world.order(now, (&call.app, &call.subject), lease, order)?;
    if !was_going {
        destroyed(universe, call);
    }
    Ok(())
}

/// The host of a machine does not answer, and carries its destruction out when it is back.
pub(super) fn strand(universe: &mut Universe, now: Timestamp, call: &Call, until_ms: i64) {
    let until = Timestamp::from_millisecond(BEGIN_MS + until_ms).ok();
    let was_going = is_going(universe, call);
    // A machine that is gone already is as good as destroyed.
    if universe.world.strand(now, &call.app, &call.subject, until).is_ok() && !was_going {
        destroyed(universe, call);
    }
}

fn destroyed(universe: &mut Universe, call: &Call) {
    let now_ms = universe.now_ms();
    let machine = universe.world.machine(&call.app, &call.subject);
    let name = machine.map(|machine| machine.name.clone()).unwrap_or_default();
    universe.oracles.destroyed(now_ms, call, &name);
}

fn is_going(universe: &Universe, call: &Call) -> bool {
    use vault_emulator::world::State;
    let state = universe.world.machine(&call.app, &call.subject).map(|machine| machine.state);
    matches!(state, Ok(State::Destroying | State::Destroyed))
}

pub(super) fn touches_machine(universe: &mut Universe, call: &Call) -> Result<(), Refusal> {
    // What is not there cannot be touched.
    universe.world.machine(&call.app, &call.subject)?;
    touches(universe, call);
    Ok(())
}

/// Tells the oracles what a call is about to change.
pub(super) fn touches(universe: &mut Universe, call: &Call) {
    let now_ms = universe.now_ms();
    if universe.world.app(&call.app, |_| true).is_ok() {
        universe.oracles.touches_subject(now_ms, call);
    }
}
