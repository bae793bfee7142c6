//! Keeps this process below the platform's rate limits, so that 429 is an accident and not a habit.

mod buckets;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use buckets::{Admission, Buckets, Rate};

use crate::operation::Operation;
use crate::sleep::Sleep;

/// Buckets that may be in use at once. A bucket is forgotten when it is full again, seconds after
/// its last use, so this bounds calls in flight and not the size of a fleet.
pub const BUCKET_CAP: usize = 16_384;

/// The longest that a call waits for its turn: at one call a second, sixty callers. Whoever would
/// wait longer is better served by the next pass of the controller, which looks again first.
pub const QUEUE_WAIT_CAP: Duration = Duration::from_secs(60);

/// The queue for this operation on this machine or app is longer than a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} calls wait for the platform's rate limit, the next one would wait {wait:?}", .operation.name())]
pub struct QueueFull {
    /// What was to be called.
    pub operation: Operation,
    /// How long the call would have waited.
    pub wait: Duration,
}

/// Lets calls through at the documented rates, first come first served per operation and identifier.
pub struct Limiter {
    buckets: Mutex<Buckets>,
    sleep: Arc<dyn Sleep>,
}

impl Limiter {
    /// A limiter whose buckets are all full.
    #[must_use]
    pub fn new(sleep: Arc<dyn Sleep>) -> Self {
        Self { buckets: Mutex::new(Buckets::new(BUCKET_CAP)), sleep }
    }

    /// Returns when the call may be made.
    ///
    /// A caller's place is fixed when this is first polled. One that is dropped while it waits
    /// leaves its place empty: the rate is then a little lower than allowed, never higher.
    ///
    /// # Errors
    /// [`QueueFull`] at once, if the wait would be longer than [`QUEUE_WAIT_CAP`].
    pub async fn admit(&self, operation: Operation, identifier: &str) -> Result<(), QueueFull> {
        let Some(rate) = operation.rate() else {
            return Ok(());
        };
        let now = self.sleep.now();
        let admission = self.with_buckets(|buckets| {
            buckets.reserve((operation, identifier), rate, now, QUEUE_WAIT_CAP)
        });
        match admission {
            Admission::Now => Ok(()),
            Admission::After(wait) => {
                self.sleep.sleep(wait).await;
                Ok(())
            }
            Admission::Refused(wait) => Err(QueueFull { operation, wait }),
        }
    }

    /// The platform answered 429: no further call of this kind for `pause`.
    pub fn drain(&self, operation: Operation, identifier: &str, pause: Duration) {
        if let Some(rate) = operation.rate() {
            let now = self.sleep.now();
            self.with_buckets(|buckets| buckets.drain((operation, identifier), rate, now, pause));
        }
    }

    fn with_buckets<T>(&self, use_them: impl FnOnce(&mut Buckets) -> T) -> T {
        // The table is plain numbers: a panic elsewhere cannot have left it half written.
        use_them(&mut self.buckets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;

    use super::*;

    /// Time stands at zero; every wait is written down and over at once.
    #[derive(Default)]
    struct Waits(Arc<Mutex<Vec<Duration>>>);

    impl Sleep for Waits {
        fn now(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            self.0.lock().unwrap().push(duration);
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test]
    async fn callers_wait_in_the_order_they_came_until_the_queue_is_full() {
        let waits = Arc::new(Mutex::new(Vec::new()));
        let limiter = Limiter::new(Arc::new(Waits(Arc::clone(&waits))));
        for _ in 0..63 {
            limiter.admit(Operation::CreateMachine, "app").await.unwrap();
        }
        let full = limiter.admit(Operation::CreateMachine, "app").await.unwrap_err();
        assert_eq!(full.wait, Duration::from_secs(61));
        let expected: Vec<_> = (1..=60).map(Duration::from_secs).collect();
        assert_eq!(*waits.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn lists_of_an_organization_never_wait() {
        let waits = Arc::new(Mutex::new(Vec::new()));
        let limiter = Limiter::new(Arc::new(Waits(Arc::clone(&waits))));
        for _ in 0..1_000 {
            limiter.admit(Operation::ListOrgMachines, "acme-org").await.unwrap();
        }
        assert!(waits.lock().unwrap().is_empty());
    }
}
