//! Machines that are reached without a controller: the profiles of `~/.config/vaultctl/config.toml`.
//!
//! ```text
//!   [vault.acme]              # a profile, by the name that is given on the command line
//!   address = "[fdaa::3]:8443"
//!   org = "acme-org"
//!   app = "acme-vault"
//!   machine_id = "7811d2b4c90e38"
//!   access_token = "…"        # proves us to the machine
//!   versions = ["01J…"]       # what the machine has to prove it is: one of these versions,
//!   digests = ["sha256:…"]    # and one of these images
//!   forward = ["8080"]        # what `vaultctl forward acme` forwards
//!   rootfs = "~/dev.tar.zst"  # what a machine gets that has no root filesystem
//! ```

mod file;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use vault_api::connect::{ConnectStatus, SCHEME_HMAC_SHA256};
use vault_client::protocol::key::ProofKey;
use vault_client::{ExpectedIdentity, Target};

pub(crate) use self::file::{ProfileError, Profiles};

/// Who issues evidence for an organization, if a profile does not say: Fly.io's issuer.
const ISSUER: &str = "https://oidc.fly.io";

/// One machine: where it is, what it has to prove, and what proves us to it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// The agent's UDP address: `ADDRESS:PORT`, IPv6 in brackets.
    pub(crate) address: SocketAddr,
    /// The organization's slug.
    pub(crate) org: String,
    /// The organization's id, if it is known. Names can be taken again, ids cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) org_id: Option<String>,
    /// The app's name.
    pub(crate) app: String,
    /// The app's id, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) app_id: Option<String>,
    /// 14 hexadecimal digits.
    pub(crate) machine_id: String,
    /// 32 bytes, base64url without padding: a key for this one machine.
    pub(crate) access_token: String,
    /// The issuer's URL; Fly.io's for the organization, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
    /// The versions that the machine may have; none means any, if `digests` says something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) versions: Vec<String>,
    /// The digests that its image may have; none means any, if `versions` says something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) digests: Vec<String>,
    /// What `vaultctl forward` forwards if it is not told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) forward: Vec<String>,
    /// The archive of the root filesystem that the machine gets if it has none; `~/` is the home folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rootfs: Option<PathBuf>,
    /// Who is asked when the machine is not found, or not believed, by the above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) controller: Option<Origin>,
}

/// Where a profile came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    /// The name of the controller's context.
    pub(crate) context: String,
    /// `TENANT[/GROUP-INDEX]` there.
    pub(crate) tenant: String,
}

/// What a machine is to be known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pin {
    /// The version of its config: any update makes the profile useless until it is refreshed
    Version,
    /// The digest of its image: updates that keep the image are let through
    Image,
}

impl Profile {
    /// What a controller answered, as a profile; `None` if it is not understood, or says nothing to
    /// pin.
    pub(crate) fn new(place: &ConnectStatus, pin: Pin, controller: Origin) -> Option<Self> {
        let evidence = &place.evidence;
        let is_understood = place.credential.scheme == SCHEME_HMAC_SHA256;
        let digests = evidence.image_digests.clone();
        let versions = match pin {
            Pin::Version => evidence.machine_versions.clone(),
            Pin::Image if digests.is_empty() => return None,
            Pin::Image => Vec::new(),
        };
        Some(Self {
            address: place.address.parse().ok().filter(|_| is_understood)?,
            org: evidence.org_name.clone(),
            org_id: evidence.org_id.clone(),
            app: evidence.app_name.clone(),
            app_id: evidence.app_id.clone(),
            machine_id: evidence.machine_id.clone(),
            access_token: place.credential.key.clone(),
            issuer: Some(evidence.issuer.clone()),
            versions,
            digests,
            forward: Vec::new(),
            rootfs: None,
            controller: Some(controller),
        })
    }

    /// The same machine as a controller describes it now. What people chose stays: what is pinned, and
    /// what is forwarded, and what it is provisioned with.
    pub(crate) fn refreshed(&self, place: &ConnectStatus) -> Option<Self> {
        let pin = if self.versions.is_empty() { Pin::Image } else { Pin::Version };
        let fresh = Self::new(place, pin, self.controller.clone()?)?;
        Some(Self { forward: self.forward.clone(), rootfs: self.rootfs.clone(), ..fresh })
    }

    /// Where to connect to, and what to expect there.
    pub(crate) fn target(&self) -> Target {
        let issuer = self.issuer.clone().unwrap_or_else(|| format!("{ISSUER}/{}", self.org));
        let identity = ExpectedIdentity {
            issuer,
            org_name: self.org.clone(),
            org_id: self.org_id.clone(),
            app_name: self.app.clone(),
            app_id: self.app_id.clone(),
            machine_id: self.machine_id.clone(),
            machine_versions: self.versions.clone(),
            image_digests: self.digests.clone(),
        };
        Target { address: self.address, identity }
    }

    /// Where the archive of the root filesystem is.
    pub(crate) fn rootfs(&self) -> Option<PathBuf> {
        let path = self.rootfs.as_ref()?;
        let home = || Some(std::env::home_dir()?.join(path.strip_prefix("~").ok()?));
        Some(home().unwrap_or_else(|| path.clone()))
    }

    /// What proves us to the machine; `None` if the text is none.
    pub(crate) fn proof(&self) -> Option<ProofKey> {
        ProofKey::read(&self.access_token).ok()
    }

    /// What is wrong with it, though it is well-formed.
    fn problem(&self) -> Option<&'static str> {
        if self.versions.is_empty() && self.digests.is_empty() {
            return Some(
                "it has neither versions nor digests: whatever runs there would be believed",
            );
        }
        self.proof().is_none().then_some("its access_token is not 32 bytes in base64url")
    }
}

/// Without the token.
impl fmt::Debug for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Profile")
            .field("address", &self.address)
            .field("machine_id", &self.machine_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
