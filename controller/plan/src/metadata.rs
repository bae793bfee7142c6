//! The marks that we put on a machine, so that a controller with an empty database knows its own.
//!
//! The keys hold no dots: a key is part of a list filter (`metadata.<key>=<value>`) and of Fly's
//! internal DNS names.

use std::collections::BTreeMap;
use std::ops::Bound;

/// The id of the controller that owns the machine.
pub const CONTROLLER: &str = "vault_controller";
/// The name of the tenant that the machine belongs to.
pub const TENANT: &str = "vault_tenant";
/// The intent that wrote the machine's config last: a ULID of our journal.
pub const INTENT: &str = "vault_intent";
/// The hash of the config that was asked for; see [`crate::config::SpecHash`].
pub const SPEC_HASH: &str = "vault_spec_hash";
/// Which recipe made the hash, so that a new recipe does not look like drift of the whole fleet.
pub const HASH_VERSION: &str = "vault_hash_version";

/// The hashes of the tenant's secrets with which the machine was made or updated: a machine reads
/// its secrets only when it starts. Not part of the spec's hash.
pub const SECRET_HASH: &str = "vault_secret_hash";

/// The size of the machine's volume, in gigabytes, when the machine was made or updated, or since
/// then without need to start anew. While it is less than the volume's size, the machine does not
/// see all of its volume.
pub const VOLUME_GB: &str = "vault_volume_gb";

/// The keys of the metadata that the manifest asked for when the machine was last written, as a JSON
/// list: one that the manifest no longer names goes, and those of others stay.
pub const METADATA_KEYS: &str = "vault_metadata_keys";

/// Stands between the hashes of several secrets.
pub const SECRET_HASH_SEPARATOR: char = ',';

/// Keys that begin like this are ours; a manifest may not set them.
pub const PREFIX: &str = "vault_";

/// What a machine's metadata says about us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks<'a> {
    /// The controller that owns the machine.
    pub controller: Option<&'a str>,
    /// The tenant that it belongs to.
    pub tenant: Option<&'a str>,
    /// The hash of the config that was asked for.
    pub spec_hash: Option<&'a str>,
    /// The recipe of that hash.
    pub hash_version: Option<&'a str>,
    /// The hashes of the secrets that it started with.
    pub secret_hash: Option<&'a str>,
    /// The size of its volume that it knows.
    pub volume_gb: Option<&'a str>,
}

/// The metadata keys that we wrote for a manifest, as far as the machine says.
pub(crate) fn written_keys(metadata: &BTreeMap<String, String>) -> Vec<String> {
    let list = metadata.get(METADATA_KEYS).map_or("[]", String::as_str);
    // Somebody else's text in our mark claims nothing.
    serde_json::from_str(list).unwrap_or_default()
}

/// What the marks of one tenant's machines say, whatever their configs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnMarks<'a> {
    pub(crate) controller: &'a str,
    pub(crate) tenant: &'a str,
    /// Empty for a tenant without secrets.
    pub(crate) secret_hash: &'a str,
}

impl<'a> Marks<'a> {
    /// Reads our keys; all others are somebody else's business.
    #[must_use]
    pub fn read(metadata: &'a BTreeMap<String, String>) -> Self {
        let mut marks = Self {
            controller: None,
            tenant: None,
            spec_hash: None,
            hash_version: None,
            secret_hash: None,
            volume_gb: None,
        };
        // One search: ours stand together. This is read several times for each machine of a fleet.
        let from_ours = (Bound::Included(PREFIX), Bound::Unbounded);
        for (key, value) in metadata.range::<str, _>(from_ours) {
            match key.as_str() {
                CONTROLLER => marks.controller = Some(value),
                TENANT => marks.tenant = Some(value),
                SPEC_HASH => marks.spec_hash = Some(value),
                HASH_VERSION => marks.hash_version = Some(value),
                SECRET_HASH => marks.secret_hash = Some(value),
                VOLUME_GB => marks.volume_gb = Some(value),
                key if !key.starts_with(PREFIX) => break,
                _ => {}
            }
        }
        marks
    }

    /// Whether the machine was made or updated when the secret of this hash was set.
    #[must_use]
    pub fn knows_secret(&self, hash: &str) -> bool {
        self.secret_hash
            .is_some_and(|known| known.split(SECRET_HASH_SEPARATOR).any(|one| one == hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_whatever_stands_between_them_and_around() {
        let entries = [
            ("a", "1"),
            (CONTROLLER, "c"),
            ("vault_future", "2"),
            (INTENT, "i"),
            (SPEC_HASH, "s"),
            (TENANT, "acme"),
            ("zone", "3"),
        ];
        let metadata = entries.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let marks = Marks::read(&metadata);
        assert_eq!((marks.controller, marks.tenant), (Some("c"), Some("acme")));
        assert_eq!((marks.spec_hash, marks.hash_version), (Some("s"), None));
    }
}
