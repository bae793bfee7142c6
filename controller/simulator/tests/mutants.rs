//! The oracles bite: each broken controller is caught, in a seed that the unchanged one passes.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use vault_simulator::mutants::{MUTANTS, hunt};
use vault_simulator::seed::Seeds;

/// More seeds than any of them takes.
const SEEDS_MAX: u64 = 5000;

/// The oracles that are seen to bite here. `volumes` and `return` always bite after another one has,
/// and are shown to bite by tests of their own, beside them.
const ORACLES: [&str; 12] = [
    "budget",
    "convergence",
    "counts",
    "deletion",
    "doubles",
    "foreign",
    "inventory",
    "journal",
    "pass",
    "reference",
    "stability",
    "tokens",
];

#[test]
fn each_broken_controller_is_caught_where_the_unchanged_one_passes() {
    let next = AtomicUsize::new(0);
    let bitten: Mutex<BTreeSet<&'static str>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut seeds = Seeds::default();
                while let Some(mutant) = MUTANTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // `hunt` counts a run only if the unchanged controller passes the very same.
                    let hunted = hunt(&mut seeds, mutant, SEEDS_MAX);
                    let caught = hunted.catch.as_ref();
                    let caught = caught.unwrap_or_else(|| panic!("it survives: {hunted:?}"));
                    bitten.lock().unwrap().extend(&caught.oracles);
                }
            });
        }
    });
    let bitten = bitten.into_inner().unwrap();
    let idle: Vec<&str> = ORACLES.into_iter().filter(|oracle| !bitten.contains(oracle)).collect();
    assert!(idle.is_empty(), "no broken controller makes these bite: {idle:?}");
}

#[test]
fn a_hunt_repeats_itself_and_mutants_have_names_of_their_own() {
    let names: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
    assert_eq!(names.len(), MUTANTS.len());
    let hunted = || hunt(&mut Seeds::default(), &MUTANTS[0], SEEDS_MAX).catch;
    assert_eq!(hunted(), hunted());
}
