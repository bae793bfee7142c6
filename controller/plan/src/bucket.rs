//! Buckets, and the one access key that a tenant has to all of its own: what has to happen to them.
//!
//! ```text
//!   a bucket is wanted and not there ─────▶ create it
//!   no key whose secret we have ──────────▶ make key n+1
//!   the policy is not as wanted ──────────▶ put it, and attach it to the key
//!   all that there ───────────────────────▶ the app's secrets, and then machines
//!
//!   no bucket is wanted any more ─────────▶ the policy goes, and then the key
//!   listed under our name, without value ─▶ the key goes: at once if it was never used, else when
//!                                           the machines have another
//! ```
//!
//! The secret of a key is shown once, as the value of a deploy token is, and so a key's making is
//! never repeated either.

mod decide;
mod document;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vault_api::storage::BucketAccess;
use vault_api::tenant::DeletionPolicy;

use crate::identity::TenantUid;
use crate::observed::Hold;
use crate::report::NoteReason;
pub(crate) use decide::{Decision, decide};
pub use document::{names_bucket, policy_document, policy_name};

/// A bucket that should exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredBucket {
    /// As in the manifest.
    pub name: Arc<str>,
    /// Its name at Tigris: derived, and so ours.
    pub bucket: String,
    /// What the tenant's machines may do with it.
    pub access: BucketAccess,
    /// What happens to it when nobody asks for it any more.
    pub deletion_policy: DeletionPolicy,
}

/// What is known of buckets and the keys to them.
#[derive(Clone, Debug, Default)]
pub struct ObservedStorage {
    /// Whether the lists of buckets and keys were read.
    pub look: StorageLook,
    /// The names of all buckets of ours.
    pub buckets: BTreeSet<String>,
    /// Buckets that are not listed although they were there, and why that is not believed.
    pub unclear: BTreeMap<String, String>,
    /// The keys that the list shows under our names, by the uids in them.
    pub listed: BTreeMap<TenantUid, Vec<ListedKey>>,
    /// What the controller keeps of keys, by the tenants' uids.
    pub known: BTreeMap<TenantUid, KnownKeys>,
    /// The policies that we put, by the tenants' uids.
    pub policies: BTreeMap<TenantUid, KnownPolicy>,
    /// The buckets that tenants had when they were last looked at, by the tenants' names.
    pub remembered: BTreeMap<String, Vec<DesiredBucket>>,
    /// Tenants for whose storage nothing may be done yet.
    pub holds: BTreeMap<String, Hold>,
}

/// Whether the lists of buckets and keys were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StorageLook {
    /// Nobody asked for them: no tenant has anything to do with buckets.
    #[default]
    Spared,
    /// They were.
    Done,
    /// They could not be read, for this reason.
    Failed(String),
    /// The controller has no key for it.
    NoKey,
}

/// What to do about a controller that has no key to storage.
const NO_KEY: &str = "the controller has no key to object storage: set AWS_ACCESS_KEY_ID and \
                      AWS_SECRET_ACCESS_KEY in its environment (and AWS_ENDPOINT_URL_S3 and \
                      AWS_ENDPOINT_URL_IAM where that is not Tigris), and start it again";

impl StorageLook {
    /// Why nothing can be concluded or done; `None` if they were read.
    pub(crate) fn obstacle(&self) -> Option<(NoteReason, &str)> {
        match self {
            Self::Done => None,
            Self::Spared => Some((NoteReason::Unobserved, "they have not been listed yet")),
            Self::Failed(why) => Some((NoteReason::Unobserved, why)),
            Self::NoKey => Some((NoteReason::NoStorageKey, NO_KEY)),
        }
    }
}

/// The access keys of one tenant that the controller keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownKeys {
    /// The highest number that was ever used; 0 for none.
    pub last_n: u64,
    /// The keys, in the order of their numbers.
    pub keys: Vec<KnownKey>,
}

impl KnownKeys {
    /// The key that is used: the newest whose secret there is.
    #[must_use]
    pub fn current(&self) -> Option<(u64, &str)> {
        let live = |key: &'_ KnownKey| key.id.is_some();
        let key = self.keys.iter().rev().find(|key| live(key))?;
        Some((key.n, key.id.as_deref()?))
    }
}

/// An access key that the controller keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// Its number.
    pub n: u64,
    /// The platform's id, once its secret is there; `None` while its making is an open question.
    pub id: Option<String>,
}

/// An access key of one of our names, as the list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The platform's id.
    pub id: String,
    /// Its name: `vault/UID/N`.
    pub name: String,
    /// Its number, if that can be read.
    pub n: Option<u64>,
}

/// The policy of one tenant, as it was last put or looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPolicy {
    /// The id of the key that it is attached to.
    pub key_id: String,
    /// What it says.
    pub document: String,
    /// Somebody else has changed it, or detached it, since.
    pub changed: bool,
}

/// A bucket to be made, emptied or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketRef {
    /// As in the manifest.
    pub name: String,
    /// Its name at Tigris.
    pub bucket: String,
}

/// An access key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateAccessKey {
    /// Its name at the platform: `vault/UID/N`.
    pub platform_name: String,
    /// Its number: never used before.
    pub n: u64,
    /// Whose it is.
    pub tenant_uid: TenantUid,
}

/// An access key to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeAccessKey {
    /// The platform's id.
    pub id: String,
    /// Its name at the platform: `vault/UID/N`.
    pub platform_name: String,
    /// Its number, if its name tells.
    pub n: Option<u64>,
    /// Whose it is.
    pub tenant_uid: TenantUid,
}

/// A policy to be put and attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBucketPolicy {
    /// Its name: derived.
    pub name: String,
    /// What it says.
    pub document: String,
    /// The id of the key to attach it to.
    pub key_id: String,
    /// Whose it is.
    pub tenant_uid: TenantUid,
}

/// A policy to be detached and deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveBucketPolicy {
    /// Its name: derived.
    pub name: String,
    /// Whose it is.
    pub tenant_uid: TenantUid,
}

/// Where one bucket stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketReport {
    /// What is wanted.
    pub bucket: DesiredBucket,
    /// It is there, and the tenant's key opens it.
    pub ready: bool,
}

/// Where a tenant's storage stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageReport {
    /// One entry per wanted bucket.
    pub buckets: Vec<BucketReport>,
    /// The number of the key that is used.
    pub access_key: Option<u64>,
}

#[cfg(test)]
mod tests;
