//! The hunt for one broken controller: seed after seed, or case after case, until an oracle bites.

use std::sync::Arc;

use super::{Ground, Mutant};
use crate::matrix::Matrix;
use crate::oracle::end::StageEnd;
use crate::run::{Outcome, Setting};
use crate::seed::Seeds;

/// What became of a hunt.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Which broken controller.
    pub mutant: Mutant,
    /// How it was caught; it survives if absent.
    pub catch: Option<Catch>,
    /// How many seeds, or cases of the matrix, were run with it.
    pub runs: u64,
    /// Those that did not count, because the unchanged controller fails them too.
    pub unclean: Vec<u64>,
}

/// How a broken controller was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catch {
    /// The first seed, or the first case of the story's crash matrix, that shows it.
    pub number: u64,
    /// The story that is told there.
    pub story: String,
    /// The oracles that saw something, the first one first.
    pub oracles: Vec<&'static str>,
    /// What the first one saw.
    pub message: String,
}

/// Hunts a broken controller through the first `seeds_max` seeds, or through the whole crash matrix
/// of its story. A run counts only if the unchanged controller passes the very same.
pub fn hunt(seeds: &mut Seeds, mutant: &Mutant, seeds_max: u64) -> Hunt {
    match mutant.ground {
        Ground::Seeds | Ground::Story(_) => {
            let story = mutant.ground.story();
            // The same order of calls for both runs: references are made on the way.
            let mut prepare = |seed: u64| {
                let setting = seeds.setting(seed, story, false)?;
                let reference = (!setting.storm).then(|| seeds.reference(&setting.workload));
                Some((setting, reference))
            };
            let metrics = Arc::default();
            let run = |setting: &Setting, reference: Option<&[StageEnd]>| {
                setting.run(reference, &metrics)
            };
            through(mutant, 0..seeds_max, &mut prepare, run)
        }
        Ground::Matrix(story) | Ground::Lists(story) => {
            let matrix = Matrix::new(seeds, Some(story));
            let mut prepare = |case: u64| {
                let (setting, reference) = matrix.setting(usize::try_from(case).ok()?)?;
                Some((setting, Some(reference)))
            };
            let run = |setting: &Setting, reference: Option<&[StageEnd]>| {
                setting.run(reference, seeds.metrics())
            };
            let only_lists = matches!(mutant.ground, Ground::Lists(_));
            let cases = (0..matrix.len()).filter(|case| !only_lists || matrix.spoils_lists(*case));
            through(mutant, cases.map(|case| case as u64), &mut prepare, run)
        }
    }
}

/// A setting, and how its story ends without faults, if that is to be compared.
type Prepared = (Setting, Option<Arc<[StageEnd]>>);

fn through(
    mutant: &Mutant,
    numbers: impl Iterator<Item = u64>,
    prepare: &mut dyn FnMut(u64) -> Option<Prepared>,
    run: impl Fn(&Setting, Option<&[StageEnd]>) -> Outcome,
) -> Hunt {
    let mut hunt = Hunt { mutant: *mutant, catch: None, runs: 0, unclean: Vec::new() };
    for number in numbers {
        let Some((sound, reference)) = prepare(number) else { break };
        let broken = Setting { mutation: Some(mutant.mutation), ..sound.clone() };
        let outcome = run(&broken, reference.as_deref());
        hunt.runs += 1;
        let Some(first) = outcome.violations.first() else { continue };
        if !run(&sound, reference.as_deref()).violations.is_empty() {
            hunt.unclean.push(number);
            continue;
        }
        let mut oracles: Vec<&'static str> = Vec::new();
        for violation in &outcome.violations {
            if !oracles.contains(&violation.oracle) {
                oracles.push(violation.oracle);
            }
        }
        let (story, message) = (sound.workload.name, first.to_string());
        hunt.catch = Some(Catch { number, story, oracles, message });
        break;
    }
    hunt
}
