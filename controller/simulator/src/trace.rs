//! What happened in a run: as lines for people, as counts, and as a signature that tells runs apart.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::coverage::Coverage;
use crate::fate::Fate;
use crate::verb::Verb;

/// How many lines are kept: a run that makes more is one that does not end.
const LINES_MAX: usize = 50_000;

/// What is counted of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls to the platform.
    pub calls: u64,
    /// Calls that did not go as they should, and whatever else went wrong.
    pub faults: u64,
    /// Deaths of controllers.
    pub kills: u64,
    /// Passes that came to their end.
    pub passes: u64,
}

/// The record of a run.
#[derive(Debug, Default)]
pub struct Trace {
    /// Kept only if somebody is going to read them.
    lines: Option<Vec<String>>,
    /// What is counted.
    pub counts: Counts,
    /// Which places of the code were seen with which fates.
    pub coverage: Coverage,
    signature: DefaultHasher,
    /// Where calls that may change something begin, as numbers of boundaries.
    pub writes: Vec<(u64, Verb)>,
}

impl Trace {
    /// A record without lines.
    #[must_use]
    pub fn counting() -> Self {
        Self::default()
    }

    /// A record for people.
    #[must_use]
    pub fn readable() -> Self {
        Self { lines: Some(Vec::new()), ..Self::default() }
    }

    /// Adds a line, if lines are kept.
    pub fn line(&mut self, now_ms: i64, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines
            && lines.len() < LINES_MAX
        {
            lines.push(format!("{:>10.3} s  {}", now_ms as f64 / 1000.0, text()));
        }
    }

    /// Notes a call and its fate.
    pub fn call(&mut self, verb: Verb, fate: Fate) {
        self.counts.calls += 1;
        self.counts.faults += u64::from(fate != Fate::Works);
        (verb, fate).hash(&mut self.signature);
    }

    /// Notes that a call that may change something is about to be made, at this boundary.
    pub(crate) fn write_begins(&mut self, number: u64, boundary: u64, verb: Verb) {
        debug_assert_eq!(number, self.writes.len() as u64);
        self.writes.push((boundary, verb));
    }

    /// Notes that something else went wrong.
    pub fn fault(&mut self) {
        self.counts.faults += 1;
    }

    /// Makes two runs differ that made the same calls.
    pub fn mark(&mut self, difference: impl Hash) {
        difference.hash(&mut self.signature);
    }

    /// A number that runs have in common which made the same calls with the same fates.
    #[must_use]
    pub fn signature(&self) -> u64 {
        self.signature.clone().finish()
    }

    /// The lines, the oldest first.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
