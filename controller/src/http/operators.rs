//! The tokens that the controller knows, at hand for every request.
//!
//! A token is compared with each known one by its digest, in constant time and to the end, so that
//! nothing can be learnt from how long a refusal takes.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use vault_plan::time::UnixMillis;

use super::caller::Caller;
use crate::store::{ApiStore, StoreError, StoredOperator};

/// How coarse the time of a token's last use is kept: a write to the disk at most once an hour per
/// token.
const USE_GRAIN_MS: i64 = 3_600_000;
/// Stands for a token that was never used.
const NEVER: i64 = i64::MIN;

/// The digest of a token: comparing digests in constant time tells nothing about the token, not
/// even its length.
#[derive(Clone)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Digests a token.
    #[must_use]
    pub(super) fn of(token: &SecretString) -> Self {
        Self::of_text(token.expose_secret())
    }

    fn of_text(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// The digest as it is stored.
    #[must_use]
    pub(super) fn bytes(&self) -> [u8; 32] {
        self.0
    }

    fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// What a presented token is.
#[derive(Debug)]
pub(super) enum Found {
    /// A known one. `stale_use` says that its last use is to be written down again.
    Known { caller: Caller, stale_use: bool },
    /// One that has ended.
    Expired,
    /// None of ours.
    Unknown,
}

/// The controller's own token and those that were made.
pub struct Operators {
    own: TokenDigest,
    made: RwLock<Vec<Made>>,
    /// How many requests came without a known token.
    unknown: AtomicU64,
}

struct Made {
    digest: TokenDigest,
    caller: Caller,
    expires_at: Option<UnixMillis>,
    used_at: AtomicI64,
}

impl Operators {
    /// Reads the tokens that the store knows.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn load<S: ApiStore>(own: &SecretString, store: &S) -> Result<Self, StoreError> {
        let own = TokenDigest::of(own);
        let operators = Self { own, made: RwLock::default(), unknown: AtomicU64::new(0) };
        operators.reload(store).await?;
        Ok(operators)
    }

    /// Reads them anew, after one was made. What the bearers of the others share stays.
    pub(super) async fn reload<S: ApiStore>(&self, store: &S) -> Result<(), StoreError> {
        let mut read: Vec<Made> = store.operators().await?.iter().filter_map(made).collect();
        let mut known = self.made.write().unwrap_or_else(PoisonError::into_inner);
        for made in &mut read {
            if let Some(same) = known.iter().find(|known| known.digest.matches(&made.digest)) {
                made.caller = same.caller.clone();
            }
        }
        *known = read;
        Ok(())
    }

    /// Forgets a token that was revoked, and ends what its bearers still watch. It cannot fail: a
    /// token that is gone from the store must not go on here.
    pub(super) fn revoke(&self, name: &str) {
        let mut known = self.made.write().unwrap_or_else(PoisonError::into_inner);
        for made in known.extract_if(.., |made| made.caller.name() == name) {
            if let Some(lease) = made.caller.lease() {
                lease.revoked.cancel();
            }
        }
    }

    /// Who presents this token. Counts those whom nobody knows.
    pub(super) fn find(&self, presented: &str, now: UnixMillis) -> Found {
        let presented = TokenDigest::of_text(presented);
        let is_own = self.own.matches(&presented);
        let mut found = Found::Unknown;
        for made in self.made.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if made.digest.matches(&presented) {
                found = made.found(now);
            }
        }
        if is_own {
            found = Found::Known { caller: Caller::controller(), stale_use: false };
        }
        if !matches!(found, Found::Known { .. }) {
            self.count_unknown();
        }
        found
    }

    /// Counts a request without a known token.
    pub(super) fn count_unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests came without a known token since the start.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }
}

impl Made {
    fn found(&self, now: UnixMillis) -> Found {
        if self.expires_at.is_some_and(|end| end <= now) {
            return Found::Expired;
        }
        let used_at = self.used_at.load(Ordering::Relaxed);
        let stale_use = used_at == NEVER || now.0.saturating_sub(used_at) >= USE_GRAIN_MS;
        if stale_use {
            self.used_at.store(now.0, Ordering::Relaxed);
        }
        Found::Known { caller: self.caller.clone(), stale_use }
    }
}

/// A token whose selector cannot be read is good for nothing: what it may see is not known.
fn made(stored: &StoredOperator) -> Option<Made> {
    let caller = Caller::new(&stored.name, stored.role, stored.selector.as_deref())
        .inspect_err(|error| {
            tracing::error!(token = stored.name, %error, "an operator token is not used");
        })
        .ok()?;
    Some(Made {
        digest: TokenDigest(stored.digest),
        caller: caller.until(stored.expires_at),
        expires_at: stored.expires_at,
        used_at: AtomicI64::new(stored.used_at.map_or(NEVER, |at| at.0)),
    })
}
