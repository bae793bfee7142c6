//! How one machine's agent is reached and believed, from what was last observed: no I/O.
//!
//! ```text
//!   manifest ─▶ which machine, port, image ───┐
//!   status ───▶ state, address, ids, version ─┴─▶ Place, or an Obstacle that says whether to try again
//!                                                   │
//!   master key ─▶ the tenant's secret ──────────────┴─▶ ConnectStatus { address, evidence, credential }
//! ```

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value};
use thiserror::Error;
use vault_api::connect::{ConnectStatus, Credential, ExpectedEvidence, SCHEME_HMAC_SHA256};
use vault_api::status::{MachineStatus, TenantStatus};
use vault_api::tenant::MachineState;
use vault_client::ExpectedIdentity;
use vault_plan::config::ConfigTemplate;
use vault_plan::desired::{DesiredMachine, DesiredTenant};
use vault_plan::observed::PlatformState;
use vault_protocol::DEFAULT_PORT;
use vault_protocol::key::TenantSecret;

use crate::agents::Question;

/// The variable by which a config tells the agent where to listen.
const LISTEN_VARIABLE: &str = "VAULT_LISTEN";
/// The last part of the repository of images that hold the agent.
const AGENT_REPOSITORY: &str = "agent";

/// Why nobody can connect.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Obstacle {
    /// The tenant has several machines, and none was named. Holds the names that can be given.
    #[error("it has several machines; name one of {}", .0.join(", "))]
    Several(Vec<String>),
    /// The tenant has no machine of that name.
    #[error("it has no machine {asked:?}, but {}", listed(known))]
    NoSuchMachine {
        /// What was asked for.
        asked: String,
        /// The names that can be given.
        known: Vec<String>,
    },
    /// Nothing that passes by waiting.
    #[error("{0}")]
    Never(String),
    /// The machine is on its way; try again soon.
    #[error("{0}")]
    NotYet(String),
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "none at all".to_owned() } else { known.join(", ") }
}

/// Where a machine's agent is, and how it is told from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `TENANT-GROUP-INDEX`.
    pub machine: String,
    /// Whether image and config look as if the agent ran there.
    pub runs_agent: bool,
    /// Where the agent listens.
    pub address: SocketAddr,
    /// What its evidence has to say.
    pub identity: ExpectedIdentity,
}

/// What a client needs to connect to a place: the tenant's `secret` becomes a credential for this
/// one machine, and the issuer's `keys` go along if they are known.
#[must_use]
pub fn answer(place: Place, keys: Option<Value>, secret: &TenantSecret) -> ConnectStatus {
    let identity = place.identity;
    let credential = Credential {
        scheme: SCHEME_HMAC_SHA256.to_owned(),
        key: secret.proof_key(&identity.machine_id).text().to_string(),
    };
    ConnectStatus {
        machine: place.machine,
        state: PlatformState::Started.word().to_owned(),
        runs_agent: place.runs_agent,
        address: place.address.to_string(),
        evidence: ExpectedEvidence {
            issuer: identity.issuer,
            org_name: identity.org_name,
            org_id: identity.org_id,
            app_name: identity.app_name,
            app_id: identity.app_id,
            machine_id: identity.machine_id,
            machine_versions: identity.machine_versions,
            image_digests: identity.image_digests,
            keys,
        },
        credential,
    }
}

/// Where the agent of a wanted machine is, if the machine runs. `issuer` is the issuer's address
/// without the organization.
///
/// # Errors
/// [`Obstacle`], see there.
pub fn place(
    tenant: &DesiredTenant,
    wanted: &DesiredMachine,
    status: Option<&TenantStatus>,
    issuer: &str,
) -> Result<Place, Obstacle> {
    let seen = status
        .and_then(|status| status.machines.iter().find(|machine| machine.name == wanted.name));
    let seen = running(wanted, seen)?;
    let config = wanted.config.render(&tenant.name, wanted.index);
    let address = SocketAddr::new(seen.address, port(&wanted.name, &config)?);
    let organization = status.and_then(|status| status.org.as_deref());
    let organization = organization.unwrap_or(&tenant.organization);
    let app = status.and_then(|status| status.app.as_deref()).unwrap_or(&tenant.app);
    Ok(Place {
        machine: wanted.name.clone(),
        runs_agent: runs_agent(&config),
        address,
        identity: ExpectedIdentity {
            issuer: format!("{}/{organization}", issuer.trim_end_matches('/')),
            org_name: organization.to_owned(),
            org_id: status.and_then(|status| status.org_id.clone()),
            app_name: app.to_owned(),
            app_id: status.and_then(|status| status.app_id.clone()),
            machine_id: seen.id.to_owned(),
            machine_versions: vec![seen.version.to_owned()],
            // While an update is under way, the manifest's image is not the running one. The
            // version pins the running one in any case.
            image_digests: image_digest(&config)
                .filter(|_| seen.is_as_wanted)
                .map(str::to_owned)
                .into_iter()
                .collect(),
        },
    })
}

impl From<Place> for Question {
    fn from(place: Place) -> Self {
        Self { address: place.address, identity: place.identity }
    }
}

/// Whether a machine of this config is taken to run the agent: no command of its own, and an image
/// whose repository ends in `agent`.
#[must_use]
pub fn runs_agent(config: &Map<String, Value>) -> bool {
    let init = config.get("init").and_then(Value::as_object);
    let is_set = |name: &str| {
        let value = init.and_then(|init| init.get(name));
        value.is_some_and(|value| {
            !value.is_null() && value.as_array().is_none_or(|all| !all.is_empty())
        })
    };
    let own_command = ["exec", "entrypoint", "cmd"].into_iter().any(is_set);
    let image = config.get("image").and_then(Value::as_str).unwrap_or_default();
    !own_command && repository_end(image) == AGENT_REPOSITORY
}

/// Whether a machine of this config may run the agent: most that do not are told without rendering
/// anything.
#[must_use]
pub fn may_run_agent(config: &ConfigTemplate) -> bool {
    let written = config.written();
    let image = written.get("image").and_then(Value::as_str).unwrap_or_default();
    image.contains("{{") || runs_agent(written)
}

/// `agent` of `registry.fly.io/vault-tenants/agent:1@sha256:…`.
fn repository_end(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let end = name.rsplit_once('/').map_or(name, |(_, end)| end);
    end.split_once(':').map_or(end, |(end, _)| end)
}

fn image_digest(config: &Map<String, Value>) -> Option<&str> {
    let (_, digest) = config.get("image")?.as_str()?.split_once('@')?;
    Some(digest)
}

/// The port that the config names, or the agent's own.
fn port(machine: &str, config: &Map<String, Value>) -> Result<u16, Obstacle> {
    let listen = config.get("env").and_then(|env| env.get(LISTEN_VARIABLE)).and_then(Value::as_str);
    let Some(listen) = listen else { return Ok(DEFAULT_PORT) };
    match listen.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address.port()),
        _ => Err(Obstacle::Never(format!(
            "config.env.{LISTEN_VARIABLE} of machine {machine} is {listen:?}, which is no ADDRESS:PORT"
        ))),
    }
}

/// The machine that is asked for, as `GROUP-INDEX`; the only one if none is.
///
/// # Errors
/// [`Obstacle`], see there.
pub fn choose<'a>(
    tenant: &'a DesiredTenant,
    asked: Option<&str>,
) -> Result<&'a DesiredMachine, Obstacle> {
    if tenant.deleting {
        return Err(Obstacle::Never("it is being deleted".to_owned()));
    }
    let machines = tenant.machines.as_deref().map_err(|problems| {
        let problem = problems.first().map_or_else(String::new, ToString::to_string);
        Obstacle::Never(format!("its manifest cannot be carried out: {problem}"))
    })?;
    let known = || machines.iter().map(|machine| short_name(tenant, machine).to_owned()).collect();
    match (asked, machines) {
        (None, [only]) => Ok(only),
        (None, []) => Err(Obstacle::Never("its manifest asks for no machine".to_owned())),
        (None, _) => Err(Obstacle::Several(known())),
        (Some(asked), machines) => machines
            .iter()
            .find(|machine| short_name(tenant, machine) == asked)
            .ok_or_else(|| Obstacle::NoSuchMachine { asked: asked.to_owned(), known: known() }),
    }
}

/// `GROUP-INDEX` of `TENANT-GROUP-INDEX`.
fn short_name<'a>(tenant: &DesiredTenant, machine: &'a DesiredMachine) -> &'a str {
    let rest = machine.name.strip_prefix(&*tenant.name);
    rest.and_then(|rest| rest.strip_prefix('-')).unwrap_or(&machine.name)
}

/// A started machine, with all that has to be known of it.
struct Running<'a> {
    id: &'a str,
    version: &'a str,
    address: IpAddr,
    is_as_wanted: bool,
}

fn running<'a>(
    wanted: &DesiredMachine,
    seen: Option<&'a MachineStatus>,
) -> Result<Running<'a>, Obstacle> {
    let name = &wanted.name;
    let state = seen.and_then(|seen| seen.state.as_deref());
    let is_started = state == Some(PlatformState::Started.word());
    if wanted.state == MachineState::Stopped && !is_started {
        let state = state.unwrap_or("not made yet");
        let message = format!("machine {name} is {state}, and its manifest wants it Stopped");
        return Err(Obstacle::Never(message));
    }
    let (Some(seen), Some(state)) = (seen, state) else {
        return Err(Obstacle::NotYet(format!("machine {name} does not exist yet")));
    };
    if !is_started {
        return Err(Obstacle::NotYet(format!("machine {name} is {state}")));
    }
    let untold = |what: &str| {
        Obstacle::NotYet(format!("the platform has not told the {what} of machine {name} yet"))
    };
    let address = seen.private_ip.as_deref().and_then(|text| text.parse().ok());
    Ok(Running {
        id: seen.id.as_deref().ok_or_else(|| untold("id"))?,
        version: seen.version.as_deref().ok_or_else(|| untold("version"))?,
        address: address.ok_or_else(|| untold("address"))?,
        is_as_wanted: seen.ready,
    })
}

#[cfg(test)]
mod tests;
