//! What was done for a tenant, call by call: the `trace` subresource.
//!
//! ```text
//!   intent ─▶ call ─▶ answer ─▶ outcome
//! ```
//!
//! It shows the journal. A call is named by its method and its path template, never by its body,
//! so there is nothing secret in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::API_VERSION;

/// The kind of the document.
pub const KIND: &str = "TenantTrace";
/// The most intents of one answer: two a second for a quarter of an hour, some 300 kB.
pub const INTENTS_MAX: u32 = 2_000;
/// How many intents are told if nobody says how many.
pub const INTENTS_USUAL: u32 = 100;

/// The last intents of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantTrace {
    /// Always `vaultctl.dev/v1`.
    pub api_version: String,
    /// Always `TenantTrace`.
    pub kind: String,
    /// The tenant's name.
    pub tenant: String,
    /// The intents, the newest last.
    pub intents: Vec<TracedIntent>,
}

impl TenantTrace {
    /// The trace of a tenant.
    #[must_use]
    pub fn new(tenant: String, intents: Vec<TracedIntent>) -> Self {
        Self { api_version: API_VERSION.to_owned(), kind: KIND.to_owned(), tenant, intents }
    }
}

/// One outward write: journaled before it is sent, and kept until its effect was seen and for a
/// while after that. Instants are RFC 3339 with milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracedIntent {
    /// Its name, a ULID; machines carry it as `vault_intent`.
    pub id: String,
    /// `CreateApp`, `CreateMachine`, …: as in the tenant's plan.
    pub action: String,
    /// The name of the resource at Fly.
    pub target: String,
    /// The resource's id at Fly, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_id: Option<String>,
    /// The app that it happens in.
    pub app: String,
    /// The hash of the config that it writes, if it writes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_hash: Option<String>,
    /// `planned`, `sent`, `acked`, `verified` or `aborted`.
    pub state: String,
    /// When it was journaled.
    pub planned_at: String,
    /// When its call was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<String>,
    /// When it was known what Fly answered, or that it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<String>,
    /// When its effect was seen, or it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<String>,
    /// What came of it, in one sentence, unless it simply worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The calls, in their order; empty while the first one is under way, and for good if the
    /// controller ended meanwhile.
    #[serde(default)]
    pub calls: Vec<TracedCall>,
}

impl TracedIntent {
    /// Whether its effect is still to be seen.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state.as_str(), "verified" | "aborted")
    }
}

/// One attempt at a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracedCall {
    /// The HTTP method.
    pub method: String,
    /// The path template, such as `/v1/apps/{app}/machines`.
    pub path: String,
    /// From 1, among the intent's calls to this method and path.
    pub attempt: u32,
    /// The status of the answer; absent if none came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it did not succeed, in one word: `refused`, `connect`, `queue`, `arguments`, `status`,
    /// `timeout`, `broken`, `tooLong`, `undecodable` or `pages`; absent if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Fly's name for the request, to quote to its support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fly_request_id: Option<String>,
    /// When it was sent.
    pub sent_at: String,
    /// How long its answer took, in milliseconds.
    pub took_ms: i64,
}
