//! The answers that the platform's Machines API gave.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vault_emulator::{AnswerInfo, Interface};

/// A record of answers, filled by the emulator's hook.
#[derive(Debug, Default)]
pub struct Calls {
    record: Mutex<Vec<AnswerInfo>>,
    answers: AtomicU64,
}

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

    /// How many answers there were so far, of all interfaces of the platform.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::SeqCst)
    }

    pub(super) fn add(&self, answer: &AnswerInfo) {
        self.answers.store(answer.sequence, Ordering::SeqCst);
        if answer.interface == Interface::Machines {
            self.record().push(answer.clone());
        }
    }

    fn record(&self) -> MutexGuard<'_, Vec<AnswerInfo>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
