//! When a call that failed is made again, and after how long.
//!
//! Only what cannot do harm is repeated here: reads, setting a secret to the same value, and any
//! call that the platform answered with 429, for that one was not acted upon. Everything else goes
//! back to the controller, which looks at the world before it tries again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::error::CallError;
use crate::operation::Operation;

/// Attempts at one call besides the first. Three bridge a restarted edge (a second or two); what is
/// down for longer is the next pass's business.
pub const RETRY_CAP: usize = 3;

/// The shortest pause after a failure of the network or the platform.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// The longest such pause, before jitter.
const FAILURE_PAUSE_CAP: Duration = Duration::from_secs(2);

/// The shortest pause after 429: the platform refills one token a second for nearly every action.
const LIMITED_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause after 429, before jitter, when the platform names none.
const LIMITED_PAUSE_CAP: Duration = Duration::from_secs(8);

/// The longest `Retry-After` that is waited for here. A longer one goes back to the caller, who has
/// better things to do meanwhile.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(30);

/// The pauses of one call.
#[derive(Debug)]
pub struct Backoff {
    operation: Operation,
    failure: ExponentialBackoff,
    limited: ExponentialBackoff,
    retries: usize,
}

impl Backoff {
    /// For a call that was not tried yet.
    #[must_use]
    pub fn new(operation: Operation) -> Self {
        let pauses = |shortest, longest| {
            ExponentialBuilder::new()
                .with_jitter()
                .with_min_delay(shortest)
                .with_max_delay(longest)
                .with_max_times(RETRY_CAP)
                .build()
        };
        Self {
            operation,
            failure: pauses(FAILURE_PAUSE, FAILURE_PAUSE_CAP),
            limited: pauses(LIMITED_PAUSE, LIMITED_PAUSE_CAP),
            retries: 0,
        }
    }

    /// How long to wait before the call is made again; `None` if it shall not be, because doing it
    /// twice could do harm and it was not answered with 429, because it would fail again, because
    /// there were [`RETRY_CAP`] attempts, or because the platform asks for more than
    /// [`RETRY_AFTER_CAP`].
    ///
    /// Never less than the platform asks for.
    pub fn pause_after(&mut self, error: &CallError) -> Option<Duration> {
        let limited = error.is_rate_limited();
        let harmless = limited || self.operation.may_be_repeated();
        if !harmless || !error.may_pass() || self.retries == RETRY_CAP {
            return None;
        }
        self.retries += 1;
        let pause = if limited { self.limited.next()? } else { self.failure.next()? };
        match error.retry_after() {
            Some(asked) if asked > RETRY_AFTER_CAP => None,
            Some(asked) => Some(pause.max(asked)),
            None => Some(pause),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::error::{
        Answer, NotSent, NotSentReason, Rejection, RequestLine, Unknown, UnknownCause,
    };
    use crate::limit::QueueFull;

    fn request(method: Method) -> RequestLine {
        RequestLine { method, path: "/v1/apps".into() }
    }

    fn answer(status: StatusCode, retry_after: Option<u64>) -> Box<Answer> {
        Box::new(Answer {
            status,
            fly_request_id: None,
            message: String::new(),
            code: None,
            retry_after: retry_after.map(Duration::from_secs),
        })
    }

    fn limited(method: Method, retry_after: Option<u64>) -> CallError {
        let answer = answer(StatusCode::TOO_MANY_REQUESTS, retry_after);
        CallError::Rejected(Rejection { request: request(method), answer })
    }

    fn unavailable(method: Method) -> CallError {
        CallError::Unknown(Unknown {
            request: request(method),
            answer: Some(answer(StatusCode::SERVICE_UNAVAILABLE, None)),
            cause: UnknownCause::Status,
        })
    }

    fn refused_port(method: Method) -> CallError {
        CallError::NotSent(NotSent {
            request: request(method),
            reason: NotSentReason::Connect("refused".into()),
        })
    }

    fn pauses(error: &CallError) -> Vec<Duration> {
        let read = error.request().method == Method::GET;
        let operation = if read { Operation::ReadApp } else { Operation::CreateApp };
        pauses_of(operation, error)
    }

    fn pauses_of(operation: Operation, error: &CallError) -> Vec<Duration> {
        let mut backoff = Backoff::new(operation);
        std::iter::from_fn(|| backoff.pause_after(error)).take(100).collect()
    }

    #[test]
    fn reads_are_repeated_a_few_times_with_growing_pauses() {
        for error in [unavailable(Method::GET), refused_port(Method::GET)] {
            let pauses = pauses(&error);
            assert_eq!(pauses.len(), RETRY_CAP);
            for (pause, shortest) in pauses.iter().zip([100, 200, 400]) {
                let shortest = Duration::from_millis(shortest);
                assert!(*pause >= shortest && *pause <= shortest * 2, "{pauses:?}");
            }
        }
    }

    #[test]
    fn writes_are_repeated_after_429_only() {
        assert!(pauses(&unavailable(Method::POST)).is_empty());
        assert!(pauses(&refused_port(Method::POST)).is_empty());
        let pauses = pauses(&limited(Method::POST, None));
        assert_eq!(pauses.len(), RETRY_CAP);
        assert!(pauses.iter().all(|pause| *pause >= LIMITED_PAUSE), "{pauses:?}");
    }

    #[test]
    fn setting_a_secret_is_repeated_as_a_read_is() {
        let set = Operation::SetSecret;
        for error in [unavailable(Method::POST), refused_port(Method::POST)] {
            assert_eq!(pauses_of(set, &error).len(), RETRY_CAP, "{error}");
        }
        let refused = answer(StatusCode::UNPROCESSABLE_ENTITY, None);
        let refused = Rejection { request: request(Method::POST), answer: refused };
        assert!(pauses_of(set, &CallError::Rejected(refused)).is_empty());
    }

    #[test]
    fn what_the_platform_asks_for_is_honoured_up_to_the_cap() {
        let asked = Duration::from_secs(20);
        assert_eq!(pauses(&limited(Method::DELETE, Some(20))), [asked; RETRY_CAP]);
        assert!(pauses(&limited(Method::DELETE, Some(31))).is_empty());
    }

    #[test]
    fn kinds_of_failure_share_one_count_of_attempts() {
        let mut backoff = Backoff::new(Operation::ReadApp);
        assert!(backoff.pause_after(&limited(Method::GET, None)).is_some());
        assert!(backoff.pause_after(&unavailable(Method::GET)).is_some());
        assert!(backoff.pause_after(&refused_port(Method::GET)).is_some());
        assert!(backoff.pause_after(&unavailable(Method::GET)).is_none());
    }

    #[test]
    fn what_would_fail_again_is_not_repeated() {
        let not_found = answer(StatusCode::NOT_FOUND, None);
        let errors = [
            CallError::Rejected(Rejection { request: request(Method::GET), answer: not_found }),
            CallError::NotSent(NotSent {
                request: request(Method::GET),
                reason: NotSentReason::Segment("..".into()),
            }),
            CallError::Unknown(Unknown {
                request: request(Method::GET),
                answer: None,
                cause: UnknownCause::TooLong { cap: 1 },
            }),
        ];
        for error in errors {
            assert!(pauses(&error).is_empty(), "{error}");
        }
        // A full queue is worth a second try, though not by a write.
        let full = |method| {
            let full = QueueFull { operation: Operation::ReadApp, wait: Duration::from_secs(61) };
            CallError::NotSent(NotSent {
                request: request(method),
                reason: NotSentReason::Queue(full),
            })
        };
        assert!(full(Method::POST).is_retryable());
        assert!(pauses(&full(Method::POST)).is_empty());
    }
}
