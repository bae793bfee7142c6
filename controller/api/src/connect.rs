//! Where a tenant's machine is reached, how it proves itself, and what proves the caller: the
//! `connect` subresource of a tenant.
//!
//! Asked for by `POST …/tenants/NAME/connect`, in the manner of Kubernetes' `TokenRequest`: a `spec`
//! goes in, the same object comes back with its `status`. A POST, because the answer holds a
//! credential: it is neither cached nor logged.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The kind of the document.
pub const KIND: &str = "ConnectRequest";

/// A request to connect, and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectRequest {
    /// Always `vaultctl.dev/v1`.
    pub api_version: String,
    /// Always `ConnectRequest`.
    pub kind: String,
    /// What is asked for.
    #[serde(default)]
    pub spec: ConnectSpec,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ConnectStatus>,
}

/// Which machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectSpec {
    /// `GROUP-INDEX`; may be left out if the tenant has one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// Everything that a client needs to reach one machine's agent and to believe it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectStatus {
    /// `TENANT-GROUP-INDEX`.
    pub machine: String,
    /// Fly's state of the machine as last seen: `started`.
    pub state: String,
    /// Whether the machine's image and config look as if the agent ran in it (an image whose
    /// repository ends in `agent`, and no command of its own). A hint for error messages.
    pub runs_agent: bool,
    /// The agent's UDP address: `ADDRESS:PORT`, IPv6 in brackets.
    pub address: String,
    /// What the agent's evidence has to say.
    pub evidence: ExpectedEvidence,
    /// What proves the caller to the agent.
    pub credential: Credential,
}

/// What the agent's OIDC token has to say, claim by claim, and who may have signed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpectedEvidence {
    /// `iss`: the issuer's URL, with the organization.
    pub issuer: String,
    /// `org_name`: the organization's slug.
    pub org_name: String,
    /// `org_id`, if the platform has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_id: Option<String>,
    /// `app_name`.
    pub app_name: String,
    /// `app_id`, if the platform has told it. Names can be taken again, ids cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// `machine_id`: 14 hexadecimal digits.
    pub machine_id: String,
    /// `machine_version`: the `instance_id` of the config that the machine runs; one of these.
    pub machine_versions: Vec<String>,
    /// `image_digest`: `sha256:…`; one of these. None, if the manifest's image names none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_digests: Vec<String>,
    /// The issuer's public keys as the controller last read them, a JWK set (RFC 7517 §5). A client
    /// that finds the signing key missing reads the issuer's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Value>,
}

/// What proves the caller: a key for this one machine, derived from the tenant's secret. The secret
/// itself stays with the controller and the machine.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// How it proves: `hmac-sha256`, over a value that belongs to one TLS connection.
    pub scheme: String,
    /// 32 bytes, base64url without padding.
    pub key: String,
}

/// [`Credential::scheme`] of today.
pub const SCHEME_HMAC_SHA256: &str = "hmac-sha256";

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credential").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_not_shown_by_debug() {
        let credential =
            Credential { scheme: SCHEME_HMAC_SHA256.to_owned(), key: "c2VjcmV0".to_owned() };
        let shown = format!("{credential:?}");
        assert!(shown.contains("hmac-sha256") && !shown.contains("c2VjcmV0"), "{shown}");
    }

    #[test]
    fn a_request_without_a_spec_asks_for_the_only_machine() {
        let text = r#"{"apiVersion":"vaultctl.dev/v1","kind":"ConnectRequest"}"#;
        let request: ConnectRequest = serde_json::from_str(text).expect("reads");
        assert_eq!(request.spec.machine, None);
        serde_json::from_str::<ConnectSpec>(r#"{"machin":"box-0"}"#).expect_err("a typing error");
    }
}
