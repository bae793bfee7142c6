//! The seam through which this package waits, so that tests wait for nothing.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A clock that only runs forward, and a way to wait on it.
pub trait Sleep: Send + Sync {
    /// Time since some fixed start.
    fn now(&self) -> Duration;

    /// Completes when `duration` has passed.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Tokio's timer.
#[derive(Clone, Copy, Debug)]
pub struct TokioSleep {
    start: tokio::time::Instant,
}

impl TokioSleep {
    /// A clock that begins at zero.
    #[must_use]
    pub fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Default for TokioSleep {
    fn default() -> Self {
        Self::new()
    }
}

impl Sleep for TokioSleep {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(tokio::time::sleep(duration))
    }
}
