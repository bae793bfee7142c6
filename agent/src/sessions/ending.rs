//! How a command is made to end: asked by a signal, killed if it does not listen, and at last left
//! without its outputs, which somebody outside its group may hold. Plain data; time is an argument.

use std::time::Duration;

use rustix::process::Signal;

use crate::limits::{HANGUP_GRACE, KILLED_OUTPUT_PATIENCE, TERMINATION_GRACE};

/// How far it has come.
#[derive(Debug)]
pub(in crate::sessions) struct Ending {
    stage: Stage,
    hung_up: bool,
    terminated: bool,
    /// Until when it may run.
    deadline: Option<Duration>,
    timed_out: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody wants it to end.
    Running,
    /// It was asked to, and is killed at this time.
    Asked(Duration),
    /// It was killed; outputs are left open until this time.
    Killed(Duration),
    /// There is nothing more to do to it.
    Closed,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sessions) enum Step {
    /// It has run for as long as it may: ask it to end.
    TimeOut,
    /// Kill the group.
    Kill,
    /// Close our ends of the outputs.
    CloseOutputs,
}

impl Ending {
    /// It runs, at most until `deadline`.
    pub(in crate::sessions) fn new(deadline: Option<Duration>) -> Self {
        Self {
            stage: Stage::Running,
            hung_up: false,
            terminated: false,
            deadline,
            timed_out: false,
        }
    }

    /// It had run for as long as it might.
    pub(in crate::sessions) fn is_timed_out(&self) -> bool {
        self.timed_out
    }

    /// The client is gone: the signal to send.
    pub(in crate::sessions) fn hang_up(&mut self, now: Duration) -> Signal {
        self.hung_up = true;
        self.ask(now + HANGUP_GRACE);
        Signal::HUP
    }

    /// The agent is ending: the signal to send.
    pub(in crate::sessions) fn terminate(&mut self, now: Duration, grace: Duration) -> Signal {
        self.terminated = true;
        self.ask(now + grace);
        Signal::TERM
    }

    fn ask(&mut self, kill_at: Duration) {
        match self.stage {
            Stage::Running => self.stage = Stage::Asked(kill_at),
            Stage::Asked(other) => self.stage = Stage::Asked(other.min(kill_at)),
            Stage::Killed(_) | Stage::Closed => {}
        }
    }

    /// The client is gone.
    pub(in crate::sessions) fn is_hung_up(&self) -> bool {
        self.hung_up
    }

    /// The agent is ending.
    pub(in crate::sessions) fn is_terminated(&self) -> bool {
        self.terminated
    }

    /// It was asked to end, and not killed yet.
    pub(in crate::sessions) fn is_asked(&self) -> bool {
        matches!(self.stage, Stage::Asked(_))
    }

    /// When the next step is due, if there is one.
    pub(in crate::sessions) fn due(&self) -> Option<Duration> {
        match self.stage {
            Stage::Running => self.deadline,
            Stage::Closed => None,
            Stage::Asked(at) | Stage::Killed(at) => Some(at),
        }
    }

    /// The step that is due, if one is.
    pub(in crate::sessions) fn advance(&mut self, now: Duration) -> Option<Step> {
        match self.stage {
            Stage::Running if self.deadline.is_some_and(|at| at <= now) => {
                self.timed_out = true;
                self.ask(now + TERMINATION_GRACE);
                Some(Step::TimeOut)
            }
            Stage::Asked(at) if at <= now => {
                self.stage = Stage::Killed(now + KILLED_OUTPUT_PATIENCE);
                Some(Step::Kill)
            }
            Stage::Killed(at) if at <= now => {
                self.stage = Stage::Closed;
                Some(Step::CloseOutputs)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    #[test]
    fn it_is_asked_then_killed_then_left_alone() {
        let mut ending = Ending::new(None);
        assert_eq!((ending.due(), ending.advance(NOW)), (None, None));
        assert_eq!(ending.terminate(NOW, Duration::from_secs(9)), Signal::TERM);
        assert!(ending.is_asked() && ending.is_terminated() && !ending.is_hung_up());
        // A client that goes meanwhile can only make it sooner.
        assert_eq!(ending.hang_up(NOW), Signal::HUP);
        assert_eq!(ending.due(), Some(NOW + HANGUP_GRACE));
        assert_eq!(ending.advance(NOW), None);
        let killed = NOW + HANGUP_GRACE;
        assert_eq!(ending.advance(killed), Some(Step::Kill));
        assert_eq!(ending.advance(killed), None);
        let closed = killed + KILLED_OUTPUT_PATIENCE;
        assert_eq!(ending.due(), Some(closed));
        assert_eq!(ending.advance(closed), Some(Step::CloseOutputs));
        assert_eq!((ending.due(), ending.advance(closed)), (None, None));
        ending.terminate(closed, Duration::ZERO);
        assert_eq!(ending.due(), None);
    }

    #[test]
    fn what_has_run_for_as_long_as_it_may_is_asked_and_killed() {
        let until = NOW + Duration::from_secs(60);
        let mut ending = Ending::new(Some(until));
        assert_eq!((ending.due(), ending.advance(NOW)), (Some(until), None));
        assert_eq!(ending.advance(until), Some(Step::TimeOut));
        assert!(ending.is_timed_out() && ending.is_asked());
        assert_eq!(ending.advance(until), None, "it is asked once");
        assert_eq!(ending.advance(until + TERMINATION_GRACE), Some(Step::Kill));
        // Whoever was asked before is not ended for its time.
        let mut ending = Ending::new(Some(until));
        ending.hang_up(NOW);
        assert_eq!(ending.due(), Some(NOW + HANGUP_GRACE));
        assert!(!ending.is_timed_out());
    }
}
