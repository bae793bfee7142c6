//! The part of a pass that finds out what others changed of machines: those alone are read whole
//! whose version moved without us.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::future::join_all;
use vault_plan::desired::Desired;
use vault_plan::edited_members;
use vault_plan::observed::ObservedOrganization;
use vault_plan::time::UnixMillis;

use super::Reconciler;
use crate::chain::chain;
use crate::clock::Clock;
use crate::edits::{Edited, LOOK_AGAIN_MS, LOOKS_MAX, MachineVersion, Versions, sight};
use crate::events::Event;
use crate::platform::Platform;
use crate::store::{Store, StoreError};

/// What is remembered of versions. All of it is in the store, or may be lost.
#[derive(Debug, Default)]
pub(super) struct EditLooks {
    /// As the store has them; `None` if that has to be read.
    versions: Option<Versions>,
    /// Machines that could not be read whole, and when; what is too old to matter is dropped.
    failed: HashMap<String, UnixMillis>,
    /// How many machines were read whole since the controller started.
    pub(super) made: u64,
}

impl EditLooks {
    /// The store has news.
    pub(super) fn forget_versions(&mut self) {
        self.versions = None;
    }
}

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Reads the machines whole that others wrote, a few per pass, and keeps what came of it.
    /// `all_read` is whether every organization could be read.
    pub(super) async fn look_at_edits(
        &self,
        desired: &Desired,
        organizations: &BTreeMap<String, ObservedOrganization>,
        all_read: bool,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        if self.load_versions().await? && all_read {
            self.forget_unlisted(organizations).await?;
        }
        let (mut news, due) = {
            let mut memory = self.memory();
            let looks = &mut memory.edits;
            looks.failed.retain(|_, at| now.since_ms(*at) < LOOK_AGAIN_MS);
            let Some(known) = &looks.versions else { return Ok(()) };
            let mut seen = sight(known, desired, organizations.values());
            seen.edited.retain(|edited| !looks.failed.contains_key(&edited.machine.id));
            seen.edited.truncate(LOOKS_MAX);
            looks.made += seen.edited.len() as u64;
            (seen.learned, seen.edited)
        };
        let looks = due.into_iter().map(|edited| async move { (edited, self.look(edited).await) });
        for (edited, looked) in join_all(looks).await {
            match looked {
                Some(version) => {
                    self.tell_edit(edited, &version, now);
                    news.push(version);
                }
                None => drop(self.memory().edits.failed.insert(edited.machine.id.clone(), now)),
            }
        }
        if let Some(known) = &mut self.memory().edits.versions {
            known.extend(news.iter().map(|new| (new.machine_id.clone(), new.clone())));
        }
        self.store.put_machine_versions(news).await
    }

    /// The members that others changed, by the machines' ids, as far as it is known.
    pub(super) async fn known_edits(&self) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        self.load_versions().await?;
        let memory = self.memory();
        let known = memory.edits.versions.iter().flat_map(HashMap::values);
        let edited = known.filter(|known| !known.edited.is_empty());
        Ok(edited.map(|known| (known.machine_id.clone(), known.edited.clone())).collect())
    }

    /// Reads what the store knows, if that was not done since it changed; whether it was now.
    async fn load_versions(&self) -> Result<bool, StoreError> {
        if self.memory().edits.versions.is_some() {
            return Ok(false);
        }
        let stored = self.store.machine_versions().await?;
        let versions = stored.into_iter().map(|one| (one.machine_id.clone(), one)).collect();
        self.memory().edits.versions = Some(versions);
        Ok(true)
    }

    /// Forgets the versions of machines that whole lists do not show. A list that is wrong after
    /// all costs one chance to see an edit, and nothing else.
    async fn forget_unlisted(
        &self,
        organizations: &BTreeMap<String, ObservedOrganization>,
    ) -> Result<(), StoreError> {
        if organizations.values().any(|lists| lists.gaps.any().is_some()) {
            return Ok(());
        }
        let listed: HashSet<&str> = organizations
            .values()
            .flat_map(|lists| &lists.machines)
            .map(|machine| machine.id.as_str())
            .collect();
        let mut unlisted = Vec::new();
        if let Some(known) = &mut self.memory().edits.versions {
            let gone = known.extract_if(|id, _| !listed.contains(id.as_str()));
            unlisted.extend(gone.map(|(id, _)| id));
        }
        self.store.remove_machine_versions(unlisted).await
    }

    /// What the machine is now, of whatever version that is; `None` if the platform does not show
    /// it.
    async fn look(&self, edited: Edited<'_>) -> Option<MachineVersion> {
        let Edited { tenant, wanted, machine } = edited;
        let read = self.platform.whole_machine(&machine.app, &machine.id).await;
        let whole = match read {
            Ok(whole) => whole?,
            Err(error) => {
                tracing::warn!(
                    machine = machine.name,
                    error = chain(&error),
                    "a machine that somebody else wrote could not be read"
                );
                return None;
            }
        };
        let config = whole.config?;
        let intent = whole.machine.metadata.get(vault_plan::metadata::INTENT);
        Some(MachineVersion {
            machine_id: machine.id.clone(),
            version: whole.machine.version.clone()?,
            intent: intent.cloned().unwrap_or_default(),
            // One that is to be updated anyway has nothing to be compared with.
            edited: edited_members(tenant, wanted, &whole.machine, &config).unwrap_or_default(),
        })
    }

    fn tell_edit(&self, edited: Edited<'_>, version: &MachineVersion, now: UnixMillis) {
        let (tenant, name) = (&edited.tenant.name, &edited.machine.name);
        let what = format!("machine {name} was edited elsewhere (version {})", version.version);
        let event = match version.edited.as_slice() {
            [] => {
                let message = format!("{what}: nothing of ours changed");
                Event::normal(now, tenant, "EditedElsewhere", message)
            }
            members => {
                let message = format!("{what}: {} changed", members.join(", "));
                Event::warning(now, tenant, "EditedElsewhere", message)
            }
        };
        (self.tell)(event);
    }
}
