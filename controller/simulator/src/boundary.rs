//! The places at which a controller can die: around each write to its disk and each call.
//!
//! ```text
//!   write to disk:  asked ──▶ durable ──▶ known
//!   call:           asked ──▶ left ──▶ effect ──▶ answered
//! ```

use std::fmt;

use crate::fate::Fate;
use crate::verb::Verb;

/// A write to the disk that a controller does in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Write {
    /// An object was written, by a person or by the pass.
    PutObject,
    /// An object was removed.
    RemoveObject,
    /// Statuses.
    PutStatuses,
    /// Intents before any of them is sent.
    PlanIntents,
    /// An intent that is being sent.
    SendIntent,
    /// An answer.
    SettleIntent,
    /// A lost answer.
    DoubtIntent,
    /// How far intents came.
    SettleIntents,
    /// What is known of secrets.
    PutSecrets,
    /// A secret that is no more.
    RemoveSecret,
    /// Secrets of apps that are no more.
    RemoveSecrets,
    /// Usage facts.
    PutUsage,
    /// A credential's number, before it is asked for.
    BeginCredential,
    /// A credential that was shown.
    KeepCredential,
    /// The lost answer to the creation of a credential.
    DoubtCredential,
    /// Credentials that are no more.
    RemoveCredentials,
    /// Tombstones as they are now.
    ChangeTombstones,
    /// Tombstones of what is about to be deleted.
    ActOnTombstones,
    /// Versions of machines.
    PutVersions,
    /// Versions of machines that are gone.
    RemoveVersions,
    /// Policies of access keys.
    PutPolicies,
    /// A policy that is no more.
    RemovePolicy,
}

impl Write {
    /// All of them, in their order.
    pub const ALL: [Self; 22] = [
        Self::PutObject,
        Self::RemoveObject,
        Self::PutStatuses,
        Self::PlanIntents,
        Self::SendIntent,
        Self::SettleIntent,
        Self::DoubtIntent,
        Self::SettleIntents,
        Self::PutSecrets,
        Self::RemoveSecret,
        Self::RemoveSecrets,
        Self::PutUsage,
        Self::BeginCredential,
        Self::KeepCredential,
        Self::DoubtCredential,
        Self::RemoveCredentials,
        Self::ChangeTombstones,
        Self::ActOnTombstones,
        Self::PutVersions,
        Self::RemoveVersions,
        Self::PutPolicies,
        Self::RemovePolicy,
    ];

    /// The last of them.
    pub const LAST: Self = Self::RemovePolicy;
}

/// What a controller is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// A write to its disk.
    Write(Write),
    /// A call to the platform.
    Call(Verb),
}

/// How far it has come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Before: nothing has been done.
    Asked,
    /// The request is on its way.
    Left,
    /// The disk has it, or the platform has acted.
    Effect,
    /// The controller knows.
    Known,
}

/// One place at which it can die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boundary {
    /// What it is about.
    pub operation: Operation,
    /// How far it has come.
    pub place: Place,
    /// What becomes of the call; writes to the disk work.
    pub fate: Fate,
}

impl Boundary {
    /// A boundary of a write to the disk.
    #[must_use]
    pub fn of_write(write: Write, place: Place) -> Self {
        Self { operation: Operation::Write(write), place, fate: Fate::Works }
    }

    /// A boundary of a call.
    #[must_use]
    pub fn of_call(verb: Verb, place: Place, fate: Fate) -> Self {
        Self { operation: Operation::Call(verb), place, fate }
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::Asked => "before",
            Place::Left => "while the request is on its way:",
            Place::Effect => "after the effect, before the answer, of",
            Place::Known => "after",
        };
        match self.operation {
            Operation::Write(write) => write!(formatter, "{place} {write:?}"),
            Operation::Call(verb) => write!(formatter, "{place} {verb}"),
        }
    }
}
