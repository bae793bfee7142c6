//! Stopping and destroying a machine under a lease of ours.
//!
//! ```text
//!   lease ─▶ had ──────▶ version as planned? ─▶ stop, then release │ destroy, which ends it
//!        │               └ another ──────────▶ release; nothing is done, the next pass looks
//!        ├▶ somebody's ─▶ nothing is done; it waits, and says for whom
//!        ├▶ gone ───────▶ destroyed already
//!        └▶ no answer ──▶ host away? ─ yes ──▶ without a lease: there is none to be had there
//!                                    └ no ───▶ nothing is done
//! ```
//!
//! The platform refuses neither call behind somebody else's lease: it keeps it, and carries it out
//! when that lease ends, long after everybody forgot why. So the lease comes first. Its answer is
//! also the last look before the deed, and a better one than a read: it comes from the machine's own
//! host, and what it says stays so, because nobody else can change the machine before the lease
//! ends. A deletion costs this one call more.
//!
//! A lease of ours whose process died ends by itself within [`LEASE_SECONDS`]; it is waited for as
//! anybody's is.

use vault_cloud::error::CallError;
use vault_plan::action::MachineRef;
use vault_plan::observed::HoldKind;
use vault_plan::time::UnixMillis;

use super::conflict::{Change, settle_or_look};
use super::{Applied, settle};
use crate::chain::chain;
use crate::execute::Failure;
use crate::platform::{NewLease, Platform};

/// How long a lease lasts if its process dies, in seconds. Longer than the two calls beneath it
/// usually take, and no longer than anybody should wait for a process that is gone: flyctl's are 13.
const LEASE_SECONDS: u32 = 15;

/// What is done under a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Stop the machine.
    Stop,
    /// Destroy it.
    Destroy,
}

/// What came of asking for a lease.
enum Asked {
    /// It is ours, by this nonce.
    Ours(String),
    /// The machine's host does not answer: nobody can have one there.
    HostIsAway,
    /// There is no such machine.
    Gone(CallError),
    /// Nothing is done.
    Not(Failure),
}

/// Does it, under a lease that is described by the intent; `version` is the one that the machine
/// must have, if that is known.
pub(super) async fn under_lease<P: Platform>(
    platform: &P,
    (app, machine): (&str, &MachineRef),
    version: Option<&str>,
    intent: &str,
    deed: Deed,
) -> Applied {
    let nonce = match ask(platform, (app, machine), version, intent).await {
        Asked::Ours(nonce) => Some(nonce),
        Asked::HostIsAway => None,
        // One that is gone already is as good as destroyed.
        Asked::Gone(_) if deed == Deed::Destroy => return Applied::Done(None),
        Asked::Gone(error) => return settle(Err(error)),
        Asked::Not(failure) => return Applied::NotDone(failure),
    };
    let done = match deed {
        Deed::Stop => platform.stop_machine(app, &machine.id, nonce.as_deref()).await,
        Deed::Destroy => platform.delete_machine(app, &machine.id, nonce.as_deref()).await,
    };
    if let Some(nonce) = nonce.filter(|_| is_left(deed, &done)) {
        release(platform, (app, machine), &nonce).await;
    }
    match done {
        Err(error) if error.is_not_found() && deed == Deed::Destroy => Applied::Done(None),
        done if deed == Deed::Stop => {
            let done = done.map(|()| None);
            settle_or_look(platform, (app, &machine.id), Change::Stop, done).await
        }
        done => settle(done.map(|()| None)),
    }
}

async fn ask<P: Platform>(
    platform: &P,
    (app, machine): (&str, &MachineRef),
    version: Option<&str>,
    intent: &str,
) -> Asked {
    let new = NewLease { ttl: LEASE_SECONDS, description: intent.to_owned() };
    let error = match platform.acquire_lease(app, &machine.id, new).await {
        Ok(lease) => {
            let Some(now) = moved(version, lease.version.as_deref()) else {
                return Asked::Ours(lease.nonce);
            };
            let message = format!("somebody changed it meanwhile: it has version {now}");
            release(platform, (app, machine), &lease.nonce).await;
            return Asked::Not(Failure { hold: HoldKind::BackOff, message });
        }
        Err(error) => error,
    };
    if error.is_not_found() {
        return Asked::Gone(error);
    }
    if let Some(failure) = held_by_somebody(machine, &error) {
        return Asked::Not(failure);
    }
    let failure = Failure { hold: HoldKind::BackOff, message: chain(&error) };
    if !matches!(error, CallError::Unknown(_)) {
        return match settle(Err(error)) {
            Applied::NotDone(refused) => Asked::Not(refused),
            _ => Asked::Not(failure),
        };
    }
    // At worst a lease is left that nobody knows, and ends by itself.
    match platform.whole_machine(app, &machine.id).await {
        Ok(Some(found)) if found.config.is_none() => Asked::HostIsAway,
        Ok(_) | Err(_) => Asked::Not(failure),
    }
}

/// The version that a machine has in the place of the one that it should have.
fn moved<'a>(expected: Option<&str>, found: Option<&'a str>) -> Option<&'a str> {
    found.filter(|found| expected.is_some_and(|expected| expected != *found))
}

/// That somebody else has the machine is nobody's failure: it is told, and waited for.
fn held_by_somebody(machine: &MachineRef, error: &CallError) -> Option<Failure> {
    let holder = error.lease_holder()?;
    let until = holder.expires_at.map(|at| UnixMillis(at.as_millisecond()));
    let when = holder.expires_at.map_or_else(String::new, |at| format!(" until {at}"));
    let message =
        format!("waiting for {}: {} has it for themselves{when}", machine.name, holder.owner);
    Some(Failure { hold: HoldKind::Leased { until }, message })
}

/// Whether a lease is left after a deed. Of a call without an answer nobody knows whether it still
/// waits for its turn, so the lease that it needs is left to end by itself.
fn is_left(deed: Deed, done: &Result<(), CallError>) -> bool {
    match done {
        Ok(()) => deed == Deed::Stop,
        Err(CallError::Unknown(_)) => false,
        Err(error) => !error.is_not_found(),
    }
}

/// A release that does not work costs others a few seconds.
async fn release<P: Platform>(platform: &P, (app, machine): (&str, &MachineRef), nonce: &str) {
    match platform.release_lease(app, &machine.id, nonce).await {
        Err(error) if !error.is_not_found() => {
            let (machine, error) = (&machine.name, chain(&error));
            tracing::debug!(machine, error, "a lease is left to end by itself");
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_versions_that_differ_are_a_change() {
        assert_eq!(moved(Some("a"), Some("b")), Some("b"));
        assert_eq!(moved(Some("a"), Some("a")), None);
        assert_eq!(moved(None, Some("b")), None);
        assert_eq!(moved(Some("a"), None), None);
    }
}
