//! A change that was refused because the machine is not what it was: perhaps by that very change.
//!
//! ```text
//!   409 or 412 ─▶ look at the machine by its id
//!                   ├─ it shows our change ──▶ done: the request was delivered twice, and this is the
//!                   │                          answer to the second one
//!                   ├─ it does not ──────────▶ refused, as it says; but a concurrent update may be our
//!                   │                          own first delivery: nobody knows
//!                   └─ not to be seen ───────▶ nobody knows: the next pass settles it by looking
//! ```
//!
//! A request can reach the platform twice, when something between resends what it takes for lost. If
//! the refusal of the second were believed, a machine would be down that nobody counts as down, until
//! a list shows it.

use vault_cloud::error::CallError;
use vault_plan::metadata;
use vault_plan::observed::{HoldKind, ObservedMachine, PlatformState};

use super::{Applied, Created, settle};
use crate::chain::chain;
use crate::execute::Failure;
use crate::platform::{Platform, WrittenMachine};

/// What a call takes a machine down for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// A new config, which carries this intent's id.
    Update(&'a str),
    /// To stop.
    Stop,
    /// To be suspended.
    Suspend,
}

/// What came of a call that was to change a machine.
pub(super) async fn settle_or_look<P: Platform>(
    platform: &P,
    (app, id): (&str, &str),
    change: Change<'_>,
    result: Result<Option<Created>, CallError>,
) -> Applied {
    let error = match result {
        Err(error) if is_conflict(&error) => error,
        result => return settle(result),
    };
    match platform.machine(app, id).await {
        Ok(Some(machine)) if shows(change, &machine) == Some(true) => {
            let written = WrittenMachine { id: machine.id, version: machine.version };
            let is_update = matches!(change, Change::Update(_));
            Applied::Done(is_update.then_some(Created::Machine(written)))
        }
        Ok(Some(machine)) if shows(change, &machine).is_none() => unknown(&error),
        Ok(Some(_)) if may_be_under_way(change, &error) => unknown(&error),
        Ok(_) => settle(Err(error)),
        Err(_) => unknown(&error),
    }
}

fn unknown(error: &CallError) -> Applied {
    Applied::Unknown(Failure { hold: HoldKind::BackOff, message: chain(error) })
}

/// Whether a refusal says that the machine is another than the one that the call was for. Somebody's
/// lease is none of it: behind that, a call waits or is refused whole.
fn is_conflict(error: &CallError) -> bool {
    let CallError::Rejected(rejection) = error else { return false };
    matches!(rejection.answer.status.as_u16(), 409 | 412)
        && error.lease_holder().is_none()
        && error.capacity().is_none()
}

/// Whether a refusal may be of a second delivery while the first one is still at it: then the machine
/// does not show the change yet, and goes down all the same. A version that is another than the one
/// that was asked for (412) is one that stays.
fn may_be_under_way(change: Change<'_>, error: &CallError) -> bool {
    let CallError::Rejected(rejection) = error else { return false };
    matches!(change, Change::Update(_)) && rejection.answer.status.as_u16() == 409
}

/// Whether a machine shows a change; `None` if its host does not let it be seen.
fn shows(change: Change<'_>, machine: &ObservedMachine) -> Option<bool> {
    use PlatformState::{Stopped, Stopping, Suspended, Suspending};
    match change {
        Change::Update(_) if machine.is_blank() => None,
        Change::Update(intent) => {
            Some(machine.metadata.get(metadata::INTENT).is_some_and(|seen| seen == intent))
        }
        Change::Stop => Some(matches!(machine.state, Stopping | Stopped)),
        Change::Suspend => Some(matches!(machine.state, Suspending | Suspended)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakePlatform, machine, rejected, unknown as unknown_error};

    const INTENT: &str = "01INTENT";

    /// What becomes of a call with this answer, while the machine is so; `None` if it is gone.
    async fn settled(
        change: Change<'_>,
        error: CallError,
        there: Option<(PlatformState, &str)>,
        sight: Option<CallError>,
    ) -> Applied {
        let platform = FakePlatform::default();
        if let Some((state, intent)) = there {
            let mut machine = machine("1", "acme-box-0", "acme-app");
            machine.state = state;
            machine.version = Some("01NEW".to_owned());
            machine.metadata.insert(metadata::INTENT.to_owned(), intent.to_owned());
            platform.world().machines.push(machine);
        }
        if let Some(error) = sight {
            platform.fail("machine", error, false);
        }
        settle_or_look(&platform, ("acme-app", "1"), change, Err(error)).await
    }

    fn concurrent(status: u16) -> CallError {
        rejected(status, "aborted: machine update failed due to concurrent update")
    }

    #[tokio::test]
    async fn a_refusal_of_what_was_delivered_twice_is_no_refusal() {
        use PlatformState::{Replacing, Started, Stopping, Suspended};
        for status in [409, 412] {
            let update = Change::Update(INTENT);
            let there = Some((Replacing, INTENT));
            let Applied::Done(Some(Created::Machine(written))) =
                settled(update, concurrent(status), there, None).await
            else {
                panic!("the update is there");
            };
            assert_eq!((written.id.as_str(), written.version.as_deref()), ("1", Some("01NEW")));
            for (change, state) in [(Change::Stop, Stopping), (Change::Suspend, Suspended)] {
                let there = Some((state, "older"));
                let applied = settled(change, concurrent(status), there, None).await;
                assert!(matches!(applied, Applied::Done(None)), "{change:?}");
                let runs = Some((Started, "older"));
                let applied = settled(change, concurrent(status), runs, None).await;
                assert!(matches!(applied, Applied::NotDone(_)), "{change:?}");
            }
            let applied = settled(update, concurrent(status), None, None).await;
            assert!(matches!(applied, Applied::NotDone(_)), "it is gone");
        }
    }

    #[tokio::test]
    async fn an_update_that_meets_another_one_may_have_met_its_own_first_delivery() {
        use PlatformState::Started;
        let older = Some((Started, "older"));
        let met = settled(Change::Update(INTENT), concurrent(409), older.clone(), None).await;
        assert!(matches!(met, Applied::Unknown(_)), "the first delivery may still take it down");
        let moved = settled(Change::Update(INTENT), concurrent(412), older, None).await;
        assert!(matches!(moved, Applied::NotDone(_)), "another version stays another version");
    }

    #[tokio::test]
    async fn what_cannot_be_seen_is_not_known_and_what_says_something_else_is_believed() {
        use PlatformState::Started;
        let update = Change::Update(INTENT);
        let ours = Some((Started, INTENT));
        let applied = settled(update, concurrent(409), ours.clone(), Some(unknown_error())).await;
        assert!(matches!(applied, Applied::Unknown(_)));
        let lease = rejected(409, "machine ID 1 lease currently held by you@tokens.fly.io");
        for error in [lease, rejected(422, "no such image"), rejected(429, "too many")] {
            let applied = settled(update, error, ours.clone(), None).await;
            assert!(matches!(applied, Applied::NotDone(_)));
        }
    }
}
