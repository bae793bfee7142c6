//! The keys of issuers, as last read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::Mutex as AsyncMutex;

use super::{Issuer, KeysError, SigningKeys, fetch::fetch};

/// How long keys are used before they are read again, in seconds: a key that the issuer has given
/// up is not believed for longer.
pub const KEYS_FRESH_SECONDS: u64 = 3600;

/// How long an issuer is left alone after it was read, when a token names a key that it does not
/// have, in seconds. Anyone can write such a token, before we know who they are.
pub const SECONDS_BETWEEN_LOOKS_FOR_UNKNOWN_KEYS: u64 = 60;

/// How many issuers are remembered: one per organization, and few controllers have more than a
/// handful. When there are more, all are forgotten and read anew.
pub const ISSUERS_MAX: usize = 1024;

/// The public keys of issuers. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct IssuerKeys {
    issuers: Arc<Mutex<HashMap<String, Arc<AsyncMutex<Known>>>>>,
}

/// What is known of one issuer. Locked while it is asked, so that it is asked once.
#[derive(Debug, Default)]
struct Known {
    keys: Option<Arc<SigningKeys>>,
    /// When `keys` were read, in Unix seconds.
    read_at: i64,
    /// When the issuer was last asked, with or without success, in Unix seconds.
    asked_at: Option<i64>,
}

impl IssuerKeys {
    /// Knows nothing yet: issuers are asked when their keys are needed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins with the keys that someone trusted has read a moment before `now` (Unix seconds): the
    /// controller, for one. The issuer is asked only if a token names a key that is not among them.
    ///
    /// # Errors
    /// [`KeysError::Issuer`] or [`KeysError::Set`].
    pub fn seeded(issuer: &str, document: &Value, now: i64) -> Result<Self, KeysError> {
        let issuer = Issuer::read(issuer).map_err(KeysError::Issuer)?;
        let keys = SigningKeys::read(document)
            .map_err(|source| KeysError::Set { issuer: issuer.text().to_owned(), source })?;
        let known = Known { keys: Some(Arc::new(keys)), read_at: now, asked_at: None };
        let issuers = HashMap::from([(issuer.text().to_owned(), Arc::new(AsyncMutex::new(known)))]);
        Ok(Self { issuers: Arc::new(Mutex::new(issuers)) })
    }

    /// The JWK set of an issuer, to hand on to clients; read from it if it is not known, or older
    /// than [`KEYS_FRESH_SECONDS`] at `now` (Unix seconds).
    ///
    /// # Errors
    /// [`KeysError`], see there.
    pub async fn current(&self, issuer: &str, now: i64) -> Result<Value, KeysError> {
        let issuer = Issuer::read(issuer).map_err(KeysError::Issuer)?;
        self.keys(&issuer, now).await.map(|keys| keys.document().clone())
    }

    /// The keys of an issuer, read if need be.
    pub(crate) async fn keys(
        &self,
        issuer: &Issuer,
        now: i64,
    ) -> Result<Arc<SigningKeys>, KeysError> {
        let known = self.known(issuer);
        let mut known = known.lock().await;
        match &known.keys {
            Some(keys) if now.abs_diff(known.read_at) < KEYS_FRESH_SECONDS => Ok(keys.clone()),
            _ => known.ask(issuer, now).await,
        }
    }

    /// Keys newer than `seen`, in which a token's key was not found; `None` if there are none, and
    /// the issuer is not to be asked again yet.
    pub(crate) async fn newer(
        &self,
        issuer: &Issuer,
        seen: &Arc<SigningKeys>,
        now: i64,
    ) -> Result<Option<Arc<SigningKeys>>, KeysError> {
        let known = self.known(issuer);
        let mut known = known.lock().await;
        if let Some(keys) = known.keys.as_ref().filter(|keys| !Arc::ptr_eq(keys, seen)) {
            return Ok(Some(keys.clone()));
        }
        let gap = SECONDS_BETWEEN_LOOKS_FOR_UNKNOWN_KEYS;
        if known.asked_at.is_some_and(|asked_at| now.abs_diff(asked_at) < gap) {
            return Ok(None);
        }
        known.ask(issuer, now).await.map(Some)
    }

    fn known(&self, issuer: &Issuer) -> Arc<AsyncMutex<Known>> {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        if issuers.len() >= ISSUERS_MAX && !issuers.contains_key(issuer.text()) {
            issuers.clear();
        }
        issuers.entry(issuer.text().to_owned()).or_default().clone()
    }
}

impl Known {
    async fn ask(&mut self, issuer: &Issuer, now: i64) -> Result<Arc<SigningKeys>, KeysError> {
        self.asked_at = Some(now);
        let keys = Arc::new(fetch(issuer).await?);
        tracing::debug!(issuer = issuer.text(), ?keys, "the issuer's keys were read");
        self.keys = Some(keys.clone());
        self.read_at = now;
        Ok(keys)
    }
}
