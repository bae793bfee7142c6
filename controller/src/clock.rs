//! Time and chance as a seam: the only place where a pass reads the clock, waits for it, or draws.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use vault_plan::time::UnixMillis;

/// What the time is, and how to wait for a later one.
pub trait Clock: Clone + Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> UnixMillis;

    /// Ends when `duration` has passed.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;

    /// Bits that nobody else draws. Chance stands beside time because a run can be repeated only if
    /// both come from outside.
    ///
    /// # Panics
    /// If the system has no randomness, which ends once it is seeded.
    fn random_bits(&self) -> u128 {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the system's random source answers once it is seeded");
        u128::from_ne_bytes(random)
    }
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the seam that everyone else goes through"
    )]
    fn now(&self) -> UnixMillis {
        UnixMillis(Timestamp::now().as_millisecond())
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// An instant as Kubernetes writes it: RFC 3339, UTC, whole seconds.
#[must_use]
pub fn rfc3339(instant: UnixMillis) -> String {
    Timestamp::from_second(instant.0.div_euclid(1000))
        .map_or_else(|_| "1970-01-01T00:00:00Z".to_owned(), |timestamp| timestamp.to_string())
}

/// The same with milliseconds, for what is told call by call.
#[must_use]
pub fn rfc3339_millis(instant: UnixMillis) -> String {
    Timestamp::from_millisecond(instant.0).map_or_else(
        |_| "1970-01-01T00:00:00.000Z".to_owned(),
        |timestamp| format!("{timestamp:.3}"),
    )
}

/// Reads an RFC 3339 instant; `None` if it is not one.
#[must_use]
pub fn read_rfc3339(text: &str) -> Option<UnixMillis> {
    text.parse::<Timestamp>().ok().map(|timestamp| UnixMillis(timestamp.as_millisecond()))
}
