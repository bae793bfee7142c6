//! Who is told of every call, and the plainest listener: three counters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};

use crate::error::CallError;
use crate::operation::Operation;

/// How one attempt at a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// The platform answered with success.
    Done,
    /// The platform answered and did not act.
    Rejected,
    /// The request did not leave, or provably did not arrive.
    NotSent,
    /// Nobody can say.
    Unknown,
}

impl CallOutcome {
    pub(crate) const fn of<T>(result: &Result<T, CallError>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(CallError::Rejected(_)) => Self::Rejected,
            Err(CallError::NotSent(_)) => Self::NotSent,
            Err(CallError::Unknown(_)) => Self::Unknown,
        }
    }
}

/// One attempt at a call, when its outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// What was called.
    pub operation: Operation,
    /// How it ended.
    pub outcome: CallOutcome,
    /// The status of the answer, if one came.
    pub status: Option<StatusCode>,
    /// Why it did not succeed, as [`CallError::kind`] words it.
    pub failure: Option<&'static str>,
    /// The platform's name for the request, if it answered with one.
    pub fly_request_id: Option<&'a str>,
    /// How long it waited for its turn under the rate limits.
    pub waited: Duration,
    /// How long it took from then to the end of its answer.
    pub took: Duration,
    /// It was not the first attempt at this call.
    pub repeated: bool,
}

/// Is told of every attempt, repeated ones included, when its outcome is known.
pub trait CallObserver: Send + Sync {
    /// Called on the task that made the call; must not block.
    fn call(&self, attempt: &Attempt<'_>);
}

/// Counts the attempts that may have reached the platform.
#[derive(Debug, Default)]
pub struct CallCounts {
    reads: AtomicU64,
    secret_reads: AtomicU64,
    writes: AtomicU64,
}

impl CallCounts {
    /// Attempts at `GET`, but for those at an app's secrets.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// Attempts at looks that are made now and then: at an app's secrets, of which there is no list,
    /// at deploy tokens, and at storage.
    #[must_use]
    pub fn secret_reads(&self) -> u64 {
        self.secret_reads.load(Ordering::SeqCst)
    }

    /// Attempts at anything else.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }
}

impl CallObserver for CallCounts {
    fn call(&self, attempt: &Attempt<'_>) {
        if attempt.outcome == CallOutcome::NotSent {
            return;
        }
        let counter = match attempt.operation {
            Operation::ListSecrets | Operation::ListTokens | Operation::ReadTokenApp => {
                &self.secret_reads
            }
            operation if operation.is_storage() && operation.only_looks() => &self.secret_reads,
            operation if operation.method() == Method::GET => &self.reads,
            _ => &self.writes,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}
