//! Scripted scenarios: a small world and manifests in, the printed plan and report out.
//!
//! Each scenario starts from what an earlier manifest led to, changes the manifest or the world, and
//! prints what the planner makes of it. The pictures are compared with committed ones.

#[expect(dead_code, reason = "the other test of this package uses the rest of it")]
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use model::secrets::{NAME, OneSecret};
use model::{Fate, World};
use vault_api::check::Document;
use vault_api::manifest::read_manifest;
use vault_api::tenant::{TenantClassSpec, TenantSpec};
use vault_plan::action::{Action, ActionKind, AppPlace, Plan};
use vault_plan::desired::{Desired, TenantInput};
use vault_plan::identity::ControllerId;
use vault_plan::metadata;
use vault_plan::observed::{
    Hold, HoldKind, Observed, ObservedMachine, ObservedOrganization, ObservedVolume, PlatformState,
    VolumeGap,
};
use vault_plan::policy::Policy;
use vault_plan::report::NoteReason;

const ACME: &str = include_str!("scenarios/acme.yaml");
const CLASS: &str = include_str!("scenarios/class.yaml");
const GROUPS: &str = include_str!("scenarios/groups.yaml");
const SHARED: &str = include_str!("scenarios/shared.yaml");

#[derive(Default)]
struct Scenario {
    classes: BTreeMap<String, TenantClassSpec>,
    tenants: BTreeMap<String, (TenantSpec, bool)>,
    world: World,
    holds: BTreeMap<String, Hold>,
    /// Tenants with machines that earlier passes took down to make them anew.
    replacing: BTreeSet<(String, String)>,
    /// Tenants that were Ready since their manifest changed.
    reached: BTreeSet<String>,
    secrets: OneSecret,
}

impl Scenario {
    /// A manifest and an empty world.
    fn new(manifest: &str) -> Self {
        let mut scenario = Self::default();
        scenario.apply(manifest);
        scenario
    }

    /// A manifest and the world that it led to.
    fn converged(manifest: &str) -> Self {
        let mut scenario = Self::new(manifest);
        scenario.converge();
        scenario
    }

    /// The world of `ACME`, whose machine has been stopped, because it is to move with its volume.
    fn stopped_to_be_moved() -> Self {
        let mut scenario = Self::converged(ACME);
        scenario.apply(&ACME.replace("region: ord", "region: fra\n      relocate: Snapshot"));
        let stop = scenario.plan(scenario.world.lists());
        assert_eq!(stop.actions[0].action.kind(), ActionKind::StopMachine);
        scenario.world.carry_out(stop, || Fate::Works, |_, _| {});
        scenario.world.step();
        scenario
    }

    fn apply(&mut self, manifest: &str) {
        let reading = read_manifest("scenario.yaml", manifest.as_bytes());
        assert!(reading.problems.is_empty(), "{:?}", reading.problems);
        for located in reading.documents {
            match located.document {
                Document::TenantClass(class) => {
                    self.classes.insert(class.metadata.name, class.spec);
                }
                Document::Tenant(tenant) => {
                    self.tenants.insert(tenant.metadata.name, (tenant.spec, false));
                }
            }
        }
    }

    fn delete(&mut self, tenant: &str) {
        self.tenants.get_mut(tenant).unwrap().1 = true;
    }

    fn converge(&mut self) {
        for _ in 0..20 {
            let plan = self.plan(self.world.lists());
            self.world.carry_out(plan, || Fate::Works, |_, _| {});
            self.world.step();
        }
    }

    fn plan(&self, lists: ObservedOrganization) -> Plan {
        self.plan_for(BTreeMap::from([("local".to_owned(), lists)]))
    }

    fn plan_for(&self, organizations: BTreeMap<String, ObservedOrganization>) -> Plan {
        let inputs = self.tenants.iter().map(|(name, (spec, deleting))| TenantInput {
            name,
            spec,
            deleting: *deleting,
        });
        let controller = ControllerId::from_bytes([7; 16]);
        let desired = Desired::resolve(controller, "local", &self.classes, &self.secrets, inputs);
        let (holds, secrets) = (self.holds.clone(), self.world.secrets.observed());
        let observed = Observed {
            organizations,
            holds,
            secrets,
            // As `needs_snapshots` asks for them, and more.
            snapshots: self.world.snapshots_of_all(),
            last_used: BTreeMap::new(),
            replacing: self.replacing.clone(),
            reached: self.reached.clone(),
            ..Observed::default()
        };
        vault_plan::plan(&desired, &observed, &Policy::default(), self.world.now)
    }

    /// The plan for the world as it is.
    fn picture(&self) -> String {
        picture(&self.plan(self.world.lists()))
    }

    /// The plan for lists that are not the world as it is.
    fn picture_of(&self, change: impl FnOnce(&mut ObservedOrganization)) -> String {
        let mut lists = self.world.lists();
        change(&mut lists);
        picture(&self.plan(lists))
    }
}

fn picture(plan: &Plan) -> String {
    let mut text = String::new();
    for action in &plan.actions {
        let (kind, target) = (action.action.kind(), action.target());
        writeln!(text, "{kind} {target} in {}: {}", action.app, action.reason).unwrap();
    }
    if plan.actions.is_empty() {
        text.push_str("nothing to do\n");
    }
    for action in &plan.withheld {
        let (kind, target) = (action.action.kind(), action.target());
        writeln!(text, "withheld: {kind} {target} in {}: {}", action.app, action.reason).unwrap();
    }
    for report in &plan.report.tenants {
        let machines = report.machines.iter().filter(|machine| machine.ready).count();
        let ready = if report.ready() { "ready" } else { "not ready" };
        let gone = if report.gone { ", gone" } else { "" };
        writeln!(text, "{}: {ready}{gone}, {machines} of {}", report.tenant, report.machines.len())
            .unwrap();
        for note in &report.notes {
            writeln!(text, "  {}: {}", note.reason.word(), note.message).unwrap();
        }
    }
    for stray in &plan.report.strays {
        writeln!(text, "stray {} of {} in {}", stray.name, stray.tenant, stray.app).unwrap();
    }
    text
}

#[test]
fn cold_start_of_one_machine_with_a_volume() {
    insta::assert_snapshot!(Scenario::new(ACME).picture());
}

#[test]
fn cold_start_of_a_class() {
    insta::assert_snapshot!(Scenario::new(CLASS).picture());
}

#[test]
fn cold_start_of_two_groups() {
    insta::assert_snapshot!(Scenario::new(GROUPS).picture());
}

#[test]
fn nothing_to_do() {
    let all = [ACME, CLASS, GROUPS].join("\n---\n");
    insta::assert_snapshot!(Scenario::converged(&all).picture());
}

#[test]
fn a_changed_image_takes_down_one_machine_at_a_time() {
    let mut scenario = Scenario::converged(GROUPS);
    scenario.apply(&GROUPS.replace("web:1", "web:2"));
    insta::assert_snapshot!("image_changed", scenario.picture());
    let plan = scenario.plan(scenario.world.lists());
    scenario.world.carry_out(plan, || Fate::Works, |_, _| {});
    insta::assert_snapshot!("image_changed_and_under_way", scenario.picture());
}

#[test]
fn scale_down_stops_then_deletes_the_highest_index() {
    let mut scenario = Scenario::converged(GROUPS);
    scenario.apply(&GROUPS.replace("count: 2", "count: 1"));
    insta::assert_snapshot!("scale_down", scenario.picture());
    let plan = scenario.plan(scenario.world.lists());
    scenario.world.carry_out(plan, || Fate::Works, |_, _| {});
    scenario.world.step();
    insta::assert_snapshot!("scale_down_stopped", scenario.picture());
}

#[test]
fn scale_up_and_to_nothing() {
    let mut scenario = Scenario::converged(GROUPS);
    scenario.apply(&GROUPS.replace("count: 2", "count: 3"));
    insta::assert_snapshot!("scale_up", scenario.picture());
    scenario.apply(&GROUPS.replace("count: 2", "count: 0"));
    insta::assert_snapshot!("scale_to_nothing", scenario.picture());
}

#[test]
fn stop_and_start() {
    let mut scenario = Scenario::converged(ACME);
    scenario.apply(&ACME.replace("region: ord", "region: ord\n      state: Stopped"));
    insta::assert_snapshot!("stop", scenario.picture());
    scenario.converge();
    insta::assert_snapshot!("stopped", scenario.picture());
    scenario.apply(ACME);
    insta::assert_snapshot!("start", scenario.picture());
}

#[test]
fn a_list_without_a_region_proves_nothing_there() {
    let mut scenario = Scenario::new(ACME);
    let hide = |lists: &mut ObservedOrganization| {
        lists.machines.retain(|machine| machine.region != "ord");
        lists.gaps.regions.insert("ord".to_owned());
    };
    insta::assert_snapshot!("error_regions_cold", scenario.picture_of(hide));
    scenario.converge();
    insta::assert_snapshot!("error_regions", scenario.picture_of(hide));
}

#[test]
fn an_app_that_no_list_names_is_there_while_it_holds_something() {
    let first = |change: &dyn Fn(&mut ObservedOrganization)| {
        let scenario = Scenario::converged(ACME);
        let mut lists = scenario.world.lists();
        lists.apps.clear();
        change(&mut lists);
        let plan = scenario.plan(lists);
        plan.actions.first().map(|planned| planned.action.kind())
    };
    assert_eq!(first(&|_| {}), None);
    let only_a_volume = |lists: &mut ObservedOrganization| {
        lists.machines.clear();
        lists.volumes[0].attached_machine = None;
    };
    assert_eq!(first(&only_a_volume), Some(ActionKind::CreateMachine));
    // Its volume is not shown: nothing is done about the machine, and nothing about the app.
    assert_eq!(first(&|lists| lists.volumes.clear()), None);
    let nothing = |lists: &mut ObservedOrganization| {
        (lists.machines, lists.volumes) = (Vec::new(), Vec::new());
    };
    assert_eq!(first(&nothing), Some(ActionKind::CreateApp));
}

#[test]
fn of_a_machine_that_is_listed_twice_the_newest_row_counts() {
    let scenario = Scenario::converged(GROUPS);
    let now = scenario.world.now;
    // It changed from one state to the other while the list was read, page by page.
    let starts = |rows: [(PlatformState, i64); 2]| {
        let mut lists = scenario.world.lists();
        let place = lists.machines.iter().position(|row| row.state == PlatformState::Started);
        let first = lists.machines.remove(place.unwrap());
        let row = |(state, age_ms): (PlatformState, i64)| {
            let updated_at = Some(now.plus_ms(-age_ms));
            ObservedMachine { state, updated_at, ..first.clone() }
        };
        lists.machines.extend(rows.map(row));
        let plan = scenario.plan(lists);
        plan.actions.iter().any(|planned| planned.action.kind() == ActionKind::StartMachine)
    };
    let (runs, rests) = (PlatformState::Started, PlatformState::Stopped);
    assert!(starts([(runs.clone(), 2), (rests.clone(), 1)]));
    assert!(!starts([(runs.clone(), 1), (rests.clone(), 2)]));
    assert!(!starts([(rests.clone(), 2), (runs.clone(), 1)]));
    assert!(starts([(rests.clone(), 1), (runs.clone(), 1)]), "of those alike the first");
    assert!(!starts([(runs, 1), (rests, 1)]));
}

#[test]
fn a_machine_that_is_to_go_and_is_listed_twice_is_told_of_once() {
    for manifest in [ACME, GROUPS] {
        let mut scenario = Scenario::converged(manifest);
        let name = if manifest == ACME { "acme-box-0" } else { "globex-web-1" };
        scenario.delete(name.split('-').next().unwrap());
        let now = scenario.world.now;
        let done = |rows: [(PlatformState, i64); 2]| {
            let mut lists = scenario.world.lists();
            let place = lists.machines.iter().position(|row| row.name == name).unwrap();
            let first = lists.machines.remove(place);
            let row = |(state, age_ms): (PlatformState, i64)| {
                let updated_at = Some(now.plus_ms(-age_ms));
                ObservedMachine { state, updated_at, ..first.clone() }
            };
            lists.machines.extend(rows.map(row));
            let actions = scenario.plan(lists).actions;
            let its = actions.iter().filter(|planned| planned.external_name() == name);
            its.map(|planned| planned.action.kind()).collect::<Vec<_>>()
        };
        let (runs, rests) = (PlatformState::Started, PlatformState::Stopped);
        let (stop, delete) = (vec![ActionKind::StopMachine], vec![ActionKind::DeleteMachine]);
        assert_eq!(done([(runs.clone(), 2), (rests.clone(), 1)]), delete);
        assert_eq!(done([(runs.clone(), 1), (rests.clone(), 2)]), stop);
        assert_eq!(done([(rests.clone(), 2), (runs.clone(), 1)]), stop);
        assert_eq!(done([(rests, 1), (runs, 1)]), delete, "of those alike the first");
    }
}

#[test]
fn an_organization_that_cannot_be_read_is_left_alone() {
    let scenario = Scenario::converged(ACME);
    insta::assert_snapshot!(picture(&scenario.plan_for(BTreeMap::new())));
}

#[test]
fn a_deleted_tenant_leaves_its_volume_and_takes_it_back() {
    let mut scenario = Scenario::converged(ACME);
    scenario.delete("acme");
    insta::assert_snapshot!("deleting", scenario.picture());
    scenario.converge();
    insta::assert_snapshot!("deleted", scenario.picture());
    scenario.apply(ACME);
    insta::assert_snapshot!("volume_taken_back", scenario.picture());
    scenario.apply(&ACME.replace("region: ord", "region: fra"));
    insta::assert_snapshot!("volume_in_another_region", scenario.picture());
}

#[test]
fn a_machine_of_another_controller_keeps_its_name() {
    let mut scenario = Scenario::new(ACME);
    let app = ControllerId::from_bytes([7; 16]).tenant_uid("acme").app_name("acme");
    let marks = [(metadata::CONTROLLER, "other"), (metadata::TENANT, "acme")];
    scenario.world.place(&app, "acme-box-0", &marks);
    insta::assert_snapshot!(scenario.picture());
}

#[test]
fn a_named_app_with_machines_of_others_is_taken() {
    let mut scenario = Scenario::new(&ACME.replace("spec:", "spec:\n  app: theirs"));
    scenario.world.place("theirs", "web", &[]);
    insta::assert_snapshot!("named_app_of_others", scenario.picture());
    let message = "the name acme-n5ve6vma belongs to somebody else".to_owned();
    let until = scenario.world.now.plus_ms(1);
    let hold = Hold { until, message, kind: HoldKind::NameTaken };
    let mut scenario = Scenario::new(ACME);
    scenario.holds.insert("acme".to_owned(), hold);
    insta::assert_snapshot!("name_taken", scenario.picture());
}

#[test]
fn a_hold_is_told_of_only_where_it_keeps_something_from_being_done() {
    let mut scenario = Scenario::converged(ACME);
    let (until, message) = (scenario.world.now.plus_ms(1), "the last try failed".to_owned());
    let hold = Hold { until, message, kind: HoldKind::BackOff };
    scenario.holds.insert("acme".to_owned(), hold);
    let notes =
        |scenario: &Scenario| scenario.plan(scenario.world.lists()).report.tenants[0].notes.len();
    assert_eq!(notes(&scenario), 0);
    scenario.apply(&ACME.replace("example/acme:1", "example/acme:2"));
    assert_eq!(notes(&scenario), 1);
}

#[test]
fn a_region_change_is_refused() {
    let mut scenario = Scenario::converged(ACME);
    scenario.apply(&ACME.replace("region: ord", "region: fra"));
    insta::assert_snapshot!(scenario.picture());
}

/// The plans of the passes until there is nothing to do.
fn story(scenario: &mut Scenario) -> String {
    let mut text = String::new();
    for pass in 0..20 {
        let plan = scenario.plan(scenario.world.lists());
        writeln!(text, "pass {pass}:\n{}", picture(&plan)).unwrap();
        let done = plan.actions.is_empty() && scenario.world.is_quiet();
        scenario.world.carry_out(plan, || Fate::Works, |_, _| {});
        scenario.world.step();
        if done {
            break;
        }
    }
    text
}

#[test]
fn a_machine_without_a_volume_is_made_anew_in_another_region() {
    let mut scenario = Scenario::converged(GROUPS);
    scenario.apply(&GROUPS.replacen("region: iad", "region: fra", 1));
    insta::assert_snapshot!(story(&mut scenario));
}

#[test]
fn changed_mounts_make_a_machine_anew_and_keep_its_volume() {
    let mut scenario = Scenario::converged(ACME);
    let without = ACME.replace("        mounts: [{ volume: data, path: /data }]\n", "");
    scenario.apply(&without);
    insta::assert_snapshot!("mount_removed", story(&mut scenario));
    scenario.apply(ACME);
    insta::assert_snapshot!("mount_added", story(&mut scenario));
    assert_eq!(scenario.world.volumes.len(), 1);
}

#[test]
fn a_volume_is_extended_and_never_shrinks() {
    let mut scenario = Scenario::converged(ACME);
    scenario.apply(&ACME.replace("sizeGb: 1", "sizeGb: 3"));
    insta::assert_snapshot!("volume_extended", story(&mut scenario));
    scenario.apply(ACME);
    insta::assert_snapshot!("volume_shrinks", scenario.picture());
}

#[test]
fn a_machine_moves_with_its_volume_by_a_snapshot() {
    let mut scenario = Scenario::converged(ACME);
    scenario.apply(&ACME.replace("region: ord", "region: fra\n      relocate: Snapshot"));
    insta::assert_snapshot!("relocated", story(&mut scenario));
    // And back: the volume that was left behind has old data, and is not used.
    scenario.apply(&ACME.replace("region: ord", "region: ord\n      relocate: Snapshot"));
    insta::assert_snapshot!("relocated_back", story(&mut scenario));
    assert_eq!(scenario.world.volumes.len(), 3);
}

#[test]
fn the_report_of_a_machine_says_where_it_and_its_volumes_are_listed() {
    let mut scenario = Scenario::converged(ACME);
    let report = |scenario: &Scenario, lists: ObservedOrganization| {
        scenario.plan(lists).report.tenants[0].machines[0]
    };
    let found = report(&scenario, scenario.world.lists());
    assert_eq!((found.machine, found.volume, found.ready), (Some(0), Some(0), true));
    let mut without = scenario.world.lists();
    without.machines.clear();
    without.volumes[0].attached_machine = None;
    let found = report(&scenario, without);
    assert_eq!((found.machine, found.volume, found.ready), (None, Some(0), false));
    // While it moves, there are two volumes: the one that it holds, and the copy of it.
    scenario.apply(&ACME.replace("region: ord", "region: fra\n      relocate: Snapshot"));
    let mut copied = None;
    for _ in 0..20 {
        let lists = scenario.world.lists();
        let plan = scenario.plan(lists.clone());
        let found = plan.report.tenants[0].machines[0];
        if let Some(copy) = found.copy {
            copied = Some((found, copy, lists));
            break;
        }
        scenario.world.carry_out(plan, || Fate::Works, |_, _| {});
        scenario.world.step();
    }
    let (found, copy, lists) = copied.unwrap();
    assert_eq!(lists.volumes[copy].region, "fra");
    assert_eq!(lists.volumes[found.volume.unwrap()].region, "ord");
    assert_eq!(lists.machines[found.machine.unwrap()].region, "ord");
}

#[test]
fn a_machine_that_is_being_moved_is_not_started_while_its_volume_is_not_shown() {
    let mut scenario = Scenario::stopped_to_be_moved();
    let hidden = ObservedOrganization { volumes: Vec::new(), ..scenario.world.lists() };
    assert_eq!(hidden.machines[0].state, PlatformState::Stopped);
    scenario.replacing.insert(("acme".to_owned(), hidden.machines[0].name.clone()));
    let plan = scenario.plan(hidden);
    assert!(plan.actions.is_empty(), "{}", picture(&plan));
    assert!(plan.report.tenants[0].machines[0].replacing, "the next pass has to know it too");
    // Once it is shown again, the move goes on.
    assert!(!scenario.plan(scenario.world.lists()).actions.is_empty());
}

#[test]
fn whoever_forgot_that_a_machine_is_being_moved_does_not_start_it_either() {
    let mut scenario = Scenario::stopped_to_be_moved();
    let hidden = ObservedOrganization { volumes: Vec::new(), ..scenario.world.lists() };
    let plan = scenario.plan(hidden);
    assert!(plan.actions.is_empty(), "{}", picture(&plan));
    // Where it may stay, it is started: it does not run, and that is all.
    scenario.apply(ACME);
    let hidden = ObservedOrganization { volumes: Vec::new(), ..scenario.world.lists() };
    let plan = scenario.plan(hidden);
    assert_eq!(plan.actions[0].action.kind(), ActionKind::StartMachine, "{}", picture(&plan));
}

#[test]
fn what_was_taken_down_to_be_moved_stays_down_even_if_the_manifest_no_longer_lets_it_move() {
    let mut scenario = Scenario::stopped_to_be_moved();
    scenario.apply(&ACME.replace("region: ord", "region: fra"));
    let hidden = || ObservedOrganization { volumes: Vec::new(), ..scenario.world.lists() };
    let plan = scenario.plan(hidden());
    assert_eq!(plan.actions[0].action.kind(), ActionKind::StartMachine, "nobody took it down");
    let machine = scenario.world.lists().machines[0].name.clone();
    scenario.replacing.insert(("acme".to_owned(), machine));
    let hidden = ObservedOrganization { volumes: Vec::new(), ..scenario.world.lists() };
    let plan = scenario.plan(hidden);
    assert!(plan.actions.is_empty(), "{}", picture(&plan));
    assert!(plan.report.tenants[0].machines[0].replacing);
}

#[test]
fn a_machine_is_not_taken_down_for_a_volume_that_lies_elsewhere_and_may_not_move() {
    let mut scenario = Scenario::converged(ACME);
    scenario.apply(&ACME.replace("        mounts: [{ volume: data, path: /data }]\n", ""));
    scenario.converge();
    assert_eq!(scenario.world.volumes.values().next().unwrap().attached_machine, None);
    let mut first = |to: &str| {
        scenario.apply(&ACME.replace("region: ord", to));
        let plan = scenario.plan(scenario.world.lists());
        let note = plan.report.tenants[0].notes.first().map(|note| note.reason);
        (plan.actions.first().map(|planned| planned.action.kind()), note)
    };
    assert_eq!(first("region: fra"), (None, Some(NoteReason::Invalid)));
    let (action, note) = first("region: fra\n      relocate: Snapshot");
    assert_eq!((action, note), (Some(ActionKind::StopMachine), None));
}

#[test]
fn a_machine_that_is_to_be_made_anew_stays_while_lists_are_not_whole_and_is_waited_for() {
    let mut scenario = Scenario::converged(ACME);
    scenario.apply(&ACME.replace("        mounts: [{ volume: data, path: /data }]\n", ""));
    let seen = |change: &dyn Fn(&mut ObservedOrganization)| {
        let mut lists = scenario.world.lists();
        change(&mut lists);
        let plan = scenario.plan(lists);
        let report = &plan.report.tenants[0];
        let actions: Vec<_> = plan.actions.iter().map(|planned| planned.action.kind()).collect();
        let note = report.notes.first().map(|note| note.reason);
        (actions, note, report.machines[0].replacing)
    };
    assert_eq!(seen(&|_| {}), (vec![ActionKind::StopMachine], None, true));
    let gap = |lists: &mut ObservedOrganization| {
        lists.gaps.unclear = Some("rows could not be read".to_owned());
    };
    assert_eq!(seen(&gap), (Vec::new(), Some(NoteReason::Unobserved), false));
    let stopping = |since_ms: i64| {
        let since = scenario.world.now.plus_ms(-since_ms);
        move |lists: &mut ObservedOrganization| {
            lists.machines[0].state = PlatformState::Stopping;
            lists.machines[0].updated_at = Some(since);
        }
    };
    assert_eq!(seen(&stopping(1_000)), (Vec::new(), Some(NoteReason::Waiting), true));
    assert_eq!(seen(&stopping(300_000)), (Vec::new(), Some(NoteReason::Stuck), true));
}

#[test]
fn a_volume_is_not_copied_while_the_machine_that_holds_it_is_still_being_made() {
    let scenario = Scenario::stopped_to_be_moved();
    let in_state = |state: PlatformState, rests_ms: i64| {
        let mut lists = scenario.world.lists();
        lists.machines[0].state = state;
        lists.machines[0].updated_at = Some(scenario.world.now.plus_ms(-rests_ms));
        let plan = scenario.plan(lists);
        assert!(plan.report.tenants[0].machines[0].replacing);
        plan.actions.first().map(|planned| planned.action.kind())
    };
    assert_eq!(in_state(PlatformState::Created, 1_000), None);
    assert_eq!(in_state(PlatformState::Stopped, 1_000), Some(ActionKind::SnapshotVolume));
    // Where the platform leaves it `created` for good, that is its rest.
    assert_eq!(in_state(PlatformState::Created, 120_000), Some(ActionKind::SnapshotVolume));
}

#[test]
fn metadata_that_the_manifest_no_longer_names_goes_and_that_of_others_stays() {
    let metadata = |members: &str| {
        ACME.replace(
            "        guest:",
            &format!("        metadata: {{ {members} }}\n        guest:"),
        )
    };
    let mut scenario = Scenario::converged(&metadata("team: core, \"a,b\": \"1\""));
    for machine in scenario.world.machines.values_mut() {
        machine.row.metadata.insert("theirs".to_owned(), "x".to_owned());
    }
    scenario.apply(&metadata("\"a,b\": \"2\""));
    scenario.converge();
    let keys = |scenario: &Scenario| -> Vec<String> {
        let rows = scenario.world.machines.values().map(|machine| &machine.row.metadata);
        let keys = rows.flat_map(|metadata| metadata.keys());
        keys.filter(|key| !key.starts_with(metadata::PREFIX)).cloned().collect()
    };
    assert_eq!(keys(&scenario), ["a,b", "theirs"]);
    scenario.apply(ACME);
    scenario.converge();
    assert_eq!(keys(&scenario), ["theirs"]);
    assert!(picture(&scenario.plan(scenario.world.lists())).starts_with("nothing to do"));
}

#[test]
fn a_machine_is_suspended_once_it_has_run() {
    let suspended = ACME.replace("region: ord", "region: ord\n      state: Suspended");
    insta::assert_snapshot!("suspended", story(&mut Scenario::new(&suspended)));
}

#[test]
fn what_was_scaled_down_keeps_its_volumes_and_takes_them_back() {
    let three = ACME.replace("region: ord", "region: ord\n      count: 3");
    let mut scenario = Scenario::converged(&three);
    scenario.apply(ACME);
    insta::assert_snapshot!("scaled_down", story(&mut scenario));
    scenario.apply(&three);
    insta::assert_snapshot!("scaled_up_again", scenario.picture());
    scenario.converge();
    assert_eq!(scenario.world.volumes.len(), 3);
}

#[test]
fn a_paused_tenant_is_looked_at_and_left_alone() {
    let paused = ACME.replace("spec:", "spec:\n  reconcile: Paused");
    insta::assert_snapshot!("paused_cold", Scenario::new(&paused).picture());
    let mut scenario = Scenario::converged(ACME);
    scenario.apply(&paused);
    insta::assert_snapshot!("paused_and_nothing_to_do", scenario.picture());
    scenario.apply(&paused.replace("acme:1", "acme:2"));
    insta::assert_snapshot!("paused_and_changed", scenario.picture());
    scenario.delete("acme");
    insta::assert_snapshot!("paused_and_deleted", scenario.picture());
    // What a paused tenant would need takes nothing from the others' budget.
    let mut scenario = Scenario::converged(&[ACME, GROUPS].join("\n---\n"));
    scenario.apply(&paused.replace("acme:1", "acme:2"));
    scenario.apply(&GROUPS.replace("web:1", "web:2"));
    insta::assert_snapshot!("paused_beside_others", scenario.picture());
}

#[test]
fn a_stray_is_reported_and_left_alone() {
    let mut scenario = Scenario::converged(ACME);
    scenario.tenants.clear();
    insta::assert_snapshot!(scenario.picture());
}

#[test]
fn a_machine_on_an_unreachable_host_is_left_alone() {
    let scenario = Scenario::converged(&ACME.replace("spec:", "spec:\n  app: named"));
    let blank = |lists: &mut ObservedOrganization| {
        for machine in &mut lists.machines {
            machine.image = None;
            machine.guest.clear();
            machine.metadata.clear();
        }
    };
    insta::assert_snapshot!("blank_machine", scenario.picture_of(blank));
    let mut scenario = scenario;
    scenario.delete("acme");
    insta::assert_snapshot!("blank_machine_of_a_deleted_tenant", scenario.picture_of(blank));
}

#[test]
fn a_tenant_that_cannot_be_resolved_is_left_alone_and_can_be_deleted() {
    let mut scenario = Scenario::converged(CLASS);
    scenario.classes.clear();
    insta::assert_snapshot!("class_missing", scenario.picture());
    scenario.delete("alice");
    insta::assert_snapshot!("class_missing_and_deleted", scenario.picture());
}

#[test]
fn a_machine_that_moved_to_another_app_is_deleted_where_it_is() {
    let mut scenario = Scenario::converged(ACME);
    scenario.apply(&ACME.replace("spec:", "spec:\n  app: elsewhere"));
    insta::assert_snapshot!("app_changed", scenario.picture());
    scenario.delete("acme");
    insta::assert_snapshot!("app_changed_and_deleted", scenario.picture());
}

#[test]
fn an_app_that_was_there_is_asked_before_it_gets_a_volume_and_gets_none_in_doubt() {
    let cold = Scenario::new(ACME).plan(ObservedOrganization::default());
    assert!(cold.to_confirm.is_empty(), "a new app has no volumes");
    let scenario = Scenario::converged(ACME);
    assert!(scenario.plan(scenario.world.lists()).to_confirm.is_empty(), "nothing is made");

    // An empty list of machines and volumes, and the app is there.
    let mut lists = scenario.world.lists();
    lists.machines.clear();
    lists.volumes.clear();
    let app = lists.apps[0].clone();
    let place = AppPlace { organization: "local".into(), app: app.clone() };
    let plan = scenario.plan(lists.clone());
    assert!(plan.actions.iter().any(|one| one.action.kind() == ActionKind::CreateVolume));
    assert_eq!(plan.to_confirm, BTreeSet::from([place.clone()]));
    for (gap, name) in [
        (VolumeGap::Counted(1), "volumes_counted_and_not_shown"),
        (VolumeGap::Unread("no answer".to_owned()), "volumes_unread"),
    ] {
        let mut lists = lists.clone();
        lists.gaps.volumes.insert(app.clone(), gap);
        let plan = scenario.plan(lists);
        assert_eq!(plan.to_confirm, BTreeSet::from([place.clone()]), "it is asked again");
        insta::assert_snapshot!(name, picture(&plan));
    }
    // A gap in the volumes of one app is nothing to another one, nor to what runs.
    let gap = VolumeGap::Counted(7);
    let other =
        scenario.picture_of(|lists| drop(lists.gaps.volumes.insert("x".into(), gap.clone())));
    let own = scenario.picture_of(|lists| drop(lists.gaps.volumes.insert(app, gap)));
    assert_eq!([&other, &own], [&scenario.picture(); 2]);
}

#[test]
fn a_volume_in_an_app_that_is_no_longer_named_is_told_of_when_another_one_is_made() {
    let mut scenario = Scenario::converged(ACME);
    scenario.apply(&ACME.replace("region: ord", "region: ord\n      count: 0"));
    scenario.converge();
    scenario.apply(&ACME.replace("spec:", "spec:\n  app: elsewhere"));
    insta::assert_snapshot!("app_changed_without_machines", scenario.picture());
    // Of several that were left behind, the newest has the data.
    let told = |ages_ms: [i64; 3]| {
        let mut lists = scenario.world.lists();
        let [first] = lists.volumes.as_slice() else { panic!("there is one") };
        let now = scenario.world.now;
        let volume = |(n, age_ms): (usize, &i64)| ObservedVolume {
            id: format!("vol_{n}"),
            created_at: Some(now.plus_ms(-age_ms)),
            ..first.clone()
        };
        lists.volumes = ages_ms.iter().enumerate().map(volume).collect();
        let plan = scenario.plan(lists);
        let create = |action: &Action| match action {
            Action::CreateVolume(create) => create.left_behind.clone(),
            _ => None,
        };
        plan.actions.iter().find_map(|planned| create(&planned.action)).unwrap().id
    };
    assert_eq!(told([3, 1, 2]), "vol_1");
    assert_eq!(told([1, 2, 2]), "vol_0");
    assert_eq!(told([1, 1, 1]), "vol_0", "of those alike the first that is listed");
}

#[test]
fn a_tenant_without_a_volume_for_its_machine_is_not_updated() {
    let mut scenario = Scenario::converged(ACME);
    scenario.world.volumes.clear();
    scenario.apply(&ACME.replace("acme:1", "acme:2"));
    insta::assert_snapshot!(scenario.picture());
}

#[test]
fn a_passing_surplus_machine_is_waited_for() {
    let mut scenario = Scenario::converged(GROUPS);
    scenario.apply(&GROUPS.replace("count: 2", "count: 1"));
    insta::assert_snapshot!(scenario.picture_of(|lists| {
        let surplus = lists.machines.iter_mut().find(|machine| machine.name == "globex-web-1");
        surplus.unwrap().state = PlatformState::Starting;
    }));
}

#[test]
fn a_lost_memory_of_secrets_writes_nothing_while_machines_carry_the_mark() {
    let mut scenario = Scenario::converged(GROUPS);
    scenario.world.secrets.forget();
    insta::assert_snapshot!("secret_memory_lost", scenario.picture());
    for machine in scenario.world.machines.values_mut() {
        machine.row.metadata.remove(metadata::SECRET_HASH);
    }
    insta::assert_snapshot!("secret_memory_lost_and_no_mark", scenario.picture());
}

#[test]
fn a_secret_that_somebody_else_changed_or_removed_is_set_and_no_machine_restarts() {
    for (removes, name) in [(false, "secret_changed"), (true, "secret_missing")] {
        let mut scenario = Scenario::converged(ACME);
        scenario.world.secrets.meddle(0, removes);
        let app = ControllerId::from_bytes([7; 16]).tenant_uid("acme").app_name("acme");
        scenario.world.secrets.look(&(app, NAME.to_owned()), "", true);
        insta::assert_snapshot!(name, scenario.picture());
    }
}

#[test]
fn a_new_value_of_a_secret_is_set_first_and_restarts_machines_within_the_budget() {
    let mut scenario = Scenario::converged(GROUPS);
    scenario.secrets.salt = 1;
    insta::assert_snapshot!("secret_value_changed", scenario.picture());
    let plan = scenario.plan(scenario.world.lists());
    let versions = |plan: &Plan| -> Vec<Option<u64>> {
        let updates = plan.actions.iter().filter_map(|planned| match &planned.action {
            Action::UpdateMachine(update) => Some(update.min_secrets_version),
            _ => None,
        });
        updates.collect()
    };
    // The version that this plan's own write makes is not known before it is made.
    assert_eq!(versions(&plan), [None, None]);
    scenario.world.carry_out(plan, || Fate::Works, |_, _| {});
    scenario.world.step();
    let next = scenario.plan(scenario.world.lists());
    assert!(versions(&next).iter().all(Option::is_some), "{next:?}");
    assert!(!versions(&next).is_empty());
}

#[test]
fn a_config_of_containers_is_sent_as_it_is_written_but_for_our_metadata() {
    // The platform's multi-container machines: a config without an image of its own.
    let config = serde_json::json!({
        "containers": [{
            "name": "web", "image": "nginx:1", "exec": ["x"], "entrypoint": ["e"], "cmd": ["c"],
            "user": "u", "env": { "A": "1" }, "restart": { "policy": "always" },
            "env_from": [{ "env_var": "ID", "field_ref": "id" }],
            "secrets": [{ "env_var": "S", "name": "S" }],
            "files": [{ "guest_path": "/a", "raw_value": "YQ==", "mode": 420 }],
            "stop": { "signal": "SIGINT" },
            "depends_on": [{ "name": "db", "condition": "healthy" }],
            "healthchecks": [{
                "name": "up", "kind": "readiness", "interval": 5, "timeout": 2, "grace_period": 1,
                "success_threshold": 1, "failure_threshold": 3, "unhealthy": "stop",
                "exec": { "command": ["true"] },
            }],
            "mounts": [{ "name": "scratch", "path": "/scratch" }],
        }],
        "volumes": [{ "name": "scratch", "temp_dir": { "storage_type": "disk", "size_mb": 64 } }],
    });
    let machine = serde_json::json!({ "name": "box", "region": "ord", "config": config });
    let tenant = serde_json::json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "Tenant", "metadata": { "name": "acme" },
        "spec": { "machines": [machine] },
    });
    let plan = Scenario::new(&tenant.to_string()).plan(ObservedOrganization::default());
    let creates = plan.actions.into_iter().filter_map(|planned| match planned.action {
        Action::CreateMachine(create) => Some(create.config.complete("intent", None)),
        _ => None,
    });
    let [mut sent] = <[_; 1]>::try_from(creates.collect::<Vec<_>>()).unwrap();
    let ours = sent.remove("metadata").unwrap();
    assert!(ours.as_object().unwrap().keys().all(|key| key.starts_with("vault_")), "{ours}");
    assert_eq!(serde_json::Value::Object(sent), config);
}

#[test]
fn tenants_of_one_app_come_and_go_beside_each_other() {
    let mut scenario = Scenario::new(SHARED);
    insta::assert_snapshot!("shared_cold", story(&mut scenario));
    scenario.apply(&SHARED.replace("box:1", "box:2"));
    insta::assert_snapshot!("shared_image_changed", scenario.picture());
    scenario.converge();
    scenario.delete("one");
    insta::assert_snapshot!("shared_deleted", story(&mut scenario));
    let names = scenario.world.secrets.names("vault-tenants");
    assert_eq!(names.len(), 2, "the others' secrets stay: {names:?}");
}

#[test]
fn a_machine_in_a_shared_app_sees_the_secrets_of_its_tenant_only() {
    let scenario = Scenario::converged(SHARED);
    let machines = scenario.world.machines.values();
    let one = machines.clone().find(|machine| machine.row.name == "one-box-0").unwrap();
    let uid = ControllerId::from_bytes([7; 16]).tenant_uid("one");
    assert_eq!(
        one.config["processes"],
        serde_json::json!([{
            "exec": ["sleep", "1"],
            "ignore_app_secrets": true,
            "secrets": [{ "env_var": NAME, "name": uid.secret_name(NAME) }],
        }])
    );
    assert_eq!(one.config["init"], serde_json::json!({ "swap_size_mb": 512 }));
    // The model reads what a machine of that config reads.
    let read: BTreeSet<_> = machines.map(|machine| machine.secret.clone().unwrap()).collect();
    assert_eq!(read.len(), 3);
}

#[test]
fn what_others_have_in_a_shared_app_is_no_obstacle_and_what_is_not_shown_is_waited_for() {
    let mut scenario = Scenario::converged(SHARED);
    scenario.world.place("vault-tenants", "somebody-elses", &[]);
    insta::assert_snapshot!("shared_beside_strangers", scenario.picture());
    let hide = |name: &'static str| {
        move |lists: &mut ObservedOrganization| {
            let machine = lists.machines.iter_mut().find(|machine| machine.name == name).unwrap();
            (machine.image, machine.guest) = (None, serde_json::Map::new());
            machine.metadata.clear();
        }
    };
    scenario.delete("one");
    insta::assert_snapshot!("shared_blank_of_its_own", scenario.picture_of(hide("one-box-0")));
    insta::assert_snapshot!("shared_blank_of_a_sibling", scenario.picture_of(hide("two-box-0")));
    // A group that is no longer wanted, and had no volume, may have left it.
    let of_old = |lists: &mut ObservedOrganization| {
        hide("one-box-0")(lists);
        let blank = lists.machines.iter_mut().find(|machine| machine.name == "one-box-0").unwrap();
        blank.name = "one-old-0".to_owned();
        let id = blank.id.clone();
        lists.volumes.retain(|volume| volume.attached_machine.as_ref() != Some(&id));
    };
    let plan = scenario.picture_of(of_old);
    assert!(plan.contains("one-old-0 may be the tenant's"), "{plan}");
    // One that is called like the tenant's and lies in another app is none of its business.
    let elsewhere = |lists: &mut ObservedOrganization| {
        hide("one-box-0")(lists);
        let blank = lists.machines.iter_mut().find(|machine| machine.name == "one-box-0").unwrap();
        blank.app = "elsewhere".to_owned();
    };
    let plan = scenario.picture_of(elsewhere);
    assert!(!plan.contains("one-box-0"), "{plan}");
    let mut scenario = Scenario::new(SHARED);
    scenario.world.place("vault-tenants", "somebody-elses", &[]);
    insta::assert_snapshot!("shared_app_of_strangers", scenario.picture());
}

#[test]
fn an_app_is_shared_only_by_those_who_all_say_so() {
    let mut scenario = Scenario::converged(SHARED);
    let two = SHARED.replace(
        "  class: small\n  app: { name: vault-tenants, shared: true }",
        "  class: small\n  app: vault-tenants",
    );
    scenario.apply(&two);
    insta::assert_snapshot!("shared_by_some_only", scenario.picture());
    scenario.apply(SHARED);
    // `one` with group `more-box` and `one-more` with group `box` come to one name.
    scenario.apply(
        "apiVersion: vaultctl.dev/v1
kind: Tenant
metadata: { name: one }
spec:
  app: { name: vault-tenants, shared: true }
  machines: [{ name: more-box, region: ord, config: { image: box:1 } }]",
    );
    // Whoever has the machine keeps it, and goes on.
    insta::assert_snapshot!("shared_names_meet", scenario.picture());
    scenario.converge();
    // If nobody has it, the first by name gets it, and the other is told.
    scenario.world.machines.retain(|_, machine| machine.row.name != "one-more-box-0");
    scenario.world.step();
    insta::assert_snapshot!("shared_names_meet_and_nobody_has_it", scenario.picture());
}

/// The secrets of an app that is not shared reach all of its machines.
#[test]
fn an_app_that_holds_a_machine_of_another_tenant_gets_no_secrets() {
    let uid = ControllerId::from_bytes([7; 16]).tenant_uid("acme");
    let squat = format!("spec:\n  app: {}\n", uid.app_name("acme"));
    let squatter = ACME.replace("name: acme }", "name: squatter }").replacen("spec:\n", &squat, 1);
    // While `acme` was away, another one named the app that is `acme`'s by its name.
    let mut squatted = Scenario::converged(&squatter);
    squatted.apply(ACME);
    // And an app that was shared holds what is left of one that was lost.
    let mut left = Scenario::converged(SHARED);
    let alone = "spec: { class: small, app: vault-tenants }";
    left.apply(&SHARED.replacen("spec: { class: small }", alone, 1));
    left.tenants.retain(|name, _| name == "one");
    for (mut scenario, tenant) in [(squatted, "acme"), (left, "one")] {
        let before = scenario.world.secrets.clone();
        let plan = scenario.plan(scenario.world.lists());
        let report = plan.report.tenants.iter().find(|report| &*report.tenant == tenant).unwrap();
        let reasons: Vec<_> = report.notes.iter().map(|note| note.reason).collect();
        assert_eq!(reasons, [NoteReason::NameTaken], "{:?}", report.notes);
        scenario.converge();
        assert_eq!(scenario.world.secrets.names("vault-tenants"), before.names("vault-tenants"));
        let machines = scenario.world.machines.values();
        let read: BTreeSet<_> = machines.map(|machine| machine.secret.clone()).collect();
        assert_eq!(read.len(), scenario.world.machines.len(), "none read another's: {read:?}");
    }
}

#[test]
fn a_shared_app_is_made_by_one_tenant_that_may() {
    let mut scenario = Scenario::new(SHARED);
    let paused =
        SHARED.replacen("spec: { class: small }", "spec: { class: small, reconcile: Paused }", 1);
    scenario.apply(&paused);
    let message = "it did not work".to_owned();
    let until = scenario.world.now.plus_ms(1);
    let hold = Hold { until, message, kind: HoldKind::BackOff };
    scenario.holds.insert("one-more".to_owned(), hold);
    insta::assert_snapshot!("shared_made_by_the_third", scenario.picture());
}

/// Who wins, class or tenant, and what a policy does before and after the manifest was reached.
#[test]
fn drift_is_withheld_where_class_or_tenant_say_so_and_the_manifest_was_reached() {
    use vault_api::tenant::DriftPolicy::{Correct, Report};

    let table = [
        (None, None, true, false),
        (Some(Report), None, true, true),
        (Some(Report), Some(Correct), true, false),
        (Some(Correct), Some(Report), true, true),
        (None, Some(Report), true, true),
        (None, Some(Report), false, false),
    ];
    for (of_class, of_tenant, reached, is_withheld) in table {
        let mut scenario = Scenario::converged(CLASS);
        for class in scenario.classes.values_mut() {
            class.drift_policy = of_class;
        }
        for (tenant, _) in scenario.tenants.values_mut() {
            tenant.drift_policy = of_tenant;
        }
        if reached {
            scenario.reached = scenario.tenants.keys().cloned().collect();
        }
        assert_eq!(scenario.plan(scenario.world.lists()).actions, [], "as wanted");
        let mut lists = scenario.world.lists();
        lists.machines[0].state = PlatformState::Stopped;
        let plan = scenario.plan(lists);
        let found = (plan.actions.is_empty(), plan.withheld.len());
        let what = format!("{of_class:?} {of_tenant:?} {reached}");
        assert_eq!(found, (is_withheld, usize::from(is_withheld)), "{what}");
    }
}

#[test]
fn an_app_whose_volume_is_only_told_of_is_not_asked_for_it() {
    use vault_api::tenant::DriftPolicy::Report;

    let mut scenario = Scenario::converged(ACME);
    for (tenant, _) in scenario.tenants.values_mut() {
        tenant.drift_policy = Some(Report);
    }
    let mut lists = scenario.world.lists();
    lists.machines.clear();
    lists.volumes.clear();
    let mut unread = lists.clone();
    unread.gaps.volumes.insert(lists.apps[0].clone(), VolumeGap::Counted(1));
    assert!(!scenario.plan(lists.clone()).to_confirm.is_empty(), "it is to be made");
    assert!(!scenario.plan(unread.clone()).to_confirm.is_empty(), "it is to be made");
    scenario.reached = scenario.tenants.keys().cloned().collect();
    let plan = scenario.plan(lists);
    assert!(plan.withheld.iter().any(|one| one.action.kind() == ActionKind::CreateVolume));
    assert_eq!((plan.actions.len(), plan.to_confirm.len()), (0, 0), "it takes nobody's turn");
    assert_eq!(scenario.plan(unread).to_confirm.len(), 0);
}
