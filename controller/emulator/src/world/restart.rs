//! The restart policy: whether, and how soon, a machine whose process ended by itself starts again.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::runner::Exit;
use crate::world::error::Refusal;

/// Retries of an on-failure policy that sets none.
pub const DEFAULT_MAX_RETRIES: u32 = 10;
/// Restarts are counted within this time; the count begins anew after it.
pub const RETRY_WINDOW: Duration = Duration::from_secs(5 * 60);
/// The first restart comes at once, the second after this, each further one after twice as long:
/// a machine that crashes at once must not keep the host busy.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// The longest delay between a crash and the restart.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// When to restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Never.
    No,
    /// Whatever the exit code, for ever.
    Always,
    /// After a failure, `max_retries` times within [`RETRY_WINDOW`].
    OnFailure {
        /// The number of restarts.
        max_retries: u32,
    },
}

/// The restarts of the current window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Restarts since `since`.
    pub count: u32,
    /// The window's beginning.
    pub since: Timestamp,
}

/// What follows an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The machine stays down.
    Stay,
    /// The machine starts again after the delay.
    Restart(Duration),
}

impl Policy {
    /// Reads `restart.policy` and `restart.max_retries` of a config.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for an unknown policy.
    pub(crate) fn parse(name: Option<&str>, max_retries: Option<u32>) -> Result<Self, Refusal> {
        match name.unwrap_or_default() {
            "no" => Ok(Self::No),
            "always" => Ok(Self::Always),
            "" | "on-failure" => {
                // Go clients send an unset number as zero.
                let given = max_retries.filter(|retries| *retries > 0);
                Ok(Self::OnFailure { max_retries: given.unwrap_or(DEFAULT_MAX_RETRIES) })
            }
            other => Err(Refusal::invalid(format!(
                "invalid config.restart.policy: {other:?} is none of no, always, on-failure"
            ))),
        }
    }

    /// Decides about an exit that nobody asked for, and counts it if the machine restarts.
    pub(crate) fn decide(self, exit: Exit, tally: Tally, now: Timestamp) -> (Verdict, Tally) {
        let past = now.duration_since(tally.since)
            > jiff::SignedDuration::try_from(RETRY_WINDOW).unwrap_or_default();
        let tally = if past { Tally { count: 0, since: now } } else { tally };
        let again = match self {
            Self::No => false,
            Self::Always => true,
            Self::OnFailure { max_retries } => exit.code != Some(0) && tally.count < max_retries,
        };
        if !again {
            return (Verdict::Stay, tally);
        }
        let counted = Tally { count: tally.count.saturating_add(1), ..tally };
        (Verdict::Restart(delay(tally.count)), counted)
    }
}

fn delay(restarts_before: u32) -> Duration {
    match restarts_before.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => (FIRST_DELAY * 2_u32.pow(doublings.min(10))).min(LONGEST_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: Exit = Exit { code: Some(0), signal: None };
    const FAILED: Exit = Exit { code: Some(1), signal: None };
    const KILLED: Exit = Exit { code: None, signal: Some(9) };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    #[test]
    fn the_policy_decides_by_exit_count_and_window() {
        let three = Policy::OnFailure { max_retries: 3 };
        let restart = |milliseconds| Verdict::Restart(Duration::from_millis(milliseconds));
        // (policy, exit, restarts before, seconds since the window began, verdict)
        let cases = [
            (Policy::No, FAILED, 0, 0, Verdict::Stay),
            (Policy::No, CLEAN, 0, 0, Verdict::Stay),
            (Policy::Always, CLEAN, 0, 0, restart(0)),
            (Policy::Always, CLEAN, 1000, 10, restart(10_000)),
            (three, CLEAN, 0, 0, Verdict::Stay),
            (three, FAILED, 0, 0, restart(0)),
            (three, KILLED, 1, 1, restart(250)),
            (three, KILLED, 2, 1, restart(500)),
            (three, KILLED, 3, 1, Verdict::Stay),
            (three, KILLED, 3, 300, Verdict::Stay),
            (three, KILLED, 3, 301, restart(0)),
        ];
        for (policy, exit, count, seconds, wanted) in cases {
            let tally = Tally { count, since: at(0) };
            let (verdict, after) = policy.decide(exit, tally, at(seconds));
            assert_eq!(verdict, wanted, "{policy:?} {exit:?} {count} {seconds}");
            let counted = u32::from(verdict != Verdict::Stay);
            let before = if seconds > 300 { 0 } else { count };
            assert_eq!(after.count, before + counted);
        }
    }

    #[test]
    fn policies_are_parsed_with_their_defaults() {
        let default = Policy::OnFailure { max_retries: 10 };
        let cases = [
            (None, None, Some(default)),
            (Some(""), Some(0), Some(default)),
            (Some("on-failure"), Some(3), Some(Policy::OnFailure { max_retries: 3 })),
            (Some("always"), Some(3), Some(Policy::Always)),
            (Some("no"), None, Some(Policy::No)),
            (Some("never"), None, None),
        ];
        for (name, retries, wanted) in cases {
            assert_eq!(Policy::parse(name, retries).ok(), wanted, "{name:?}");
        }
    }
}
