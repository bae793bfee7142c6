//! The kinds of action by their names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds of action, as they stand in the journal, in plans and in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ActionKind {
    /// [`super::Action::CreateApp`]
    CreateApp,
    /// [`super::Action::SetSecret`]
    SetSecret,
    /// [`super::Action::RemoveSecret`]
    RemoveSecret,
    /// [`super::Action::CreateVolume`]
    CreateVolume,
    /// [`super::Action::ExtendVolume`]
    ExtendVolume,
    /// [`super::Action::SnapshotVolume`]
    SnapshotVolume,
    /// [`super::Action::CreateMachine`]
    CreateMachine,
    /// [`super::Action::UpdateMachine`]
    UpdateMachine,
    /// [`super::Action::StartMachine`]
    StartMachine,
    /// [`super::Action::StopMachine`]
    StopMachine,
    /// [`super::Action::SuspendMachine`]
    SuspendMachine,
    /// [`super::Action::DeleteMachine`]
    DeleteMachine,
    /// [`super::Action::MintToken`]
    MintToken,
    /// [`super::Action::RevokeToken`]
    RevokeToken,
    /// [`super::Action::DeleteVolume`]
    DeleteVolume,
    /// [`super::Action::DeleteApp`]
    DeleteApp,
    /// [`super::Action::CreateBucket`]
    CreateBucket,
    /// [`super::Action::CreateAccessKey`]
    CreateAccessKey,
    /// [`super::Action::RevokeAccessKey`]
    RevokeAccessKey,
    /// [`super::Action::PutBucketPolicy`]
    PutBucketPolicy,
    /// [`super::Action::RemoveBucketPolicy`]
    RemoveBucketPolicy,
    /// [`super::Action::EmptyBucket`]
    EmptyBucket,
    /// [`super::Action::DeleteBucket`]
    DeleteBucket,
}

impl ActionKind {
    /// All kinds, in the order in which they stand above.
    pub const ALL: [Self; 23] = [
        Self::CreateApp,
        Self::SetSecret,
        Self::RemoveSecret,
        Self::CreateVolume,
        Self::ExtendVolume,
        Self::SnapshotVolume,
        Self::CreateMachine,
        Self::UpdateMachine,
        Self::StartMachine,
        Self::StopMachine,
        Self::SuspendMachine,
        Self::DeleteMachine,
        Self::MintToken,
        Self::RevokeToken,
        Self::DeleteVolume,
        Self::DeleteApp,
        Self::CreateBucket,
        Self::CreateAccessKey,
        Self::RevokeAccessKey,
        Self::PutBucketPolicy,
        Self::RemoveBucketPolicy,
        Self::EmptyBucket,
        Self::DeleteBucket,
    ];

    /// The kind's name: the inverse of [`ActionKind::read`].
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::CreateApp => "CreateApp",
            Self::SetSecret => "SetSecret",
            Self::RemoveSecret => "RemoveSecret",
            Self::CreateVolume => "CreateVolume",
            Self::ExtendVolume => "ExtendVolume",
            Self::SnapshotVolume => "SnapshotVolume",
            Self::CreateMachine => "CreateMachine",
            Self::UpdateMachine => "UpdateMachine",
            Self::StartMachine => "StartMachine",
            Self::StopMachine => "StopMachine",
            Self::SuspendMachine => "SuspendMachine",
            Self::DeleteMachine => "DeleteMachine",
            Self::MintToken => "MintToken",
            Self::RevokeToken => "RevokeToken",
            Self::DeleteVolume => "DeleteVolume",
            Self::DeleteApp => "DeleteApp",
            Self::CreateBucket => "CreateBucket",
            Self::CreateAccessKey => "CreateAccessKey",
            Self::RevokeAccessKey => "RevokeAccessKey",
            Self::PutBucketPolicy => "PutBucketPolicy",
            Self::RemoveBucketPolicy => "RemoveBucketPolicy",
            Self::EmptyBucket => "EmptyBucket",
            Self::DeleteBucket => "DeleteBucket",
        }
    }

    /// Reads a kind's name.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// What was done, for people: `created`, `started`, …
    #[must_use]
    pub fn past_tense(self) -> &'static str {
        match self {
            Self::CreateApp | Self::CreateVolume | Self::CreateMachine => "created",
            Self::SetSecret => "set",
            Self::RemoveSecret => "removed",
            Self::ExtendVolume => "extended",
            Self::SnapshotVolume => "begun",
            Self::UpdateMachine => "updated",
            Self::StartMachine => "started",
            Self::StopMachine => "stopped",
            Self::SuspendMachine => "suspended",
            Self::DeleteMachine | Self::DeleteVolume | Self::DeleteApp => "deleted",
            Self::MintToken => "minted",
            Self::RevokeToken => "revoked",
            Self::CreateBucket | Self::CreateAccessKey => "created",
            Self::RevokeAccessKey => "revoked",
            Self::PutBucketPolicy => "put",
            Self::RemoveBucketPolicy => "removed",
            Self::EmptyBucket => "emptied",
            Self::DeleteBucket => "deleted",
        }
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_back_by_its_name() {
        for kind in ActionKind::ALL {
            assert_eq!(ActionKind::read(kind.word()), Some(kind));
            assert_eq!(kind.to_string(), kind.word());
        }
        assert_eq!(ActionKind::read("createapp"), None);
    }

    #[test]
    fn a_kind_says_in_the_past_tense_what_its_name_commands() {
        for kind in ActionKind::ALL {
            let expected = match kind.word() {
                word if word.starts_with("Create") => "created",
                word if word.starts_with("Delete") => "deleted",
                word if word.starts_with("Remove") => "removed",
                word if word.starts_with("Revoke") => "revoked",
                "SetSecret" => "set",
                "ExtendVolume" => "extended",
                // A snapshot is made over minutes; the call only begins it.
                "SnapshotVolume" => "begun",
                "UpdateMachine" => "updated",
                "StartMachine" => "started",
                "StopMachine" => "stopped",
                "SuspendMachine" => "suspended",
                "MintToken" => "minted",
                "PutBucketPolicy" => "put",
                "EmptyBucket" => "emptied",
                word => panic!("{word} has no past tense here"),
            };
            assert_eq!(kind.past_tense(), expected, "{kind}");
        }
    }
}
