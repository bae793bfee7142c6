//! Object storage that does as it is told.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use vault_cloud::error::CallError;

use super::{FakePlatform, World};
use crate::platform::{
    AccessKey, BucketCreation, BucketDeletion, BucketOwner, Emptied, NewAccessKey, ObjectStorage,
};

/// How many objects one call deletes.
const STEP: usize = 2;

/// What exists.
#[derive(Default)]
pub(crate) struct FakeStorage {
    /// The controller has no key to it.
    pub(crate) is_absent: bool,
    /// Buckets and the objects in them.
    pub(crate) buckets: BTreeMap<String, usize>,
    /// The names of other people's.
    pub(crate) others: BTreeSet<String>,
    /// Keys by id. The secret of one is `tsec_ID`.
    pub(crate) keys: BTreeMap<String, String>,
    /// How many were ever made.
    pub(crate) made: usize,
    /// Policies by name.
    pub(crate) policies: BTreeMap<String, String>,
    /// Names of policies by the keys' ids.
    pub(crate) attached: BTreeSet<(String, String)>,
    /// Lists show nothing, as lists have done.
    pub(crate) hides: bool,
    /// No object is removed, whoever asks.
    pub(crate) keeps_objects: bool,
}

impl FakePlatform {
    async fn change<T>(
        &self,
        verb: &'static str,
        name: &str,
        act: impl FnOnce(&mut FakeStorage) -> T,
    ) -> Result<T, CallError> {
        self.write(verb, name, |world: &mut World| act(&mut world.storage)).await
    }
}

impl ObjectStorage for FakePlatform {
    fn has_storage(&self) -> bool {
        !self.world().storage.is_absent
    }

    async fn buckets(&self) -> Result<Vec<String>, CallError> {
        let world = self.read("buckets".to_owned())?;
        let shown = world.storage.buckets.keys().filter(|_| !world.storage.hides);
        Ok(shown.cloned().collect())
    }

    async fn access_keys(&self) -> Result<Vec<AccessKey>, CallError> {
        let world = self.read("access_keys".to_owned())?;
        let shown = world.storage.keys.iter().filter(|_| !world.storage.hides);
        Ok(shown.map(|(id, name)| AccessKey { id: id.clone(), name: name.clone() }).collect())
    }

    async fn bucket(&self, name: &str) -> Result<BucketOwner, CallError> {
        let world = self.read(format!("bucket {name}"))?;
        Ok(match world.storage.buckets.contains_key(name) {
            true => BucketOwner::Ours,
            false if world.storage.others.contains(name) => BucketOwner::SomebodyElse,
            false => BucketOwner::Nobody,
        })
    }

    async fn create_bucket(&self, name: &str) -> Result<BucketCreation, CallError> {
        self.change("create_bucket", name, |storage| {
            if storage.others.contains(name) {
                return BucketCreation::SomebodyElses;
            }
            storage.buckets.entry(name.to_owned()).or_default();
            BucketCreation::Ours
        })
        .await
    }

    async fn empty_bucket(&self, name: &str) -> Result<Emptied, CallError> {
        self.change("empty_bucket", name, |storage| {
            let step = if storage.keeps_objects { 0 } else { STEP };
            let Some(objects) = storage.buckets.get_mut(name) else {
                return Emptied { deleted: 0, more: false };
            };
            let deleted = step.min(*objects);
            *objects -= deleted;
            Emptied { deleted: deleted as u64, more: *objects > 0 }
        })
        .await
    }

    async fn delete_bucket(&self, name: &str) -> Result<BucketDeletion, CallError> {
        self.change("delete_bucket", name, |storage| match storage.buckets.get(name) {
            Some(objects) if *objects > 0 => BucketDeletion::NotEmpty,
            _ => {
                storage.buckets.remove(name);
                BucketDeletion::Gone
            }
        })
        .await
    }

    async fn create_access_key(&self, name: &str) -> Result<NewAccessKey, CallError> {
        self.change("create_access_key", name, |storage| {
            storage.made += 1;
            let id = format!("tid_{}", storage.made);
            storage.keys.insert(id.clone(), name.to_owned());
            let secret = SecretString::from(format!("tsec_{id}"));
            NewAccessKey { id, secret }
        })
        .await
    }

    async fn delete_access_key(&self, id: &str) -> Result<(), CallError> {
        self.change("delete_access_key", id, |storage| {
            storage.keys.remove(id);
            storage.attached.retain(|(key, _)| key != id);
        })
        .await
    }

    async fn policy(&self, name: &str) -> Result<Option<String>, CallError> {
        Ok(self.read(format!("policy {name}"))?.storage.policies.get(name).cloned())
    }

    async fn put_policy(&self, name: &str, document: &str, key: &str) -> Result<(), CallError> {
        self.change("put_policy", name, |storage| {
            storage.policies.insert(name.to_owned(), document.to_owned());
            storage.attached.insert((key.to_owned(), name.to_owned()));
        })
        .await
    }

    async fn delete_policy(&self, name: &str) -> Result<(), CallError> {
        self.change("delete_policy", name, |storage| {
            storage.policies.remove(name);
            storage.attached.retain(|(_, policy)| policy != name);
        })
        .await
    }

    async fn attached_policies(&self, key: &str) -> Result<Option<Vec<String>>, CallError> {
        let world = self.read(format!("attached_policies {key}"))?;
        let attached = world.storage.attached.iter().filter(|(of, _)| of == key);
        let names = attached.map(|(_, policy)| policy.clone()).collect();
        Ok(world.storage.keys.contains_key(key).then_some(names))
    }
}
