//! Object storage as a seam: what the controller asks of Tigris, in its own words.

use std::future::Future;

use secrecy::SecretString;
use vault_cloud::error::CallError;

/// All access keys of the account, without their secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// `tid_…`
    pub id: String,
    /// Not unique.
    pub name: String,
}

/// An access key that was made: the only time that its secret is shown.
#[derive(Clone, Debug)]
pub struct NewAccessKey {
    /// `tid_…`
    pub id: String,
    /// Signs requests.
    pub secret: SecretString,
}

/// Whose a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketOwner {
    /// Ours.
    Ours,
    /// There is no such bucket.
    Nobody,
    /// It is somebody else's: names of buckets are global.
    SomebodyElse,
}

/// What came of making a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketCreation {
    /// It is there, and ours.
    Ours,
    /// It is somebody else's.
    SomebodyElses,
}

/// What came of deleting a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketDeletion {
    /// It is not there any more.
    Gone,
    /// It holds objects, and so it is kept.
    NotEmpty,
}

/// How far the emptying of a bucket came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emptied {
    /// How many objects were deleted.
    pub deleted: u64,
    /// There are more.
    pub more: bool,
}

/// What the controller asks of object storage. Every error says whether the platform acted.
pub trait ObjectStorage: Send + Sync + 'static {
    /// Whether the controller was given a key to it; without one no other call is made.
    fn has_storage(&self) -> bool;

    /// The names of all buckets of the account, all pages.
    fn buckets(&self) -> impl Future<Output = Result<Vec<String>, CallError>> + Send;

    /// All access keys of the account, all pages.
    fn access_keys(&self) -> impl Future<Output = Result<Vec<AccessKey>, CallError>> + Send;

    /// Whose a bucket is, or whether its name is free.
    fn bucket(&self, name: &str) -> impl Future<Output = Result<BucketOwner, CallError>> + Send;

    /// Makes a bucket. Making it twice is making it once.
    fn create_bucket(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<BucketCreation, CallError>> + Send;

    /// Deletes some of a bucket's objects: a bounded number per call.
    fn empty_bucket(&self, name: &str) -> impl Future<Output = Result<Emptied, CallError>> + Send;

    /// Deletes a bucket that holds nothing.
    fn delete_bucket(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<BucketDeletion, CallError>> + Send;

    /// Makes an access key that opens nothing yet. Never repeated: each call makes another one.
    fn create_access_key(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<NewAccessKey, CallError>> + Send;

    /// Deletes an access key. One that is gone is as good as deleted.
    fn delete_access_key(&self, id: &str) -> impl Future<Output = Result<(), CallError>> + Send;

    /// What a policy says; `None` if there is none of that name.
    fn policy(&self, name: &str) -> impl Future<Output = Result<Option<String>, CallError>> + Send;

    /// Makes a policy, or has it say this, and attaches it to a key. Doing it twice is doing it once.
    fn put_policy(
        &self,
        name: &str,
        document: &str,
        key_id: &str,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Detaches a policy from all keys and deletes it. One that is gone is as good as deleted.
    fn delete_policy(&self, name: &str) -> impl Future<Output = Result<(), CallError>> + Send;

    /// The names of the policies that are attached to a key; `None` if there is no such key.
    fn attached_policies(
        &self,
        key_id: &str,
    ) -> impl Future<Output = Result<Option<Vec<String>>, CallError>> + Send;
}
