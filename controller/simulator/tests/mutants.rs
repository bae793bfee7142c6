//! The oracles bite: each broken controller is caught, in a seed that the unchanged one passes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use vault_simulator::mutants::{MUTANTS, hunt};
use vault_simulator::seed::Seeds;

/// More seeds than any of them takes.
const SEEDS_MAX: u64 = 300;

#[test]
fn each_broken_controller_is_caught_where_the_unchanged_one_passes() {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut seeds = Seeds::default();
                while let Some(mutant) = MUTANTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // `hunt` counts a seed only if the unchanged controller passes it.
                    let hunted = hunt(&mut seeds, mutant, SEEDS_MAX);
                    assert!(hunted.catch.is_some(), "{} survives: {hunted:?}", mutant.name);
                }
            });
        }
    });
}

#[test]
fn a_hunt_repeats_itself_and_mutants_have_names_of_their_own() {
    let names: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
    assert_eq!(names.len(), MUTANTS.len());
    let hunted = || hunt(&mut Seeds::default(), &MUTANTS[0], SEEDS_MAX).catch;
    assert_eq!(hunted(), hunted());
}
