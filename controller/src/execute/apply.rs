//! One arm per action, one call per arm: the only code that changes the outside world.

mod conflict;
mod deletion;
mod lease;
mod storage;

use std::collections::BTreeMap;
use std::time::Duration;

use vault_cloud::error::CallError;
use vault_plan::action::{
    Action, ExtendVolume, MachineConfig, MachineRef, MintToken, PlannedAction, SetSecret,
    VolumeSource,
};
use vault_plan::metadata::VOLUME_GB;
use vault_plan::observed::HoldKind;

use super::Failure;
use super::credentials::MadeCredential;
use super::storage::Value;
use crate::chain::chain;
use crate::edits::MachineVersion;
use crate::identity::TenantSecrets;
pub(super) use storage::MadePolicy;

use crate::platform::{
    AppOwner, MachineUpdate, NewDeployToken, NewMachine, NewVolume, Platform, SecretSet,
    WrittenMachine,
};
use conflict::{Change, settle_or_look};
use lease::{Deed, under_lease};

/// What earlier actions of a turn made that later ones need.
/// Shows no secret.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The ids of new volumes by name.
    pub(super) volumes: BTreeMap<String, String>,
    /// The version of the app's secrets that setting one of them made.
    pub(super) secrets_version: Option<u64>,
    /// What the next secret is to be set to, if it is of the tenant's storage.
    pub(super) storage_value: Option<Value>,
    /// The versions that machines have by updates, by their ids.
    pub(super) versions: BTreeMap<String, String>,
}

impl Made {
    /// The version that a machine must still have: of this turn, or that the plan was made for.
    pub(super) fn version<'a>(&'a self, machine: &'a MachineRef) -> Option<&'a str> {
        self.versions.get(&machine.id).or(machine.version.as_ref()).map(String::as_str)
    }
}

/// What came of one action.
pub(super) enum Applied {
    /// The platform said yes.
    Done(Option<Created>),
    /// It was there before the call, and is in the right organization.
    WasThere(Created),
    /// The platform did a part of it; what follows was planned for the whole.
    Partly(String),
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
    /// A machine, new or with a new config.
    Machine(WrittenMachine),
    /// A secret that was set.
    Secret {
        /// Its name.
        name: String,
        /// The hash of what it was set to.
        hash: String,
        /// What the platform said of it.
        told: SecretSet,
    },
    /// A deploy token or an access key, with its value.
    Credential(MadeCredential),
    /// The policy of a tenant's access key.
    Policy(MadePolicy),
    /// A secret that is no more.
    NoSecret {
        /// Its name.
        name: String,
        /// The version of the app's secrets without it, if the platform said.
        version: Option<u64>,
    },
}

impl Created {
    /// The version that a machine has by the intent, if the platform said.
    pub(super) fn version(&self, intent: &str) -> Option<MachineVersion> {
        let Self::Machine(WrittenMachine { id, version: Some(version) }) = self else {
            return None;
        };
        Some(MachineVersion {
            machine_id: id.clone(),
            version: version.clone(),
            intent: intent.to_owned(),
            edited: Vec::new(),
        })
    }

    /// The platform's id of it; a secret has none but its name.
    pub(super) fn into_id(self) -> Option<String> {
        match self {
            Self::App(id) | Self::Volume { id, .. } => Some(id),
            Self::Machine(machine) => Some(machine.id),
            Self::Credential(made) => Some(made.id),
            Self::Secret { .. } | Self::NoSecret { .. } | Self::Policy(_) => None,
        }
    }
}

/// Makes the call that an action asks for. `made` is what came of earlier ones of the same turn.
pub(super) async fn apply<P: Platform>(
    platform: &P,
    secrets: &TenantSecrets,
    planned: PlannedAction,
    intent: &str,
    made: &Made,
) -> Applied {
    let app = planned.app;
    match planned.action {
        Action::CreateApp => create_app(platform, &planned.organization, app).await,
        Action::SetSecret(secret) => set_secret(platform, secrets, &app, secret, made).await,
        Action::RemoveSecret(secret) => remove_secret(platform, &app, &secret.name).await,
        Action::CreateVolume(volume) => {
            let name = volume.name.clone();
            let region = volume.region.to_string();
            let (size_gb, snapshot_id) = (volume.size_gb, volume.snapshot);
            let new = NewVolume { name: volume.name, region, size_gb, snapshot_id };
            let created = platform.create_volume(&app, new).await;
            settle(created.map(|id| Some(Created::Volume { name, id })))
        }
        Action::ExtendVolume(volume) => extend_volume(platform, &app, &volume).await,
        Action::SnapshotVolume(volume) => {
            settle(platform.create_snapshot(&app, &volume.id).await.map(|()| None))
        }
        Action::CreateMachine(machine) => {
            let config = match complete(machine.config, intent, &made.volumes) {
                Ok(config) => config,
                Err(failure) => return Applied::NotDone(failure),
            };
            let region = machine.region.to_string();
            let skip_launch = machine.skip_launch;
            let min_secrets_version = made.secrets_version.or(machine.min_secrets_version);
            let name = machine.name;
            let new = NewMachine { name, region, config, skip_launch, min_secrets_version };
            match platform.create_machine(&app, new).await {
                // It is there already: made by a call whose answer was lost. The next pass sees
                // whose it is and what it lacks.
                Err(error) if error.existing_machine_id().is_some() => {
                    let id = error.existing_machine_id().map(str::to_owned);
                    let made = id.map(|id| WrittenMachine { id, version: None });
                    Applied::Done(made.map(Created::Machine))
                }
                created => settle(created.map(|made| Some(Created::Machine(made)))),
            }
        }
        Action::UpdateMachine(update) => {
            let config = match complete(update.config, intent, &made.volumes) {
                Ok(config) => config,
                Err(failure) => return Applied::NotDone(failure),
            };
            let (current_version, skip_launch) = (update.current_version, update.skip_launch);
            let min_secrets_version = made.secrets_version.or(update.min_secrets_version);
            let changed =
                MachineUpdate { config, current_version, skip_launch, min_secrets_version };
            let id = update.machine.id.as_str();
            let updated = platform.update_machine(&app, id, changed).await;
            let updated = updated.map(|written| Some(Created::Machine(written)));
            settle_or_look(platform, (&app, id), Change::Update(intent), updated).await
        }
        Action::StartMachine(machine) => {
            settle(platform.start_machine(&app, &machine.id).await.map(|()| None))
        }
        Action::StopMachine(machine) => {
            let (version, which) = (made.version(&machine), (app.as_str(), &machine));
            under_lease(platform, which, version, intent, Deed::Stop).await
        }
        Action::SuspendMachine(machine) => {
            let suspended = platform.suspend_machine(&app, &machine.id).await.map(|()| None);
            settle_or_look(platform, (&app, &machine.id), Change::Suspend, suspended).await
        }
        Action::DeleteMachine(machine) => {
            let (version, which) = (made.version(&machine), (app.as_str(), &machine));
            under_lease(platform, which, version, intent, Deed::Destroy).await
        }
        Action::MintToken(token) => mint_token(platform, &app, token).await,
        Action::RevokeToken(token) => revoke_token(platform, &token.id).await,
        Action::DeleteVolume(volume) => deletion::volume(platform, &app, &volume).await,
        Action::DeleteApp => deletion::app(platform, &planned.organization, &app).await,
        Action::CreateBucket(bucket) => storage::create_bucket(platform, &bucket).await,
        Action::CreateAccessKey(key) => storage::create_key(platform, &key).await,
        Action::RevokeAccessKey(key) => storage::revoke_key(platform, &key.id).await,
        Action::PutBucketPolicy(policy) => storage::put_policy(platform, policy).await,
        Action::RemoveBucketPolicy(policy) => storage::remove_policy(platform, &policy).await,
        Action::EmptyBucket(bucket) => storage::empty_bucket(platform, &bucket).await,
        Action::DeleteBucket(bucket) => storage::delete_bucket(platform, &bucket).await,
    }
}

/// One that is gone already is as good as revoked.
async fn revoke_token<P: Platform>(platform: &P, id: &str) -> Applied {
    match platform.revoke_token(id).await {
        Err(error) if error.is_not_found() => Applied::Done(None),
        revoked => settle(revoked.map(|()| None)),
    }
}

async fn mint_token<P: Platform>(platform: &P, app: &str, token: MintToken) -> Applied {
    let lifetime = Duration::from_millis(u64::try_from(token.ttl_ms).unwrap_or(0));
    let new = NewDeployToken { name: token.platform_name, lifetime };
    let minted = platform.mint_token(app, new).await.map(|minted| {
        let (id, value, expires_at) = (minted.id, minted.value, minted.expires_at);
        Some(Created::Credential(MadeCredential { id, value, expires_at }))
    });
    settle(minted)
}

/// Whether the machine has to start anew is known only from the answer; it is written on the machine
/// at once, where the next pass finds it. If that fails the machine starts anew for nothing, which
/// does less harm than space that nobody sees.
async fn extend_volume<P: Platform>(platform: &P, app: &str, volume: &ExtendVolume) -> Applied {
    let extended = platform.extend_volume(app, &volume.id, volume.size_gb).await;
    if let Some(gb) = extended.as_ref().ok().and_then(|&restart| volume.mark(restart)) {
        let (machine, gb) = (&volume.machine, gb.to_string());
        let marked = platform.set_metadata(app, &machine.id, VOLUME_GB, &gb).await;
        if let Err(error) = marked {
            tracing::warn!(
                machine = machine.name,
                error = chain(&error),
                "the size of its volume could not be noted on a machine"
            );
        }
    }
    settle(extended.map(|_| None))
}

/// One that is gone already is as good as removed.
async fn remove_secret<P: Platform>(platform: &P, app: &str, name: &str) -> Applied {
    let version = match platform.delete_secret(app, name).await {
        Err(error) if error.is_not_found() => Ok(None),
        answered => answered,
    };
    let name = name.to_owned();
    settle(version.map(|version| Some(Created::NoSecret { name, version })))
}

/// The value is derived or read here, at the moment of the call.
async fn set_secret<P: Platform>(
    platform: &P,
    secrets: &TenantSecrets,
    app: &str,
    secret: SetSecret,
    made: &Made,
) -> Applied {
    let value = match &made.storage_value {
        Some(value) => value.clone(),
        None => secrets.value_to_set(app, &secret),
    };
    let value = match value {
        Ok(value) => value,
        Err(message) => {
            // What comes from outside is read again by the next pass.
            let is_read = secret.from.is_some() || secret.storage.is_some();
            let hold = if is_read { HoldKind::BackOff } else { HoldKind::Refused };
            return Applied::NotDone(Failure { hold, message });
        }
    };
    let set = platform.set_secret(app, &secret.name, &value).await;
    let (name, hash) = (secret.name.to_string(), secret.hash);
    settle(set.map(|told| Some(Created::Secret { name, hash, told })))
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
