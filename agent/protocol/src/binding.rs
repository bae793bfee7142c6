//! What ties evidence and proof to one connection.
//!
//! Both start from TLS exporters (RFC 8446 §7.5): values that only the two ends of one connection
//! can compute, under labels of our own, so that neither can stand for the other. Whoever relays
//! between two connections has two different ones.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

use crate::ALPN;

/// The exporter's label for the agent's evidence. The context is empty.
pub const EVIDENCE_LABEL: &[u8] = b"EXPORTER-vaultctl-evidence";

/// The exporter's label for the client's proof. The context is empty.
pub const PROOF_LABEL: &[u8] = b"EXPORTER-vaultctl-proof";

/// An exporter's value.
pub type Exporter = [u8; 32];

/// The audience that the agent's token has to have: a digest of the protocol's version, this
/// connection's exporter and the key of the agent's certificate.
///
/// `public_key` is the SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) in DER. The exporter depends on the
/// key already; naming it keeps the binding sound should TLS ever resume a session.
#[must_use]
pub fn audience(exporter: &Exporter, public_key: &[u8]) -> String {
    let mut digest = Sha256::new();
    digest.update(b"vaultctl evidence\0");
    digest.update(ALPN);
    digest.update([0]);
    digest.update(exporter);
    digest.update(Sha256::digest(public_key));
    format!("vaultctl:{}", BASE64URL_NOPAD.encode(&digest.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_belongs_to_one_connection_and_one_key() {
        let one = audience(&[1; 32], b"key");
        // Agents and clients of different versions have to agree on these characters for ever.
        assert_eq!(one, "vaultctl:8_TGVfH7DR1sDkCR0qnKUhKM8wnshZGeC_hWi6KldGE");
        assert_ne!(one, audience(&[2; 32], b"key"));
        assert_ne!(one, audience(&[1; 32], b"other"));
    }
}
