//! Whose a credential is whose tenant nobody knows any more.
//!
//! ```text
//!   vault/UID/N ─▶ UID is a one-way digest of our controller's identity and a tenant's name
//!                    ▲
//!   acme-state-n5ve6vma, acme-n5ve6vma: buckets and apps that are left say names ─▶ digest of each
//! ```
//!
//! A credential carries an identity that nobody can turn back into a name, and that of another
//! controller looks the same. But a tenant that had one had a bucket or an app, and their names begin
//! with the tenant's: where the digest of such a beginning is the credential's identity, it is ours and
//! that tenant's, for certain. What no name explains is left alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::bucket::StorageLook;
use crate::desired::DesiredTenant;
use crate::identity::{ControllerId, TenantUid};
use crate::observed::Observed;

/// The tenants' names of those of these identities that names of buckets or apps explain.
#[must_use]
pub fn explained<'a>(
    controller: &ControllerId,
    uids: &BTreeSet<TenantUid>,
    names: impl IntoIterator<Item = &'a str>,
) -> BTreeMap<TenantUid, String> {
    let mut explained = BTreeMap::new();
    if uids.is_empty() {
        return explained;
    }
    let mut tried = BTreeSet::new();
    for name in names {
        let ends = name.match_indices('-').map(|(end, _)| end);
        for tenant in ends.map(|end| &name[..end]).filter(|tenant| !tenant.is_empty()) {
            if !tried.insert(tenant) {
                continue;
            }
            let uid = controller.tenant_uid(tenant);
            if uids.contains(&uid) {
                explained.insert(uid, tenant.to_owned());
            }
        }
    }
    explained
}

/// The identities that credentials carry, that no tenant has, and that buckets which are left explain,
/// with the names of the tenants. Whether these are gone is another question.
#[must_use]
pub fn suspects(
    controller: &ControllerId,
    desired: &[DesiredTenant],
    observed: &Observed,
) -> BTreeMap<TenantUid, String> {
    let storage = &observed.storage;
    if storage.look != StorageLook::Done {
        return BTreeMap::new();
    }
    let listed = storage.listed.keys().chain(observed.tokens.listed.keys());
    let mut uids: BTreeSet<TenantUid> = listed.copied().collect();
    for tenant in desired {
        uids.remove(&tenant.uid);
    }
    explained(controller, &uids, storage.buckets.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_wanted_is_no_suspect() {
        let ours = ControllerId::from_bytes([7; 16]);
        let uids = ["acme", "gone"].map(|name| ours.tenant_uid(name));
        let mut observed = Observed::default();
        observed.storage.buckets =
            ["acme", "gone"].map(|name| ours.tenant_uid(name).bucket_name(name, "state")).into();
        observed.storage.listed = uids.map(|uid| (uid, Vec::new())).into();
        let desired = [crate::testing::tenant()];
        assert_eq!(suspects(&ours, &desired, &observed), BTreeMap::new(), "nobody looked");
        observed.storage.look = StorageLook::Done;
        let gone = BTreeMap::from([(uids[1], "gone".to_owned())]);
        assert_eq!(suspects(&ours, &desired, &observed), gone);
        observed.tokens.listed = std::mem::take(&mut observed.storage.listed)
            .into_keys()
            .map(|uid| (uid, Vec::new()))
            .collect();
        assert_eq!(suspects(&ours, &desired, &observed), gone, "tokens tell of it too");
    }

    #[test]
    fn names_of_buckets_and_apps_explain_whose_an_identity_is() {
        let ours = ControllerId::from_bytes([7; 16]);
        let theirs = ControllerId::from_bytes([8; 16]);
        let (acme, dashed) = (ours.tenant_uid("acme"), ours.tenant_uid("big-co"));
        let app = acme.app_name("acme");
        let bucket = dashed.bucket_name("big-co", "the-logs");
        let foreign = theirs.tenant_uid("acme");
        let uids = BTreeSet::from([acme, dashed, foreign, ours.tenant_uid("nobody")]);
        let names = [app.as_str(), &bucket, "named-app", "-", "", "acme", "nobody"];
        let found = explained(&ours, &uids, names);
        let expected = [(acme, "acme".to_owned()), (dashed, "big-co".to_owned())];
        assert_eq!(found, BTreeMap::from(expected), "never another controller's");
        assert_eq!(explained(&ours, &BTreeSet::new(), names), BTreeMap::new());
        let named = explained(&ours, &BTreeSet::from([ours.tenant_uid("named")]), names);
        assert_eq!(named.len(), 1, "any beginning of a name may be a tenant's");
    }
}
