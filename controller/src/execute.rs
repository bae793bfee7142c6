//! Carries a plan out: no decisions are left here, only calls.
//!
//! ```text
//!   actions of one tenant, in order:   journal all ─▶ mark sent ─▶ call ─▶ settle ─▶ next
//!   actions of different tenants:      side by side, TENANTS_IN_FLIGHT_MAX at once, the most urgent
//!                                      first
//! ```
//!
//! The first action of a tenant that does not work ends that tenant's turn: what follows was
//! planned on the assumption that it would. So does an app that turns out to be there already:
//! whether it may be used is for the planner to decide, once it is in the lists.

mod apply;
mod credentials;
mod order;
mod storage;
mod turns;

use std::sync::Arc;

use ulid::Ulid;
use vault_plan::action::{Action, ActionKind, CreateVolume, Plan, PlannedAction};
use vault_plan::observed::{HoldKind, SecretState};
use vault_plan::time::UnixMillis;

use crate::clock::Clock;
use crate::events::Event;
use crate::identity::TenantSecrets;
use crate::platform::Platform;
use crate::record::recorded;
use crate::store::{
    Intent, IntentAnswer, IntentState, Settlement, Store, StoreError, StoredPolicy, StoredSecret,
    Verdict,
};
use apply::{Applied, Created, Made, MadePolicy, apply};
use credentials::AboutCredential;
pub use order::Standing;
pub use turns::{Seams, Turns};

/// How many tenants are served at once. At 100 ms a call this is about a thousand calls a second;
/// Fly's limits are per app and per machine, which the client keeps to whatever this is. With half as
/// many a thousand new tenants wait for the network most of the time; with more they would wait for
/// the journal, and each costs a connection.
const TENANTS_IN_FLIGHT_MAX: usize = 128;

/// What came of a tenant's turn.
#[derive(Debug)]
pub struct Turn {
    /// The tenant.
    pub tenant: String,
    /// The actions that worked.
    pub done: Vec<Done>,
    /// The one that did not.
    pub failure: Option<Failure>,
    /// What kind that was.
    pub failed: Option<ActionKind>,
}

/// An action that worked.
#[derive(Debug)]
pub struct Done {
    /// What was done.
    pub kind: ActionKind,
    /// The name of the resource.
    pub name: String,
    /// Its id, if that was known before.
    pub id: Option<String>,
}

/// Why a tenant's turn ended early.
#[derive(Debug)]
pub struct Failure {
    /// How the tenant is held because of it.
    pub hold: HoldKind,
    /// One sentence for people.
    pub message: String,
}

/// What is to be done, and whose turn comes first.
#[derive(Debug, Default)]
pub struct Work {
    /// The actions.
    pub plan: Plan,
    /// What is known of their tenants.
    pub standing: Standing,
}

impl Turn {
    /// Whether an action failed. One that waits for somebody else's lease did not.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| !failure.is_waiting())
    }
}

impl Failure {
    /// Whether it only waits for somebody who has a machine for themselves.
    const fn is_waiting(&self) -> bool {
        matches!(self.hold, HoldKind::Leased { .. })
    }
}

/// What came of one action, for the rest of its turn.
enum Acted {
    Worked,
    /// Somebody had made it before; the plan for what follows did not know what is in it.
    WasThere,
    /// A part of it worked; what follows was planned for the whole.
    Partly(String),
    Failed(Failure),
}

struct Executor<P, S, C> {
    platform: Arc<P>,
    store: S,
    clock: C,
    secrets: Arc<TenantSecrets>,
    tell: Arc<dyn Fn(Event) + Send + Sync>,
}

impl<P: Platform, S: Store, C: Clock> Executor<P, S, C> {
    async fn turn(&self, actions: Vec<PlannedAction>) -> Result<Turn, StoreError> {
        let now = self.clock.now();
        let tenant = actions[0].tenant.to_string();
        let ids = new_intent_ids(now, self.clock.random_bits(), actions.len());
        let intents = ids
            .iter()
            .zip(&actions)
            .map(|(&id, action)| Intent {
                id,
                tenant: tenant.clone(),
                organization: action.organization.to_string(),
                app: action.app.clone(),
                kind: action.action.kind(),
                external_name: action.external_name().to_owned(),
                external_id: known_id(&action.action).map(str::to_owned),
                state: IntentState::Planned,
                planned_at: now,
                sent_at: None,
                outcome: None,
                spec_hash: spec_hash(&action.action).map(str::to_owned),
            })
            .collect();
        self.store.plan_intents(intents).await?;
        let mut turn = Turn { tenant, done: Vec::new(), failure: None, failed: None };
        let mut made = Made::default();
        for (place, action) in actions.into_iter().enumerate() {
            let target = action.target();
            let done = Done {
                kind: action.action.kind(),
                name: action.external_name().to_owned(),
                id: known_id(&action.action).map(str::to_owned),
            };
            let rest = &ids[place + 1..];
            let left_behind = left_behind(&action.action);
            match self.act(ids[place], action, &mut made).await? {
                Acted::Worked => {
                    let message = format!("{target} {}", done.kind.past_tense());
                    self.tell_normal(&turn.tenant, done.kind, message);
                    if let Some(message) = left_behind {
                        (self.tell)(Event::warning(
                            self.clock.now(),
                            &turn.tenant,
                            "LeftBehind",
                            message,
                        ));
                    }
                    turn.done.push(done);
                }
                Acted::WasThere => {
                    self.tell_normal(
                        &turn.tenant,
                        done.kind,
                        format!("{target} was there already"),
                    );
                    turn.done.push(done);
                    self.abandon(rest, "what is there already is looked at first").await?;
                    break;
                }
                Acted::Partly(message) => {
                    self.tell_normal(&turn.tenant, done.kind, message);
                    turn.done.push(done);
                    self.abandon(rest, "what comes before it is not done yet").await?;
                    break;
                }
                Acted::Failed(failure) if failure.is_waiting() => {
                    self.tell_normal(&turn.tenant, done.kind, failure.message.clone());
                    turn.failure = Some(failure);
                    turn.failed = Some(done.kind);
                    self.abandon(rest, "an earlier action of the tenant waits").await?;
                    break;
                }
                Acted::Failed(failure) => {
                    let message = format!("{} of {target} failed: {}", done.kind, failure.message);
                    self.tell_warning(&turn.tenant, done.kind, &message);
                    turn.failure = Some(Failure { message, ..failure });
                    turn.failed = Some(done.kind);
                    self.abandon(rest, "an earlier action of the tenant failed").await?;
                    break;
                }
            }
        }
        Ok(turn)
    }

    /// One action through the journal: sent, called, settled.
    async fn act(
        &self,
        id: Ulid,
        action: PlannedAction,
        made: &mut Made,
    ) -> Result<Acted, StoreError> {
        match AboutCredential::of(&action.action) {
            Some(AboutCredential::Mint(minting)) => return self.mint(id, action, minting).await,
            Some(AboutCredential::Revoke(revoking)) => {
                return self.revoke(id, action, revoking).await;
            }
            None => {}
        }
        made.storage_value = self.storage_value(&action.action).await?;
        let (app, tenant) = (action.app.clone(), action.tenant.to_string());
        if matches!(action.action, Action::CreateApp | Action::DeleteApp) {
            // A new app has no secrets, whatever is known of an earlier one of its name, and one
            // that goes takes its own along.
            self.store.remove_secrets(vec![app.clone()]).await?;
        }
        self.store.send_intent(id, self.clock.now()).await?;
        let name = id.to_string();
        let call = apply(&*self.platform, &self.secrets, action, &name, made);
        let (applied, calls) = recorded(&self.clock, call).await;
        let mut written = None;
        let (state, external_id, acted) = match applied {
            Applied::Done(created) => {
                if let Some(created) = &created {
                    written = created.version(&name);
                    self.keep(app, tenant, created, made).await?;
                }
                (IntentState::Acked, created.and_then(Created::into_id), Acted::Worked)
            }
            Applied::WasThere(there) => (IntentState::Acked, there.into_id(), Acted::WasThere),
            Applied::Partly(how_far) => (IntentState::Acked, None, Acted::Partly(how_far)),
            Applied::NotDone(failure) => (IntentState::Aborted, None, Acted::Failed(failure)),
            Applied::Unknown(failure) => {
                // The intent stays open: the next pass settles it by looking.
                let verdict = Verdict::Doubted { id, outcome: failure.message.clone() };
                let answer = IntentAnswer { verdict, calls, written };
                self.store.answer_intent(answer, self.clock.now()).await?;
                return Ok(Acted::Failed(failure));
            }
        };
        let outcome = match &acted {
            Acted::Worked => None,
            Acted::WasThere => Some("it was there already".to_owned()),
            Acted::Partly(how_far) => Some(how_far.clone()),
            Acted::Failed(failure) => Some(failure.message.clone()),
        };
        let settlement = Settlement { id, state, external_id, outcome };
        let answer = IntentAnswer { verdict: Verdict::Settled(settlement), calls, written };
        self.store.answer_intent(answer, self.clock.now()).await?;
        Ok(acted)
    }

    /// Keeps what the rest of the turn needs, and of a secret what its answer told.
    async fn keep(
        &self,
        app: String,
        tenant: String,
        created: &Created,
        made: &mut Made,
    ) -> Result<(), StoreError> {
        match created {
            Created::Machine(machine) => {
                let version = machine.version.clone();
                made.versions.extend(version.map(|version| (machine.id.clone(), version)));
            }
            Created::App(_) | Created::Credential(_) => {}
            Created::Policy(MadePolicy::Removed(uid)) => {
                self.store.remove_bucket_policy(*uid).await?;
            }
            Created::Policy(MadePolicy::Put(tenant_uid, policy)) => {
                let (policy, read_at) = (policy.clone(), self.clock.now());
                let stored = StoredPolicy { tenant_uid: *tenant_uid, tenant, policy, read_at };
                self.store.put_bucket_policies(vec![stored]).await?;
            }
            Created::Volume { name, id } => drop(made.volumes.insert(name.clone(), id.clone())),
            Created::NoSecret { name, version } => {
                made.secrets_version = *version;
                self.store.remove_secret(app, name.clone()).await?;
            }
            Created::Secret { name, hash, told } => {
                made.secrets_version = told.version;
                let secret = StoredSecret {
                    app,
                    name: name.clone(),
                    state: SecretState::Set { hash: hash.clone() },
                    digest: told.digest.clone(),
                    version: told.version,
                    read_at: self.clock.now(),
                };
                self.store.put_secrets(vec![secret]).await?;
            }
        }
        Ok(())
    }

    /// Closes the intents of actions that will not be sent.
    async fn abandon(&self, ids: &[Ulid], why: &str) -> Result<(), StoreError> {
        let settlements = ids
            .iter()
            .map(|&id| Settlement {
                id,
                state: IntentState::Aborted,
                external_id: None,
                outcome: Some(why.to_owned()),
            })
            .collect();
        self.store.settle_intents(settlements, self.clock.now()).await
    }

    fn tell_normal(&self, tenant: &str, kind: ActionKind, message: String) {
        (self.tell)(Event::normal(self.clock.now(), tenant, kind.word(), message));
    }

    fn tell_warning(&self, tenant: &str, kind: ActionKind, message: &str) {
        (self.tell)(Event::warning(self.clock.now(), tenant, kind.word(), message));
    }
}

/// What is to be told of data that a new volume does not have.
fn left_behind(action: &Action) -> Option<String> {
    let Action::CreateVolume(CreateVolume { left_behind: Some(left), name, machine, .. }) = action
    else {
        return None;
    };
    Some(format!(
        "volume {name} of {machine} is new and empty: volume {} in app {}, which the manifest no \
         longer names, stays there with its data",
        left.id, left.app
    ))
}

/// The id of what an action is about, if that exists already.
fn known_id(action: &Action) -> Option<&str> {
    match action {
        Action::UpdateMachine(update) => Some(&update.machine.id),
        Action::ExtendVolume(volume) => Some(&volume.id),
        Action::SnapshotVolume(volume) => Some(&volume.id),
        Action::StartMachine(machine)
        | Action::StopMachine(machine)
        | Action::SuspendMachine(machine)
        | Action::DeleteMachine(machine) => Some(&machine.id),
        Action::DeleteVolume(volume) => Some(&volume.id),
        Action::CreateApp
        | Action::DeleteApp
        | Action::SetSecret(_)
        | Action::RemoveSecret(_)
        | Action::CreateVolume(_)
        | Action::CreateMachine(_) => None,
        Action::MintToken(_) => None,
        Action::RevokeToken(token) => Some(&token.id),
        Action::RevokeAccessKey(key) => Some(&key.id),
        Action::CreateBucket(_)
        | Action::CreateAccessKey(_)
        | Action::PutBucketPolicy(_)
        | Action::RemoveBucketPolicy(_)
        | Action::EmptyBucket(_)
        | Action::DeleteBucket(_) => None,
    }
}

/// The hash of the config that an action writes.
fn spec_hash(action: &Action) -> Option<&str> {
    match action {
        Action::CreateMachine(create) => create.config.spec_hash(),
        Action::UpdateMachine(update) => update.config.spec_hash(),
        _ => None,
    }
}

/// ULIDs of the controller's own time, each above the one before: the journal sorts by them.
fn new_intent_ids(now: UnixMillis, random: u128, count: usize) -> Vec<Ulid> {
    // Without its highest bit the random part has room for every action of a turn.
    let first = random & (u128::MAX >> 49);
    let milliseconds = u64::try_from(now.0).unwrap_or(0);
    (first..).take(count).map(|random| Ulid::from_parts(milliseconds, random)).collect()
}

#[cfg(test)]
mod tests;
