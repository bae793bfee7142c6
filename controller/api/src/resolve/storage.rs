//! The buckets of a tenant and its class in one.

use super::{Merged, Place, Resolution, merged};
use crate::storage::{
    BUCKET_VARIABLE, BucketAccess, BucketEntry, STORAGE_VARIABLES, StorageSpec, bucket_variable,
};
use crate::tenant::{DeletionPolicy, SecretEntry};

/// A bucket with nothing left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedBucket {
    /// Unique within the tenant.
    pub name: String,
    /// What the tenant's machines may do with it.
    pub access: BucketAccess,
    /// What happens to it when nobody asks for it any more.
    pub deletion_policy: DeletionPolicy,
}

impl Resolution<'_> {
    /// `secrets` are those of the merged whole.
    pub(super) fn resolve_buckets(
        &mut self,
        own: Option<&StorageSpec>,
        class: Option<&StorageSpec>,
        secrets: &[SecretEntry],
    ) -> Vec<ResolvedBucket> {
        let entries =
            |spec: Option<&StorageSpec>| spec.map(|spec| spec.buckets.clone()).unwrap_or_default();
        let (own, class) = (entries(own), entries(class));
        let buckets = merged(&own, &class, |bucket| &bucket.name);
        let resolved: Vec<ResolvedBucket> = buckets.iter().filter_map(resolve_bucket).collect();
        if let Some(first) = buckets.first() {
            let clash = secrets.iter().find(|secret| sets(&secret.name, &resolved));
            if let Some(secret) = clash {
                let message = format!(
                    "a tenant with buckets gets `{}` from `storage.buckets`: its secret of that \
                     name would be in the way",
                    secret.name
                );
                let place =
                    Place { list: "storage.buckets", own: first.own.map(|(index, _)| index) };
                let problem = self.blame(&place, place.own.is_some(), &["name"], message);
                self.problems.push(problem);
            }
        }
        resolved
    }
}

fn resolve_bucket(bucket: &Merged<'_, BucketEntry>) -> Option<ResolvedBucket> {
    let access = bucket.pick(|bucket| bucket.access.as_ref()).copied();
    let policy = bucket.pick(|bucket| bucket.deletion_policy.as_ref()).copied();
    Some(ResolvedBucket {
        name: bucket.entry()?.name.clone(),
        access: access.unwrap_or_default(),
        deletion_policy: policy.unwrap_or_default(),
    })
}

/// Whether buckets set this environment variable.
fn sets(variable: &str, buckets: &[ResolvedBucket]) -> bool {
    STORAGE_VARIABLES.contains(&variable)
        || buckets.len() == 1 && variable == BUCKET_VARIABLE
        || buckets.iter().any(|bucket| bucket_variable(&bucket.name) == variable)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::resolve;
    use super::ResolvedBucket;
    use crate::tenant::{TenantClassSpec, TenantSpec};

    fn buckets(
        own: &Value,
        class: &Value,
        secrets: &Value,
    ) -> Result<Vec<ResolvedBucket>, Vec<String>> {
        let own = json!({ "class": "c", "storage": { "buckets": own }, "secrets": secrets });
        let own: TenantSpec = serde_json::from_value(own).unwrap();
        let class: TenantClassSpec =
            serde_json::from_value(json!({ "storage": { "buckets": class } })).unwrap();
        let resolved = resolve("acme", &own, Some(("c", &class)));
        resolved.map(|resolved| resolved.buckets).map_err(|problems| {
            problems.iter().map(|one| format!("{}: {}", one.path, one.message)).collect()
        })
    }

    #[test]
    fn a_tenants_buckets_merge_into_its_classs_by_name() {
        let own = json!([{ "name": "own" }, { "name": "state", "access": "ReadOnly" }]);
        let class = json!([{ "name": "state", "deletionPolicy": "Delete" }]);
        let resolved = buckets(&own, &class, &json!([])).unwrap();
        let seen: Vec<_> = resolved
            .iter()
            .map(|one| (&*one.name, one.access.word(), one.deletion_policy.word()))
            .collect();
        assert_eq!(seen, [("state", "ReadOnly", "Delete"), ("own", "ReadWrite", "Retain")]);
    }

    #[test]
    fn a_secret_that_buckets_would_set_is_refused() {
        let secret = |name: &str| json!([{ "name": name, "from": { "env": "VAULTCTL_SECRET_A" } }]);
        let (one, two) = (json!([{ "name": "a-b" }]), json!([{ "name": "a-b" }, { "name": "c" }]));
        for (own, name, refused) in [
            (&one, "AWS_REGION", true),
            (&one, "BUCKET_NAME", true),
            (&two, "BUCKET_NAME", false),
            (&two, "BUCKET_NAME_A_B", true),
            (&one, "DATABASE_URL", false),
            (&json!([]), "AWS_REGION", false),
        ] {
            let found = buckets(own, &json!([]), &secret(name));
            assert_eq!(found.is_err(), refused, "{name}");
            if let Err(problems) = found {
                assert!(problems[0].starts_with("spec.storage.buckets[0].name: "), "{problems:?}");
                assert!(problems[0].contains(name), "{problems:?}");
            }
        }
    }
}
