//! The versions of a machine that came before its live one, with the config that each had.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::world::World;
use crate::world::config::Config;
use crate::world::error::Refusal;
use crate::world::table::Row;

/// Superseded versions kept per machine: each holds a whole config.
const KEPT: usize = 20;

/// A superseded version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The machine's id.
    pub machine_id: String,
    /// The organization's slug.
    pub org: String,
    /// The version, a ULID.
    pub version: String,
    /// The config that it ran with.
    pub config: Config,
    /// Machine and version in one: the row's key.
    key: String,
}

impl Row for Version {
    fn key(&self) -> &str {
        &self.key
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.machine_id
    }

    fn updated_at(&self) -> Timestamp {
        // Nobody asks for versions by their time.
        Timestamp::UNIX_EPOCH
    }
}

fn row_key(id: &str, version: &str) -> String {
    format!("{id}/{version}")
}

impl World {
    /// A machine's versions with their configs, the live one first.
    ///
    /// # Errors
    /// [`Refusal::MachineNotFound`].
    pub fn versions(&self, app: &str, id: &str) -> Result<Vec<(&str, &Config)>, Refusal> {
        let machine = self.machine(app, id)?;
        // Versions are ULIDs, so the order of their keys is that of time.
        let mut versions: Vec<_> = self
            .versions
            .group(id)
            .map(|version| (version.version.as_str(), &version.config))
            .collect();
        versions.push((&machine.version, &machine.config));
        versions.reverse();
        Ok(versions)
    }

    /// Keeps the live version of a machine that is about to be superseded.
    pub(crate) fn remember_version(&mut self, id: &str) {
        let Some(machine) = self.machines.row(id) else {
            return;
        };
        let version = Version {
            machine_id: id.to_owned(),
            org: machine.org.clone(),
            version: machine.version.clone(),
            config: machine.config.clone(),
            key: row_key(id, &machine.version),
        };
        self.versions.insert(version);
        let mut keys: Vec<String> =
            self.versions.group(id).map(|version| version.key.clone()).collect();
        keys.truncate(keys.len().saturating_sub(KEPT));
        for key in keys {
            self.versions.remove(&key);
        }
    }

    /// A superseded version is about to be the live one again.
    pub(crate) fn recall_version(&mut self, id: &str, version: &str) {
        self.versions.remove(&row_key(id, version));
    }

    /// Forgets the versions of a machine that is forgotten itself.
    pub(crate) fn forget_versions(&mut self, id: &str) {
        let keys: Vec<String> =
            self.versions.group(id).map(|version| version.key.clone()).collect();
        for key in keys {
            self.versions.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::Update;
    use crate::world::testing::{at, machine, world};

    #[test]
    fn versions_have_the_configs_they_ran_with_and_the_oldest_go() {
        let mut world = world(false);
        let id = machine(&mut world, "m", &json!({ "env": { "N": "first" } })).id;
        for number in 0..KEPT + 2 {
            world.advance(at(10 + i64::try_from(number).expect("small")));
            let config = json!({ "image": "nginx:1", "env": { "N": number.to_string() } });
            let config = config.as_object().expect("an object").clone();
            let update = Update { config, ..Update::default() };
            world.update_machine(at(10), "app", &id, update).expect("updated");
        }
        let versions = world.versions("app", &id).expect("versions");
        assert_eq!(versions.len(), KEPT + 1);
        let newest = (KEPT + 1).to_string();
        assert_eq!(versions[0].1["env"], json!({ "N": newest }));
        assert_eq!(versions[KEPT].1["env"], json!({ "N": "1" }), "the first ones are gone");
        assert!(versions.windows(2).all(|pair| pair[0].0 > pair[1].0), "newest first");
        world.destroy_machine(at(99), "app", &id, true).expect("destroyed");
        world.advance(at(100));
        world.advance(at(100_000));
        assert_eq!(world.versions("app", &id), Err(Refusal::MachineNotFound));
        assert_eq!(world.versions.iter().count(), 0);
    }
}
