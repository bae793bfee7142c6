//! Whether a caller is let in: one small interface, because other kinds of proof follow.

use thiserror::Error;
use vault_protocol::binding::Exporter;
use vault_protocol::key::{ProofKey, TenantSecret};
use vault_protocol::message::{Proof, scheme};

use crate::secret::SecretError;

/// Decides about proofs.
pub trait Access: Send + Sync + 'static {
    /// Whether proofs can be checked at all; the error says why not.
    ///
    /// # Errors
    /// What they are checked with is not there.
    fn ready(&self) -> Result<(), SecretError>;

    /// What `proof` opens on the connection with this exporter.
    ///
    /// # Errors
    /// Nothing.
    fn check(&self, exporter: &Exporter, proof: &Proof) -> Result<Grant, Denial>;
}

/// What a proven caller may do. There is one kind so far, which may do all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The tenant's own operator.
    Full,
}

/// Why a proof opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Denial {
    /// It is wrong. In what, nobody learns.
    #[error("the proof was refused")]
    Wrong,
    /// It was not looked at.
    #[error("the agent cannot check proofs")]
    NotReady(#[source] SecretError),
}

/// Proofs by an HMAC under a key that is derived from the tenant's secret.
pub struct HmacAccess {
    key: Result<ProofKey, SecretError>,
}

impl HmacAccess {
    /// Proofs for the machine of this id. The secret itself is dropped.
    #[must_use]
    pub fn new(secret: Result<TenantSecret, SecretError>, machine_id: &str) -> Self {
        Self { key: secret.map(|secret| secret.proof_key(machine_id)) }
    }
}

impl Access for HmacAccess {
    fn ready(&self) -> Result<(), SecretError> {
        self.key.as_ref().map(|_| ()).map_err(|error| *error)
    }

    fn check(&self, exporter: &Exporter, proof: &Proof) -> Result<Grant, Denial> {
        let key = self.key.as_ref().map_err(|error| Denial::NotReady(*error))?;
        // Both are looked at whatever the first one says, so that the answer takes the same time.
        let is_right = key.accepts(exporter, &proof.value);
        let is_ours = proof.scheme == scheme::HMAC_SHA256;
        if is_right & is_ours { Ok(Grant::Full) } else { Err(Denial::Wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORTER: Exporter = [9; 32];

    fn proof(scheme: u8, value: &[u8]) -> Proof {
        Proof { scheme, value: value.to_vec().into() }
    }

    #[test]
    fn only_the_right_proof_opens() {
        let secret = TenantSecret::new([7; 32]);
        let right = secret.proof_key("machine").prove(&EXPORTER);
        let access = HmacAccess::new(Ok(secret), "machine");
        assert_eq!(access.ready(), Ok(()));
        assert_eq!(access.check(&EXPORTER, &proof(1, &right)), Ok(Grant::Full));
        for wrong in [
            proof(1, &[0; 32]),
            proof(1, &right[..31]),
            proof(1, &[]),
            proof(1, &[right.as_slice(), &[0]].concat()),
            proof(0, &right),
            proof(2, &right),
        ] {
            assert_eq!(access.check(&EXPORTER, &wrong), Err(Denial::Wrong));
        }
        assert_eq!(access.check(&[8; 32], &proof(1, &right)), Err(Denial::Wrong));
    }

    #[test]
    fn without_a_secret_nothing_opens() {
        let access = HmacAccess::new(Err(SecretError::Missing), "machine");
        assert_eq!(access.ready(), Err(SecretError::Missing));
        let denial = access.check(&EXPORTER, &proof(1, &[0; 32]));
        assert_eq!(denial, Err(Denial::NotReady(SecretError::Missing)));
    }
}
