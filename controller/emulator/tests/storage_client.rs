//! The controller's client of storage on the emulator: both sides sign, escape and read by
//! themselves, so that a mistake of one cannot hide in the other.

use std::sync::Arc;

use vault_cloud::counts::CallCounts;
use vault_cloud::error::CallError;
use vault_cloud::storage::{
    BucketCreation, BucketDeletion, BucketLook, Emptied, StorageAccess, StorageClient,
    StorageConfig,
};
use vault_emulator::clock::{Clock, SystemClock};

#[path = "support/platform.rs"]
mod platform;
#[path = "support/signer.rs"]
mod signer;

use self::platform::{Platform, platform};
use self::signer::Signer;

fn access(platform: &Platform, org: &str) -> StorageAccess {
    let access = platform.emulator.storage(org).expect("an admin key");
    StorageAccess {
        s3: access.endpoint.clone(),
        iam: access.endpoint.clone(),
        region: access.region.to_owned(),
        access_key_id: access.access_key_id.clone(),
        secret_access_key: access.secret_access_key.expose().to_owned().into(),
    }
}

fn client(platform: &Platform, org: &str) -> StorageClient {
    StorageClient::new(StorageConfig::new(access(platform, org))).expect("a client")
}

fn document(bucket: &str) -> String {
    format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "s3:*",
        "Resource": ["arn:aws:s3:::{bucket}", "arn:aws:s3:::{bucket}/*"]}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_made_looked_at_emptied_and_removed() {
    let (platform, _directory) = platform().await;
    let (ours, theirs) = (client(&platform, "local"), client(&platform, "other"));
    assert!(ours.buckets().await.unwrap().is_empty());
    assert_eq!(ours.bucket("acme-state").await.unwrap(), BucketLook::Absent);
    assert_eq!(ours.create_bucket("acme-state").await.unwrap(), BucketCreation::Created);
    assert_eq!(ours.create_bucket("acme-state").await.unwrap(), BucketCreation::AlreadyOurs);
    assert_eq!(theirs.create_bucket("acme-state").await.unwrap(), BucketCreation::SomebodyElses);
    assert_eq!(ours.bucket("acme-state").await.unwrap(), BucketLook::Ours);
    assert_eq!(theirs.bucket("acme-state").await.unwrap(), BucketLook::SomebodyElses);
    let listed = ours.buckets().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, "acme-state");
    assert!(listed[0].created_at.is_some());
    assert!(theirs.buckets().await.unwrap().is_empty());
    let error = theirs.delete_bucket("acme-state").await.unwrap_err();
    assert!(error.is_forbidden(), "{error}");

    let admin = Signer::new(platform.emulator.storage("local").unwrap());
    for path in ["/acme-state/a%20b%2Bc", "/acme-state/d/e%26%3Cf", "/acme-state/%C3%A4"] {
        let (status, body) = admin.s3(reqwest::Method::PUT, path, b"x").await;
        assert!(status.is_success(), "{path}: {body}");
    }
    assert_eq!(ours.delete_bucket("acme-state").await.unwrap(), BucketDeletion::NotEmpty);
    let emptied = Emptied { removed: 3, refused: 0, more: false };
    assert_eq!(ours.empty_bucket("acme-state").await.unwrap(), emptied);
    assert_eq!(ours.empty_bucket("acme-state").await.unwrap(), Emptied::default());
    assert_eq!(ours.delete_bucket("acme-state").await.unwrap(), BucketDeletion::Deleted);
    assert_eq!(ours.delete_bucket("acme-state").await.unwrap(), BucketDeletion::Absent);
    let error = ours.create_bucket("No_Bucket").await.unwrap_err();
    assert!(matches!(error, CallError::Rejected(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_listed_and_deleted_without_showing_a_secret_again() {
    let (platform, _directory) = platform().await;
    let client = client(&platform, "local");
    let first = client.create_access_key("vault/u-1/1").await.unwrap();
    let second = client.create_access_key("vault/u-1/1").await.unwrap();
    assert_ne!(first.id, second.id, "names are not unique");
    assert!(!format!("{first:?}").contains("tsec_"), "{first:?}");
    let named = |keys: Vec<vault_cloud::storage::ListedAccessKey>| {
        let named = keys.into_iter().filter(|key| key.name == "vault/u-1/1");
        let mut ids: Vec<String> = named.map(|key| key.id).collect();
        ids.sort_unstable();
        ids
    };
    let mut both = vec![first.id.clone(), second.id.clone()];
    both.sort_unstable();
    assert_eq!(named(client.access_keys().await.unwrap()), both);
    client.delete_access_key(&first.id).await.unwrap();
    client.delete_access_key(&first.id).await.unwrap();
    assert_eq!(named(client.access_keys().await.unwrap()), [second.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_do_what_its_policy_says_and_that_can_be_replaced() {
    let (platform, _directory) = platform().await;
    let admin = client(&platform, "local");
    for bucket in ["acme-state", "sibling-state"] {
        admin.create_bucket(bucket).await.unwrap();
    }
    let key = admin.create_access_key("vault/u/1").await.unwrap();
    let mut tenant = access(&platform, "local");
    tenant.access_key_id = key.id.clone();
    tenant.secret_access_key = key.secret;
    let tenant = StorageClient::new(StorageConfig::new(tenant)).unwrap();
    assert_eq!(admin.policy("vault-u").await.unwrap(), None);
    admin.delete_policy("vault-u").await.unwrap();
    assert_eq!(tenant.bucket("acme-state").await.unwrap(), BucketLook::SomebodyElses);

    let arn = admin.put_policy("vault-u", &document("acme-state")).await.unwrap();
    assert_eq!(arn, "arn:aws:iam::local:policy/vault-u");
    admin.attach_policy(&key.id, &arn).await.unwrap();
    admin.attach_policy(&key.id, &arn).await.unwrap();
    assert_eq!(admin.attached_policies(&key.id).await.unwrap(), [&*arn]);
    assert_eq!(tenant.bucket("acme-state").await.unwrap(), BucketLook::Ours);
    assert_eq!(tenant.bucket("sibling-state").await.unwrap(), BucketLook::SomebodyElses);
    let found = admin.policy("vault-u").await.unwrap().expect("a policy");
    assert_eq!((&found.arn, &found.document), (&arn, &document("acme-state")));
    assert!(tenant.access_keys().await.unwrap_err().is_forbidden());

    // The same again changes nothing, whatever its layout; another document takes its place.
    let compact = document("acme-state").replace(": ", ":");
    assert_eq!(admin.put_policy("vault-u", &compact).await.unwrap(), arn);
    assert_eq!(admin.policy("vault-u").await.unwrap().unwrap().document, document("acme-state"));
    assert_eq!(admin.put_policy("vault-u", &document("sibling-state")).await.unwrap(), arn);
    assert_eq!(admin.attached_policies(&key.id).await.unwrap(), [&*arn]);
    assert_eq!(tenant.bucket("acme-state").await.unwrap(), BucketLook::SomebodyElses);
    assert_eq!(tenant.bucket("sibling-state").await.unwrap(), BucketLook::Ours);

    admin.detach_policy(&key.id, &arn).await.unwrap();
    admin.detach_policy(&key.id, &arn).await.unwrap();
    assert_eq!(tenant.bucket("sibling-state").await.unwrap(), BucketLook::SomebodyElses);
    admin.attach_policy(&key.id, &arn).await.unwrap();
    admin.delete_policy("vault-u").await.unwrap();
    admin.delete_policy("vault-u").await.unwrap();
    assert_eq!(admin.policy("vault-u").await.unwrap(), None);
    assert!(admin.attached_policies(&key.id).await.unwrap().is_empty());
    // A client that has seen no policy yet finds them by the list.
    admin.put_policy("vault-u", &document("acme-state")).await.unwrap();
    let fresh = client(&platform, "local");
    assert_eq!(fresh.policy("vault-u").await.unwrap().unwrap().arn, arn);
    assert_eq!(fresh.policy("vault-other").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_or_clock_is_refused_and_looks_are_counted_apart() {
    let (platform, _directory) = platform().await;
    let counts = Arc::new(CallCounts::default());
    let mut config = StorageConfig::new(access(&platform, "local"));
    config.observer = Some(counts.clone());
    let client = StorageClient::new(config.clone()).unwrap();
    client.buckets().await.unwrap();
    client.access_keys().await.unwrap();
    client.create_bucket("bucket").await.unwrap();
    assert_eq!((counts.reads(), counts.secret_reads(), counts.writes()), (0, 2, 1));

    let mut wrong = config.clone();
    wrong.access.secret_access_key = "tsec_wrong".into();
    let wrong = StorageClient::new(wrong).unwrap();
    for error in [
        wrong.buckets().await.unwrap_err(),
        wrong.access_keys().await.unwrap_err(),
        wrong.create_bucket("other").await.unwrap_err(),
        wrong.put_policy("p", &document("bucket")).await.unwrap_err(),
    ] {
        assert!(error.is_forbidden(), "{error}");
        assert_eq!(error.answer().unwrap().code.as_deref(), Some("SignatureDoesNotMatch"));
    }
    config.clock = Arc::new(|| SystemClock.now() - jiff::SignedDuration::from_mins(16));
    let late = StorageClient::new(config).unwrap();
    let error = late.buckets().await.unwrap_err();
    assert_eq!(error.answer().unwrap().code.as_deref(), Some("RequestTimeTooSkewed"));
    assert_eq!(client.buckets().await.unwrap().len(), 1, "nothing was made meanwhile");
}
