//! The policies of tenants' access keys, as they were put.

use std::future::Future;

use rusqlite::{Connection, Row, params};
use vault_plan::bucket::KnownPolicy;
use vault_plan::identity::TenantUid;
use vault_plan::time::UnixMillis;

use super::{StoreError, unreadable};

/// The policy of a tenant's access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPolicy {
    /// Whose it is.
    pub tenant_uid: TenantUid,
    /// The tenant's name.
    pub tenant: String,
    /// What it says, and of which key.
    pub policy: KnownPolicy,
    /// When it was put, or last looked at.
    pub read_at: UnixMillis,
}

/// The verbs of a store that are about buckets.
pub trait BucketStore {
    /// All policies, in the order of their tenants' uids.
    fn bucket_policies(&self)
    -> impl Future<Output = Result<Vec<StoredPolicy>, StoreError>> + Send;

    /// Keeps policies as they are now.
    fn put_bucket_policies(
        &self,
        policies: Vec<StoredPolicy>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets the policy of a tenant.
    fn remove_bucket_policy(
        &self,
        tenant_uid: TenantUid,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

pub(super) fn list(connection: &Connection) -> Result<Vec<StoredPolicy>, StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT tenant_uid, tenant, key_id, document, changed, read_at FROM bucket_policy \
         ORDER BY tenant_uid",
    )?;
    let mut rows = select.query([])?;
    let mut policies = Vec::new();
    while let Some(row) = rows.next()? {
        policies.push(decode(row)?);
    }
    Ok(policies)
}

pub(super) fn put(connection: &Connection, policies: &[StoredPolicy]) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO bucket_policy (tenant_uid, tenant, key_id, document, changed, \
         read_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for StoredPolicy { tenant_uid, tenant, policy, read_at } in policies {
        let KnownPolicy { key_id, document, changed } = policy;
        let uid = tenant_uid.to_string();
        insert.execute(params![uid, tenant, key_id, document, changed, read_at.0])?;
    }
    Ok(())
}

pub(super) fn remove(connection: &Connection, tenant_uid: TenantUid) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM bucket_policy WHERE tenant_uid = ?1")?
        .execute([tenant_uid.to_string()])?;
    Ok(())
}

fn decode(row: &Row<'_>) -> Result<StoredPolicy, StoreError> {
    let uid: String = row.get(0)?;
    Ok(StoredPolicy {
        tenant_uid: TenantUid::read(&uid).ok_or_else(|| unreadable(0, &uid))?,
        tenant: row.get(1)?,
        policy: KnownPolicy { key_id: row.get(2)?, document: row.get(3)?, changed: row.get(4)? },
        read_at: UnixMillis(row.get(5)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, controller, open};

    #[tokio::test]
    async fn a_policy_is_kept_as_it_was_put_last_and_forgotten_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let stored = |tenant: &str, changed| StoredPolicy {
            tenant_uid: controller().tenant_uid(tenant),
            tenant: tenant.to_owned(),
            policy: KnownPolicy { key_id: "tid_1".into(), document: "{}".into(), changed },
            read_at: NOW,
        };
        assert_eq!(store.bucket_policies().await.unwrap(), []);
        let both = vec![stored("acme", false), stored("bob", false)];
        store.put_bucket_policies(both).await.unwrap();
        store.put_bucket_policies(vec![stored("acme", true)]).await.unwrap();
        let mut expected = vec![stored("acme", true), stored("bob", false)];
        expected.sort_by_key(|policy| policy.tenant_uid.to_string());
        assert_eq!(store.bucket_policies().await.unwrap(), expected);
        store.remove_bucket_policy(controller().tenant_uid("acme")).await.unwrap();
        assert_eq!(store.bucket_policies().await.unwrap(), [stored("bob", false)]);
    }
}
