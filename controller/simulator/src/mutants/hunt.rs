//! The hunt for one broken controller: seed after seed, until an oracle bites.

use super::Mutant;
use crate::run::Setting;
use crate::seed::Seeds;

/// What became of a hunt.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Which broken controller.
    pub mutant: Mutant,
    /// How it was caught; it survives if absent.
    pub catch: Option<Catch>,
    /// How many seeds were run with it.
    pub seeds: u64,
    /// Seeds that did not count, because the unchanged controller fails them too.
    pub unclean: Vec<u64>,
}

/// How a broken controller was caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catch {
    /// The first seed that shows it.
    pub seed: u64,
    /// The story that the seed tells.
    pub story: String,
    /// The oracles that saw something, the first one first.
    pub oracles: Vec<&'static str>,
    /// What the first one saw.
    pub message: String,
}

/// Hunts a broken controller through the first `seeds_max` seeds. A seed counts only if the unchanged
/// controller passes it.
pub fn hunt(seeds: &mut Seeds, mutant: &Mutant, seeds_max: u64) -> Hunt {
    let mut hunt = Hunt { mutant: *mutant, catch: None, seeds: 0, unclean: Vec::new() };
    for seed in 0..seeds_max {
        let Some(sound) = seeds.setting(seed, mutant.story, false) else { break };
        let broken = Setting { mutation: Some(mutant.mutation), ..sound.clone() };
        let outcome = seeds.run_setting(&broken);
        hunt.seeds += 1;
        let Some(first) = outcome.violations.first() else { continue };
        if !seeds.run_setting(&sound).violations.is_empty() {
            hunt.unclean.push(seed);
            continue;
        }
        let mut oracles: Vec<&'static str> = Vec::new();
        for violation in &outcome.violations {
            if !oracles.contains(&violation.oracle) {
                oracles.push(violation.oracle);
            }
        }
        let (story, message) = (sound.workload.name, first.to_string());
        hunt.catch = Some(Catch { seed, story, oracles, message });
        break;
    }
    hunt
}
