//! One arm per action, one call per arm: the only code that changes the outside world.

use std::collections::BTreeMap;

use vault_cloud::error::CallError;
use vault_plan::action::{Action, MachineConfig, PlannedAction, VolumeSource};
use vault_plan::observed::HoldKind;

use super::Failure;
use crate::chain::chain;
use crate::platform::{AppOwner, MachineUpdate, NewMachine, NewVolume, Platform};

/// What came of one action.
pub(super) enum Applied {
    /// The platform said yes.
    Done(Option<Created>),
    /// It was there before the call, and is in the right organization.
    WasThere(Created),
    /// The platform did nothing.
    NotDone(Failure),
    /// Nobody knows whether the platform acted.
    Unknown(Failure),
}

/// A resource that did not exist before.
pub(super) enum Created {
    /// An app; its name is its id.
    App(String),
    /// A volume.
    Volume {
        /// Derived.
        name: String,
        /// Fly's.
        id: String,
    },
    /// A machine.
    Machine(String),
}

impl Created {
    pub(super) fn into_id(self) -> String {
        match self {
            Self::App(id) | Self::Volume { id, .. } | Self::Machine(id) => id,
        }
    }
}

/// Makes the call that an action asks for. `volumes` are those created earlier in the same turn, by
/// name.
pub(super) async fn apply<P: Platform>(
    platform: &P,
    planned: PlannedAction,
    intent: &str,
    volumes: &BTreeMap<String, String>,
) -> Applied {
    let app = planned.app;
    match planned.action {
        Action::CreateApp => create_app(platform, &planned.organization, app).await,
        Action::CreateVolume(volume) => {
            let name = volume.name.clone();
            let region = volume.region.to_string();
            let new = NewVolume { name: volume.name, region, size_gb: volume.size_gb };
            let created = platform.create_volume(&app, new).await;
            settle(created.map(|id| Some(Created::Volume { name, id })))
        }
        Action::CreateMachine(machine) => {
            let config = match complete(machine.config, intent, volumes) {
                Ok(config) => config,
                Err(failure) => return Applied::NotDone(failure),
            };
            let region = machine.region.to_string();
            let skip_launch = machine.skip_launch;
            let new = NewMachine { name: machine.name, region, config, skip_launch };
            match platform.create_machine(&app, new).await {
                // It is there already: made by a call whose answer was lost. The next pass sees
                // whose it is and what it lacks.
                Err(error) if error.existing_machine_id().is_some() => {
                    let id = error.existing_machine_id().map(str::to_owned);
                    Applied::Done(id.map(Created::Machine))
                }
                created => settle(created.map(|id| Some(Created::Machine(id)))),
            }
        }
        Action::UpdateMachine(update) => {
            let config = match complete(update.config, intent, volumes) {
                Ok(config) => config,
                Err(failure) => return Applied::NotDone(failure),
            };
            let (current_version, skip_launch) = (update.current_version, update.skip_launch);
            let changed = MachineUpdate { config, current_version, skip_launch };
            settle(platform.update_machine(&app, &update.machine.id, changed).await.map(|()| None))
        }
        Action::StartMachine(machine) => {
            settle(platform.start_machine(&app, &machine.id).await.map(|()| None))
        }
        Action::StopMachine(machine) => {
            settle(platform.stop_machine(&app, &machine.id).await.map(|()| None))
        }
        Action::DeleteMachine(machine) => match platform.delete_machine(&app, &machine.id).await {
            Err(error) if error.is_not_found() => Applied::Done(None),
            deleted => settle(deleted.map(|()| None)),
        },
    }
}

/// An app's name is global: if it is taken, the question is by whom.
async fn create_app<P: Platform>(platform: &P, organization: &str, app: String) -> Applied {
    match platform.create_app(organization, &app).await {
        Err(error) if error.name_taken() => match platform.app_owner(&app).await {
            Ok(AppOwner::Organization(owner)) if owner == organization => {
                Applied::WasThere(Created::App(app))
            }
            Ok(AppOwner::Organization(_) | AppOwner::SomebodyElse) => Applied::NotDone(Failure {
                hold: HoldKind::NameTaken,
                message: format!(
                    "the name {app} belongs to somebody else; choose another in spec.app"
                ),
            }),
            Ok(AppOwner::Nobody) => Applied::NotDone(Failure {
                hold: HoldKind::BackOff,
                message: format!("the name {app} is taken, but there is no such app yet"),
            }),
            // The create itself was refused, whatever this question's answer would have been.
            Err(error) => {
                Applied::NotDone(Failure { hold: HoldKind::BackOff, message: chain(&error) })
            }
        },
        created => settle(created.map(|()| Some(Created::App(app)))),
    }
}

fn complete(
    config: MachineConfig,
    intent: &str,
    volumes: &BTreeMap<String, String>,
) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
    let volume = match &config.volume {
        None => None,
        Some(VolumeSource::Existing(id)) => Some(id.clone()),
        Some(VolumeSource::Planned(name)) => {
            Some(volumes.get(name).cloned().ok_or_else(|| Failure {
                hold: HoldKind::BackOff,
                message: format!("volume {name} was to be created first"),
            })?)
        }
    };
    Ok(config.complete(intent, volume.as_deref()))
}

fn settle(result: Result<Option<Created>, CallError>) -> Applied {
    let error = match result {
        Ok(created) => return Applied::Done(created),
        Err(error) => error,
    };
    let message = chain(&error);
    match error {
        CallError::Rejected(ref rejection) => {
            // A refusal for what was asked stays a refusal; one for the moment passes.
            let status = rejection.answer.status.as_u16();
            let hold = match status {
                400 | 401 | 403 | 422 if error.capacity().is_none() => HoldKind::Refused,
                _ => HoldKind::BackOff,
            };
            Applied::NotDone(Failure { hold, message })
        }
        CallError::NotSent(_) => Applied::NotDone(Failure { hold: HoldKind::BackOff, message }),
        CallError::Unknown(_) => Applied::Unknown(Failure { hold: HoldKind::BackOff, message }),
    }
}
