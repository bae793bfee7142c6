//! How machines move between states: by calls, by the clock, and by the ends of their processes.
//!
//! ```text
//! created ─▶ starting ─▶ started ─▶ stopping ─▶ stopped ─▶ starting …
//!                │  ▲        │ ├──▶ suspending ─▶ suspended ─▶ starting
//!                │  │        │ ├──▶ restarting ─▶ starting
//!                │  └────────┘ └──▶ replacing ──▶ starting | stopped
//!                ▼  (policy)
//!             failed              any ─▶ destroying ─▶ destroyed ─▶ forgotten
//! ```

use std::time::Duration;

use jiff::Timestamp;

use crate::runner::Exit;
use crate::world::error::Refusal;
use crate::world::launch::LaunchSpec;
use crate::world::machine::{Machine, Source, State};
use crate::world::restart::{Tally, Verdict};
use crate::world::units::KILL;
use crate::world::{Effect, World};

/// How a machine ends that has no process: as if it had obeyed.
const OBEYED: Exit = Exit { code: Some(0), signal: None };

impl World {
    /// Starts a machine; returns the state before.
    ///
    /// # Errors
    /// A machine that runs, or is on its way somewhere.
    pub fn start_machine(&mut self, now: Timestamp, app: &str, id: &str) -> Result<State, Refusal> {
        let before = self.live_machine(app, id)?.state;
        match before {
            State::Stopped | State::Failed | State::Suspended => {}
            State::Started | State::Starting => return Err(Refusal::StillActive),
            State::Replacing => return Err(Refusal::GettingReplaced),
            state => {
                return Err(Refusal::WrongState { action: "start", state });
            }
        }
        self.change_machine(now, id, |machine, ids| {
            machine.restarts = Tally { count: 0, since: now };
            machine.record(ids, now, ("start", State::Starting, Source::User), None);
        });
        self.wake(now, id);
        Ok(before)
    }

    /// Stops a machine; a machine that is down or on its way down stays so.
    ///
    /// # Errors
    /// A machine that is being replaced or destroyed.
    pub fn stop_machine(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
        signal: Option<i32>,
        timeout: Option<Duration>,
    ) -> Result<(), Refusal> {
        let machine = self.live_machine(app, id)?;
        match machine.state {
            State::Stopped | State::Stopping => return Ok(()),
            state @ (State::Replacing | State::Destroying | State::Destroyed) => {
                return Err(Refusal::WrongState { action: "stop", state });
            }
            _ => {}
        }
        let (signal, timeout) = machine.way_to_stop(signal, timeout)?;
        self.change_machine(now, id, |machine, ids| {
            machine.record(ids, now, ("stop", State::Stopping, Source::User), None);
            machine.enter(State::Stopping, Some(now));
        });
        self.stop_process(id, signal, timeout);
        Ok(())
    }

    /// Stops a machine and starts it again; one that is down just starts.
    ///
    /// # Errors
    /// A machine that is on its way somewhere else.
    pub fn restart_machine(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
        signal: Option<i32>,
        timeout: Option<Duration>,
    ) -> Result<(), Refusal> {
        let machine = self.live_machine(app, id)?;
        match machine.state {
            State::Restarting => return Ok(()),
            State::Started
            | State::Starting
            | State::Stopped
            | State::Suspended
            | State::Failed => {}
            State::Replacing => return Err(Refusal::GettingReplaced),
            state => {
                return Err(Refusal::WrongState { action: "restart", state });
            }
        }
        let (signal, timeout) = machine.way_to_stop(signal, timeout)?;
        self.change_machine(now, id, |machine, ids| {
            machine.restarts = Tally { count: 0, since: now };
            machine.record(ids, now, ("restart", State::Restarting, Source::User), None);
            machine.enter(State::Restarting, Some(now));
        });
        self.stop_process(id, signal, timeout);
        Ok(())
    }

    /// Destroys a machine; one that is up needs `force`. Twice is harmless.
    ///
    /// # Errors
    /// [`Refusal::NotStopped`], [`Refusal::MachineNotFound`].
    pub fn destroy_machine(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
        force: bool,
    ) -> Result<(), Refusal> {
        let machine = self.machine(app, id)?;
        match machine.state {
            State::Destroying | State::Destroyed => return Ok(()),
            State::Stopped | State::Suspended | State::Failed | State::Created => {}
            _ if force => {}
            _ => return Err(Refusal::NotStopped),
        }
        self.begin_destroy(now, id);
        Ok(())
    }

    /// Takes the end of a machine's process. Ends of runs that are not the live one are old news.
    pub fn process_exited(&mut self, now: Timestamp, id: &str, run: u64, exit: Exit) {
        let Some(machine) = self.machines.row(id).filter(|machine| machine.process == Some(run))
        else {
            return;
        };
        let (state, known) = (machine.state, machine.known());
        let vanishes = known.auto_destroy == Some(true);
        self.change_machine(now, id, |machine, _| machine.process = None);
        match state {
            State::Started | State::Starting | State::Suspending | State::Suspended => {
                self.ended_by_itself(now, id, exit, vanishes);
            }
            State::Stopping => self.finish_stop(now, id, exit, vanishes),
            State::Restarting => self.change_machine(now, id, |machine, ids| {
                machine.record_exit(ids, now, exit, (State::Stopped, true, true));
                machine.due = Some(now);
            }),
            State::Replacing => self.change_machine(now, id, |machine, ids| {
                machine.record_exit(ids, now, exit, (State::Stopped, false, false));
                machine.due = Some(now);
            }),
            State::Destroying => self.finish_destroy(now, id),
            // No process lives in these states.
            State::Created | State::Stopped | State::Failed | State::Destroyed => {}
        }
    }

    /// The clock's part of a machine's life.
    pub(crate) fn machine_due(&mut self, now: Timestamp, id: &str) {
        if self.lease_due(now, id) {
            return;
        }
        let Some(machine) = self.machines.row(id) else {
            return;
        };
        let vanishes = machine.known().auto_destroy == Some(true);
        let (state, skip_launch) = (machine.state, machine.skip_launch);
        match state {
            State::Created | State::Replacing if self.waits_for_image(now, id) => {}
            State::Created | State::Replacing if skip_launch => {
                self.change_machine(now, id, |machine, _| machine.enter(State::Stopped, None));
            }
            State::Created | State::Replacing | State::Restarting => self.boot(now, id),
            State::Starting => {
                self.change_machine(now, id, |machine, ids| {
                    machine.record(ids, now, ("start", State::Started, Source::Flyd), None);
                    machine.enter(State::Started, None);
                });
                self.note_started(now, id);
            }
            State::Stopping => self.finish_stop(now, id, OBEYED, vanishes),
            State::Destroying => self.finish_destroy(now, id),
            State::Destroyed => {
                self.machines.remove(id);
                self.forget_versions(id);
            }
            State::Suspending => self.change_machine(now, id, |machine, ids| {
                machine.record(ids, now, ("suspend", State::Suspended, Source::Flyd), None);
                machine.enter(State::Suspended, None);
            }),
            State::Started | State::Stopped | State::Suspended | State::Failed => {
                self.change_machine(now, id, |machine, _| machine.due = None);
            }
        }
    }

    /// Starts the removal of a machine in whatever state.
    pub(crate) fn begin_destroy(&mut self, now: Timestamp, id: &str) {
        let Some(machine) = self.machines.row(id) else {
            return;
        };
        if matches!(machine.state, State::Destroying | State::Destroyed) {
            return;
        }
        self.drop_lease(id);
        self.change_machine(now, id, |machine, ids| {
            machine.record(ids, now, ("destroy", State::Destroying, Source::User), None);
            machine.enter(State::Destroying, Some(now));
        });
        self.stop_process(id, KILL, Duration::ZERO);
    }

    /// Ends the machine's process if it has one; its end then moves the machine on, not the clock.
    pub(crate) fn stop_process(&mut self, id: &str, signal: i32, timeout: Duration) {
        let process = self.machines.row(id).and_then(|machine| machine.process);
        let Some(run) = process else { return };
        let machine_id = id.to_owned();
        self.effects.push(if signal == KILL || timeout.is_zero() {
            Effect::Kill { machine_id, run }
        } else {
            Effect::Stop { machine_id, run, signal, timeout }
        });
        self.machines.change(id, |machine| machine.due = None);
    }

    /// Begins a run of the machine.
    pub(crate) fn boot(&mut self, now: Timestamp, id: &str) {
        let due = now + self.settings.boot_delay;
        let processes = self.settings.processes;
        self.change_machine(now, id, |machine, _| {
            machine.run += 1;
            machine.process = processes.then_some(machine.run);
            machine.enter(State::Starting, Some(due));
        });
        let Some(machine) = self.machines.row(id).filter(|_| processes) else {
            return;
        };
        // An app goes only after its last machine.
        if let Some(app) = self.apps.row(&machine.app) {
            let secrets = self.secrets.group(&app.name).filter(|_| !machine.skip_secrets);
            self.effects.push(Effect::Launch(Box::new(LaunchSpec::of(machine, app, secrets))));
        }
    }

    pub(crate) fn ended_by_itself(&mut self, now: Timestamp, id: &str, exit: Exit, vanishes: bool) {
        let Some(machine) = self.machines.row(id) else {
            return;
        };
        // An unknown policy was refused when the config came in.
        let Ok(policy) = machine.known().policy() else {
            return;
        };
        let (verdict, tally) = policy.decide(exit, machine.restarts, now);
        let never_ran = machine.state == State::Starting && exit.code != Some(0);
        let (state, due) = match verdict {
            Verdict::Restart(delay) => (State::Restarting, Some(now + delay)),
            Verdict::Stay if never_ran => (State::Failed, None),
            Verdict::Stay => (State::Stopped, None),
        };
        let restarting = state == State::Restarting;
        self.change_machine(now, id, |machine, ids| {
            machine.restarts = tally;
            let status = if restarting { State::Stopped } else { state };
            machine.record_exit(ids, now, exit, (status, false, restarting));
            machine.enter(state, due);
        });
        if vanishes && !restarting {
            self.begin_destroy(now, id);
        }
    }

    fn finish_stop(&mut self, now: Timestamp, id: &str, exit: Exit, vanishes: bool) {
        self.change_machine(now, id, |machine, ids| {
            machine.record_exit(ids, now, exit, (State::Stopped, true, false));
            machine.enter(State::Stopped, None);
        });
        if vanishes {
            self.begin_destroy(now, id);
        }
    }

    fn finish_destroy(&mut self, now: Timestamp, id: &str) {
        let Some(machine) = self.machines.row(id) else {
            return;
        };
        let (app, volume) = (machine.app.clone(), machine.volume());
        let shown = self.destroyed_shown(now, id);
        self.change_machine(now, id, |machine, ids| {
            machine.record(ids, now, ("destroy", State::Destroyed, Source::Flyd), None);
            machine.enter(State::Destroyed, Some(now + shown));
        });
        if let Some(volume) = volume {
            self.let_go(now, id, &volume);
        }
        self.effects.push(Effect::Forget { machine_id: id.to_owned() });
        self.machine_of_app_gone(now, &app);
    }

    /// Puts the world back to work after a restart of the emulator: processes ended with it, and
    /// the machines that ran start again. So did faults: what they held back goes on.
    pub fn resume(&mut self, now: Timestamp) {
        self.readdress(now);
        self.release_claims_of_the_gone(now);
        self.copy_again();
        self.remove_again();
        let ids: Vec<String> = self.machines.iter().map(|machine| machine.id.clone()).collect();
        for id in ids {
            let Some(Machine { state, process, .. }) = self.machines.row(&id).cloned() else {
                continue;
            };
            let lost = process.is_some();
            match state {
                State::Started | State::Starting if self.settings.processes => self.boot(now, &id),
                State::Started if lost => {
                    self.change_machine(now, &id, |machine, _| machine.process = None);
                }
                // Without a process only a destruction waits for nobody: for a host that was down.
                state if lost || state == State::Destroying => {
                    self.change_machine(now, &id, |machine, _| {
                        machine.process = None;
                        machine.due = machine.due.or(Some(now));
                    });
                }
                _ => {}
            }
        }
    }
}
