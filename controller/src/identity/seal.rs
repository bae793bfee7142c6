//! Values that cannot be derived, sealed for the store.
//!
//! ```text
//!   master key ──HKDF "vaultctl seal v1"─▶ key
//!   value ──XChaCha20-Poly1305(key, random nonce, bound to: tenant uid, kind, name, n)─▶ 1 | nonce | sealed
//! ```
//!
//! What a value is bound to is not in it: a row that is given another tenant, kind, name or number
//! does not open. Nonces are random, and with 192 bits of them none comes twice.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use thiserror::Error;
use vault_plan::identity::TenantUid;
use zeroize::Zeroizing;

use super::KEY_BYTES;

const PURPOSE: &[u8] = b"vaultctl seal v1";
/// The first byte of what is sealed: which recipe.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

/// Why a value could not be sealed, or what is sealed could not be opened. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// The system has no randomness.
    #[error("there is no randomness to seal it with")]
    NoRandomness,
    /// Too long for the cipher.
    #[error("it is too long to be sealed")]
    TooLong,
    /// It was made by a newer version.
    #[error("it was sealed by another version of vaultctl")]
    Version,
    /// It was sealed under another key, for something else, or was changed.
    #[error("it was sealed under another key or for something else, or was changed since")]
    NotOurs,
}

/// What a sealed value is bound to.
#[derive(Clone, Copy, Debug)]
pub struct SealedFor<'a> {
    /// Whose value it is.
    pub tenant: TenantUid,
    /// What kind of value, such as `deploy-token`.
    pub kind: &'a str,
    /// As the manifest calls it.
    pub name: &'a str,
    /// Its number.
    pub n: u64,
}

/// Seals and opens values. Its key is wiped from memory at the end.
pub struct Sealer {
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl Sealer {
    pub(super) fn new(master_key: &[u8; KEY_BYTES]) -> Self {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        Hkdf::<Sha256>::new(None, master_key)
            .expand(PURPOSE, &mut *key)
            .expect("HKDF-SHA256 yields up to 8160 bytes, and far fewer are asked for");
        Self { key }
    }

    /// Seals a value.
    ///
    /// # Errors
    /// [`SealError`], see there.
    pub fn seal(&self, of: SealedFor<'_>, value: &SecretString) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let bound = bound_to(of);
        let payload = Payload { msg: value.expose_secret().as_bytes(), aad: &bound };
        let sealed =
            self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::TooLong)?;
        Ok([&[VERSION][..], &nonce, &sealed].concat())
    }

    /// Opens what was sealed for the same.
    ///
    /// # Errors
    /// [`SealError`], see there.
    pub fn open(&self, of: SealedFor<'_>, sealed: &[u8]) -> Result<SecretString, SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError::NotOurs)?;
        if *version != VERSION {
            return Err(SealError::Version);
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::NotOurs)?;
        let bound = bound_to(of);
        let payload = Payload { msg: sealed, aad: &bound };
        let value = self.cipher().decrypt(&XNonce::from(*nonce), payload);
        let value = Zeroizing::new(value.map_err(|_| SealError::NotOurs)?);
        let text = std::str::from_utf8(&value).map_err(|_| SealError::NotOurs)?;
        Ok(SecretString::from(text))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.key))
    }
}

/// Each part with its length before it, so that no part can pass for the end of another.
fn bound_to(of: SealedFor<'_>) -> Vec<u8> {
    let n = of.n.to_be_bytes();
    let parts: [&[u8]; 4] = [of.tenant.0.as_bytes(), of.kind.as_bytes(), of.name.as_bytes(), &n];
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sealer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::controller;

    const VALUE: &str = "FlyV1 fm2_secret";

    fn of(tenant: &str) -> SealedFor<'static> {
        let tenant = controller().tenant_uid(tenant);
        SealedFor { tenant, kind: "deploy-token", name: "ci", n: 3 }
    }

    fn sealer() -> Sealer {
        Sealer::new(&[7; KEY_BYTES])
    }

    #[test]
    fn a_value_opens_for_what_it_was_sealed_for() {
        let sealed = sealer().seal(of("acme"), &VALUE.into()).unwrap();
        assert_eq!(sealer().open(of("acme"), &sealed).unwrap().expose_secret(), VALUE);
        assert!(!sealed.windows(4).any(|window| VALUE.as_bytes().starts_with(window)));
        let again = sealer().seal(of("acme"), &VALUE.into()).unwrap();
        assert_ne!(sealed, again, "the nonce is another one each time");
    }

    #[test]
    fn a_row_that_is_moved_does_not_open() {
        let acme = of("acme");
        let sealed = sealer().seal(acme, &VALUE.into()).unwrap();
        let elsewhere = [
            of("bob"),
            SealedFor { kind: "access-key", ..acme },
            SealedFor { name: "ci2", ..acme },
            SealedFor { n: 4, ..acme },
            // The same bytes, cut elsewhere.
            SealedFor { kind: "deploy-tokenc", name: "i", ..acme },
        ];
        for place in elsewhere {
            let opened = sealer().open(place, &sealed);
            assert_eq!(opened.err(), Some(SealError::NotOurs), "{place:?}");
        }
        let other = Sealer::new(&[8; KEY_BYTES]).open(acme, &sealed);
        assert_eq!(other.err(), Some(SealError::NotOurs), "another master key");
    }

    #[test]
    fn what_was_changed_or_cut_does_not_open() {
        let sealed = sealer().seal(of("acme"), &VALUE.into()).unwrap();
        for place in 1..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            let opened = sealer().open(of("acme"), &changed);
            assert_eq!(opened.err(), Some(SealError::NotOurs), "byte {place}");
        }
        for length in 0..sealed.len() {
            let opened = sealer().open(of("acme"), &sealed[..length]);
            assert_eq!(opened.err(), Some(SealError::NotOurs), "{length} bytes");
        }
        let newer = [&[2], &sealed[1..]].concat();
        assert_eq!(sealer().open(of("acme"), &newer).err(), Some(SealError::Version));
    }

    #[test]
    fn errors_and_debug_show_nothing() {
        assert_eq!(format!("{:?}", sealer()), "Sealer { .. }");
    }
}
