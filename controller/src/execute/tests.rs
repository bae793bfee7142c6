use std::collections::BTreeSet;
use std::sync::Mutex;

use tempfile::TempDir;
use vault_plan::action::{ExtendVolume, LeftBehind, MachineRef, SetSecret};

use super::*;
use crate::identity::TENANT_SECRET;
use crate::platform::{AppOwner, Platform};
use crate::store::SqliteStore;
use crate::testing::{
    FakePlatform, ManualClock, NOW, ORG, SteppedClock, controller, not_sent, open, rejected,
    tenant_secrets, unknown,
};

struct Stage {
    _folder: TempDir,
    store: SqliteStore,
    platform: Arc<FakePlatform>,
    told: Arc<Mutex<Vec<Event>>>,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let platform = Arc::new(FakePlatform::watching(&store));
        Self { _folder: folder, store, platform, told: Arc::default() }
    }

    async fn run(&self, actions: Vec<Action>) -> Turn {
        let planned = |action| PlannedAction {
            tenant: "acme".into(),
            organization: ORG.into(),
            app: "acme-app".to_owned(),
            action,
            reason: "a test wants it".to_owned(),
        };
        let plan = Plan { actions: actions.into_iter().map(planned).collect(), ..Plan::default() };
        let told = Arc::clone(&self.told);
        let tell: Arc<dyn Fn(Event) + Send + Sync> =
            Arc::new(move |event| told.lock().unwrap().push(event));
        let clock = ManualClock::new();
        let (secrets, metrics) = (tenant_secrets(), crate::metrics::Metrics::default());
        let seams = Seams {
            platform: &self.platform,
            store: &self.store,
            clock: &clock,
            secrets: &secrets,
            tell: &tell,
            queue: metrics.queue(),
        };
        let work = Work { plan, standing: Standing::default() };
        let mut turns = Turns::default().carry_out(seams, work, None).await.unwrap();
        assert_eq!(turns.len(), 1);
        turns.remove(0)
    }

    async fn open(&self) -> Vec<(ActionKind, IntentState)> {
        let open = self.store.open_intents().await.unwrap();
        open.into_iter().map(|intent| (intent.kind, intent.state)).collect()
    }
}

fn start(id: &str) -> Action {
    Action::StartMachine(reference(id))
}

fn set_secret(name: &str) -> Action {
    let tenant_uid = controller().tenant_uid("acme");
    Action::SetSecret(SetSecret {
        name: name.into(),
        variable: name.into(),
        hash: "h1".to_owned(),
        tenant_uid,
        from: None,
        storage: None,
    })
}

fn reference(id: &str) -> MachineRef {
    MachineRef { id: id.to_owned(), name: format!("acme-box-{id}"), version: None }
}

fn extend(is_marked: bool) -> Action {
    Action::ExtendVolume(ExtendVolume {
        id: "vol_0".to_owned(),
        name: "v_data".to_owned(),
        from_gb: 1,
        size_gb: 3,
        machine: reference("7"),
        is_marked,
    })
}

#[tokio::test]
async fn an_extended_volume_is_noted_on_its_machine_as_far_as_it_is_seen() {
    // Whether the machine says its size, whether it has to start anew, and what is written on it.
    let table = [
        (true, false, Some("vault_volume_gb=3")),
        (true, true, None),
        (false, false, Some("vault_volume_gb=3")),
        (false, true, Some("vault_volume_gb=1")),
    ];
    for (is_marked, needs_restart, written) in table {
        let stage = Stage::new();
        stage.platform.world().extend_needs_restart = needs_restart;
        // A note that cannot be written costs a restart, not the extension.
        stage.platform.fail("set_metadata", rejected(500, "no"), true);
        let turn = stage.run(vec![extend(is_marked)]).await;
        assert!(turn.failure.is_none());
        let mut expected = vec!["extend_volume vol_0".to_owned()];
        expected.extend(written.map(|text| format!("set_metadata 7 {text}")));
        assert_eq!(stage.platform.world().calls, expected);
    }
    let stage = Stage::new();
    stage.platform.fail("extend_volume", rejected(422, "too large"), false);
    let turn = stage.run(vec![extend(false)]).await;
    assert_eq!(turn.failure.unwrap().hold, HoldKind::Refused);
    assert_eq!(stage.platform.world().calls, ["extend_volume vol_0"]);
}

#[tokio::test]
async fn each_intent_is_sent_before_its_call_and_acknowledged_after_it() {
    use ActionKind::{CreateApp, StartMachine, StopMachine};
    use IntentState::{Acked, Planned, Sent};
    let stage = Stage::new();
    let turn =
        stage.run(vec![Action::CreateApp, start("1"), Action::StopMachine(reference("2"))]).await;
    assert!(turn.failure.is_none());
    assert_eq!(turn.done.len(), 3);
    let seen = stage.platform.world().journal.clone();
    let expected = [
        [(CreateApp, Sent), (StartMachine, Planned), (StopMachine, Planned)],
        [(CreateApp, Acked), (StartMachine, Sent), (StopMachine, Planned)],
        [(CreateApp, Acked), (StartMachine, Acked), (StopMachine, Sent)],
    ];
    assert_eq!(seen, expected);
    assert!(stage.open().await.iter().all(|(_, state)| *state == Acked));
}

#[tokio::test]
async fn a_refused_action_ends_the_turn_and_leaves_nothing_open() {
    for (error, hold) in [
        (rejected(422, "no"), HoldKind::Refused),
        (rejected(403, "no"), HoldKind::Refused),
        (rejected(429, "slow"), HoldKind::BackOff),
        (not_sent(), HoldKind::BackOff),
    ] {
        let stage = Stage::new();
        stage.platform.fail("start_machine", error, false);
        let turn = stage.run(vec![start("1"), start("2"), start("3")]).await;
        assert!(turn.has_failed());
        let failure = turn.failure.unwrap();
        assert_eq!(failure.hold, hold);
        let beginning = "StartMachine of machine acme-box-1 failed: ";
        assert!(failure.message.starts_with(beginning), "{}", failure.message);
        assert!(turn.done.is_empty());
        assert_eq!(stage.platform.world().calls, ["start_machine 1"]);
        assert_eq!(stage.open().await, []);
        let told = stage.told.lock().unwrap();
        let told: Vec<_> = told.iter().map(|event| (event.warning, &event.message)).collect();
        assert_eq!(told, [(true, &failure.message)]);
    }
}

#[tokio::test]
async fn an_intent_names_what_is_there_already_and_nothing_else() {
    let volume = |left_behind| CreateVolume {
        name: "v_data".to_owned(),
        region: "ord".into(),
        size_gb: 1,
        machine: "acme-box-0".to_owned(),
        snapshot: None,
        left_behind,
    };
    for (action, verb, expected) in [
        (start("1"), "start_machine", Some("1")),
        (Action::StopMachine(reference("2")), "stop_machine", Some("2")),
        (extend(false), "extend_volume", Some("vol_0")),
        (Action::CreateVolume(volume(None)), "create_volume", None),
    ] {
        let stage = Stage::new();
        stage.platform.fail(verb, unknown(), false);
        let kind = action.kind();
        stage.run(vec![action]).await;
        let open = stage.store.open_intents().await.unwrap();
        let found: Vec<_> =
            open.iter().map(|intent| (intent.kind, intent.external_id.as_deref())).collect();
        assert_eq!(found, [(kind, expected)]);
    }
    // Whose data is left somewhere else is told where, once the new volume is there.
    let stage = Stage::new();
    let left = LeftBehind { id: "vol_old".to_owned(), app: "acme-old".to_owned() };
    stage.run(vec![Action::CreateVolume(volume(Some(left)))]).await;
    let told = stage.told.lock().unwrap();
    let told: Vec<_> = told.iter().filter(|event| event.message.contains("vol_old")).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].message.contains("acme-old"), "{told:?}");
}

#[tokio::test]
async fn a_lost_answer_leaves_the_intent_sent_and_the_rest_unsent() {
    let stage = Stage::new();
    stage.platform.fail("start_machine", unknown(), true);
    let turn = stage.run(vec![start("1"), start("2")]).await;
    assert!(turn.failure.is_some());
    let open = stage.store.open_intents().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].state, open[0].sent_at), (IntentState::Sent, Some(NOW)));
    assert!(open[0].outcome.as_deref().is_some_and(|outcome| outcome.contains("unknown")));
}

#[tokio::test]
async fn a_taken_name_is_ours_somebody_elses_or_nobodys() {
    let ours = AppOwner::Organization(ORG.to_owned());
    let foreign = AppOwner::Organization("foreign".to_owned());
    for (owner, hold) in [
        (ours, None),
        (foreign, Some(HoldKind::NameTaken)),
        (AppOwner::SomebodyElse, Some(HoldKind::NameTaken)),
        (AppOwner::Nobody, Some(HoldKind::BackOff)),
    ] {
        let stage = Stage::new();
        let taken = rejected(422, "Validation failed: Name has already been taken");
        stage.platform.fail("create_app", taken, false);
        stage.platform.world().owner = Some(owner.clone());
        let turn = stage.run(vec![Action::CreateApp, start("1")]).await;
        assert_eq!(turn.failure.map(|failure| failure.hold), hold, "{owner:?}");
        // Nothing is put into an app of which only the name is known.
        assert_eq!(stage.platform.world().calls, ["create_app acme-app", "app_owner acme-app"]);
        let expected = match hold {
            None => vec![(ActionKind::CreateApp, IntentState::Acked)],
            Some(_) => vec![],
        };
        assert_eq!(stage.open().await, expected);
    }
}

#[tokio::test]
async fn a_deleted_machine_that_is_not_there_is_deleted() {
    let stage = Stage::new();
    stage.platform.fail("delete_machine", rejected(404, "not found"), false);
    let turn = stage.run(vec![Action::DeleteMachine(reference("1"))]).await;
    assert!(turn.failure.is_none());
    assert_eq!(stage.open().await, [(ActionKind::DeleteMachine, IntentState::Acked)]);
}

fn versioned(id: &str, version: &str) -> MachineRef {
    MachineRef { version: Some(version.to_owned()), ..reference(id) }
}

/// A stage with the machines `1` and `2`, whose version is `01V`.
fn with_machines() -> Stage {
    let stage = Stage::new();
    for id in ["1", "2"] {
        let mut machine = crate::testing::machine(id, &format!("acme-box-{id}"), "acme-app");
        machine.version = Some("01V".to_owned());
        stage.platform.world().machines.push(machine);
    }
    stage
}

fn held(text: &str) -> vault_cloud::error::CallError {
    rejected(409, &format!("machine ID 1 lease currently held by you@tokens.fly.io{text}"))
}

#[tokio::test]
async fn a_stop_ends_its_lease_and_a_destroy_takes_it_along() {
    let stage = with_machines();
    let stop = Action::StopMachine(versioned("1", "01V"));
    let turn = stage.run(vec![stop, Action::DeleteMachine(versioned("2", "01V"))]).await;
    assert!(turn.failure.is_none());
    let expected = ["acquire 1", "stop 1 n1", "release 1 n1", "acquire 2", "destroy 2 n1"];
    assert_eq!(stage.platform.world().leases, expected);
    // That a lease is left to end by itself is no failure.
    stage.platform.fail("release_lease", rejected(404, "lease not found"), false);
    assert!(stage.run(vec![Action::StopMachine(reference("1"))]).await.failure.is_none());
    stage.platform.fail("release_lease", unknown(), false);
    assert!(stage.run(vec![Action::StopMachine(reference("1"))]).await.failure.is_none());
}

#[tokio::test]
async fn a_machine_that_changed_meanwhile_is_left_alone_and_given_back() {
    for action in [Action::StopMachine, Action::DeleteMachine] {
        let stage = with_machines();
        let turn = stage.run(vec![action(versioned("1", "01OLD"))]).await;
        let failure = turn.failure.unwrap();
        assert_eq!(failure.hold, HoldKind::BackOff);
        assert!(failure.message.contains("changed it meanwhile"), "{}", failure.message);
        assert_eq!(stage.platform.world().leases, ["acquire 1", "release 1 n1"]);
        assert_eq!(stage.open().await, [], "nothing was sent that could act");
    }
}

#[test]
fn the_version_of_an_update_of_the_same_turn_is_the_one_to_have() {
    let made = apply::Made {
        versions: [("1".to_owned(), "01NEW".to_owned())].into(),
        ..apply::Made::default()
    };
    assert_eq!(made.version(&versioned("1", "01OLD")), Some("01NEW"));
    assert_eq!(made.version(&versioned("2", "01OLD")), Some("01OLD"));
    assert_eq!(made.version(&reference("2")), None);
}

#[tokio::test]
async fn somebody_elses_lease_is_waited_for_and_no_failure() {
    let ends = UnixMillis(1_788_256_800_000);
    for (text, until) in [(", expires at 2026-09-01T10:00:00Z", Some(ends)), ("", None)] {
        for action in [Action::StopMachine, Action::DeleteMachine] {
            let stage = with_machines();
            stage.platform.fail("acquire_lease", held(text), false);
            let turn = stage.run(vec![action(versioned("1", "01V")), start("2")]).await;
            assert!(!turn.has_failed());
            let failure = turn.failure.unwrap();
            assert_eq!(failure.hold, HoldKind::Leased { until });
            assert!(failure.message.contains("you@tokens.fly.io"), "{}", failure.message);
            // Nothing is left at the platform that could act later.
            assert_eq!(stage.platform.world().leases, ["acquire 1"]);
            assert_eq!(stage.platform.world().calls, Vec::<String>::new());
            assert_eq!(stage.open().await, []);
            assert!(stage.told.lock().unwrap().iter().all(|event| !event.warning));
        }
    }
}

#[tokio::test]
async fn without_a_lease_only_a_machine_goes_whose_host_is_away() {
    let stage = with_machines();
    stage.platform.fail("acquire_lease", unknown(), false);
    let turn = stage.run(vec![Action::DeleteMachine(versioned("1", "01V"))]).await;
    assert!(turn.failure.is_none(), "its config does not show: its host is away");
    assert_eq!(stage.platform.world().leases, ["acquire 1", "destroy 1 without"]);

    let stage = with_machines();
    stage.platform.world().configs.insert("1".to_owned(), serde_json::Map::new());
    stage.platform.fail("acquire_lease", unknown(), true);
    let turn = stage.run(vec![Action::DeleteMachine(versioned("1", "01V"))]).await;
    assert_eq!(turn.failure.unwrap().hold, HoldKind::BackOff);
    assert_eq!(stage.platform.world().leases, ["acquire 1"]);
    assert_eq!(stage.open().await, [], "the machine was not touched");
}

#[tokio::test]
async fn a_machine_that_is_gone_is_destroyed_and_a_refused_deed_gives_the_lease_back() {
    let stage = with_machines();
    stage.platform.fail("acquire_lease", rejected(404, "machine not found"), false);
    let turn = stage.run(vec![Action::DeleteMachine(reference("1"))]).await;
    assert!(turn.failure.is_none());
    assert_eq!(stage.platform.world().leases, ["acquire 1"]);

    for (error, left) in [(rejected(412, "not stopped"), true), (unknown(), false)] {
        let stage = with_machines();
        stage.platform.fail("delete_machine", error, false);
        let turn = stage.run(vec![Action::DeleteMachine(reference("1"))]).await;
        assert!(turn.failure.is_some());
        let released = stage.platform.world().leases.contains(&"release 1 n1".to_owned());
        assert_eq!(released, left, "a call that may still wait needs its lease");
    }
}

#[test]
fn the_ids_of_a_turn_stand_in_its_order_whatever_is_drawn() {
    for random in [0, 1 << 79, (1 << 80) - 1, u128::MAX >> 1, u128::MAX] {
        let ids = new_intent_ids(NOW, random, 50);
        assert!(ids.is_sorted_by(|one, other| one < other), "{random:x}");
        assert!(ids.iter().all(|id| i64::try_from(id.timestamp_ms()).unwrap() == NOW.0));
    }
    // What is drawn is in them: two controllers on one database make no id twice.
    assert_ne!(new_intent_ids(NOW, 1 << 78, 1), new_intent_ids(NOW, 2 << 78, 1));
    assert_ne!(new_intent_ids(NOW, 100, 1), new_intent_ids(NOW, 200, 1));
}

#[tokio::test]
async fn a_secret_is_set_to_what_is_derived_and_its_answer_is_kept() {
    let stage = Stage::new();
    let turn = stage.run(vec![Action::CreateApp, set_secret(TENANT_SECRET)]).await;
    assert!(turn.failure.is_none());
    let value = tenant_secrets().tenant_secret(controller().tenant_uid("acme"));
    let key = ("acme-app".to_owned(), TENANT_SECRET.to_owned());
    assert_eq!(stage.platform.world().secrets[&key].0, value.text().as_str());
    assert_eq!(
        stage.store.secrets().await.unwrap(),
        [StoredSecret {
            app: "acme-app".to_owned(),
            name: TENANT_SECRET.to_owned(),
            state: SecretState::Set { hash: "h1".to_owned() },
            digest: Some("digest-1".to_owned()),
            version: Some(1),
            read_at: NOW,
        }]
    );
    let told = stage.told.lock().unwrap();
    assert_eq!(told[1].message, format!("secret {TENANT_SECRET} of app acme-app set"));
    assert!(told.iter().all(|event| !format!("{event:?}").contains(value.text().as_str())));
}

#[tokio::test]
async fn a_secret_whose_answer_was_lost_or_that_nobody_knows_ends_the_turn_and_is_not_kept() {
    for (name, failure, hold, open) in [
        (TENANT_SECRET, Some(unknown()), HoldKind::BackOff, 1),
        (TENANT_SECRET, Some(rejected(400, "no")), HoldKind::Refused, 0),
        ("DATABASE_URL", None, HoldKind::Refused, 0),
    ] {
        let stage = Stage::new();
        if let Some(failure) = failure {
            stage.platform.fail("set_secret", failure, true);
        }
        let turn = stage.run(vec![set_secret(name), start("1")]).await;
        assert_eq!(turn.failure.unwrap().hold, hold);
        assert_eq!(stage.store.secrets().await.unwrap(), []);
        assert_eq!(stage.open().await.len(), open, "{name}");
        assert!(!stage.platform.world().calls.iter().any(|call| call.starts_with("start")));
    }
}

/// How long nothing has to end before a pass goes on without what is under way.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// Longer than anything here takes.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(60);

fn started(number: usize) -> PlannedAction {
    PlannedAction {
        tenant: format!("t{number:03}").into(),
        organization: ORG.into(),
        app: format!("t{number:03}-app"),
        action: start(&number.to_string()),
        reason: "a test wants it".to_owned(),
    }
}

impl Stage {
    /// Carries out what starts these tenants' machines, and moves the clock on as soon as `is_time`
    /// says so of the places that are free.
    async fn start(
        &self,
        turns: &mut Turns,
        tenants: std::ops::Range<usize>,
        is_time: impl Fn(&Self, usize) -> bool,
    ) -> Vec<String> {
        let places = turns.places();
        let tell: Arc<dyn Fn(Event) + Send + Sync> = Arc::new(|_| {});
        let (clock, secrets, metrics) =
            (SteppedClock::new(), tenant_secrets(), crate::metrics::Metrics::default());
        let seams = Seams {
            platform: &self.platform,
            store: &self.store,
            clock: &clock,
            secrets: &secrets,
            tell: &tell,
            queue: metrics.queue(),
        };
        let plan = Plan { actions: tenants.map(started).collect(), ..Plan::default() };
        let work = Work { plan, standing: Standing::default() };
        let all = turns.carry_out(seams, work, Some(PATIENCE));
        let time = async {
            while !is_time(self, places.available_permits()) {
                tokio::task::yield_now().await;
            }
            loop {
                clock.advance(PATIENCE);
                tokio::task::yield_now().await;
            }
        };
        let both = async {
            // Both arms are cancel-safe: time alone never ends.
            tokio::select! {
                ended = all => ended.unwrap(),
                () = time => unreachable!("time never ends"),
            }
        };
        let ended = tokio::time::timeout(DEADLINE, both).await.unwrap();
        ended.into_iter().map(|turn| turn.tenant).collect()
    }

    fn calls(&self) -> usize {
        self.platform.world().calls.len()
    }
}

#[tokio::test]
async fn a_turn_that_hangs_costs_the_others_one_place_and_not_the_next_pass() {
    let stage = Stage::new();
    stage.platform.world().hang = Some(("start_machine", false));
    let mut turns = Turns::default();
    // More than twice as many as there are places: who waits for one gets it while the call hangs.
    let tenants = 2 * TENANTS_IN_FLIGHT_MAX + 1;
    let others_have_ended = |stage: &Stage, free: usize| {
        stage.calls() == tenants - 1 && free == TENANTS_IN_FLIGHT_MAX - 1
    };
    let ended = stage.start(&mut turns, 0..tenants, others_have_ended).await;
    assert_eq!(ended.len(), tenants - 1);
    let left = turns.tenants();
    assert_eq!(left.len(), 1, "one of them hangs");
    assert!(!ended.contains(left.first().unwrap()));
    // The next pass serves others, and does not wait for it.
    let ended = stage.start(&mut turns, tenants..tenants + 3, |_, _| false).await;
    assert_eq!(ended, [257, 258, 259].map(|number| format!("t{number:03}")));
    assert_eq!(turns.tenants(), left);
    assert!(turns.take_ended().unwrap().is_empty());
    let open = stage.store.open_intents().await.unwrap();
    let sent: Vec<&str> = open
        .iter()
        .filter(|intent| intent.state == IntentState::Sent)
        .map(|intent| intent.tenant.as_str())
        .collect();
    assert_eq!(sent, Vec::from_iter(&left), "its intent stays as it is");
}

#[tokio::test]
async fn what_comes_of_a_turn_after_its_pass_is_told_once() {
    let stage = Stage::new();
    let answer = Arc::new(tokio::sync::Semaphore::new(0));
    stage.platform.world().gate = Some(("start_machine", Arc::clone(&answer)));
    let mut turns = Turns::default();
    assert!(turns.take_ended().unwrap().is_empty());
    let is_hanging = |stage: &Stage, _| stage.platform.calls().writes == 1;
    assert!(stage.start(&mut turns, 0..1, is_hanging).await.is_empty());
    assert_eq!(turns.tenants(), BTreeSet::from(["t000".to_owned()]));
    answer.add_permits(1);
    tokio::time::timeout(DEADLINE, turns.one_ended()).await.unwrap();
    assert!(turns.tenants().is_empty());
    let ended = turns.take_ended().unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].tenant.as_str(), ended[0].done.len()), ("t000", 1));
    assert!(turns.take_ended().unwrap().is_empty(), "it was told");
    assert_eq!(stage.open().await, [(ActionKind::StartMachine, IntentState::Acked)]);
}

#[tokio::test]
async fn while_all_places_are_taken_by_what_hangs_nothing_more_is_begun_and_the_pass_ends() {
    let stage = Stage::new();
    let answer = Arc::new(tokio::sync::Semaphore::new(0));
    stage.platform.world().gate = Some(("start_machine", Arc::clone(&answer)));
    let mut turns = Turns::default();
    let tenants = TENANTS_IN_FLIGHT_MAX + 1;
    let all_hang = |stage: &Stage, _| stage.platform.calls().writes == TENANTS_IN_FLIGHT_MAX as u64;
    assert!(stage.start(&mut turns, 0..tenants, all_hang).await.is_empty());
    assert_eq!(turns.tenants().len(), TENANTS_IN_FLIGHT_MAX);
    assert_eq!(stage.open().await.len(), TENANTS_IN_FLIGHT_MAX, "nothing is written of the last");
    answer.add_permits(TENANTS_IN_FLIGHT_MAX);
    tokio::time::timeout(DEADLINE, turns.finish()).await.unwrap();
    assert_eq!(turns.take_ended().unwrap().len(), TENANTS_IN_FLIGHT_MAX);
}
