//! A short range of seeds, and that a seed is a run.

use std::collections::BTreeSet;
use std::thread::available_parallelism;

use vault_simulator::range;
use vault_simulator::seed::Seeds;
use vault_simulator::workload::named;

/// As many as are run in some ten seconds on two threads; whoever wants more has the program.
const SEEDS: u64 = 1_000;
/// What the median seed has at least.
const CALLS_MIN: u64 = 200;
const FAULTS_MIN: u64 = 10;
/// How many failing seeds are shown.
const FAILURES_MAX: usize = 5;

#[test]
fn a_range_of_seeds_violates_nothing() {
    let threads = available_parallelism().map_or(1, usize::from);
    let mut tally = range::run(&(0..SEEDS), threads, FAILURES_MAX, |_| {});
    assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
    assert_eq!(tally.calls.len() as u64, SEEDS);
    assert_eq!(tally.coverage.contradictions(), Vec::<String>::new());
    let (calls, faults) = tally.medians();
    assert!(calls >= CALLS_MIN && faults >= FAULTS_MIN, "median {calls} calls, {faults} faults");
}

#[test]
fn a_seed_is_the_same_run_again_line_by_line() {
    for seed in [3, 8, 21, 40] {
        let run = || Seeds::default().run(seed, None, true).expect("a seed names a story");
        let (one, other) = (run(), run());
        assert!(one.lines.len() > 50, "seed {seed}: {} lines", one.lines.len());
        for (number, (line, again)) in one.lines.iter().zip(&other.lines).enumerate() {
            assert_eq!(line, again, "seed {seed}, line {number}");
        }
        assert_eq!(one.lines.len(), other.lines.len(), "seed {seed}");
        assert_eq!((one.signature, one.counts), (other.signature, other.counts));
    }
    let signature = |seed| Seeds::default().run(seed, Some("volume"), false).unwrap().signature;
    assert_ne!(signature(3), signature(4), "another seed is another run");
}

#[test]
fn stories_have_names_of_their_own_and_end_well_without_faults() {
    let mut seeds = Seeds::default();
    let stories = named();
    let names: BTreeSet<&str> = stories.iter().map(|story| story.name.as_str()).collect();
    assert!(stories.len() >= 20 && names.len() == stories.len(), "{names:?}");
    for story in &stories {
        let ends = seeds.reference(story);
        assert_eq!(ends.len(), story.stages.len(), "{}", story.name);
    }
    assert!(Seeds::default().run(0, Some("no such story"), false).is_none());
}
