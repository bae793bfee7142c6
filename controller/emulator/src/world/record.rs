//! The world as records: what is journaled, and how a world is made of it again.

use serde::{Deserialize, Serialize};

use crate::world::ids::Identifiers;
use crate::world::storage::StorageRecord;
use crate::world::{
    App, Belonging, LimitedToken, Machine, Secret, Settings, Snapshot, Version, Volume, World,
};

/// One row, written or removed. Records of one change belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// How far the identifiers are.
    Identifiers(Identifiers),
    /// An app as it is now.
    App(App),
    /// An app is gone.
    AppGone(String),
    /// A secret as it is now, its value included.
    Secret(Secret),
    /// A secret is gone.
    SecretGone(String),
    /// A machine as it is now.
    Machine(Box<Machine>),
    /// A machine is forgotten.
    MachineGone(String),
    /// A volume as it is now.
    Volume(Volume),
    /// A volume is forgotten.
    VolumeGone(String),
    /// A superseded version of a machine.
    Version(Version),
    /// A superseded version is forgotten.
    VersionGone(String),
    /// A snapshot as it is now.
    Snapshot(Snapshot),
    /// A snapshot is forgotten.
    SnapshotGone(String),
    /// An address, certificate, policy or token as it is now.
    Belonging(Belonging),
    /// One of these is gone.
    BelongingGone(String),
    /// A token that GraphQL minted, as it is now.
    LimitedToken(LimitedToken),
    /// Such a token is forgotten.
    LimitedTokenGone(String),
    /// Something of object storage.
    Storage(Box<StorageRecord>),
}

impl World {
    /// Makes a world of the records that another one gave, in their order.
    pub fn restore(settings: Settings, records: impl IntoIterator<Item = Record>) -> Self {
        let mut world = Self::new(settings);
        for record in records {
            world.replay(record);
        }
        world.take_changes();
        world
    }

    /// Everything, as records.
    pub fn snapshot(&self) -> impl Iterator<Item = Record> {
        let identifiers = std::iter::once(Record::Identifiers(self.ids.clone()));
        identifiers
            .chain(self.apps.iter().cloned().map(Record::App))
            .chain(self.secrets.iter().cloned().map(Record::Secret))
            .chain(self.volumes.iter().cloned().map(Record::Volume))
            .chain(self.versions.iter().cloned().map(Record::Version))
            .chain(self.snapshots.iter().cloned().map(Record::Snapshot))
            .chain(self.belongings.iter().cloned().map(Record::Belonging))
            .chain(self.limited_tokens.iter().cloned().map(Record::LimitedToken))
            .chain(self.storage.snapshot().map(|record| Record::Storage(Box::new(record))))
            .chain(self.machines.iter().cloned().map(|machine| Record::Machine(Box::new(machine))))
    }

    /// What changed since the last call; empty if nothing did.
    pub fn take_changes(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for name in self.apps.take_changed() {
            let app = self.apps.row(&name).cloned();
            records.push(app.map_or_else(|| Record::AppGone(name), Record::App));
        }
        for key in self.secrets.take_changed() {
            let secret = self.secrets.row(&key).cloned();
            records.push(secret.map_or_else(|| Record::SecretGone(key), Record::Secret));
        }
        for id in self.volumes.take_changed() {
            let volume = self.volumes.row(&id).cloned();
            records.push(volume.map_or_else(|| Record::VolumeGone(id), Record::Volume));
        }
        for id in self.machines.take_changed() {
            let machine = self.machines.row(&id).cloned().map(Box::new);
            records.push(machine.map_or_else(|| Record::MachineGone(id), Record::Machine));
        }
        for key in self.versions.take_changed() {
            let version = self.versions.row(&key).cloned();
            records.push(version.map_or_else(|| Record::VersionGone(key), Record::Version));
        }
        for id in self.snapshots.take_changed() {
            let snapshot = self.snapshots.row(&id).cloned();
            records.push(snapshot.map_or_else(|| Record::SnapshotGone(id), Record::Snapshot));
        }
        for key in self.belongings.take_changed() {
            let belonging = self.belongings.row(&key).cloned();
            records.push(belonging.map_or_else(|| Record::BelongingGone(key), Record::Belonging));
        }
        for id in self.limited_tokens.take_changed() {
            let token = self.limited_tokens.row(&id).cloned();
            records.push(token.map_or_else(|| Record::LimitedTokenGone(id), Record::LimitedToken));
        }
        let storage = self.storage.take_changes().into_iter();
        records.extend(storage.map(|record| Record::Storage(Box::new(record))));
        if !records.is_empty() {
            records.push(Record::Identifiers(self.ids.clone()));
        }
        records
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Identifiers(ids) => self.ids = ids,
            Record::App(app) => self.apps.insert(app),
            Record::Secret(secret) => self.secrets.insert(secret),
            Record::Volume(volume) => self.volumes.insert(volume),
            Record::Machine(machine) => self.machines.insert(*machine),
            Record::AppGone(name) => {
                self.apps.remove(&name);
            }
            Record::SecretGone(key) => {
                self.secrets.remove(&key);
            }
            Record::VolumeGone(id) => {
                self.volumes.remove(&id);
            }
            Record::MachineGone(id) => {
                self.machines.remove(&id);
            }
            Record::Version(version) => self.versions.insert(version),
            Record::VersionGone(key) => {
                self.versions.remove(&key);
            }
            Record::Snapshot(snapshot) => self.snapshots.insert(snapshot),
            Record::SnapshotGone(id) => {
                self.snapshots.remove(&id);
            }
            Record::Belonging(belonging) => self.belongings.insert(belonging),
            Record::BelongingGone(key) => {
                self.belongings.remove(&key);
            }
            Record::LimitedToken(token) => self.limited_tokens.insert(token),
            Record::LimitedTokenGone(id) => {
                self.limited_tokens.remove(&id);
            }
            Record::Storage(record) => self.storage.replay(*record),
        }
    }
}
