//! What stands between a volume that nobody wants any more and its deletion.
//!
//! ```text
//!   its machine goes for good ─▶ Standing ── seen at rest, again and again, for the grace ─▶ matured
//!                                   │  ▲                                                      │
//!      somebody wants it again ◀────┤  └── held again, or not seen for long: from the start   ▼
//!      (cleared; nothing happens)   └───────────────────────────────▶ Ended ◀── gone ◀── Acting: deleted
//! ```
//!
//! Time alone matures nothing. A tombstone matures by a chain of sightings: each pass that sees the
//! volume at rest in whole lists, an eighth of the grace after the last one that counted, adds one,
//! and all [`SIGHTINGS`] are needed besides the grace itself. A clock that steps ahead thus gains one
//! link of the chain at most, and less than half of the grace; a step that is larger, a controller
//! that was away for long, a database from a backup, or a volume that was held meanwhile break the
//! chain, and the whole grace begins anew.

use vault_api::tenant::DeletionPolicy;

use crate::identity::TenantUid;
use crate::policy::Policy;
use crate::time::UnixMillis;

/// How many sightings, each an eighth of the grace after the one before, mature a tombstone.
pub const SIGHTINGS: u32 = 8;

/// Sightings this far apart belong together however short the grace is, in milliseconds: passes
/// are that far apart while the platform is slow.
const GAP_MS_MIN: i64 = 60_000;

/// A mark over a volume or a bucket, or over a deleted tenant and its app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// What it stands over.
    pub kind: TombstoneKind,
    /// Fly's id of the volume; of a tenant, its name; of a bucket, its name at Tigris.
    pub id: String,
    /// The tenant's name.
    pub tenant: String,
    /// The tenant's identity, from which names are derived.
    pub uid: TenantUid,
    /// The organization's slug.
    pub organization: String,
    /// The app's name.
    pub app: String,
    /// The volume's or the bucket's derived name; of a tenant, the app's.
    pub name: String,
    /// The volume's region code; empty for others.
    pub region: String,
    /// The volume's size in gigabytes; 0 for others.
    pub size_gb: u32,
    /// The machine that the volume was for; empty for others.
    pub machine: String,
    /// The template that it was made from; what the manifest called the bucket; empty for a tenant.
    pub template: String,
    /// What the manifest said.
    pub policy: DeletionPolicy,
    /// Why it was made.
    pub cause: Cause,
    /// The snapshot with what was last written to the volume.
    pub snapshot: Option<String>,
    /// When it was made.
    pub made_at: UnixMillis,
    /// Not before this is anything deleted; moved when the chain of sightings begins anew.
    pub due_at: UnixMillis,
    /// How many sightings count so far.
    pub sightings: u32,
    /// The last one that counted.
    pub seen_at: Option<UnixMillis>,
    /// How far it has come.
    pub state: TombstoneState,
    /// When it ended.
    pub ended_at: Option<UnixMillis>,
    /// How it ended, for people.
    pub outcome: Option<String>,
}

/// What a tombstone stands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TombstoneKind {
    /// A volume.
    Volume,
    /// A deleted tenant: its object, and its app if the name is derived.
    Tenant,
    /// A bucket, with all that is in it.
    Bucket,
}

impl TombstoneKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Volume, Self::Tenant, Self::Bucket];

    /// The kind's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Tenant => "tenant",
            Self::Bucket => "bucket",
        }
    }
}

/// Why a volume is no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Its tenant was deleted.
    Deleted,
    /// The manifest no longer asks for its machine.
    Unwanted,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 2] = [Self::Deleted, Self::Unwanted];

    /// The cause's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Unwanted => "unwanted",
        }
    }
}

/// How far a tombstone has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TombstoneState {
    /// What it stands over is there and can be taken back.
    Standing,
    /// The deletion has been decided and may be under way: too late to take back.
    Acting,
    /// What it stood over is gone.
    Ended,
}

impl TombstoneState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Standing, Self::Acting, Self::Ended];

    /// The state's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Standing => "standing",
            Self::Acting => "acting",
            Self::Ended => "ended",
        }
    }
}

/// What a plan wants written of tombstones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TombstoneChanges {
    /// New ones, and others as they are now.
    pub written: Vec<Tombstone>,
    /// Those that no longer stand: what they named is wanted again, or kept.
    pub cleared: Vec<Cleared>,
    /// When the next sighting counts, if something waits for one.
    pub look_again_at: Option<UnixMillis>,
}

/// A tombstone that no longer stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Cleared {
    /// As it was.
    pub tombstone: Tombstone,
    /// Why, as a sentence.
    pub why: String,
}

/// What a sighting did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sighted {
    /// It is too soon to count.
    TooSoon,
    /// It counted; the tombstone changed.
    Counted,
    /// The chain was broken and begins with this one.
    BeganAnew,
}

impl Tombstone {
    /// Whether it names something that has not been deleted, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state != TombstoneState::Ended
    }

    /// When it will have matured if nothing breaks the chain of sightings.
    #[must_use]
    pub fn matures_at(&self, policy: &Policy) -> UnixMillis {
        let missing = i64::from(SIGHTINGS.saturating_sub(self.sightings));
        let seen = self.seen_at.unwrap_or(self.made_at);
        self.due_at.max(seen.plus_ms(missing.saturating_mul(step_ms(policy))))
    }

    /// Notes that a pass saw at `now`, in whole lists, what it stands over at rest.
    pub(crate) fn sight(&mut self, policy: &Policy, now: UnixMillis) -> Sighted {
        let (step, gap) = (step_ms(policy), gap_ms(policy));
        let began = self.seen_at.filter(|_| self.sightings > 0);
        match began {
            // A clock that was set back a little is waited for; one that was set back far is not.
            Some(seen) if now.since_ms(seen) <= gap && seen.since_ms(now) <= step => {
                if now.since_ms(seen) < step {
                    return Sighted::TooSoon;
                }
                self.sightings = self.sightings.saturating_add(1).min(SIGHTINGS);
                self.seen_at = Some(now);
                Sighted::Counted
            }
            _ => {
                self.sightings = 1;
                self.seen_at = Some(now);
                self.due_at = now.plus_ms(policy.deletion_grace_ms);
                Sighted::BeganAnew
            }
        }
    }

    /// Breaks the chain: whatever holds it back, the whole grace follows. Whether that changed it.
    pub(crate) fn unsight(&mut self) -> bool {
        let changed = self.sightings > 0;
        self.sightings = 0;
        self.seen_at = None;
        changed
    }

    /// Whether the grace is over and the chain is whole.
    #[must_use]
    pub(crate) fn has_matured(&self, now: UnixMillis) -> bool {
        self.sightings >= SIGHTINGS && now >= self.due_at
    }

    /// When, after `now`, a pass has something to say of it. What is held back although it has
    /// matured is looked at as often as everything else.
    pub(crate) fn next_look(&self, policy: &Policy, now: UnixMillis) -> Option<UnixMillis> {
        let next = self.seen_at.unwrap_or(self.made_at).plus_ms(step_ms(policy));
        let due = (self.sightings >= SIGHTINGS).then_some(self.due_at);
        due.into_iter().chain([next]).filter(|at| *at > now).min()
    }

    /// The same, ended at `now`.
    pub(crate) fn ended(mut self, outcome: &str, now: UnixMillis) -> Self {
        self.state = TombstoneState::Ended;
        self.ended_at = Some(now);
        self.outcome = Some(outcome.to_owned());
        self
    }
}

/// How far apart sightings must be to count.
fn step_ms(policy: &Policy) -> i64 {
    (policy.deletion_grace_ms / i64::from(SIGHTINGS)).max(1)
}

/// How far apart they may be.
fn gap_ms(policy: &Policy) -> i64 {
    (policy.deletion_grace_ms / 2).max(GAP_MS_MIN)
}

#[cfg(test)]
mod tests;
