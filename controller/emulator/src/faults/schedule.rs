//! When a fault happens: a window of time, a stretch of the matching calls, and chance.

use std::time::Duration;

use jiff::Timestamp;

/// When a fault happens. The default is: always, from now on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Schedule {
    /// `in`: how long after its arrival it begins.
    pub(crate) begins: Duration,
    /// `for`: how long it lasts from then on; without end if absent.
    pub(crate) lasts: Option<Duration>,
    /// `after`: how many matching calls are spared first.
    pub(crate) after: u64,
    /// `times`: how often it happens at most.
    pub(crate) times: Option<u64>,
    /// `probability`, 0 to 1, that a matching call is hit.
    pub(crate) probability: Option<f64>,
    /// `seed` of that chance.
    pub(crate) seed: u64,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    /// When the fault arrived.
    pub(crate) since: Timestamp,
    /// Calls that matched within its window.
    pub(crate) matched: u64,
    /// Calls that were hit.
    pub(crate) fired: u64,
}

impl Schedule {
    /// When the window begins and ends.
    pub(crate) fn window(&self, since: Timestamp) -> (Timestamp, Option<Timestamp>) {
        let begin = since + self.begins;
        (begin, self.lasts.map(|lasts| begin + lasts))
    }

    /// Whether the window is open and something of the fault is left.
    pub(crate) fn is_on(&self, tally: &Tally, now: Timestamp) -> bool {
        let (begin, end) = self.window(tally.since);
        now >= begin
            && end.is_none_or(|end| now < end)
            && self.times.is_none_or(|times| tally.fired < times)
    }

    /// Counts a matching call; whether the fault hits it.
    pub(crate) fn fires(&self, tally: &mut Tally, now: Timestamp) -> bool {
        if !self.is_on(tally, now) {
            return false;
        }
        tally.matched += 1;
        let hit = tally.matched > self.after
            && self
                .probability
                .is_none_or(|probability| chance(self.seed, tally.matched) < probability);
        tally.fired += u64::from(hit);
        hit
    }
}

/// A number from 0 to just below 1 that follows from the seed and the count (the finisher of SplitMix64).
fn chance(seed: u64, count: u64) -> f64 {
    let mut mixed = seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    // The upper half is as good as the whole here, and converts without loss.
    f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millisecond).expect("a time")
    }

    fn hits(schedule: &Schedule, times: impl IntoIterator<Item = i64>) -> Vec<bool> {
        let mut tally = Tally { since: at(0), matched: 0, fired: 0 };
        times.into_iter().map(|time| schedule.fires(&mut tally, at(time))).collect()
    }

    #[test]
    fn stretches_and_windows_are_what_they_say() {
        let always = Schedule::default();
        assert_eq!(hits(&always, [0, 0, 9]), [true, true, true]);
        let third = Schedule { after: 2, times: Some(1), ..Schedule::default() };
        assert_eq!(hits(&third, [0; 5]), [false, false, true, false, false]);
        let window = Schedule {
            begins: Duration::from_millis(10),
            lasts: Some(Duration::from_millis(5)),
            after: 1,
            ..Schedule::default()
        };
        // A call outside the window is no matching one.
        assert_eq!(hits(&window, [0, 10, 11, 14, 15]), [false, false, true, true, false]);
    }

    #[test]
    fn chance_follows_the_seed_and_comes_near_its_share() {
        let of = |seed| Schedule { probability: Some(0.25), seed, ..Schedule::default() };
        let one = hits(&of(1), [0; 1000]);
        assert_eq!(one, hits(&of(1), [0; 1000]), "the same seed, the same hits");
        assert_ne!(one, hits(&of(2), [0; 1000]));
        let share = one.iter().filter(|hit| **hit).count();
        assert!((200..300).contains(&share), "{share}");
        for (probability, wanted) in [(0.0, 0), (1.0, 1000)] {
            let schedule = Schedule { probability: Some(probability), ..Schedule::default() };
            let count = hits(&schedule, [0; 1000]).iter().filter(|hit| **hit).count();
            assert_eq!(count, wanted, "{probability}");
        }
    }
}
