//! The limits that the planner keeps, each with its reason.

use std::time::Duration;

/// What the planner may do at once, and how patient it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The share of all our machines that may be down by our doing at any instant, in percent,
    /// rounded down, at least one machine. What a person deletes by name is not counted.
    pub disruption_percent: u32,
    /// How long a machine may stay `created` before it is started by hand, in milliseconds. Fly
    /// launches a created machine by itself, after 70 s with a cold image (measured).
    pub created_grace_ms: i64,
    /// How long a machine may stay in a passing state before that is called stuck, in
    /// milliseconds. Fly calls 5 minutes stuck for starting, stopping and destroying.
    pub stuck_after_ms: i64,
    /// How long a tombstone stands before what it names is deleted, in milliseconds: time for a
    /// person to notice and say `undelete`.
    pub deletion_grace_ms: i64,
}

/// How long a tombstone stands if nobody says otherwise: a day, in milliseconds.
pub const DELETION_GRACE_MS: i64 = 86_400_000;

/// How many volumes may go within [`DELETIONS_WINDOW_MS`] whatever the share is: the volumes of a
/// small fleet would otherwise take days to go.
const VOLUME_DELETIONS_MIN: usize = 3;

/// The time in which no more than the disruption budget's share of our volumes is deleted, in
/// milliseconds: an hour, in which somebody sees that too much goes.
pub const DELETIONS_WINDOW_MS: i64 = 3_600_000;

impl Default for Policy {
    fn default() -> Self {
        Self {
            disruption_percent: 10,
            created_grace_ms: 120_000,
            stuck_after_ms: 300_000,
            deletion_grace_ms: DELETION_GRACE_MS,
        }
    }
}

impl Policy {
    /// The usual limits, but for how long tombstones stand.
    #[must_use]
    pub fn with_grace(grace: Duration) -> Self {
        let deletion_grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        Self { deletion_grace_ms, ..Self::default() }
    }

    /// How many of `machines` may be down by our doing at once.
    #[must_use]
    pub fn disruption_budget(&self, machines: usize) -> usize {
        (machines * self.disruption_percent as usize / 100).max(1)
    }

    /// How many of `volumes` may be deleted within [`DELETIONS_WINDOW_MS`].
    #[must_use]
    pub fn volume_deletions(&self, volumes: usize) -> usize {
        (volumes * self.disruption_percent as usize / 100).max(VOLUME_DELETIONS_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_may_be_down_and_one_always() {
        let budgets = [0, 9, 19, 20, 1_000].map(|count| Policy::default().disruption_budget(count));
        assert_eq!(budgets, [1, 1, 1, 2, 100]);
        let deletions = [0, 39, 40, 1_000].map(|count| Policy::default().volume_deletions(count));
        assert_eq!(deletions, [3, 3, 4, 100]);
    }

    #[test]
    fn a_grace_is_as_long_as_somebody_says() {
        let policy = Policy::with_grace(Duration::from_secs(90));
        assert_eq!(policy, Policy { deletion_grace_ms: 90_000, ..Policy::default() });
        let for_ever = Policy::with_grace(Duration::MAX);
        assert_eq!(for_ever.deletion_grace_ms, i64::MAX, "and no number runs over");
    }
}
