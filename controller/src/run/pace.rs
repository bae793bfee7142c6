//! How soon to look again after a pass: at once after acting, soon while something is on its way, else
//! at leisure.

use std::time::Duration;

use vault_plan::time::UnixMillis;

use crate::reconcile::Pass;

/// How soon to look again while something is on its way. Each look is three lists; org-wide lists
/// have no documented limit, and half a second is quick enough for a person who waits.
const BUSY_INTERVAL: Duration = Duration::from_millis(500);
/// How soon to look again right after acting: what was done shows at once.
const ACTED_INTERVAL: Duration = Duration::from_millis(50);

/// How long to wait after `pass` came to its end at `now`; `interval` at most, which is how often a
/// pass runs if nothing happens.
#[must_use]
pub fn pause_after(pass: &Pass, interval: Duration, now: UnixMillis) -> Duration {
    if pass.actions > pass.failures {
        return ACTED_INTERVAL.min(interval);
    }
    if pass.waiting {
        return BUSY_INTERVAL.min(interval);
    }
    match pass.held_until {
        None => interval,
        Some(until) => Duration::from_millis(u64::try_from(until.since_ms(now)).unwrap_or(0))
            .clamp(ACTED_INTERVAL.min(interval), interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);
    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn pause(pass: &Pass) -> Duration {
        pause_after(pass, INTERVAL, NOW)
    }

    #[test]
    fn what_happened_says_how_soon_to_look_again() {
        assert_eq!(pause(&Pass::default()), INTERVAL);
        assert_eq!(pause(&Pass { waiting: true, ..Pass::default() }), BUSY_INTERVAL);
        let acted = Pass { actions: 2, failures: 1, waiting: true, ..Pass::default() };
        assert_eq!(pause(&acted), ACTED_INTERVAL);
        let held = |after_ms| Pass {
            actions: 1,
            failures: 1,
            held_until: Some(NOW.plus_ms(after_ms)),
            ..Pass::default()
        };
        assert_eq!(pause(&held(3_000)), Duration::from_secs(3));
        assert_eq!(pause(&held(-3_000)), ACTED_INTERVAL);
        assert_eq!(pause(&held(300_000)), INTERVAL);
    }

    #[test]
    fn nothing_waits_longer_than_the_interval() {
        let busy = Pass { waiting: true, ..Pass::default() };
        let short = Duration::from_millis(20);
        assert_eq!(pause_after(&busy, short, NOW), short);
    }
}
