//! Operator tokens: who may use the controller's API, and for what.
//!
//! Created by `POST …/operatortokens`; the answer alone holds the token, in `status.token`. The
//! controller keeps only its digest.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::object::ObjectMeta;

/// The kind of the document.
pub const KIND: &str = "OperatorToken";
/// The plural resource, as it stands in URLs.
pub const RESOURCE: &str = "operatortokens";
/// What every token begins with, so that a scanner of secrets knows it.
pub const PREFIX: &str = "vop_";

/// A token for the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorToken {
    /// Always `vaultctl.dev/v1`.
    pub api_version: String,
    /// Always `OperatorToken`.
    pub kind: String,
    /// Its name; records of the audit log name it.
    pub metadata: ObjectMeta,
    /// What it may do.
    pub spec: OperatorTokenSpec,
    /// Written by the controller, ignored when sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<OperatorTokenStatus>,
}

/// What a token may do, to which tenants, and how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorTokenSpec {
    /// What it may do.
    pub role: Role,
    /// The tenants that it may see and change, as a label selector such as `tier=pro`; all if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// How long it is good from now on, such as `720h`; becomes `expiresAt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// When it ends: RFC 3339; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// What the controller says of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorTokenStatus {
    /// The token itself: in the answer to its creation, and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When it was used last, to the hour: RFC 3339; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
    /// Whether it has ended.
    #[serde(default)]
    pub expired: bool,
}

/// What a token may do; each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look: get, list, watch, plan, status, metrics, usage.
    Read,
    /// Also create, change and delete tenants, and reach their machines.
    Operate,
    /// Everything: classes, statuses, operator tokens, the audit log.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Admin];

    /// As it stands in documents.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_more_than_the_one_before() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(Role::named(role.word()), Some(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.word());
        }
        assert_eq!(Role::named("root"), None);
    }
}
