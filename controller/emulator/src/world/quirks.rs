//! What faults do to machines: the transitions that no caller asked for.
//!
//! ```text
//!  a version waits for its image    created ─▶ (wait) ─▶ starting        an update is undone
//!  a destroy waits for its host     any ─▶ destroying ─▶ (back) ─▶ destroyed
//!  Fly, the proxy or a person acts  started ─▶ moved, stopped, changed, destroyed
//! ```

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::faults::{Errand, Fault, Faults, Happening};
use crate::world::error::Refusal;
use crate::world::ids::number_of;
use crate::world::machine::{Machine, Source, State, timing};
use crate::world::units::KILL;
use crate::world::{Update, Volume, World};

impl World {
    /// The faults, to be shown.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The faults, to be asked whether they hit.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Takes other faults; they meet what exists already.
    pub fn set_faults(&mut self, now: Timestamp, faults: Vec<Fault>) {
        self.faults.replace(now, faults);
        for machine in self.machines.iter().filter(|machine| machine.state == State::Started) {
            self.faults.started(now, machine);
        }
    }

    /// Accepts the destruction of a machine whose host does not answer: it is carried out once the
    /// host is back.
    ///
    /// # Errors
    /// [`Refusal::MachineNotFound`].
    pub fn strand(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
        until: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        let machine = self.machine(app, id)?;
        if matches!(machine.state, State::Destroying | State::Destroyed) {
            return Ok(());
        }
        self.change_machine(now, id, |machine, ids| {
            machine.record(ids, now, ("destroy", State::Destroying, Source::User), None);
            machine.enter(State::Destroying, None);
        });
        self.faults.strand(id, until);
        Ok(())
    }

    /// Does what faults left to be done.
    pub(crate) fn run_errands(&mut self, now: Timestamp) {
        while let Some(errand) = self.faults.take_due(now) {
            match errand {
                Errand::Revert(before) => self.revert(now, *before),
                Errand::Release { volume_id } => self.attach(now, &volume_id, None),
                Errand::HostBack { machine_id } => self.host_back(now, &machine_id),
                Errand::Happen { fault, machine_id } => self.happen(now, fault, &machine_id),
            }
        }
    }

    /// Whether a version that is about to boot waits for its image instead.
    pub(crate) fn waits_for_image(&mut self, now: Timestamp, id: &str) -> bool {
        let Some(machine) = self.machines.row(id) else { return false };
        let Some(delay) = self.faults.image_pull(now, machine) else { return false };
        self.change_machine(now, id, |machine, _| machine.due = Some(now + delay));
        true
    }

    /// Notes that a machine has started.
    pub(crate) fn note_started(&mut self, now: Timestamp, id: &str) {
        if let Some(machine) = self.machines.row(id) {
            self.faults.started(now, machine);
        }
    }

    /// Lets go of a destroyed machine's volume, unless a fault keeps the claim.
    pub(crate) fn let_go(&mut self, now: Timestamp, id: &str, volume: &str) {
        let machine = self.machines.row(id);
        if !machine.is_some_and(|machine| self.faults.keeps_claim(now, machine, volume)) {
            self.attach(now, volume, None);
        }
    }

    /// Lets go of volumes whose machines are gone: nobody remembers the faults that kept the claims.
    pub(crate) fn release_claims_of_the_gone(&mut self, now: Timestamp) {
        let claimed = self.volumes.iter().filter(|volume| {
            let machine = volume.attached_machine_id.as_deref();
            let lives =
                |id| self.machines.row(id).is_some_and(|machine| machine.state != State::Destroyed);
            machine.is_some_and(|id| !lives(id))
        });
        let claimed: Vec<String> = claimed.map(|volume| volume.id.clone()).collect();
        for id in claimed {
            self.attach(now, &id, None);
        }
    }

    /// How long a machine that is destroyed now is still known.
    pub(crate) fn destroyed_shown(&mut self, now: Timestamp, id: &str) -> Duration {
        let told =
            self.machines.row(id).and_then(|machine| self.faults.destroyed_shown(now, machine));
        told.unwrap_or(timing::DESTROYED_SHOWN)
    }

    /// Gives a machine the version back that it had, as a host does that cannot fit the new one.
    fn revert(&mut self, now: Timestamp, before: Machine) {
        let gone =
            |machine: &Machine| matches!(machine.state, State::Destroying | State::Destroyed);
        if self.machines.row(&before.id).is_none_or(gone) {
            return;
        }
        let id = before.id.clone();
        self.remember_version(&id);
        self.recall_version(&id, &before.version);
        self.change_machine(now, &id, |machine, ids| {
            machine.supersede(before.version.clone());
            machine.replaced.retain(|version| *version != before.version);
            machine.config = before.config;
            machine.image = before.image;
            machine.skip_launch = before.skip_launch;
            machine.skip_secrets = before.skip_secrets;
            machine.record(ids, now, ("update", State::Replacing, Source::Flyd), None);
            machine.enter(State::Replacing, Some(now));
        });
        self.stop_process(&id, KILL, Duration::ZERO);
    }

    fn host_back(&mut self, now: Timestamp, id: &str) {
        let waits =
            |machine: &&Machine| machine.state == State::Destroying && machine.due.is_none();
        if self.machines.row(id).filter(waits).is_some() {
            self.change_machine(now, id, |machine, _| machine.due = Some(now));
            self.stop_process(id, KILL, Duration::ZERO);
        }
    }

    fn happen(&mut self, now: Timestamp, fault: usize, id: &str) {
        let Some(machine) = self.machines.row(id).filter(|it| it.state == State::Started) else {
            return;
        };
        let app = machine.app.clone();
        let done = match self.faults.happens(now, fault) {
            None => return,
            Some(Happening::Migration) => self.migrate(now, id),
            Some(Happening::Autostop) => self.stop_by(now, id, Source::Flyd),
            Some(Happening::UserStop) => self.stop_by(now, id, Source::User),
            Some(Happening::UserEdit(change)) => self.edit(now, &app, id, change),
            Some(Happening::UserDestroy) => self.destroy_machine(now, &app, id, true),
        };
        if let Err(refusal) = done {
            tracing::warn!(machine_id = id, %refusal, "a fault could not happen");
        }
    }

    fn stop_by(&mut self, now: Timestamp, id: &str, source: Source) -> Result<(), Refusal> {
        let machine = self.machines.row(id).ok_or(Refusal::MachineNotFound)?;
        let (signal, timeout) = machine.known().stop()?;
        self.change_machine(now, id, |machine, ids| {
            machine.record(ids, now, ("stop", State::Stopping, source), None);
            machine.enter(State::Stopping, Some(now));
        });
        self.stop_process(id, signal, timeout);
        Ok(())
    }

    fn edit(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
        change: Map<String, Value>,
    ) -> Result<(), Refusal> {
        let mut config = Value::Object(self.machine(app, id)?.config.clone());
        merge(&mut config, Value::Object(change));
        let Value::Object(config) = config else { return Err(Refusal::invalid("no config")) };
        self.update_machine(now, app, id, Update { config, ..Update::default() }).map(drop)
    }

    /// Moves a machine to another host. Where volumes are folders of this computer they keep their
    /// ids, because their files are found by them.
    fn migrate(&mut self, now: Timestamp, id: &str) -> Result<(), Refusal> {
        let machine = self.machines.row(id).ok_or(Refusal::MachineNotFound)?.clone();
        let network = self.open_app(&machine.app)?.network.clone();
        let address = self.free_address(&machine.org, &network, &machine.region)?;
        let mut config = machine.config.clone();
        if let Some(volume) = machine.volume().filter(|_| !self.settings.processes)
            && let Some(moved) = self.move_volume(now, &volume)
            && let Some(mount) = config.get_mut("mounts").and_then(|mounts| mounts.get_mut(0))
        {
            mount["volume"] = Value::String(moved);
        }
        let version = self.ids.ulid(now);
        self.remember_version(id);
        self.change_machine(now, id, |machine, ids| {
            machine.supersede(version);
            machine.private_ip = address;
            machine.config = config;
            machine.record(ids, now, ("launch", State::Created, Source::Flyd), None);
            machine.enter(State::Replacing, Some(now));
        });
        self.stop_process(id, KILL, Duration::ZERO);
        Ok(())
    }

    /// A volume under another id on other hardware; the new id.
    fn move_volume(&mut self, now: Timestamp, id: &str) -> Option<String> {
        let volume = self.volumes.row(id)?.clone();
        let new = self.ids.volume();
        let moved = Volume {
            zone: format!("{:04x}", number_of(&new) & 0xffff),
            id: new.clone(),
            updated_at: self.ids.stamp(now),
            ..volume
        };
        self.volumes.remove(id);
        self.volumes.insert(moved);
        Some(new)
    }
}

/// RFC 7396: null removes, mappings are merged, all else is replaced.
fn merge(target: &mut Value, change: Value) {
    match (target, change) {
        (Value::Object(members), Value::Object(changes)) => {
            for (name, change) in changes {
                if change.is_null() {
                    members.remove(&name);
                } else {
                    merge(members.entry(name).or_insert(Value::Null), change);
                }
            }
        }
        (target, change) => *target = change,
    }
}

#[cfg(test)]
mod tests;
