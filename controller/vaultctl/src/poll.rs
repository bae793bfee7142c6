//! Waiting for something to become true by asking again, a little less often each time.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause; a person waiting does not notice it.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause: the controller answers a read from memory, so this is cheap.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Waiting longer is no use of a command line; it also keeps deadlines within what clocks can hold.
const LONGEST_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads a span of time such as `90s`, `5m` or `1h30m`; `0` means "look once".
///
/// # Errors
/// A sentence for the usage message.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|span| Duration::try_from(span).ok())
        .filter(|span| *span <= LONGEST_LIMIT)
        .ok_or_else(|| "not a span of time such as 90s, 5m or 1h30m, at most a year".to_owned())
}

/// When to stop waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// `limit` from now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// How much time is left.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// A pause before asking again that grows to [`LONGEST_PAUSE`].
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
}

impl Pauses {
    /// Starts with the shortest pause.
    pub(crate) fn new() -> Self {
        Self { next: FIRST_PAUSE }
    }

    /// Sleeps, but never past the deadline; `false` if the deadline had passed already, so the
    /// caller asks once more at the deadline itself and not again.
    pub(crate) async fn pause(&mut self, deadline: Deadline) -> bool {
        let now = Instant::now();
        if now >= deadline.0 {
            return false;
        }
        tokio::time::sleep_until(deadline.0.min(now + self.next)).await;
        self.next = longer(self.next);
        true
    }

    /// Sleeps, for those who have no deadline or keep it themselves.
    pub(crate) async fn sleep(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = longer(self.next);
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 3 / 2).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_have_units() {
        for (text, seconds) in [("0", 0), ("0s", 0), ("90s", 90), ("5m", 300), ("1h30m", 5400)] {
            assert_eq!(parse_limit(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "-5m", "soon", "5 parsecs", "9000000h"] {
            assert!(parse_limit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pauses_grow_to_a_bound_and_end_at_the_deadline() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let began = Instant::now();
            let deadline = Deadline::after(Duration::from_millis(500));
            let mut pauses = Pauses::new();
            let mut asked = 0;
            while pauses.pause(deadline).await {
                asked += 1;
            }
            // 200, then the remaining 300.
            assert_eq!(asked, 2);
            assert!(began.elapsed() >= Duration::from_millis(500));
            assert!(!Pauses::new().pause(Deadline::after(Duration::ZERO)).await);
        });
        let grown = (0..20).fold(FIRST_PAUSE, |pause, _| longer(pause));
        assert!(longer(FIRST_PAUSE) > FIRST_PAUSE);
        assert_eq!(grown, LONGEST_PAUSE);
    }
}
