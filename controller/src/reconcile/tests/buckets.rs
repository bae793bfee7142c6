//! Buckets through whole passes: made, narrowed and deleted, and one key to them, whatever is lost.

use secrecy::ExposeSecret;
use vault_api::storage::{BUCKET_VARIABLE, STORAGE_VARIABLES};
use vault_plan::bucket::{names_bucket, policy_name};
use vault_plan::tombstone::TombstoneKind;

use super::*;
use crate::identity::SealedFor;
use crate::slices::LOOK_VALID_MS as POLICY_VALID_MS;
use crate::storage::{KEY_NAME, MISSING_MAX};
use crate::store::{CredentialKind, CredentialStore, Undelete};
use crate::testing::not_sent;

fn with_buckets(buckets: serde_json::Value) -> serde_json::Value {
    let mut wanted = tenant("acme", "nginx:1");
    wanted["spec"]["storage"] = json!({ "buckets": buckets });
    wanted
}

fn state() -> serde_json::Value {
    json!([{ "name": "state" }])
}

fn name(bucket: &str) -> String {
    controller().tenant_uid("acme").bucket_name("acme", bucket)
}

fn policy() -> String {
    policy_name(controller().tenant_uid("acme"))
}

impl Stage {
    async fn with_buckets(buckets: serde_json::Value) -> Self {
        let stage = Self::new();
        put(&stage.store, &with_buckets(buckets), Source::Api).await;
        stage
    }

    /// The manifest is another now.
    async fn edited(&self, buckets: serde_json::Value) {
        let object = self.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
        let version = object.resource_version;
        let spec = with_buckets(buckets)["spec"].as_object().cloned().unwrap();
        let object = StoredObject { spec, generation: object.generation + 1, ..object };
        self.store.put_object(object, Some(version)).await.unwrap();
    }

    /// One key opens what the policy says, the app holds it, and the store can open it.
    async fn assert_one_key(&self, why: &str) {
        let (id, secrets) = {
            let world = self.platform.world();
            let keys: Vec<_> = world.storage.keys.keys().cloned().collect();
            assert_eq!(keys.len(), 1, "{why}: {keys:?}");
            let attached = world.storage.attached.iter().cloned().collect::<Vec<_>>();
            assert_eq!(attached, [(keys[0].clone(), policy())], "{why}");
            (keys[0].clone(), world.secrets.clone())
        };
        let value = |variable: &str| {
            let of = secrets.iter().find(|((_, name), _)| name == variable);
            of.map(|(_, (value, _))| value.clone())
        };
        assert_eq!(value("AWS_ACCESS_KEY_ID"), Some(id.clone()), "{why}");
        assert_eq!(value("AWS_SECRET_ACCESS_KEY"), Some(format!("tsec_{id}")), "{why}");
        assert_eq!(value(BUCKET_VARIABLE), Some(name("state")), "{why}");
        assert_eq!(value("BUCKET_NAME_STATE"), Some(name("state")), "{why}");
        let kind = CredentialKind::AccessKey;
        let stored = self.store.credentials(kind).await.unwrap();
        let [row] = stored.rows.as_slice() else { panic!("{why}: {:?}", stored.rows) };
        let key = row.of.key;
        let sealed = self.store.sealed_credential(key).await.unwrap().unwrap();
        let of = SealedFor { tenant: key.tenant_uid, kind: kind.word(), name: KEY_NAME, n: key.n };
        let opened = tenant_secrets().sealer().open(of, &sealed).unwrap();
        assert_eq!(opened.expose_secret(), format!("tsec_{id}"), "{why}");
        assert_eq!(self.store.open_intents().await.unwrap(), [], "{why}");
        assert!(self.after(1_000).await.ready.contains("acme"), "{why}");
    }

    fn storage_calls(&self, verb: &str) -> usize {
        let world = self.platform.world();
        world.calls.iter().filter(|call| call.split(' ').next() == Some(verb)).count()
    }
}

#[tokio::test]
async fn a_tenant_is_ready_with_its_bucket_and_a_quiet_pass_costs_two_lists() {
    let stage = Stage::with_buckets(state()).await;
    stage.after(0).await;
    {
        let world = stage.platform.world();
        assert!(world.machines.is_empty(), "a machine would start without its bucket");
        assert_eq!(world.storage.keys.len(), 1);
    }
    stage.after(500).await;
    let pass = stage.after(500).await;
    assert!(pass.ready.contains("acme"), "{pass:?}");
    stage.assert_one_key("at first").await;
    {
        let world = stage.platform.world();
        let known: Vec<&str> = world.secrets.keys().map(|(_, name)| name.as_str()).collect();
        for variable in STORAGE_VARIABLES {
            assert!(known.contains(&variable), "{known:?}");
        }
        let order = |call: &str| world.calls.iter().position(|one| one.starts_with(call)).unwrap();
        assert!(order("create_bucket") < order("create_access_key"));
        assert!(order("put_policy") < order("set_secret AWS_"));
        assert!(order("set_secret BUCKET_NAME") < order("create_machine"));
    }
    let status = stage.status("acme").await;
    assert_eq!((status.buckets[0].bucket.clone(), status.access_key), (name("state"), Some(1)));
    assert!(status.buckets[0].ready);
    stage.after(20_000).await;
    let calls = stage.after(1_000).await.calls;
    assert_eq!(calls, Calls { reads: 3, secret_reads: 2, writes: 0 });
    let told = stage.told.lock().unwrap();
    assert!(told.iter().all(|event| !event.message.contains("tsec_")), "{told:?}");
    let shown = serde_json::to_string(&status).unwrap();
    assert!(!shown.contains("tsec_"), "{shown}");
}

#[tokio::test]
async fn a_policy_whose_deletion_got_no_answer_is_put_again_if_its_buckets_are_wanted_again() {
    let stage = Stage::with_buckets(state()).await;
    stage.settle_down().await;
    stage.assert_one_key("at first").await;
    stage.edited(json!([])).await;
    stage.platform.fail("delete_policy", unknown(), true);
    while stage.storage_calls("delete_policy") == 0 {
        assert!(stage.platform.world().calls.len() < 1_000, "its policy goes");
        stage.after(500).await;
    }
    stage.edited(state()).await;
    for _ in 0..3 {
        stage.settle_down().await;
    }
    stage.assert_one_key("wanted again").await;
}

#[tokio::test]
async fn who_wants_no_bucket_costs_two_lists_when_a_process_begins_and_no_call_after_that() {
    let stage = Stage::converged().await;
    let lists = || stage.storage_calls("buckets") + stage.storage_calls("access_keys");
    assert_eq!(lists(), 2, "whatever a lost database forgot would show");
    stage.pass().await;
    assert_eq!(lists(), 2);
    stage.after(60_000).await;
    assert_eq!(lists(), 4, "once more, when no earlier process's call can act any more");
    for _ in 0..10 {
        stage.after(600_000).await;
    }
    assert_eq!(lists(), 4);
    stage.after(86_400_000).await;
    assert_eq!(lists(), 6, "and once a day");
}

#[tokio::test]
async fn a_lost_database_leaves_no_key_of_a_tenant_that_is_gone_or_wants_none_any_more() {
    for comes_again in [false, true] {
        let before = Stage::with_buckets(state()).await;
        for _ in 0..4 {
            before.after(1_000).await;
        }
        before.assert_one_key("before").await;
        // The disk is lost; whether people want it without buckets, or not at all, its machine is gone,
        // and of one that ended the app is as well.
        before.platform.world().machines.clear();
        let stage = Stage::on(Arc::clone(&before.platform), before.clock.clone());
        if comes_again {
            put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
        } else {
            stage.platform.world().apps.clear();
        }
        for _ in 0..4 {
            stage.after(11_000).await;
        }
        let world = stage.platform.world();
        assert!(world.storage.keys.is_empty(), "{comes_again}: {:?}", world.storage.keys);
        assert!(world.storage.attached.is_empty(), "{comes_again}");
    }
}

#[tokio::test]
async fn the_key_that_a_machine_may_use_outlives_a_lost_database() {
    for is_shown in [true, false] {
        let before = Stage::with_buckets(state()).await;
        for _ in 0..4 {
            before.after(1_000).await;
        }
        if !is_shown {
            before.platform.world().machines.clear();
        }
        let stage = Stage::on(Arc::clone(&before.platform), before.clock.clone());
        for _ in 0..10 {
            stage.after(60_000).await;
        }
        let keys = stage.platform.world().storage.keys.len();
        assert_eq!(keys, 1, "its manifest may come again; the machine is listed: {is_shown}");
    }
}

#[tokio::test]
async fn whatever_becomes_of_a_call_one_key_is_left() {
    for verb in ["create_bucket", "create_access_key", "put_policy"] {
        for acts in [false, true] {
            let stage = Stage::with_buckets(state()).await;
            stage.platform.fail(verb, unknown(), acts);
            stage.settle_down().await;
            stage.assert_one_key(&format!("{verb}, no answer, acts: {acts}")).await;
            let stage = Stage::with_buckets(state()).await;
            stage.after(0).await;
            let stage = match verb {
                "put_policy" => stage.killed(verb, acts).await,
                _ => Stage::with_buckets(state()).await.killed(verb, acts).await,
            };
            stage.settle_down().await;
            stage.assert_one_key(&format!("{verb}, killed, acts: {acts}")).await;
        }
        for error in [rejected(503, "no"), rejected(422, "no"), not_sent()] {
            let stage = Stage::with_buckets(state()).await;
            stage.platform.fail(verb, error, false);
            stage.settle_down().await;
            stage.edited(state()).await;
            stage.settle_down().await;
            stage.assert_one_key(&format!("{verb} refused")).await;
        }
    }
}

#[tokio::test]
async fn a_lost_database_means_another_key_and_the_old_one_goes_last() {
    let stage = Stage::with_buckets(state()).await;
    stage.settle_down().await;
    let stage = Stage::on(Arc::clone(&stage.platform), stage.clock.clone());
    put(&stage.store, &with_buckets(state()), Source::Api).await;
    stage.settle_down().await;
    stage.assert_one_key("the database is new").await;
    let world = stage.platform.world();
    assert!(world.storage.keys.contains_key("tid_2"), "{:?}", world.storage.keys);
    let order = |call: &str| world.calls.iter().position(|one| one.starts_with(call)).unwrap();
    assert!(order("update_machine") < order("delete_access_key tid_1"), "{:?}", world.calls);
    assert!(world.storage.keys.values().all(|name| name.ends_with("/2")), "its number is used up");
}

#[tokio::test]
async fn what_others_take_away_is_put_back() {
    let stage = Stage::with_buckets(state()).await;
    stage.settle_down().await;
    stage.platform.world().storage.buckets.clear();
    stage.settle_down().await;
    assert!(stage.platform.world().storage.buckets.contains_key(&name("state")));
    {
        let mut world = stage.platform.world();
        world.storage.keys.clear();
        world.storage.attached.clear();
    }
    stage.settle_down().await;
    stage.assert_one_key("somebody deleted the key").await;
    for damage in [true, false] {
        {
            let mut world = stage.platform.world();
            match damage {
                true => drop(world.storage.policies.insert(policy(), "{}".to_owned())),
                false => world.storage.attached.clear(),
            }
        }
        stage.after(POLICY_VALID_MS).await;
        stage.settle_down().await;
        stage.assert_one_key("somebody changed the policy").await;
        let document = stage.platform.world().storage.policies[&policy()].clone();
        assert!(names_bucket(&document, &name("state")), "{document}");
    }
}

#[tokio::test]
async fn lists_that_show_nothing_or_fail_change_nothing() {
    let stage = Stage::with_buckets(state()).await;
    stage.settle_down().await;
    let writes = |stage: &Stage| stage.platform.calls().writes;
    let before = writes(&stage);
    stage.platform.world().storage.hides = true;
    for _ in 0..30 {
        assert!(stage.after(10_000).await.ready.contains("acme"));
    }
    stage.platform.world().storage.hides = false;
    for verb in ["buckets", "access_keys"] {
        stage.platform.fail(verb, unknown(), false);
        assert!(stage.after(10_000).await.ready.contains("acme"), "it has all that it needs");
    }
    assert_eq!(writes(&stage), before);
    // Who has nothing yet waits, and others do not.
    let stage = Stage::with_buckets(state()).await;
    put(&stage.store, &tenant("bob", "nginx:1"), Source::Api).await;
    for _ in 0..3 {
        stage.platform.fail("buckets", unknown(), false);
        let pass = stage.after(1_000).await;
        assert!(!pass.ready.contains("acme"));
    }
    assert!(stage.platform.world().machines.iter().all(|machine| machine.name == "bob-box-0"));
    let pass = stage.after(1_000).await;
    assert!(pass.ready.contains("bob"), "{pass:?}");
}

#[tokio::test]
async fn a_controller_without_a_key_says_which_variables_to_set() {
    let stage = Stage::with_buckets(state()).await;
    put(&stage.store, &tenant("bob", "nginx:1"), Source::Api).await;
    stage.platform.world().storage.is_absent = true;
    stage.after(0).await;
    let pass = stage.after(1_000).await;
    assert!(pass.ready.contains("bob") && !pass.ready.contains("acme"), "{pass:?}");
    let status = stage.status("acme").await;
    let ready = status.conditions.iter().find(|one| one.r#type == "Ready").unwrap();
    assert_eq!(ready.reason, "NoStorageKey");
    for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3"] {
        assert!(ready.message.contains(variable), "{}", ready.message);
    }
    assert_eq!(stage.storage_calls("buckets"), 0);
    let app = controller().tenant_uid("acme").app_name("acme");
    assert!(stage.platform.world().apps.contains(&app), "its app is made all the same");
    stage.platform.world().storage.is_absent = false;
    stage.settle_down().await;
    stage.assert_one_key("there is a key now").await;
}

#[tokio::test]
async fn a_name_that_is_somebody_elses_is_a_condition_of_that_tenant() {
    let stage = Stage::with_buckets(state()).await;
    put(&stage.store, &tenant("bob", "nginx:1"), Source::Api).await;
    stage.platform.world().storage.others.insert(name("state"));
    stage.after(0).await;
    // Before the name is tried again.
    let pass = stage.after(500).await;
    assert!(pass.ready.contains("bob") && !pass.ready.contains("acme"), "{pass:?}");
    let status = stage.status("acme").await;
    let taken = status.conditions.iter().find(|one| one.r#type == "NameTaken").unwrap();
    assert_eq!(taken.status, ConditionStatus::True);
    assert!(taken.message.contains(&name("state")), "{}", taken.message);
    assert_eq!(stage.platform.world().storage.keys.len(), 0);
}

#[tokio::test]
async fn a_bucket_that_is_not_named_any_more_is_closed_first_and_kept() {
    let stage = Stage::with_buckets(json!([{ "name": "state" }, { "name": "logs" }])).await;
    stage.settle_down().await;
    stage.edited(state()).await;
    stage.platform.world().calls.clear();
    stage.settle_down().await;
    stage.assert_one_key("one bucket less").await;
    {
        let world = stage.platform.world();
        assert!(world.storage.buckets.contains_key(&name("logs")), "its policy is Retain");
        let document = &world.storage.policies[&policy()];
        assert!(!names_bucket(document, &name("logs")), "{document}");
        let order = |call: &str| world.calls.iter().position(|one| one.starts_with(call)).unwrap();
        assert!(order("put_policy") < order("delete_secret BUCKET_NAME_LOGS"));
        assert!(order("delete_secret BUCKET_NAME_LOGS") < order("update_machine"));
    }
    stage.edited(json!([])).await;
    stage.settle_down().await;
    let world = stage.platform.world();
    assert!(world.storage.keys.is_empty() && world.storage.policies.is_empty());
    assert_eq!(world.storage.buckets.len(), 2, "both are kept");
    let left = world.secrets.keys().filter(|(_, name)| name.contains("AWS")).count();
    assert_eq!(left, 0, "{:?}", world.secrets.keys());
}

#[tokio::test]
async fn a_deleted_tenants_bucket_goes_by_its_policy_once_its_tombstone_has_matured() {
    let buckets = json!([{ "name": "state", "deletionPolicy": "Delete" }, { "name": "logs" }]);
    let stage = Stage::with_buckets(buckets).await;
    stage.settle_down().await;
    stage.platform.world().storage.buckets.insert(name("state"), 5);
    stage.delete_tenant().await;
    stage.until_gone().await;
    {
        let world = stage.platform.world();
        assert!(world.storage.keys.is_empty() && world.storage.policies.is_empty());
        assert_eq!(world.storage.buckets.len(), 2, "the grace is not over");
    }
    stage.hours(22).await;
    assert_eq!(stage.platform.world().storage.buckets[&name("state")], 5, "not an object is gone");
    stage.hours(6).await;
    let left: Vec<String> = stage.platform.world().storage.buckets.keys().cloned().collect();
    assert_eq!(left, [name("logs")]);
    assert_eq!(stage.storage_calls("empty_bucket"), 3, "two objects with each call");
    let ended = stage.store.tombstones().await.unwrap();
    let ended = ended.iter().find(|known| known.kind == TombstoneKind::Bucket).unwrap();
    assert_eq!(ended.outcome.as_deref(), Some("it was deleted"));
}

#[tokio::test]
async fn an_undeleted_tenant_has_its_bucket_with_all_that_is_in_it() {
    let stage = Stage::with_buckets(json!([{ "name": "state", "deletionPolicy": "Delete" }])).await;
    stage.settle_down().await;
    stage.platform.world().storage.buckets.insert(name("state"), 5);
    stage.delete_tenant().await;
    stage.until_gone().await;
    stage.hours(20).await;
    assert!(matches!(stage.undelete().await, Undelete::Done(..)));
    stage.hours(30).await;
    assert_eq!(stage.platform.world().storage.buckets[&name("state")], 5);
    stage.assert_one_key("it is back").await;
    let tombstones = stage.store.tombstones().await.unwrap();
    assert!(tombstones.iter().all(|known| known.kind != TombstoneKind::Bucket), "{tombstones:?}");
}

#[tokio::test]
async fn an_unnamed_bucket_whose_policy_is_delete_goes_while_its_tenant_stays() {
    let going = json!([{ "name": "state" }, { "name": "old", "deletionPolicy": "Delete" }]);
    let stage = Stage::with_buckets(going.clone()).await;
    stage.settle_down().await;
    stage.edited(state()).await;
    stage.hours(20).await;
    // Named again, it is taken back.
    stage.edited(going).await;
    stage.hours(30).await;
    assert!(stage.platform.world().storage.buckets.contains_key(&name("old")));
    stage.edited(state()).await;
    stage.hours(30).await;
    let left: Vec<String> = stage.platform.world().storage.buckets.keys().cloned().collect();
    assert_eq!(left, [name("state")]);
    stage.assert_one_key("the other one is not touched").await;
}

#[tokio::test]
async fn of_many_buckets_that_are_not_listed_each_is_asked_for_before_long() {
    let names: Vec<String> = (0..=MISSING_MAX).map(|number| format!("b{number}")).collect();
    let buckets = names.iter().map(|name| json!({ "name": name })).collect();
    let stage = Stage::with_buckets(serde_json::Value::Array(buckets)).await;
    stage.settle_down().await;
    stage.platform.world().calls.clear();
    stage.platform.world().storage.hides = true;
    for _ in 0..20 {
        let asked = stage.storage_calls("bucket");
        stage.after(10_000).await;
        assert_eq!(stage.storage_calls("bucket") - asked, MISSING_MAX);
    }
    for bucket in names {
        let call = format!("bucket {}", name(&bucket));
        assert!(stage.platform.world().calls.contains(&call), "{call}");
    }
}
