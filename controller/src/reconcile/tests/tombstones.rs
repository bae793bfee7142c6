//! Deletion over whole passes: what goes, what stays, and what can be taken back when.

use vault_api::operator::Role;
use vault_plan::tombstone::{TombstoneKind, TombstoneState};

use super::*;
use crate::accept::finalizers;
use crate::audit::AuditRecord;
use crate::platform::AppOwner;
use crate::store::Undelete;

const HOUR_MS: i64 = 3_600_000;

/// A tenant whose volume goes with it.
fn doomed(policy: &str) -> serde_json::Value {
    let mut tenant = tenant("acme", "nginx:1");
    tenant["spec"]["volumes"][0]["deletionPolicy"] = json!(policy);
    tenant
}

impl Stage {
    async fn with_tenant(policy: &str) -> Self {
        let stage = Self::new();
        put(&stage.store, &doomed(policy), Source::Api).await;
        stage.pass().await;
        assert!(stage.pass().await.ready.contains("acme"));
        stage
    }

    pub(super) async fn delete_tenant(&self) {
        let object = self.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
        let version = object.resource_version;
        let deleted = finalizers::deleted(&object, self.clock.now());
        self.store.put_object(deleted, Some(version)).await.unwrap();
    }

    /// Runs passes until the tenant's object is gone.
    pub(super) async fn until_gone(&self) {
        for _ in 0..20 {
            self.pass().await;
            self.platform.world().finish_snapshots();
            if self.store.object(Kind::Tenant, "acme").await.unwrap().is_none() {
                return;
            }
        }
        panic!("it is still there: {:?}", self.status("acme").await);
    }

    /// Lets hours pass, with a pass in each.
    pub(super) async fn hours(&self, hours: i64) {
        for _ in 0..hours {
            self.clock.advance(HOUR_MS);
            self.pass().await;
        }
    }

    pub(super) async fn undelete(&self) -> Undelete {
        let record = AuditRecord {
            at: self.clock.now(),
            who: "test".to_owned(),
            role: Role::Admin,
            source: String::new(),
            verb: "create".to_owned(),
            kind: "Tenant".to_owned(),
            name: "acme".to_owned(),
            subresource: "undelete".to_owned(),
            dry_run: false,
            code: 200,
            message: String::new(),
        };
        self.store.undelete("acme", false, record).await.unwrap()
    }

    fn volumes(&self) -> usize {
        self.platform.world().volumes.len()
    }

    fn reasons(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().map(|event| event.reason.clone()).collect()
    }
}

#[tokio::test]
async fn a_deleted_tenants_volume_goes_after_its_grace_and_its_app_after_that() {
    let stage = Stage::with_tenant("Delete").await;
    stage.delete_tenant().await;
    stage.until_gone().await;
    assert!(stage.platform.world().machines.is_empty());
    stage.hours(23).await;
    assert_eq!(stage.volumes(), 1, "the grace is a day");
    stage.hours(3).await;
    assert_eq!(stage.volumes(), 0);
    assert_eq!(stage.platform.world().apps.len(), 1, "the app has a grace of its own");
    stage.hours(30).await;
    assert!(stage.platform.world().apps.is_empty());
    let tombstones = stage.store.tombstones().await.unwrap();
    assert_eq!(tombstones.len(), 2);
    assert!(tombstones.iter().all(|known| known.state == TombstoneState::Ended), "{tombstones:#?}");
    let reasons = stage.reasons();
    for reason in ["StoppingMachines", "Tombstoned", "Deleted", "DeleteVolume", "DeleteApp"] {
        assert!(reasons.iter().any(|told| told == reason), "{reason} in {reasons:?}");
    }
    let Undelete::TooLate(lost) = stage.undelete().await else { panic!("it is too late") };
    assert_eq!(lost.len(), 2);
    let writes = stage.pass().await.calls.writes;
    assert_eq!(writes, 0);
}

#[tokio::test]
async fn a_retained_volume_stays_for_good_and_so_does_its_app() {
    let stage = Stage::with_tenant("Retain").await;
    stage.delete_tenant().await;
    stage.until_gone().await;
    stage.hours(24 * 8).await;
    assert_eq!((stage.volumes(), stage.platform.world().apps.len()), (1, 1));
    assert!(matches!(stage.undelete().await, Undelete::Done(..)), "nothing is lost");
    for _ in 0..4 {
        stage.pass().await;
    }
    assert!(stage.status("acme").await.volumes[0].id.is_some());
    assert_eq!(stage.volumes(), 1);
}

#[tokio::test]
async fn a_snapshot_is_made_of_a_machine_at_rest_and_named_by_the_tombstone() {
    let stage = Stage::with_tenant("Snapshot").await;
    stage.delete_tenant().await;
    let mut stages = Vec::new();
    for _ in 0..20 {
        stage.pass().await;
        let Some(object) = stage.store.object(Kind::Tenant, "acme").await.unwrap() else { break };
        let status: TenantStatus = serde_json::from_value(object.status.unwrap()).unwrap();
        let at = status.deletion.unwrap().stage.word();
        if stages.last() != Some(&at) {
            stages.push(at);
        }
        if at == "Snapshotting" && stage.platform.world().snapshots.values().flatten().count() > 0 {
            assert!(!stage.platform.world().machines.is_empty(), "it waits for the snapshot");
            stage.platform.world().finish_snapshots();
        }
    }
    assert_eq!(stages, ["StoppingMachines", "Snapshotting", "RemovingMachines", "Tombstoned"]);
    let tombstones = stage.store.tombstones().await.unwrap();
    let volume = tombstones.iter().find(|known| known.kind == TombstoneKind::Volume).unwrap();
    assert_eq!(volume.snapshot.as_deref(), Some("vs_0"));
    assert_eq!(stage.platform.world().snapshots.values().flatten().count(), 1);
    stage.hours(27).await;
    assert_eq!(stage.volumes(), 0);
}

#[tokio::test]
async fn undelete_within_the_grace_brings_back_volume_and_app() {
    let stage = Stage::with_tenant("Delete").await;
    let before = stage.status("acme").await.volumes[0].id.clone();
    stage.delete_tenant().await;
    assert_eq!(stage.undelete().await, Undelete::Exists, "it is still being deleted");
    stage.until_gone().await;
    stage.hours(20).await;
    assert!(matches!(stage.undelete().await, Undelete::Done(..)));
    assert_eq!(stage.undelete().await, Undelete::Exists);
    assert!(stage.store.tombstones().await.unwrap().is_empty());
    for _ in 0..4 {
        stage.pass().await;
    }
    assert_eq!(stage.status("acme").await.volumes[0].id, before);
    stage.hours(60).await;
    assert_eq!(stage.volumes(), 1);
    let object = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    assert_eq!((object.generation, object.deleted_at), (1, None));
}

#[tokio::test]
async fn a_tenant_that_is_applied_again_takes_back_what_it_had() {
    let stage = Stage::with_tenant("Delete").await;
    let before = stage.status("acme").await.volumes[0].id.clone();
    stage.delete_tenant().await;
    stage.until_gone().await;
    stage.hours(20).await;
    put(&stage.store, &doomed("Delete"), Source::Api).await;
    for _ in 0..4 {
        stage.pass().await;
    }
    assert_eq!(stage.status("acme").await.volumes[0].id, before);
    assert!(stage.store.tombstones().await.unwrap().is_empty());
    assert_eq!(stage.reasons().iter().filter(|reason| *reason == "TakenBack").count(), 2);
    assert_eq!(stage.undelete().await, Undelete::Exists);
}

#[tokio::test]
async fn scaling_down_buries_the_volume_and_scaling_up_takes_it_back() {
    let stage = Stage::new();
    let mut two = doomed("Delete");
    two["spec"]["machines"][0]["count"] = json!(2);
    let object = put(&stage.store, &two, Source::Api).await;
    stage.pass().await;
    assert!(stage.pass().await.ready.contains("acme"));
    let scale = async |count: u32, generation: i64| {
        let object = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
        let version = object.resource_version;
        let mut object = StoredObject { generation, ..object };
        object.spec["machines"][0]["count"] = json!(count);
        stage.store.put_object(object, Some(version)).await.unwrap();
        for _ in 0..6 {
            stage.pass().await;
        }
    };
    scale(1, object.generation + 1).await;
    let standing = stage.store.tombstones().await.unwrap();
    assert_eq!((standing.len(), standing[0].machine.as_str()), (1, "acme-box-1"));
    stage.hours(20).await;
    scale(2, object.generation + 2).await;
    assert!(stage.store.tombstones().await.unwrap().is_empty());
    assert_eq!(stage.volumes(), 2);
    scale(1, object.generation + 3).await;
    stage.hours(22).await;
    assert_eq!(stage.volumes(), 2, "the grace begins anew");
    stage.hours(4).await;
    assert_eq!(stage.volumes(), 1);
    assert!(stage.pass().await.ready.contains("acme"), "the other one runs on");
}

/// A deleted tenant whose volume would go with the next pass.
async fn due() -> Stage {
    let stage = Stage::with_tenant("Delete").await;
    stage.delete_tenant().await;
    stage.until_gone().await;
    stage.hours(23).await;
    stage.clock.advance(2 * HOUR_MS);
    stage
}

#[tokio::test]
async fn nothing_goes_on_the_word_of_a_list_that_is_not_whole() {
    let stage = due().await;
    stage.platform.world().error_regions.insert("iad".to_owned());
    stage.pass().await;
    stage.platform.world().error_regions.clear();
    stage.platform.world().unreadable = 1;
    stage.pass().await;
    stage.platform.world().unreadable = 0;
    stage.platform.world().partial_apps = true;
    stage.pass().await;
    assert_eq!(stage.volumes(), 1);
    let app = stage.platform.world().apps[0].clone();
    stage.platform.world().partial_apps = false;
    stage.platform.world().volume_counts.insert(app, 2);
    stage.pass().await;
    assert_eq!(stage.volumes(), 1, "a second volume may be hidden");
    stage.platform.world().volume_counts.clear();
    stage.pass().await;
    assert_eq!(stage.volumes(), 0, "the test would notice");
}

#[tokio::test]
async fn an_empty_list_ends_no_tombstone_and_deletes_nothing() {
    let stage = due().await;
    let hidden = stage.platform.world().volumes[0].id.clone();
    stage.platform.world().unlisted.insert(hidden.clone());
    stage.platform.world().unlisted_in_app.insert(hidden.clone());
    stage.platform.world().apps.clear();
    stage.platform.fail("volume", unknown(), false);
    stage.pass().await;
    let standing = stage.store.tombstones().await.unwrap();
    assert!(standing.iter().all(|known| known.state == TombstoneState::Standing), "{standing:#?}");
    assert_eq!(stage.volumes(), 1);
}

#[tokio::test]
async fn an_app_that_only_a_list_of_apps_leaves_out_is_not_forgotten() {
    let stage = Stage::with_tenant("Delete").await;
    stage.delete_tenant().await;
    stage.until_gone().await;
    stage.hours(30).await;
    assert_eq!(stage.volumes(), 0);
    let apps = {
        let mut world = stage.platform.world();
        world.owner = Some(AppOwner::Organization(ORG.to_owned()));
        std::mem::take(&mut world.apps)
    };
    stage.hours(3).await;
    stage.platform.fail("app_owner", rejected(503, "later"), false);
    stage.hours(1).await;
    stage.platform.world().apps = apps;
    stage.hours(30).await;
    assert!(stage.platform.world().apps.is_empty(), "it is deleted when it is seen again");
    assert!(stage.reasons().iter().any(|reason| reason == "DeleteApp"));
}

#[tokio::test]
async fn a_volume_that_is_held_again_stays_whatever_the_list_says() {
    let stage = due().await;
    let held = |stage: &Stage, by: Option<&str>| {
        stage.platform.world().volumes[0].attached_machine = by.map(str::to_owned);
    };
    held(&stage, Some("somebody"));
    stage.pass().await;
    assert_eq!(stage.volumes(), 1);
    held(&stage, None);
    stage.hours(23).await;
    assert_eq!(stage.volumes(), 1, "the whole grace begins anew");
    stage.hours(4).await;
    assert_eq!(stage.volumes(), 0);
}

#[tokio::test]
async fn who_takes_a_tenant_back_while_a_pass_plans_its_end_is_heard() {
    let stage = due().await;
    let mut objects = Objects::load(&stage.store).await.unwrap();
    let mut planned = stage.reconciler.look_and_plan(&mut objects, Settle::Write).await.unwrap();
    assert_eq!(planned.plan.actions.len(), 1, "{:?}", planned.plan.actions);
    // Between the look and the call.
    put(&stage.store, &doomed("Delete"), Source::Api).await;
    stage.reconciler.keep_tombstones(&objects, &mut planned).await.unwrap();
    assert_eq!(planned.plan.actions, []);
    for _ in 0..4 {
        stage.pass().await;
    }
    assert_eq!(stage.volumes(), 1);
    assert!(stage.store.tombstones().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_being_deleted_cannot_be_taken_back() {
    let stage = due().await;
    let mut objects = Objects::load(&stage.store).await.unwrap();
    let mut planned = stage.reconciler.look_and_plan(&mut objects, Settle::Write).await.unwrap();
    stage.reconciler.keep_tombstones(&objects, &mut planned).await.unwrap();
    assert_eq!(planned.plan.actions.len(), 1);
    assert!(matches!(stage.undelete().await, Undelete::TooLate(_)));
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_looking_and_a_new_tenant_waits_for_that() {
    let stage = due().await;
    stage.platform.fail("delete_volume", unknown(), false);
    stage.pass().await;
    assert_eq!(stage.volumes(), 1);
    put(&stage.store, &doomed("Delete"), Source::Api).await;
    let writes = stage.pass().await.calls.writes;
    assert_eq!(writes, 0, "the volume may be going");
    stage.clock.advance(20_000);
    for _ in 0..4 {
        stage.pass().await;
    }
    assert_eq!(stage.volumes(), 1);
    assert!(stage.pass().await.ready.contains("acme"));
}

#[tokio::test]
async fn a_database_from_a_backup_deletes_nothing_that_lives() {
    // The tombstone was almost mature when the backup was made; then the tenant came back.
    let stage = due().await;
    let backup = stage.store.tombstones().await.unwrap();
    assert!(matches!(stage.undelete().await, Undelete::Done(..)));
    for _ in 0..4 {
        stage.pass().await;
    }
    let restored = Stage::on(Arc::clone(&stage.platform), stage.clock.clone());
    restored.store.change_tombstones(backup, Vec::new()).await.unwrap();
    restored.hours(72).await;
    assert_eq!(restored.volumes(), 1, "a machine with its tenant's mark holds it");
    // Even if nobody holds it at this moment, the grace begins anew.
    let machines: Vec<_> = stage.platform.world().machines.drain(..).collect();
    stage.platform.world().volumes[0].attached_machine = None;
    restored.hours(23).await;
    assert_eq!(restored.volumes(), 1);
    stage.platform.world().machines.extend(machines);
}

#[tokio::test]
async fn a_second_controller_of_another_key_deletes_nothing() {
    let stage = due().await;
    let mut foreign = stage.store.tombstones().await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let store = open(other.path());
    // Its own tombstone names a volume that it could not have made.
    for tombstone in &mut foreign {
        tombstone.tenant = "umbra".to_owned();
        tombstone.machine = "umbra-box-0".to_owned();
    }
    store.change_tombstones(foreign, Vec::new()).await.unwrap();
    let second = Stage {
        store: store.clone(),
        ..Stage::on(Arc::clone(&stage.platform), stage.clock.clone())
    };
    let tombstones = store.tombstones().await.unwrap();
    second.store.change_tombstones(tombstones, Vec::new()).await.unwrap();
    second.hours(48).await;
    assert_eq!(second.volumes(), 1);
}

#[tokio::test]
async fn an_app_with_a_certificate_or_anything_else_in_it_is_kept() {
    let stage = Stage::with_tenant("Delete").await;
    stage.platform.world().certificates = 1;
    stage.delete_tenant().await;
    stage.until_gone().await;
    stage.hours(60).await;
    assert_eq!((stage.volumes(), stage.platform.world().apps.len()), (0, 1));
    let calls = stage.platform.world().calls.clone();
    assert!(!calls.iter().any(|call| call.starts_with("delete_app")), "{calls:?}");
    stage.platform.world().certificates = 0;
    stage.hours(3).await;
    assert!(stage.platform.world().apps.is_empty());
}

#[tokio::test]
async fn a_secret_that_was_set_without_an_answer_goes_with_its_tenant() {
    for acts in [true, false] {
        let stage = Stage::new();
        let mut sharing = tenant("acme", "nginx:1");
        sharing["spec"]["app"] = json!({ "name": "together", "shared": true });
        put(&stage.store, &sharing, Source::Api).await;
        stage.platform.fail("set_secret", unknown(), acts);
        stage.pass().await;
        assert_eq!(stage.platform.world().secrets.len(), usize::from(acts));
        stage.delete_tenant().await;
        stage.until_gone().await;
        let left = stage.platform.world().secrets.clone();
        assert!(left.is_empty(), "acts: {acts}, {left:?}");
    }
}
