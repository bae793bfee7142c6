//! Which root filesystem is in use, and which one is kept in case: plain data.
//!
//! ```text
//!              install                     proven
//!   current ──────────▶ current, on trial ────────▶ current
//!                       └─ previous is kept              │ rolled back: previous is current again
//!                          in case                       ▼
//! ```
//!
//! All of it is one file, replaced at once, so that there is no state in between: a tree that this does
//! not name is in the making, or left over, and nobody misses it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::TRIAL_BOOTS_MAX;

/// How many characters an id has: 8 bytes in hex.
pub(super) const ID_CHARACTERS: usize = 16;

/// A root filesystem that was unpacked whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Root {
    /// The name of its folder, new for each that is unpacked.
    pub(crate) id: String,
    /// SHA-256 of its archive, in hex.
    pub(crate) sha256: String,
}

/// A root filesystem that has not shown yet that it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trial {
    /// What to go back to; nothing, if there was none.
    previous: Option<Root>,
    /// How often it was booted so far.
    boots: u32,
}

/// What the volume holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    current: Option<Root>,
    trial: Option<Trial>,
}

/// A file that says what no agent has written.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not the id of a root filesystem")]
pub(crate) struct NotAnId(String);

impl State {
    /// The one in use.
    pub(crate) fn current(&self) -> Option<&Root> {
        self.current.as_ref()
    }

    /// The one in use has not shown yet that it works.
    pub(crate) fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// It was booted as often as it may be without having worked: each time the machine, or the agent,
    /// has ended with it.
    pub(crate) fn has_failed(&self) -> bool {
        self.trial.as_ref().is_some_and(|trial| trial.boots >= TRIAL_BOOTS_MAX)
    }

    /// `root` is in use from now on, for a trial. What is gone back to is what has worked last.
    pub(crate) fn install(self, root: Root) -> Self {
        let previous = match self.trial {
            Some(trial) => trial.previous,
            None => self.current,
        };
        Self { current: Some(root), trial: Some(Trial { previous, boots: 0 }) }
    }

    /// It is about to be booted.
    pub(crate) fn booting(mut self) -> Self {
        if let Some(trial) = &mut self.trial {
            trial.boots = trial.boots.saturating_add(1);
        }
        self
    }

    /// It works: the previous one is not needed any more.
    pub(crate) fn proven(self) -> Self {
        Self { trial: None, ..self }
    }

    /// It does not work: the previous one is in use again. Without a trial there is none.
    pub(crate) fn rolled_back(self) -> Self {
        match self.trial {
            Some(trial) => Self { current: trial.previous, trial: None },
            None => self,
        }
    }

    /// The ids of all that are needed.
    pub(crate) fn ids(&self) -> HashSet<&str> {
        let previous = self.trial.as_ref().and_then(|trial| trial.previous.as_ref());
        self.current.iter().chain(previous).map(|root| root.id.as_str()).collect()
    }

    /// Refuses ids that are none: they become names of folders.
    ///
    /// # Errors
    /// The first that is none.
    pub(super) fn checked(self) -> Result<Self, NotAnId> {
        match self.ids().into_iter().find(|id| !is_id(id)) {
            Some(id) => Err(NotAnId(id.to_owned())),
            None => Ok(self),
        }
    }
}

/// Whether a name may be that of a root filesystem's folder.
pub(super) fn is_id(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == ID_CHARACTERS && name.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(number: u8) -> Root {
        Root { id: format!("{number:016x}"), sha256: format!("{number:064x}") }
    }

    fn current(state: &State) -> Option<Root> {
        state.current().cloned()
    }

    #[test]
    fn the_old_one_is_kept_until_the_new_one_has_worked() {
        let first = State::default().install(root(1)).proven();
        assert_eq!(current(&first), Some(root(1)));
        let trial = first.install(root(2));
        assert_eq!(current(&trial), Some(root(2)));
        assert_eq!(trial.ids().len(), 2);
        let proven = trial.clone().proven();
        assert_eq!((current(&proven), proven.ids().len()), (Some(root(2)), 1));
        let back = trial.rolled_back();
        assert_eq!((current(&back), back.ids().len()), (Some(root(1)), 1));
        assert_eq!(back.clone().rolled_back(), back, "there is nothing more to go back to");
    }

    #[test]
    fn a_first_one_that_fails_leaves_none() {
        let back = State::default().install(root(1)).rolled_back();
        assert_eq!(back, State::default());
    }

    #[test]
    fn what_never_worked_is_not_gone_back_to() {
        let trial = State::default().install(root(1)).proven().install(root(2)).install(root(3));
        assert!(!trial.ids().contains(root(2).id.as_str()));
        assert_eq!(current(&trial.rolled_back()), Some(root(1)));
    }

    #[test]
    fn a_trial_has_so_many_boots_and_no_more() {
        let mut state = State::default().install(root(1));
        for _ in 0..TRIAL_BOOTS_MAX {
            assert!(!state.has_failed());
            state = state.booting();
        }
        assert!(state.has_failed());
        let mut proven = state.proven();
        for _ in 0..10 {
            proven = proven.booting();
        }
        assert!(!proven.has_failed(), "what has worked is booted for ever");
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_ids() {
        for id in ["", "..", "../../../../etc", "0123456789abcdeF", "0123456789abcde/", "0123"] {
            let bad = Root { id: id.to_owned(), sha256: String::new() };
            let state = State::default().install(bad);
            assert_eq!(state.checked(), Err(NotAnId(id.to_owned())));
        }
        let good = State::default().install(root(1)).proven().install(root(2));
        assert_eq!(good.clone().checked(), Ok(good));
    }
}
