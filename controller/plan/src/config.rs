//! A machine group's config: compiled once, rendered and hashed per machine.
//!
//! ```text
//!   config (JSON, with {{…}}) ──compile──▶ ConfigTemplate ──hash(tenant, index)──▶ SpecHash
//!                                                │
//!                                                └──render(tenant, index)──▶ what is sent to Fly
//! ```
//!
//! A fleet of ten thousand tenants shares a handful of configs. The pass with nothing to do needs
//! only the hash and the members that an overview row shows, so nothing is rendered for it.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vault_api::template::substitute;

use crate::metadata;
use crate::observed::ObservedMachine;

/// The recipe of [`SpecHash`]. A new recipe gets a new version; a machine whose hash was made by
/// another recipe is compared by what is visible of it, not by its hash.
pub const HASH_VERSION: &str = "1";

/// The hash of a rendered config, before our marks and the volume's id go in.
///
/// SHA-256 over the recipe's version and the canonical JSON (members sorted, no blanks), cut to 128
/// bits: enough against accidents, and nobody gains by forging the hash of their own machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpecHash([u8; 16]);

impl SpecHash {
    /// Whether `text` is this hash, as it stands in a machine's metadata.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        let mut own = [0; 32];
        data_encoding::HEXLOWER.encode_mut_str(&self.0, &mut own) == text
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 32];
        formatter.write_str(data_encoding::HEXLOWER.encode_mut_str(&self.0, &mut text))
    }
}

impl fmt::Debug for SpecHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SpecHash({self})")
    }
}

/// The config of a machine group, ready to be compared with thousands of machines.
#[derive(Clone, Debug)]
pub struct ConfigTemplate {
    config: Map<String, Value>,
    canonical: String,
    image: Option<String>,
    guest: Map<String, Value>,
    metadata: Vec<(String, String)>,
}

impl ConfigTemplate {
    /// Compiles a checked config: `mounts[].volume` still names a volume of the manifest.
    #[must_use]
    pub fn compile(config: Map<String, Value>) -> Self {
        let mut canonical = String::new();
        write_canonical(&Value::Object(config.clone()), &mut canonical);
        let object = |name: &str| match config.get(name) {
            Some(Value::Object(members)) => members.clone(),
            _ => Map::new(),
        };
        let metadata = object("metadata")
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
            .collect();
        let image = config
            .get("image")
            .and_then(Value::as_str)
            .map(str::to_owned);
        Self {
            canonical,
            image,
            guest: object("guest"),
            metadata,
            config,
        }
    }

    /// The hash of this config for one machine.
    #[must_use]
    pub fn hash(&self, tenant: &str, index: u32) -> SpecHash {
        let mut hasher = Sha256::new();
        hasher.update(HASH_VERSION.as_bytes());
        hasher.update(substitute(&self.canonical, tenant, index).as_bytes());
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize()[..16]);
        SpecHash(hash)
    }

    /// The config for one machine. The volume's id and our marks are added by
    /// [`crate::action::MachineConfig`].
    #[must_use]
    pub fn render(&self, tenant: &str, index: u32) -> Map<String, Value> {
        self.config
            .iter()
            .map(|(key, value)| (key.clone(), render_value(value, tenant, index)))
            .collect()
    }

    /// The first visible member in which `machine` differs from this config, if any.
    ///
    /// Only members that the manifest sets are compared: what the platform filled in is not drift.
    #[must_use]
    pub fn visible_drift(
        &self,
        machine: &ObservedMachine,
        tenant: &str,
        index: u32,
    ) -> Option<String> {
        let text = |value| substitute(value, tenant, index);
        if let Some(image) = &self.image
            && machine.image.as_deref() != Some(text(image).as_ref())
        {
            return Some("config.image".to_owned());
        }
        for (key, wanted) in &self.guest {
            if !machine
                .guest
                .get(key)
                .is_some_and(|seen| same_value(seen, wanted))
            {
                return Some(format!("config.guest.{key}"));
            }
        }
        for (key, wanted) in &self.metadata {
            let wanted: Cow<'_, str> = text(wanted);
            if machine.metadata.get(key).map(String::as_str) != Some(wanted.as_ref()) {
                return Some(format!("config.metadata.{key}"));
            }
        }
        None
    }

    /// The metadata keys that the manifest sets.
    pub(crate) fn owns_metadata(&self, key: &str) -> bool {
        key.starts_with(metadata::PREFIX) || self.metadata.iter().any(|(own, _)| own == key)
    }
}

fn render_value(value: &Value, tenant: &str, index: u32) -> Value {
    match value {
        Value::String(text) => Value::String(substitute(text, tenant, index).into_owned()),
        Value::Array(elements) => elements
            .iter()
            .map(|element| render_value(element, tenant, index))
            .collect(),
        Value::Object(members) => members
            .iter()
            .map(|(key, member)| (key.clone(), render_value(member, tenant, index)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Equal, where `2` and `2.0` are the same number.
fn same_value(seen: &Value, wanted: &Value) -> bool {
    match (seen, wanted) {
        (Value::Number(seen), Value::Number(wanted)) => seen.as_f64() == wanted.as_f64(),
        _ => seen == wanted,
    }
}

/// Members sorted and no blanks, whatever order the JSON library keeps.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (position, (key, member)) in sorted.into_iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                write_canonical(member, text);
            }
            text.push('}');
        }
        Value::Array(elements) => {
            text.push('[');
            for (position, element) in elements.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                write_canonical(element, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(value: Value) -> ConfigTemplate {
        let Value::Object(config) = value else {
            panic!("a config is an object")
        };
        ConfigTemplate::compile(config)
    }

    #[test]
    fn the_hash_ignores_the_order_of_members_and_sees_every_value() {
        let one = template(json!({"image": "a", "env": {"X": "1", "Y": "2"}}));
        let two = template(json!({"env": {"Y": "2", "X": "1"}, "image": "a"}));
        let three = template(json!({"env": {"Y": "2", "X": "3"}, "image": "a"}));
        assert_eq!(one.hash("acme", 0), two.hash("acme", 0));
        assert_ne!(one.hash("acme", 0), three.hash("acme", 0));
    }

    #[test]
    fn the_hash_is_of_the_rendered_config() {
        let by_index = template(json!({"env": {"I": "{{index}}", "T": "{{tenant}}"}}));
        assert_ne!(by_index.hash("acme", 0), by_index.hash("acme", 1));
        assert_ne!(by_index.hash("acme", 0), by_index.hash("globex", 0));
        let plain = template(json!({"env": {"I": "0", "T": "acme"}}));
        assert_eq!(by_index.hash("acme", 0), plain.hash("acme", 0));
    }

    #[test]
    fn the_recipe_of_version_1_never_changes() {
        let hash = template(json!({"image": "nginx:1", "guest": {"cpus": 2}})).hash("acme", 0);
        assert_eq!(hash.to_string(), "ea93ea3c9bb59f5f2f53b6be7fad9eb7");
    }

    #[test]
    fn rendering_replaces_strings_at_any_depth_and_leaves_keys() {
        let config = template(json!({"a": [{"{{tenant}}": "x-{{tenant}}-{{index}}"}], "n": 1}));
        let rendered = Value::Object(config.render("acme", 3));
        assert_eq!(rendered, json!({"a": [{"{{tenant}}": "x-acme-3"}], "n": 1}));
    }
}
