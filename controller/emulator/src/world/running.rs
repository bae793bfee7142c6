//! What is done to a machine beside starting and stopping it: suspend and resume, signals, memory,
//! and whether the proxy sends it traffic.

use std::time::Duration;

use jiff::Timestamp;

use crate::runner::Exit;
use crate::world::error::Refusal;
use crate::world::machine::{Machine, Source, State};
use crate::world::units::KILL;
use crate::world::{Effect, World};

/// The largest guest whose memory the platform keeps, in MiB.
const SUSPEND_MEMORY_MB_MAX: u32 = 2048;
/// Signals whose default is to end a process: INT, QUIT, KILL, USR1, USR2, TERM and HUP.
const ENDING: [i32; 7] = [1, 2, 3, KILL, 10, 12, 15];

impl Machine {
    /// How a stop goes about it: as it says itself, else as the config says. What is frozen hears no
    /// signal, so it is killed.
    pub(crate) fn way_to_stop(
        &self,
        signal: Option<i32>,
        timeout: Option<Duration>,
    ) -> Result<(i32, Duration), Refusal> {
        if matches!(self.state, State::Suspending | State::Suspended) {
            return Ok((KILL, Duration::ZERO));
        }
        let (own_signal, own_timeout) = self.known().stop()?;
        Ok((signal.unwrap_or(own_signal), timeout.unwrap_or(own_timeout)))
    }

    /// The guest's memory, in MiB.
    fn memory_mb(&self) -> u32 {
        self.known().guest.and_then(|guest| guest.memory_mb).unwrap_or_default()
    }
}

impl World {
    /// Stops all of a machine's processes where they are. Twice is harmless.
    ///
    /// # Errors
    /// A machine that is not started, or that the platform cannot suspend: over 2 GB of memory, with
    /// swap, or with a schedule.
    pub fn suspend_machine(&mut self, now: Timestamp, app: &str, id: &str) -> Result<(), Refusal> {
        let machine = self.live_machine(app, id)?;
        match machine.state {
            State::Suspending | State::Suspended => return Ok(()),
            State::Started => {}
            state => return Err(Refusal::WrongState { action: "suspend", state }),
        }
        let known = machine.known();
        let swap = known.init.as_ref().and_then(|init| init.swap_size_mb).unwrap_or_default();
        let obstacle = if machine.memory_mb() > SUSPEND_MEMORY_MB_MAX {
            Some("more than 2GB of memory")
        } else if swap > 0 {
            Some("swap")
        } else if known.schedule.is_some_and(|schedule| !schedule.is_empty()) {
            Some("a schedule")
        } else {
            None
        };
        if let Some(obstacle) = obstacle {
            let text = format!("unable to suspend machine: it has {obstacle}");
            return Err(Refusal::Precondition(text));
        }
        self.freeze(id, true);
        self.change_machine(now, id, |machine, ids| {
            machine.record(ids, now, ("suspend", State::Suspending, Source::User), None);
            machine.enter(State::Suspending, Some(now));
        });
        Ok(())
    }

    /// Lets a suspended machine go on, and boots any other. What was suspended and has lost its
    /// processes, with the emulator, boots cold, as it may on the platform.
    pub(crate) fn wake(&mut self, now: Timestamp, id: &str) {
        let frozen = self
            .machines
            .row(id)
            .is_some_and(|machine| machine.state == State::Suspended && machine.process.is_some());
        if !frozen {
            return self.boot(now, id);
        }
        self.freeze(id, false);
        self.change_machine(now, id, |machine, _| machine.enter(State::Starting, Some(now)));
    }

    /// Sends a signal to the machine's main process. Without processes, one that ends processes
    /// ends the machine, and others do nothing.
    ///
    /// # Errors
    /// A machine that is not started.
    pub fn signal_machine(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
        signal: i32,
    ) -> Result<(), Refusal> {
        let machine = self.live_machine(app, id)?;
        if machine.state != State::Started {
            return Err(Refusal::WrongState { action: "signal", state: machine.state });
        }
        let vanishes = machine.known().auto_destroy == Some(true);
        match machine.process {
            Some(run) => {
                let machine_id = id.to_owned();
                self.effects.push(Effect::Signal { machine_id, run, signal });
            }
            None if ENDING.contains(&signal) => {
                let exit = Exit { code: None, signal: Some(signal) };
                self.ended_by_itself(now, id, exit, vanishes);
            }
            None => {}
        }
        Ok(())
    }

    /// Keeps the proxy's traffic from a machine, or lets it through.
    ///
    /// # Errors
    /// [`Refusal::MachineNotFound`].
    pub fn cordon_machine(
        &mut self,
        now: Timestamp,
        (app, id): (&str, &str),
        cordoned: bool,
    ) -> Result<(), Refusal> {
        if self.live_machine(app, id)?.cordoned != cordoned {
            self.change_machine(now, id, |machine, _| machine.cordoned = cordoned);
        }
        Ok(())
    }

    /// The guest's memory and how much of it may be used, both in MiB.
    ///
    /// # Errors
    /// [`Refusal::MachineNotFound`].
    pub fn memory(&self, app: &str, id: &str) -> Result<(u32, u32), Refusal> {
        let machine = self.live_machine(app, id)?;
        let all = machine.memory_mb();
        Ok((all, machine.memory_limit_mb.map_or(all, |limit| limit.min(all))))
    }

    /// Limits what a machine may use of its memory. The limit is told and not enforced: memory is
    /// not isolated here.
    ///
    /// # Errors
    /// A limit of nothing, or of more than there is.
    pub fn limit_memory(
        &mut self,
        now: Timestamp,
        (app, id): (&str, &str),
        limit_mb: u32,
    ) -> Result<(), Refusal> {
        let all = self.live_machine(app, id)?.memory_mb();
        if limit_mb == 0 || limit_mb > all {
            return Err(Refusal::invalid(format!("limit_mb: 1 to {all}")));
        }
        self.change_machine(now, id, |machine, _| machine.memory_limit_mb = Some(limit_mb));
        Ok(())
    }

    fn freeze(&mut self, id: &str, frozen: bool) {
        if let Some(run) = self.machines.row(id).and_then(|machine| machine.process) {
            self.effects.push(Effect::Freeze { machine_id: id.to_owned(), run, frozen });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::testing::{at, machine, world};

    fn started(processes: bool, members: serde_json::Value) -> (World, String) {
        let mut world = world(processes);
        let id = machine(&mut world, "m", &members).id;
        world.advance(at(0));
        world.advance(at(5));
        world.take_effects();
        (world, id)
    }

    fn state(world: &World, id: &str) -> State {
        world.machine("app", id).expect("a machine").state
    }

    #[test]
    fn a_suspended_machine_goes_on_where_it_was() {
        let (mut world, id) = started(true, json!({}));
        world.suspend_machine(at(6), "app", &id).expect("suspended");
        assert_eq!(state(&world, &id), State::Suspending);
        world.advance(at(6));
        assert_eq!(state(&world, &id), State::Suspended);
        let freeze = |frozen| Effect::Freeze { machine_id: id.clone(), run: 1, frozen };
        assert_eq!(world.take_effects(), [freeze(true)]);
        world.suspend_machine(at(7), "app", &id).expect("twice is once");
        assert_eq!(world.start_machine(at(8), "app", &id), Ok(State::Suspended));
        world.advance(at(8));
        assert_eq!(state(&world, &id), State::Started);
        assert_eq!(world.take_effects(), [freeze(false)], "no second launch");
    }

    #[test]
    fn a_stop_of_a_suspended_machine_kills_and_a_lost_one_boots_cold() {
        let (mut world, id) = started(true, json!({}));
        world.suspend_machine(at(6), "app", &id).expect("suspended");
        world.advance(at(6));
        let mut again = World::restore(world.settings.clone(), world.snapshot());
        world.take_effects();
        world.stop_machine(at(7), "app", &id, Some(15), None).expect("stops");
        assert_eq!(world.take_effects(), [Effect::Kill { machine_id: id.clone(), run: 1 }]);

        again.resume(at(9));
        again.advance(at(9));
        assert_eq!(state(&again, &id), State::Suspended);
        again.start_machine(at(10), "app", &id).expect("starts");
        let effects = again.take_effects();
        assert!(matches!(effects[..], [Effect::Launch(_)]), "{effects:?}");
    }

    #[test]
    fn what_cannot_be_suspended_is_told() {
        let cases = [
            (json!({ "guest": { "cpus": 2, "memory_mb": 4096 } }), "2GB"),
            (json!({ "init": { "swap_size_mb": 256 } }), "swap"),
            (json!({ "schedule": "daily" }), "schedule"),
        ];
        for (members, text) in cases {
            let (mut world, id) = started(false, members);
            let refusal = world.suspend_machine(at(6), "app", &id).expect_err("refused");
            assert!(refusal.to_string().contains(text), "{refusal}");
        }
    }

    #[test]
    fn a_signal_is_sent_or_ends_what_has_no_process() {
        let (mut world, id) = started(true, json!({}));
        world.signal_machine(at(6), "app", &id, 10).expect("sent");
        let sent = Effect::Signal { machine_id: id, run: 1, signal: 10 };
        assert_eq!(world.take_effects(), [sent]);
        let (mut world, id) = started(false, json!({ "restart": { "policy": "no" } }));
        world.signal_machine(at(6), "app", &id, KILL).expect("sent");
        let machine = world.machine("app", &id).expect("a machine");
        let exit = machine.events[0].request.as_ref().expect("an exit");
        assert_eq!((machine.state, &exit["exit_event"]["signal"]), (State::Stopped, &json!(9)));
        let refusal = world.signal_machine(at(7), "app", &id, KILL).expect_err("stopped");
        assert!(refusal.to_string().contains("unable to signal"), "{refusal}");
    }

    #[test]
    fn memory_is_limited_within_what_there_is() {
        let (mut world, id) = started(false, json!({}));
        assert_eq!(world.memory("app", &id), Ok((256, 256)));
        world.limit_memory(at(6), ("app", &id), 100).expect("limited");
        assert_eq!(world.memory("app", &id), Ok((256, 100)));
        for limit in [0, 257] {
            assert!(world.limit_memory(at(6), ("app", &id), limit).is_err(), "{limit}");
        }
    }
}
