//! The tombstones of deleted tenants: when their apps go, and how long their objects are kept.

use super::*;

fn deleted_apps(plan: &Plan) -> usize {
    plan.actions.iter().filter(|planned| planned.action == Action::DeleteApp).count()
}

#[test]
fn an_app_goes_only_when_nothing_is_in_it_and_its_name_is_derived() {
    let deletes_app = |case: &Case| deleted_apps(&case.plan()) == 1;
    let empty = || {
        let mut case = Case::new();
        case.tombstones = vec![of_tenant("acme")];
        case.lists.volumes.clear();
        case
    };
    assert!(deletes_app(&empty()));
    let mut named = empty();
    named.tombstones = vec![Tombstone { app: "vault-tenants".to_owned(), ..of_tenant("acme") }];
    named.lists.apps = vec!["vault-tenants".to_owned()];
    assert!(!deletes_app(&named));
    let mut with_volume = empty();
    with_volume.lists.volumes.push(ObservedVolume { name: "anything".to_owned(), ..volume() });
    assert!(!deletes_app(&with_volume));
    let mut with_machine = empty();
    with_machine.lists.machines.push(machine("foreign", "x"));
    assert!(!deletes_app(&with_machine));
    let mut with_tombstone = empty();
    with_tombstone.tombstones.push(due());
    assert!(!deletes_app(&with_tombstone));
    let mut counted = empty();
    counted.lists.gaps.volumes.insert(app(), VolumeGap::Counted(1));
    assert!(!deletes_app(&counted));
    let mut again = empty();
    again.tenant = Some((spec(0, "Delete"), false));
    assert!(!deletes_app(&again));
    assert_eq!(again.plan().tombstones.cleared.len(), 1);
}

#[test]
fn twenty_apps_go_in_one_pass_and_none_that_somebody_names() {
    let mut case = Case::new();
    case.lists.volumes.clear();
    case.tombstones = (0..25).map(|number| of_tenant(&format!("t{number}"))).collect();
    case.lists.apps = case.tombstones.iter().map(|tombstone| tombstone.app.clone()).collect();
    assert_eq!(deleted_apps(&case.plan()), 20);
    case.tombstones.truncate(1);
    assert_eq!(deleted_apps(&case.plan()), 1);
    let mut spec = spec(0, "Delete");
    spec.app = serde_json::from_value(json!(case.tombstones[0].app)).ok();
    case.tenant = Some((spec.clone(), false));
    assert_eq!(deleted_apps(&case.plan()), 0, "tenant acme names it");
    spec.app = serde_json::from_value(json!("elsewhere")).ok();
    case.tenant = Some((spec, false));
    assert_eq!(deleted_apps(&case.plan()), 1);
}

#[test]
fn what_holds_an_app_breaks_the_chain_of_its_sightings_and_each_link_is_written() {
    let written = |change: fn(&mut Case)| {
        let mut case = Case::new();
        case.lists.volumes.clear();
        case.tombstones = vec![Tombstone { sightings: SIGHTINGS - 3, ..of_tenant("acme") }];
        change(&mut case);
        case.plan().tombstones.written.first().map(|one| (one.sightings, one.seen_at))
    };
    assert_eq!(written(|_| {}), Some((SIGHTINGS - 2, Some(NOW))));
    assert_eq!(written(|case| case.tombstones[0].seen_at = Some(NOW.plus_ms(-1))), None);
    assert_eq!(written(|case| case.lists.volumes.push(volume())), Some((0, None)));
    let machine = |case: &mut Case| case.lists.machines.push(machine("foreign", "x"));
    assert_eq!(written(machine), Some((0, None)));
    let marked = |case: &mut Case| {
        let app = "elsewhere".to_owned();
        case.lists.machines.push(ObservedMachine { app, ..self::machine("acme-box-0", "acme") });
    };
    assert_eq!(written(marked), Some((0, None)), "a machine of it is in another app");
}

#[test]
fn an_app_that_is_gone_ends_the_tombstone_of_its_tenant_after_the_grace() {
    let outcome = |change: fn(&mut Case)| {
        let mut case = Case::new();
        case.lists.apps.clear();
        case.lists.volumes.clear();
        case.tombstones = vec![of_tenant("acme")];
        change(&mut case);
        let written = case.plan().tombstones.written;
        written.into_iter().find(|one| one.kind == TombstoneKind::Tenant)?.outcome
    };
    assert_eq!(outcome(|_| {}).as_deref(), Some("its app is gone"));
    let young = |case: &mut Case| {
        case.tombstones[0].made_at = NOW.plus_ms(1 - DELETION_GRACE_MS);
    };
    assert_eq!(outcome(young), None, "somebody may want it back");
    let with_volume = |case: &mut Case| {
        case.tombstones.push(due());
        case.lists.volumes.push(volume());
    };
    assert_eq!(outcome(with_volume), None, "a volume of it is left");
    assert_eq!(outcome(|case| case.tenant = Some((spec(1, "Retain"), true))), None, "it is going");
    let cleared = |deleting: bool| {
        let mut case = Case::new();
        case.tombstones = vec![of_tenant("acme")];
        case.tenant = Some((spec(1, "Retain"), deleting));
        case.plan().tombstones.cleared.len()
    };
    assert_eq!((cleared(false), cleared(true)), (1, 0));
}

#[test]
fn the_object_of_a_tenant_whose_app_is_not_ours_is_kept_for_thirty_days() {
    let outcome = |age_ms: i64| {
        let mut case = Case::new();
        case.lists.volumes.clear();
        let (app, made_at) = ("vault-tenants".to_owned(), NOW.plus_ms(-age_ms));
        case.tombstones = vec![Tombstone { app, made_at, ..of_tenant("acme") }];
        let written = case.plan().tombstones.written;
        written.first().and_then(|one| one.outcome.clone())
    };
    let thirty_days_ms = 30 * 24 * 3_600_000;
    assert_eq!(outcome(thirty_days_ms - 1), None);
    assert!(outcome(thirty_days_ms).is_some());
    let mut with_volume = Case::new();
    let (app, made_at) = (String::new(), NOW.plus_ms(-thirty_days_ms));
    with_volume.tombstones.push(Tombstone { app, made_at, ..of_tenant("acme") });
    let written = with_volume.plan().tombstones.written;
    assert!(written.iter().all(|one| one.kind == TombstoneKind::Volume), "{written:?}");
}
