//! Buckets: what a manifest asks for, and what a status says of them.
//!
//! The controller makes the buckets at Tigris and one access key for all of a tenant's, which its
//! machines find in their environment. The key's secret is in no document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tenant::DeletionPolicy;

/// Most buckets of one document: one access policy names them all, and Tigris takes no longer ones
/// than AWS does (6,144 bytes).
pub const BUCKETS_MAX: usize = 16;
/// Longest name of a bucket in a manifest, in characters: a part of the tenant's name and of its
/// identity stand beside it in the name at Tigris, which has 63.
pub const BUCKET_NAME_LENGTH_MAX: usize = 40;

/// The environment variables that a tenant with buckets gets, besides those that name the buckets.
pub const STORAGE_VARIABLES: [&str; 4] =
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "AWS_REGION"];
/// The environment variable that names the tenant's bucket, if it has just one; and what the
/// variables of the single buckets begin with, before `_`.
pub const BUCKET_VARIABLE: &str = "BUCKET_NAME";

/// The environment variable with the name at Tigris of the bucket that a manifest calls `name`.
#[must_use]
pub fn bucket_variable(name: &str) -> String {
    format!("{BUCKET_VARIABLE}_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Object storage of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageSpec {
    /// Buckets at Tigris, merged into the class's by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = BUCKETS_MAX))]
    pub buckets: Vec<BucketEntry>,
}

/// One bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BucketEntry {
    /// Unique within the tenant: 1 to 40 lower-case letters, digits and dashes, beginning with a
    /// letter and ending with a letter or digit.
    pub name: String,
    /// What the tenant's machines may do with it; `ReadWrite` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<BucketAccess>,
    /// What happens to the bucket when nobody asks for it any more: `Retain` or `Delete`; `Retain` if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// What a tenant's machines may do with a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum BucketAccess {
    /// List, read, write and delete objects.
    #[default]
    ReadWrite,
    /// List and read objects.
    ReadOnly,
}

impl BucketAccess {
    /// The word in manifests.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ReadWrite => "ReadWrite",
            Self::ReadOnly => "ReadOnly",
        }
    }
}

/// What is known of one bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BucketStatus {
    /// As in the manifest.
    pub name: String,
    /// Its name at Tigris, which is global.
    pub bucket: String,
    /// What the machines may do with it.
    pub access: BucketAccess,
    /// What happens to it when nobody asks for it any more.
    pub deletion_policy: DeletionPolicy,
    /// It is there, and the tenant's access key opens it.
    pub ready: bool,
}
