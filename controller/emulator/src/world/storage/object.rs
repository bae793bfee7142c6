//! Objects: a key, a file with the bytes, and what was said of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StorageRefusal;
use crate::world::World;
use crate::world::table::Row;

/// Objects in one bucket: their rows are in memory and in the journal.
const OBJECTS_MAX: usize = 100_000;

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// Bucket and key in one, with a slash between: the row's key.
    row: String,
    /// The bucket's name.
    pub bucket: String,
    /// The bucket's id.
    pub bucket_id: String,
    /// The organization's slug.
    pub org: String,
    /// Any text of 1 to 1,024 bytes; nothing on disk is named by it.
    pub key: String,
    /// What it holds.
    pub content: Content,
    /// What was said of it.
    pub attributes: Attributes,
    /// When it was written.
    pub updated_at: Timestamp,
}

/// Bytes in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The file's name in its bucket's folder, random.
    pub file: String,
    /// In bytes.
    pub size: u64,
    /// Without quotes: the MD5 in hexadecimal digits; of objects in parts that of the parts' MD5s, a
    /// dash and how many parts there were.
    pub etag: String,
    /// Checksums by algorithm (`crc32`, `sha256`, …), as they were given and found right.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub checksums: BTreeMap<String, String>,
}

/// Headers that come back as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `Content-Encoding`
    pub content_encoding: Option<String>,
    /// `Content-Disposition`
    pub content_disposition: Option<String>,
    /// `Content-Language`
    pub content_language: Option<String>,
    /// `Cache-Control`
    pub cache_control: Option<String>,
    /// `x-amz-meta-…`
    pub metadata: BTreeMap<String, String>,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewObject {
    /// The bucket's name.
    pub bucket: String,
    /// The bucket's id when the bytes were stored: they are of no use to another bucket.
    pub bucket_id: String,
    /// The key.
    pub key: String,
    /// The bytes.
    pub content: Content,
    /// What is said of them.
    pub attributes: Attributes,
}

/// What has to be true of an object, by its entity tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`: there is one, of this tag.
    pub matches: Option<Tag>,
    /// `If-None-Match`: there is none, or none of this tag.
    pub matches_not: Option<Tag>,
}

/// An entity tag in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `*`
    Any,
    /// Without quotes.
    Is(String),
}

impl Tag {
    fn fits(&self, object: &StoredObject) -> bool {
        match self {
            Self::Any => true,
            Self::Is(tag) => *tag == object.content.etag,
        }
    }
}

impl Conditions {
    /// Whether an object may be written in the place of `before`.
    ///
    /// # Errors
    /// [`StorageRefusal::PreconditionFailed`]; [`StorageRefusal::NoSuchKey`] if one has to match and
    /// there is none, as S3 says.
    pub fn check_write(&self, before: Option<&StoredObject>) -> Result<(), StorageRefusal> {
        if let Some(tag) = &self.matches {
            let before = before.ok_or(StorageRefusal::NoSuchKey)?;
            if !tag.fits(before) {
                return Err(StorageRefusal::PreconditionFailed);
            }
        }
        match (&self.matches_not, before) {
            (Some(tag), Some(before)) if tag.fits(before) => {
                Err(StorageRefusal::PreconditionFailed)
            }
            _ => Ok(()),
        }
    }

    /// Whether an object may be read.
    ///
    /// # Errors
    /// [`StorageRefusal::PreconditionFailed`], [`StorageRefusal::NotModified`].
    pub fn check_read(&self, object: &StoredObject) -> Result<(), StorageRefusal> {
        if self.matches.as_ref().is_some_and(|tag| !tag.fits(object)) {
            return Err(StorageRefusal::PreconditionFailed);
        }
        if self.matches_not.as_ref().is_some_and(|tag| tag.fits(object)) {
            return Err(StorageRefusal::NotModified);
        }
        Ok(())
    }
}

impl Row for StoredObject {
    #[expect(clippy::misnamed_getters, reason = "the row's key, and not the object's")]
    fn key(&self) -> &str {
        &self.row
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.bucket
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }
}

/// Buckets have no slashes in their names, so no two objects have the same row.
pub(super) fn row_key(bucket: &str, key: &str) -> String {
    format!("{bucket}/{key}")
}

impl World {
    /// Takes an object whose bytes are stored; the one before it, whose file is now nobody's.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchBucket`], what conditions say, [`StorageRefusal::LimitExceeded`].
    pub fn put_object(
        &mut self,
        now: Timestamp,
        new: NewObject,
        conditions: &Conditions,
    ) -> Result<(StoredObject, Option<StoredObject>), StorageRefusal> {
        let NewObject { bucket, bucket_id, key, content, attributes } = new;
        let found = self.bucket(&bucket)?;
        if found.id != bucket_id {
            return Err(StorageRefusal::NoSuchBucket);
        }
        let org = found.org.clone();
        let row = row_key(&bucket, &key);
        let before = self.storage.objects.row(&row).cloned();
        conditions.check_write(before.as_ref())?;
        if before.is_none() && self.storage.objects.group_count(&bucket) >= OBJECTS_MAX {
            let text = format!("A bucket of this emulator holds at most {OBJECTS_MAX} objects.");
            return Err(StorageRefusal::LimitExceeded(text));
        }
        let updated_at = self.ids.stamp(now);
        let object =
            StoredObject { row, bucket, bucket_id, org, key, content, attributes, updated_at };
        self.storage.objects.insert(object.clone());
        Ok((object, before))
    }

    /// An object.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchBucket`], [`StorageRefusal::NoSuchKey`].
    pub fn object(&self, bucket: &str, key: &str) -> Result<&StoredObject, StorageRefusal> {
        self.bucket(bucket)?;
        self.storage.objects.row(&row_key(bucket, key)).ok_or(StorageRefusal::NoSuchKey)
    }

    /// Removes an object; what it was, if there was one.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchBucket`], what conditions say.
    pub fn delete_object(
        &mut self,
        bucket: &str,
        key: &str,
        conditions: &Conditions,
    ) -> Result<Option<StoredObject>, StorageRefusal> {
        self.bucket(bucket)?;
        let row = row_key(bucket, key);
        if let Some(before) = self.storage.objects.row(&row) {
            conditions.check_write(Some(before))?;
        }
        Ok(self.storage.objects.remove(&row))
    }
}
