mod apps;
mod buckets;
mod edits;
mod rest;
mod tokens;
mod tombstones;
mod usage;

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;
use vault_api::object::ConditionStatus;
use vault_api::status::TenantStatus;
use vault_plan::action::ActionKind;
use vault_plan::metadata;
use vault_plan::observed::SecretState;

use super::*;
use crate::agents::Request;
use crate::identity::{MasterKey, SecretSources, TENANT_SECRET};
use crate::slices::{LOOK_VALID_MS, SLICE_INTERVAL_MS};
use crate::source::Source;
use crate::status;
use crate::store::{ApiStore, SqliteStore, StoredObject};
use crate::testing::{
    FakePlatform, ManualClock, ORG, controller, open, put, rejected, tenant, tenant_secrets,
    unknown,
};

/// One of so many whole looks that differ in nothing plans.
const PLAN_EVERY: u32 = 3;
/// After so long, in milliseconds, no call of before can act any more: see `settle_after`.
const PAST_ALL_CALLS_MS: i64 = 11_000;

struct Stage {
    _folder: TempDir,
    store: SqliteStore,
    platform: Arc<FakePlatform>,
    clock: ManualClock,
    reconciler: Reconciler<FakePlatform, SqliteStore, ManualClock>,
    told: Arc<Mutex<Vec<Event>>>,
    /// What is to be asked of agents.
    requests: Mutex<mpsc::Receiver<Request>>,
}

impl Stage {
    fn new() -> Self {
        Self::on(Arc::new(FakePlatform::default()), ManualClock::new())
    }

    /// A controller with an empty database on a platform as it is.
    fn on(platform: Arc<FakePlatform>, clock: ManualClock) -> Self {
        Self::with(platform, clock, tenant_secrets())
    }

    fn with(platform: Arc<FakePlatform>, clock: ManualClock, secrets: Arc<TenantSecrets>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        Self::over(folder, store, platform, clock, secrets)
    }

    /// A controller that was started on a database as it is.
    fn over(
        folder: TempDir,
        store: SqliteStore,
        platform: Arc<FakePlatform>,
        clock: ManualClock,
        secrets: Arc<TenantSecrets>,
    ) -> Self {
        Self::sweeping(1, folder, store, platform, clock, secrets)
    }

    /// The same, of which one pass of so many looks at the platform whole.
    fn sweeping(
        sweep_every: u32,
        folder: TempDir,
        store: SqliteStore,
        platform: Arc<FakePlatform>,
        clock: ManualClock,
        secrets: Arc<TenantSecrets>,
    ) -> Self {
        let told: Arc<Mutex<Vec<Event>>> = Arc::default();
        let keep = Arc::clone(&told);
        let (agents, requests) = Agents::new();
        let config = ReconcileConfig {
            controller: controller(),
            organization: ORG.to_owned(),
            policy: Policy::default(),
            settle_after: Duration::from_secs(10),
            secrets,
            agents: Arc::clone(&agents),
            oidc_issuer: "https://oidc.example".to_owned(),
            usage_retention: Duration::from_secs(90 * 86_400),
            metrics: Arc::default(),
            sweep_every,
            plan_every: PLAN_EVERY,
            turn_patience: None,
        };
        let reconciler = Reconciler::new(
            Arc::clone(&platform),
            store.clone(),
            clock.clone(),
            config,
            Arc::new(move |event| keep.lock().unwrap().push(event)),
        );
        Self {
            _folder: folder,
            store,
            platform,
            clock,
            reconciler,
            told,
            requests: Mutex::new(requests),
        }
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
        assert_eq!(stage.pass().await.actions, 4);
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
    assert_eq!(pass.calls, Calls { reads: 3, secret_reads: 0, writes: 0 });
    assert_eq!(stage.store.resource_version().await.unwrap(), version);
    assert_eq!(stage.store.open_intents().await.unwrap(), []);
}

#[tokio::test]
async fn a_paused_tenant_is_looked_at_and_nothing_is_written_not_even_its_end() {
    let stage = Stage::new();
    let mut paused = tenant("acme", "nginx:1");
    paused["spec"]["reconcile"] = json!("Paused");
    let object = put(&stage.store, &paused, Source::Api).await;
    let pass = stage.pass().await;
    assert_eq!((pass.actions, pass.calls.writes), (0, 0));
    assert!(!pass.waiting, "a pause may last");
    let status = stage.status("acme").await;
    let condition = |kind: &str| {
        let found = status.conditions.iter().find(|condition| condition.r#type == kind);
        let found = found.unwrap_or_else(|| panic!("{kind} in {status:?}"));
        (found.status, found.reason.clone(), found.message.clone())
    };
    let message = "reconcile is Paused: 4 actions are left undone".to_owned();
    assert_eq!(condition("Paused"), (ConditionStatus::True, "Paused".to_owned(), message.clone()));
    assert_eq!(condition("Ready"), (ConditionStatus::False, "Paused".to_owned(), message));
    let plan = stage.reconciler.preview(Objects::load(&stage.store).await.unwrap()).await.unwrap();
    assert_eq!(plan.plan.withheld.len(), 4);

    let stored = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    let deleted = StoredObject { deleted_at: Some(stage.clock.now()), ..stored };
    let version = Some(deleted.resource_version);
    stage.store.put_object(deleted, version).await.unwrap();
    for _ in 0..4 {
        assert_eq!(stage.pass().await.calls.writes, 0);
    }
    let status = stage.status("acme").await;
    assert!(status.conditions.iter().any(|known| known.message.contains("its deletion waits")));
    assert_eq!(object.uid, controller().tenant_uid("acme").to_string());
}

/// Stores another version of a tenant's spec.
async fn change(stage: &Stage, edit: impl FnOnce(&mut serde_json::Value)) {
    let mut stored = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    let mut spec = serde_json::Value::Object(stored.spec);
    edit(&mut spec);
    let serde_json::Value::Object(spec) = spec else { panic!("a spec is an object") };
    (stored.spec, stored.generation) = (spec, stored.generation + 1);
    let version = Some(stored.resource_version);
    stage.store.put_object(stored, version).await.unwrap();
}

#[tokio::test]
async fn the_journal_tells_which_spec_a_machine_was_given() {
    let stage = Stage::converged().await;
    let edit = |spec: &mut serde_json::Value| {
        spec["machines"][0]["config"]["image"] = json!("nginx:2");
    };
    change(&stage, edit).await;
    for _ in 0..4 {
        stage.pass().await;
    }
    let intents = stage.store.intents_verified_since(UnixMillis(0)).await.unwrap();
    let given = |kind| {
        let mut given = intents.iter().filter(move |intent| intent.kind == kind);
        given.next().unwrap_or_else(|| panic!("{kind} in {intents:?}")).spec_hash.clone()
    };
    let (created, updated) = (given(ActionKind::CreateMachine), given(ActionKind::UpdateMachine));
    assert_ne!(created, updated);
    let machines = stage.platform.world().machines.clone();
    let written: Vec<_> =
        machines.iter().map(|machine| machine.metadata.get(metadata::SPEC_HASH).cloned()).collect();
    assert_eq!(written, [updated]);
    assert!(created.is_some_and(|hash| !hash.is_empty()));
    assert_eq!(given(ActionKind::CreateApp), None);
}

#[tokio::test]
async fn secrets_of_a_manifest_are_set_rotated_and_removed_and_their_values_are_nowhere() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("db");
    std::fs::write(&file, "first value\n").unwrap();
    let pairs = [("VAULTCTL_SECRET_KEY".to_owned(), "key value".to_owned())];
    let sources = SecretSources::new(Some(files.path().to_owned()), pairs);
    let secrets = MasterKey::from_bytes([7; 32]).tenant_secrets().with_sources(sources);
    let stage = Stage::with(Arc::default(), ManualClock::new(), Arc::new(secrets));
    let mut wanted = tenant("acme", "nginx:1");
    wanted["spec"]["secrets"] = json!([
        { "name": "DATABASE_URL", "from": { "file": "db" } },
        { "name": "KEY", "from": { "env": "VAULTCTL_SECRET_KEY" } },
    ]);
    put(&stage.store, &wanted, Source::Folder { file: "acme.yaml".to_owned() }).await;
    let value = |name: &str| {
        let world = stage.platform.world();
        world.secrets.get(&(app_of_acme(), name.to_owned())).map(|(value, _)| value.clone())
    };
    stage.pass().await;
    assert!(stage.pass().await.ready.contains("acme"));
    assert_eq!(value("DATABASE_URL").as_deref(), Some("first value"));
    assert_eq!(value("KEY").as_deref(), Some("key value"));
    assert_eq!(stage.pass().await.calls.writes, 0);

    // Another value: set, and the machine starts anew, with a version that has it.
    std::fs::write(&file, "second value").unwrap();
    let pass = stage.pass().await;
    assert_eq!((pass.actions, pass.failures), (2, 0));
    assert_eq!(value("DATABASE_URL").as_deref(), Some("second value"));
    let version = stage.platform.world().secrets_version;
    assert_eq!(stage.platform.world().min_secrets_versions.last(), Some(&Some(version)));
    assert!(stage.pass().await.ready.contains("acme"));

    // A value that cannot be had stops everything, and takes nothing away.
    std::fs::remove_file(&file).unwrap();
    let pass = stage.pass().await;
    assert_eq!((pass.actions, pass.ready.len()), (0, 0));
    let ready = stage.status("acme").await.conditions.remove(0);
    assert_eq!(ready.reason, "Invalid");
    let expected = "spec.secrets[0].from: secret DATABASE_URL: file db beneath --secrets-dir";
    assert!(ready.message.starts_with(expected), "{}", ready.message);
    assert_eq!(value("DATABASE_URL").as_deref(), Some("second value"));
    std::fs::write(&file, "second value").unwrap();
    assert!(stage.pass().await.ready.contains("acme"));

    // A name that is no longer there goes, if it was ours; what others set stays.
    stage.platform.world().set_secret(&app_of_acme(), "THEIRS", "value of others");
    change(&stage, |spec| drop(spec["secrets"].as_array_mut().unwrap().remove(0))).await;
    assert_eq!(stage.pass().await.failures, 0);
    assert!(stage.pass().await.ready.contains("acme"));
    assert_eq!(value("DATABASE_URL"), None);
    assert_eq!(value("THEIRS").as_deref(), Some("value of others"));
    assert_eq!(stage.pass().await.calls.writes, 0);

    let object = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    let secrets = stage.store.secrets().await.unwrap();
    let told = stage.told.lock().unwrap();
    let world = stage.platform.world();
    let kept = format!("{object:?} {secrets:?} {told:?} {:?} {:?}", world.machines, world.calls);
    for value in ["first value", "second value", "key value"] {
        assert!(!kept.contains(value), "{value} in {kept}");
    }
}

#[tokio::test]
async fn a_machine_moves_with_its_volume_and_each_controller_on_the_way_may_be_a_new_one() {
    let stage = Stage::converged().await;
    let moved = |spec: &mut serde_json::Value| {
        spec["machines"][0]["region"] = json!("fra");
        spec["relocate"] = json!("Snapshot");
    };
    change(&stage, moved).await;
    let (platform, clock) = (Arc::clone(&stage.platform), stage.clock.clone());
    let mut wanted = tenant("acme", "nginx:1");
    moved(&mut wanted["spec"]);
    let mut seen = Vec::new();
    for _ in 0..12 {
        // Everything that is remembered is lost before each pass.
        let next = Stage::on(Arc::clone(&platform), clock.clone());
        put(&next.store, &wanted, Source::Api).await;
        platform.world().made_after_ms += 1_000;
        let pass = next.pass().await;
        let status = next.status("acme").await;
        if let Some(moving) = status.conditions.iter().find(|known| known.r#type == "Relocating") {
            seen.push(moving.message.clone());
        }
        if pass.ready.contains("acme") {
            break;
        }
        platform.world().finish_snapshots();
    }
    let way = "machine acme-box-0 moves from region ord to fra:";
    let expected = [
        format!("{way} a snapshot of volume vol_0 is to be made"),
        format!("{way} its volume is to be made from snapshot vs_0"),
        format!("{way} its volume is there; volume vol_0 is kept"),
    ];
    assert_eq!(seen, expected);
    let world = platform.world();
    let machines: Vec<_> = world.machines.iter().map(|seen| (&*seen.name, &*seen.region)).collect();
    assert_eq!(machines, [("acme-box-0", "fra")]);
    assert_eq!(world.restored["vol_1"], "vs_0");
    let held: Vec<_> =
        world.volumes.iter().map(|seen| (&*seen.region, seen.attached_machine.is_some())).collect();
    assert_eq!(held, [("ord", false), ("fra", true)]);
}

/// Who forks a volume by hand makes a younger one of the same name.
#[tokio::test]
async fn a_volume_that_was_in_use_last_is_taken_back_before_a_younger_fork_of_it() {
    let stage = Stage::converged().await;
    {
        let mut world = stage.platform.world();
        world.made_after_ms += 60_000;
        let mut fork = world.volumes[0].clone();
        (fork.id, fork.attached_machine) = ("vol_fork".to_owned(), None);
        fork.created_at = Some(world.now());
        world.volumes.push(fork);
        world.made_after_ms += 60_000;
    }
    stage.clock.advance(120_000);
    change(&stage, |spec| spec["machines"][0]["count"] = json!(0)).await;
    for _ in 0..4 {
        stage.pass().await;
    }
    assert!(stage.platform.world().machines.is_empty());
    change(&stage, |spec| spec["machines"][0]["count"] = json!(1)).await;
    for _ in 0..4 {
        stage.pass().await;
    }
    let world = stage.platform.world();
    let held: Vec<&str> = world
        .volumes
        .iter()
        .filter(|volume| volume.attached_machine.is_some())
        .map(|volume| volume.id.as_str())
        .collect();
    assert_eq!(held, ["vol_0"]);
}

#[tokio::test]
async fn the_copy_of_a_moved_volume_is_found_though_all_lists_are_empty_when_its_machine_went() {
    let stage = Stage::converged().await;
    change(&stage, |spec| {
        spec["machines"][0]["region"] = json!("fra");
        spec["relocate"] = json!("Snapshot");
    })
    .await;
    let mut passes = 0;
    while !stage.platform.world().machines.is_empty() {
        assert!(passes < 12, "the old machine goes");
        passes += 1;
        stage.platform.world().made_after_ms += 1_000;
        stage.pass().await;
        stage.platform.world().finish_snapshots();
    }
    let named: Vec<_> =
        stage.status("acme").await.volumes.into_iter().map(|seen| seen.id).collect();
    assert_eq!(named, [Some("vol_0".to_owned()), Some("vol_1".to_owned())]);
    {
        let mut world = stage.platform.world();
        let ids = ["vol_0".to_owned(), "vol_1".to_owned()];
        world.unlisted.extend(ids.clone());
        world.unlisted_in_app.extend(ids);
    }
    for _ in 0..4 {
        stage.pass().await;
    }
    let world = stage.platform.world();
    assert_eq!(world.volumes.len(), 2, "nothing is copied a second time: {:?}", world.calls);
    let held: Vec<_> =
        world.volumes.iter().map(|seen| (&*seen.region, seen.attached_machine.is_some())).collect();
    assert_eq!(held, [("ord", false), ("fra", true)]);
}

#[tokio::test]
async fn a_machine_that_is_made_anew_is_remembered_until_it_is_ready() {
    let stage = Stage::new();
    let mut bare = tenant("acme", "nginx:1");
    bare["spec"]["volumes"] = json!([]);
    bare["spec"]["machines"][0]["config"] = json!({ "image": "nginx:1" });
    put(&stage.store, &bare, Source::Api).await;
    stage.pass().await;
    assert!(stage.pass().await.ready.contains("acme"));
    change(&stage, |spec| spec["machines"][0]["region"] = json!("fra")).await;
    stage.pass().await;
    assert!(stage.status("acme").await.machines[0].replacing);
    stage.pass().await;
    // It is gone, and cannot be made again.
    for _ in 0..3 {
        stage.platform.fail("create_machine", rejected(422, "no capacity"), false);
        stage.pass().await;
        assert!(stage.platform.world().machines.is_empty());
        assert!(stage.status("acme").await.machines[0].replacing);
        stage.clock.advance(400_000);
    }
    // Nor is it forgotten while its tenant waits for something else.
    change(&stage, |spec| spec["storage"] = json!({ "buckets": [{ "name": "state" }] })).await;
    stage.platform.fail("create_bucket", rejected(422, "no"), false);
    for _ in 0..3 {
        stage.pass().await;
        let [machine] = &*stage.status("acme").await.machines else { panic!("it is forgotten") };
        assert!(machine.replacing && machine.id.is_none(), "{machine:?}");
    }
    stage.clock.advance(400_000);
    let mut passes = 0;
    while stage.platform.world().machines.is_empty() {
        assert!(passes < 12, "it is made anew: {:?}", stage.status("acme").await);
        passes += 1;
        stage.pass().await;
    }
    stage.pass().await;
    assert!(stage.pass().await.ready.contains("acme"));
    assert!(!stage.status("acme").await.machines[0].replacing);
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

/// What a look for what a lost database forgot reads: buckets, access keys, and the tokens of one
/// organization. It is made when a process begins, and once more a minute later.
const LEFTOVER_READS: u64 = 3;

/// The secrets that were set so far, and the digest that is known of acme's.
async fn secret_of(stage: &Stage) -> (u64, Option<String>) {
    let stored = stage.store.secrets().await.unwrap();
    (stage.platform.world().secrets_version, stored.first().and_then(|one| one.digest.clone()))
}

fn app_of_acme() -> String {
    controller().tenant_uid("acme").app_name("acme")
}

#[tokio::test]
async fn machines_start_with_the_version_that_the_same_turn_made_or_the_one_that_is_known() {
    let stage = Stage::converged().await;
    assert_eq!(stage.platform.world().min_secrets_versions, [Some(1)]);
    stage.platform.world().machines[0].image = Some("other".to_owned());
    stage.pass().await;
    assert_eq!(stage.platform.world().min_secrets_versions, [Some(1), Some(1)]);
    // Whoever looks later asks for none: the app may be another one of the same name by then, whose
    // secrets began at version 1.
    stage.clock.advance(LOOK_VALID_MS);
    assert_eq!(stage.pass().await.calls.secret_reads, 1 + LEFTOVER_READS);
    stage.platform.world().machines[0].image = Some("other".to_owned());
    stage.pass().await;
    assert_eq!(stage.platform.world().min_secrets_versions, [Some(1), Some(1), None]);
    assert_eq!(secret_of(&stage).await.0, 1);
}

#[tokio::test]
async fn a_secret_is_looked_at_when_its_last_look_is_old_and_set_again_when_it_was_changed() {
    let stage = Stage::converged().await;
    let secret = (app_of_acme(), TENANT_SECRET.to_owned());
    for (removes, word) in [(false, "changed"), (true, "removed")] {
        // Until it is time, nobody looks, and nobody knows.
        match removes {
            true => drop(stage.platform.world().secrets.remove(&secret)),
            false => drop(stage.platform.world().set_secret(&secret.0, &secret.1, "theirs")),
        }
        let quiet = stage.pass().await;
        assert_eq!(quiet.calls, Calls { reads: 3, secret_reads: 0, writes: 0 });
        stage.clock.advance(LOOK_VALID_MS);
        stage.told.lock().unwrap().clear();
        let pass = stage.pass().await;
        let secret_reads = 1 + if removes { 0 } else { LEFTOVER_READS };
        assert_eq!(pass.calls, Calls { reads: 3, secret_reads, writes: 1 });
        assert!(!pass.ready.contains("acme"));
        let told = stage.told.lock().unwrap().clone();
        let warnings: Vec<&Event> = told.iter().filter(|event| event.warning).collect();
        assert_eq!(warnings.len(), 1, "{told:?}");
        assert!(warnings[0].message.contains(word), "{warnings:?}");
        let value = tenant_secrets().tenant_secret(controller().tenant_uid("acme"));
        assert_eq!(stage.platform.world().secrets[&secret].0, value.text().as_str());
        assert!(stage.pass().await.ready.contains("acme"));
    }
    // As it should be: looked at once, and then not for a while.
    stage.clock.advance(LOOK_VALID_MS);
    assert_eq!(stage.pass().await.calls, Calls { reads: 3, secret_reads: 1, writes: 0 });
    stage.clock.advance(SLICE_INTERVAL_MS);
    assert_eq!(stage.pass().await.calls, Calls { reads: 3, secret_reads: 0, writes: 0 });
    // Nothing restarted for any of it.
    assert!(!stage.platform.world().calls.iter().any(|call| call.starts_with("update_machine")));
}

#[tokio::test]
async fn a_controller_whose_database_was_lost_writes_nothing_and_looks_once() {
    let before = Stage::converged().await;
    let stage = Stage::on(Arc::clone(&before.platform), before.clock.clone());
    put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
    let pass = stage.pass().await;
    assert_eq!(pass.calls, Calls { reads: 3, secret_reads: 1 + LEFTOVER_READS, writes: 0 });
    assert!(pass.ready.contains("acme"), "{pass:?}");
    assert_eq!(secret_of(&stage).await, (1, Some("digest-1".to_owned())));
    stage.clock.advance(SLICE_INTERVAL_MS);
    assert_eq!(stage.pass().await.calls, Calls { reads: 3, secret_reads: 0, writes: 0 });
    // From here on a change is one.
    stage.platform.world().set_secret(&app_of_acme(), TENANT_SECRET, "theirs");
    stage.clock.advance(LOOK_VALID_MS);
    assert_eq!(stage.pass().await.calls.writes, 1);
}

#[tokio::test]
async fn a_look_that_fails_or_is_not_whole_proves_nothing_and_others_come_first() {
    let stage = Stage::converged().await;
    stage.platform.world().secrets.clear();
    stage.clock.advance(LOOK_VALID_MS);
    stage.platform.fail("secrets", unknown(), false);
    let pass = stage.pass().await;
    assert_eq!(pass.calls, Calls { reads: 3, secret_reads: 1 + LEFTOVER_READS, writes: 0 });
    assert!(pass.ready.contains("acme"));
    stage.clock.advance(SLICE_INTERVAL_MS);
    assert_eq!(stage.pass().await.calls.secret_reads, 0);
    stage.clock.advance(LOOK_VALID_MS);
    stage.platform.world().unreadable_secrets = 1;
    assert_eq!(stage.pass().await.calls, Calls { reads: 3, secret_reads: 1, writes: 0 });
}

#[tokio::test]
async fn a_secret_without_an_answer_is_set_again_once_the_call_cannot_act_and_machines_wait_for_it()
{
    for acts in [true, false] {
        let stage = Stage::new();
        put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
        stage.platform.fail("set_secret", unknown(), acts);
        assert_eq!(stage.pass().await.failures, 1);
        assert!(stage.platform.world().machines.is_empty());
        // It may still come: nothing is set, or removed, behind its back.
        for _ in 0..8 {
            assert_eq!(stage.pass().await.calls.writes, 0);
        }
        for _ in 0..5 {
            stage.pass().await;
        }
        assert!(stage.pass().await.ready.contains("acme"), "acted: {acts}");
        assert_eq!(secret_of(&stage).await.0, if acts { 2 } else { 1 });
        assert_eq!(stage.store.open_intents().await.unwrap(), []);
    }
}

#[tokio::test]
async fn an_app_that_is_made_again_gets_its_secret_before_its_machine_whatever_was_known() {
    let stage = Stage::converged().await;
    {
        // Somebody else deletes the app; the secrets of the next one begin at version 1.
        let mut world = stage.platform.world();
        (world.apps, world.machines, world.volumes) = Default::default();
        world.secrets.clear();
        (world.secrets_version, world.min_secrets_versions) = Default::default();
    }
    stage.platform.fail("set_secret", unknown(), false);
    for _ in 0..15 {
        stage.pass().await;
        let world = stage.platform.world();
        assert!(world.machines.is_empty() || !world.secrets.is_empty(), "{:?}", world.calls);
    }
    assert!(stage.pass().await.ready.contains("acme"));
    assert_eq!(stage.platform.world().min_secrets_versions, [Some(1)]);
}

#[tokio::test]
async fn the_ids_of_app_and_organization_are_told_and_outlive_a_list_that_is_not_whole() {
    let stage = Stage::converged().await;
    let status = stage.status("acme").await;
    assert_eq!((status.app_id.as_deref(), status.org_id.as_deref()), (Some("1"), Some("9")));
    // A row that cannot be read.
    let apps = std::mem::take(&mut stage.platform.world().apps);
    stage.platform.world().partial_apps = true;
    stage.pass().await;
    assert_eq!(stage.status("acme").await.app_id.as_deref(), Some("1"));
    // An app that is gone has no id, and the next one of its name has another.
    stage.platform.world().partial_apps = false;
    stage.platform.world().apps = [vec!["another".to_owned()], apps].concat();
    stage.pass().await;
    assert_eq!(stage.status("acme").await.app_id.as_deref(), Some("2"));
}

#[tokio::test]
async fn what_is_known_of_secrets_is_unsure_once_its_tenant_is_gone() {
    let stage = Stage::converged().await;
    let object = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    stage.store.remove_object(Kind::Tenant, "acme", object.resource_version).await.unwrap();
    stage.clock.advance(SLICE_INTERVAL_MS);
    stage.pass().await;
    // Its app is there, and what was set in it: which of it is ours is not forgotten.
    let known = stage.store.secrets().await.unwrap();
    let [secret] = known.as_slice() else { panic!("{known:?}") };
    assert_eq!(secret.state, SecretState::Unsure);
}

#[tokio::test]
async fn a_tenant_that_comes_again_finds_no_secret_of_ours_that_it_does_not_want() {
    let pairs = [("VAULTCTL_SECRET_KEY".to_owned(), "key value".to_owned())];
    let sources = SecretSources::new(None, pairs);
    let secrets = MasterKey::from_bytes([1; 32]).tenant_secrets().with_sources(sources);
    let stage = Stage::with(Arc::default(), ManualClock::new(), Arc::new(secrets));
    let mut with_secret = tenant("acme", "nginx:1");
    let from = json!({ "env": "VAULTCTL_SECRET_KEY" });
    with_secret["spec"]["secrets"] = json!([{ "name": "DATABASE_URL", "from": from }]);
    put(&stage.store, &with_secret, Source::Api).await;
    for _ in 0..3 {
        stage.pass().await;
    }
    let secret = (app_of_acme(), "DATABASE_URL".to_owned());
    assert!(stage.platform.world().secrets.contains_key(&secret));
    let object = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    stage.store.remove_object(Kind::Tenant, "acme", object.resource_version).await.unwrap();
    stage.platform.world().machines.clear();
    stage.clock.advance(SLICE_INTERVAL_MS);
    stage.pass().await;
    put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
    for _ in 0..5 {
        stage.clock.advance(1_000);
        stage.pass().await;
    }
    let world = stage.platform.world();
    let left: Vec<&str> = world.secrets.keys().map(|(_, name)| name.as_str()).collect();
    assert_eq!(left, [TENANT_SECRET]);
}

#[tokio::test]
async fn agents_are_asked_while_their_tenant_is_not_ready_and_not_after() {
    let asked = |stage: &Stage| -> Vec<String> {
        let mut requests = stage.requests.lock().unwrap();
        let all = std::iter::from_fn(|| requests.try_recv().ok());
        all.map(|request| match request {
            Request::Agent(question) => question.identity.machine_id,
            Request::Keys(issuer) => panic!("nobody connects, and keys of {issuer} are read"),
        })
        .collect()
    };
    for (image, expected) in [("x/agent:1", 1), ("nginx:1", 0)] {
        let stage = Stage::new();
        put(&stage.store, &tenant("acme", image), Source::Api).await;
        stage.pass().await;
        stage.platform.world().machines[0].private_ip = Some("127.0.9.1".to_owned());
        stage.platform.world().machines[0].region = "fra".to_owned();
        // It runs in the wrong region: never Ready, and nothing is done about it.
        assert!(!stage.pass().await.ready.contains("acme"));
        assert_eq!(asked(&stage).len(), expected, "{image}");
        // The first look has not ended.
        stage.clock.advance(60_000);
        stage.pass().await;
        assert_eq!(asked(&stage).len(), 0, "{image}");
        assert_eq!(stage.status("acme").await.machines[0].agent, None);
    }
    let stage = Stage::converged().await;
    stage.pass().await;
    assert_eq!(asked(&stage).len(), 0);
}

/// A Ready tenant, a new controller with an empty database, and lists that show neither its machine
/// nor its volume.
async fn hidden_from_a_new_controller() -> Stage {
    let before = Stage::converged().await;
    let (platform, clock) = (Arc::clone(&before.platform), before.clock.clone());
    {
        let mut world = platform.world();
        world.unlisted = world.machines.iter().map(|machine| machine.id.clone()).collect();
        let volumes: Vec<String> = world.volumes.iter().map(|volume| volume.id.clone()).collect();
        world.unlisted.extend(volumes);
    }
    let stage = Stage::on(platform, clock);
    put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
    stage
}

#[tokio::test]
async fn what_is_known_of_secrets_is_not_forgotten_by_a_list_that_is_not_whole() {
    let stage = Stage::converged().await;
    let object = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    stage.store.remove_object(Kind::Tenant, "acme", object.resource_version).await.unwrap();
    // No tombstone says that the app is there.
    let tombstones = stage.store.tombstones().await.unwrap();
    stage.store.change_tombstones(Vec::new(), tombstones).await.unwrap();
    {
        let mut world = stage.platform.world();
        world.partial_apps = true;
        world.apps.clear();
    }
    stage.clock.advance(SLICE_INTERVAL_MS);
    stage.pass().await;
    assert_eq!(stage.store.secrets().await.unwrap().len(), 1, "the list is not whole");
    stage.clock.advance(SLICE_INTERVAL_MS);
    stage.platform.fail("apps", rejected(500, "no"), false);
    stage.platform.world().partial_apps = false;
    stage.pass().await;
    assert_eq!(stage.store.secrets().await.unwrap().len(), 1, "there is no list");
    for _ in 0..=PLAN_EVERY {
        stage.clock.advance(SLICE_INTERVAL_MS);
        stage.pass().await;
    }
    assert_eq!(stage.store.secrets().await.unwrap(), [], "it is gone");
}

#[tokio::test]
async fn lists_that_are_wrongly_empty_make_no_second_volume_because_the_app_is_asked() {
    let stage = hidden_from_a_new_controller().await;
    let asked = format!("app_volumes {}", app_of_acme());
    stage.pass().await;
    assert!(!stage.platform.world().calls.contains(&asked), "one may still come to be");
    stage.after(PAST_ALL_CALLS_MS).await;
    assert_eq!(stage.platform.world().volumes.len(), 1);
    assert!(stage.platform.world().calls.contains(&asked));
    stage.platform.world().unlisted.clear();
    for _ in 0..3 {
        stage.clock.advance(3_600_000);
        stage.pass().await;
    }
    let world = stage.platform.world();
    assert_eq!((world.volumes.len(), world.machines.len()), (1, 1));
}

#[tokio::test]
async fn a_volume_that_a_lost_database_asked_for_is_taken_in_when_it_comes_late() {
    let stage = hidden_from_a_new_controller().await;
    let late = std::mem::take(&mut stage.platform.world().volumes);
    stage.platform.world().unlisted.clear();
    for _ in 0..3 {
        stage.after(1_000).await;
        assert!(stage.platform.world().volumes.is_empty(), "it may be on its way");
    }
    stage.platform.world().volumes = late;
    for _ in 0..3 {
        stage.after(PAST_ALL_CALLS_MS).await;
    }
    let world = stage.platform.world();
    assert_eq!((world.volumes.len(), world.machines.len()), (1, 1));
}

#[tokio::test]
async fn an_app_whose_own_list_is_empty_too_gets_no_volume_while_more_are_counted() {
    let stage = hidden_from_a_new_controller().await;
    stage.clock.advance(PAST_ALL_CALLS_MS);
    {
        let mut world = stage.platform.world();
        world.unlisted_in_app = world.volumes.iter().map(|volume| volume.id.clone()).collect();
        world.volume_counts.insert(app_of_acme(), 1);
    }
    for _ in 0..3 {
        stage.pass().await;
    }
    let calls = stage.platform.world().calls.clone();
    // Once by the controller before, and never again.
    for verb in ["create_volume", "create_machine"] {
        assert_eq!(calls.iter().filter(|call| call.starts_with(verb)).count(), 1, "{calls:#?}");
    }
    let ready = stage.status("acme").await.conditions.remove(0);
    assert_eq!(ready.reason, "Unobserved");
    assert!(ready.message.contains("counts 1 volumes in app"), "{}", ready.message);
    stage.platform.world().unlisted_in_app.clear();
    stage.platform.world().unlisted.clear();
    stage.pass().await;
    assert!(stage.pass().await.ready.contains("acme"));
    let world = stage.platform.world();
    assert_eq!((world.volumes.len(), world.machines.len()), (1, 1));
}

#[tokio::test]
async fn an_app_that_cannot_be_asked_for_its_volumes_gets_none() {
    let stage = hidden_from_a_new_controller().await;
    stage.platform.fail("app_volumes", rejected(503, "later"), false);
    assert_eq!(stage.pass().await.failures, 0);
    assert_eq!(stage.platform.world().volumes.len(), 1);
    let ready = stage.status("acme").await.conditions.remove(0);
    assert_eq!(ready.reason, "Unobserved");
    assert!(ready.message.contains("could not be read"), "{}", ready.message);
}

#[tokio::test]
async fn a_volume_that_is_left_behind_in_another_app_is_told_of() {
    let stage = Stage::converged().await;
    change(&stage, |spec| spec["machines"][0]["count"] = json!(0)).await;
    for _ in 0..4 {
        stage.pass().await;
    }
    assert_eq!(stage.platform.world().machines.len(), 0);
    let left = stage.platform.world().volumes[0].id.clone();
    change(&stage, |spec| {
        spec["machines"][0]["count"] = json!(1);
        spec["app"] = json!("elsewhere");
    })
    .await;
    stage.pass().await;
    assert!(stage.pass().await.ready.contains("acme"));
    let told = stage.told.lock().unwrap();
    let event = told.iter().find(|event| event.reason == "LeftBehind").expect("an event");
    assert!(event.warning && event.message.contains(&left), "{event:?}");
    let app = app_of_acme();
    let expected = format!("volume {left} in app {app}, which the manifest no longer names, stays");
    assert!(event.message.contains(&expected), "{event:?}");
}
