//! What a stage must come to in storage: one key per tenant with buckets, which opens its buckets as
//! its manifest says and nothing else, and which its app holds; no key for anybody else.

use std::collections::{BTreeMap, BTreeSet};

use vault_api::storage::BucketAccess;
use vault_emulator::world::World;
use vault_emulator::world::query::Filter;
use vault_plan::bucket::policy_name;
use vault_plan::identity::{ControllerId, TenantUid};
use vault_plan::token::read_platform_name;

use super::Wishes;
use crate::platform::storage::ACCOUNT;
use crate::workload::ORGANIZATIONS;

/// What is wrong with the storage of a controller, given what people want. `names` are all tenants that
/// there ever were: keys and policies of those that are gone must be gone with them. `forgets` says that its
/// disk was lost, or is an older one: then only what is left of a tenant says that there was one.
#[must_use]
pub fn unlike_wishes(
    world: &World,
    id: &ControllerId,
    wishes: &Wishes,
    names: &BTreeSet<String>,
    forgets: bool,
) -> Option<String> {
    let cared_for = |name: &&String| !wishes.left_alone.contains(*name);
    let tenants: BTreeMap<_, _> =
        wishes.tenants.iter().filter(cared_for).map(|name| (id.tenant_uid(name), name)).collect();
    let left_alone: BTreeSet<_> =
        wishes.left_alone.iter().map(|name| id.tenant_uid(name)).collect();
    let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for key in world.access_keys(ACCOUNT, None, None) {
        if let Some((uid, _)) = key.name.as_deref().and_then(read_platform_name)
            && !left_alone.contains(&uid)
        {
            keys.entry(uid).or_default().push(key);
        }
    }
    for (uid, name) in &tenants {
        let wanted = wishes.buckets.get(*name).map_or(&[][..], Vec::as_slice);
        let found = keys.remove(uid).unwrap_or_default();
        let count = found.len();
        let [key] = found.as_slice() else {
            match (wanted.is_empty(), count) {
                (true, 0) => continue,
                _ => return Some(format!("tenant {name} has {count} access keys")),
            }
        };
        if wanted.is_empty() {
            return Some(format!("tenant {name} has an access key and wants no bucket"));
        }
        let own: BTreeMap<String, BucketAccess> = wanted
            .iter()
            .map(|(bucket, access)| (uid.bucket_name(name, bucket), *access))
            .collect();
        for bucket in own.keys() {
            if world.bucket(bucket).is_err() {
                return Some(format!("bucket {bucket} of tenant {name} is not there"));
            }
        }
        for bucket in world.buckets(ACCOUNT, None) {
            let may = |action| world.may(key, action, &bucket.name, Some("object"));
            let expected = own.get(&bucket.name);
            let reads = expected.is_some();
            let writes = expected == Some(&BucketAccess::ReadWrite);
            if (may("s3:GetObject"), may("s3:PutObject")) != (reads, writes) {
                return Some(format!(
                    "the key of tenant {name} opens bucket {} wrongly",
                    bucket.name
                ));
            }
        }
        let named = wishes.apps.get(*name).cloned();
        let (app, is_shared) = named.unwrap_or_else(|| (uid.app_name(name), false));
        let secret = |variable: &str| match is_shared {
            true => uid.secret_name(variable),
            false => variable.to_owned(),
        };
        for (variable, value) in
            [("AWS_ACCESS_KEY_ID", key.id.as_str()), ("AWS_SECRET_ACCESS_KEY", key.secret.expose())]
        {
            let held = world.secret(&app, &secret(variable));
            if !held.is_ok_and(|held| held.value.expose() == value) {
                return Some(format!("app {app} does not hold the {variable} of tenant {name}"));
            }
        }
    }
    left_over(world, id, wishes, names, forgets)
}

/// Whether a bucket is left whose name says that there was a tenant of this identity, and its app is
/// gone: nothing else says so where a disk was lost. The identity alone may be another controller's, and
/// who has an app may only not have been told of again. Apps without any machine prove nothing.
#[must_use]
pub fn is_known_to_be_gone(world: &World, uid: TenantUid, name: &str) -> bool {
    let app = uid.app_name(name);
    let shows_all = |organization: &&str| {
        let apps: Vec<&str> = world.apps(organization).map(|app| app.name.as_str()).collect();
        let has_machine = |name: &&str| world.machines(name, &Filter::default()).next().is_some();
        (apps.is_empty() || apps.iter().any(has_machine)) && !apps.contains(&app.as_str())
    };
    let mut buckets = world.buckets(ACCOUNT, None);
    buckets.any(|bucket| uid.owns_bucket(&bucket.name)) && ORGANIZATIONS.iter().all(shows_all)
}

/// A key, or a policy, of a tenant that is gone. `names` are all that there ever were.
fn left_over(
    world: &World,
    id: &ControllerId,
    wishes: &Wishes,
    names: &BTreeSet<String>,
    forgets: bool,
) -> Option<String> {
    let gone = names.iter().filter(|name| !wishes.tenants.contains(*name));
    for name in gone {
        let uid = id.tenant_uid(name);
        if forgets && !is_known_to_be_gone(world, uid, name) {
            continue;
        }
        let is_its = |key: &str| read_platform_name(key).is_some_and(|(of, _)| of == uid);
        let mut keys = world.access_keys(ACCOUNT, None, None);
        if keys.any(|key| key.name.as_deref().is_some_and(is_its)) {
            return Some(format!("tenant {name} is gone, and its access key is not"));
        }
        let arn = format!("arn:aws:iam::{ACCOUNT}:policy/{}", policy_name(uid));
        // One that no key carries opens nothing, and where a disk was lost no list that is read shows it.
        if !forgets && world.policy(ACCOUNT, &arn).is_ok() {
            return Some(format!("tenant {name} is gone, and its policy is not"));
        }
    }
    None
}
