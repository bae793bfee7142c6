//! The crash matrix: every call that a story makes, with every fate, and a death at every boundary
//! around it. All plans are run; nothing is drawn.
//!
//! ```text
//!   story, told without faults ─▶ its writes w₀ w₁ … and the boundaries around them
//!      for each wᵢ:  fate of wᵢ × death (none, or at one of the boundaries around wᵢ)
//!                    fate of the lists after wᵢ × death (none, or after the effect of wᵢ)
//! ```

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::coverage::Coverage;
use crate::fate::Fate;
use crate::faults::{Plan, Script};
use crate::oracle::Violation;
use crate::oracle::end::StageEnd;
use crate::run::Setting;
use crate::seed::Seeds;
use crate::workload::{Workload, apart, named};

/// The boundaries around a call, counted from the one before it: the three of the write that says
/// that it is being sent, the four of the call, the three of the write that settles it.
const DEATHS: std::ops::RangeInclusive<i64> = -3..=6;
/// The three of the write that plans a turn come before those.
const PLANNING: std::ops::Range<i64> = -6..-3;

/// One plan of the matrix.
#[derive(Clone, Debug)]
pub struct Case {
    /// The place of its story in the list of those that have names.
    story: usize,
    script: Script,
}

/// The whole matrix.
pub struct Matrix {
    stories: Vec<(Workload, Arc<[StageEnd]>)>,
    cases: Vec<Case>,
}

/// What came of running cases.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many were run.
    pub cases: usize,
    /// The signatures of their traces.
    pub traces: HashSet<u64>,
    /// The places of the code that they saw.
    pub coverage: Coverage,
    /// What must not be, with the case.
    pub violations: Vec<(String, Violation)>,
}

impl Matrix {
    /// All cases of all stories that have names, or of one of them.
    #[must_use]
    pub fn new(seeds: &mut Seeds, only: Option<&str>) -> Self {
        let mut matrix = Self { stories: Vec::new(), cases: Vec::new() };
        let chosen = |story: &Workload| only.is_none_or(|only| story.name == only);
        // Stories that are told apart are told if they are asked for.
        let apart = apart().into_iter().filter(|_| only.is_some());
        for story in named().into_iter().chain(apart).filter(chosen) {
            let reference = seeds.reference(&story);
            let calm = Setting::calm(story.clone()).run(None, seeds.metrics());
            let place = matrix.stories.len();
            let scripts = calm.writes.iter().zip(0..).flat_map(|(&(boundary, verb), number)| {
                let around = i64::try_from(boundary).unwrap_or(i64::MAX);
                let fates = Fate::ALL.into_iter().filter(move |fate| fate.concerns(verb));
                scripts(number, around, fates.collect())
            });
            matrix.cases.extend(scripts.map(|script| Case { story: place, script }));
            matrix.stories.push((story, reference));
        }
        matrix
    }

    /// How many cases there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Runs all cases, spread over that many threads, until so many have failed.
    #[must_use]
    pub fn run_all(&self, threads: usize, failures_max: usize) -> Findings {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let total = Mutex::new(Findings::default());
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    let (seeds, mut mine) = (Seeds::default(), Findings::default());
                    while !stop.load(Ordering::Relaxed) {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        if place >= self.len() {
                            break;
                        }
                        self.run(place, &seeds, &mut mine);
                        stop.fetch_or(mine.violations.len() >= failures_max, Ordering::Relaxed);
                    }
                    total.lock().unwrap_or_else(PoisonError::into_inner).merge(mine);
                });
            }
        });
        total.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one case.
    pub fn run(&self, place: usize, seeds: &Seeds, findings: &mut Findings) {
        let Some(case) = self.cases.get(place) else { return };
        let (story, reference) = &self.stories[case.story];
        let plan = Plan::Scripted(case.script);
        let setting = Setting { plan, ..Setting::calm(story.clone()) };
        let outcome = setting.run(Some(reference), seeds.metrics());
        findings.cases += 1;
        findings.traces.insert(outcome.signature);
        findings.coverage.merge(&outcome.coverage);
        if let Some(violation) = outcome.violations.into_iter().next() {
            findings.violations.push((format!("case {place} ({case})"), violation));
        }
    }

    /// One case as a setting, and how its story ends without faults.
    #[must_use]
    pub fn setting(&self, place: usize) -> Option<(Setting, Arc<[StageEnd]>)> {
        let case = self.cases.get(place)?;
        let (story, reference) = &self.stories[case.story];
        let plan = Plan::Scripted(case.script);
        Some((Setting { plan, ..Setting::calm(story.clone()) }, Arc::clone(reference)))
    }

    /// Whether lists are what goes wrong in a case.
    #[must_use]
    pub fn spoils_lists(&self, place: usize) -> bool {
        self.cases.get(place).is_some_and(|case| case.script.lists.is_some())
    }

    /// Runs one case again; its trace and what was seen.
    #[must_use]
    pub fn replay(&self, place: usize, seeds: &Seeds) -> Option<(Vec<String>, Vec<Violation>)> {
        let case = self.cases.get(place)?;
        let (story, reference) = &self.stories[case.story];
        let plan = Plan::Scripted(case.script);
        let setting = Setting { plan, readable: true, ..Setting::calm(story.clone()) };
        let outcome = setting.run(Some(reference), seeds.metrics());
        Some((outcome.lines, outcome.violations))
    }
}

impl Findings {
    /// Adds what others found.
    pub fn merge(&mut self, other: Self) {
        self.cases += other.cases;
        self.traces.extend(other.traces);
        self.coverage.merge(&other.coverage);
        self.violations.extend(other.violations);
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Script { kill_at, write, lists } = self.script;
        write!(formatter, "story {}", self.story)?;
        if let Some((number, fate)) = write {
            write!(formatter, ", write {number} {fate}")?;
        }
        if let Some((number, fate)) = lists {
            write!(formatter, ", lists after write {number} {fate}")?;
        }
        match kill_at {
            Some(boundary) => write!(formatter, ", death at boundary {boundary}"),
            None => Ok(()),
        }
    }
}

/// The scripts around one call that may change something: its number, the number of the boundary
/// before it, and the fates that it can have.
fn scripts(number: u64, around: i64, fates: Vec<Fate>) -> Vec<Script> {
    let boundary = |offset: i64| u64::try_from(around + offset).ok();
    let mut scripts = Vec::new();
    for fate in fates {
        let write = Some((number, fate));
        let mut deaths: Vec<Option<u64>> = vec![None];
        deaths.extend(DEATHS.filter_map(boundary).map(Some));
        if fate == Fate::Works {
            deaths.extend(PLANNING.filter_map(boundary).map(Some));
        }
        scripts.extend(deaths.into_iter().map(|kill_at| Script { kill_at, write, lists: None }));
    }
    for fate in [Fate::Stale, Fate::Empty, Fate::Partial, Fate::Unreadable] {
        let lists = Some((number, fate));
        for kill_at in [None, boundary(2)] {
            scripts.push(Script { kill_at, write: None, lists });
        }
    }
    scripts
}
