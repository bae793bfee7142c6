//! `vault-simulator mutants`: hunts the broken controllers, and fails if one survives.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::anyhow;
use clap::ValueEnum;

use super::say;
use crate::mutants::{Hunt, MUTANTS, Mutant, hunt, report};
use crate::seed::Seeds;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Table,
    Json,
}

/// Hunts all broken controllers, or the one of that name.
pub(super) fn main(
    seeds_max: u64,
    only: Option<&str>,
    threads: usize,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let chosen: Vec<&Mutant> = match only {
        Some(name) => vec![named(name)?],
        None => MUTANTS.iter().collect(),
    };
    let hunts = hunt_all(&chosen, seeds_max, threads);
    match output {
        Output::Table => report::table(&hunts).lines().for_each(say),
        Output::Json => say(&format!("{:#}", report::document(&hunts))),
    }
    let all_caught = hunts.iter().all(|hunt| hunt.catch.is_some());
    Ok(if all_caught { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The broken controller of that name.
pub(super) fn named(name: &str) -> anyhow::Result<&'static Mutant> {
    MUTANTS.iter().find(|mutant| mutant.name == name).ok_or_else(|| {
        let names: Vec<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        anyhow!("there is no mutant {name}; there are {}", names.join(", "))
    })
}

/// Hunts side by side; the order is that of the list.
fn hunt_all(chosen: &[&Mutant], seeds_max: u64, threads: usize) -> Vec<Hunt> {
    let next = AtomicUsize::new(0);
    let hunts: Mutex<Vec<(usize, Hunt)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut seeds = Seeds::default();
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutant) = chosen.get(place) else { break };
                    let hunted = hunt(&mut seeds, mutant, seeds_max);
                    hunts.lock().unwrap_or_else(PoisonError::into_inner).push((place, hunted));
                }
            });
        }
    });
    let mut hunts = hunts.into_inner().unwrap_or_else(PoisonError::into_inner);
    hunts.sort_by_key(|(place, _)| *place);
    hunts.into_iter().map(|(_, hunt)| hunt).collect()
}
