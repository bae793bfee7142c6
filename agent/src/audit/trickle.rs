//! How many records strangers can cause.
//!
//! ```text
//!   a record ─▶ is there room? ─▶ one place less; a place more every AUDIT_REFUSED_EVERY, up to the burst
//! ```
//!
//! Without it, whoever sends wrong proofs for long enough would push all other records out.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::limits::{AUDIT_REFUSED_BURST, AUDIT_REFUSED_EVERY};

/// Lets a burst through, and then a few.
#[derive(Debug, Default)]
pub(super) struct Trickle {
    /// When all places will be free again.
    free: Mutex<Duration>,
}

impl Trickle {
    /// Whether there is room for one more now.
    pub(super) fn take(&self, now: Duration) -> bool {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*free).max(now) + AUDIT_REFUSED_EVERY;
        let is_taken = next <= now + AUDIT_REFUSED_EVERY * AUDIT_REFUSED_BURST;
        if is_taken {
            *free = next;
        }
        is_taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_few() {
        let trickle = Trickle::default();
        let at = |seconds| Duration::from_secs(1_000) + AUDIT_REFUSED_EVERY * seconds;
        let taken = (0..1_000).filter(|_| trickle.take(at(0))).count();
        assert_eq!(taken, AUDIT_REFUSED_BURST as usize);
        let taken = (1..=10).filter(|step| trickle.take(at(*step)) && !trickle.take(at(*step)));
        assert_eq!(taken.count(), 10, "one for each place that becomes free");
    }
}
