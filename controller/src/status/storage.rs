//! What a status says of buckets and of the key to them, never the key's secret.

use vault_api::status::TenantStatus;
use vault_api::storage::BucketStatus;
use vault_plan::bucket::BucketReport;

use super::Facts;

/// The wanted buckets. Where nothing was decided about them, what was known stands: what becomes of
/// buckets that the manifest no longer names follows from it.
pub(super) fn buckets(facts: &Facts<'_>) -> Vec<BucketStatus> {
    match (&facts.report.storage, facts.before) {
        (Some(report), _) if !facts.desired.deleting && !facts.desired.paused => {
            report.buckets.iter().map(status).collect()
        }
        (_, Some(before)) => before.buckets.clone(),
        (_, None) => Vec::new(),
    }
}

/// The number of the key that is used.
pub(super) fn access_key(facts: &Facts<'_>) -> Option<u64> {
    match &facts.report.storage {
        Some(report) => report.access_key,
        None => facts.before.and_then(|before: &TenantStatus| before.access_key),
    }
}

fn status(report: &BucketReport) -> BucketStatus {
    BucketStatus {
        name: report.bucket.name.to_string(),
        bucket: report.bucket.bucket.clone(),
        access: report.bucket.access,
        deletion_policy: report.bucket.deletion_policy,
        ready: report.ready,
    }
}
