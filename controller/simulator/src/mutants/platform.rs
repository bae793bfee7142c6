//! The platform as a broken controller sees and uses it.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use vault_cloud::error::CallError;
use vault_cloud::logs::Tail;
use vault_cloud::machines::Exit;
use vault_controller::platform::{
    AccessKey, AppContents, AppList, AppOwner, BucketCreation, BucketDeletion, BucketOwner, Calls,
    Emptied, Lease, MachineList, MachineUpdate, MintedToken, NewAccessKey, NewDeployToken,
    NewLease, NewMachine, NewVolume, ObjectStorage, Platform, SecretList, SecretSet, TokenList,
    VolumeList, WholeMachine, WrittenMachine,
};
use vault_emulator::world::State;
use vault_emulator::world::query::Filter;
use vault_plan::identity::is_volume_name;
use vault_plan::metadata;
use vault_plan::observed::{ObservedMachine, ObservedSnapshot, ObservedVolume, PlatformState};
use vault_plan::time::UnixMillis;

use super::{Bent, Mutation};
use crate::fate::Fate;
use crate::platform::SimPlatform;
use crate::universe::Shared;
use crate::verb::Verb;
use crate::workload::ORGANIZATIONS;

/// Every so many times machines that run are shown stopped.
const STOPPED_EVERY: u64 = 5;
/// How long a machine takes to stop.
const STOPPING: Duration = Duration::from_secs(6);

/// A process's way to the platform, which may be bent.
#[derive(Clone)]
pub struct MutantPlatform {
    inner: SimPlatform,
    shared: Shared,
    controller: usize,
    bent: Bent,
}

impl MutantPlatform {
    /// The platform as that controller sees it, bent so.
    #[must_use]
    pub fn new(inner: SimPlatform, shared: Shared, controller: usize, bent: Bent) -> Self {
        Self { inner, shared, controller, bent }
    }

    fn own_id(&self) -> String {
        self.shared.lock().controllers[self.controller].id.to_string()
    }

    /// Whether a machine is shown.
    fn shows_machine(&self, machine: &ObservedMachine) -> bool {
        let memory = self.bent.memory();
        let is_hidden = memory.hidden.contains(&machine.id)
            || memory.holes.contains(&machine.id)
            || memory.regions.contains(&machine.region);
        if is_hidden {
            return false;
        }
        let is_marked = machine.metadata.contains_key(metadata::CONTROLLER);
        !self.bent.is(Mutation::KnowsOnlyItsStateFile)
            || !is_marked
            || memory.in_state.contains(&machine.id)
    }

    /// Whether a volume is shown.
    fn shows_volume(&self, volume: &ObservedVolume) -> bool {
        if self.overlooks_free_volumes() {
            return volume.attached_machine.is_some();
        }
        if self.bent.memory().holes.contains(&volume.id) {
            return false;
        }
        let is_known = || self.bent.memory().in_state.contains(&volume.id);
        !self.bent.is(Mutation::KnowsOnlyItsStateFile)
            || !is_volume_name(&volume.name)
            || is_known()
    }

    fn overlooks_free_volumes(&self) -> bool {
        self.bent.is(Mutation::OverlooksFreeVolumes) || self.bent.is(Mutation::DeletesAppsUnlooked)
    }

    fn believes_lists(&self) -> bool {
        self.bent.is(Mutation::BelievesEmptyLists)
    }

    /// The machine that is meant by the one with this id, as its app and its id, where machines are
    /// known by their names.
    fn namesake(&self, app: &str, id: &str) -> Option<(String, String)> {
        let in_app = self.bent.is(Mutation::ActsByNameAlone);
        if !in_app && !self.bent.is(Mutation::ActsByNameAcrossApps) {
            return None;
        }
        let universe = self.shared.lock();
        let world = &universe.world;
        let meant = world.machine(app, id).ok()?;
        let everything = Filter::default();
        let apps = ORGANIZATIONS.iter().flat_map(|organization| world.apps(organization));
        let apps = apps.filter(|known| !in_app || known.name == app);
        let machines = apps.flat_map(|known| world.machines(&known.name, &everything));
        let living = machines.filter(|row| row.name == meant.name && row.state != State::Destroyed);
        let another = living.filter(|row| row.id != id).last()?;
        Some((another.app.clone(), another.id.clone()))
    }

    /// Every so many times shows the machines of this controller stopped.
    fn show_stopped(&self, list: &mut MachineList) {
        let looks = {
            let mut memory = self.bent.memory();
            memory.looks_at_machines += 1;
            memory.looks_at_machines
        };
        if !looks.is_multiple_of(STOPPED_EVERY) {
            return;
        }
        let own = self.own_id();
        for machine in &mut list.machines {
            if machine.metadata.get(metadata::CONTROLLER) == Some(&own) {
                machine.state = PlatformState::Stopped;
            }
        }
    }

    fn remember(&self, id: &str) {
        self.bent.memory().in_state.insert(id.to_owned());
    }

    /// Whether a call is made again: its answer was lost, and nobody looks first.
    fn repeats<T>(&self, answer: &Result<T, CallError>) -> bool {
        self.bent.is(Mutation::RepeatsLostCalls) && matches!(answer, Err(CallError::Unknown(_)))
    }
}

/// Calls that pass as they are.
macro_rules! as_they_are {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(async fn $name(&self, $($argument: $type),*) -> $answer {
            self.inner.$name($($argument),*).await
        })*
    };
}

impl Platform for MutantPlatform {
    as_they_are! {
        organizations() -> Result<Vec<String>, CallError>;
        machines_since(organization: &str, since: UnixMillis) -> Result<MachineList, CallError>;
        secrets(app: &str) -> Result<SecretList, CallError>;
        set_secret(app: &str, name: &str, value: &SecretString) -> Result<SecretSet, CallError>;
        create_app(organization: &str, app: &str) -> Result<(), CallError>;
        start_machine(app: &str, id: &str) -> Result<(), CallError>;
        suspend_machine(app: &str, id: &str) -> Result<(), CallError>;
        set_metadata(app: &str, id: &str, key: &str, value: &str) -> Result<(), CallError>;
        extend_volume(app: &str, id: &str, size_gb: u32) -> Result<bool, CallError>;
        snapshots(app: &str, volume: &str) -> Result<Vec<ObservedSnapshot>, CallError>;
        create_snapshot(app: &str, volume: &str) -> Result<(), CallError>;
        delete_secret(app: &str, name: &str) -> Result<Option<u64>, CallError>;
        delete_volume(app: &str, id: &str) -> Result<(), CallError>;
        delete_app(app: &str) -> Result<(), CallError>;
        exits(app: &str, id: &str) -> Result<Vec<Exit>, CallError>;
        log_tail(app: &str, id: &str, region: &str, count: usize) -> Result<Tail, CallError>;
        tokens(organization: &str) -> Result<TokenList, CallError>;
    }

    async fn apps(&self, organization: &str) -> Result<AppList, CallError> {
        let mut list = self.inner.apps(organization).await?;
        if self.believes_lists() {
            let names = list.names.iter().cloned().collect();
            self.bent.memory().listed.entry(organization.to_owned()).or_default().apps = names;
            list.volume_counts.clear();
        }
        let counts_nothing = [
            Mutation::OverlooksFreeVolumes,
            Mutation::DeletesAppsUnlooked,
            Mutation::KnowsOnlyItsStateFile,
            Mutation::BelievesListsWithHoles,
        ];
        if counts_nothing.into_iter().any(|mutation| self.bent.is(mutation)) {
            list.volume_counts.clear();
        }
        list.partial &= !self.bent.is(Mutation::BelievesListsWithHoles);
        Ok(list)
    }

    async fn machines(&self, organization: &str) -> Result<MachineList, CallError> {
        let mut list = self.inner.machines(organization).await?;
        if self.bent.is(Mutation::BelievesListsWithoutARegion) {
            self.bent.memory().regions = std::mem::take(&mut list.error_regions);
        }
        if self.bent.is(Mutation::BelievesListsWithHoles) {
            let shown = list.machines.iter().map(|machine| machine.id.clone()).collect();
            let unreadable = std::mem::take(&mut list.unreadable);
            self.bent.memory().see_holes(shown, unreadable);
        }
        if self.bent.is(Mutation::TakesWhatIsCalledLikeIts) {
            let own = self.own_id();
            for machine in &mut list.machines {
                if let Some(owner) = machine.metadata.get_mut(metadata::CONTROLLER) {
                    owner.clone_from(&own);
                }
            }
        }
        if self.bent.is(Mutation::SeesItsMachinesStoppedNowAndThen) {
            self.show_stopped(&mut list);
        }
        list.machines.retain(|machine| self.shows_machine(machine));
        if self.believes_lists() {
            let ids = list.machines.iter().map(|machine| machine.id.clone()).collect();
            self.bent.memory().listed.entry(organization.to_owned()).or_default().machines = ids;
        }
        Ok(list)
    }

    async fn volumes(&self, organization: &str) -> Result<VolumeList, CallError> {
        let mut list = self.inner.volumes(organization).await?;
        if self.bent.is(Mutation::BelievesListsWithHoles) {
            let shown = list.volumes.iter().map(|volume| volume.id.clone()).collect();
            let unreadable = std::mem::take(&mut list.unreadable);
            self.bent.memory().see_holes(shown, unreadable);
        }
        list.volumes.retain(|volume| self.shows_volume(volume));
        if self.believes_lists() {
            let volumes = list.volumes.clone();
            self.bent.memory().listed.entry(organization.to_owned()).or_default().volumes = volumes;
        }
        Ok(list)
    }

    async fn machine(&self, app: &str, id: &str) -> Result<Option<ObservedMachine>, CallError> {
        if self.believes_lists() {
            let memory = self.bent.memory();
            if !memory.listed.values().any(|listed| listed.machines.contains(id)) {
                return Ok(None);
            }
        }
        let machine = self.inner.machine(app, id).await?;
        Ok(machine.filter(|machine| self.shows_machine(machine)))
    }

    async fn whole_machine(&self, app: &str, id: &str) -> Result<Option<WholeMachine>, CallError> {
        let whole = self.inner.whole_machine(app, id).await?;
        Ok(whole.filter(|whole| self.shows_machine(&whole.machine)))
    }

    async fn app_volumes(&self, app: &str) -> Result<VolumeList, CallError> {
        if self.believes_lists() {
            let memory = self.bent.memory();
            let all = memory.listed.values().flat_map(|listed| &listed.volumes);
            let volumes = all.filter(|volume| volume.app == app).cloned().collect();
            return Ok(VolumeList { volumes, ..VolumeList::default() });
        }
        let mut list = self.inner.app_volumes(app).await?;
        if self.bent.is(Mutation::BelievesListsWithHoles) {
            list.unreadable = 0;
        }
        list.volumes.retain(|volume| self.shows_volume(volume));
        Ok(list)
    }

    async fn volume(&self, app: &str, id: &str) -> Result<Option<ObservedVolume>, CallError> {
        if self.believes_lists() {
            let memory = self.bent.memory();
            let mut all = memory.listed.values().flat_map(|listed| &listed.volumes);
            return Ok(all.find(|volume| volume.id == id).cloned());
        }
        let volume = self.inner.volume(app, id).await?;
        Ok(volume.filter(|volume| self.shows_volume(volume)))
    }

    async fn app_owner(&self, app: &str) -> Result<AppOwner, CallError> {
        if self.believes_lists() {
            let memory = self.bent.memory();
            if !memory.listed.values().any(|listed| listed.apps.contains(app)) {
                return Ok(AppOwner::Nobody);
            }
        }
        self.inner.app_owner(app).await
    }

    async fn app_contents(&self, app: &str) -> Result<Option<AppContents>, CallError> {
        let contents = self.inner.app_contents(app).await?;
        let unlooked = self.bent.is(Mutation::DeletesAppsUnlooked);
        Ok(contents.map(|contents| match unlooked {
            true => AppContents { machines: 0, volumes: 0, ..contents },
            false => contents,
        }))
    }

    async fn create_volume(&self, app: &str, volume: NewVolume) -> Result<String, CallError> {
        let mut created = self.inner.create_volume(app, volume.clone()).await;
        if self.repeats(&created) {
            created = self.inner.create_volume(app, volume).await;
        }
        if let Ok(id) = &created {
            self.remember(id);
        }
        created
    }

    async fn create_machine(
        &self,
        app: &str,
        machine: NewMachine,
    ) -> Result<WrittenMachine, CallError> {
        let mut created = self.inner.create_machine(app, machine.clone()).await;
        if self.repeats(&created) {
            created = self.inner.create_machine(app, machine).await;
        }
        match &created {
            Ok(machine) => self.remember(&machine.id),
            // What is there and not in the state file is somebody else's business.
            Err(error)
                if self.bent.is(Mutation::KnowsOnlyItsStateFile)
                    && error.existing_machine_id().is_some() =>
            {
                return Err(Fate::Is422.error(Verb::CreateMachine).unwrap_or_else(|| {
                    unreachable!("a refusal is told in place of the platform's answer")
                }));
            }
            Err(_) => {}
        }
        created
    }

    async fn update_machine(
        &self,
        app: &str,
        id: &str,
        mut update: MachineUpdate,
    ) -> Result<WrittenMachine, CallError> {
        if self.bent.is(Mutation::MergesInsteadOfReplacing) {
            let before = self.shared.lock().world.machine(app, id).ok().cloned();
            let env = update.config.get_mut("env").and_then(Value::as_object_mut);
            if let (Some(before), Some(env)) = (before, env) {
                let image = before.config.get("image").cloned().unwrap_or_default();
                env.insert("IMAGE_BEFORE".to_owned(), image);
            }
        }
        let refusal = Fate::Is422.error(Verb::UpdateMachine);
        let gives_up = self.bent.is(Mutation::GivesUpAfterAPassingFailure);
        if let Some(refusal) = refusal
            && gives_up
            && self.bent.memory().given_up.contains(app)
        {
            return Err(refusal);
        }
        let updated = self.inner.update_machine(app, id, update).await;
        if gives_up && matches!(updated, Err(CallError::Unknown(_))) {
            self.bent.memory().given_up.insert(app.to_owned());
        }
        updated
    }

    async fn stop_machine(
        &self,
        app: &str,
        id: &str,
        lease: Option<&str>,
    ) -> Result<(), CallError> {
        match self.namesake(app, id) {
            Some((app, id)) => self.inner.stop_machine(&app, &id, lease).await,
            None => self.inner.stop_machine(app, id, lease).await,
        }
    }

    async fn delete_machine(
        &self,
        app: &str,
        id: &str,
        lease: Option<&str>,
    ) -> Result<(), CallError> {
        let held = self.held_volume(app, id);
        if let Some((app, id)) = self.namesake(app, id) {
            // Whatever has the name goes, running or not.
            self.inner.stop_machine(&app, &id, lease).await?;
            self.shared.sleep(STOPPING).await;
            return self.inner.delete_machine(&app, &id, lease).await;
        }
        let deleted = self.inner.delete_machine(app, id, lease).await;
        if let (Some(volume), Ok(())) = (held, &deleted) {
            // It is refused while the machine's claim lasts; that it is asked for is enough.
            drop(self.inner.delete_volume(app, &volume).await);
        }
        let is_lost = matches!(deleted, Err(CallError::Unknown(_)));
        if is_lost && self.bent.is(Mutation::BelievesThatLostDeletesWorked) {
            self.bent.memory().hidden.insert(id.to_owned());
            return Ok(());
        }
        deleted
    }

    async fn acquire_lease(&self, app: &str, id: &str, new: NewLease) -> Result<Lease, CallError> {
        let Some((app, id)) = self.namesake(app, id) else {
            return self.inner.acquire_lease(app, id, new).await;
        };
        // Who knows machines by their names compares no versions either.
        let lease = self.inner.acquire_lease(&app, &id, new).await?;
        Ok(Lease { version: None, ..lease })
    }

    async fn release_lease(&self, app: &str, id: &str, nonce: &str) -> Result<(), CallError> {
        match self.namesake(app, id) {
            Some((app, id)) => self.inner.release_lease(&app, &id, nonce).await,
            None => self.inner.release_lease(app, id, nonce).await,
        }
    }

    async fn mint_token(&self, app: &str, token: NewDeployToken) -> Result<MintedToken, CallError> {
        let minted = self.inner.mint_token(app, token.clone()).await;
        match self.repeats(&minted) {
            true => self.inner.mint_token(app, token).await,
            false => minted,
        }
    }

    async fn revoke_token(&self, id: &str) -> Result<(), CallError> {
        match self.bent.is(Mutation::RevokesNothing) {
            true => Ok(()),
            false => self.inner.revoke_token(id).await,
        }
    }

    fn calls(&self) -> Calls {
        self.inner.calls()
    }
}

impl ObjectStorage for MutantPlatform {
    as_they_are! {
        buckets() -> Result<Vec<String>, CallError>;
        access_keys() -> Result<Vec<AccessKey>, CallError>;
        bucket(name: &str) -> Result<BucketOwner, CallError>;
        create_bucket(name: &str) -> Result<BucketCreation, CallError>;
        empty_bucket(name: &str) -> Result<Emptied, CallError>;
        delete_bucket(name: &str) -> Result<BucketDeletion, CallError>;
        create_access_key(name: &str) -> Result<NewAccessKey, CallError>;
        delete_access_key(id: &str) -> Result<(), CallError>;
        policy(name: &str) -> Result<Option<String>, CallError>;
        put_policy(name: &str, document: &str, key_id: &str) -> Result<(), CallError>;
        delete_policy(name: &str) -> Result<(), CallError>;
        attached_policies(key_id: &str) -> Result<Option<Vec<String>>, CallError>;
    }

    fn has_storage(&self) -> bool {
        self.inner.has_storage()
    }
}

impl MutantPlatform {
    /// The volume that goes with its machine, where data is not thought of.
    fn held_volume(&self, app: &str, machine: &str) -> Option<String> {
        if !self.bent.is(Mutation::DeletesVolumesWithMachines) {
            return None;
        }
        let universe = self.shared.lock();
        let mut volumes = universe.world.volumes(app);
        let held = volumes.find(|volume| volume.attached_machine_id.as_deref() == Some(machine))?;
        Some(held.id.clone())
    }
}
