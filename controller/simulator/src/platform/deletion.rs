//! What goes for good, and what is asked before it does.

use vault_controller::platform::AppContents;
use vault_emulator::world::belonging::Kind;
use vault_emulator::world::query::Filter;
use vault_emulator::world::{Refusal, State};

use super::{Call, effects};
use crate::lists;
use crate::universe::Universe;

/// Deletes a volume: it is listed as going for a while.
pub(super) fn volume(universe: &mut Universe, call: &Call) -> Result<(), Refusal> {
    let now = universe.timestamp();
    universe.world.volume(&call.app, &call.subject)?;
    effects::touches(universe, call);
    universe.world.delete_volume(now, &call.app, &call.subject)?;
    universe.oracles.deleted_volume(call);
    Ok(())
}

/// Deletes an app with all that is in it.
pub(super) fn app(universe: &mut Universe, call: &Call) -> Result<(), Refusal> {
    let now = universe.timestamp();
    let now_ms = universe.now_ms();
    effects::touches(universe, call);
    let held = contents(universe, call)?;
    universe.world.delete_app(now, &call.app)?;
    universe.oracles.deleted_app(now_ms, call, (held.machines, held.volumes));
    Ok(())
}

/// The app, with its own counts of what it holds.
pub(super) fn found(universe: &mut Universe, call: &Call) -> Result<Option<AppContents>, Refusal> {
    match contents(universe, call) {
        Err(Refusal::AppNotFound) => Ok(None),
        found => found.map(Some),
    }
}

/// How many machines are in an app, by its own list.
pub(super) fn machines(universe: &mut Universe, call: &Call) -> Result<u64, Refusal> {
    contents(universe, call).map(|contents| contents.machines)
}

pub(super) fn certificates(universe: &mut Universe, call: &Call) -> Result<u64, Refusal> {
    belongings(universe, call, Kind::Certificate)
}

pub(super) fn addresses(universe: &mut Universe, call: &Call) -> Result<u64, Refusal> {
    belongings(universe, call, Kind::Address)
}

fn belongings(universe: &Universe, call: &Call, kind: Kind) -> Result<u64, Refusal> {
    universe.world.app(&call.app, |_| true)?;
    Ok(universe.world.belongings(&call.app, kind).count() as u64)
}

/// What is in an app as it is. One that is being deleted is none any more.
fn contents(universe: &Universe, call: &Call) -> Result<AppContents, Refusal> {
    let world = &universe.world;
    let app = world.app(&call.app, |_| true)?;
    if app.deleting {
        return Err(Refusal::AppNotFound);
    }
    let everything = Filter::default();
    let machines = world.machines(&call.app, &everything);
    let machines = machines.filter(|machine| machine.state != State::Destroyed).count() as u64;
    let volumes = world.volumes(&call.app).filter(|volume| !lists::is_departing(volume));
    Ok(AppContents {
        organization: app.org.clone(),
        machines,
        volumes: volumes.count() as u64,
        ..AppContents::default()
    })
}
