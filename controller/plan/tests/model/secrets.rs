//! The secrets of apps: the platform's truth, and what the controller remembers of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use vault_api::tenant::SecretEntry;
use vault_plan::desired::{DesiredSecret, DesiredSecrets, SecretPlace};
use vault_plan::observed::{ObservedSecrets, SecretState};

/// The variable of the one secret of every tenant.
pub(crate) const NAME: &str = "SECRET";

/// Every tenant wants one secret, whose hash is its identity and the salt.
#[derive(Clone, Debug, Default)]
pub(crate) struct OneSecret {
    pub(crate) salt: u32,
}

impl DesiredSecrets for OneSecret {
    fn of(&self, place: SecretPlace<'_>) -> Vec<DesiredSecret> {
        let hash = format!("{}{}", self.salt, place.tenant.0.simple());
        let variable = NAME.into();
        vec![DesiredSecret {
            name: place.name(&variable),
            variable,
            hash,
            from: None,
            storage: None,
        }]
    }

    fn of_manifest(&self, _: &str, _: &str, secret: &SecretEntry) -> Result<String, String> {
        Err(format!("there is no value for {} here", secret.name))
    }
}

/// An app and the name of a secret in it.
pub(crate) type Key = (String, String);

/// The key of an app's secret.
pub(crate) fn key(app: &str, name: &str) -> Key {
    (app.to_owned(), name.to_owned())
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets {
    /// The hash of what is set, and its digest, which is the version too.
    truth: BTreeMap<Key, (String, u64)>,
    /// What the controller knows, and the digest that goes with it.
    memory: BTreeMap<Key, (SecretState, u64)>,
    /// Secrets with which somebody else meddled.
    pub(crate) meddled: BTreeSet<Key>,
    /// Secrets that were somebody else's when they were first seen after the memory was lost: they
    /// are taken for ours, because digests are opaque.
    pub(crate) deceived: BTreeSet<Key>,
    serial: u64,
}

impl Secrets {
    /// A call takes effect.
    pub(crate) fn set(&mut self, key: &Key, hash: &str) {
        self.serial += 1;
        self.deceived.remove(key);
        self.truth.insert(key.clone(), (hash.to_owned(), self.serial));
    }

    /// A call takes effect.
    pub(crate) fn remove(&mut self, key: &Key) {
        self.deceived.remove(key);
        self.truth.remove(key);
    }

    /// An app goes, and all of its secrets with it.
    pub(crate) fn app_is_gone(&mut self, app: &str) {
        self.truth.retain(|(of, _), _| of != app);
        self.memory.retain(|(of, _), _| of != app);
    }

    /// The answer to the last call about a secret arrives.
    pub(crate) fn answered(&mut self, key: &Key) {
        match self.truth.get(key).cloned() {
            Some((hash, digest)) => {
                self.memory.insert(key.clone(), (SecretState::Set { hash }, digest));
            }
            None => drop(self.memory.remove(key)),
        }
    }

    /// Somebody else sets or removes a secret.
    pub(crate) fn meddle(&mut self, which: usize, removes: bool) {
        let keys: Vec<Key> = self.truth.keys().cloned().collect();
        let Some(key) = keys.get(which % keys.len().max(1)) else { return };
        self.meddled.insert(key.clone());
        match removes {
            true => drop(self.truth.remove(key)),
            false => self.set(key, "foreign"),
        }
    }

    /// The controller's memory is lost.
    pub(crate) fn forget(&mut self) {
        self.memory.clear();
    }

    /// The controller reads an app's secrets. What it sees first it takes for what it set, if
    /// machines say that it did.
    pub(crate) fn look(&mut self, key: &Key, wanted: &str, marked: bool) {
        let seen = self.truth.get(key).map(|(_, digest)| *digest);
        let known = match (self.memory.get(key), seen) {
            (None, Some(digest)) if marked => {
                if self.of(key) != Some(wanted) {
                    self.deceived.insert(key.clone());
                }
                (SecretState::Set { hash: wanted.to_owned() }, digest)
            }
            (None, Some(_)) => return,
            (None, None) if !marked => return,
            (_, None) => (SecretState::Missing, 0),
            (Some((_, digest)), Some(seen)) if *digest == seen => return,
            (Some(_), Some(seen)) => (SecretState::Changed, seen),
        };
        self.memory.insert(key.clone(), known);
    }

    /// The hash of what a secret is set to.
    pub(crate) fn of(&self, key: &Key) -> Option<&str> {
        self.truth.get(key).map(|(hash, _)| hash.as_str())
    }

    /// The names of an app's secrets.
    pub(crate) fn names(&self, app: &str) -> BTreeSet<&str> {
        let keys = self.truth.keys().filter(|(of, _)| of == app);
        keys.map(|(_, name)| name.as_str()).collect()
    }

    /// What a machine's process reads as [`NAME`] when it starts: the app's secrets, unless its
    /// config names others. One that sees more than the one is a mistake.
    pub(crate) fn read(&self, app: &str, config: &Map<String, Value>) -> Option<String> {
        let process = config.get("processes").map(|processes| &processes[0]);
        let Some(process) = process.filter(|process| process["ignore_app_secrets"] == true) else {
            assert!(self.names(app).iter().all(|name| *name == NAME), "{app} is seen as a whole");
            return self.of(&key(app, NAME)).map(str::to_owned);
        };
        let named = process["secrets"].as_array().unwrap();
        assert_eq!(named.len(), 1, "{named:?}");
        assert_eq!(named[0]["env_var"], NAME);
        self.of(&key(app, named[0]["name"].as_str().unwrap())).map(str::to_owned)
    }

    /// What the controller knows.
    pub(crate) fn observed(&self) -> BTreeMap<String, ObservedSecrets> {
        let mut apps: BTreeMap<String, ObservedSecrets> = BTreeMap::new();
        for ((app, name), (state, digest)) in &self.memory {
            let known = apps.entry(app.clone()).or_default();
            known.version = known.version.max(Some(*digest));
            known.states.insert(name.clone(), state.clone());
        }
        apps
    }
}
