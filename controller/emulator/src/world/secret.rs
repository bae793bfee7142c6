//! App secrets: machines get them as environment variables when their process starts. Every write
//! of an app's secrets makes one new version of all of them.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::world::World;
use crate::world::error::Refusal;
use crate::world::table::Row;

/// Longest name of a secret, in bytes; far above any variable's name.
const NAME_BYTES_MAX: usize = 256;
/// Largest value, in bytes: Linux takes 128 KiB for one variable with its name.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Secrets per app; far above any use, and a bound on what every list carries.
const SECRETS_MAX: usize = 200;
/// Names and values of one app together, in bytes: they have to fit beside a config's own
/// environment in the 2 MiB that Linux takes for one process.
const TOTAL_BYTES_MAX: usize = 256 * 1024;
/// How much of the keyed hash a digest shows, in bytes: no two values ever meet.
const DIGEST_BYTES: usize = 16;

/// A secret's value. It is written to the journal and into environments, and shown nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Takes the text; it is wiped when this is dropped.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for those who are meant to see it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

/// For the journal.
impl Serialize for SecretValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The library's own words would quote what is there instead of a text.
        let text = String::deserialize(deserializer);
        text.map(Self::new).map_err(|_| D::Error::custom("a secret's value has to be a text"))
    }
}

/// Keys the digests of values: without it nobody can try out values against a digest.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestKey(Zeroizing<[u8; 32]>);

impl DigestKey {
    /// Takes 32 random bytes, the same ones for the life of a data folder.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The opaque digest of a value. App and name go in, so that equal values do not show as equal.
    fn digest(&self, app: &str, name: &str, value: &SecretValue) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice())
            .expect("HMAC takes keys of any length");
        for part in [app, name, value.expose()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes()[..DIGEST_BYTES])
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[key]")
    }
}

/// A secret of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The app's name.
    pub app: String,
    /// The organization's slug.
    pub org: String,
    /// The name of the environment variable, unique within the app.
    pub name: String,
    /// The value.
    pub value: SecretValue,
    /// Changes when the value changes, and tells nothing of it.
    pub digest: String,
    /// When the name was first set.
    pub created_at: Timestamp,
    /// When it was last set.
    pub updated_at: Timestamp,
    /// App and name in one: the row's key.
    key: String,
}

impl Row for Secret {
    fn key(&self) -> &str {
        &self.key
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.app
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }
}

fn row_key(app: &str, name: &str) -> String {
    format!("{app}/{name}")
}

impl World {
    /// Sets the names that have a value and removes those that have none, all in one version;
    /// names that are not there need no removal. Without names nothing changes. Returns the app's
    /// version.
    ///
    /// # Errors
    /// [`Refusal::AppNotFound`], [`Refusal::Invalid`] for a name or a value out of bounds,
    /// [`Refusal::LimitReached`]. Nothing is changed then.
    pub fn change_secrets(
        &mut self,
        now: Timestamp,
        app: &str,
        changes: BTreeMap<String, Option<SecretValue>>,
    ) -> Result<u64, Refusal> {
        let (org, version) = {
            let app = self.open_app(app)?;
            (app.org.clone(), app.secrets_version)
        };
        if changes.is_empty() {
            return Ok(version);
        }
        self.check_room(app, &changes)?;
        for (name, value) in changes {
            let key = row_key(app, &name);
            let Some(value) = value else {
                self.secrets.remove(&key);
                continue;
            };
            let updated_at = self.ids.stamp(now);
            let created_at = self.secrets.row(&key).map_or(updated_at, |secret| secret.created_at);
            let digest = self.settings.digest_key.digest(app, &name, &value);
            let (app, org) = (app.to_owned(), org.clone());
            let secret = Secret { app, org, name, value, digest, created_at, updated_at, key };
            self.secrets.insert(secret);
        }
        let version = version + 1;
        self.apps.change(app, |app| app.secrets_version = version);
        Ok(version)
    }

    /// Removes one secret; returns the app's new version.
    ///
    /// # Errors
    /// [`Refusal::AppNotFound`], [`Refusal::SecretNotFound`].
    pub fn delete_secret(&mut self, now: Timestamp, app: &str, name: &str) -> Result<u64, Refusal> {
        self.open_app(app)?;
        self.secret(app, name)?;
        self.change_secrets(now, app, BTreeMap::from([(name.to_owned(), None)]))
    }

    /// The secrets of an app, by name.
    pub fn secrets<'a>(&'a self, app: &str) -> impl Iterator<Item = &'a Secret> {
        self.secrets.group(app)
    }

    /// One secret of an app.
    ///
    /// # Errors
    /// [`Refusal::SecretNotFound`].
    pub fn secret(&self, app: &str, name: &str) -> Result<&Secret, Refusal> {
        self.secrets.row(&row_key(app, name)).ok_or(Refusal::SecretNotFound)
    }

    /// Refuses a version that the app's secrets have not reached. There is one host here and it
    /// never lags, so waiting for a later version would be waiting for nobody.
    ///
    /// # Errors
    /// [`Refusal::AppNotFound`], [`Refusal::SecretsVersionNotReached`].
    pub fn check_secrets_version(&self, app: &str, wanted: Option<u64>) -> Result<(), Refusal> {
        let reached = self.apps.row(app).ok_or(Refusal::AppNotFound)?.secrets_version;
        match wanted {
            Some(wanted) if wanted > reached => {
                Err(Refusal::SecretsVersionNotReached { wanted, reached })
            }
            _ => Ok(()),
        }
    }

    /// Forgets all secrets of an app that is gone.
    pub(crate) fn forget_secrets(&mut self, app: &str) {
        let keys: Vec<String> = self.secrets.group(app).map(|secret| secret.key.clone()).collect();
        for key in keys {
            self.secrets.remove(&key);
        }
    }

    /// Checks each change, and how much there would be of everything after all of them.
    fn check_room(
        &self,
        app: &str,
        changes: &BTreeMap<String, Option<SecretValue>>,
    ) -> Result<(), Refusal> {
        for (name, value) in changes {
            check_name(name)?;
            if let Some(value) = value {
                check_value(name, value)?;
            }
        }
        let kept = self.secrets.group(app).filter(|secret| !changes.contains_key(&secret.name));
        let kept = kept.map(|secret| (secret.name.as_str(), &secret.value));
        let set = changes.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_ref()?)));
        let sizes: Vec<usize> =
            kept.chain(set).map(|(name, value)| name.len() + value.expose().len()).collect();
        if sizes.len() > SECRETS_MAX {
            return Err(Refusal::LimitReached("secret"));
        }
        if sizes.iter().sum::<usize>() > TOTAL_BYTES_MAX {
            return Err(Refusal::invalid(format!(
                "the app's secrets together are over {TOTAL_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }
}

/// A name becomes the name of an environment variable.
fn check_name(name: &str) -> Result<(), Refusal> {
    let shape = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let begins_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if shape && begins_well && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "invalid secret name: at most {NAME_BYTES_MAX} letters, digits and _, not first a digit"
    )))
}

fn check_value(name: &str, value: &SecretValue) -> Result<(), Refusal> {
    let text = value.expose();
    if text.len() > VALUE_BYTES_MAX {
        return Err(Refusal::invalid(format!(
            "the value of secret {name} is over {VALUE_BYTES_MAX} bytes"
        )));
    }
    if text.contains('\0') {
        return Err(Refusal::invalid(format!("the value of secret {name} has a NUL byte in it")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::testing::{at, new_app, world};

    fn set(world: &mut World, pairs: &[(&str, Option<&str>)]) -> Result<u64, Refusal> {
        let value = |text: &str| SecretValue::new(text.to_owned());
        let changes =
            pairs.iter().map(|(name, text)| ((*name).to_owned(), text.map(value))).collect();
        world.change_secrets(at(1), "app", changes)
    }

    fn digest(world: &World, app: &str, name: &str) -> String {
        world.secret(app, name).expect("a secret").digest.clone()
    }

    #[test]
    fn every_write_is_one_version_of_all() {
        let mut world = world(false);
        assert_eq!(set(&mut world, &[]), Ok(0));
        assert_eq!(set(&mut world, &[("A", Some("1")), ("B", Some("2"))]), Ok(1));
        assert_eq!(set(&mut world, &[("A", Some("1")), ("B", None), ("C", Some(""))]), Ok(2));
        assert_eq!(set(&mut world, &[("NEVER_SET", None)]), Ok(3));
        let names: Vec<_> = world.secrets("app").map(|secret| secret.name.as_str()).collect();
        assert_eq!(names, ["A", "C"]);
        assert_eq!(world.delete_secret(at(2), "app", "B"), Err(Refusal::SecretNotFound));
        assert_eq!(world.delete_secret(at(2), "app", "C"), Ok(4));
        assert_eq!(world.delete_secret(at(2), "none", "C"), Err(Refusal::AppNotFound));
        assert_eq!(world.check_secrets_version("app", Some(4)), Ok(()));
        assert_eq!(
            world.check_secrets_version("app", Some(5)),
            Err(Refusal::SecretsVersionNotReached { wanted: 5, reached: 4 })
        );
    }

    #[test]
    fn a_digest_follows_its_value_and_cannot_be_made_without_the_key() {
        let mut world = world(false);
        set(&mut world, &[("A", Some("1")), ("B", Some("1"))]).expect("set");
        let first = digest(&world, "app", "A");
        assert_ne!(first, digest(&world, "app", "B"), "equal values do not show as equal");
        let created = world.secret("app", "A").expect("a secret").created_at;
        set(&mut world, &[("A", Some("2"))]).expect("set");
        assert_ne!(digest(&world, "app", "A"), first);
        set(&mut world, &[("A", Some("1"))]).expect("set");
        assert_eq!(digest(&world, "app", "A"), first);
        let again = world.secret("app", "A").expect("a secret");
        assert!(again.created_at == created && again.updated_at > created);
        let value = SecretValue::new("1".to_owned());
        assert_ne!(DigestKey::new([8; 32]).digest("app", "A", &value), first);
    }

    #[test]
    fn names_values_and_amounts_are_bounded_and_a_refusal_changes_nothing() {
        let mut world = world(false);
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        for (name, value) in [
            ("", "1"),
            ("1A", "1"),
            ("A-B", "1"),
            ("A=B", "1"),
            ("Ä", "1"),
            ("A", "hush\0hush"),
            ("A", long.as_str()),
            ("A".repeat(NAME_BYTES_MAX + 1).as_str(), "1"),
        ] {
            let refusal = set(&mut world, &[("GOOD", Some("1")), (name, Some(value))]);
            let text = refusal.expect_err(name).to_string();
            assert!(!text.contains("hush") && !text.contains("xxx"), "{text}");
        }
        let large = "x".repeat(VALUE_BYTES_MAX);
        for name in ["A", "B", "C"] {
            set(&mut world, &[(name, Some(&large))]).expect("fits");
        }
        set(&mut world, &[("D", Some(&large))]).expect_err("over the total");
        set(&mut world, &[("A", None), ("D", Some(&large))]).expect("fits again");
        let names: Vec<String> = (0..SECRETS_MAX - 3).map(|number| format!("N{number}")).collect();
        let few: Vec<_> = names.iter().map(|name| (name.as_str(), Some(""))).collect();
        set(&mut world, &few).expect("as many as there may be");
        assert_eq!(set(&mut world, &[("MORE", Some(""))]), Err(Refusal::LimitReached("secret")));
        assert_eq!(world.secrets("app").count(), SECRETS_MAX);
        assert!(world.secret("app", "GOOD").is_err());
    }

    #[test]
    fn secrets_go_with_their_app_and_the_next_one_begins_anew() {
        let mut world = world(false);
        set(&mut world, &[("A", Some("1"))]).expect("set");
        world.delete_app(at(2), "app").expect("deleted");
        assert_eq!(set(&mut world, &[("B", Some("1"))]), Err(Refusal::AppNotFound));
        world.advance(at(10));
        world.create_app(at(11), new_app("app")).expect("an app");
        assert_eq!(world.secrets("app").count(), 0);
        assert_eq!(set(&mut world, &[("A", Some("1"))]), Ok(1));
    }

    #[test]
    fn a_value_is_in_no_debug_output_and_in_no_error() {
        let mut world = world(true);
        set(&mut world, &[("A", Some("hush-hush"))]).expect("set");
        crate::world::testing::machine(&mut world, "m", &json!({}));
        let mut output = format!("{world:?} {:?}", world.snapshot().collect::<Vec<_>>());
        world.advance(at(5));
        output += &format!("{:?} {:?}", world.take_effects(), world.take_changes());
        assert!(output.contains("Launch") && output.contains("\"A\""), "{output}");
        assert!(!output.contains("hush-hush"), "{output}");
        let error = serde_json::from_value::<SecretValue>(json!(4711)).expect_err("a number");
        assert!(!error.to_string().contains("4711"), "{error}");
    }
}
