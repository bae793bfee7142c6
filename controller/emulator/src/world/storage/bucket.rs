//! Buckets. Their names are global: no two organizations have one of the same name.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StorageRefusal;
use crate::world::World;
use crate::world::table::Row;

/// Buckets of one organization: ten for each of the most tenants that this emulator is measured with.
const BUCKETS_MAX: usize = 100_000;

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Unique among all organizations.
    pub name: String,
    /// Names its folder; another bucket of the same name has another one.
    pub id: String,
    /// The organization's slug.
    pub org: String,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Row for Bucket {
    fn key(&self) -> &str {
        &self.name
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.org
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }
}

impl World {
    /// Makes a bucket. Whoever calls has checked the name's form.
    ///
    /// # Errors
    /// [`StorageRefusal::BucketAlreadyOwnedByYou`], [`StorageRefusal::BucketAlreadyExists`],
    /// [`StorageRefusal::TooManyBuckets`].
    pub fn create_bucket(
        &mut self,
        now: Timestamp,
        org: &str,
        name: &str,
    ) -> Result<Bucket, StorageRefusal> {
        if let Some(known) = self.storage.buckets.row(name) {
            let own = known.org == org;
            let refusal = if own {
                StorageRefusal::BucketAlreadyOwnedByYou
            } else {
                StorageRefusal::BucketAlreadyExists
            };
            return Err(refusal);
        }
        if self.storage.buckets.count(org) >= BUCKETS_MAX {
            return Err(StorageRefusal::TooManyBuckets);
        }
        let (id, created_at) = (self.ids.ulid(now).to_lowercase(), self.ids.stamp(now));
        let bucket = Bucket { name: name.to_owned(), id, org: org.to_owned(), created_at };
        self.storage.buckets.insert(bucket.clone());
        Ok(bucket)
    }

    /// A bucket by name.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchBucket`].
    pub fn bucket(&self, name: &str) -> Result<&Bucket, StorageRefusal> {
        self.storage.buckets.row(name).ok_or(StorageRefusal::NoSuchBucket)
    }

    /// The buckets of an organization after a name, by name.
    pub fn buckets<'a>(
        &'a self,
        org: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Bucket> {
        self.storage.buckets.group_after(org, after)
    }

    /// Removes a bucket without objects; its unfinished uploads go with it.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchBucket`], [`StorageRefusal::BucketNotEmpty`].
    pub fn delete_bucket(&mut self, name: &str) -> Result<Bucket, StorageRefusal> {
        self.bucket(name)?;
        if self.storage.objects.group_count(name) > 0 {
            return Err(StorageRefusal::BucketNotEmpty);
        }
        let uploads = self.storage.uploads.group(name);
        let uploads: Vec<String> = uploads.map(|upload| upload.id.clone()).collect();
        for id in uploads {
            self.storage.uploads.remove(&id);
        }
        self.storage.buckets.remove(name).ok_or(StorageRefusal::NoSuchBucket)
    }
}
