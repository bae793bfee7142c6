//! Passes in between: when nothing is looked at but changes, and what makes a pass a whole one.

use vault_plan::observed::PlatformState;

use super::*;
use crate::testing::NOW;

const SWEEP_EVERY: u32 = 12;
/// More passes than it takes to rest again.
const PASSES_MAX: usize = 20;
/// The calls of a pass in between.
const CHANGES: Calls = Calls { reads: 1, secret_reads: 0, writes: 0 };

impl Stage {
    /// A controller with one tenant that is Ready, and whose next pass is one in between.
    async fn at_rest() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let (platform, clock) = (Arc::default(), ManualClock::new());
        let stage = Self::sweeping(SWEEP_EVERY, folder, store, platform, clock, tenant_secrets());
        put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
        stage.rests().await;
        // The next ones after a plan are known.
        while !stage.pass().await.planned {}
        stage
    }

    /// Passes until one looked at nothing but changes.
    async fn rests(&self) {
        for _ in 0..PASSES_MAX {
            if !self.pass().await.swept {
                return;
            }
        }
        panic!("it never rests: {:?}", self.pass().await);
    }

    fn machine(&self) -> String {
        self.platform.world().machines[0].id.clone()
    }
}

#[tokio::test]
async fn while_nothing_moves_a_pass_costs_one_read_and_every_twelfth_looks_whole() {
    let stage = Stage::at_rest().await;
    let version = stage.store.resource_version().await.unwrap();
    for round in 0..3 {
        for number in 1..SWEEP_EVERY {
            let pass = stage.pass().await;
            assert_eq!((pass.calls, pass.swept), (CHANGES, false), "{round} {number}");
            assert_eq!((pass.tenants, pass.ready.len(), pass.actions), (1, 1, 0));
            assert_eq!((pass.fleet.floor_reads, pass.fleet.machines.total), (1, 1));
        }
        let pass = stage.pass().await;
        assert!(pass.swept, "{round}");
        assert_eq!((pass.calls.reads, pass.calls.writes), (3, 0));
    }
    assert_eq!(stage.store.resource_version().await.unwrap(), version);
}

#[tokio::test]
async fn whole_lists_that_differ_in_nothing_need_no_plan_and_every_third_makes_one() {
    let stage = Stage::at_rest().await;
    for round in 0..3 {
        for look in 1..=PLAN_EVERY {
            let mut pass = stage.pass().await;
            while !pass.swept {
                assert!(!pass.planned);
                pass = stage.pass().await;
            }
            assert_eq!(pass.planned, look == PLAN_EVERY, "{round} {look}");
            assert_eq!((pass.calls.reads, pass.calls.writes), (3, 0));
            assert_eq!((pass.ready.len(), pass.fleet.floor_reads), (1, 3));
        }
    }
}

#[tokio::test]
async fn whatever_whole_lists_show_anew_is_planned_for_in_the_same_pass() {
    type Change = fn(&mut crate::testing::World);
    let changes: [Change; 4] = [
        |world| drop(world.volumes.pop()),
        |world| world.volumes[0].size_gb = 7,
        |world| world.apps.push("another".to_owned()),
        // By nobody's clock: no list of changes shows it.
        |world| world.machines[0].state = PlatformState::Stopped,
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let stage = Stage::at_rest().await;
        assert!(!stage.pass().await.swept);
        change(&mut stage.platform.world());
        let mut pass = stage.pass().await;
        while !pass.swept {
            pass = stage.pass().await;
        }
        assert!(pass.planned, "{place}");
        assert!(pass.actions > 0 || place != 3, "a machine that stopped is started");
    }
}

#[tokio::test]
async fn a_machine_that_moves_is_put_right_by_the_very_next_pass() {
    let stage = Stage::at_rest().await;
    let (id, now) = (stage.machine(), stage.clock.now());
    assert!(!stage.pass().await.swept);
    {
        let mut world = stage.platform.world();
        world.made_after_ms = now.since_ms(NOW);
        world.destroy(&id);
    }
    let pass = stage.pass().await;
    assert!(pass.swept);
    assert_eq!(pass.actions, 1, "it is made anew");
    assert_eq!(stage.platform.world().machines.len(), 1);
}

#[tokio::test]
async fn what_is_written_is_taken_in_by_the_very_next_pass() {
    let stage = Stage::at_rest().await;
    assert!(!stage.pass().await.swept);
    change(&stage, |spec| spec["machines"][0]["config"]["image"] = json!("nginx:2")).await;
    let pass = stage.pass().await;
    assert_eq!((pass.swept, pass.actions), (true, 1));
    let other = Stage::at_rest().await;
    put(&other.store, &tenant("other", "nginx:1"), Source::Api).await;
    assert_eq!(other.pass().await.tenants, 2);
}

#[tokio::test]
async fn whatever_is_doubtful_makes_a_pass_a_whole_one() {
    let stage = Stage::at_rest().await;
    stage.platform.fail("machines_since", rejected(500, "no"), false);
    assert!(stage.pass().await.swept);
    stage.rests().await;
    stage.platform.world().error_regions.insert("ord".to_owned());
    for _ in 0..PASSES_MAX {
        // And lists that leave something out are no basis for the next pass.
        assert!(stage.pass().await.swept);
    }
    stage.platform.world().error_regions.clear();
    stage.rests().await;
    stage.platform.world().unreadable = 1;
    for _ in 0..PASSES_MAX {
        assert!(stage.pass().await.swept);
    }
    stage.platform.world().unreadable = 0;
    stage.rests().await;
    // The clock is turned back.
    stage.clock.advance(-3_600_000);
    assert!(stage.pass().await.swept);
    stage.rests().await;
    // Another file is gone from the folder.
    let missing = BTreeSet::from([(Kind::Tenant, "acme".to_owned())]);
    assert!(stage.reconciler.pass(&missing).await.unwrap().swept);
}

#[tokio::test]
async fn a_volume_that_is_gone_is_found_by_the_next_whole_pass() {
    let stage = Stage::at_rest().await;
    stage.platform.world().volumes.clear();
    for _ in 1..SWEEP_EVERY {
        assert!(!stage.pass().await.swept, "no list of changes shows volumes");
    }
    let pass = stage.pass().await;
    assert!(pass.swept);
    assert!(!pass.ready.contains("acme"), "{pass:?}");
}

#[tokio::test]
async fn a_secret_from_a_file_is_read_in_between_and_set_by_the_very_next_pass() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("db");
    std::fs::write(&file, "first").unwrap();
    let sources = SecretSources::new(Some(files.path().to_owned()), []);
    let secrets = MasterKey::from_bytes([7; 32]).tenant_secrets().with_sources(sources);
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (platform, clock, secrets) = (Arc::default(), ManualClock::new(), Arc::new(secrets));
    let stage = Stage::sweeping(SWEEP_EVERY, folder, store, platform, clock, secrets);
    let mut wanted = tenant("acme", "nginx:1");
    wanted["spec"]["secrets"] = json!([{ "name": "DATABASE_URL", "from": { "file": "db" } }]);
    put(&stage.store, &wanted, Source::Folder { file: "acme.yaml".to_owned() }).await;
    stage.rests().await;
    // As many bytes as before, and written within the same moment.
    std::fs::write(&file, "other").unwrap();
    let pass = stage.pass().await;
    assert!(pass.swept && pass.actions > 0, "{pass:?}");
    stage.rests().await;
    std::fs::remove_file(&file).unwrap();
    let pass = stage.pass().await;
    assert!(pass.swept && pass.ready.is_empty(), "{pass:?}");
    // What cannot be read is no reason to look whole either, for as long as it cannot.
    stage.rests().await;
    std::fs::write(&file, "other").unwrap();
    let pass = stage.pass().await;
    assert!(pass.swept && pass.ready.contains("acme"), "{pass:?}");
}

#[tokio::test]
async fn a_paused_tenant_is_no_reason_to_look_at_all_the_others_whole() {
    let stage = Stage::at_rest().await;
    let mut paused = tenant("paused", "nginx:1");
    paused["spec"]["reconcile"] = json!("Paused");
    put(&stage.store, &paused, Source::Api).await;
    stage.rests().await;
    let pass = stage.pass().await;
    assert_eq!((pass.calls, pass.swept), (CHANGES, false));
    assert_eq!((pass.tenants, pass.ready.len()), (2, 1));
    assert!(!pass.ready.contains("paused"));
}

#[tokio::test]
async fn a_tenant_that_fails_is_tried_again_when_its_time_has_come_and_costs_nothing_before() {
    let stage = Stage::at_rest().await;
    for _ in 0..PASSES_MAX {
        stage.platform.fail("create_app", rejected(500, "not now"), false);
    }
    put(&stage.store, &tenant("poisoned", "nginx:1"), Source::Api).await;
    let (mut tries, mut whole, mut between) = (0, 0, 0);
    for _ in 0..600 {
        let pass = stage.pass().await;
        tries += pass.failures;
        match pass.swept {
            true => whole += 1,
            false => between += 1,
        }
        if !pass.swept {
            let due = pass.held_until.unwrap();
            assert!(stage.clock.now() < due, "it is overdue since {due:?}");
        }
    }
    // A pass a second for ten minutes: the pauses between attempts double, to five minutes.
    assert!((8..=11).contains(&tries), "{tries}");
    // Each attempt costs itself, the pass that tells of it, and the one that sees that this is all;
    // the others are those that look whole once in a while.
    assert!(whole <= 3 * tries + 600 / SWEEP_EVERY as usize + 1, "{whole} whole, {tries} tries");
    assert!(between > 500, "{between} of 600 passes were no whole ones");
    // What moves elsewhere is found all the same.
    let machine = stage.machine();
    stage.rests().await;
    let now = stage.clock.now();
    {
        let mut world = stage.platform.world();
        world.made_after_ms = now.since_ms(NOW);
        world.destroy(&machine);
    }
    let pass = stage.pass().await;
    assert!(pass.swept && pass.actions > 0);
}

#[tokio::test]
async fn a_tenant_that_is_gone_but_for_finalizers_of_others_is_no_reason_either() {
    let stage = Stage::at_rest().await;
    let mut stored = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    let finalizers = json!(["example.com/theirs", "vaultctl.dev/teardown"]);
    stored.metadata.insert("finalizers".to_owned(), finalizers);
    stored.deleted_at = Some(stage.clock.now());
    let version = Some(stored.resource_version);
    stage.store.put_object(stored, version).await.unwrap();
    stage.rests().await;
    assert_eq!(stage.pass().await.tenants, 1);
    let mut stored = stage.store.object(Kind::Tenant, "acme").await.unwrap().unwrap();
    stored.metadata.remove("finalizers");
    let version = Some(stored.resource_version);
    stage.store.put_object(stored, version).await.unwrap();
    assert_eq!(stage.pass().await.tenants, 0, "the very next pass lets it go");
}

/// Numbers that look drawn; the same ones for the same beginning.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

impl Stage {
    /// Something happens to a machine or to what is stored, or nothing does.
    async fn meddle(&self, chance: &mut Chance, step: u64) {
        let what = chance.below(48);
        {
            let mut world = self.platform.world();
            world.made_after_ms = self.clock.now().since_ms(NOW);
            let now = world.now();
            let count = world.machines.len() as u64;
            if count > 0 && what < 3 {
                let place = usize::try_from(chance.below(count)).unwrap();
                let id = world.machines[place].id.clone();
                let machine = &mut world.machines[place];
                machine.updated_at = Some(now);
                match what {
                    0 => machine.state = PlatformState::Stopped,
                    1 => machine.version = Some(format!("theirs-{step}")),
                    _ => world.destroy(&id),
                }
            }
        }
        match what {
            3 => {
                let image = json!(format!("nginx:{step}"));
                change(self, |spec| spec["machines"][0]["config"]["image"] = image).await;
            }
            4 => drop(put(&self.store, &tenant(&format!("t{step}"), "nginx:1"), Source::Api).await),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_pass_in_between_never_passes_over_what_a_whole_one_would_do() {
    let mut between = 0;
    for seed in 1..=10 {
        let stage = Stage::at_rest().await;
        let mut chance = Chance(seed * 0x9e37_79b9);
        for step in 0..40 {
            stage.meddle(&mut chance, step).await;
            let pass = stage.pass().await;
            if pass.swept {
                continue;
            }
            between += 1;
            let objects = Objects::load(&stage.store).await.unwrap();
            assert_eq!(pass.tenants, objects.tenants.len(), "{seed} {step}");
            let whole = stage.reconciler.preview(objects).await.unwrap();
            assert!(whole.plan.actions.is_empty(), "{seed} {step}: {:?}", whole.plan.actions);
            assert!(whole.plan.report.tenants.iter().all(|tenant| tenant.ready()), "{seed} {step}");
        }
    }
    assert!(between > 50, "only {between} passes looked at nothing but changes");
}
