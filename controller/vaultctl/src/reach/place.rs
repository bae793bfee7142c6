//! Where a machine is, what it has to prove and what proves us to it: as a controller answers, or as a
//! profile has it.

use std::net::SocketAddr;

use vault_api::connect::{ConnectStatus, SCHEME_HMAC_SHA256};
use vault_client::protocol::key::ProofKey;
use vault_client::{ExpectedIdentity, IssuerKeys, Target};

use super::now;
use crate::error::{Exit, Failure};
use crate::profile::Profile;

/// One machine, ready to be connected to.
pub(super) struct Place {
    pub(super) target: Target,
    pub(super) keys: IssuerKeys,
    pub(super) proof: ProofKey,
    /// The machine and its address, for people.
    pub(super) shown: String,
    /// What it means that nobody answers there.
    pub(super) silence: String,
    /// What a person can do about that.
    pub(super) hint: Option<String>,
}

impl Place {
    /// As the controller says.
    ///
    /// # Errors
    /// The answer is not understood.
    pub(super) fn of_controller(place: &ConnectStatus) -> Result<Self, Failure> {
        let odd = |what: &str| {
            let message = format!("the controller's answer is not understood: {what}");
            Failure::new(Exit::Platform, message)
                .hint("is the controller newer than this vaultctl?")
        };
        let address: SocketAddr =
            place.address.parse().map_err(|_| odd("the machine's address"))?;
        if place.credential.scheme != SCHEME_HMAC_SHA256 {
            return Err(odd("the kind of credential"));
        }
        let proof = ProofKey::read(&place.credential.key).map_err(|_| odd("the credential"))?;
        let evidence = &place.evidence;
        let keys = match &evidence.keys {
            Some(set) => IssuerKeys::seeded(&evidence.issuer, set, now())
                .map_err(|_| odd("the issuer's keys"))?,
            None => IssuerKeys::new(),
        };
        let identity = ExpectedIdentity {
            issuer: evidence.issuer.clone(),
            org_name: evidence.org_name.clone(),
            org_id: evidence.org_id.clone(),
            app_name: evidence.app_name.clone(),
            app_id: evidence.app_id.clone(),
            machine_id: evidence.machine_id.clone(),
            machine_versions: evidence.machine_versions.clone(),
            image_digests: evidence.image_digests.clone(),
        };
        let ConnectStatus { machine, state, address: shown, .. } = place;
        Ok(Self {
            target: Target { address, identity },
            keys,
            proof,
            shown: format!("{machine} at {shown}"),
            silence: format!("{machine} is {state}, but no agent answers at {shown}"),
            hint: (!place.runs_agent).then(|| {
                "the manifest does not look as if the agent ran there: it does in an image whose \
                 repository ends in `agent`, without a command of its own"
                    .to_owned()
            }),
        })
    }

    /// As a profile has it; `None` if its token is none, which reading it has ruled out.
    pub(super) fn of_profile(profile: &Profile) -> Option<Self> {
        let Profile { address, machine_id, .. } = profile;
        Some(Self {
            target: profile.target(),
            keys: IssuerKeys::new(),
            proof: profile.proof()?,
            shown: format!("machine {machine_id} at {address}"),
            silence: format!("no agent answers at {address}"),
            hint: None,
        })
    }
}
