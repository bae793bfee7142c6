//! The controller as a child process that can be killed at a chosen answer of the platform.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};

/// When to kill a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The number of answers that the platform has produced by then: all of them, or in a world
    /// with a proxy those to the controller.
    pub answers: u64,
    /// Which side of the wire they are on.
    pub moment: Moment,
}

/// A moment around an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The last answer is produced, its effect is done, and nobody hears of it.
    Answered,
    /// The next request has arrived, and the platform has not acted on it.
    Requested,
    /// The last answer is on the wire to the controller; known in a world with a proxy alone.
    Delivered,
}

/// A slot for one controller.
#[derive(Debug)]
pub struct ControllerProcess {
    log: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    child: Option<Child>,
    armed: Option<Crash>,
    crashed: bool,
}

impl ControllerProcess {
    pub(super) fn new(log: PathBuf) -> Self {
        Self { log, state: Mutex::default() }
    }

    pub(super) fn start(&self, command: &mut Command, crash: Option<Crash>) -> anyhow::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        // Locked before the start, so that a hook that fires at once finds the child.
        let mut state = self.state();
        ensure!(state.child.is_none(), "a controller runs already");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        state.child = Some(command.spawn().with_context(|| format!("starting {command:?}"))?);
        state.armed = crash;
        state.crashed = false;
        Ok(())
    }

    /// Fails if the controller has ended by itself.
    pub(super) fn must_run(&self) -> Result<(), String> {
        let mut state = self.state();
        let child = state.child.as_mut().ok_or("the controller does not run")?;
        match child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the controller ended: {status}")),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn kill(&self) {
        self.state().kill();
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.state().child.as_ref().map(Child::id)
    }

    pub(super) fn crashed(&self) -> Result<(), String> {
        let state = self.state();
        match state.crashed {
            true => Ok(()),
            false => Err(format!("still waiting for {:?}", state.armed)),
        }
    }

    pub(super) fn crash_at(&self, moment: Moment, answers: u64) {
        let mut state = self.state();
        let hit = |crash: &Crash| crash.moment == moment && answers >= crash.answers;
        if state.armed.as_ref().is_some_and(hit) {
            state.kill();
            state.armed = None;
            state.crashed = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Kills and waits: when this returns the process does not run any more.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if the process has ended already, and then there is nothing to do.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
