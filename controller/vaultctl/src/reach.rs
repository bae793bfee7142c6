//! From a tenant's name to a connection with the agent inside its machine.
//!
//! ```text
//!   NAME ──▶ a profile of that name: address, expected evidence, credential
//!     │            │ leads nowhere, or there is none
//!     └────────────┴──▶ the controller: the same, as it is now
//!                                  │ again and again, until --connect-timeout:
//!                                  ▼ a machine may be starting, or just have been restarted
//!                            the agent: QUIC, evidence checked, proof sent ──▶ Connection
//! ```
//!
//! Nothing has run in the machine before there is a connection, so all of this may be repeated.

mod place;

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::timeout;
use vault_api::connect::ConnectStatus;
use vault_client::{Client as AgentClient, Connection};

use self::place::Place;
use crate::cli::Globals;
use crate::client::{self, Client, ClientError};
use crate::error::{Exit, Failure};
use crate::output::Progress;
use crate::poll::{Deadline, Pauses};
use crate::profile::{Profile, Profiles};

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

/// A connection, and what is to be said about how it was made.
pub(crate) struct Reached {
    pub(crate) connection: Connection,
    /// For people, on standard error.
    pub(crate) note: Option<String>,
}

/// The way to one machine: by a profile of the name, else by the controller.
pub(crate) struct Way {
    name: MachineName,
    profile: Option<Profile>,
    /// Whoever has a profile may have no controller; then this says why.
    controller: Result<Client, String>,
    agents: AgentClient,
}

impl Way {
    /// Looks for a profile of this name and for the controller; connects to nothing yet.
    ///
    /// # Errors
    /// The profiles cannot be used, or there is neither a profile nor a controller.
    pub(crate) fn new(name: &MachineName, globals: &Globals) -> anyhow::Result<Self> {
        let profiles = Profiles::load()?;
        // Whoever names a context means its tenant, and no other of the same name.
        let is_meant = |profile: &&Profile| {
            let origin = profile.controller.as_ref();
            let is_from = |context| origin.is_some_and(|origin| origin.context == context);
            globals.context_name().is_none_or(is_from)
        };
        let profile = profiles.get(&name.to_string()).filter(is_meant).cloned();
        let controller = match &profile {
            None => Ok(globals.client()?),
            Some(Profile { controller: None, .. }) => Err("it names no controller".to_owned()),
            // No error before the profile fails: that nobody has to be asked is what profiles are for.
            Some(Profile { controller: Some(origin), .. }) => {
                globals.client_of(&origin.context).map_err(|error| format!("{error:#}"))
            }
        };
        client::install_cryptography();
        let agents = AgentClient::new().context("could not prepare to connect")?;
        Ok(Self { name: name.clone(), profile, controller, agents })
    }

    /// Whose machine it leads to.
    pub(crate) fn name(&self) -> &MachineName {
        &self.name
    }

    /// The profile that this way begins with.
    pub(crate) fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    /// Waits until every agent has been told what it was to be told.
    pub(crate) async fn wait_idle(&self) {
        self.agents.wait_idle().await;
    }

    /// Tries until there is a connection, the time is up, or there is no point in going on.
    ///
    /// # Errors
    /// The last reason, or the one that trying again will not mend.
    pub(crate) async fn connection(
        &self,
        deadline: Deadline,
        progress: &Progress,
    ) -> anyhow::Result<Reached> {
        let mut pauses = Pauses::new();
        let mut patience = FIRST_TRY;
        // A profile that leads nowhere is no reason to wait: its controller knows better, if it is there.
        let mut by_profile = self.profile.is_some();
        let mut of_profile = String::new();
        loop {
            let limit = patience.min(deadline.left()).max(SHORTEST_TRY);
            let tried = match by_profile {
                true => self.by_profile(limit).await,
                false => self.by_controller(limit).await,
            };
            let (reason, hint) = match tried {
                Ok(reached) => return Ok(reached),
                Err(missed) if by_profile && self.controller.is_ok() => {
                    by_profile = false;
                    let reason = missed.reason();
                    progress.say(format!("{}: {reason}", self.name));
                    of_profile = format!(" (and by its profile: {reason})");
                    continue;
                }
                Err(Missed::Never(error)) => {
                    return Err(match &self.controller {
                        Ok(_) => error,
                        Err(why) => {
                            error.context(format!("the profile cannot be refreshed: {why}"))
                        }
                    });
                }
                Err(Missed::NotYet { reason, hint }) => (reason, hint),
            };
            if let Err(why) = &self.controller {
                of_profile = format!(" (and the profile cannot be refreshed: {why})");
            }
            progress.say(format!("{}: {reason}", self.name));
            patience = patience.saturating_mul(2);
            by_profile = self.profile.is_some();
            if !pauses.pause(deadline).await {
                let message = format!("cannot reach {}: {reason}{of_profile}", self.name);
                let hint =
                    hint.unwrap_or_else(|| "--connect-timeout sets how long to try".to_owned());
                return Err(Failure::new(Exit::Timeout, message).hint(hint).into());
            }
        }
    }

    /// One try as the profile says.
    async fn by_profile(&self, patience: Duration) -> Result<Reached, Missed> {
        let place = self.profile.as_ref().and_then(Place::of_profile);
        let place = place.ok_or_else(|| Missed::Never(no_place(&self.name).into()))?;
        let connection = self.attempt(&place, patience).await?;
        Ok(Reached { connection, note: None })
    }

    /// One try as the controller says now. If a profile led nowhere, it is refreshed.
    async fn by_controller(&self, patience: Duration) -> Result<Reached, Missed> {
        let Ok(controller) = &self.controller else {
            return Err(Missed::Never(no_place(&self.name).into()));
        };
        let origin = self.profile.as_ref().and_then(|profile| profile.controller.as_ref());
        let name = match origin {
            None => self.name.clone(),
            Some(origin) => origin.tenant.parse().map_err(|why: String| {
                let message =
                    format!("the profile {} names the tenant {:?}", self.name, origin.tenant);
                Missed::Never(Failure::new(Exit::BadInput, message).hint(why).into())
            })?,
        };
        let status = ask(controller, &name).await.map_err(|missed| self.without(missed))?;
        let place = Place::of_controller(&status).map_err(|error| Missed::Never(error.into()))?;
        let connection = self.attempt(&place, patience).await?;
        Ok(Reached { connection, note: self.refresh(&status) })
    }

    /// With a profile, a controller that does not answer is no reason to give up.
    fn without(&self, missed: Missed) -> Missed {
        match missed {
            Missed::Never(error) if self.profile.is_some() => {
                let unreachable = error
                    .downcast_ref::<ClientError>()
                    .is_some_and(|error| !matches!(error, ClientError::Refused(_)));
                match unreachable {
                    true => Missed::NotYet { reason: format!("{error:#}"), hint: None },
                    false => Missed::Never(error),
                }
            }
            missed => missed,
        }
    }

    /// Writes down what the controller said, for the next time; the note for people.
    fn refresh(&self, status: &ConnectStatus) -> Option<String> {
        let profile = self.profile.as_ref()?;
        let name = self.name.to_string();
        let note = match profile.refreshed(status) {
            None => "the controller says no more by which the machine could be known: add it again"
                .to_owned(),
            Some(fresh) => match Profiles::load().and_then(|mut all| all.put(&name, fresh)) {
                Ok(()) => format!("the profile {name} was refreshed"),
                Err(error) => format!(
                    "the profile {name} was not refreshed: {:#}",
                    anyhow::Error::from(error)
                ),
            },
        };
        Some(format!("note: {note}"))
    }

    async fn attempt(&self, place: &Place, patience: Duration) -> Result<Connection, Missed> {
        let connecting = async {
            let attested = self.agents.connect(&place.target, &place.keys, now).await?;
            attested.prove(&place.proof).await
        };
        match timeout(patience, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if error.is_retryable() => {
                let reason = format!("{:#}", anyhow::Error::from(error));
                Err(Missed::NotYet { reason, hint: place.hint.clone() })
            }
            Ok(Err(error)) => {
                Err(Missed::Never(anyhow::Error::from(error).context(place.shown.clone())))
            }
            Err(_) => {
                let (reason, hint) = (place.silence.clone(), place.hint.clone());
                Err(Missed::NotYet { reason, hint })
            }
        }
    }
}

impl Missed {
    fn reason(&self) -> String {
        match self {
            Self::NotYet { reason, .. } => reason.clone(),
            Self::Never(error) => format!("{error:#}"),
        }
    }
}

/// Where the controller says that the machine is.
async fn ask(controller: &Client, name: &MachineName) -> Result<ConnectStatus, Missed> {
    let place = controller.connect(&name.tenant, name.machine.as_deref()).await;
    place.map_err(|error| match &error {
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
    })
}

/// Where the controller says that the machine is, asked once.
///
/// # Errors
/// It does not say, or not yet.
pub(crate) async fn place(
    controller: &Client,
    name: &MachineName,
) -> anyhow::Result<ConnectStatus> {
    ask(controller, name).await.map_err(|missed| match missed {
        Missed::Never(error) => error,
        Missed::NotYet { reason, .. } => Failure::new(Exit::Platform, reason).into(),
    })
}

fn no_place(name: &MachineName) -> Failure {
    Failure::new(Exit::BadInput, format!("neither a profile nor a controller leads to {name}"))
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
