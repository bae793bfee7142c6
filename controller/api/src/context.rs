//! The context file: where a controller listens, how to trust it, and the token to show it.
//!
//! The controller writes it as `DIR/config.yaml`; `vaultctl` reads it from `VAULTCTL_CONFIG`,
//! `./.vaultctl/config.yaml` or `~/.config/vaultctl/config.yaml`.

use serde::{Deserialize, Serialize};

/// The file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContextFile {
    /// Always `vaultctl.dev/v1`.
    pub api_version: String,
    /// Always `Config`.
    pub kind: String,
    /// The name of the context to use.
    pub current_context: String,
    /// The known controllers.
    pub contexts: Vec<Context>,
}

/// One controller.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Context {
    /// A name for people.
    pub name: String,
    /// `https://HOST:PORT`; `http://` only where the controller runs with `--tls off`.
    pub server: String,
    /// The certificate that signs the server's, as PEM text; the system's trust store if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
    /// The operator token, sent as `Authorization: Bearer …`.
    pub token: String,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Context")
            .field("name", &self.name)
            .field("server", &self.server)
            .field("token", &"[redacted]")
            .finish_non_exhaustive()
    }
}
