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
    let now = || (machine.state, machine.events.first());
    let Some(after) = &wish.after_event else {
        return met(machine.state).then(now);
    };
    // Event ids are ULIDs and grow, so what came after is what is greater: also when the named
    // event itself has been dropped from the list. Versions are ULIDs of the same source, and what
    // came before the named one is no deed of it.
    let after = wish.version.as_ref().map_or(after, |version| version.max(after));
    let later = machine.events.iter().rev().filter(|event| event.id > *after);
    // A machine that is not launched goes where it goes without an event, after all of them.
    let silent = machine.events.first().is_some_and(|event| event.status != machine.state);
    later
        .map(|event| (event.status, Some(event)))
        .find(|(state, _)| met(*state))
        .or_else(|| (silent && met(machine.state)).then(now))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::testing::{at, machine, new_machine, world};
    use crate::world::{NewMachine, Update};

    fn wish(goal: Goal, version: Option<&str>, after: &str) -> Wish {
        let version = version.map(str::to_owned);
        Wish { goals: vec![goal], version, after_event: Some(after.to_owned()) }
    }

    fn newest(world: &World, id: &str) -> String {
        world.machine("app", id).expect("a machine").events[0].id.clone()
    }

    #[test]
    fn a_machine_that_is_not_launched_gets_there_after_its_last_event() {
        let mut world = world(false);
        let new = NewMachine { skip_launch: true, ..new_machine("m", &json!({})) };
        let made = world.create_machine(at(0), "app", new).expect("a machine");
        let stopped = wish(Goal::Stopped, None, &made.events[0].id);
        let before = world.progress("app", &made.id, &stopped);
        assert_eq!(before, Ok(Progress::Waiting("created")));
        world.advance(at(0));
        let reached = world.progress("app", &made.id, &stopped);
        assert!(matches!(reached, Ok(Progress::Reached { state: State::Stopped, .. })));
        // What the newest event itself led to is no news.
        world.start_machine(at(1), "app", &made.id).expect("starts");
        world.advance(at(2));
        let started = wish(Goal::Started, None, &newest(&world, &made.id));
        assert_eq!(world.progress("app", &made.id, &started), Ok(Progress::Waiting("started")));
    }

    #[test]
    fn a_version_is_not_credited_with_what_an_older_one_did() {
        let mut world = world(false);
        let made = machine(&mut world, "m", &json!({}));
        world.advance(at(0));
        world.advance(at(1));
        let config = json!({ "image": "nginx:2" }).as_object().expect("an object").clone();
        let update = Update { config, ..Update::default() };
        let updated = world.update_machine(at(2), "app", &made.id, update).expect("updated");
        let launched = &made.events[0].id;
        let started = wish(Goal::Started, Some(&updated.version), launched);
        let early = world.progress("app", &made.id, &started);
        assert_eq!(early, Ok(Progress::Waiting("replacing")));
        world.advance(at(2));
        world.advance(at(3));
        let reached = world.progress("app", &made.id, &started);
        assert!(matches!(reached, Ok(Progress::Reached { state: State::Started, .. })));
    }
}
