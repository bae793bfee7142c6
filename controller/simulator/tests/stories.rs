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

/// What a second leader cannot prevent without a fence at the platform: a volume's name is not unique,
/// so a creation that was decided on before the pause, and arrives after it, makes one more. Machines
/// and apps have unique names, updates carry `current_version`, and what is destroyed, stopped or
/// started is named by an id that no successor has.
#[test]
fn a_leader_that_stood_still_doubles_nothing_but_a_volume_and_destroys_no_successor() {
    let mut seeds = Seeds::default();
    let (mut runs, mut doubled) = (0, BTreeSet::new());
    for story in named().iter().filter(|story| story.stages.len() > 1 && !story.is_buried()) {
        let story = Workload { name: format!("{}, paused", story.name), ..beginning(story) };
        let calm = Setting::calm(story.clone()).run(None, seeds.metrics());
        let one = Workload { stages: story.stages[..1].to_vec(), ..story.clone() };
        let before = Setting::calm(one).run(None, seeds.metrics()).writes.len();
        for &(around, verb) in &calm.writes[before..] {
            for boundary in around - 3..=around + 6 {
                let outcome = paused_at(&story, &mut seeds, boundary);
                runs += 1;
                let Some(violation) = outcome.violations.first() else { continue };
                let is_volume = violation.message.contains("volume");
                assert!(
                    verb == Verb::CreateVolume && is_volume && violation.oracle == "reference",
                    "{}: {verb}, boundary {boundary}: {violation}",
                    story.name
                );
                doubled.insert((story.name.clone(), boundary));
            }
        }
    }
    assert!(runs > 300, "{runs} runs");
    assert!(!doubled.is_empty(), "what cannot be prevented is shown to happen");
}

#[test]
fn there_and_back_ends_as_a_fresh_deployment_does() {
    let mut chance = Rng::with_seed(7);
    let mut seeds = Seeds::default();
    let drawn = (0..40).map(|_| random(&mut chance)).map(|story| {
        let mut stages: Vec<Manifest> = story.stages.into_iter().take(2).collect();
        stages.push(stages[0].clone());
        Workload::new("random", stages)
    });
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
