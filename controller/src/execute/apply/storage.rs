//! Buckets, access keys and policies: one call each, and what cannot be undone only where the plan saw
//! a tombstone that has matured.

use vault_cloud::error::CallError;
use vault_plan::action::{BucketRef, CreateAccessKey, PutBucketPolicy, RemoveBucketPolicy};
use vault_plan::bucket::KnownPolicy;
use vault_plan::identity::TenantUid;
use vault_plan::observed::HoldKind;

use super::{Applied, Created, Failure, MadeCredential, settle};
use crate::platform::{BucketCreation, BucketDeletion, Platform};

/// What became of a tenant's policy.
pub(in crate::execute) enum MadePolicy {
    /// It says this now, and is attached.
    Put(TenantUid, KnownPolicy),
    /// It is no more.
    Removed(TenantUid),
}

/// A bucket's name is global: if it is taken, by somebody else.
pub(super) async fn create_bucket<P: Platform>(platform: &P, bucket: &BucketRef) -> Applied {
    match platform.create_bucket(&bucket.bucket).await {
        Ok(BucketCreation::SomebodyElses) => Applied::NotDone(Failure {
            hold: HoldKind::NameTaken,
            message: format!(
                "the name {} belongs to somebody else; choose another name for bucket {} in \
                 spec.storage.buckets",
                bucket.bucket, bucket.name
            ),
        }),
        created => settle(created.map(|_| None)),
    }
}

pub(super) async fn create_key<P: Platform>(platform: &P, key: &CreateAccessKey) -> Applied {
    let made = platform.create_access_key(&key.platform_name).await;
    settle(made.map(|made| {
        let (id, value) = (made.id, made.secret);
        Some(Created::Credential(MadeCredential { id, value, expires_at: None }))
    }))
}

pub(super) async fn revoke_key<P: Platform>(platform: &P, id: &str) -> Applied {
    gone(platform.delete_access_key(id).await, None)
}

pub(super) async fn put_policy<P: Platform>(platform: &P, put: PutBucketPolicy) -> Applied {
    let done = platform.put_policy(&put.name, &put.document, &put.key_id).await;
    let PutBucketPolicy { document, key_id, tenant_uid, .. } = put;
    let policy = KnownPolicy { key_id, document, changed: false };
    settle(done.map(|()| Some(Created::Policy(MadePolicy::Put(tenant_uid, policy)))))
}

pub(super) async fn remove_policy<P: Platform>(
    platform: &P,
    remove: &RemoveBucketPolicy,
) -> Applied {
    let removed = Created::Policy(MadePolicy::Removed(remove.tenant_uid));
    gone(platform.delete_policy(&remove.name).await, Some(removed))
}

/// One step: what is left is for the next pass, which looks first whether somebody wants it back.
pub(super) async fn empty_bucket<P: Platform>(platform: &P, bucket: &BucketRef) -> Applied {
    match platform.empty_bucket(&bucket.bucket).await {
        // What storage would not remove now, it will not remove at once either.
        Ok(emptied) if emptied.more && emptied.deleted == 0 => Applied::NotDone(Failure {
            hold: HoldKind::BackOff,
            message: format!("storage removes no object of bucket {}", bucket.bucket),
        }),
        Ok(emptied) if emptied.more => Applied::Partly(format!(
            "{} objects of bucket {} are deleted, and there are more",
            emptied.deleted, bucket.bucket
        )),
        emptied => gone(emptied.map(drop), None),
    }
}

pub(super) async fn delete_bucket<P: Platform>(platform: &P, bucket: &BucketRef) -> Applied {
    match platform.delete_bucket(&bucket.bucket).await {
        Ok(BucketDeletion::NotEmpty) => Applied::NotDone(Failure {
            hold: HoldKind::BackOff,
            message: format!("bucket {} holds objects again", bucket.bucket),
        }),
        deleted => gone(deleted.map(drop), None),
    }
}

/// What is gone already is as good as deleted.
fn gone(result: Result<(), CallError>, created: Option<Created>) -> Applied {
    match result {
        Err(error) if error.is_not_found() => Applied::Done(created),
        done => settle(done.map(|()| created)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakePlatform;

    #[tokio::test]
    async fn a_bucket_of_which_nothing_goes_waits_and_one_that_goes_in_steps_does_not() {
        let platform = FakePlatform::default();
        platform.world().storage.buckets.insert("state".to_owned(), 5);
        let bucket = BucketRef { name: "state".to_owned(), bucket: "state".to_owned() };
        let applied = empty_bucket(&platform, &bucket).await;
        assert!(matches!(applied, Applied::Partly(_)), "there are three left");
        platform.world().storage.keeps_objects = true;
        let Applied::NotDone(failure) = empty_bucket(&platform, &bucket).await else {
            panic!("it would be asked again at once, and for ever");
        };
        assert_eq!(failure.hold, HoldKind::BackOff);
        platform.world().storage.keeps_objects = false;
        assert!(matches!(empty_bucket(&platform, &bucket).await, Applied::Partly(_)));
        assert!(matches!(empty_bucket(&platform, &bucket).await, Applied::Done(_)));
    }
}
