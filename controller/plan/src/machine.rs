//! One machine: what it needs next, given what it is.

use vault_api::tenant::MachineState;

use crate::config::HASH_VERSION;
use crate::desired::DesiredMachine;
use crate::metadata::{Marks, OwnMarks};
use crate::observed::{ObservedMachine, PlatformState};
use crate::policy::Policy;
use crate::time::UnixMillis;

/// What a machine needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it is as wanted.
    Nothing,
    /// It is on its way; look again. The text says where it is.
    Patience(String),
    /// It has been on its way for too long.
    Stuck(String),
    /// A new config, for the reason given.
    Update(String),
    /// A new config, because somebody else changed the one that it had; the reason says what.
    Correct(String),
    /// To be started.
    Start(String),
    /// To be stopped.
    Stop(String),
    /// To be suspended.
    Suspend(String),
    /// To be seen: the platform does not show enough of it.
    Sight(String),
}

/// Decides what an existing machine needs to become the wanted one. `volume_gb` is the size of the
/// volume that it holds.
pub(crate) fn need(
    wanted: &DesiredMachine,
    own: OwnMarks<'_>,
    machine: &ObservedMachine,
    volume_gb: Option<u32>,
    policy: &Policy,
    now: UnixMillis,
) -> Need {
    if machine.is_blank() {
        return Need::Sight(format!(
            "machine {} is there, but the platform does not show its config",
            machine.name
        ));
    }
    if machine.state.is_passing() {
        return patience(machine, policy, now);
    }
    // A machine that is to rest is stopped before its config is written: one interruption, not two.
    let runs = matches!(machine.state, PlatformState::Started | PlatformState::Suspended);
    if wanted.state == MachineState::Stopped && runs {
        let state = machine.state.word();
        return Need::Stop(format!("it should be stopped and is {state}"));
    }
    if let Some(reason) = drift(wanted, own, machine, volume_gb) {
        return reason;
    }
    match (wanted.state, &machine.state) {
        (MachineState::Started, PlatformState::Started)
        | (MachineState::Suspended, PlatformState::Suspended) => Need::Nothing,
        (MachineState::Suspended, PlatformState::Started) => {
            Need::Suspend("it should be suspended and is started".to_owned())
        }
        (MachineState::Started | MachineState::Suspended, PlatformState::Created) => {
            if is_being_made(machine, policy, now) {
                return Need::Patience(format!("machine {} is being launched", machine.name));
            }
            Need::Start("it was created and never launched".to_owned())
        }
        (MachineState::Started, state) => {
            Need::Start(format!("it should run and is {}", state.word()))
        }
        // There is nothing to keep of a memory that was never in use.
        (MachineState::Suspended, state) => Need::Start(format!(
            "it has to run before it can be suspended, and is {}",
            state.word()
        )),
        (MachineState::Stopped, _) => Need::Nothing,
    }
}

/// Whether a machine was made so lately that the platform may still be fetching its image: then it goes
/// on by itself, to a start or, where it is not to be launched, to `stopped`.
pub(crate) fn is_being_made(machine: &ObservedMachine, policy: &Policy, now: UnixMillis) -> bool {
    machine.state == PlatformState::Created && age_ms(machine, now) < policy.created_grace_ms
}

/// A machine that is changing by itself: wait, and say so when the wait is too long.
pub(crate) fn patience(machine: &ObservedMachine, policy: &Policy, now: UnixMillis) -> Need {
    let what = format!("machine {} is {}", machine.name, machine.state.word());
    if age_ms(machine, now) >= policy.stuck_after_ms {
        // Not for how long exactly: a text that changed with each look would be written each time.
        return Need::Stuck(format!("{what}, for more than {} s", policy.stuck_after_ms / 1000));
    }
    Need::Patience(what)
}

/// What has to be written again of the machine's config, and why; `None` if it is as wanted.
fn drift(
    wanted: &DesiredMachine,
    own: OwnMarks<'_>,
    machine: &ObservedMachine,
    volume_gb: Option<u32>,
) -> Option<Need> {
    let update = |reason: &str| Some(Need::Update(reason.to_owned()));
    let correct = |reason: &str| Some(Need::Correct(reason.to_owned()));
    let marks = Marks::read(&machine.metadata);
    if marks.controller != Some(own.controller) || marks.tenant != Some(own.tenant) {
        return correct("it does not carry this tenant's mark");
    }
    match (marks.hash_version, marks.spec_hash) {
        (Some(HASH_VERSION), Some(seen)) if !wanted.spec_hash.is(seen) => {
            return update("its config is not the manifest's");
        }
        (None, _) | (_, None) => return correct("it does not say which config it has"),
        // A hash of another recipe cannot be compared; what is visible still is.
        (Some(_), Some(_)) => {}
    }
    if let Some(member) = wanted.config.visible_drift(machine, own.tenant, wanted.index) {
        return Some(Need::Correct(format!("{member} is not what the manifest says")));
    }
    // A machine reads its secrets only when it starts.
    if !own.secret_hash.is_empty() && marks.secret_hash != Some(own.secret_hash) {
        return update("it started without the tenant's present secrets");
    }
    if let (Some(known), Some(volume_gb)) = (marks.volume_gb, volume_gb)
        && known.parse::<u32>().is_ok_and(|known| known < volume_gb)
    {
        return update("its volume is larger than when it started");
    }
    None
}

/// Whose a machine is, as far as its marks tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The tenant's, or nobody's: then its name decides.
    Tenant,
    /// Somebody else's. The text says whose.
    SomebodyElse(String),
}

/// Reads whose a machine is from its marks.
pub(crate) fn owner(machine: &ObservedMachine, tenant: &str, controller: &str) -> Owner {
    let marks = Marks::read(&machine.metadata);
    match (marks.controller, marks.tenant) {
        (Some(seen), _) if seen != controller => {
            Owner::SomebodyElse(format!("machine {} belongs to another controller", machine.name))
        }
        (_, Some(seen)) if seen != tenant => {
            Owner::SomebodyElse(format!("machine {} belongs to tenant {seen}", machine.name))
        }
        _ => Owner::Tenant,
    }
}

/// How long ago the platform last changed the machine, in milliseconds; 0 where it does not say.
pub(crate) fn age_ms(machine: &ObservedMachine, now: UnixMillis) -> i64 {
    machine.updated_at.map_or(0, |updated_at| now.since_ms(updated_at))
}

#[cfg(test)]
mod tests;
