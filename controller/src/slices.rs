//! What no list shows, such as the values of secrets and the documents of policies, is looked at one
//! thing at a time: a slice of all in each pass that plans.
//!
//! ```text
//!   passes   ──┬──────┬──────┬─────────────────────┬──▶
//!   slices     1      1      1    makes up for     n     those whose last look failed come last
//! ```

use std::collections::BTreeMap;

use vault_plan::time::UnixMillis;

/// The least time between two slices, in milliseconds: the pace of passes when nothing happens. The
/// fast passes while something is on its way look at no more than the slow ones.
pub const SLICE_INTERVAL_MS: i64 = 10_000;
/// How many of these intervals one slice makes up for at most: as many as lie between two passes that
/// plan, so that all is looked at as often whether these are rare or not.
const SLICES_MAX: usize = 48;
/// How long a look is good for, in milliseconds. Somebody who changes what is ours by hand is rare, and
/// does no more harm in ten minutes than in one: machines read their secrets when they start.
pub const LOOK_VALID_MS: i64 = 600_000;

/// When slices were looked at. It may be lost.
#[derive(Clone, Debug)]
pub struct Slices<K> {
    /// When the last one was looked at.
    at: Option<UnixMillis>,
    /// What could not be looked at, and when: the others come first. No more than there is to look at,
    /// because what is too old to matter is dropped.
    failed: BTreeMap<K, UnixMillis>,
}

impl<K> Default for Slices<K> {
    fn default() -> Self {
        Self { at: None, failed: BTreeMap::new() }
    }
}

impl<K: Clone + Ord> Slices<K> {
    /// If it is time for another slice: how many things are to be looked at, of which each interval
    /// allows `each`, and the failures so far.
    pub fn begin(
        &mut self,
        each: usize,
        now: UnixMillis,
    ) -> Option<(usize, BTreeMap<K, UnixMillis>)> {
        let intervals = self.at.map_or(1, |at| now.since_ms(at) / SLICE_INTERVAL_MS);
        let intervals = usize::try_from(intervals).unwrap_or(0).min(SLICES_MAX);
        if intervals == 0 {
            return None;
        }
        self.at = Some(now);
        self.failed.retain(|_, at| now.since_ms(*at) < LOOK_VALID_MS);
        Some((intervals * each, self.failed.clone()))
    }

    /// Notes that something could not be looked at.
    pub fn failed(&mut self, what: K, now: UnixMillis) {
        self.failed.insert(what, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::NOW;

    #[test]
    fn a_slice_makes_up_for_the_time_since_the_one_before_within_bounds() {
        let mut slices = Slices::<u8>::default();
        let mut begin = |after_ms| slices.begin(4, NOW.plus_ms(after_ms)).map(|(most, _)| most);
        assert_eq!(begin(0), Some(4));
        assert_eq!(begin(SLICE_INTERVAL_MS - 1), None);
        assert_eq!(begin(3 * SLICE_INTERVAL_MS), Some(12));
        assert_eq!(begin(1_000 * SLICE_INTERVAL_MS), Some(4 * SLICES_MAX));
    }

    #[test]
    fn failures_are_told_until_they_are_too_old_to_matter() {
        let mut slices = Slices::default();
        slices.failed("app", NOW);
        let mut told = |after_ms| slices.begin(1, NOW.plus_ms(after_ms)).unwrap().1.len();
        assert_eq!(told(LOOK_VALID_MS - 1), 1);
        assert_eq!(told(LOOK_VALID_MS + SLICE_INTERVAL_MS), 0);
    }
}
