use vault_plan::metadata;
use vault_plan::observed::Gaps;

use super::*;
use crate::testing::{NOW, ORG, machine, volume};

const OURS: &str = "the-controller";

/// A machine with our mark, that the platform changed last at `updated_ms` after [`NOW`].
fn ours(id: &str, state: PlatformState, updated_ms: i64) -> ObservedMachine {
    let mut made = machine(id, &format!("acme-box-{id}"), "acme-app");
    made.metadata = BTreeMap::from([
        (metadata::CONTROLLER.to_owned(), OURS.to_owned()),
        (metadata::TENANT.to_owned(), "acme".to_owned()),
    ]);
    made.state = state;
    made.updated_at = Some(NOW.plus_ms(updated_ms));
    made
}

/// Facts as the store would keep them, and the looks that change them.
#[derive(Default)]
struct Ledger {
    facts: BTreeMap<String, UsageFact>,
    volumes: Vec<ObservedVolume>,
    gaps: Gaps,
    /// How often a machine was listed just as its fact had it.
    same: usize,
}

impl Ledger {
    /// Folds one look at `now_ms` after [`NOW`]; answers how many facts changed.
    fn look(&mut self, machines: Vec<ObservedMachine>, now_ms: i64) -> usize {
        let organization = ObservedOrganization {
            machines,
            volumes: self.volumes.clone(),
            gaps: self.gaps.clone(),
            ..ObservedOrganization::default()
        };
        // What is taken for as it was before must be so: nothing would follow from it.
        let attached = by_machine(&organization.volumes);
        for machine in &organization.machines {
            let Some(before) = self.facts.get(&machine.id) else { continue };
            let attached = attached.get(machine.id.as_str()).map_or(&[][..], Vec::as_slice);
            if is_as_before(before, ORG, machine, attached) {
                let now = NOW.plus_ms(now_ms);
                for whole in [true, false] {
                    let fact = follow(Some(before), ORG, machine, attached, whole, now);
                    assert_eq!(fact, *before);
                }
                self.same += 1;
            }
        }
        let organizations = BTreeMap::from([(ORG.to_owned(), organization)]);
        let changes = fold(&self.facts, &organizations, OURS, NOW.plus_ms(now_ms));
        let count = changes.len();
        self.facts.extend(changes.into_iter().map(|fact| (fact.machine_id.clone(), fact)));
        count
    }

    /// State, and the times in milliseconds after [`NOW`].
    fn times(&self, id: &str) -> (&str, Option<i64>, Option<i64>, Option<i64>) {
        let fact = &self.facts[id];
        let after = |at: Option<UnixMillis>| at.map(|at| at.0 - NOW.0);
        let (started, stopped) = (after(fact.started_at), after(fact.stopped_at));
        (&fact.state, started, stopped, after(fact.deleted_at))
    }
}

#[test]
fn a_life_is_told_in_the_platforms_own_times() {
    let mut ledger = Ledger::default();
    let mut box_0 = ours("1", PlatformState::Created, 0);
    for (state, updated_ms, now_ms, expected) in [
        (PlatformState::Created, 0, 10, ("created", None, None)),
        (PlatformState::Starting, 20, 25, ("starting", None, None)),
        (PlatformState::Started, 30, 40, ("started", Some(30), None)),
        // Metadata was written: it runs since it started.
        (PlatformState::Started, 45, 50, ("started", Some(30), None)),
        (PlatformState::Stopping, 55, 60, ("stopping", Some(30), None)),
        (PlatformState::Stopped, 65, 70, ("stopped", Some(30), Some(65))),
        (PlatformState::Stopped, 66, 71, ("stopped", Some(30), Some(65))),
        (PlatformState::Started, 80, 90, ("started", Some(80), None)),
        (PlatformState::Suspended, 95, 99, ("suspended", Some(80), Some(95))),
    ] {
        box_0.state = state;
        box_0.updated_at = Some(NOW.plus_ms(updated_ms));
        ledger.look(vec![box_0.clone()], now_ms);
        let (state, started, stopped, deleted) = ledger.times("1");
        assert_eq!(((state, started, stopped), deleted), (expected, None), "at {now_ms}");
    }
}

#[test]
fn without_a_time_of_the_platforms_ours_stands_in_and_none_lies_in_the_future() {
    let mut ledger = Ledger::default();
    let mut untold = ours("1", PlatformState::Started, 0);
    untold.updated_at = None;
    let ahead = ours("2", PlatformState::Started, 1_000_000);
    let mut stopped_before = ours("3", PlatformState::Stopped, 5);
    ledger.look(vec![untold.clone(), ahead, stopped_before.clone()], 10);
    assert_eq!(ledger.times("1"), ("started", Some(10), None, None));
    assert_eq!(ledger.times("2"), ("started", Some(10), None, None));
    assert_eq!(ledger.times("3"), ("stopped", None, Some(5), None));
    // A clock of the platform's that runs behind does not turn a life around.
    untold.state = PlatformState::Stopped;
    untold.updated_at = Some(NOW);
    stopped_before.id = "4".to_owned();
    stopped_before.updated_at = None;
    ledger.look(vec![untold, stopped_before], 20);
    assert_eq!(ledger.times("1"), ("stopped", Some(10), Some(10), None));
    assert_eq!(ledger.times("4"), ("stopped", None, None, None));
}

#[test]
fn a_new_version_of_a_running_machine_began_anew() {
    let mut ledger = Ledger::default();
    let mut box_0 = ours("1", PlatformState::Started, 0);
    ledger.look(vec![box_0.clone()], 10);
    box_0.version = Some("01W".to_owned());
    box_0.updated_at = Some(NOW.plus_ms(15));
    ledger.look(vec![box_0], 20);
    assert_eq!(ledger.times("1"), ("started", Some(15), None, None));
    assert_eq!(ledger.facts["1"].instance_id.as_deref(), Some("01W"));
}

#[test]
fn a_look_with_nothing_new_changes_nothing() {
    let mut ledger = Ledger::default();
    let mut attached = volume("vol_1", "v", "acme-app");
    attached.attached_machine = Some("1".to_owned());
    ledger.volumes.push(attached);
    let box_0 = ours("1", PlatformState::Started, 0);
    assert_eq!(ledger.look(vec![box_0.clone()], 10), 1);
    assert_eq!(ledger.look(vec![box_0], 20), 0);
    // Gone, and gone for good: nothing more is written.
    assert_eq!([30, 40, 50, 60].map(|now_ms| ledger.look(vec![], now_ms)), [1, 1, 0, 0]);
    assert!(ledger.same > 0, "nothing was taken for as it was");
}

#[test]
fn a_machine_is_deleted_after_two_absences_and_since_the_first() {
    let mut ledger = Ledger::default();
    ledger
        .look(vec![ours("1", PlatformState::Started, 0), ours("2", PlatformState::Stopped, 5)], 10);
    ledger.look(vec![], 20);
    assert_eq!(ledger.times("1"), ("started", Some(0), None, None));
    ledger.look(vec![], 30);
    assert_eq!(ledger.times("1"), ("destroyed", Some(0), Some(20), Some(20)));
    assert_eq!(ledger.times("2"), ("destroyed", None, Some(5), Some(20)));
}

#[test]
fn absence_proves_nothing_in_a_gap() {
    let gaps = [
        Gaps { regions: ["ord".to_owned()].into(), ..Gaps::default() },
        Gaps { unclear: Some("many are missing at once".to_owned()), ..Gaps::default() },
    ];
    for gaps in gaps {
        let mut ledger = Ledger::default();
        ledger.look(vec![ours("1", PlatformState::Started, 0)], 10);
        ledger.gaps = gaps.clone();
        for now_ms in 20..30 {
            assert_eq!(ledger.look(vec![], now_ms), 0, "{gaps:?}");
        }
        ledger.gaps = Gaps { regions: ["ams".to_owned()].into(), ..Gaps::default() };
        assert_eq!(ledger.look(vec![], 30), 1, "a gap elsewhere hides nothing here");
    }
}

#[test]
fn an_organization_that_was_not_read_says_nothing() {
    let mut ledger = Ledger::default();
    ledger.look(vec![ours("1", PlatformState::Started, 0)], 10);
    for _ in 0..3 {
        assert_eq!(fold(&ledger.facts, &BTreeMap::new(), OURS, NOW.plus_ms(20)), []);
    }
}

#[test]
fn a_machine_that_returns_was_never_away() {
    let mut ledger = Ledger::default();
    let box_0 = ours("1", PlatformState::Started, 0);
    ledger.look(vec![box_0.clone()], 10);
    ledger.look(vec![], 20);
    ledger.look(vec![box_0.clone()], 25);
    assert_eq!(ledger.facts["1"].absent_since, None, "one absence is forgotten");
    ledger.look(vec![], 30);
    ledger.look(vec![], 40);
    assert_eq!(ledger.times("1").3, Some(30));
    ledger.look(vec![box_0], 50);
    assert_eq!(ledger.times("1"), ("started", Some(0), None, None));
}

#[test]
fn a_list_that_falls_back_behind_a_stop_lets_nothing_run_again() {
    let mut ledger = Ledger::default();
    let (runs, rests) = (PlatformState::Started, PlatformState::Stopped);
    for (state, updated_ms, now_ms, expected) in [
        (runs.clone(), 10, 20, ("started", Some(10), None, None)),
        (rests.clone(), 30, 40, ("stopped", Some(10), Some(30), None)),
        (runs.clone(), 10, 50, ("stopped", Some(10), Some(30), None)),
        (rests, 30, 60, ("stopped", Some(10), Some(30), None)),
        (runs, 70, 80, ("started", Some(70), None, None)),
    ] {
        ledger.look(vec![ours("1", state, updated_ms)], now_ms);
        assert_eq!(ledger.times("1"), expected, "at {now_ms}");
    }
    // Nor does one that falls back behind the stop and the deletion.
    let mut ledger = Ledger::default();
    ledger.look(vec![ours("1", PlatformState::Started, 10)], 20);
    ledger.look(vec![ours("1", PlatformState::Stopped, 30)], 40);
    ledger.look(vec![ours("1", PlatformState::Started, 10)], 50);
    ledger.look(vec![], 60);
    ledger.look(vec![], 70);
    assert_eq!(ledger.times("1"), ("destroyed", Some(10), Some(30), Some(60)));
}

#[test]
fn only_ours_count_and_a_host_out_of_reach_does_not_make_one_a_strangers() {
    let mut ledger = Ledger::default();
    let mut strangers = ours("2", PlatformState::Started, 0);
    strangers.metadata.insert(metadata::CONTROLLER.to_owned(), "another".to_owned());
    let mut box_0 = ours("1", PlatformState::Started, 0);
    ledger.look(vec![box_0.clone(), strangers, machine("3", "x", "y")], 10);
    assert_eq!(ledger.facts.keys().collect::<Vec<_>>(), ["1"]);
    let known = ledger.facts["1"].clone();
    box_0.metadata.clear();
    assert!(box_0.is_blank());
    ledger.look(vec![box_0], 20);
    assert_eq!(ledger.facts["1"], known);
}

#[test]
fn volumes_follow_their_machine_and_are_not_lost_in_a_gap() {
    let mut ledger = Ledger::default();
    let box_0 = ours("1", PlatformState::Started, 0);
    for (id, holder) in [("vol_2", Some("1")), ("vol_1", Some("1")), ("vol_3", None)] {
        let mut made = volume(id, "v", "acme-app");
        made.attached_machine = holder.map(str::to_owned);
        ledger.volumes.push(made);
    }
    let sizes = |ledger: &Ledger| -> Vec<(String, u32)> {
        let volumes = &ledger.facts["1"].volumes;
        volumes.iter().map(|volume| (volume.volume_id.clone(), volume.size_gib)).collect()
    };
    ledger.look(vec![box_0.clone()], 10);
    assert_eq!(sizes(&ledger), [("vol_1".to_owned(), 1), ("vol_2".to_owned(), 1)]);
    ledger.volumes.retain(|volume| volume.id == "vol_1");
    ledger.volumes[0].size_gb = 3;
    ledger.gaps.unclear = Some("1 rows could not be read".to_owned());
    ledger.look(vec![box_0.clone()], 20);
    assert_eq!(sizes(&ledger), [("vol_1".to_owned(), 3), ("vol_2".to_owned(), 1)]);
    ledger.gaps.unclear = None;
    ledger.look(vec![box_0], 30);
    assert_eq!(sizes(&ledger), [("vol_1".to_owned(), 3)]);
}
