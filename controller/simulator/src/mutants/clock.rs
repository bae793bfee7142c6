//! Time and chance as a broken controller has them.

use std::time::Duration;

use vault_controller::clock::Clock;
use vault_plan::time::UnixMillis;

use super::{Bent, Mutation};
use crate::clock::SimClock;
use crate::universe::BEGIN_MS;

/// How much faster a clock runs that runs too fast.
const SPEED: i64 = 10;

/// A controller's clock, which may be bent.
#[derive(Clone)]
pub struct MutantClock {
    inner: SimClock,
    bent: Bent,
}

impl MutantClock {
    /// The clock, bent so.
    #[must_use]
    pub fn new(inner: SimClock, bent: Bent) -> Self {
        Self { inner, bent }
    }
}

impl Clock for MutantClock {
    fn now(&self) -> UnixMillis {
        let now = self.inner.now();
        match self.bent.is(Mutation::ItsClockRunsTooFast) {
            true => UnixMillis(BEGIN_MS + now.since_ms(UnixMillis(BEGIN_MS)) * SPEED),
            false => now,
        }
    }

    async fn sleep(&self, duration: Duration) {
        self.inner.sleep(duration).await;
    }

    fn random_bits(&self) -> u128 {
        let drawn = self.inner.random_bits();
        if self.bent.is(Mutation::DrawsTheSameIdsAgain) { 1 } else { drawn }
    }
}
