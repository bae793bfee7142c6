use vault_plan::observed::Gaps;

use super::*;
use crate::testing::NOW;

fn machine(id: &str, changed_ms_ago: i64) -> ObservedMachine {
    ObservedMachine {
        updated_at: Some(NOW.plus_ms(-changed_ms_ago)),
        ..crate::testing::machine(id, id, "app")
    }
}

fn lists(machines: Vec<ObservedMachine>) -> ObservedOrganization {
    ObservedOrganization { machines, ..ObservedOrganization::default() }
}

fn changes(machines: Vec<ObservedMachine>) -> MachineList {
    MachineList { machines, ..MachineList::default() }
}

/// One machine that changed lately, and one that did long ago.
fn two() -> Vec<ObservedMachine> {
    vec![machine("1", 10_000), machine("2", 3_600_000)]
}

fn seen() -> Seen {
    Seen::of(&lists(two()), NOW).unwrap()
}

#[test]
fn changes_are_asked_for_with_an_overlap_before_the_look_and_before_the_newest_change() {
    let of = |ms_ago| Seen::of(&lists(vec![machine("1", ms_ago)]), NOW).unwrap().since();
    assert_eq!(of(3_600_000), NOW.plus_ms(-CLOCK_SKEW_MAX_MS - OVERLAP_MS));
    assert_eq!(of(10_000), NOW.plus_ms(-10_000 - OVERLAP_MS));
    // The platform's clock is ahead of ours.
    assert_eq!(of(-5_000), NOW.plus_ms(5_000 - OVERLAP_MS));
    let empty = Seen::of(&lists(Vec::new()), NOW).unwrap();
    assert_eq!(empty.since(), NOW.plus_ms(-CLOCK_SKEW_MAX_MS - OVERLAP_MS));
}

#[test]
fn what_the_overlap_contains_is_no_news() {
    assert!(seen().is_confirmed_by(&changes(vec![machine("1", 10_000)])));
    // Destroyed before the look, and so not among the ids that it showed.
    let gone = ObservedMachine { state: PlatformState::Destroyed, ..machine("0", 20_000) };
    assert!(seen().is_confirmed_by(&changes(vec![gone, machine("1", 10_000)])));
    // Of the very moment after which changes are told, a fraction of a millisecond later.
    let edge = ObservedMachine { updated_at: Some(seen().since()), ..machine("2", 0) };
    assert!(seen().is_confirmed_by(&changes(vec![machine("1", 10_000), edge])));
}

#[test]
fn each_kind_of_movement_is_seen() {
    let first = || machine("1", 10_000);
    let stopped = ObservedMachine { state: PlatformState::Stopped, ..first() };
    let updated = ObservedMachine { version: Some("another".to_owned()), ..first() };
    let destroyed = |id| ObservedMachine { state: PlatformState::Destroyed, ..machine(id, 0) };
    let untimed = ObservedMachine { updated_at: None, ..machine("2", 0) };
    for (what, moved) in [
        ("another state", vec![stopped]),
        ("another version", vec![updated]),
        ("a later time", vec![machine("1", 9_999)]),
        ("a machine that had not changed for long", vec![first(), machine("2", 0)]),
        ("a new machine", vec![first(), machine("3", 0)]),
        ("the end of a machine that changed lately", vec![destroyed("1")]),
        ("the end of another", vec![first(), destroyed("2")]),
        ("a change without its time", vec![first(), untimed]),
        ("a change that is no longer told", vec![]),
    ] {
        assert!(!seen().is_confirmed_by(&changes(moved)), "{what}");
    }
}

#[test]
fn a_list_of_changes_that_leaves_something_out_confirms_nothing() {
    let whole = || changes(vec![machine("1", 10_000)]);
    assert!(seen().is_confirmed_by(&whole()));
    assert!(!seen().is_confirmed_by(&MachineList { unreadable: 1, ..whole() }));
    let error_regions = ["ord".to_owned()].into();
    assert!(!seen().is_confirmed_by(&MachineList { error_regions, ..whole() }));
}

#[test]
fn of_lists_that_leave_something_out_nothing_is_remembered() {
    let with = |gaps| ObservedOrganization { gaps, ..lists(two()) };
    let unclear = Gaps { unclear: Some("rows".to_owned()), ..Gaps::default() };
    let regions = Gaps { regions: ["ord".to_owned()].into(), ..Gaps::default() };
    let counted = vault_plan::observed::VolumeGap::Counted(1);
    let volumes = Gaps { volumes: [("app".to_owned(), counted)].into(), ..Gaps::default() };
    for gaps in [unclear, regions, volumes] {
        assert!(Seen::of(&with(gaps), NOW).is_none());
    }
    let mut machines = two();
    machines[1].updated_at = None;
    assert!(Seen::of(&lists(machines), NOW).is_none());
}

#[test]
fn whole_lists_are_the_same_in_any_order_and_no_row_may_differ() {
    let volume = |id: &str| crate::testing::volume(id, "v_1", "app");
    let base = || ObservedOrganization {
        id: Some("7".to_owned()),
        apps: vec!["app".to_owned(), "other".to_owned()],
        app_ids: [("app".to_owned(), "1".to_owned())].into(),
        volumes: vec![volume("a"), volume("b")],
        ..lists(two())
    };
    let seen = Seen::of(&base(), NOW).unwrap();
    let mut turned = base();
    turned.apps.reverse();
    turned.machines.reverse();
    turned.volumes.reverse();
    assert!(seen.is_shown_by(&base()) && seen.is_shown_by(&turned));
    type Change = fn(&mut ObservedOrganization);
    let changes: [Change; 11] = [
        |lists| lists.id = None,
        |lists| drop(lists.apps.pop()),
        |lists| lists.apps.push("third".to_owned()),
        |lists| lists.app_ids.clear(),
        |lists| drop(lists.machines.pop()),
        // No list of changes would show it: the time of its last change is the same.
        |lists| lists.machines[1].state = PlatformState::Stopped,
        |lists| drop(lists.machines[0].metadata.insert("k".to_owned(), "v".to_owned())),
        |lists| drop(lists.volumes.pop()),
        |lists| lists.volumes[0].size_gb += 1,
        |lists| lists.gaps.unclear = Some("a row could not be read".to_owned()),
        |lists| lists.gaps.regions.extend(["ord".to_owned()]),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let mut lists = base();
        change(&mut lists);
        assert!(!seen.is_shown_by(&lists), "{place}");
    }
}
