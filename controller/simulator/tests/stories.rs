//! Stories on virtual time: lists that lie for minutes, leaders that stand still, and edits that are
//! taken back.

use std::collections::BTreeSet;
use std::sync::Arc;

use fastrand::Rng;
use vault_simulator::fate::Fate;
use vault_simulator::faults::Plan;
use vault_simulator::oracle::end::unlike_before;
use vault_simulator::run::{Outcome, Setting};
use vault_simulator::seed::Seeds;
use vault_simulator::verb::Verb;
use vault_simulator::workload::{AppChoice, Group, Manifest, Tenant, Workload, named, random};

const FIVE_MINUTES_MS: i64 = 300_000;
/// Longer than a controller waits for lost calls, and than its successor needs for all that is left
/// to do.
const PAUSE_MS: i64 = 60_000;

/// Twelve tenants with volumes, secrets, shared apps and two regions and organizations.
fn fleet() -> Manifest {
    const NAMES: [&str; 12] = [
        "acme", "bob", "cyan", "dora", "eve", "fox", "globex", "hooli", "ivy", "jane", "kim", "leo",
    ];
    let tenants = NAMES.iter().enumerate().map(|(place, name)| {
        let region = if place % 2 == 0 { "ord" } else { "fra" };
        let group = Group {
            count: 1 + u32::from(place % 3 == 0),
            volume_gb: (place % 4 != 3).then_some(1),
            region,
            ..Group::new("box")
        };
        let app = if place % 5 == 0 { AppChoice::Shared("shared-app") } else { AppChoice::Derived };
        let organization = usize::from(place % 6 == 1);
        let secret = (place % 2 == 1).then_some("VAULTCTL_SECRET_FIRST");
        (*name, Tenant { app, organization, secret, ..Tenant::new(vec![group]) })
    });
    Manifest::of(&tenants.collect::<Vec<_>>())
}

/// Runs a fleet, and for five minutes after it has converged all lists have this fate.
fn outage(fate: Fate) {
    let run = |stages: usize, plan: Plan| {
        let story = Workload::new("fleet", vec![fleet(); stages]);
        let setting = Setting { plan, window_ms: FIVE_MINUTES_MS, ..Setting::calm(story) };
        setting.run(None, &Arc::default())
    };
    let (calm, outage) = (run(1, Plan::Outage(fate)), run(2, Plan::Outage(fate)));
    assert!(calm.violations.is_empty() && outage.violations.is_empty(), "{outage:#?}");
    assert_eq!(calm.counts.faults, 0);
    assert!(calm.writes.len() > 40, "the fleet was made: {}", calm.writes.len());
    // A pass every ten seconds, in each of which at least one list was wrong.
    assert!(outage.counts.faults >= 30, "{fate}: {:?}", outage.counts);
    assert_eq!(outage.writes, calm.writes, "{fate}: nothing is written after the fleet was made");
}

#[test]
fn empty_lists_for_five_minutes_of_a_running_fleet_cause_no_write() {
    outage(Fate::Empty);
}

#[test]
fn missing_regions_for_five_minutes_of_a_running_fleet_cause_no_write() {
    outage(Fate::Partial);
}

/// The first two stages of a story.
fn beginning(story: &Workload) -> Workload {
    let stages = story.stages.iter().take(2).cloned().collect();
    Workload { stages, returns: false, ..story.clone() }
}

fn paused_at(story: &Workload, seeds: &mut Seeds, boundary: u64) -> Outcome {
    let reference = seeds.reference(story);
    let pause = Some((boundary, PAUSE_MS));
    let setting = Setting { pause, ..Setting::calm(story.clone()) };
    setting.run(Some(&reference), seeds.metrics())
}

/// What nobody can prevent without a fence at the platform: a volume's name is not unique, so a creation
/// that was decided on before the pause, and is sent after it, makes one more. All else is fenced there:
/// names of machines and apps are unique, updates carry `current_version`, secrets are set to the same
/// value again, and what is stopped or destroyed is named by an id that no successor has. (By that id
/// the machine itself can be hit, if people want it again by then: what is destroyed is made anew, and
/// its volume outlives it.)
#[test]
fn a_leader_that_stood_still_doubles_nothing_but_a_volume_and_destroys_no_successor() {
    let mut seeds = Seeds::default();
    let (mut runs, mut doubled) = (0, 0);
    for story in named().iter().filter(|story| story.stages.len() > 1 && !story.is_buried()) {
        let story = Workload { name: format!("{}, paused", story.name), ..beginning(story) };
        let calm = Setting::calm(story.clone()).run(None, seeds.metrics());
        let one = Workload { stages: story.stages[..1].to_vec(), ..story.clone() };
        let before = Setting::calm(one).run(None, seeds.metrics()).writes.len();
        let writes = &calm.writes[before..];
        let boundaries: BTreeSet<u64> =
            writes.iter().flat_map(|&(around, _)| around - 3..=around + 6).collect();
        for boundary in boundaries {
            let outcome = paused_at(&story, &mut seeds, boundary);
            runs += 1;
            let Some(violation) = outcome.violations.first() else { continue };
            let is_double =
                violation.oracle == "reference" && violation.message.starts_with("volume (");
            let mut creations = writes.iter().filter(|(_, verb)| *verb == Verb::CreateVolume);
            let is_before_one = creations.any(|(around, _)| boundary < *around);
            assert!(
                is_double && is_before_one,
                "{}, boundary {boundary}: {violation}\n{writes:?}",
                story.name
            );
            doubled += 1;
        }
    }
    assert!(runs > 300, "{runs} runs");
    assert!(doubled > 0, "what cannot be prevented is shown to happen");
    assert!(doubled * 10 < runs, "{doubled} of {runs} runs made a volume too many");
}

/// Whether a volume of one manifest is larger in the next.
fn grows(before: &Manifest, after: &Manifest) -> bool {
    before.tenants.iter().any(|(name, tenant)| {
        let next = after.tenants.get(name).map_or(&[][..], |next| &next.groups);
        let mut groups = tenant.groups.iter();
        groups.any(|group| {
            let same = next.iter().find(|next| next.name == group.name);
            same.is_some_and(|same| same.volume_gb > group.volume_gb)
        })
    })
}

#[test]
fn there_and_back_ends_as_a_fresh_deployment_does() {
    let mut chance = Rng::with_seed(7);
    let mut seeds = Seeds::default();
    let drawn = (0..60).map(|_| random(&mut chance)).map(|story| {
        let mut stages: Vec<Manifest> = story.stages.into_iter().take(2).collect();
        stages.push(stages[0].clone());
        Workload::new("random", stages)
    });
    // A volume that has grown never shrinks, and a manifest that says so again is not carried out.
    let drawn = drawn.filter(|story| !grows(&story.stages[0], &story.stages[1]));
    let named = named().into_iter().filter(|story| story.returns);
    let mut walks = 0;
    for story in named.chain(drawn) {
        let fresh = Workload::new("random", story.stages[..1].to_vec());
        let [fresh] = &*seeds.reference(&fresh) else { panic!("one stage has one end") };
        let ends = seeds.reference(&Workload { name: "random".to_owned(), ..story.clone() });
        let last = ends.last().expect("a story has stages");
        let difference = unlike_before(&last.inventory, &fresh.inventory);
        assert_eq!(difference, None, "{}: {:#?}", story.name, story.stages);
        walks += 1;
    }
    assert!(walks > 40);
}
