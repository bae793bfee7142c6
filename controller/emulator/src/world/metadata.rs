//! A machine's metadata: merged in place, without a new version and without a restart.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::world::World;
use crate::world::error::Refusal;

/// Keys per machine; far above any use, and a bound on what every list carries.
const MAX_KEYS: usize = 200;

impl World {
    /// Merges keys into a machine's metadata; `None` and empty values remove theirs.
    ///
    /// # Errors
    /// [`Refusal::StaleVersion`] if `version` is given and is not the live one.
    pub fn merge_metadata(
        &mut self,
        now: Timestamp,
        app: &str,
        id: &str,
        changes: BTreeMap<String, Option<String>>,
        version: Option<&str>,
    ) -> Result<(), Refusal> {
        let machine = self.live_machine(app, id)?;
        let version = version.filter(|version| !version.is_empty());
        if version.is_some_and(|version| version != machine.version) {
            return Err(Refusal::StaleVersion);
        }
        let mut merged: BTreeMap<String, String> =
            machine.metadata().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        for (key, value) in changes {
            match value.filter(|value| !value.is_empty()) {
                Some(value) => merged.insert(key, value),
                None => merged.remove(&key),
            };
        }
        if merged.len() > MAX_KEYS {
            return Err(Refusal::invalid(format!("more than {MAX_KEYS} metadata keys")));
        }
        let merged = merged.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
        self.change_machine(now, id, |machine, _| {
            machine.config.insert("metadata".to_owned(), Value::Object(merged));
        });
        Ok(())
    }

    /// One metadata value.
    ///
    /// # Errors
    /// [`Refusal::MetadataKeyNotFound`], [`Refusal::MachineNotFound`].
    pub fn metadata_value(&self, app: &str, id: &str, key: &str) -> Result<String, Refusal> {
        let machine = self.machine(app, id)?;
        let value = machine.metadata().find(|(own, _)| *own == key);
        value.map(|(_, value)| value.to_owned()).ok_or(Refusal::MetadataKeyNotFound)
    }
}
