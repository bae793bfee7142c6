//! Waiting for conditions: the only place of the tests that sleeps.

use std::time::Duration;

use anyhow::bail;

/// How often a condition is looked at.
const TICK: Duration = Duration::from_millis(20);
/// Far beyond what anything here takes on two busy cores; only a failure waits this long.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// Looks until `look` finds what it looks for, and answers that.
///
/// # Errors
/// With the last reason that `look` gave, if [`DEADLINE`] passes first.
pub async fn eventually<T>(
    what: &str,
    look: impl AsyncFnMut() -> Result<T, String>,
) -> anyhow::Result<T> {
    within(DEADLINE, what, look).await
}

/// The same with a deadline of the caller's.
///
/// # Errors
/// With the last reason that `look` gave, if the deadline passes first.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> anyhow::Result<T> {
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        let reason = match look().await {
            Ok(found) => return Ok(found),
            Err(reason) => reason,
        };
        if tokio::time::Instant::now() >= deadline {
            bail!("not within {limit:?}: {what}: {reason}");
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Lets a span of time go by: for what is to happen at a random moment, never to wait for something.
pub async fn elapse(span: Duration) {
    tokio::time::sleep(span).await;
}
