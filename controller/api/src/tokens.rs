//! Deploy tokens: what a manifest asks for, what a status says of them, and how one is fetched.
//!
//! The controller mints a token at Fly, keeps it sealed, and mints the next one before it ends. Its
//! value is in no document: `POST …/tenants/TENANT/token` alone answers it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most deploy tokens of one document: one per program that deploys.
pub const TOKENS_MAX: usize = 16;
/// The shortest life of a token, in milliseconds: passes look every few seconds, and whoever fetched
/// a token needs time to use it.
pub const TTL_MS_MIN: u64 = 60_000;
/// The longest life of a token, in milliseconds: 20 years, which is what Fly's own client asks for.
pub const TTL_MS_MAX: u64 = 175_200 * 3_600_000;

/// Tokens that the controller mints for a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokensSpec {
    /// Deploy tokens of the tenant's app, merged into the class's by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = TOKENS_MAX))]
    pub deploy: Vec<DeployTokenEntry>,
}

/// One deploy token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployTokenEntry {
    /// Unique within the tenant: 1 to 63 lower-case letters, digits and dashes. `vaultctl token get`
    /// takes it.
    pub name: String,
    /// How long each token is good, such as `24h`: from 1 minute to 20 years (`175200h`); required
    /// after the merge with the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// How long before its end the next one is minted, such as `6h`; less than `ttl`, and a quarter
    /// of it if absent. The one before stays good for half of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate_before: Option<String>,
}

/// What is known of one deploy token; never its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// As in the manifest.
    pub name: String,
    /// Its number: at Fly the token is called `vault/UID/N`. Absent until there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// When it ends: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// When the next one is minted: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation: Option<String>,
}

/// The body of `POST …/tenants/TENANT/token`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRequest {
    /// The token's name, as in the manifest.
    pub name: String,
}

/// The answer: the only document that holds a token. It is not to be kept on the way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FetchedToken {
    /// The token, for `FLY_API_TOKEN`.
    pub token: String,
    /// Its name, as in the manifest.
    pub name: String,
    /// When it ends: RFC 3339.
    pub expires_at: String,
}

/// Without the token.
impl std::fmt::Debug for FetchedToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FetchedToken")
            .field("name", &self.name)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
