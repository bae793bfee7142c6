//! Leases: who holds one keeps others from changing the machine.
//!
//! ```text
//!  start, update, …  without the nonce ─▶ refused at once
//!  stop, destroy     without the nonce ─▶ kept in `pending` ─▶ done when the lease ends
//! ```
//!
//! What is kept is journaled with its machine, so that neither a client that leaves nor a restart of
//! the emulator takes it back.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::world::World;
use crate::world::error::Refusal;
use crate::world::machine::State;

/// Seconds of a lease that names none.
const DEFAULT_TTL: i64 = 30;
/// The longest lease, in seconds: the platform names no bound, and a day is beyond any use.
const LONGEST_TTL: i64 = 24 * 60 * 60;
/// The longest description, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 256;
/// Orders that wait for one lease: repetitions of a few clients.
const PENDING_MAX: usize = 50;
/// Verdicts that nobody has asked for yet; whoever waited for older ones is long gone.
const VERDICTS_MAX: usize = 1000;

/// A lease on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Shown to the holder, and named by whoever wants to pass.
    pub nonce: String,
    /// When it ends by itself; whole seconds.
    pub expires_at: Timestamp,
    /// The token that asked for it.
    pub owner: String,
    /// In the holder's words.
    pub description: String,
    /// The machine's version at that time.
    pub version: String,
}

/// What a lease does not refuse, only hold up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Stop the machine.
    Stop {
        /// A Linux signal number, if one is named.
        signal: Option<i32>,
        /// How long the process may take, if that is said.
        timeout: Option<Duration>,
    },
    /// Destroy the machine.
    Destroy {
        /// Also if it is up.
        force: bool,
    },
}

/// An order that waits for the end of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Under which its verdict can be asked for.
    pub ticket: String,
    /// What to do.
    pub order: Order,
}

/// How orders ended that had to wait. They are not journaled: whoever waited has gone with the
/// emulator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdicts(BTreeMap<String, Result<(), Refusal>>);

impl Verdicts {
    fn keep(&mut self, ticket: String, verdict: Result<(), Refusal>) {
        self.0.insert(ticket, verdict);
        if self.0.len() > VERDICTS_MAX {
            self.0.pop_first();
        }
    }
}

impl World {
    /// Gives a lease, or prolongs the one whose nonce is named.
    ///
    /// # Errors
    /// [`Refusal::LeaseHeld`] by someone else, a ttl or a description out of bounds, a machine that
    /// is going.
    pub fn acquire_lease(
        &mut self,
        now: Timestamp,
        (app, id): (&str, &str),
        nonce: Option<&str>,
        (ttl, description): (Option<i64>, Option<String>),
        owner: &str,
    ) -> Result<Lease, Refusal> {
        let machine = self.live_machine(app, id)?;
        if machine.state == State::Destroying {
            return Err(Refusal::WrongState { action: "lease", state: machine.state });
        }
        self.check_lease(now, app, id, nonce)?;
        let expires_at = expiry(now, ttl)?;
        if description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_BYTES_MAX) {
            return Err(Refusal::invalid(format!(
                "description: at most {DESCRIPTION_BYTES_MAX} bytes"
            )));
        }
        let held = self.live_machine(app, id)?.lease.clone().filter(|held| held.expires_at > now);
        let version = self.live_machine(app, id)?.version.clone();
        let lease = match held {
            Some(held) => Lease {
                expires_at,
                description: description.unwrap_or_else(|| held.description.clone()),
                ..held
            },
            None => Lease {
                nonce: self.ids.nonce(),
                expires_at,
                owner: format!("{owner}@tokens.fly.io"),
                description: description.unwrap_or_default(),
                version,
            },
        };
        self.machines.change(id, |machine| machine.lease = Some(lease.clone()));
        Ok(lease)
    }

    /// The lease on a machine.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if there is none, [`Refusal::MachineNotFound`].
    pub fn lease(&self, now: Timestamp, app: &str, id: &str) -> Result<&Lease, Refusal> {
        let lease = self.live_machine(app, id)?.lease.as_ref();
        lease.filter(|lease| lease.expires_at > now).ok_or(Refusal::NotFound("lease"))
    }

    /// Ends a lease, and does what waited for it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if there is none, [`Refusal::LeaseHeld`] if it is another's.
    pub fn release_lease(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
        nonce: Option<&str>,
    ) -> Result<(), Refusal> {
        self.lease(now, app, id)?;
        self.check_lease(now, app, id, nonce)?;
        self.end_lease(now, id);
        Ok(())
    }

    /// Refuses whoever does not hold the machine's lease, if there is one.
    ///
    /// # Errors
    /// [`Refusal::LeaseHeld`], [`Refusal::MachineNotFound`].
    pub fn check_lease(
        &self,
        now: Timestamp,
        app: &str,
        id: &str,
        nonce: Option<&str>,
    ) -> Result<(), Refusal> {
        let lease = self.machine(app, id)?.lease.as_ref().filter(|lease| lease.expires_at > now);
        match lease {
            Some(lease) if nonce != Some(lease.nonce.as_str()) => Err(Refusal::LeaseHeld {
                id: id.to_owned(),
                owner: lease.owner.clone(),
                expires_at: lease.expires_at,
            }),
            _ => Ok(()),
        }
    }

    /// Carries out an order, or keeps it until the lease ends: then there is a ticket to ask
    /// [`World::verdict`] with.
    ///
    /// # Errors
    /// Those of [`World::stop_machine`] and [`World::destroy_machine`]; [`Refusal::LeaseHeld`] if too
    /// many orders wait already.
    pub fn order(
        &mut self,
        now: Timestamp,
        (app, id): (&str, &str),
        nonce: Option<&str>,
        order: Order,
    ) -> Result<Option<String>, Refusal> {
        let Err(held) = self.check_lease(now, app, id, nonce) else {
            return self.carry_out(now, app, id, &order).map(|()| None);
        };
        if !matches!(held, Refusal::LeaseHeld { .. })
            || self.machine(app, id)?.pending.len() >= PENDING_MAX
        {
            return Err(held);
        }
        let ticket = self.ids.ulid(now);
        let pending = Pending { ticket: ticket.clone(), order };
        self.machines.change(id, |machine| machine.pending.push(pending));
        Ok(Some(ticket))
    }

    /// How the order behind a ticket ended; `None` while it waits for its lease.
    pub fn verdict(&self, id: &str, ticket: &str) -> Option<Result<(), Refusal>> {
        let waits = self
            .machines
            .row(id)
            .is_some_and(|machine| machine.pending.iter().any(|pending| pending.ticket == ticket));
        let known = self.verdicts.0.get(ticket).cloned();
        // A verdict that was dropped for want of room was told to nobody; the order is done.
        if waits { None } else { Some(known.unwrap_or(Ok(()))) }
    }

    /// Ends a lease whose time is over; false if there is none.
    pub(crate) fn lease_due(&mut self, now: Timestamp, id: &str) -> bool {
        let lease = self.machines.row(id).and_then(|machine| machine.lease.as_ref());
        let is_over = lease.is_some_and(|lease| lease.expires_at <= now);
        if is_over {
            self.end_lease(now, id);
        }
        is_over
    }

    /// Takes the lease from a machine that is going; orders for it are done with.
    pub(crate) fn drop_lease(&mut self, id: &str) {
        let dropped = self.machines.change(id, |machine| {
            machine.lease = None;
            std::mem::take(&mut machine.pending)
        });
        for pending in dropped.into_iter().flatten() {
            self.verdicts.keep(pending.ticket, Ok(()));
        }
    }

    fn end_lease(&mut self, now: Timestamp, id: &str) {
        let ended = self.machines.change(id, |machine| {
            machine.lease = None;
            (machine.app.clone(), std::mem::take(&mut machine.pending))
        });
        let Some((app, pending)) = ended else { return };
        for Pending { ticket, order } in pending {
            let verdict = self.carry_out(now, &app, id, &order);
            self.verdicts.keep(ticket, verdict);
        }
    }

    fn carry_out(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
        order: &Order,
    ) -> Result<(), Refusal> {
        match *order {
            Order::Stop { signal, timeout } => self.stop_machine(now, app, id, signal, timeout),
            Order::Destroy { force } => self.destroy_machine(now, app, id, force),
        }
    }
}

/// When a lease of so many seconds ends. Rounded up, because clients are told whole seconds.
pub(crate) fn expiry(now: Timestamp, ttl: Option<i64>) -> Result<Timestamp, Refusal> {
    let seconds = ttl.filter(|seconds| *seconds != 0).unwrap_or(DEFAULT_TTL);
    if !(1..=LONGEST_TTL).contains(&seconds) {
        return Err(Refusal::invalid(format!("ttl: 1 to {LONGEST_TTL} seconds")));
    }
    let whole = now.as_second() + i64::from(now.subsec_nanosecond() > 0);
    Timestamp::from_second(whole + seconds).map_err(|_| Refusal::invalid("ttl"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::Update;
    use crate::world::testing::{at, machine, world};

    fn leased() -> (World, String, Lease) {
        let mut world = world(false);
        let id = machine(&mut world, "m", &json!({})).id;
        world.advance(at(0));
        world.advance(at(5));
        let wish = (Some(10), Some("deploy".to_owned()));
        let lease = world.acquire_lease(at(5), ("app", &id), None, wish, "me").expect("a lease");
        (world, id, lease)
    }

    fn state(world: &World, id: &str) -> State {
        world.machine("app", id).expect("a machine").state
    }

    const STOP: Order = Order::Stop { signal: None, timeout: None };

    #[test]
    fn a_lease_is_prolonged_by_its_holder_and_ends() {
        let (mut world, id, lease) = leased();
        assert_eq!((lease.expires_at, lease.owner.as_str()), (at(15), "me@tokens.fly.io"));
        let nobody = world.acquire_lease(at(6), ("app", &id), None, (None, None), "you");
        let held = Refusal::LeaseHeld {
            id: id.clone(),
            owner: "me@tokens.fly.io".to_owned(),
            expires_at: at(15),
        };
        assert_eq!(nobody, Err(held.clone()));
        assert_eq!(world.check_lease(at(6), "app", &id, Some("wrong")), Err(held));
        let nonce = Some(lease.nonce.as_str());
        let longer = world.acquire_lease(at(8), ("app", &id), nonce, (Some(20), None), "me");
        let longer = longer.expect("prolonged");
        assert_eq!(longer, Lease { expires_at: at(28), ..lease.clone() });
        // An update does not end it.
        let config = json!({ "image": "nginx:2" }).as_object().expect("an object").clone();
        let update = Update { config, ..Update::default() };
        world.update_machine(at(9), "app", &id, update).expect("updated");
        world.advance(at(12));
        assert_eq!(world.lease(at(12), "app", &id), Ok(&longer));
        world.advance(at(28));
        assert_eq!(world.lease(at(28), "app", &id), Err(Refusal::NotFound("lease")));
        world.check_lease(at(28), "app", &id, None).expect("free");
    }

    #[test]
    fn stop_and_destroy_wait_for_the_end_of_the_lease() {
        let (mut world, id, lease) = leased();
        let target = ("app", id.as_str());
        let stop = world.order(at(6), target, None, STOP).expect("taken").expect("waits");
        let unforced = world.order(at(6), target, None, Order::Destroy { force: false });
        let unforced = unforced.expect("taken").expect("waits");
        assert_eq!((state(&world, &id), world.verdict(&id, &stop)), (State::Started, None));
        // A restart of the emulator takes nothing back.
        let mut world = World::restore(world.settings.clone(), world.snapshot());
        world.resume(at(7));
        world.advance(at(14));
        assert_eq!(state(&world, &id), State::Started);
        world.advance(at(15));
        assert_eq!(state(&world, &id), State::Stopped);
        assert_eq!(world.verdict(&id, &stop), Some(Ok(())));
        assert_eq!(world.verdict(&id, &unforced), Some(Err(Refusal::NotStopped)));
        drop(lease);
    }

    #[test]
    fn a_release_needs_the_nonce_and_lets_the_orders_through() {
        let (mut world, id, lease) = leased();
        let ticket = world.order(at(6), ("app", &id), None, STOP).expect("taken").expect("waits");
        assert!(world.release_lease(at(6), "app", &id, Some("wrong")).is_err());
        world.release_lease(at(6), "app", &id, Some(&lease.nonce)).expect("released");
        assert_eq!(world.verdict(&id, &ticket), Some(Ok(())));
        assert_eq!(state(&world, &id), State::Stopping);
        let again = world.release_lease(at(6), "app", &id, Some(&lease.nonce));
        assert_eq!(again, Err(Refusal::NotFound("lease")));
        // The holder never waits.
        let (mut world, id, lease) = leased();
        let order = world.order(at(6), ("app", &id), Some(&lease.nonce), STOP);
        assert_eq!(order, Ok(None));
    }

    #[test]
    fn bounds_are_told() {
        let (mut world, id, lease) = leased();
        for ttl in [-1, LONGEST_TTL + 1, i64::MAX] {
            let wish = (Some(ttl), None);
            let nonce = Some(lease.nonce.as_str());
            let refused = world.acquire_lease(at(6), ("app", &id), nonce, wish, "me");
            assert!(matches!(refused, Err(Refusal::Invalid(_))), "{ttl}");
        }
        for _ in 0..PENDING_MAX {
            world.order(at(6), ("app", &id), None, STOP).expect("taken");
        }
        let over = world.order(at(6), ("app", &id), None, STOP);
        assert!(matches!(over, Err(Refusal::LeaseHeld { .. })));
    }
}
