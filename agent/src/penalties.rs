//! Which sources are turned away for a while, because of wrong proofs: plain data, time is an
//! argument.
//!
//! As OpenSSH's `PerSourcePenalties`: each failure adds to the time for which a source is in
//! penalty; a few are forgiven; from a threshold on the source is refused until that time is over.
//!
//! Several people may share one source (a NAT, a bastion). One of them who fails must not lock the
//! others out: a source that has proved itself lately is not refused. A proof is not guessed by
//! trying more often, so that costs nothing.

use std::collections::HashMap;
use std::time::Duration;

use crate::limits::{
    PENALTIES_MAX, PENALTY_MAX, PENALTY_PER_FAILURE, PENALTY_REFUSED_FROM, PROVEN_REMEMBERED,
    PROVEN_SOURCES_MAX,
};
use crate::source::Source;

/// The sources with failures, and those that have proved themselves.
#[derive(Debug, Default)]
pub struct Penalties {
    sources: HashMap<Source, Penalty>,
    /// When they last did.
    proven: HashMap<Source, Duration>,
}

#[derive(Debug)]
struct Penalty {
    /// The penalty ends here.
    until: Duration,
    /// It has reached the threshold, and holds until its end.
    refused: bool,
    /// Since the source is remembered.
    failures: u64,
    last_failure: Duration,
}

impl Penalties {
    /// Counts a failure, and answers how many of this source are remembered.
    pub fn fail(&mut self, source: Source, now: Duration) -> u64 {
        if !self.sources.contains_key(&source) && self.sources.len() >= PENALTIES_MAX {
            self.forget_the_oldest();
        }
        let penalty = self.sources.entry(source).or_insert(Penalty {
            until: now,
            refused: false,
            failures: 0,
            last_failure: now,
        });
        if penalty.until <= now {
            (penalty.until, penalty.refused) = (now, false);
        }
        penalty.until = (penalty.until + PENALTY_PER_FAILURE).min(now + PENALTY_MAX);
        penalty.refused |= penalty.until - now >= PENALTY_REFUSED_FROM;
        penalty.failures += 1;
        penalty.last_failure = now;
        penalty.failures
    }

    /// Remembers a right proof.
    pub fn succeed(&mut self, source: Source, now: Duration) {
        if !self.proven.contains_key(&source) && self.proven.len() >= PROVEN_SOURCES_MAX {
            let oldest = self.proven.iter().min_by_key(|(_, proven_at)| **proven_at);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.proven.remove(&oldest);
            }
        }
        self.proven.insert(source, now);
    }

    /// Whether the source is to be refused now.
    #[must_use]
    pub fn refuses(&self, source: Source, now: Duration) -> bool {
        self.sources.get(&source).is_some_and(|penalty| penalty.refused && now < penalty.until)
            && !self.is_proven(source, now)
    }

    fn is_proven(&self, source: Source, now: Duration) -> bool {
        self.proven.get(&source).is_some_and(|proven_at| now < *proven_at + PROVEN_REMEMBERED)
    }

    /// How many failures of this source are remembered.
    #[must_use]
    pub fn failures(&self, source: Source) -> u64 {
        self.sources.get(&source).map_or(0, |penalty| penalty.failures)
    }

    /// Walks the table; that is some microseconds, and only after a whole handshake.
    fn forget_the_oldest(&mut self) {
        let oldest = self.sources.iter().min_by_key(|(_, penalty)| penalty.last_failure);
        if let Some(source) = oldest.map(|(source, _)| *source) {
            self.sources.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn source(number: u32) -> Source {
        Source::of(Ipv4Addr::from_bits(number).into())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_few_failures_are_forgiven_and_more_are_not() {
        let mut penalties = Penalties::default();
        assert!(!penalties.refuses(source(1), NOW));
        assert_eq!(penalties.fail(source(1), NOW), 1);
        assert_eq!(penalties.fail(source(1), NOW), 2);
        assert!(!penalties.refuses(source(1), NOW));
        assert_eq!(penalties.fail(source(1), NOW), 3);
        assert!(penalties.refuses(source(1), NOW));
        assert!(!penalties.refuses(source(2), NOW), "only the one that failed");
        // It holds to the end of the penalty, not to the threshold.
        assert!(penalties.refuses(source(1), NOW + seconds(14)));
        assert!(!penalties.refuses(source(1), NOW + seconds(15)));
    }

    #[test]
    fn failures_far_apart_are_forgiven() {
        let mut penalties = Penalties::default();
        for failure in 0..100 {
            penalties.fail(source(1), NOW + seconds(5) * failure);
            assert!(!penalties.refuses(source(1), NOW + seconds(5) * failure));
        }
        assert_eq!(penalties.failures(source(1)), 100);
    }

    #[test]
    fn a_penalty_has_a_longest_time() {
        let mut penalties = Penalties::default();
        for _ in 0..1000 {
            penalties.fail(source(1), NOW);
        }
        assert!(penalties.refuses(source(1), NOW + PENALTY_MAX - seconds(1)));
        assert!(!penalties.refuses(source(1), NOW + PENALTY_MAX));
        // Afterwards it begins anew.
        penalties.fail(source(1), NOW + PENALTY_MAX);
        assert!(!penalties.refuses(source(1), NOW + PENALTY_MAX));
    }

    #[test]
    fn who_shares_a_source_with_a_proven_one_cannot_lock_it_out() {
        let mut penalties = Penalties::default();
        penalties.succeed(source(1), NOW);
        for _ in 0..1000 {
            penalties.fail(source(1), NOW);
            penalties.fail(source(2), NOW);
        }
        assert_eq!(penalties.failures(source(1)), 1000, "counted all the same");
        assert!(!penalties.refuses(source(1), NOW));
        assert!(penalties.refuses(source(2), NOW));
        // It is not for ever, and the table is bounded.
        let later = NOW + PROVEN_REMEMBERED;
        for _ in 0..3 {
            penalties.fail(source(1), later);
        }
        assert!(penalties.refuses(source(1), later));
        for number in 0..10_000 {
            penalties.succeed(source(number), later + Duration::from_millis(number.into()));
        }
        assert_eq!(penalties.proven.len(), PROVEN_SOURCES_MAX);
        assert!(!penalties.proven.contains_key(&source(0)), "the oldest is forgotten");
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let mut penalties = Penalties::default();
        let count = u32::try_from(PENALTIES_MAX).expect("small");
        for number in 0..count {
            penalties.fail(source(number), NOW + Duration::from_millis(number.into()));
        }
        let later = NOW + seconds(10);
        penalties.fail(source(0), later);
        penalties.fail(source(count), later);
        assert_eq!(penalties.sources.len(), PENALTIES_MAX);
        assert_eq!(penalties.failures(source(0)), 2);
        assert_eq!(penalties.failures(source(1)), 0);
        assert_eq!(penalties.failures(source(2)), 1);
    }
}
