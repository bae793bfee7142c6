use serde_json::json;
use tempfile::TempDir;
use vault_api::object::ConditionStatus;

use super::*;
use crate::store::SqliteStore;
use crate::testing::{FakePlatform, ManualClock, ORG, controller, open, put, tenant, unknown};

struct Stage {
    _folder: TempDir,
    store: SqliteStore,
    platform: Arc<FakePlatform>,
    clock: ManualClock,
    reconciler: Reconciler<FakePlatform, SqliteStore, ManualClock>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let (platform, clock) = (Arc::new(FakePlatform::default()), ManualClock::new());
        let config = ReconcileConfig {
            controller: controller(),
            organization: ORG.to_owned(),
            policy: Policy::default(),
            settle_after: Duration::from_secs(10),
        };
        let reconciler = Reconciler::new(
            Arc::clone(&platform),
            store.clone(),
            clock.clone(),
            config,
            Arc::new(|_| {}),
        );
        Self { _folder: folder, store, platform, clock, reconciler }
    }

    async fn pass(&self) -> Pass {
        self.clock.advance(1_000);
        self.reconciler.pass(&BTreeSet::new()).await.unwrap()
    }

    async fn status(&self, name: &str) -> TenantStatus {
        let object = self.store.object(Kind::Tenant, name).await.unwrap().unwrap();
        serde_json::from_value(object.status.unwrap()).unwrap()
    }

    async fn converged() -> Self {
        let stage = Self::new();
        put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
        assert_eq!(stage.pass().await.actions, 3);
        let pass = stage.pass().await;
        assert!(pass.ready.contains("acme"), "{pass:?}");
        stage
    }
}

#[tokio::test]
async fn a_tenant_converges_and_a_quiet_pass_costs_three_reads() {
    let stage = Stage::converged().await;
    let version = stage.store.resource_version().await.unwrap();
    let pass = stage.pass().await;
    assert_eq!(pass.calls, Calls { reads: 3, writes: 0 });
    assert_eq!(stage.store.resource_version().await.unwrap(), version);
    assert_eq!(stage.store.open_intents().await.unwrap(), []);
}

#[tokio::test]
async fn a_volume_whose_answer_was_lost_is_found_or_waited_for_and_never_doubled() {
    for acts in [true, false] {
        let stage = Stage::new();
        put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
        stage.platform.fail("create_volume", unknown(), acts);
        if acts {
            // It is made, and the organization's list lags behind.
            stage.platform.world().unlisted.insert("vol_0".to_owned());
        }
        for _ in 0..30 {
            stage.pass().await;
        }
        assert!(stage.pass().await.ready.contains("acme"), "made: {acts}");
        let world = stage.platform.world();
        assert_eq!(world.volumes.len(), 1);
        let creates = world.calls.iter().filter(|call| call.starts_with("create_volume")).count();
        assert_eq!(creates, if acts { 1 } else { 2 });
    }
}

#[tokio::test]
async fn ids_survive_a_region_that_is_away_and_conditions_keep_their_time() {
    let stage = Stage::converged().await;
    let before = stage.status("acme").await;
    stage.platform.world().error_regions.insert("ord".to_owned());
    for _ in 0..3 {
        assert_eq!(stage.pass().await.calls.writes, 0);
    }
    let away = stage.status("acme").await;
    assert_eq!(away.machines[0].id, before.machines[0].id);
    assert_eq!(away.volumes, before.volumes);
    assert_eq!(away.conditions[0].status, ConditionStatus::False);
    stage.platform.world().error_regions.clear();
    stage.pass().await;
    let back = stage.status("acme").await;
    assert_eq!(back.machines, before.machines);
    let time = |status: &TenantStatus, kind: &str| {
        let known = status.conditions.iter().find(|known| known.r#type == kind).unwrap();
        known.last_transition_time.clone()
    };
    assert!(time(&back, "Ready") > time(&before, "Ready"));
    assert_eq!(time(&back, "NameTaken"), time(&before, "NameTaken"));
}

#[tokio::test]
async fn a_deleted_tenant_is_forgotten_after_two_empty_looks_and_no_open_call() {
    let stage = Stage::converged().await;
    let delete = async |store: &SqliteStore| {
        let object = store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
        let version = object.resource_version;
        let object = StoredObject { deleted_at: Some(stage.clock.now()), ..object };
        store.put_object(object, Some(version)).await.unwrap();
    };
    delete(&stage.store).await;
    for _ in 0..20 {
        stage.pass().await;
    }
    assert!(stage.store.object(Kind::Tenant, "acme").await.unwrap().is_none());
    assert!(stage.platform.world().machines.is_empty());
    assert_eq!(stage.platform.world().volumes.len(), 1);

    // A machine whose creation may still act keeps its tenant from being forgotten.
    put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
    stage.platform.fail("create_machine", unknown(), false);
    stage.pass().await;
    delete(&stage.store).await;
    for _ in 0..9 {
        stage.pass().await;
        assert!(stage.store.object(Kind::Tenant, "acme").await.unwrap().is_some());
    }
    for _ in 0..4 {
        stage.pass().await;
    }
    assert!(stage.store.object(Kind::Tenant, "acme").await.unwrap().is_none());
}

#[tokio::test]
async fn an_invalid_tenant_keeps_its_ids() {
    let stage = Stage::converged().await;
    let before = stage.status("acme").await;
    let object = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    let version = object.resource_version;
    let mut object = StoredObject { generation: 2, ..object };
    object.spec.insert("class".to_owned(), json!("nowhere"));
    stage.store.put_object(object, Some(version)).await.unwrap();
    assert_eq!(stage.pass().await.calls.writes, 0);
    let after = stage.status("acme").await;
    assert_eq!(after.machines[0].id, before.machines[0].id);
    assert_eq!(after.volumes, before.volumes);
    assert!(!status::is_ready(&after, 2));
}
