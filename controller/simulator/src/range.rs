//! Ranges of seeds, run side by side on the threads that there are.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::coverage::Coverage;
use crate::oracle::Violation;
use crate::seed::Seeds;

/// How many seeds pass between two reports of progress.
const PROGRESS: u64 = 10_000;

/// What the seeds of a range had in common.
#[derive(Debug, Default)]
pub struct Tally {
    /// The calls of each seed.
    pub calls: Vec<u64>,
    /// What went wrong in each.
    pub faults: Vec<u64>,
    /// Deaths of controllers.
    pub kills: u64,
    /// Passes that came to their end.
    pub passes: u64,
    /// The places of the code that were seen.
    pub coverage: Coverage,
    /// What must not be, with its seed; the first of each.
    pub failures: Vec<(u64, Violation)>,
}

/// Runs a range on that many threads, until so many seeds have failed on one of them. `progress` is
/// told how many are done, now and then.
#[must_use]
pub fn run(
    seeds: &Range<u64>,
    threads: usize,
    failures_max: usize,
    progress: impl Fn(u64) + Sync,
) -> Tally {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let total = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let (mut runner, mut mine) = (Seeds::default(), Tally::default());
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    mine.take(&mut runner, seed);
                    stop.fetch_or(mine.failures.len() >= failures_max, Ordering::Relaxed);
                    let done = seed + 1 - seeds.start;
                    if done.is_multiple_of(PROGRESS) {
                        progress(done);
                    }
                }
                total.lock().unwrap_or_else(PoisonError::into_inner).merge(mine);
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    total.failures.sort_by_key(|(seed, _)| *seed);
    total
}

impl Tally {
    fn take(&mut self, runner: &mut Seeds, seed: u64) {
        // Without a story's name there is always one.
        let Some(outcome) = runner.run(seed, None, false) else { return };
        self.calls.push(outcome.counts.calls);
        self.faults.push(outcome.counts.faults);
        self.kills += outcome.counts.kills;
        self.passes += outcome.counts.passes;
        self.coverage.merge(&outcome.coverage);
        let violation = outcome.violations.into_iter().next();
        self.failures.extend(violation.map(|violation| (seed, violation)));
    }

    fn merge(&mut self, other: Self) {
        self.calls.extend(other.calls);
        self.faults.extend(other.faults);
        self.kills += other.kills;
        self.passes += other.passes;
        self.coverage.merge(&other.coverage);
        self.failures.extend(other.failures);
    }

    /// The medians of calls and of faults.
    #[must_use]
    pub fn medians(&mut self) -> (u64, u64) {
        (median(&mut self.calls), median(&mut self.faults))
    }
}

fn median(numbers: &mut [u64]) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}
