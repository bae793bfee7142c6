//! Leases on machines, as the world keeps them.

use vault_controller::platform::{Lease, NewLease};
use vault_emulator::world::Refusal;

use super::{Call, effects};
use crate::universe::Universe;

pub(super) fn acquire(
    universe: &mut Universe,
    call: &Call,
    new: &NewLease,
) -> Result<Lease, Refusal> {
    let now = universe.timestamp();
    effects::touches_machine(universe, call)?;
    let wish = (Some(i64::from(new.ttl)), Some(new.description.clone()));
    let owner = format!("controller-{}", call.controller);
    let target = (call.app.as_str(), call.subject.as_str());
    let lease = universe.world.acquire_lease(now, target, None, wish, &owner)?;
    Ok(Lease { nonce: lease.nonce, version: Some(lease.version) })
}

pub(super) fn release(universe: &mut Universe, call: &Call, nonce: &str) -> Result<(), Refusal> {
    let now = universe.timestamp();
    effects::touches_machine(universe, call)?;
    universe.world.release_lease(now, &call.app, &call.subject, Some(nonce))
}
