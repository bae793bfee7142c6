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

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use vault_api::template::{Piece, Values, pieces, substitute, substitute_config};

use crate::metadata;
use crate::observed::ObservedMachine;

/// The recipe of [`SpecHash`]. A new recipe gets a new version; a machine whose hash was made by
/// another recipe is compared by what is visible of it, not by its hash.
pub const HASH_VERSION: &str = "1";

/// What the canonical JSON of a config rarely exceeds, in bytes: a first guess that spares growing.
const CANONICAL_LENGTH_USUAL: usize = 512;

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
    /// What `{{vars.NAME}}` stands for.
    vars: BTreeMap<String, String>,
    /// The canonical JSON, cut at its placeholders: hashing it for a machine copies nothing.
    canonical: Vec<CanonicalPiece>,
}

#[derive(Clone, Debug)]
enum CanonicalPiece {
    Text(String),
    Tenant,
    Index,
}

impl ConfigTemplate {
    /// Compiles a checked config with its vars: `mounts[].volume` still names a volume of the
    /// manifest.
    #[must_use]
    pub fn compile(config: Map<String, Value>, vars: BTreeMap<String, String>) -> Self {
        let mut canonical = String::with_capacity(CANONICAL_LENGTH_USUAL);
        write_canonical_object(&config, &mut canonical);
        let canonical = pieces(&canonical)
            .map(|piece| match piece {
                Piece::Text(text) => CanonicalPiece::Text(text.to_owned()),
                Piece::Tenant => CanonicalPiece::Tenant,
                Piece::Index => CanonicalPiece::Index,
                // Inside a string of JSON, the value stands as JSON writes it.
                Piece::Var(name) => {
                    let mut text = String::new();
                    write_string(vars.get(name).map_or("", String::as_str), &mut text);
                    CanonicalPiece::Text(text[1..text.len() - 1].to_owned())
                }
            })
            .collect();
        Self { config, vars, canonical }
    }

    /// The config as it is written, with its placeholders.
    #[must_use]
    pub fn written(&self) -> &Map<String, Value> {
        &self.config
    }

    /// The hash of this config for one machine.
    #[must_use]
    pub fn hash(&self, tenant: &str, index: u32) -> SpecHash {
        let mut hasher = Sha256::new();
        hasher.update(HASH_VERSION.as_bytes());
        for piece in &self.canonical {
            match piece {
                CanonicalPiece::Text(text) => hasher.update(text.as_bytes()),
                CanonicalPiece::Tenant => hasher.update(tenant.as_bytes()),
                CanonicalPiece::Index => hasher.update(index.to_string().as_bytes()),
            }
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize()[..16]);
        SpecHash(hash)
    }

    /// The config for one machine. The volume's id and our marks are added by
    /// [`crate::action::MachineConfig`].
    #[must_use]
    pub fn render(&self, tenant: &str, index: u32) -> Map<String, Value> {
        substitute_config(&self.config, Values { tenant, index, vars: &self.vars })
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
        let text = |value| substitute(value, Values { tenant, index, vars: &self.vars });
        if let Some(Value::String(image)) = self.config.get("image")
            && machine.image.as_deref() != Some(text(image).as_ref())
        {
            return Some("config.image".to_owned());
        }
        for (key, wanted) in self.members("guest") {
            let same = match wanted {
                Value::String(wanted) => same_value(machine.guest.get(key), &text(wanted).into()),
                wanted => same_value(machine.guest.get(key), wanted),
            };
            if !same {
                return Some(format!("config.guest.{key}"));
            }
        }
        for (key, wanted) in self.members("metadata") {
            let Value::String(wanted) = wanted else { continue };
            // An empty value and none are the same to the platform.
            let seen = machine.metadata.get(key).map_or("", String::as_str);
            if seen != text(wanted) {
                return Some(format!("config.metadata.{key}"));
            }
        }
        None
    }

    /// Whether a metadata key is ours or the manifest's; all others belong to somebody else.
    pub(crate) fn owns_metadata(&self, key: &str) -> bool {
        key.starts_with(metadata::PREFIX) || self.members("metadata").any(|(own, _)| own == key)
    }

    fn members(&self, name: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.config.get(name).and_then(Value::as_object).into_iter().flatten()
    }
}

/// Equal, where `2` and `2.0` are the same number, and a member that is not there equals its zero
/// value: the platform leaves those out of what it shows.
pub(crate) fn same_value(seen: Option<&Value>, wanted: &Value) -> bool {
    match (seen, wanted) {
        (Some(Value::Number(seen)), Value::Number(wanted)) => seen.as_f64() == wanted.as_f64(),
        (Some(seen), wanted) => seen == wanted,
        (None, Value::Null | Value::Bool(false)) => true,
        (None, Value::Number(number)) => number.as_f64() == Some(0.0),
        (None, Value::String(text)) => text.is_empty(),
        (None, Value::Array(elements)) => elements.is_empty(),
        (None, Value::Object(members)) => members.is_empty(),
        (None, Value::Bool(true)) => false,
    }
}

/// Members sorted and no blanks, whatever order the JSON library keeps.
fn write_canonical_object(members: &Map<String, Value>, text: &mut String) {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    text.push('{');
    for (position, (key, member)) in sorted.into_iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        write_string(key, text);
        text.push(':');
        write_canonical(member, text);
    }
    text.push('}');
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => write_canonical_object(members, text),
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
        Value::String(string) => write_string(string, text),
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// A string as JSON writes it; nearly none needs escapes.
fn write_string(string: &str, text: &mut String) {
    if string.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        text.push('"');
        text.push_str(string);
        text.push('"');
    } else {
        text.push_str(&Value::String(string.to_owned()).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(value: Value) -> ConfigTemplate {
        let Value::Object(config) = value else { panic!("a config is an object") };
        ConfigTemplate::compile(config, BTreeMap::new())
    }

    #[test]
    fn the_hash_ignores_the_order_of_members_and_sees_every_value() {
        let one = template(json!({"image": "a", "env": {"X": "1", "Y": "2"}}));
        let two = template(json!({"env": {"Y": "2", "X": "1"}, "image": "a"}));
        let three = template(json!({"env": {"Y": "2", "X": "3"}, "image": "a"}));
        assert_eq!(one.hash("acme", 0), two.hash("acme", 0));
        assert_ne!(one.hash("acme", 0), three.hash("acme", 0));
        let written = one.written();
        assert_eq!((&written["image"], &written["env"]["Y"]), (&json!("a"), &json!("2")));
        let hash = one.hash("acme", 0);
        assert_eq!(format!("{hash:?}"), format!("SpecHash({hash})"), "failures show it");
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
    fn the_hash_of_a_config_with_vars_is_that_of_what_is_rendered() {
        for value in ["pro", "", "a \"quote\" and \\", "line\nbreak", "{{tenant}}", "{{vars.x}}"] {
            let vars = BTreeMap::from([("plan".to_owned(), value.to_owned())]);
            let Value::Object(config) = json!({"env": {"PLAN": "x-{{vars.plan}}-{{index}}"}})
            else {
                panic!("a config is an object")
            };
            let with_var = ConfigTemplate::compile(config, vars);
            let rendered = with_var.render("acme", 1);
            assert_eq!(rendered["env"]["PLAN"], format!("x-{value}-1"));
            let mut text = String::from(HASH_VERSION);
            write_canonical_object(&rendered, &mut text);
            let digest = Sha256::digest(text);
            assert_eq!(with_var.hash("acme", 1).0, digest[..16], "{value}");
        }
    }

    #[test]
    fn the_recipe_of_version_1_never_changes() {
        let hash = template(json!({"image": "nginx:1", "guest": {"cpus": 2}})).hash("acme", 0);
        // printf '1{"guest":{"cpus":2},"image":"nginx:1"}' | sha256sum | head -c 32
        assert_eq!(hash.to_string(), "0018916f0417567e028869ac27337efa");
    }

    #[test]
    fn a_canonical_config_is_what_the_json_library_writes_of_sorted_members() {
        let config = json!({"a": [], "b": ["x"], "c": ["x", 1, null, [true, {"d": 2, "e": 3}]]});
        let mut text = String::new();
        write_canonical(&config, &mut text);
        assert_eq!(text, config.to_string());
    }

    #[test]
    fn canonical_strings_are_what_the_json_library_writes() {
        for string in ["", "plain", "\"", "\\", "a\nb", "\u{1}", "\u{7f}", "ü/é", "{{tenant}}"] {
            let mut text = String::new();
            write_string(string, &mut text);
            assert_eq!(text, Value::from(string).to_string());
        }
    }

    #[test]
    fn a_member_that_the_platform_leaves_out_equals_its_zero_value() {
        for zero in [json!(0), json!(false), json!(""), json!(null), json!([]), json!({})] {
            assert!(same_value(None, &zero), "{zero}");
        }
        for other in [json!(1), json!(true), json!("a"), json!([0]), json!({"a": 0})] {
            assert!(!same_value(None, &other), "{other}");
        }
        assert!(same_value(Some(&json!(2.0)), &json!(2)));
        assert!(!same_value(Some(&json!(2)), &json!(4)));
    }

    #[test]
    fn rendering_replaces_strings_at_any_depth_and_leaves_keys() {
        let config = template(json!({"a": [{"{{tenant}}": "x-{{tenant}}-{{index}}"}], "n": 1}));
        let rendered = Value::Object(config.render("acme", 3));
        assert_eq!(rendered, json!({"a": [{"{{tenant}}": "x-acme-3"}], "n": 1}));
    }
}
