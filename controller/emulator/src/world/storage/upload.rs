//! Objects that come in parts: `create ─▶ part, part, … ─▶ complete | abort`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::object::{Attributes, Content};
use super::{Conditions, NewObject, StorageRefusal, StoredObject};
use crate::world::World;
use crate::world::table::Row;

/// The highest number of a part: S3's bound.
pub const PART_NUMBER_MAX: u32 = 10_000;
/// The least size of a part that is not the last, in bytes: S3's bound.
pub const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// Unfinished uploads of one bucket: each may hold parts on disk until it is aborted.
const UPLOADS_MAX: usize = 1_000;

/// An upload in parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Opaque.
    pub id: String,
    /// The bucket's name.
    pub bucket: String,
    /// The bucket's id.
    pub bucket_id: String,
    /// The organization's slug.
    pub org: String,
    /// The key that the object will have.
    pub key: String,
    /// What is said of it.
    pub attributes: Attributes,
    /// When it began.
    pub created_at: Timestamp,
    /// The parts so far, by number.
    pub parts: BTreeMap<u32, Part>,
}

/// A part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its bytes.
    pub content: Content,
    /// When it was written.
    pub updated_at: Timestamp,
}

impl Row for Upload {
    #[expect(clippy::misnamed_getters, reason = "the row's key, and not the object's")]
    fn key(&self) -> &str {
        &self.id
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.bucket
    }

    fn updated_at(&self) -> Timestamp {
        self.created_at
    }
}

impl Upload {
    /// The parts that an object is to be made of, in order, as number and entity tag.
    ///
    /// # Errors
    /// [`StorageRefusal::InvalidPart`], [`StorageRefusal::InvalidPartOrder`],
    /// [`StorageRefusal::EntityTooSmall`].
    pub fn chosen(&self, named: &[(u32, Option<String>)]) -> Result<Vec<Part>, StorageRefusal> {
        if named.is_empty() {
            return Err(StorageRefusal::InvalidPart);
        }
        if !named.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(StorageRefusal::InvalidPartOrder);
        }
        let mut chosen = Vec::new();
        for (number, tag) in named {
            let part = self.parts.get(number).ok_or(StorageRefusal::InvalidPart)?;
            if tag.as_ref().is_some_and(|tag| *tag != part.content.etag) {
                return Err(StorageRefusal::InvalidPart);
            }
            chosen.push(part.clone());
        }
        let all_but_last = &chosen[..chosen.len() - 1];
        if all_but_last.iter().any(|part| part.content.size < PART_BYTES_MIN) {
            return Err(StorageRefusal::EntityTooSmall);
        }
        Ok(chosen)
    }
}

impl World {
    /// Begins an upload.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchBucket`], [`StorageRefusal::LimitExceeded`].
    pub fn create_upload(
        &mut self,
        now: Timestamp,
        bucket: &str,
        key: &str,
        attributes: Attributes,
    ) -> Result<Upload, StorageRefusal> {
        let found = self.bucket(bucket)?;
        let (bucket_id, org) = (found.id.clone(), found.org.clone());
        if self.storage.uploads.group_count(bucket) >= UPLOADS_MAX {
            let text = format!("A bucket of this emulator has at most {UPLOADS_MAX} uploads.");
            return Err(StorageRefusal::LimitExceeded(text));
        }
        let (id, created_at) = (self.ids.ulid(now).to_lowercase(), self.ids.stamp(now));
        let (bucket, key, parts) = (bucket.to_owned(), key.to_owned(), BTreeMap::new());
        let upload = Upload { id, bucket, bucket_id, org, key, attributes, created_at, parts };
        self.storage.uploads.insert(upload.clone());
        Ok(upload)
    }

    /// An upload of a bucket and key.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchBucket`], [`StorageRefusal::NoSuchUpload`].
    pub fn upload(&self, bucket: &str, key: &str, id: &str) -> Result<&Upload, StorageRefusal> {
        self.bucket(bucket)?;
        let found = self.storage.uploads.row(id);
        let found = found.filter(|upload| upload.bucket == bucket && upload.key == key);
        found.ok_or(StorageRefusal::NoSuchUpload)
    }

    /// The unfinished uploads of a bucket, oldest first.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchBucket`].
    pub fn uploads(&self, bucket: &str) -> Result<Vec<&Upload>, StorageRefusal> {
        self.bucket(bucket)?;
        Ok(self.storage.uploads.group(bucket).collect())
    }

    /// Takes a part whose bytes are stored; the one of that number before it, whose file is now
    /// nobody's.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchBucket`], [`StorageRefusal::NoSuchUpload`].
    pub fn put_part(
        &mut self,
        now: Timestamp,
        (bucket, key, id): (&str, &str, &str),
        number: u32,
        content: Content,
    ) -> Result<Option<Part>, StorageRefusal> {
        self.upload(bucket, key, id)?;
        let part = Part { content, updated_at: self.ids.stamp(now) };
        let before = self.storage.uploads.change(id, |upload| upload.parts.insert(number, part));
        before.ok_or(StorageRefusal::NoSuchUpload)
    }

    /// Ends an upload, of which nothing is kept; what it was.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchBucket`], [`StorageRefusal::NoSuchUpload`].
    pub fn abort_upload(
        &mut self,
        bucket: &str,
        key: &str,
        id: &str,
    ) -> Result<Upload, StorageRefusal> {
        self.upload(bucket, key, id)?;
        self.storage.uploads.remove(id).ok_or(StorageRefusal::NoSuchUpload)
    }

    /// Ends an upload with an object whose bytes are put together; the object, the one before it, and
    /// the upload whose parts are now nobody's.
    ///
    /// # Errors
    /// As [`World::put_object`] and [`World::abort_upload`]; then nothing has changed.
    pub fn complete_upload(
        &mut self,
        now: Timestamp,
        id: &str,
        new: NewObject,
        conditions: &Conditions,
    ) -> Result<(StoredObject, Option<StoredObject>, Upload), StorageRefusal> {
        self.upload(&new.bucket, &new.key, id)?;
        let (object, before) = self.put_object(now, new, conditions)?;
        let upload = self.storage.uploads.remove(id).ok_or(StorageRefusal::NoSuchUpload)?;
        Ok((object, before, upload))
    }
}
