use super::*;
use crate::desired::DesiredMachine;
use crate::observed::{Hold, ObservedOrganization};
use crate::testing::{self, NOW, machine, tenant, wanted};

/// Tenant `acme` with two machines: one runs, `other` is as it is listed.
fn left(other: ObservedMachine, share: impl FnOnce(&mut DesiredTenant)) -> usize {
    left_of(Some(other), share, &[])
}

/// The same; `other` may be gone, and these machines were taken down in order to be made anew.
fn left_of(
    other: Option<ObservedMachine>,
    share: impl FnOnce(&mut DesiredTenant),
    replacing: &[&str],
) -> usize {
    left_seen(other, share, |observed| {
        let named = |name: &&str| ("acme".to_owned(), (*name).to_owned());
        observed.replacing = replacing.iter().map(named).collect();
    })
}

/// The same, with what else is observed.
fn left_seen(
    other: Option<ObservedMachine>,
    share: impl FnOnce(&mut DesiredTenant),
    change: impl FnOnce(&mut Observed),
) -> usize {
    let named =
        |name: &str| DesiredMachine { name: name.to_owned(), ..wanted(MachineState::Started) };
    let mut tenant = tenant();
    tenant.machines = Ok(vec![named("acme-box-0"), named("acme-box-1")]);
    share(&mut tenant);
    let desired = testing::desired(tenant);
    let runs = machine(PlatformState::Started, 900_000);
    let lists = ObservedOrganization {
        apps: vec!["acme".to_owned()],
        machines: [runs].into_iter().chain(other).collect(),
        ..ObservedOrganization::default()
    };
    let mut observed = testing::observed(lists);
    change(&mut observed);
    let index = Index::new(&desired, &observed);
    Budget::new(&desired, &observed, &index, &Policy::default(), NOW).left
}

fn other(name: &str, state: PlatformState, age_ms: i64) -> ObservedMachine {
    let (id, name) = (format!("id of {name}"), name.to_owned());
    ObservedMachine { id, name, ..machine(state, age_ms) }
}

/// A row of a machine whose host does not answer.
fn blank(name: &str, state: PlatformState, age_ms: i64) -> ObservedMachine {
    let mut row = other(name, state, age_ms);
    row.image = None;
    row.guest.clear();
    row.metadata.clear();
    assert!(row.is_blank());
    row
}

#[test]
fn what_we_took_down_counts_although_its_host_shows_no_marks_any_more() {
    use PlatformState::{Started, Stopped};
    let alone = |_: &mut DesiredTenant| {};
    let shared = |tenant: &mut DesiredTenant| tenant.app_is_shared = true;
    assert_eq!(left(other("acme-box-1", Started, 500), alone), 1);
    assert_eq!(left(other("acme-box-1", Stopped, 500), alone), 0);
    assert_eq!(left(blank("acme-box-1", Stopped, 500), alone), 0, "by its name");
    assert_eq!(left(blank("acme-box-1", Stopped, 500), shared), 0, "by its name");
    assert_eq!(left(blank("acme-box-1", Started, 500), alone), 1, "it runs");
    assert_eq!(left(blank("acme-old-0", Stopped, 500), alone), 0, "by its app");
    assert_eq!(left(blank("acme-old-0", Stopped, 500), shared), 0, "its name says whose it was");
    assert_eq!(left(blank("other-box-0", Stopped, 500), shared), 1, "others are in the app too");
    // One that has rested for long was not taken down for an update, marks or not.
    assert_eq!(left(blank("acme-box-1", Stopped, 900_000), alone), 1);
}

#[test]
fn a_move_that_a_person_has_paused_keeps_nobody_else_waiting() {
    use PlatformState::{Stopped, Stopping};
    let alone = |_: &mut DesiredTenant| {};
    let paused = |tenant: &mut DesiredTenant| tenant.paused = true;
    let moved = |state, age_ms| {
        let region = "fra".to_owned();
        Some(ObservedMachine { region, ..other("acme-box-1", state, age_ms) })
    };
    let down: &[&str] = &["acme-box-1"];
    // It rests in the region from which it is moved, or is gone already.
    for (there, before) in [(moved(Stopped, 900_000), &[][..]), (moved(Stopped, 900_000), down)] {
        assert_eq!(left_of(there.clone(), alone, before), 0, "{before:?}");
        assert_eq!(left_of(there, paused, before), 1, "{before:?}");
    }
    assert_eq!(left_of(None, alone, down), 0);
    assert_eq!(left_of(None, paused, down), 1);
    assert_eq!(left_of(Some(other("acme-old-0", Stopped, 900_000)), alone, &[]), 0);
    assert_eq!(left_of(Some(other("acme-old-0", Stopped, 900_000)), paused, &[]), 1);
    // What was on its way when it was paused still comes up again, or down: it counts for that long.
    assert_eq!(left_of(moved(Stopping, 900_000), paused, &[]), 0);
    assert_eq!(left_of(moved(Stopped, 500), paused, &[]), 0);
}

#[test]
fn a_machine_that_has_rested_for_long_stopped_by_itself() {
    let grace_ms = Policy::default().created_grace_ms;
    let stopped = |age_ms| other("acme-box-1", PlatformState::Stopped, age_ms);
    assert_eq!(left(stopped(grace_ms - 1), |_| {}), 0);
    assert_eq!(left(stopped(grace_ms), |_| {}), 1);
}

#[test]
fn that_one_machine_was_taken_down_says_nothing_of_another() {
    let stopped = || Some(other("acme-box-1", PlatformState::Stopped, 900_000));
    assert_eq!(left_of(stopped(), |_| {}, &["acme-box-1"]), 0);
    assert_eq!(left_of(stopped(), |_| {}, &["acme-box-2"]), 1);
}

#[test]
fn what_should_run_where_nobody_could_look_counts_as_down() {
    let left = |share: fn(&mut DesiredTenant)| {
        left_seen(None, share, |observed| observed.organizations.clear())
    };
    assert_eq!(left(|_| {}), 0);
    assert_eq!(left(|tenant| tenant.deleting = true), 1, "its end takes nothing of the budget");
    let at_rest = |tenant: &mut DesiredTenant| {
        let machines = tenant.machines.as_mut().unwrap().iter_mut();
        machines.for_each(|machine| machine.state = MachineState::Stopped);
    };
    assert_eq!(left(at_rest), 1, "nothing of it should run");
}

#[test]
fn what_runs_counts_as_down_while_a_call_about_its_tenant_may_still_act() {
    let left = |share: fn(&mut DesiredTenant), kind, until| {
        left_seen(None, share, |observed| {
            let hold = Hold { until, message: String::new(), kind };
            observed.holds.insert("acme".to_owned(), hold);
        })
    };
    let soon = NOW.plus_ms(1);
    assert_eq!(left(|_| {}, HoldKind::Unsettled, soon), 0);
    assert_eq!(left(|_| {}, HoldKind::Unsettled, NOW), 1, "it cannot act any more");
    assert_eq!(left(|_| {}, HoldKind::BackOff, soon), 1, "nothing came of it");
    assert_eq!(left(|tenant| tenant.deleting = true, HoldKind::Unsettled, soon), 1);
    let blank = left_seen(
        None,
        |_| {},
        |observed| {
            let blank = blank("acme-box-0", PlatformState::Started, 900_000);
            observed
                .organizations
                .values_mut()
                .for_each(|lists| lists.machines = vec![blank.clone()]);
            let hold = Hold { until: soon, message: String::new(), kind: HoldKind::Unsettled };
            observed.holds.insert("acme".to_owned(), hold);
        },
    );
    assert_eq!(blank, 0, "nor is it known of one whose marks its host does not show");
}
