//! The secrets of apps: the platform's truth, and what the controller remembers of it.

use std::collections::{BTreeMap, BTreeSet};

use vault_api::tenant::SecretEntry;
use vault_plan::desired::{DesiredSecret, DesiredSecrets};
use vault_plan::identity::TenantUid;
use vault_plan::observed::{ObservedSecrets, SecretState};

/// The one secret of every tenant.
pub(crate) const NAME: &str = "SECRET";

/// Every tenant wants one secret, whose hash is its identity and the salt.
#[derive(Clone, Debug, Default)]
pub(crate) struct OneSecret {
    pub(crate) salt: u32,
}

impl DesiredSecrets for OneSecret {
    fn of(&self, tenant: TenantUid, _: &str) -> Vec<DesiredSecret> {
        let hash = format!("{}{}", self.salt, tenant.0.simple());
        vec![DesiredSecret { name: NAME.into(), hash, from: None }]
    }

    fn of_manifest(&self, _: &str, secret: &SecretEntry) -> Result<String, String> {
        Err(format!("there is no value for {} here", secret.name))
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets {
    /// By app: the hash of what is set, and its digest, which is the version too.
    truth: BTreeMap<String, (String, u64)>,
    /// By app: what the controller knows, and the digest that goes with it.
    memory: BTreeMap<String, (SecretState, u64)>,
    /// Apps in which somebody else meddled.
    pub(crate) meddled: BTreeSet<String>,
    /// Apps whose secret was somebody else's when it was first seen after the memory was lost: it
    /// is taken for ours, because digests are opaque.
    pub(crate) deceived: BTreeSet<String>,
    serial: u64,
}

impl Secrets {
    /// A call takes effect.
    pub(crate) fn set(&mut self, app: &str, hash: &str) {
        self.serial += 1;
        self.deceived.remove(app);
        self.truth.insert(app.to_owned(), (hash.to_owned(), self.serial));
    }

    /// The answer to the last call arrives.
    pub(crate) fn answered(&mut self, app: &str) {
        let (hash, digest) = self.truth[app].clone();
        self.memory.insert(app.to_owned(), (SecretState::Set { hash }, digest));
    }

    /// Somebody else sets or removes a secret.
    pub(crate) fn meddle(&mut self, which: usize, removes: bool) {
        let apps: Vec<String> = self.truth.keys().cloned().collect();
        let Some(app) = apps.get(which % apps.len().max(1)) else { return };
        self.meddled.insert(app.clone());
        match removes {
            true => drop(self.truth.remove(app)),
            false => self.set(app, "foreign"),
        }
    }

    /// The controller's memory is lost.
    pub(crate) fn forget(&mut self) {
        self.memory.clear();
    }

    /// The controller reads an app's secrets. What it sees first it takes for what it set, if
    /// machines say that it did.
    pub(crate) fn look(&mut self, app: &str, wanted: &str, marked: bool) {
        let seen = self.truth.get(app).map(|(_, digest)| *digest);
        let known = match (self.memory.get(app), seen) {
            (None, Some(digest)) if marked => {
                if self.of(app) != Some(wanted) {
                    self.deceived.insert(app.to_owned());
                }
                (SecretState::Set { hash: wanted.to_owned() }, digest)
            }
            (None, Some(_)) => return,
            (None, None) if !marked => return,
            (_, None) => (SecretState::Missing, 0),
            (Some((_, digest)), Some(seen)) if *digest == seen => return,
            (Some(_), Some(seen)) => (SecretState::Changed, seen),
        };
        self.memory.insert(app.to_owned(), known);
    }

    /// The hash of what is set in an app.
    pub(crate) fn of(&self, app: &str) -> Option<&str> {
        self.truth.get(app).map(|(hash, _)| hash.as_str())
    }

    /// What the controller knows.
    pub(crate) fn observed(&self) -> BTreeMap<String, ObservedSecrets> {
        let known = self.memory.iter().map(|(app, (state, digest))| {
            let states = BTreeMap::from([(NAME.to_owned(), state.clone())]);
            (app.clone(), ObservedSecrets { version: Some(*digest), states })
        });
        known.collect()
    }
}
