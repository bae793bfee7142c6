//! Drift: what differs because somebody else changed it, and whether it is corrected.
//!
//! ```text
//!   driftPolicy   reached the manifest once   needed because of    done
//!   Correct       –                           either               yes
//!   Report        no                          either               yes
//!   Report        yes                         the manifest         yes
//!   Report        yes                         drift                no: withheld, with a note
//! ```
//!
//! A tenant *reached* its manifest when it was Ready at the present generation of its spec and of
//! its class. Up to then a difference may be what the manifest changed; from then on it is somebody
//! else's doing, unless it says itself that it is ours: another spec hash, a secret whose source
//! has another value now, a volume that grew, what is to be deleted with its tenant.

use super::draft::Draft;
use crate::action::PlannedAction;
use crate::machine::Need;
use crate::report::NoteReason;

/// How many members a sentence names; the rest are counted.
const MEMBERS_NAMED_MAX: usize = 5;

/// Why an action is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The manifest, or another source of ours, says something else than before.
    Manifest,
    /// Somebody else changed what exists, if the tenant had reached its manifest.
    Drift,
}

impl Need {
    /// Why it is needed, in a tenant that had reached its manifest.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Correct(_) | Self::Start(_) | Self::Stop(_) | Self::Suspend(_) => Cause::Drift,
            Self::Nothing
            | Self::Patience(_)
            | Self::Stuck(_)
            | Self::Sight(_)
            | Self::Update(_) => Cause::Manifest,
        }
    }

    /// The same for a machine of which other members than the lists show were changed: its config
    /// is written again before anything is done about its state.
    pub(super) fn with_edits(self, members: Option<&Vec<String>>) -> Self {
        match (self, members) {
            (Self::Nothing | Self::Start(_) | Self::Suspend(_), Some(members)) => {
                Self::Correct(format!("somebody else changed {}", named(members)))
            }
            (need, _) => need,
        }
    }
}

impl Draft<'_> {
    /// From here on, actions are needed for this reason.
    pub(super) fn because(&mut self, cause: Cause) {
        self.cause = cause;
    }

    /// Whether an action that is decided on now is only told.
    pub(super) fn withholds(&self) -> bool {
        self.cause == Cause::Drift && self.reports_drift
    }

    /// Keeps an action that is not to be carried out.
    pub(super) fn withhold(&mut self, action: PlannedAction) {
        let message = format!(
            "{}: {}; it is left so, because driftPolicy is Report",
            action.target(),
            action.reason
        );
        self.note(NoteReason::DriftDetected, message);
        self.drifted.push(action);
    }
}

/// Members as a person reads them.
fn named(members: &[String]) -> String {
    let shown = members.len().min(MEMBERS_NAMED_MAX);
    let text = members[..shown].join(", ");
    match members.len() - shown {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_members_are_named_and_the_others_counted() {
        let members =
            |count: usize| -> Vec<String> { (0..count).map(|n| format!("member{n}")).collect() };
        assert_eq!(named(&members(1)), "member0");
        let five = "member0, member1, member2, member3, member4";
        assert_eq!(named(&members(5)), five);
        assert_eq!(named(&members(8)), format!("{five} and 3 more"));
    }
}
