//! Object storage as Tigris sells it: access keys with policies, buckets with objects.
//!
//! ```text
//!  organization ──┬── access keys ◀──attached── policies ── document ── may it?
//!                 └── buckets ──┬── objects ──▶ a file each, beside the world
//!                               └── uploads ──▶ a file per part
//! ```
//!
//! The world knows what there is and who may do what; the bytes lie in files that it names. A file is
//! complete before the world takes it, and removed after the world has let go of it.

pub mod access_key;
pub mod bucket;
pub mod document;
pub mod listing;
pub mod object;
pub mod policy;
pub mod refusal;
pub mod upload;

pub use self::access_key::{AccessKey, NewAccessKey};
pub use self::bucket::Bucket;
pub use self::object::{Attributes, Conditions, Content, NewObject, StoredObject};
pub use self::policy::Policy;
pub use self::refusal::StorageRefusal;
pub use self::upload::{Part, Upload};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::world::World;
use crate::world::table::{Row, Table};

/// All that is stored, and who may touch it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Storage {
    keys: Table<AccessKey>,
    policies: Table<Policy>,
    buckets: Table<Bucket>,
    objects: Table<StoredObject>,
    uploads: Table<Upload>,
    /// The ARNs of policies by the ids of the keys that they are attached to: what policies say,
    /// the other way round.
    attachments: BTreeMap<String, BTreeSet<String>>,
}

/// One row of storage, written or removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageRecord {
    /// An access key as it is now, its secret included.
    AccessKey(AccessKey),
    /// An access key is gone.
    AccessKeyGone(String),
    /// A policy as it is now, with the keys that it is attached to.
    Policy(Policy),
    /// A policy is gone.
    PolicyGone(String),
    /// A bucket as it is now.
    Bucket(Bucket),
    /// A bucket is gone.
    BucketGone(String),
    /// An object as it is now; its bytes lie in a file of their own.
    Object(StoredObject),
    /// An object is gone.
    ObjectGone(String),
    /// An upload in parts as it is now.
    Upload(Upload),
    /// An upload is completed or aborted.
    UploadGone(String),
}

impl Storage {
    /// Everything, as records.
    pub(crate) fn snapshot(&self) -> impl Iterator<Item = StorageRecord> {
        let keys = self.keys.iter().cloned().map(StorageRecord::AccessKey);
        keys.chain(self.policies.iter().cloned().map(StorageRecord::Policy))
            .chain(self.buckets.iter().cloned().map(StorageRecord::Bucket))
            .chain(self.objects.iter().cloned().map(StorageRecord::Object))
            .chain(self.uploads.iter().cloned().map(StorageRecord::Upload))
    }

    /// What changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<StorageRecord> {
        use StorageRecord as Is;
        let mut records = Vec::new();
        records.extend(changes(&mut self.keys, Is::AccessKey, Is::AccessKeyGone));
        records.extend(changes(&mut self.policies, Is::Policy, Is::PolicyGone));
        records.extend(changes(&mut self.buckets, Is::Bucket, Is::BucketGone));
        records.extend(changes(&mut self.objects, Is::Object, Is::ObjectGone));
        records.extend(changes(&mut self.uploads, Is::Upload, Is::UploadGone));
        records
    }

    /// Takes a record back.
    pub(crate) fn replay(&mut self, record: StorageRecord) {
        match record {
            StorageRecord::AccessKey(key) => self.keys.insert(key),
            StorageRecord::Policy(policy) => self.replay_policy(policy),
            StorageRecord::Bucket(bucket) => self.buckets.insert(bucket),
            StorageRecord::Object(object) => self.objects.insert(object),
            StorageRecord::Upload(upload) => self.uploads.insert(upload),
            StorageRecord::AccessKeyGone(id) => drop(self.keys.remove(&id)),
            StorageRecord::PolicyGone(arn) => drop(self.policies.remove(&arn)),
            StorageRecord::BucketGone(name) => drop(self.buckets.remove(&name)),
            StorageRecord::ObjectGone(key) => drop(self.objects.remove(&key)),
            StorageRecord::UploadGone(id) => drop(self.uploads.remove(&id)),
        }
    }

    fn replay_policy(&mut self, policy: Policy) {
        let before = self.policies.row(&policy.arn).map(|before| before.attached.clone());
        for key in before.unwrap_or_default() {
            self.forget_attachment(&key, &policy.arn);
        }
        for key in &policy.attached {
            self.attachments.entry(key.clone()).or_default().insert(policy.arn.clone());
        }
        self.policies.insert(policy);
    }

    fn forget_attachment(&mut self, key: &str, arn: &str) {
        if let Some(arns) = self.attachments.get_mut(key) {
            arns.remove(arn);
            if arns.is_empty() {
                self.attachments.remove(key);
            }
        }
    }
}

/// What changed in a table: each row as it is now, or that it is gone.
fn changes<T: Row + Clone>(
    table: &mut Table<T>,
    written: impl Fn(T) -> StorageRecord,
    gone: impl Fn(String) -> StorageRecord,
) -> Vec<StorageRecord> {
    let changed = table.take_changed().into_iter();
    let record = |key: String| match table.row(&key) {
        Some(row) => written(row.clone()),
        None => gone(key),
    };
    changed.map(record).collect()
}

impl World {
    /// The files that hold something, by bucket id and file name.
    pub fn stored_files(&self) -> BTreeSet<(String, String)> {
        let storage = &self.storage;
        let objects = storage.objects.iter();
        let objects = objects.map(|object| (object.bucket_id.clone(), object.content.file.clone()));
        let uploads = storage.uploads.iter().flat_map(|upload| {
            let parts = upload.parts.values();
            parts.map(|part| (upload.bucket_id.clone(), part.content.file.clone()))
        });
        objects.chain(uploads).collect()
    }
}
