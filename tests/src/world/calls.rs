//! The answers that the platform gave.

use std::sync::{Mutex, MutexGuard, PoisonError};

use vault_emulator::AnswerInfo;

/// A record of answers, filled by the emulator's hook.
#[derive(Debug, Default)]
pub struct Calls(Mutex<Vec<AnswerInfo>>);

/// How many answers there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// To GET requests.
    pub reads: usize,
    /// To all others.
    pub writes: usize,
}

impl std::ops::Sub for Count {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { reads: self.reads - earlier.reads, writes: self.writes - earlier.writes }
    }
}

impl Calls {
    /// All answers so far.
    #[must_use]
    pub fn all(&self) -> Vec<AnswerInfo> {
        self.record().clone()
    }

    /// The answers after the first `seen` ones.
    #[must_use]
    pub fn since(&self, seen: usize) -> Vec<AnswerInfo> {
        self.record().get(seen..).unwrap_or_default().to_vec()
    }

    /// How many there were so far.
    #[must_use]
    pub fn count(&self) -> Count {
        let record = self.record();
        let reads = record.iter().filter(|answer| answer.method == "GET").count();
        Count { reads, writes: record.len() - reads }
    }

    pub(super) fn add(&self, answer: &AnswerInfo) {
        self.record().push(answer.clone());
    }

    fn record(&self) -> MutexGuard<'_, Vec<AnswerInfo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
