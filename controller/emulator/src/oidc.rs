//! The issuer of machines' identity tokens, one for each organization.
//!
//! ```text
//!  machine ──POST /v1/tokens/oidc──▶ its own socket ──identity of this run──▶ Issuer ──▶ RS256 token
//!  verifier ─▶ <issuer>/.well-known/openid-configuration ─▶ …/jwks ─────────▶ Issuer ──▶ public key
//! ```
//!
//! All organizations share one key, as their issuers differ by URL alone; a verifier pins the URL.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::sync::OnceCell;
use ulid::Ulid;

mod claims;
mod key;

use self::claims::Claims;
pub(crate) use self::claims::{AUDIENCE_BYTES_MAX, Wish};
use self::key::{KeyError, SigningKey};
use crate::world::Identity;

/// Why there is no token or no key.
#[derive(Debug, Error)]
pub(crate) enum IssueError {
    /// The key cannot be had.
    #[error("having the issuer's key")]
    Key(#[source] KeyError),
    /// The task that makes the key, or a signature, ended early.
    #[error("waiting for the issuer's work")]
    Task(#[source] tokio::task::JoinError),
    /// No randomness for the token's id.
    #[error("drawing the token's id")]
    Random(#[source] getrandom::Error),
    /// The signature was not made.
    #[error("signing the token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// Issues tokens for the machines of all organizations.
pub(crate) struct Issuer {
    /// The emulator's own URL, without a slash at the end.
    base: String,
    orgs: BTreeSet<String>,
    /// Where the key lies.
    directory: PathBuf,
    key: OnceCell<Arc<SigningKey>>,
}

impl Issuer {
    /// An issuer for these organizations. Nothing is read or made before it is needed.
    pub(crate) fn new(base: String, orgs: BTreeSet<String>, directory: PathBuf) -> Self {
        Self { base, orgs, directory, key: OnceCell::new() }
    }

    /// The issuer's URL for an organization, if there is one.
    pub(crate) fn of(&self, org: &str) -> Option<String> {
        self.orgs.contains(org).then(|| self.url(org))
    }

    /// What a verifier begins with.
    pub(crate) fn discovery(issuer: &str) -> Value {
        json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}/.well-known/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
            "claims_supported": claims::NAMES,
        })
    }

    /// The public key, as a set of one.
    ///
    /// # Errors
    /// [`IssueError::Key`], [`IssueError::Task`].
    pub(crate) async fn key_set(&self) -> Result<Value, IssueError> {
        Ok(json!({ "keys": [self.key().await?.public()] }))
    }

    /// Reads or makes the key, unless that has been done: it takes a processor for about a second,
    /// so it happens on a thread where nobody waits for anything else.
    ///
    /// # Errors
    /// [`IssueError::Key`], [`IssueError::Task`].
    pub(crate) async fn key(&self) -> Result<Arc<SigningKey>, IssueError> {
        let open = || async {
            let directory = self.directory.clone();
            let prepared = tokio::task::spawn_blocking(move || key::prepare(&directory)).await;
            let prepared = prepared.map_err(IssueError::Task)?.map_err(IssueError::Key)?;
            // Not on that thread: it may come to its end after the emulator has.
            let key = prepared.keep(&self.directory).map_err(IssueError::Key)?;
            Ok(Arc::new(key))
        };
        self.key.get_or_try_init(open).await.cloned()
    }

    /// A token that says who the machine is, for 600 seconds from `now`.
    ///
    /// # Errors
    /// See [`IssueError`].
    pub(crate) async fn token(
        &self,
        identity: &Identity,
        wish: Wish,
        now: Timestamp,
    ) -> Result<String, IssueError> {
        let key = self.key().await?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(IssueError::Random)?;
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let id = Ulid::from_parts(milliseconds, u128::from_be_bytes(random));
        let (issuer, identity) = (self.url(&identity.org), identity.clone());
        // A signature takes a processor for milliseconds, and machines may ask for many.
        let signed = tokio::task::spawn_blocking(move || {
            key.sign(&Claims::new(issuer, &identity, wish, now, id))
        });
        signed.await.map_err(IssueError::Task)?.map_err(IssueError::Sign)
    }

    fn url(&self, org: &str) -> String {
        format!("{}/oidc/{org}", self.base)
    }
}
