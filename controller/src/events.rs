//! What happened, told to people: kept in the store, and passed on to whoever listens.

use serde::{Deserialize, Serialize};
use vault_plan::time::UnixMillis;

/// One thing that happened to a tenant, or to the whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: UnixMillis,
    /// The tenant; empty if it concerns the controller as a whole.
    pub tenant: String,
    /// Whether a person should look at it.
    pub warning: bool,
    /// One CamelCase word for programs.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}

impl Event {
    /// Something that went as it should.
    #[must_use]
    pub fn normal(at: UnixMillis, tenant: &str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            at,
            tenant: tenant.to_owned(),
            warning: false,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// Something that a person should look at.
    #[must_use]
    pub fn warning(at: UnixMillis, tenant: &str, reason: &str, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::normal(at, tenant, reason, message) }
    }
}
