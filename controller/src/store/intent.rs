//! An intent, and the life that it may have.
//!
//! ```text
//!   planned ─▶ sent ─▶ acked ─▶ verified
//!      └────────┴────────┴────▶ aborted
//! ```

use ulid::Ulid;
use vault_plan::action::ActionKind;
use vault_plan::time::UnixMillis;

/// One outward write, from before it is sent until its effect has been seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its name; it goes into the metadata of the machine that it writes.
    pub id: Ulid,
    /// The tenant that it serves.
    pub tenant: String,
    /// The organization's slug.
    pub organization: String,
    /// The app's name.
    pub app: String,
    /// What is done.
    pub kind: ActionKind,
    /// The name of the resource at the platform.
    pub external_name: String,
    /// Its id, as soon as it is known.
    pub external_id: Option<String>,
    /// How far it has come.
    pub state: IntentState,
    /// When it was journaled.
    pub planned_at: UnixMillis,
    /// When it was sent; if its answer was lost, when that was known.
    pub sent_at: Option<UnixMillis>,
    /// What came of it, for people.
    pub outcome: Option<String>,
    /// The hash of the config that it writes, if it writes one.
    pub spec_hash: Option<String>,
}

/// How far an intent has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntentState {
    /// Journaled; the call has not been made.
    Planned,
    /// The call is being made, or was when the controller ended.
    Sent,
    /// The platform said yes.
    Acked,
    /// The effect has been seen in the lists.
    Verified,
    /// There is no effect, and none will come.
    Aborted,
}

impl IntentState {
    /// All states, in order.
    pub const ALL: [Self; 5] =
        [Self::Planned, Self::Sent, Self::Acked, Self::Verified, Self::Aborted];

    /// The state's name in the journal.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Sent => "sent",
            Self::Acked => "acked",
            Self::Verified => "verified",
            Self::Aborted => "aborted",
        }
    }

    /// Whether an intent may go from this state to `next`: the journal's whole life in one place.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Planned, Self::Sent | Self::Aborted)
                | (Self::Sent, Self::Acked | Self::Verified | Self::Aborted)
                | (Self::Acked, Self::Verified | Self::Aborted)
        )
    }
}

/// How an intent ended, or how far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which intent.
    pub id: Ulid,
    /// Its new state.
    pub state: IntentState,
    /// The resource's id, if it became known.
    pub external_id: Option<String>,
    /// What came of it, for people.
    pub outcome: Option<String>,
}
