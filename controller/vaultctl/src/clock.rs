//! The one place of this program that reads the wall clock.

use jiff::Timestamp;

/// The current time, for showing ages. Deadlines use `tokio::time`, which tests can pause.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge of the program: everything below takes the time as an argument"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
