//! The question behind `GET …/wait`: is the machine there yet?

use crate::world::World;
use crate::world::error::Refusal;
use crate::world::machine::{Event, Machine, State};

/// What a caller waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Any of these; see [`Goal`].
    pub goals: Vec<Goal>,
    /// The version that has to get there, if one is named.
    pub version: Option<String>,
    /// Only what came after this event counts.
    pub after_event: Option<String>,
}

/// A state that can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// `started`
    Started,
    /// `stopped`
    Stopped,
    /// `suspended`
    Suspended,
    /// `destroyed`
    Destroyed,
    /// `failed`
    Failed,
    /// Any state that the machine will not leave by itself.
    Settled,
}

/// How far the machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A goal was reached.
    Reached {
        /// The state reached.
        state: State,
        /// The machine's live version.
        version: String,
        /// The event to wait after next time.
        event_id: String,
    },
    /// Not yet; the current state in words.
    Waiting(&'static str),
}

impl Goal {
    /// Reads a goal's name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "started" => Self::Started,
            "stopped" => Self::Stopped,
            "suspended" => Self::Suspended,
            "destroyed" => Self::Destroyed,
            "failed" => Self::Failed,
            "settled" => Self::Settled,
            _ => return None,
        })
    }

    /// The goal's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Suspended => "suspended",
            Self::Destroyed => "destroyed",
            Self::Failed => "failed",
            Self::Settled => "settled",
        }
    }

    const fn is_met_by(self, state: State) -> bool {
        match self {
            Self::Started => matches!(state, State::Started),
            Self::Stopped => matches!(state, State::Stopped),
            Self::Suspended => matches!(state, State::Suspended),
            Self::Destroyed => matches!(state, State::Destroyed),
            Self::Failed => matches!(state, State::Failed),
            Self::Settled => !state.is_transient(),
        }
    }
}

impl World {
    /// How far a machine is with a wish.
    ///
    /// # Errors
    /// [`Refusal::MachineNotFound`] also when the machine is destroyed and can never get there.
    pub fn progress(&self, app: &str, id: &str, wish: &Wish) -> Result<Progress, Refusal> {
        let machine = self.machine(app, id)?;
        if let Some(version) = wish.version.as_deref().filter(|version| *version != machine.version)
        {
            let known = machine.replaced.iter().any(|replaced| replaced == version);
            return if known {
                Ok(Progress::Waiting("replaced"))
            } else {
                Err(Refusal::MachineNotFound)
            };
        }
        if let Some((state, event)) = reached(machine, wish) {
            let event_id = event.map(|event| event.id.clone()).unwrap_or_default();
            return Ok(Progress::Reached { state, version: machine.version.clone(), event_id });
        }
        match machine.state {
            State::Destroyed => Err(Refusal::MachineNotFound),
            state => Ok(Progress::Waiting(state.name())),
        }
    }
}

fn reached<'a>(machine: &'a Machine, wish: &Wish) -> Option<(State, Option<&'a Event>)> {
    let met = |state: State| wish.goals.iter().any(|goal| goal.is_met_by(state));
    let Some(after) = &wish.after_event else {
        return met(machine.state).then(|| (machine.state, machine.events.first()));
    };
    // Event ids are ULIDs and grow, so what came after is what is greater: also when the named
    // event itself has been dropped from the list.
    let later = machine.events.iter().rev().filter(|event| event.id > *after);
    later.map(|event| (event.status, Some(event))).find(|(state, _)| met(*state))
}
