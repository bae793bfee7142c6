//! From a tenant's name to a connection with the agent inside its machine.
//!
//! ```text
//!   TENANT[/GROUP-INDEX] ──▶ the controller: address, expected evidence, credential
//!                                  │ again and again, until --connect-timeout:
//!                                  ▼ a machine may be starting, or just have been restarted
//!                            the agent: QUIC, evidence checked, proof sent ──▶ Connection
//! ```
//!
//! Nothing has run in the machine before there is a connection, so all of this may be repeated.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::timeout;
use vault_api::connect::{ConnectStatus, SCHEME_HMAC_SHA256};
use vault_client::protocol::key::ProofKey;
use vault_client::{
    Client as AgentClient, ConnectError, Connection, ExpectedIdentity, IssuerKeys, Target,
};

use crate::client::{Client, ClientError};
use crate::error::{Exit, Failure};
use crate::output::Progress;
use crate::poll::{Deadline, Pauses};

/// How long the last word to the agent may take: it is a courtesy.
pub(crate) const FAREWELL: Duration = Duration::from_millis(200);

/// How long the first try may take before the controller is asked again where the machine is: more
/// than a cold connection across an ocean with a token fetched on the way. It doubles with each try.
const FIRST_TRY: Duration = Duration::from_secs(2);
/// The least that a try may take: even `--connect-timeout 0` tries once.
const SHORTEST_TRY: Duration = Duration::from_secs(1);

/// Whose machine, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MachineName {
    /// The tenant's name.
    pub(crate) tenant: String,
    /// `GROUP-INDEX`, unless the tenant has one machine.
    pub(crate) machine: Option<String>,
}

impl FromStr for MachineName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tenant, machine) = match text.split_once('/') {
            Some((tenant, machine)) => (tenant, Some(machine)),
            None => (text, None),
        };
        let is_name = |name: &str| !name.is_empty() && !name.contains('/');
        if !is_name(tenant) || !machine.is_none_or(is_name) {
            return Err("write TENANT, or TENANT/GROUP-INDEX such as acme/box-0".to_owned());
        }
        Ok(Self { tenant: tenant.to_owned(), machine: machine.map(str::to_owned) })
    }
}

impl std::fmt::Display for MachineName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.machine {
            Some(machine) => write!(formatter, "{}/{machine}", self.tenant),
            None => formatter.write_str(&self.tenant),
        }
    }
}

/// Why one try did not end in a connection.
enum Missed {
    /// It may do so soon.
    NotYet { reason: String, hint: Option<String> },
    /// It will not.
    Never(anyhow::Error),
}

/// Tries until there is a connection, the time is up, or there is no point in going on.
///
/// # Errors
/// The last reason, or the one that trying again will not mend.
pub(crate) async fn connection(
    controller: &Client,
    agents: &AgentClient,
    name: &MachineName,
    deadline: Deadline,
    progress: &Progress,
) -> anyhow::Result<Connection> {
    let mut pauses = Pauses::new();
    let mut patience = FIRST_TRY;
    loop {
        let limit = patience.min(deadline.left()).max(SHORTEST_TRY);
        let (reason, hint) = match attempt(controller, agents, name, limit).await {
            Ok(connection) => return Ok(connection),
            Err(Missed::Never(error)) => return Err(error),
            Err(Missed::NotYet { reason, hint }) => (reason, hint),
        };
        progress.say(format!("{name}: {reason}"));
        patience = patience.saturating_mul(2);
        if !pauses.pause(deadline).await {
            let failure = Failure::new(Exit::Timeout, format!("cannot reach {name}: {reason}"));
            return Err(match hint {
                Some(hint) => failure.hint(hint),
                None => failure.hint("--connect-timeout sets how long to try"),
            }
            .into());
        }
    }
}

async fn attempt(
    controller: &Client,
    agents: &AgentClient,
    name: &MachineName,
    patience: Duration,
) -> Result<Connection, Missed> {
    let place = controller.connect(&name.tenant, name.machine.as_deref()).await;
    let place = place.map_err(|error| match &error {
        // 503: the machine is not there yet, or not started. The controller says which.
        ClientError::Refused(status) if status.code == 503 => {
            Missed::NotYet { reason: error.to_string(), hint: None }
        }
        // 422: it has several machines, or none of this name. The controller lists them.
        ClientError::Refused(status) if status.code == 422 => {
            let failure = Failure::new(Exit::BadInput, error.to_string());
            Missed::Never(failure.hint(format!("write {}/GROUP-INDEX", name.tenant)).into())
        }
        _ => Missed::Never(error.into()),
    })?;
    let (target, keys, proof) = understood(&place).map_err(|error| Missed::Never(error.into()))?;
    let connecting = async {
        let attested = agents.connect(&target, &keys, now).await?;
        attested.prove(&proof).await
    };
    match timeout(patience, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if error.is_retryable() => {
            let reason = format!("{:#}", anyhow::Error::from(error));
            Err(Missed::NotYet { reason, hint: hint(&place) })
        }
        Ok(Err(error)) => Err(Missed::Never(refused(&place, error))),
        Err(_) => {
            let reason = format!(
                "{} is {}, but no agent answers at {}",
                place.machine, place.state, place.address
            );
            Err(Missed::NotYet { reason, hint: hint(&place) })
        }
    }
}

/// What a person can do about an agent that does not answer.
fn hint(place: &ConnectStatus) -> Option<String> {
    (!place.runs_agent).then(|| {
        "the manifest does not look as if the agent ran there: it does in an image whose \
         repository ends in `agent`, without a command of its own"
            .to_owned()
    })
}

fn refused(place: &ConnectStatus, error: ConnectError) -> anyhow::Error {
    anyhow::Error::from(error).context(format!("{} at {}", place.machine, place.address))
}

/// The controller's answer in the words of the agent's client.
fn understood(place: &ConnectStatus) -> Result<(Target, IssuerKeys, ProofKey), Failure> {
    let odd = |what: &str| {
        Failure::new(Exit::Platform, format!("the controller's answer is not understood: {what}"))
            .hint("is the controller newer than this vaultctl?")
    };
    let address: SocketAddr = place.address.parse().map_err(|_| odd("the machine's address"))?;
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
    Ok((Target { address, identity }, keys, proof))
}

/// Unix seconds.
fn now() -> i64 {
    crate::clock::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_by_tenant_group_and_index() {
        let name: MachineName = "acme".parse().expect("a name");
        assert_eq!((name.tenant.as_str(), name.machine.as_deref()), ("acme", None));
        let name: MachineName = "acme/box-0".parse().expect("a name");
        assert_eq!((name.tenant.as_str(), name.machine.as_deref()), ("acme", Some("box-0")));
        assert_eq!(name.to_string(), "acme/box-0");
        for bad in ["", "/", "acme/", "/box-0", "acme/box-0/x"] {
            bad.parse::<MachineName>().expect_err(bad);
        }
    }
}
