use super::*;
use crate::action::Action;
use crate::desired::{DesiredSecret, DesiredTenant, StorageValue};
use crate::metadata;
use crate::observed::{ObservedMachine, PlatformState};
use crate::testing;
use crate::token::platform_name;

fn bucket(name: &str, access: BucketAccess) -> DesiredBucket {
    let uid = testing::tenant().uid;
    DesiredBucket {
        name: name.into(),
        bucket: uid.bucket_name("acme", name),
        access,
        deletion_policy: DeletionPolicy::Retain,
    }
}

fn tenant(buckets: Vec<DesiredBucket>) -> DesiredTenant {
    DesiredTenant { buckets, ..testing::tenant() }
}

fn state() -> Vec<DesiredBucket> {
    vec![bucket("state", BucketAccess::ReadWrite)]
}

fn listed(id: &str, n: u64) -> ListedKey {
    ListedKey { id: id.to_owned(), name: platform_name(testing::tenant().uid, n), n: Some(n) }
}

fn key(n: u64, id: Option<&str>) -> KnownKey {
    KnownKey { n, id: id.map(str::to_owned) }
}

/// Lists that were read; everything else is nothing.
fn seen() -> ObservedStorage {
    ObservedStorage { look: StorageLook::Done, ..ObservedStorage::default() }
}

fn with_keys(
    mut seen: ObservedStorage,
    keys: Vec<KnownKey>,
    shown: Vec<ListedKey>,
) -> ObservedStorage {
    let uid = testing::tenant().uid;
    let last_n = keys.iter().map(|key| key.n).max().unwrap_or(0);
    seen.known.insert(uid, KnownKeys { last_n, keys });
    seen.listed.insert(uid, shown);
    seen
}

/// All is there, for these buckets.
fn done(buckets: &[DesiredBucket]) -> ObservedStorage {
    let mut seen = with_keys(seen(), vec![key(1, Some("tid_1"))], vec![listed("tid_1", 1)]);
    seen.buckets = buckets.iter().map(|bucket| bucket.bucket.clone()).collect();
    let policy = KnownPolicy {
        key_id: "tid_1".to_owned(),
        document: policy_document(buckets),
        changed: false,
    };
    seen.policies.insert(testing::tenant().uid, policy);
    seen
}

/// What is done, in words, and the reasons of notes.
fn picture(tenant: &DesiredTenant, seen: &ObservedStorage, machines: &[ObservedMachine]) -> String {
    let decision = decide(tenant, seen, machines);
    let mut words: Vec<String> = decision
        .actions
        .iter()
        .map(|(action, _)| match action {
            Action::CreateBucket(bucket) => format!("+{}", bucket.name),
            Action::CreateAccessKey(key) => format!("key {}", key.n),
            Action::RevokeAccessKey(key) => format!("-{}", key.id),
            Action::PutBucketPolicy(policy) => format!("policy {}", policy.key_id),
            Action::RemoveBucketPolicy(_) => "-policy".to_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    words.extend(decision.notes.iter().map(|note| note.reason.word().to_owned()));
    words.extend(decision.is_ready.then(|| "ready".to_owned()));
    words.extend(decision.is_left.then(|| "left".to_owned()));
    words.join(", ")
}

#[test]
fn a_tenant_gets_buckets_a_key_and_a_policy_in_that_order() {
    let wanted = tenant(vec![
        bucket("state", BucketAccess::ReadWrite),
        bucket("logs", BucketAccess::ReadOnly),
    ]);
    assert_eq!(picture(&wanted, &seen(), &[]), "+state, +logs, key 1");
    let mut now = with_keys(seen(), vec![key(1, Some("tid_1"))], vec![listed("tid_1", 1)]);
    now.buckets = wanted.buckets.iter().map(|bucket| bucket.bucket.clone()).collect();
    assert_eq!(picture(&wanted, &now, &[]), "policy tid_1, ready");
    let now = done(&wanted.buckets);
    assert_eq!(picture(&wanted, &now, &[]), "ready");
    let report = decide(&wanted, &now, []).report;
    assert!(report.buckets.iter().all(|bucket| bucket.ready));
    assert_eq!(report.access_key, Some(1));
    assert_eq!(picture(&tenant(Vec::new()), &seen(), &[]), "ready", "nothing is wanted");
}

#[test]
fn a_bucket_more_or_less_changes_the_policy_before_anything_else() {
    let both = [bucket("state", BucketAccess::ReadWrite), bucket("logs", BucketAccess::ReadWrite)];
    assert_eq!(picture(&tenant(state()), &done(&both), &[]), "policy tid_1, ready");
    let wanted = tenant(both.to_vec());
    assert_eq!(picture(&wanted, &done(&state()), &[]), "+logs, policy tid_1, ready");
    let narrower = tenant(vec![bucket("state", BucketAccess::ReadOnly)]);
    assert_eq!(picture(&narrower, &done(&state()), &[]), "policy tid_1, ready");
    // The order of a manifest says nothing.
    let reversed = tenant(both.iter().rev().cloned().collect());
    assert_eq!(picture(&reversed, &done(&both), &[]), "ready");
}

#[test]
fn what_others_changed_is_put_right() {
    let wanted = tenant(state());
    let mut now = done(&state());
    now.buckets.clear();
    assert_eq!(picture(&wanted, &now, &[]), "+state, ready");
    let mut now = done(&state());
    now.policies.values_mut().for_each(|policy| policy.changed = true);
    assert_eq!(picture(&wanted, &now, &[]), "policy tid_1, ready");
    // The key was forgotten: it is gone by the platform's own word.
    let now = with_keys(done(&state()), Vec::new(), Vec::new());
    let mut gone = now.clone();
    gone.known.get_mut(&wanted.uid).unwrap().last_n = 1;
    assert_eq!(picture(&wanted, &gone, &[]), "key 2");
}

#[test]
fn a_key_whose_answer_was_lost_is_waited_for_or_revoked_and_never_made_again() {
    let wanted = tenant(state());
    let at = |keys, shown| {
        let mut now = with_keys(seen(), keys, shown);
        now.buckets.insert(wanted.buckets[0].bucket.clone());
        picture(&wanted, &now, &[])
    };
    assert_eq!(at(vec![key(1, None)], vec![]), "Unsettled");
    assert_eq!(at(vec![key(1, None)], vec![listed("tid_9", 1)]), "key 2, -tid_9");
    // The store forgot all: what is listed may be in use, and its number is used.
    assert_eq!(at(vec![], vec![listed("tid_9", 4)]), "key 5");
    // A second one of the live one's number, made by a doubled request.
    let doubled = vec![listed("tid_1", 1), listed("tid_9", 1)];
    assert_eq!(at(vec![key(1, Some("tid_1"))], doubled), "policy tid_1, ready");
}

#[test]
fn a_key_that_may_be_in_use_goes_when_all_machines_have_another() {
    let mut wanted = tenant(state());
    let secret = DesiredSecret {
        name: "AWS_ACCESS_KEY_ID".into(),
        variable: "AWS_ACCESS_KEY_ID".into(),
        hash: "new".to_owned(),
        from: None,
        storage: Some(StorageValue::KeyId("tid_2".to_owned())),
    };
    wanted.secrets = vec![secret];
    let mut now = done(&state());
    let shown = vec![listed("tid_1", 1), listed("tid_2", 2)];
    now = with_keys(now, vec![key(2, Some("tid_2"))], shown);
    now.policies.values_mut().for_each(|policy| policy.key_id = "tid_2".to_owned());
    let mut machine = testing::machine(PlatformState::Started, 0);
    assert_eq!(
        picture(&wanted, &now, std::slice::from_ref(&machine)),
        "ready",
        "it has the old one"
    );
    machine.metadata.insert(metadata::SECRET_HASH.to_owned(), "other,new".to_owned());
    assert_eq!(picture(&wanted, &now, std::slice::from_ref(&machine)), "-tid_1, ready");
    assert_eq!(picture(&wanted, &now, &[]), "-tid_1, ready");
}

#[test]
fn without_lists_what_was_opened_stays_and_nothing_is_made() {
    for (look, word) in [
        (StorageLook::Failed("no answer".to_owned()), "Unobserved"),
        (StorageLook::NoKey, "NoStorageKey"),
    ] {
        let blind = |seen: ObservedStorage| ObservedStorage { look: look.clone(), ..seen };
        let known = blind(ObservedStorage { buckets: BTreeSet::new(), ..done(&state()) });
        let stays = if look == StorageLook::NoKey { word } else { "ready" };
        assert_eq!(picture(&tenant(state()), &known, &[]), stays);
        assert_eq!(picture(&tenant(state()), &blind(seen()), &[]), word);
        let two =
            vec![bucket("state", BucketAccess::ReadWrite), bucket("x", BucketAccess::ReadOnly)];
        assert_eq!(picture(&tenant(two), &known, &[]), word);
        let going = DesiredTenant { deleting: true, ..tenant(state()) };
        assert_eq!(picture(&going, &known, &[]), format!("{word}, ready, left"));
        // A tenant that never had a key, of a controller without one, can go.
        let left = if look == StorageLook::NoKey { "ready" } else { "Unobserved, ready, left" };
        assert_eq!(picture(&going, &blind(seen()), &[]), left);
    }
    let mut unclear = done(&state());
    unclear.buckets.clear();
    unclear.unclear.insert(state()[0].bucket.clone(), "it is not listed".to_owned());
    assert_eq!(picture(&tenant(state()), &unclear, &[]), "Unobserved");
}

#[test]
fn who_wants_no_bucket_any_more_loses_the_policy_and_then_the_key() {
    let none = tenant(Vec::new());
    assert_eq!(picture(&none, &done(&state()), &[]), "-policy, -tid_1, ready");
    let going = DesiredTenant { deleting: true, ..tenant(state()) };
    assert_eq!(picture(&going, &done(&state()), &[]), "-policy, -tid_1, ready, left");
    let doubted = with_keys(seen(), vec![key(3, None)], Vec::new());
    assert_eq!(picture(&going, &doubted, &[]), "ready, left", "it may be made yet");
    let lost = with_keys(seen(), Vec::new(), vec![listed("tid_7", 7)]);
    assert_eq!(picture(&going, &lost, &[]), "-policy, -tid_7, ready, left");
    assert_eq!(picture(&going, &seen(), &[]), "ready");
}

#[test]
fn a_policy_opens_what_is_wanted_and_nothing_else() {
    let buckets = [bucket("state", BucketAccess::ReadWrite), bucket("in", BucketAccess::ReadOnly)];
    let document: serde_json::Value = serde_json::from_str(&policy_document(&buckets)).unwrap();
    let may = |action: &str, resource: &str| {
        document["Statement"].as_array().unwrap().iter().any(|statement| {
            let has = |member: &str, wanted: &str| {
                statement[member].as_array().unwrap().iter().any(|one| one == wanted)
            };
            statement["Effect"] == "Allow" && has("Action", action) && has("Resource", resource)
        })
    };
    let arn = |name: &str| format!("arn:aws:s3:::{name}");
    let (state, input) = (&buckets[0].bucket, &buckets[1].bucket);
    for (bucket, writes) in [(state, true), (input, false)] {
        assert!(may("s3:ListBucket", &arn(bucket)), "{document}");
        assert!(may("s3:GetObject", &format!("{}/*", arn(bucket))));
        for action in ["s3:PutObject", "s3:DeleteObject"] {
            assert_eq!(may(action, &format!("{}/*", arn(bucket))), writes);
        }
        assert!(names_bucket(&policy_document(&buckets), bucket));
        assert!(!names_bucket(&policy_document(&buckets), &bucket[..bucket.len() - 1]));
    }
    assert!(!document.to_string().contains("\"*\""), "{document}");
    // As many buckets as a manifest takes, with the longest names, fit into a policy.
    let most = (0..vault_api::storage::BUCKETS_MAX).map(|number| DesiredBucket {
        bucket: format!("{}{number:02}", "x".repeat(crate::identity::BUCKET_NAME_LENGTH_MAX - 2)),
        ..buckets[0].clone()
    });
    let most: Vec<DesiredBucket> = most.collect();
    assert!(policy_document(&most).len() <= 6_144, "{}", policy_document(&most).len());
}

#[test]
fn a_policy_is_called_after_its_tenant() {
    let uid = testing::tenant().uid;
    assert_eq!(policy_name(uid), format!("vault-{uid}"));
}
