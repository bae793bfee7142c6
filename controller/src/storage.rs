//! What is known of buckets and of the keys to them: pure.
//!
//! ```text
//!   lists of buckets and keys, once per pass ─┐
//!   store: keys and policies of ours ─────────┼─▶ observed ─▶ planner
//!   looks by name, a few at a time ───────────┘
//!      └─▶ forgotten: keys that were never made, or that somebody else deleted
//! ```
//!
//! Absence from a list is asked for by name before anything is made of it: a bucket that was there,
//! and a key that is used. What a policy says is in no list, so it is looked at now and then, a few
//! tenants at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use vault_api::storage::{BUCKET_VARIABLE, bucket_variable};
use vault_plan::bucket::{
    DesiredBucket, KnownKey, KnownKeys, ListedKey, ObservedStorage, StorageLook, names_bucket,
};
use vault_plan::desired::{Desired, DesiredSecret, DesiredTenant, SecretPlace, StorageValue};
use vault_plan::identity::TenantUid;
use vault_plan::time::UnixMillis;
use vault_plan::token::read_platform_name;
use vault_plan::tombstone::{Tombstone, TombstoneKind};

use crate::identity::TenantSecrets;
use crate::platform::AccessKey;
use crate::slices::LOOK_VALID_MS;
use crate::store::{CredentialKey, CredentialState, Credentials, StoredPolicy};

/// How many policies one slice looks at per interval since the one before, two calls each.
/// At this a thousand tenants with buckets are seen in forty minutes.
pub const SLICE_MAX: usize = 4;
/// How many policies are looked at side by side: few enough that the rest of the pass has connections
/// left.
pub const LOOKS_AT_ONCE: usize = 32;
/// How many buckets, and how many keys, that a list should show and does not are asked for by name in
/// one pass: a list that is empty by mistake costs no more than this. The others have their turn in
/// passes that follow.
pub const MISSING_MAX: usize = 8;

/// What a stored access key is called in the store: a tenant has one for all of its buckets.
pub const KEY_NAME: &str = "storage";

/// What the lists showed.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// When they were asked for.
    pub at: UnixMillis,
    /// The names of all buckets of the account.
    pub buckets: BTreeSet<String>,
    /// All keys of the account.
    pub keys: Vec<AccessKey>,
}

/// Whether a pass has to look at storage at all.
#[must_use]
pub fn is_needed(
    desired: &Desired,
    keys: &Credentials,
    policies: &[StoredPolicy],
    tombstones: &[Tombstone],
) -> bool {
    let is_buried = |known: &Tombstone| known.kind == TombstoneKind::Bucket && known.is_open();
    desired.tenants.iter().any(|tenant| !tenant.buckets.is_empty())
        || !keys.rows.is_empty()
        || !policies.is_empty()
        || tombstones.iter().any(is_buried)
}

/// Gives the tenants whose key is known the secrets by which their machines find their buckets.
pub fn add_secrets(desired: &mut Desired, keys: &Credentials, secrets: &TenantSecrets) {
    let mut current: BTreeMap<TenantUid, (u64, &str)> = BTreeMap::new();
    for row in &keys.rows {
        if let CredentialState::Live { id, .. } = &row.state {
            // Rows are in the order of numbers: the newest stays.
            current.insert(row.of.key.tenant_uid, (row.of.key.n, id));
        }
    }
    for tenant in desired.tenants.iter_mut().filter(|tenant| !tenant.buckets.is_empty()) {
        if let Some((n, id)) = current.get(&tenant.uid) {
            let mut added = secrets_of(tenant, *n, id, secrets);
            tenant.secrets.append(&mut added);
            tenant.secrets.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        }
    }
}

fn secrets_of(
    tenant: &DesiredTenant,
    n: u64,
    id: &str,
    secrets: &TenantSecrets,
) -> Vec<DesiredSecret> {
    let mut wanted: Vec<(String, StorageValue)> = vec![
        ("AWS_ACCESS_KEY_ID".to_owned(), StorageValue::KeyId(id.to_owned())),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), StorageValue::KeySecret(n)),
        ("AWS_ENDPOINT_URL_S3".to_owned(), StorageValue::Endpoint),
        ("AWS_REGION".to_owned(), StorageValue::Region),
    ];
    let named = |bucket: &DesiredBucket| StorageValue::Bucket(bucket.bucket.clone());
    if let [only] = tenant.buckets.as_slice() {
        wanted.push((BUCKET_VARIABLE.to_owned(), named(only)));
    }
    for bucket in &tenant.buckets {
        wanted.push((bucket_variable(&bucket.name), named(bucket)));
    }
    let place = SecretPlace { tenant: tenant.uid, app: &tenant.app, shared: tenant.app_is_shared };
    let secret = |(variable, value): (String, StorageValue)| {
        let variable: Arc<str> = variable.into();
        let name = place.name(&variable);
        let hash = secrets.storage_hash(&tenant.app, &name, &value, id);
        DesiredSecret { name, variable, hash, from: None, storage: Some(value) }
    };
    wanted.into_iter().map(secret).collect()
}

/// In the planner's words.
#[must_use]
pub fn observed(
    lists: Result<&Lists, StorageLook>,
    keys: &Credentials,
    policies: &[StoredPolicy],
) -> ObservedStorage {
    let mut observed = ObservedStorage::default();
    match lists {
        Err(look) => observed.look = look,
        Ok(lists) => {
            observed.look = StorageLook::Done;
            observed.buckets.clone_from(&lists.buckets);
            for key in &lists.keys {
                if let Some((tenant, n)) = read_platform_name(&key.name) {
                    let listed = ListedKey { id: key.id.clone(), name: key.name.clone(), n };
                    observed.listed.entry(tenant).or_default().push(listed);
                }
            }
        }
    }
    for (tenant, last_n) in &keys.last_n {
        observed.known.entry(*tenant).or_default().last_n = *last_n;
    }
    for row in &keys.rows {
        let id = match &row.state {
            CredentialState::Live { id, .. } => Some(id.clone()),
            CredentialState::Minting => None,
        };
        let known: &mut KnownKeys = observed.known.entry(row.of.key.tenant_uid).or_default();
        known.keys.push(KnownKey { n: row.of.key.n, id });
    }
    let known = policies.iter().map(|stored| (stored.tenant_uid, stored.policy.clone()));
    observed.policies = known.collect();
    observed
}

/// The keys that were never made: the list was asked for after the last moment at which they could
/// have been, and does not show them.
#[must_use]
pub fn never_made(lists: &Lists, keys: &Credentials, settle_after: Duration) -> Vec<CredentialKey> {
    let wait_ms = i64::try_from(settle_after.as_millis()).unwrap_or(i64::MAX);
    let minting = keys.rows.iter().filter(|row| row.state == CredentialState::Minting);
    let answered = minting.filter(|row| lists.at >= row.sent_at.plus_ms(wait_ms));
    let is_listed = |key: CredentialKey| {
        lists
            .keys
            .iter()
            .any(|listed| read_platform_name(&listed.name) == Some((key.tenant_uid, Some(key.n))))
    };
    answered.map(|row| row.of.key).filter(|key| !is_listed(*key)).collect()
}

/// Buckets that tenants want, that a policy of ours opened, and that the list does not show.
#[must_use]
pub fn missing_buckets(desired: &Desired, lists: &Lists, policies: &[StoredPolicy]) -> Vec<String> {
    let opened: BTreeMap<TenantUid, &str> =
        policies.iter().map(|one| (one.tenant_uid, one.policy.document.as_str())).collect();
    let mut missing = Vec::new();
    for tenant in &desired.tenants {
        let Some(document) = opened.get(&tenant.uid) else { continue };
        let buckets = tenant.buckets.iter().map(|bucket| &bucket.bucket);
        let unlisted = buckets.filter(|bucket| !lists.buckets.contains(*bucket));
        missing.extend(unlisted.filter(|bucket| names_bucket(document, bucket)).cloned());
    }
    missing
}

/// The live keys that the list does not show, by their ids.
#[must_use]
pub fn missing_keys(lists: &Lists, keys: &Credentials) -> Vec<(CredentialKey, String)> {
    let listed: BTreeSet<&str> = lists.keys.iter().map(|key| key.id.as_str()).collect();
    let live = keys.rows.iter().filter_map(|row| match &row.state {
        CredentialState::Live { id, .. } => Some((row.of.key, id.clone())),
        CredentialState::Minting => None,
    });
    live.filter(|(_, id)| !listed.contains(id.as_str())).collect()
}

/// The policies to look at now: those whose last look lies back longest, and at most `policies_max`.
/// `failed` are tenants whose policies could not be looked at, and when: the others come first.
#[must_use]
pub fn due(
    policies: &[StoredPolicy],
    failed: &BTreeMap<TenantUid, UnixMillis>,
    policies_max: usize,
    now: UnixMillis,
) -> Vec<StoredPolicy> {
    let is_old = |at: &UnixMillis| now.since_ms(*at) >= LOOK_VALID_MS;
    let mut due: Vec<&StoredPolicy> = policies
        .iter()
        .filter(|stored| !stored.policy.changed && is_old(&stored.read_at))
        .filter(|stored| failed.get(&stored.tenant_uid).is_none_or(is_old))
        .collect();
    due.sort_unstable_by_key(|stored| (stored.read_at, stored.tenant_uid));
    due.into_iter().take(policies_max).cloned().collect()
}

/// Whether a policy says what we had it say: the platform may write it in another way.
#[must_use]
pub fn says(found: &str, wanted: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    found == wanted || read(found).is_some_and(|found| Some(found) == read(wanted))
}

#[cfg(test)]
mod tests {
    use vault_plan::bucket::KnownPolicy;
    use vault_plan::identity::ControllerId;

    use super::*;

    #[test]
    fn policies_that_cannot_be_looked_at_keep_no_other_from_it() {
        let now = UnixMillis(1_800_000_000_000);
        let controller = ControllerId::from_bytes([7; 16]);
        let of = |tenant: &str| StoredPolicy {
            tenant_uid: controller.tenant_uid(tenant),
            tenant: tenant.to_owned(),
            policy: KnownPolicy {
                key_id: "tid_1".to_owned(),
                document: "{}".to_owned(),
                changed: false,
            },
            read_at: now.plus_ms(-LOOK_VALID_MS),
        };
        let policies: Vec<StoredPolicy> = ["a", "b", "c", "d", "e"].map(of).into();
        let first = due(&policies, &BTreeMap::new(), 4, now);
        assert_eq!(first.len(), 4);
        let failed = first.iter().map(|stored| (stored.tenant_uid, now)).collect();
        let second = due(&policies, &failed, 4, now);
        assert_eq!(second.len(), 1, "the one behind them");
        assert!(!first.contains(&second[0]));
        let later = now.plus_ms(LOOK_VALID_MS);
        assert_eq!(due(&policies, &failed, 4, later).len(), 4, "they are looked at again");
    }
}
