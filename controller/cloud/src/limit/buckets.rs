//! Token buckets as data: no clock, no waiting.
//!
//! A bucket is one number, the moment at which it will be full again. Taking a token moves that
//! moment one interval on; a token is there while the moment is at most `burst − 1` intervals away.
//! Times are whole nanoseconds, so nothing drifts.

use std::collections::HashMap;
use std::time::Duration;

use crate::operation::Operation;

/// How fast a bucket refills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time per token.
    pub interval: Duration,
    /// Tokens in a full bucket; at least 1.
    pub burst: u32,
}

impl Rate {
    /// How far from full a bucket may be that still holds one token.
    fn slack(self) -> Duration {
        self.interval * self.burst.saturating_sub(1)
    }
}

/// What becomes of a caller that asks for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A token is taken: go.
    Now,
    /// A token is taken that will be there after this time: wait, then go. Whoever asks later for
    /// the same bucket gets a later one.
    After(Duration),
    /// Nothing is taken: the next token is this far away, which is longer than the caller would wait.
    Refused(Duration),
}

/// Whose bucket: the kind of call, and the machine or app it is about.
type Key = (Operation, String);

/// All buckets that are not full. A full one needs no entry.
#[derive(Debug)]
pub struct Buckets {
    full_at: HashMap<Key, Duration>,
    capacity: usize,
}

impl Buckets {
    /// No bucket in use; never more than `capacity` at once.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { full_at: HashMap::new(), capacity }
    }

    /// Takes the next token for this operation on this identifier, unless it is further away than
    /// `patience`. `now` is the time since any fixed start and must not run back.
    pub fn reserve(
        &mut self,
        (operation, identifier): (Operation, &str),
        rate: Rate,
        now: Duration,
        patience: Duration,
    ) -> Admission {
        let key = (operation, identifier.to_owned());
        let full_at = self.full_at.get(&key).copied().unwrap_or_default().max(now);
        let wait = full_at.saturating_sub(now + rate.slack());
        if wait > patience {
            return Admission::Refused(wait);
        }
        if let Err(wait) = self.make_room(&key, now) {
            return Admission::Refused(wait);
        }
        self.full_at.insert(key, full_at + rate.interval);
        if wait.is_zero() { Admission::Now } else { Admission::After(wait) }
    }

    /// The platform said that the bucket is empty: takes all tokens out, and the next one comes
    /// after `pause`.
    pub fn drain(
        &mut self,
        (operation, identifier): (Operation, &str),
        rate: Rate,
        now: Duration,
        pause: Duration,
    ) {
        let key = (operation, identifier.to_owned());
        // A table full of waiting buckets keeps what it has: the platform will repeat itself.
        if self.make_room(&key, now).is_err() {
            return;
        }
        let empty_until = now + pause + rate.slack();
        let full_at = self.full_at.entry(key).or_default();
        *full_at = empty_until.max(*full_at);
    }

    /// Makes sure that `key` has a place; or says when the first place comes free.
    fn make_room(&mut self, key: &Key, now: Duration) -> Result<(), Duration> {
        if self.full_at.len() < self.capacity || self.full_at.contains_key(key) {
            return Ok(());
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() < self.capacity {
            return Ok(());
        }
        let first = self.full_at.values().min().copied().unwrap_or(now);
        Err(first.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: Rate = Rate { interval: Duration::from_secs(1), burst: 3 };
    const PATIENCE: Duration = Duration::from_secs(60);
    const START: (Operation, &str) = (Operation::StartMachine, "m1");

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_waits_in_order() {
        let mut buckets = Buckets::new(8);
        let admissions: Vec<_> =
            (0..6).map(|_| buckets.reserve(START, COMMON, seconds(100), PATIENCE)).collect();
        assert_eq!(
            admissions,
            [
                Admission::Now,
                Admission::Now,
                Admission::Now,
                Admission::After(seconds(1)),
                Admission::After(seconds(2)),
                Admission::After(seconds(3)),
            ]
        );
    }

    #[test]
    fn tokens_come_back_exactly_on_time() {
        let mut buckets = Buckets::new(8);
        for _ in 0..3 {
            assert_eq!(buckets.reserve(START, COMMON, seconds(0), PATIENCE), Admission::Now);
        }
        let early = seconds(1) - Duration::from_nanos(1);
        assert_eq!(
            buckets.reserve(START, COMMON, early, Duration::ZERO),
            Admission::Refused(Duration::from_nanos(1))
        );
        assert_eq!(buckets.reserve(START, COMMON, seconds(1), PATIENCE), Admission::Now);
        assert_eq!(
            buckets.reserve(START, COMMON, seconds(1), PATIENCE),
            Admission::After(seconds(1))
        );
    }

    #[test]
    fn steady_use_at_the_limit_never_drifts() {
        let rate = Rate { interval: Duration::from_nanos(333_333_333), burst: 1 };
        let mut buckets = Buckets::new(1);
        let mut now = Duration::ZERO;
        for _ in 0..100_000 {
            assert_eq!(buckets.reserve(START, rate, now, PATIENCE), Admission::Now);
            assert_eq!(
                buckets.reserve(START, rate, now, Duration::ZERO),
                Admission::Refused(Duration::from_nanos(333_333_333))
            );
            now += rate.interval;
        }
        assert_eq!(now, Duration::from_nanos(333_333_333 * 100_000));
    }

    #[test]
    fn operations_and_identifiers_do_not_share_a_bucket() {
        let mut buckets = Buckets::new(8);
        for key in [START, (Operation::StopMachine, "m1"), (Operation::StartMachine, "m2")] {
            for _ in 0..3 {
                assert_eq!(buckets.reserve(key, COMMON, seconds(5), PATIENCE), Admission::Now);
            }
            assert_eq!(
                buckets.reserve(key, COMMON, seconds(5), PATIENCE),
                Admission::After(seconds(1))
            );
        }
    }

    #[test]
    fn a_refused_caller_takes_nothing() {
        let mut buckets = Buckets::new(8);
        for _ in 0..3 {
            buckets.reserve(START, COMMON, seconds(0), PATIENCE);
        }
        for _ in 0..5 {
            assert_eq!(
                buckets.reserve(START, COMMON, seconds(0), Duration::from_millis(999)),
                Admission::Refused(seconds(1))
            );
        }
        assert_eq!(
            buckets.reserve(START, COMMON, seconds(0), seconds(1)),
            Admission::After(seconds(1))
        );
    }

    #[test]
    fn full_buckets_leave_the_table_and_busy_ones_stay() {
        let mut buckets = Buckets::new(2);
        buckets.reserve((Operation::StartMachine, "a"), COMMON, seconds(0), PATIENCE);
        for _ in 0..3 {
            buckets.reserve((Operation::StartMachine, "b"), COMMON, seconds(0), PATIENCE);
        }
        // Both are in use: there is room again when `a` is full, one second on.
        assert_eq!(
            buckets.reserve(
                (Operation::StartMachine, "c"),
                COMMON,
                Duration::from_millis(400),
                PATIENCE
            ),
            Admission::Refused(Duration::from_millis(600))
        );
        assert_eq!(
            buckets.reserve((Operation::StartMachine, "c"), COMMON, seconds(1), PATIENCE),
            Admission::Now
        );
        assert_eq!(buckets.full_at.len(), 2);
        // `b` was not forgotten: it had refilled one token by now and gives no second one.
        assert_eq!(
            buckets.reserve((Operation::StartMachine, "b"), COMMON, seconds(1), PATIENCE),
            Admission::Now
        );
        assert_eq!(
            buckets.reserve((Operation::StartMachine, "b"), COMMON, seconds(1), PATIENCE),
            Admission::After(seconds(1))
        );
    }

    #[test]
    fn a_drained_bucket_gives_nothing_before_the_pause_is_over_and_then_one_by_one() {
        let mut buckets = Buckets::new(2);
        buckets.drain(START, COMMON, seconds(10), seconds(4));
        assert_eq!(
            buckets.reserve(START, COMMON, seconds(10), PATIENCE),
            Admission::After(seconds(4))
        );
        assert_eq!(
            buckets.reserve(START, COMMON, seconds(10), PATIENCE),
            Admission::After(seconds(5))
        );
    }

    #[test]
    fn the_documented_rates() {
        let rate = |operation: Operation| operation.rate();
        assert_eq!(rate(Operation::CreateMachine), Some(COMMON));
        assert_eq!(
            rate(Operation::ReadMachine),
            Some(Rate { interval: Duration::from_millis(200), burst: 10 })
        );
        assert_eq!(rate(Operation::DeleteApp).map(|rate| rate.interval * 100), Some(seconds(60)));
        assert_eq!(rate(Operation::ListOrgMachines), None);
    }
}
