//! What was called for an intent and answered: written down by the task that makes the calls.
//!
//! ```text
//!   execute ─▶ recorded( apply ─▶ client ─▶ attempt, attempt, … ) ─▶ journal, with the verdict
//!                                              └── note ──┘
//! ```
//!
//! The record names a call by its method and its path template, never by its arguments, so there
//! is nothing in it that must be kept from whoever may read the tenant.

use std::cell::RefCell;
use std::future::Future;

use serde::{Deserialize, Serialize};
use vault_cloud::counts::Attempt;
use vault_plan::time::UnixMillis;

use crate::clock::Clock;

/// How many calls are kept of one intent: an action is one call and a few looks around it, and a
/// rate limit repeats it a handful of times. Of more, the first ones and the last are kept.
pub const CALLS_MAX: usize = 16;

/// One attempt at a call, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// The HTTP method.
    pub method: String,
    /// The path template, such as `/v1/apps/{app}/machines`.
    pub path: String,
    /// From 1, among the calls of one intent to this method and path.
    pub attempt: u32,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// Why it did not succeed, in one word: see [`vault_cloud::error::CallError::kind`].
    pub failure: Option<String>,
    /// The platform's name for the request, to quote to its support.
    pub fly_request_id: Option<String>,
    /// When it was sent.
    pub sent_at: UnixMillis,
    /// How long its answer took, in milliseconds.
    pub took_ms: i64,
}

type Now = Box<dyn Fn() -> UnixMillis + Send>;

tokio::task_local! {
    static CALLS: (Now, RefCell<Vec<CallRecord>>);
}

/// Runs `work`; its output, and the calls that it made on this task, in their order.
pub async fn recorded<T>(
    clock: &impl Clock,
    work: impl Future<Output = T>,
) -> (T, Vec<CallRecord>) {
    let clock = clock.clone();
    let now: Now = Box::new(move || clock.now());
    let scope = async {
        let output = work.await;
        (output, CALLS.with(|(_, calls)| calls.take()))
    };
    CALLS.scope((now, RefCell::default()), scope).await
}

/// Writes down an attempt whose outcome is known, if the task that makes it is recorded.
pub fn note(attempt: &Attempt<'_>) {
    // Outside of `recorded` nobody asks for it: a pass's lists are counted elsewhere.
    let _: Result<(), _> =
        CALLS.try_with(|(now, calls)| add(&mut calls.borrow_mut(), attempt, now()));
}

fn add(calls: &mut Vec<CallRecord>, attempt: &Attempt<'_>, answered_at: UnixMillis) {
    let (method, path) = (attempt.operation.method(), attempt.operation.template());
    let same = |call: &&CallRecord| call.path == path && method.as_str() == call.method;
    let before = calls.iter().rev().find(same).map_or(0, |call| call.attempt);
    let took_ms = i64::try_from(attempt.took.as_millis()).unwrap_or(i64::MAX);
    if calls.len() >= CALLS_MAX {
        calls.pop();
    }
    calls.push(CallRecord {
        method: method.to_string(),
        path: path.to_owned(),
        attempt: before.saturating_add(1),
        status: attempt.status.map(|status| status.as_u16()),
        failure: attempt.failure.map(str::to_owned),
        fly_request_id: attempt.fly_request_id.map(str::to_owned),
        sent_at: answered_at.plus_ms(took_ms.saturating_neg()),
        took_ms,
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use vault_cloud::counts::CallOutcome;
    use vault_cloud::operation::Operation;

    use super::*;
    use crate::testing::{ManualClock, NOW};

    fn attempt(operation: Operation, status: u16) -> Attempt<'static> {
        Attempt {
            operation,
            outcome: CallOutcome::Done,
            status: StatusCode::from_u16(status).ok(),
            failure: (status != 200).then_some("refused"),
            fly_request_id: Some("01K4Z8-ams"),
            waited: Duration::ZERO,
            took: Duration::from_millis(40),
            repeated: false,
        }
    }

    #[tokio::test]
    async fn calls_are_numbered_per_path_and_timed_from_their_answer() {
        let clock = ManualClock::new();
        let ((), calls) = recorded(&clock, async {
            note(&attempt(Operation::CreateMachine, 429));
            note(&attempt(Operation::ReadMachine, 200));
            note(&attempt(Operation::CreateMachine, 200));
            note(&attempt(Operation::UpdateMachine, 200));
        })
        .await;
        let seen: Vec<_> = calls
            .iter()
            .map(|call| (&*call.method, &*call.path, call.attempt, call.status))
            .collect();
        let create = "/v1/apps/{app}/machines";
        assert_eq!(
            seen,
            [
                ("POST", create, 1, Some(429)),
                ("GET", "/v1/apps/{app}/machines/{id}", 1, Some(200)),
                ("POST", create, 2, Some(200)),
                ("POST", "/v1/apps/{app}/machines/{id}", 1, Some(200)),
            ]
        );
        assert_eq!((calls[0].sent_at, calls[0].took_ms), (NOW.plus_ms(-40), 40));
        assert_eq!(calls[0].failure.as_deref(), Some("refused"));
    }

    #[tokio::test]
    async fn a_storm_of_calls_keeps_the_first_and_the_last() {
        let clock = ManualClock::new();
        let ((), calls) = recorded(&clock, async {
            for _ in 0..100 {
                note(&attempt(Operation::SetSecret, 429));
            }
            note(&attempt(Operation::SetSecret, 200));
        })
        .await;
        assert_eq!(calls.len(), CALLS_MAX);
        assert_eq!((calls[0].attempt, calls[CALLS_MAX - 1].status), (1, Some(200)));
    }

    #[test]
    fn outside_of_a_record_nothing_is_written_down() {
        note(&attempt(Operation::ListApps, 200));
    }
}
