//! Snapshots of volumes, and volumes made from snapshots and from other volumes.
//!
//! ```text
//!  snapshot: waiting ──TakeSnapshot──▶ created ──retention──▶ gone
//!  volume:   creating ─▶ restoring | hydrating ──FillVolume──▶ created
//! ```
//!
//! The copies themselves are effects; what was still to be copied when an emulator ended is copied
//! by the next one.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::world::error::Refusal;
use crate::world::machine::State;
use crate::world::table::Row;
use crate::world::volume::VolumeState;
use crate::world::{Effect, World};

/// Snapshots per volume: each is a whole copy on this computer's disk.
const SNAPSHOTS_MAX: usize = 100;

/// What a new volume begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyFrom {
    /// A snapshot, by id.
    Snapshot(String),
    /// A volume of the same app, by id.
    Volume(String),
}

/// A snapshot of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `vs_` and 16 characters.
    pub id: String,
    /// The volume's id.
    pub volume_id: String,
    /// The app's name.
    pub app: String,
    /// The organization's slug.
    pub org: String,
    /// What it takes, in bytes; `None` until it is taken.
    pub size: Option<u64>,
    /// The volume's size at that time, in gigabytes.
    pub volume_size_gb: u32,
    /// Days from its making to its end.
    pub retention_days: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ends.
    pub due: Timestamp,
}

impl Snapshot {
    /// `waiting` until the copy is made, then `created`.
    pub const fn status(&self) -> &'static str {
        if self.size.is_some() { "created" } else { "waiting" }
    }

    /// Names the snapshot as other storage would; opaque.
    pub fn digest(&self) -> String {
        data_encoding::HEXLOWER.encode(&Sha256::digest(self.id.as_bytes()))
    }
}

impl Row for Snapshot {
    fn key(&self) -> &str {
        &self.id
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.volume_id
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }

    fn deadline(&self) -> Option<Timestamp> {
        Some(self.due)
    }
}

impl World {
    /// Asks for a snapshot of a volume.
    ///
    /// # Errors
    /// [`Refusal::VolumeNotFound`]; [`Refusal::Precondition`] if one is under way, or the volume has
    /// too many or is going.
    pub fn create_snapshot(
        &mut self,
        now: Timestamp,
        app: &str,
        volume_id: &str,
    ) -> Result<Snapshot, Refusal> {
        let volume = self.volume(app, volume_id)?;
        if !volume.state.is_usable() {
            return Err(Refusal::VolumeGoing(volume_id.to_owned()));
        }
        let waiting = self.snapshots.group(volume_id).find(|snapshot| snapshot.size.is_none());
        if let Some(waiting) = waiting {
            let text = format!("snapshot is already scheduled at {}", waiting.created_at);
            return Err(Refusal::Precondition(text));
        }
        if self.snapshots.group(volume_id).count() >= SNAPSHOTS_MAX {
            let text = format!("the volume has {SNAPSHOTS_MAX} snapshots already");
            return Err(Refusal::Precondition(text));
        }
        let days = volume.snapshot_retention;
        let (app, org, size_gb) = (volume.app.clone(), volume.org.clone(), volume.size_gb);
        let snapshot = Snapshot {
            id: self.ids.snapshot(),
            volume_id: volume_id.to_owned(),
            app,
            org,
            size: None,
            volume_size_gb: size_gb,
            retention_days: days,
            created_at: self.ids.stamp(now),
            due: now + Duration::from_secs(u64::from(days) * 24 * 60 * 60),
        };
        self.snapshots.insert(snapshot.clone());
        self.take_snapshot(&snapshot);
        Ok(snapshot)
    }

    /// The snapshots of a volume, newest first; also of one that is being destroyed.
    ///
    /// # Errors
    /// [`Refusal::VolumeNotFound`].
    pub fn snapshots(&self, app: &str, volume_id: &str) -> Result<Vec<&Snapshot>, Refusal> {
        self.volume(app, volume_id)?;
        let mut snapshots: Vec<_> = self.snapshots.group(volume_id).collect();
        snapshots.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.created_at));
        Ok(snapshots)
    }

    /// Takes the end of a snapshot's copying.
    pub fn snapshot_taken(&mut self, id: &str, bytes: u64) {
        self.snapshots.change(id, |snapshot| snapshot.size = Some(bytes));
    }

    /// Takes the end of a volume's filling.
    pub fn volume_filled(&mut self, now: Timestamp, id: &str) {
        // A volume that was deleted meanwhile has gone with its app, or goes on going.
        let _gone = self.change_volume(now, id, |volume| {
            volume.from = None;
            if matches!(volume.state, VolumeState::Restoring | VolumeState::Hydrating) {
                volume.state = VolumeState::Created;
            }
        });
    }

    /// Gigabytes of what a volume is to begin with; `None` if that is nothing.
    pub(crate) fn source_size(
        &self,
        org: &str,
        app: &str,
        from: Option<&CopyFrom>,
    ) -> Result<Option<u32>, Refusal> {
        match from {
            None => Ok(None),
            Some(CopyFrom::Volume(id)) => {
                let volume = self.volume(app, id)?;
                let usable = volume.state.is_usable();
                if usable {
                    Ok(Some(volume.size_gb))
                } else {
                    Err(Refusal::VolumeGoing(id.clone()))
                }
            }
            Some(CopyFrom::Snapshot(id)) => {
                let snapshot = self.snapshots.row(id).filter(|snapshot| snapshot.org == org);
                let snapshot = snapshot.ok_or(Refusal::NotFound("snapshot"))?;
                if snapshot.size.is_none() {
                    return Err(Refusal::Precondition(format!("snapshot {id} is not created yet")));
                }
                Ok(Some(snapshot.volume_size_gb))
            }
        }
    }

    /// Has a new volume filled, if it is to be; the state that this leads to.
    pub(crate) fn begin_filling(&mut self, id: &str) -> VolumeState {
        match self.volumes.row(id).and_then(|volume| volume.from.clone()) {
            None => VolumeState::Created,
            Some(from) => {
                let state = match from {
                    CopyFrom::Snapshot(_) => VolumeState::Restoring,
                    CopyFrom::Volume(_) => VolumeState::Hydrating,
                };
                self.effects.push(Effect::FillVolume { volume_id: id.to_owned(), from });
                state
            }
        }
    }

    /// The end of a snapshot's time.
    pub(crate) fn snapshot_due(&mut self, now: Timestamp, id: &str) {
        if self.snapshots.row(id).is_some_and(|snapshot| snapshot.due <= now) {
            self.remove_snapshot(id);
        }
    }

    /// Forgets all snapshots of an app that is gone.
    pub(crate) fn forget_snapshots(&mut self, app: &str) {
        let of_app = self.snapshots.iter().filter(|snapshot| snapshot.app == app);
        let ids: Vec<String> = of_app.map(|snapshot| snapshot.id.clone()).collect();
        for id in ids {
            self.remove_snapshot(&id);
        }
    }

    /// Asks again for the copies that the last emulator did not finish.
    pub(crate) fn copy_again(&mut self) {
        let waiting = self.snapshots.iter().filter(|snapshot| snapshot.size.is_none());
        let waiting: Vec<Snapshot> = waiting.cloned().collect();
        for snapshot in waiting {
            self.take_snapshot(&snapshot);
        }
        let filling = self.volumes.iter().filter(|volume| {
            matches!(volume.state, VolumeState::Restoring | VolumeState::Hydrating)
        });
        let filling: Vec<String> = filling.map(|volume| volume.id.clone()).collect();
        for id in filling {
            self.begin_filling(&id);
        }
    }

    /// Asks again for the removal of what was destroyed a while ago: the last emulator may have
    /// ended before it came to it. Removing twice is harmless.
    pub(crate) fn remove_again(&mut self) {
        let machines = self.machines.iter().filter(|it| it.state == State::Destroyed);
        let machines = machines.map(|machine| Effect::Forget { machine_id: machine.id.clone() });
        let volumes = self.volumes.iter().filter(|it| it.state == VolumeState::Destroyed);
        let volumes = volumes.map(|volume| Effect::RemoveVolume { volume_id: volume.id.clone() });
        self.effects.extend(machines.chain(volumes));
    }

    fn take_snapshot(&mut self, snapshot: &Snapshot) {
        let (volume_id, snapshot_id) = (snapshot.volume_id.clone(), snapshot.id.clone());
        self.effects.push(Effect::TakeSnapshot { volume_id, snapshot_id });
    }

    fn remove_snapshot(&mut self, id: &str) {
        self.snapshots.remove(id);
        self.effects.push(Effect::RemoveSnapshot { snapshot_id: id.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::NewVolume;
    use crate::world::testing::{at, machine, volume, world};
    use crate::world::volume::PENDING_DESTROY;

    fn with_snapshot() -> (World, String, String) {
        let mut world = world(false);
        let id = volume(&mut world).id;
        world.advance(at(0));
        let snapshot = world.create_snapshot(at(1), "app", &id).expect("a snapshot");
        let effect =
            Effect::TakeSnapshot { volume_id: id.clone(), snapshot_id: snapshot.id.clone() };
        assert_eq!(world.take_effects(), [effect]);
        (world, id, snapshot.id)
    }

    fn from(source: CopyFrom, size_gb: Option<u32>) -> NewVolume {
        let region = Some("ord".to_owned());
        NewVolume {
            name: "b".to_owned(),
            region,
            size_gb,
            from: Some(source),
            ..NewVolume::default()
        }
    }

    #[test]
    fn a_snapshot_is_taken_once_at_a_time_and_ends() {
        let (mut world, id, snapshot) = with_snapshot();
        let refusal = world.create_snapshot(at(2), "app", &id).expect_err("one waits");
        assert!(refusal.to_string().contains("snapshot is already scheduled at"), "{refusal}");
        world.snapshot_taken(&snapshot, 7);
        let shown = world.snapshots("app", &id).expect("snapshots");
        assert_eq!((shown[0].status(), shown[0].size, shown.len()), ("created", Some(7), 1));
        world.advance(at(1 + 5 * 24 * 60 * 60));
        assert!(world.snapshots("app", &id).expect("snapshots").is_empty());
        assert_eq!(world.take_effects(), [Effect::RemoveSnapshot { snapshot_id: snapshot }]);
    }

    #[test]
    fn what_was_destroyed_is_removed_also_over_a_restart() {
        let mut world = world(false);
        let data = volume(&mut world).id;
        let id = machine(&mut world, "m", &serde_json::json!({})).id;
        world.advance(at(0));
        world.delete_volume(at(1), "app", &data).expect("deleted");
        let day = i64::try_from(PENDING_DESTROY.as_secs()).expect("a day");
        world.advance(at(1));
        world.destroy_machine(at(1 + day), "app", &id, true).expect("destroyed");
        world.advance(at(1 + day));
        // The emulator ends before it has removed anything.
        let mut again = World::restore(world.settings.clone(), world.snapshot());
        again.resume(at(2 + day));
        let wanted = [Effect::Forget { machine_id: id }, Effect::RemoveVolume { volume_id: data }];
        assert_eq!(again.take_effects(), wanted);
    }

    #[test]
    fn a_volume_is_restored_or_forked_also_over_a_restart() {
        let (mut world, id, snapshot) = with_snapshot();
        let early =
            world.create_volume(at(2), "app", from(CopyFrom::Snapshot(snapshot.clone()), None));
        assert!(matches!(early, Err(Refusal::Precondition(_))), "{early:?}");
        world.snapshot_taken(&snapshot, 7);
        let sources = [
            (CopyFrom::Snapshot(snapshot), VolumeState::Restoring),
            (CopyFrom::Volume(id), VolumeState::Hydrating),
        ];
        for (source, state) in sources {
            let made = world.create_volume(at(3), "app", from(source.clone(), None)).expect("made");
            assert_eq!((made.state, made.size_gb), (VolumeState::Creating, 3));
            world.advance(at(3));
            assert_eq!(world.volume("app", &made.id).expect("a volume").state, state);
            let fill = Effect::FillVolume { volume_id: made.id.clone(), from: source.clone() };
            assert_eq!(world.take_effects(), std::slice::from_ref(&fill));
            let mut again = World::restore(world.settings.clone(), world.snapshot());
            again.resume(at(4));
            assert_eq!(again.take_effects(), [fill]);
            world.volume_filled(at(4), &made.id);
            assert_eq!(
                world.volume("app", &made.id).expect("a volume").state,
                VolumeState::Created
            );
            let small = world.create_volume(at(5), "app", from(source, Some(2)));
            assert!(matches!(small, Err(Refusal::Invalid(_))), "{small:?}");
        }
        let unknown = from(CopyFrom::Snapshot("vs_none".to_owned()), None);
        assert_eq!(world.create_volume(at(6), "app", unknown), Err(Refusal::NotFound("snapshot")));
    }
}
