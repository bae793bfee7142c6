//! What a plan leaves undone, and why: read it before you act on the plan.

use std::sync::Arc;

use crate::bucket::StorageReport;
use crate::token::TokenReport;
use vault_api::status::DeletionStage;

/// The explanation of a [`crate::action::Plan`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a report that nobody reads explains nothing"]
pub struct Report {
    /// One entry per desired tenant, in the order of [`crate::desired::Desired::tenants`].
    pub tenants: Vec<TenantReport>,
    /// Machines that carry our mark but belong to no tenant: reported, never removed.
    pub strays: Vec<Stray>,
}

/// Where one tenant stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantReport {
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// The platform's lists show the tenant's app.
    pub app_exists: bool,
    /// What is left undone, in the order in which it was decided.
    pub notes: Vec<Note>,
    /// One entry per wanted machine.
    pub machines: Vec<MachineReport>,
    /// One entry per wanted deploy token; none where nothing was decided about them.
    pub tokens: Vec<TokenReport>,
    /// Where its storage stands; `None` where nothing was decided about it.
    pub storage: Option<StorageReport>,
    /// A deleted tenant has nothing left that has to go.
    pub gone: bool,
    /// How far its deletion has come, while it is being deleted.
    pub deletion: Option<DeletionStage>,
}

impl TenantReport {
    /// Every machine is in its wanted state at the wanted spec, and nothing stands in the way.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.app_exists
            && self.machines.iter().all(|machine| machine.ready)
            && self.notes.iter().all(|note| note.reason.harmless())
    }
}

/// Where one wanted machine stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MachineReport {
    /// Its place in the organization's list of machines, if it exists.
    pub machine: Option<usize>,
    /// Its volume's place in the organization's list of volumes, if it exists.
    pub volume: Option<usize>,
    /// The place of the volume that has its data where it is moved to, once its old machine may go:
    /// from then on that one must not be forgotten.
    pub copy: Option<usize>,
    /// In its wanted state at the wanted spec.
    pub ready: bool,
    /// It is down, or about to be, in order to be made anew.
    pub replacing: bool,
}

/// Something that the plan leaves undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What kind of reason.
    pub reason: NoteReason,
    /// One sentence for people.
    pub message: String,
}

impl Note {
    /// Says what is left undone.
    pub fn new(reason: NoteReason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { reason, message }
    }
}

/// Why something is left undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteReason {
    /// The platform is at it; nothing to do but look again.
    Waiting,
    /// A passing state has lasted longer than it should.
    Stuck,
    /// The disruption budget is used up for now.
    BudgetExhausted,
    /// The lists are not whole, so absence proves nothing.
    Unobserved,
    /// An earlier attempt failed; the next one waits.
    BackOff,
    /// The outcome of an earlier call is not known yet.
    Unsettled,
    /// The manifest says that nothing is to be done.
    Paused,
    /// A machine and its volume are on their way to another region.
    Relocating,
    /// The app's name belongs to someone else.
    NameTaken,
    /// The manifest cannot be carried out as it stands.
    Invalid,
    /// The platform refused.
    Refused,
    /// Real, but this version cannot do it.
    NotSupported,
    /// Somebody else has changed what the manifest says.
    DriftDetected,
    /// Left as it is on purpose: a volume, a bucket or an app that outlives its tenant.
    Kept,
    /// The controller was given no key to object storage.
    NoStorageKey,
}

impl NoteReason {
    /// The CamelCase word for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Stuck => "Stuck",
            Self::BudgetExhausted => "BudgetExhausted",
            Self::Unobserved => "Unobserved",
            Self::BackOff => "BackOff",
            Self::Unsettled => "Unsettled",
            Self::Paused => "Paused",
            Self::Relocating => "Relocating",
            Self::NameTaken => "NameTaken",
            Self::Invalid => "Invalid",
            Self::Refused => "Refused",
            Self::NotSupported => "NotSupported",
            Self::DriftDetected => "DriftDetected",
            Self::Kept => "Kept",
            Self::NoStorageKey => "NoStorageKey",
        }
    }

    /// Whether a tenant with this note can be Ready all the same.
    #[must_use]
    pub fn harmless(self) -> bool {
        matches!(self, Self::Kept)
    }

    /// Whether waiting alone will not make it go away.
    #[must_use]
    pub fn needs_a_person(self) -> bool {
        matches!(
            self,
            Self::Stuck
                | Self::NameTaken
                | Self::Invalid
                | Self::Refused
                | Self::NotSupported
                | Self::NoStorageKey
        )
    }
}

/// A machine with our mark and no tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The organization's slug.
    pub organization: String,
    /// The app's name.
    pub app: String,
    /// The machine's id.
    pub id: String,
    /// The machine's name.
    pub name: String,
    /// The tenant that its metadata names.
    pub tenant: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_alone_mends_what_needs_no_person() {
        use NoteReason::{
            BackOff, BudgetExhausted, DriftDetected, Invalid, Kept, NameTaken, NoStorageKey,
            NotSupported, Paused, Refused, Relocating, Stuck, Unobserved, Unsettled, Waiting,
        };
        let for_people = [Stuck, NameTaken, Invalid, Refused, NotSupported, NoStorageKey];
        assert!(for_people.into_iter().all(NoteReason::needs_a_person));
        // Whoever paused, or asked for reports of drift, or to keep something, knows of it.
        let for_time = [Waiting, BudgetExhausted, Unobserved, BackOff, Unsettled, Relocating];
        let known = [Paused, DriftDetected, Kept];
        assert!(!for_time.into_iter().chain(known).any(NoteReason::needs_a_person));
    }
}
