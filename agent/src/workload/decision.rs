//! What follows when a workload has not booted, or has ended: plain data.

use std::time::Duration;

use crate::limits::{BOOT_BACKOFF_FIRST, BOOT_BACKOFF_MAX, BOOT_PROVEN_AFTER};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The previous root filesystem is used again.
    RollBack,
    /// The same one is booted again, after a while.
    BootAgain(Duration),
}

/// How often it has ended too soon, one time after the other.
#[derive(Debug, Default)]
pub(super) struct Failures(u32);

impl Failures {
    /// It ran for so long, and then ended; not at all, if it has not booted.
    pub(super) fn ended(&mut self, ran: Option<Duration>, is_on_trial: bool) -> Next {
        let has_worked = ran.is_some_and(|ran| ran >= BOOT_PROVEN_AFTER);
        if is_on_trial && !has_worked {
            self.0 = 0;
            return Next::RollBack;
        }
        if ran.is_some_and(|ran| ran >= BOOT_BACKOFF_MAX) {
            self.0 = 0;
        }
        let doubled = 2_u32.checked_pow(self.0).unwrap_or(u32::MAX);
        self.0 = self.0.saturating_add(1);
        Next::BootAgain(BOOT_BACKOFF_FIRST.saturating_mul(doubled).min(BOOT_BACKOFF_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn a_new_one_that_does_not_boot_or_ends_at_once_is_taken_back() {
        for ran in [None, SOON, Some(BOOT_PROVEN_AFTER - Duration::from_millis(1))] {
            assert_eq!(Failures::default().ended(ran, true), Next::RollBack);
        }
        let next = Failures::default().ended(Some(BOOT_PROVEN_AFTER), true);
        assert_eq!(next, Next::BootAgain(BOOT_BACKOFF_FIRST));
    }

    #[test]
    fn one_that_has_worked_is_booted_again_and_again_ever_more_slowly() {
        let mut failures = Failures::default();
        let mut waits = (0..12).map(|_| match failures.ended(SOON, false) {
            Next::BootAgain(after) => after,
            Next::RollBack => unreachable!("there is nothing to go back to"),
        });
        let first: Vec<_> = waits.by_ref().take(3).map(|wait| wait.as_secs()).collect();
        assert_eq!(first, [1, 2, 4]);
        assert_eq!(waits.last(), Some(BOOT_BACKOFF_MAX));
        for _ in 0..100 {
            failures.ended(None, false);
        }
        assert_eq!(failures.ended(None, false), Next::BootAgain(BOOT_BACKOFF_MAX));
    }

    #[test]
    fn one_that_ran_for_long_has_no_past() {
        let mut failures = Failures::default();
        for _ in 0..5 {
            failures.ended(SOON, false);
        }
        let next = failures.ended(Some(BOOT_BACKOFF_MAX), false);
        assert_eq!(next, Next::BootAgain(BOOT_BACKOFF_FIRST));
    }
}
