//! What a tenant's policy says: what its key may do with which buckets, and nothing else.

use serde_json::json;
use vault_api::storage::BucketAccess;

use super::DesiredBucket;
use crate::identity::TenantUid;

/// What may be done to a bucket by whoever may read it.
const LOOK: [&str; 3] = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"];
/// What may be done to its objects by whoever may read it.
const READ: [&str; 1] = ["s3:GetObject"];
/// What may be done to its objects besides by whoever may write to it.
const WRITE: [&str; 4] =
    ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:ListMultipartUploadParts", "s3:PutObject"];

/// The name of a tenant's policy at the platform.
#[must_use]
pub fn policy_name(tenant: TenantUid) -> String {
    format!("vault-{tenant}")
}

/// The document that opens these buckets: the same buckets always give the same text.
#[must_use]
pub fn policy_document(buckets: &[DesiredBucket]) -> String {
    let mut sorted: Vec<&DesiredBucket> = buckets.iter().collect();
    sorted.sort_unstable_by(|one, other| one.bucket.cmp(&other.bucket));
    let names = |wanted: fn(BucketAccess) -> bool, end: &str| -> Vec<String> {
        let buckets = sorted.iter().filter(|bucket| wanted(bucket.access));
        buckets.map(|bucket| format!("{}{end}", resource(&bucket.bucket))).collect()
    };
    let may = |actions: &[&str], resources: Vec<String>| json!({ "Effect": "Allow", "Action": actions, "Resource": resources });
    let mut statements = vec![may(&LOOK, names(|_| true, "")), may(&READ, names(|_| true, "/*"))];
    let written = names(|access| access == BucketAccess::ReadWrite, "/*");
    if !written.is_empty() {
        statements.push(may(&WRITE, written));
    }
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

/// Whether a document of ours opens a bucket.
#[must_use]
pub fn names_bucket(document: &str, bucket: &str) -> bool {
    document.contains(&format!("\"{}\"", resource(bucket)))
}

fn resource(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}
