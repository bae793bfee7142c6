//! The model of the store does what the store does: one story, told to both.

use serde_json::{Map, json};
use tokio::runtime::Builder;
use ulid::Ulid;
use vault_api::status::TenantStatus;
use vault_controller::edits::MachineVersion;
use vault_controller::source::Source;
use vault_controller::store::{
    Doomed, Intent, IntentAnswer, IntentState, Kind, Owner, Settlement, SqliteStore, Store,
    StoreError, StoredObject, StoredSecret, Verdict,
};
use vault_controller::usage::UsageFact;
use vault_plan::action::ActionKind;
use vault_plan::identity::ControllerId;
use vault_plan::observed::SecretState;
use vault_plan::time::UnixMillis;
use vault_plan::tombstone::{Cause, TombstoneKind, TombstoneState};
use vault_simulator::controller::Controller;
use vault_simulator::faults::{Faults, Plan};
use vault_simulator::oracle::Oracles;
use vault_simulator::run::{BOOT, world};
use vault_simulator::store::SimStore;
use vault_simulator::trace::Trace;
use vault_simulator::universe::{BEGIN_MS, Shared};

const NOW: UnixMillis = UnixMillis(BEGIN_MS);

#[test]
fn sqlite_behaves_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("controller.db"), NOW).unwrap();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(behaves(store));
}

#[test]
fn the_model_behaves_so_too() {
    let shared = Shared::new(
        world(1, BOOT),
        Faults::new(Plan::None),
        fastrand::Rng::with_seed(1),
        Trace::counting(),
        Oracles::default(),
    );
    shared.lock().controllers = vec![Controller::new(1)];
    let (process, _killed) = shared.lock().processes.start(0);
    let time = shared.clone();
    let runtime = Builder::new_current_thread().on_thread_park(move || time.turn()).build();
    runtime.unwrap().block_on(behaves(SimStore::new(shared, 0, process)));
}

async fn behaves<S: Store>(store: S) {
    objects(&store).await;
    journal(&store).await;
    secrets(&store).await;
    usage(&store).await;
    versions(&store).await;
    tombstones(&store).await;
}

fn object(kind: Kind, name: &str) -> StoredObject {
    let spec = json!({ "machines": [] });
    StoredObject {
        kind,
        name: name.to_owned(),
        uid: format!("uid of {name}"),
        generation: 1,
        resource_version: 0,
        created_at: NOW,
        deleted_at: None,
        source: Source::Api,
        metadata: Map::new(),
        spec: spec.as_object().cloned().unwrap(),
        status: None,
    }
}

async fn objects<S: Store>(store: &S) {
    let first = store.put_object(object(Kind::Tenant, "bob"), None).await.unwrap();
    let second = store.put_object(object(Kind::Tenant, "acme"), None).await.unwrap();
    assert!(second.resource_version > first.resource_version);
    store.put_object(object(Kind::TenantClass, "acme"), None).await.unwrap();
    let names = |objects: Vec<StoredObject>| {
        objects.into_iter().map(|object| object.name).collect::<Vec<String>>()
    };
    assert_eq!(names(store.objects(Kind::Tenant).await.unwrap()), ["acme", "bob"]);
    assert_eq!(names(store.objects(Kind::TenantClass).await.unwrap()), ["acme"]);
    assert_eq!(store.object(Kind::Tenant, "acme").await.unwrap(), Some(second.clone()));
    assert_eq!(store.object(Kind::Tenant, "nobody").await.unwrap(), None);

    for wrong in [None, Some(first.resource_version - 1)] {
        let refused = store.put_object(first.clone(), wrong).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
    }
    let statuses = [("bob", r#"{"a":1}"#), ("nobody", "{}")];
    let statuses = statuses.map(|(name, status)| (name.to_owned(), status.to_owned())).to_vec();
    store.put_statuses(statuses).await.unwrap();
    let told = store.object(Kind::Tenant, "bob").await.unwrap().unwrap();
    assert_eq!((told.status.clone(), told.generation), (Some(json!({ "a": 1 })), 1));
    assert!(told.resource_version > first.resource_version);

    let rows = store.tenant_rows("", 1).await.unwrap();
    assert_eq!((rows.len(), rows[0].name.as_str()), (1, "acme"));
    let rows = store.status_rows("acme", 9).await.unwrap();
    assert_eq!((rows.len(), rows[0].name.as_str()), (1, "bob"));
    assert_eq!(rows[0].status.as_deref(), Some(r#"{"a":1}"#));
    let rows = store.status_rows("", 1).await.unwrap();
    assert_eq!((rows.len(), rows[0].name.as_str(), &rows[0].status), (1, "acme", &None));
    let rows = store.tenant_rows("acme", 9).await.unwrap();
    assert_eq!((rows.len(), rows[0].status.as_deref()), (1, Some(r#"{"a":1}"#)));
    assert_eq!(rows[0].spec, r#"{"machines":[]}"#);

    let stale = store.remove_object(Kind::Tenant, "bob", first.resource_version).await;
    assert!(matches!(stale, Err(StoreError::Conflict)), "{stale:?}");
    store.remove_object(Kind::Tenant, "bob", told.resource_version).await.unwrap();
    assert_eq!(store.object(Kind::Tenant, "bob").await.unwrap(), None);
    let again = store.put_object(object(Kind::Tenant, "bob"), None).await.unwrap();
    assert!(again.resource_version > told.resource_version, "versions never run back");
}

fn intent(number: u128) -> Intent {
    Intent {
        id: Ulid::from_parts(1, number),
        tenant: "acme".to_owned(),
        organization: "local".to_owned(),
        app: "app".to_owned(),
        kind: ActionKind::CreateMachine,
        external_name: format!("machine {number}"),
        external_id: None,
        state: IntentState::Planned,
        planned_at: NOW,
        sent_at: None,
        outcome: None,
        spec_hash: None,
    }
}

fn doubt(id: Ulid, outcome: &str) -> IntentAnswer {
    let verdict = Verdict::Doubted { id, outcome: outcome.to_owned() };
    IntentAnswer { verdict, calls: Vec::new(), written: None }
}

fn settlement(number: u128, state: IntentState, id: Option<&str>) -> Settlement {
    Settlement {
        id: Ulid::from_parts(1, number),
        state,
        external_id: id.map(str::to_owned),
        outcome: None,
    }
}

async fn journal<S: Store>(store: &S) {
    store.plan_intents(vec![intent(2), intent(1)]).await.unwrap();
    let open = store.open_intents().await.unwrap();
    assert_eq!(open, [intent(1), intent(2)], "the oldest first");
    let first = intent(1).id;
    let early = store.settle_intents(vec![settlement(1, IntentState::Acked, None)], NOW).await;
    assert!(matches!(early, Err(StoreError::IllegalTransition { .. })), "{early:?}");

    store.answer_intent(doubt(first, "never sent"), NOW.plus_ms(1)).await.unwrap();
    assert_eq!(store.open_intents().await.unwrap()[0].outcome, None, "only a sent one is doubted");
    store.send_intent(first, NOW.plus_ms(2)).await.unwrap();
    let twice = store.send_intent(first, NOW.plus_ms(3)).await;
    assert!(matches!(twice, Err(StoreError::IllegalTransition { .. })), "{twice:?}");
    store.answer_intent(doubt(first, "lost"), NOW.plus_ms(4)).await.unwrap();
    let sent = store.open_intents().await.unwrap().remove(0);
    assert_eq!((sent.state, sent.sent_at), (IntentState::Sent, Some(NOW.plus_ms(4))));
    assert_eq!(sent.outcome.as_deref(), Some("lost"));

    // All or none.
    let both = vec![
        settlement(1, IntentState::Acked, Some("id")),
        settlement(2, IntentState::Verified, None),
    ];
    assert!(store.settle_intents(both, NOW).await.is_err());
    assert_eq!(store.open_intents().await.unwrap()[0].state, IntentState::Sent);
    store.settle_intents(vec![settlement(1, IntentState::Acked, Some("id"))], NOW).await.unwrap();
    store.settle_intents(vec![settlement(2, IntentState::Aborted, None)], NOW).await.unwrap();
    let open = store.open_intents().await.unwrap();
    assert_eq!((open.len(), open[0].external_id.as_deref()), (1, Some("id")));
    store.settle_intents(vec![settlement(1, IntentState::Verified, None)], NOW).await.unwrap();
    assert_eq!(store.open_intents().await.unwrap(), []);
    let verified = store.intents_verified_since(NOW).await.unwrap();
    let verified: Vec<_> = verified.iter().map(|intent| (intent.id, intent.state)).collect();
    assert_eq!(verified, [(first, IntentState::Verified)], "and not the one that was aborted");
    assert_eq!(store.intents_verified_since(NOW.plus_ms(1)).await.unwrap(), []);
    let closed = store.settle_intents(vec![settlement(1, IntentState::Aborted, None)], NOW).await;
    assert!(matches!(closed, Err(StoreError::IllegalTransition { .. })), "{closed:?}");
    let unknown = store.send_intent(intent(9).id, NOW).await;
    assert!(matches!(unknown, Err(StoreError::Sqlite(_))), "{unknown:?}");
}

async fn secrets<S: Store>(store: &S) {
    let secret = |app: &str, name: &str, version| StoredSecret {
        app: app.to_owned(),
        name: name.to_owned(),
        state: SecretState::Set { hash: "hash".to_owned() },
        digest: Some("digest".to_owned()),
        version,
        read_at: NOW,
    };
    let all = vec![secret("b", "y", Some(1)), secret("b", "x", None), secret("a", "z", None)];
    store.put_secrets(all).await.unwrap();
    store.put_secrets(vec![secret("b", "y", Some(2))]).await.unwrap();
    let found = store.secrets().await.unwrap();
    let expected = [secret("a", "z", None), secret("b", "x", None), secret("b", "y", Some(2))];
    assert_eq!(found, expected);
    store.remove_secret("b".to_owned(), "x".to_owned()).await.unwrap();
    store.remove_secrets(vec!["a".to_owned()]).await.unwrap();
    assert_eq!(store.secrets().await.unwrap(), [secret("b", "y", Some(2))]);
}

async fn usage<S: Store>(store: &S) {
    let fact = |id: &str, deleted_at| UsageFact {
        machine_id: id.to_owned(),
        tenant: "acme".to_owned(),
        organization: "local".to_owned(),
        app: "app".to_owned(),
        state: "started".to_owned(),
        region: "ord".to_owned(),
        instance_id: None,
        started_at: Some(NOW),
        stopped_at: None,
        deleted_at,
        absent_since: None,
        metadata: [("key".to_owned(), "value".to_owned())].into(),
        volumes: Vec::new(),
    };
    let facts = vec![fact("c", Some(NOW)), fact("b", Some(NOW.plus_ms(5))), fact("a", None)];
    store.put_usage(facts, NOW).await.unwrap();
    let live = store.live_usage().await.unwrap();
    assert_eq!((live.facts, live.oldest_deleted_at), (vec![fact("a", None)], Some(NOW)));
    store.put_usage(Vec::new(), NOW.plus_ms(1)).await.unwrap();
    let known = store.usage_of(["a", "b", "c", "d"].map(str::to_owned).to_vec()).await.unwrap();
    assert_eq!(known, [fact("a", None), fact("b", Some(NOW.plus_ms(5)))]);
}

async fn versions<S: Store>(store: &S) {
    let version = |machine: &str, version: &str, edited: &[&str]| MachineVersion {
        machine_id: machine.to_owned(),
        version: version.to_owned(),
        intent: "intent".to_owned(),
        edited: edited.iter().map(|&member| member.to_owned()).collect(),
    };
    let learned = vec![version("b", "1", &[]), version("a", "1", &["config.env.X"])];
    store.put_machine_versions(learned).await.unwrap();
    // A write that was answered is known with its answer.
    store.plan_intents(vec![intent(3)]).await.unwrap();
    store.send_intent(intent(3).id, NOW).await.unwrap();
    let answer = |state| IntentAnswer {
        verdict: Verdict::Settled(settlement(3, state, Some("b"))),
        calls: Vec::new(),
        written: Some(version("b", "2", &[])),
    };
    store.answer_intent(answer(IntentState::Planned), NOW).await.unwrap_err();
    let known = store.machine_versions().await.unwrap();
    assert_eq!(known, [version("a", "1", &["config.env.X"]), version("b", "1", &[])]);
    store.answer_intent(answer(IntentState::Aborted), NOW).await.unwrap();
    store.remove_machine_versions(vec!["a".to_owned()]).await.unwrap();
    assert_eq!(store.machine_versions().await.unwrap(), [version("b", "2", &[])]);
}

async fn tombstones<S: Store>(store: &S) {
    let uid = ControllerId::from_bytes([7; 16]).tenant_uid("gone");
    let mut gone = object(Kind::Tenant, "gone");
    gone.uid = uid.to_string();
    gone.deleted_at = Some(NOW.plus_ms(3));
    let (org, app) = (Some("local".to_owned()), Some("gone-app".to_owned()));
    let status = TenantStatus { org, app, ..TenantStatus::default() };
    gone.status = Some(serde_json::to_value(status).unwrap());
    let stored = store.put_object(gone.clone(), None).await.unwrap();
    assert_eq!(store.tombstones().await.unwrap(), [], "none for those whose uid is none of ours");
    store.remove_object(Kind::Tenant, "gone", stored.resource_version).await.unwrap();
    let buried = store.tombstones().await.unwrap();
    assert_eq!(buried.len(), 1);
    let of_tenant = &buried[0];
    assert_eq!((of_tenant.kind, of_tenant.id.as_str()), (TombstoneKind::Tenant, "gone"));
    assert_eq!((of_tenant.uid, of_tenant.app.as_str()), (uid, "gone-app"));
    assert_eq!((of_tenant.cause, of_tenant.made_at), (Cause::Deleted, NOW.plus_ms(3)));

    let mut of_volume = of_tenant.clone();
    (of_volume.kind, of_volume.id) = (TombstoneKind::Volume, "vol_1".to_owned());
    let written = vec![of_volume.clone(), of_tenant.clone()];
    store.change_tombstones(written, Vec::new()).await.unwrap();
    let all = [of_tenant.clone(), of_volume.clone()];
    assert_eq!(store.tombstones().await.unwrap(), all);

    // What the pass knew is no longer so: another tombstone, or a tenant of that name.
    let doomed = |made_at, owner| Doomed {
        kind: TombstoneKind::Volume,
        id: "vol_1".to_owned(),
        made_at,
        owner,
    };
    let other = doomed(NOW, None);
    let owner = Some(Owner { generation: 1, deleting: false, class: None });
    let owned = doomed(of_volume.made_at, owner.clone());
    let refused = store.act_on_tombstones(vec![other, owned.clone()]).await.unwrap();
    assert_eq!(refused, [false, false]);
    gone.deleted_at = None;
    let again = store.put_object(gone, None).await.unwrap();
    let unowned = doomed(of_volume.made_at, None);
    assert_eq!(store.act_on_tombstones(vec![unowned.clone()]).await.unwrap(), [false]);
    assert_eq!(store.act_on_tombstones(vec![owned.clone()]).await.unwrap(), [true]);
    assert_eq!(store.act_on_tombstones(vec![owned]).await.unwrap(), [false], "once");
    let acting = store.tombstones().await.unwrap();
    assert_eq!(acting[1].state, TombstoneState::Acting);

    store.change_tombstones(Vec::new(), acting).await.unwrap();
    assert_eq!(store.tombstones().await.unwrap(), []);
    store.remove_object(Kind::Tenant, "gone", again.resource_version).await.unwrap();
    assert_eq!(store.tombstones().await.unwrap().len(), 1);
}
