//! The tenant's secret, and the key that proves a caller to one machine.
//!
//! ```text
//!   master key ─HKDF─▶ TenantSecret (controller, and the machines of the tenant: an app secret)
//!                          │ HKDF, with the machine's id
//!                          ▼
//!                       ProofKey (what an operator is given, good for one machine)
//!                          │ HMAC over this connection's exporter
//!                          ▼
//!                       proof (what is sent)
//! ```

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::binding::Exporter;

/// Bytes of a secret, a key or a proof.
pub const KEY_BYTES: usize = 32;

/// Text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not {KEY_BYTES} bytes in base64url without padding (43 characters)")]
pub struct KeyTextError;

/// What a tenant's machines and the controller share.
#[derive(Clone)]
pub struct TenantSecret(Zeroizing<[u8; KEY_BYTES]>);

impl TenantSecret {
    /// A secret of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads the text of the app secret.
    ///
    /// # Errors
    /// It is not 32 bytes in base64url without padding.
    pub fn read(text: &str) -> Result<Self, KeyTextError> {
        read(text).map(Self)
    }

    /// The text of the app secret.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(self.0.as_slice()))
    }

    /// The key that proves a caller to the machine of this id.
    #[must_use]
    pub fn proof_key(&self, machine_id: &str) -> ProofKey {
        ProofKey(self.derive(b"vaultctl proof key v1\0", machine_id))
    }

    /// The key of the stateless resets (RFC 9000 §10.3) of the agent in the machine of this id. The
    /// same after each restart, so that an agent can tell the clients of its earlier life that their
    /// connections are gone; they would learn it from long silence otherwise.
    #[must_use]
    pub fn reset_key(&self, machine_id: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        self.derive(b"vaultctl stateless reset v1\0", machine_id)
    }

    fn derive(&self, purpose: &[u8], machine_id: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        Hkdf::<Sha256>::new(None, self.0.as_slice())
            .expand_multi_info(&[purpose, machine_id.as_bytes()], key.as_mut_slice())
            .expect("32 bytes are within what HKDF yields, 255 digests");
        key
    }
}

/// What proves a caller to one machine.
#[derive(Clone)]
pub struct ProofKey(Zeroizing<[u8; KEY_BYTES]>);

impl ProofKey {
    /// Reads a key's text.
    ///
    /// # Errors
    /// It is not 32 bytes in base64url without padding.
    pub fn read(text: &str) -> Result<Self, KeyTextError> {
        read(text).map(Self)
    }

    /// The key as text.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(self.0.as_slice()))
    }

    /// The proof for one connection.
    #[must_use]
    pub fn prove(&self, exporter: &Exporter) -> [u8; KEY_BYTES] {
        self.mac(exporter).finalize().into_bytes().into()
    }

    /// Whether `proof` is the one for this connection; takes the same time whatever is wrong with
    /// it, its length aside.
    #[must_use]
    pub fn accepts(&self, exporter: &Exporter, proof: &[u8]) -> bool {
        self.mac(exporter).verify_slice(proof).is_ok()
    }

    fn mac(&self, exporter: &Exporter) -> Hmac<Sha256> {
        let mut mac =
            Hmac::new_from_slice(self.0.as_slice()).expect("HMAC takes keys of any length");
        mac.update(b"vaultctl client proof\0");
        mac.update(exporter);
        mac
    }
}

impl fmt::Debug for TenantSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TenantSecret(…)")
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ProofKey(…)")
    }
}

fn read(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyTextError> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| KeyTextError)?;
    bytes.as_slice().try_into().map(Zeroizing::new).map_err(|_| KeyTextError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_derived_as_they_always_were() {
        // Controllers, agents and clients of different versions have to agree for ever.
        let key = TenantSecret::new([7; 32]).proof_key("7811d2b4c90e38");
        assert_eq!(key.text().as_str(), "I5c3iseUaXmk5y9AqTA2_leT0hx1D9RdSIJ-10U9Mx8");
        let proof = BASE64URL_NOPAD.encode(&key.prove(&[9; 32]));
        assert_eq!(proof, "D3mRPDqjKy3mqt8VgnVxIxl-L3WgFMf2d-illjbqmYA");
    }

    #[test]
    fn a_proof_is_for_one_secret_one_machine_and_one_connection() {
        let secret = TenantSecret::new([7; 32]);
        let key = secret.proof_key("7811d2b4c90e38");
        let proof = key.prove(&[9; 32]);
        assert!(key.accepts(&[9; 32], &proof));
        assert!(!key.accepts(&[8; 32], &proof));
        assert!(!secret.proof_key("7811d2b4c90e39").accepts(&[9; 32], &proof));
        let other = TenantSecret::new([6; 32]).proof_key("7811d2b4c90e38");
        assert!(!other.accepts(&[9; 32], &proof));
        assert!(!key.accepts(&[9; 32], &proof[..31]));
        assert!(!key.accepts(&[9; 32], &[]));
    }

    #[test]
    fn texts_are_read_back_and_nothing_else_is() {
        let secret = TenantSecret::new([7; 32]);
        let text = secret.text();
        assert_eq!(text.len(), 43);
        assert_eq!(TenantSecret::read(&text).expect("reads").0, secret.0);
        let padded = format!("{}=", text.as_str());
        for bad in
            ["", "BwcH", padded.as_str(), &text[..42], "not base64url at all, but 43 characters ok"]
        {
            assert_eq!(TenantSecret::read(bad).err(), Some(KeyTextError), "{bad}");
            assert_eq!(ProofKey::read(bad).err(), Some(KeyTextError), "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_shown_by_debug() {
        let secret = TenantSecret::new([7; 32]);
        assert_eq!(format!("{secret:?}"), "TenantSecret(…)");
        assert_eq!(format!("{:?}", secret.proof_key("m")), "ProofKey(…)");
    }
}
