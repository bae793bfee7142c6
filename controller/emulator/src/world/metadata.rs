//! A machine's metadata: merged in place, without a new version and without a restart.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::world::World;
use crate::world::error::Refusal;

/// Keys per machine; far above any use, and a bound on what every list carries.
const MAX_KEYS: usize = 200;
/// Keys and values of one machine together, in bytes: as much as an app's secrets, and a quarter of
/// what a whole config may have. Single writes would otherwise add up without end.
const MAX_BYTES: usize = 256 * 1024;

impl World {
    /// Merges keys into a machine's metadata; `None` and empty values remove theirs.
    ///
    /// # Errors
    /// [`Refusal::StaleVersion`] if `version` is given and is not the live one; [`Refusal::Invalid`]
    /// for more than there may be. A config that came with more can still be made smaller.
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
        let before = amount(&merged);
        for (key, value) in changes {
            match value.filter(|value| !value.is_empty()) {
                Some(value) => merged.insert(key, value),
                None => merged.remove(&key),
            };
        }
        let after = amount(&merged);
        if after.0 > MAX_KEYS.max(before.0) {
            return Err(Refusal::invalid(format!("more than {MAX_KEYS} metadata keys")));
        }
        if after.1 > MAX_BYTES.max(before.1) {
            return Err(Refusal::invalid(format!("more than {MAX_BYTES} bytes of metadata")));
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

/// How many keys there are, and how many bytes they have with their values.
fn amount(metadata: &BTreeMap<String, String>) -> (usize, usize) {
    (metadata.len(), metadata.iter().map(|(key, value)| key.len() + value.len()).sum())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::testing::{at, machine, world};

    fn set(world: &mut World, id: &str, pairs: &[(&str, Option<&str>)]) -> Result<(), Refusal> {
        let own = |text: &str| text.to_owned();
        let changes = pairs.iter().map(|(key, value)| (own(key), value.map(own))).collect();
        world.merge_metadata(at(1), "app", id, changes, None)
    }

    #[test]
    fn single_writes_do_not_add_up_without_end() {
        let mut world = world(false);
        let id = machine(&mut world, "m", &json!({})).id;
        let half = "x".repeat(MAX_BYTES / 2 - 1);
        set(&mut world, &id, &[("a", Some(&half))]).expect("fits");
        set(&mut world, &id, &[("b", Some(&half))]).expect("fits");
        let over = set(&mut world, &id, &[("c", Some("x"))]);
        assert!(matches!(over, Err(Refusal::Invalid(_))), "{over:?}");
        set(&mut world, &id, &[("a", None), ("c", Some("x"))]).expect("fits again");
    }

    #[test]
    fn what_came_with_the_config_can_be_made_less() {
        let mut world = world(false);
        let many: BTreeMap<_, _> = (0..MAX_KEYS + 2).map(|n| (format!("k{n}"), "v")).collect();
        let id = machine(&mut world, "m", &json!({ "metadata": many })).id;
        set(&mut world, &id, &[("more", Some("v"))]).expect_err("too many");
        set(&mut world, &id, &[("k0", None)]).expect("fewer");
        set(&mut world, &id, &[("k1", Some("w"))]).expect("as many");
    }
}
