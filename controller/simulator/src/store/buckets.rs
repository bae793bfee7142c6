//! The policies of access keys on a controller's disk.

use std::collections::BTreeMap;

use vault_controller::store::{BucketStore, StoreError, StoredPolicy};
use vault_plan::identity::TenantUid;

use super::{Database, SimStore};
use crate::boundary::Write;

/// All policies of a disk.
pub(super) type Policies = BTreeMap<TenantUid, StoredPolicy>;

impl BucketStore for SimStore {
    async fn bucket_policies(&self) -> Result<Vec<StoredPolicy>, StoreError> {
        self.read(|disk| disk.policies.values().cloned().collect()).await
    }

    async fn put_bucket_policies(&self, policies: Vec<StoredPolicy>) -> Result<(), StoreError> {
        let put = move |disk: &mut Database| {
            disk.policies.extend(policies.into_iter().map(|policy| (policy.tenant_uid, policy)));
            Ok(())
        };
        self.write(Write::PutPolicies, put).await
    }

    async fn remove_bucket_policy(&self, tenant_uid: TenantUid) -> Result<(), StoreError> {
        let remove = move |disk: &mut Database| {
            disk.policies.remove(&tenant_uid);
            Ok(())
        };
        self.write(Write::RemovePolicy, remove).await
    }
}
