use super::*;
use crate::identity::ControllerId;

const HOUR_MS: i64 = 3_600_000;
const MADE: UnixMillis = UnixMillis(1_800_000_000_000);

fn tombstone() -> Tombstone {
    Tombstone {
        kind: TombstoneKind::Volume,
        id: "vol_1".to_owned(),
        tenant: "acme".to_owned(),
        uid: ControllerId::from_bytes([7; 16]).tenant_uid("acme"),
        organization: "local".to_owned(),
        app: "acme-app".to_owned(),
        name: "v_data".to_owned(),
        region: "ord".to_owned(),
        size_gb: 1,
        machine: "acme-box-0".to_owned(),
        template: "data".to_owned(),
        policy: DeletionPolicy::Delete,
        cause: Cause::Deleted,
        snapshot: None,
        made_at: MADE,
        due_at: MADE.plus_ms(24 * HOUR_MS),
        sightings: 0,
        seen_at: None,
        state: TombstoneState::Standing,
        ended_at: None,
        outcome: None,
    }
}

/// Looks every `every_ms` of real time; the clock is `skew` of the real time off. Answers after how
/// much real time the tombstone has matured.
fn matures_after(grace_ms: i64, every_ms: i64, skew: impl Fn(i64) -> i64) -> Option<i64> {
    let policy = Policy { deletion_grace_ms: grace_ms, ..Policy::default() };
    let mut tombstone = tombstone();
    for look in 0..20_000 {
        let passed = look * every_ms;
        let now = MADE.plus_ms(passed + skew(passed));
        tombstone.sight(&policy, now);
        if tombstone.has_matured(now) {
            return Some(passed);
        }
    }
    None
}

#[test]
fn a_tombstone_matures_with_its_grace() {
    let day = 24 * HOUR_MS;
    assert_eq!(matures_after(day, 10_000, |_| 0), Some(day));
    assert_eq!(matures_after(2_000, 50, |_| 0), Some(2_000));
    let late = matures_after(2_000, 10_000, |_| 0).unwrap();
    assert!(late >= 70_000, "eight passes are needed, however short the grace is: {late}");
}

#[test]
fn no_step_of_the_clock_takes_more_than_half_of_the_grace_away() {
    let day = 24 * HOUR_MS;
    for step in [HOUR_MS, 3 * HOUR_MS, 11 * HOUR_MS, 13 * HOUR_MS, day, 365 * day] {
        for at in [0, HOUR_MS, 5 * HOUR_MS, 12 * HOUR_MS, 23 * HOUR_MS] {
            let after = matures_after(day, 60_000, |passed| if passed > at { step } else { 0 });
            let after = after.unwrap();
            assert!(after >= day / 2, "a step of {step} at {at}: {after}");
            let back = matures_after(day, 60_000, |passed| if passed > at { -step } else { 0 });
            assert!(back.unwrap() >= day, "a step back of {step} at {at}: {back:?}");
        }
    }
}

#[test]
fn a_clock_that_jumps_far_ahead_and_back_matures_nothing_early() {
    let day = 24 * HOUR_MS;
    let jumps = |passed: i64| if passed == HOUR_MS { 400 * day } else { 0 };
    assert!(matures_after(day, 60_000, jumps).unwrap() > day);
}

#[test]
fn whoever_was_away_for_long_waits_the_whole_grace_again() {
    let policy = Policy::default();
    let mut tombstone = tombstone();
    let mut now = MADE;
    for _ in 0..10 {
        tombstone.sight(&policy, now);
        now = now.plus_ms(3 * HOUR_MS);
    }
    assert!(tombstone.has_matured(now), "{tombstone:?}");
    // A backup of this one comes back a week later.
    let later = now.plus_ms(7 * 24 * HOUR_MS);
    assert_eq!(tombstone.sight(&policy, later), Sighted::BeganAnew);
    assert!(!tombstone.has_matured(later));
    assert_eq!(tombstone.due_at, later.plus_ms(24 * HOUR_MS));
    assert!(tombstone.matures_at(&policy) >= tombstone.due_at);
}

#[test]
fn what_is_held_back_wakes_nobody_again_and_again() {
    let policy = Policy::default();
    let mut tombstone = tombstone();
    for look in 0..SIGHTINGS {
        tombstone.sight(&policy, MADE.plus_ms(i64::from(look) * 3 * HOUR_MS));
    }
    let seen = MADE.plus_ms(21 * HOUR_MS);
    assert_eq!(tombstone.next_look(&policy, seen), Some(MADE.plus_ms(24 * HOUR_MS)));
    let late = MADE.plus_ms(30 * HOUR_MS);
    assert!(tombstone.has_matured(late));
    assert_eq!(tombstone.next_look(&policy, late), None);
    tombstone.sight(&policy, late);
    assert_eq!(tombstone.next_look(&policy, late), Some(late.plus_ms(3 * HOUR_MS)));
}

#[test]
fn a_volume_that_was_held_meanwhile_waits_the_whole_grace_again() {
    let policy = Policy::default();
    let mut tombstone = tombstone();
    for look in 0..10 {
        tombstone.sight(&policy, MADE.plus_ms(look * 3 * HOUR_MS));
    }
    let now = MADE.plus_ms(27 * HOUR_MS);
    assert!(tombstone.has_matured(now));
    assert!(tombstone.unsight());
    assert!(!tombstone.has_matured(now));
    assert_eq!(tombstone.sight(&policy, now), Sighted::BeganAnew);
    assert_eq!(tombstone.due_at, now.plus_ms(24 * HOUR_MS));
}

#[test]
fn links_of_the_chain_are_as_long_as_they_may_be() {
    let policy = Policy::default();
    let (step, gap) = (3 * HOUR_MS, 12 * HOUR_MS);
    let after = |passed_ms: i64| {
        let mut tombstone = tombstone();
        assert_eq!(tombstone.sight(&policy, MADE), Sighted::BeganAnew);
        tombstone.sight(&policy, MADE.plus_ms(passed_ms))
    };
    assert_eq!(after(step - 1), Sighted::TooSoon);
    assert_eq!(after(step), Sighted::Counted);
    assert_eq!(after(gap), Sighted::Counted);
    assert_eq!(after(gap + 1), Sighted::BeganAnew);
    // A clock that was set back is waited for, as long as one link is long.
    assert_eq!(after(-step), Sighted::TooSoon);
    assert_eq!(after(-step - 1), Sighted::BeganAnew);
}

#[test]
fn when_it_matures_and_when_to_look_follow_from_what_was_seen() {
    let policy = Policy::default();
    let mut tombstone = tombstone();
    assert!(!tombstone.unsight(), "there was no chain yet");
    assert_eq!(tombstone.matures_at(&policy), MADE.plus_ms(24 * HOUR_MS));
    assert_eq!(tombstone.next_look(&policy, MADE), Some(MADE.plus_ms(3 * HOUR_MS)));
    // Nobody is woken for the very moment in which the pass looks already.
    assert_eq!(tombstone.next_look(&policy, MADE.plus_ms(3 * HOUR_MS)), None);
    tombstone.sight(&policy, MADE.plus_ms(5 * HOUR_MS));
    assert_eq!(tombstone.due_at, MADE.plus_ms(29 * HOUR_MS));
    assert_eq!(tombstone.matures_at(&policy), MADE.plus_ms(29 * HOUR_MS));
    tombstone.sight(&policy, MADE.plus_ms(10 * HOUR_MS));
    assert_eq!(tombstone.matures_at(&policy), MADE.plus_ms(29 * HOUR_MS));
    tombstone.sight(&policy, MADE.plus_ms(20 * HOUR_MS));
    // Five sightings are missing, three hours apart at least.
    assert_eq!(tombstone.matures_at(&policy), MADE.plus_ms(35 * HOUR_MS));
}

#[test]
fn what_has_ended_is_not_open_and_says_how() {
    assert!(tombstone().is_open());
    let acting = Tombstone { state: TombstoneState::Acting, ..tombstone() };
    assert!(acting.is_open());
    let ended = acting.ended("it was deleted", MADE);
    assert!(!ended.is_open());
    assert_eq!((ended.ended_at, ended.outcome.as_deref()), (Some(MADE), Some("it was deleted")));
    assert_eq!(ended.id, "vol_1");
}

/// They stand in databases: another word is another value.
#[test]
fn words_stay_what_they_are() {
    assert_eq!(TombstoneKind::ALL.map(TombstoneKind::word), ["volume", "tenant", "bucket"]);
    assert_eq!(Cause::ALL.map(Cause::word), ["deleted", "unwanted"]);
    assert_eq!(TombstoneState::ALL.map(TombstoneState::word), ["standing", "acting", "ended"]);
}
