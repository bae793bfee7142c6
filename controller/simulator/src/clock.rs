//! A controller's clock: virtual time, and as wrong as its machine's.

use std::time::Duration;

use vault_controller::clock::Clock;
use vault_plan::time::UnixMillis;

use crate::universe::{BEGIN_MS, Shared};

/// The clock of one controller.
#[derive(Clone)]
pub struct SimClock {
    shared: Shared,
    controller: usize,
}

impl SimClock {
    /// The clock of the controller with that place in the universe.
    #[must_use]
    pub fn new(shared: Shared, controller: usize) -> Self {
        Self { shared, controller }
    }
}

impl Clock for SimClock {
    fn now(&self) -> UnixMillis {
        let universe = self.shared.lock();
        let wrong_by_ms = universe.controllers[self.controller].clock_wrong_by_ms;
        UnixMillis(BEGIN_MS + universe.now_ms() + wrong_by_ms)
    }

    async fn sleep(&self, duration: Duration) {
        self.shared.sleep(duration).await;
    }

    fn random_bits(&self) -> u128 {
        self.shared.lock().chance.u128(..)
    }
}
