//! Time as a seam, where a decision depends on it.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Tells how much time has passed; tests bring their own.
pub trait Clock: Send + Sync + 'static {
    /// Since some moment before the agent started; never runs back.
    fn now(&self) -> Duration;

    /// The time of day, for people. It may be wrong, and may run back.
    fn wall(&self) -> Timestamp;
}

/// The machine's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts at zero.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the seam's one real implementation")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    #[allow(clippy::disallowed_methods, reason = "this is the seam's one real implementation")]
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}
