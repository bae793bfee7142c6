//! What others do to machines, and what is done about it.

use vault_api::status::condition::DRIFT_DETECTED;
use vault_plan::observed::PlatformState;

use super::*;

fn with_policy(policy: &str) -> serde_json::Value {
    let mut manifest = tenant("acme", "nginx:1");
    manifest["spec"]["driftPolicy"] = json!(policy);
    manifest["spec"]["machines"][0]["config"]["env"] = json!({ "PLAN": "pro" });
    manifest
}

impl Stage {
    async fn converged_with(policy: &str) -> Self {
        let stage = Self::new();
        put(&stage.store, &with_policy(policy), Source::Api).await;
        stage.pass().await;
        let pass = stage.pass().await;
        assert!(pass.ready.contains("acme"), "{pass:?}");
        // The revision at which it was Ready is in its status now.
        stage.pass().await;
        stage
    }

    /// Somebody else writes the machine's config.
    fn edit(
        &self,
        version: &str,
        change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>),
    ) {
        let mut world = self.platform.world();
        world.machines[0].version = Some(version.to_owned());
        let id = world.machines[0].id.clone();
        change(world.configs.get_mut(&id).unwrap());
    }

    fn calls_of(&self, verb: &str) -> usize {
        let world = self.platform.world();
        world.calls.iter().filter(|call| call.split(' ').next() == Some(verb)).count()
    }

    fn told_of(&self, reason: &str) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let of = told.iter().filter(|event| event.reason == reason);
        of.map(|event| event.message.clone()).collect()
    }

    async fn drift(&self) -> Option<String> {
        let conditions = self.status("acme").await.conditions;
        conditions.into_iter().find(|one| one.r#type == DRIFT_DETECTED).map(|one| one.message)
    }
}

#[tokio::test]
async fn our_own_writes_are_never_read_back() {
    let stage = Stage::converged_with("Correct").await;
    for _ in 0..3 {
        let pass = stage.pass().await;
        assert_eq!((pass.actions, pass.edit_looks, pass.calls.reads), (0, 0, 3));
    }
    assert_eq!(stage.calls_of("whole_machine"), 0);
    let known = stage.store.machine_versions().await.unwrap();
    assert_eq!((known.len(), known[0].version.as_str()), (1, "01V"));
}

#[tokio::test]
async fn an_edit_that_changes_nothing_of_ours_is_read_once_and_remembered() {
    let stage = Stage::converged_with("Correct").await;
    stage.edit("02V", |config| drop(config.insert("restart".to_owned(), json!({"policy": "no"}))));
    let pass = stage.pass().await;
    assert_eq!((pass.actions, pass.edit_looks), (0, 1));
    assert_eq!(stage.pass().await.edit_looks, 0);
    let told = stage.told_of("EditedElsewhere");
    assert_eq!(told.len(), 1);
    assert!(told[0].ends_with("nothing of ours changed"), "{told:?}");
    assert_eq!(stage.drift().await, None);
}

#[tokio::test]
async fn an_edit_of_what_is_ours_is_corrected_once_and_only_names_are_told() {
    let stage = Stage::converged_with("Correct").await;
    stage.edit("02V", |config| config["env"]["PLAN"] = json!("hunter2"));
    let pass = stage.pass().await;
    assert_eq!((pass.actions, pass.edit_looks), (1, 1));
    let message = stage.drift().await.unwrap();
    assert!(message.contains("config.env.PLAN") && !message.contains("hunter2"), "{message}");
    assert_eq!(stage.platform.world().configs.values().next().unwrap()["env"]["PLAN"], "pro");
    let pass = stage.pass().await;
    assert_eq!((pass.actions, pass.edit_looks), (0, 0));
    assert!(pass.ready.contains("acme"));
    assert_eq!(stage.drift().await, None);
    let told = stage.told_of("EditedElsewhere");
    assert!(told.iter().all(|told| !told.contains("hunter2")), "{told:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_tried_again_later_and_nothing_is_concluded() {
    let stage = Stage::converged_with("Correct").await;
    stage.edit("02V", |config| config["env"]["PLAN"] = json!("free"));
    stage.platform.fail("whole_machine", rejected(503, "host"), false);
    assert_eq!(stage.pass().await.actions, 0);
    assert_eq!(stage.pass().await.edit_looks, 0, "left alone for a while");
    stage.clock.advance(crate::edits::LOOK_AGAIN_MS);
    assert_eq!(stage.pass().await.actions, 1);
}

#[tokio::test]
async fn an_update_that_is_undone_each_time_waits_longer_each_time() {
    let stage = Stage::converged_with("Correct").await;
    let mut waits = Vec::new();
    for round in 0..5 {
        stage.edit(&format!("1{round}V"), |config| config["env"]["PLAN"] = json!("free"));
        let mut passes = 0;
        while stage.calls_of("update_machine") == round {
            stage.pass().await;
            passes += 1;
            assert!(passes < 100, "it is never tried again");
        }
        waits.push(passes);
    }
    assert!(waits[4] > waits[2] && waits[2] >= waits[0], "{waits:?}");
}

#[tokio::test]
async fn a_reported_edit_stays_until_the_manifest_changes() {
    let stage = Stage::converged_with("Report").await;
    stage.edit("02V", |config| config["env"]["PLAN"] = json!("free"));
    for looks in [1, 0, 0] {
        let pass = stage.pass().await;
        assert_eq!((pass.actions, pass.edit_looks), (0, looks));
        assert!(!pass.ready.contains("acme"));
    }
    assert!(stage.drift().await.unwrap().contains("config.env.PLAN"));
    let objects = Objects::load(&stage.store).await.unwrap();
    let planned = stage.reconciler.preview(objects).await.unwrap();
    assert_eq!((planned.plan.actions.len(), planned.plan.withheld.len()), (0, 1));
    let mut object = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    object.spec["machines"][0]["config"]["image"] = json!("nginx:2");
    object.generation += 1;
    let version = object.resource_version;
    stage.store.put_object(object, Some(version)).await.unwrap();
    assert_eq!(stage.pass().await.actions, 1);
    let pass = stage.pass().await;
    assert!(pass.ready.contains("acme"), "{pass:?}");
    assert_eq!(stage.platform.world().configs.values().next().unwrap()["env"]["PLAN"], "pro");
}

#[tokio::test]
async fn what_others_change_is_reported_and_what_the_manifest_changes_is_done() {
    type Change = fn(&mut crate::testing::World);
    let table: [(&str, Change); 4] = [
        ("stopped", |world| world.machines[0].state = PlatformState::Stopped),
        ("gone", |world| {
            world.machines.clear();
            world.configs.clear();
            world.volumes[0].attached_machine = None;
        }),
        ("another image", |world| world.machines[0].image = Some("other:1".to_owned())),
        ("without its mark", |world| {
            world.machines[0].metadata.remove(vault_plan::metadata::TENANT);
        }),
    ];
    for (what, change) in table {
        for (policy, actions) in [("Report", false), ("Correct", true)] {
            let stage = Stage::converged_with(policy).await;
            change(&mut stage.platform.world());
            let pass = stage.pass().await;
            assert_eq!(pass.actions > 0, actions, "{what} {policy}: {pass:?}");
            assert_eq!(stage.drift().await.is_some(), !actions, "{what} {policy}");
            let writes = pass.calls.writes;
            assert_eq!(writes > 0, actions, "{what} {policy}");
        }
    }
}

#[tokio::test]
async fn a_tenant_that_never_reached_its_manifest_is_brought_there_whatever_the_policy() {
    let stage = Stage::new();
    put(&stage.store, &with_policy("Report"), Source::Api).await;
    stage.pass().await;
    stage.platform.world().machines[0].state = PlatformState::Stopped;
    assert_eq!(stage.pass().await.actions, 1);
}

#[tokio::test]
async fn a_reported_tenant_is_deleted_when_somebody_asks() {
    let stage = Stage::converged_with("Report").await;
    let mut object = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    object.deleted_at = Some(crate::testing::NOW);
    let version = object.resource_version;
    stage.store.put_object(object, Some(version)).await.unwrap();
    stage.pass().await;
    stage.pass().await;
    assert!(stage.platform.world().machines.is_empty());
}

#[tokio::test]
async fn a_secret_that_somebody_changed_is_left_where_drift_is_reported() {
    let stage = Stage::converged_with("Report").await;
    let app = stage.platform.world().apps[0].clone();
    stage.platform.world().set_secret(&app, TENANT_SECRET, "by hand");
    stage.clock.advance(LOOK_VALID_MS);
    let pass = stage.pass().await;
    assert_eq!((pass.actions, pass.calls.writes), (0, 0), "{pass:?}");
    assert!(stage.drift().await.unwrap().contains("somebody else changed it"));
}
