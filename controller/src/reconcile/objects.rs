//! What is stored, decoded: the pass's view of what people want and of what earlier passes knew.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use vault_api::status::TenantStatus;
use vault_api::tenant::{TenantClassSpec, TenantSpec};
use vault_plan::action::ActionKind;
use vault_plan::desired::{Desired, TenantInput};

use super::ReconcileConfig;
use crate::observe::{Known, KnownMachine};
use crate::store::{Intent, IntentState, Kind, Store, StoreError, StoredObject};

/// Stored tenants and classes, decoded.
#[derive(Debug, Default)]
pub struct Objects {
    /// The classes' specs by name.
    pub classes: BTreeMap<String, TenantClassSpec>,
    /// The generations of the classes' specs by name.
    class_generations: HashMap<String, i64>,
    /// The tenants in the order of their names.
    pub tenants: Vec<TenantObject>,
}

/// A stored tenant, decoded.
#[derive(Clone, Debug)]
pub struct TenantObject {
    /// As it is stored.
    pub object: StoredObject,
    /// Its spec.
    pub spec: TenantSpec,
    /// Its status.
    pub status: Option<TenantStatus>,
}

impl Objects {
    /// Reads and decodes all of them.
    ///
    /// # Errors
    /// If the store refuses or holds what this version cannot read.
    pub async fn load<S: Store>(store: &S) -> Result<Self, StoreError> {
        let mut objects = Self::default();
        for object in store.objects(Kind::TenantClass).await? {
            objects.add_class(object)?;
        }
        for object in store.objects(Kind::Tenant).await? {
            objects.tenants.push(decoded(object)?);
        }
        Ok(objects)
    }

    /// Reads and decodes one tenant and its class; `None` if there is no such tenant.
    ///
    /// # Errors
    /// As [`Objects::load`].
    pub async fn of_tenant<S: Store>(store: &S, name: &str) -> Result<Option<Self>, StoreError> {
        let Some(object) = store.object(Kind::Tenant, name).await? else { return Ok(None) };
        let tenant = decoded(object)?;
        let mut objects = Self::default();
        if let Some(class) = &tenant.spec.class
            && let Some(class) = store.object(Kind::TenantClass, class).await?
        {
            objects.add_class(class)?;
        }
        objects.tenants.push(tenant);
        Ok(Some(objects))
    }

    fn add_class(&mut self, class: StoredObject) -> Result<(), StoreError> {
        let spec = serde_json::from_value(class.spec.into())?;
        self.class_generations.insert(class.name.clone(), class.generation);
        self.classes.insert(class.name, spec);
        Ok(())
    }

    /// What should exist.
    #[must_use]
    pub fn desired(&self, config: &ReconcileConfig) -> Desired {
        let inputs = self.tenants.iter().map(|tenant| TenantInput {
            name: &tenant.object.name,
            spec: &tenant.spec,
            deleting: tenant.object.deleted_at.is_some(),
        });
        let (controller, secrets) = (config.controller, config.secrets.pass());
        Desired::resolve(controller, &config.organization, &self.classes, &secrets, inputs)
    }

    /// What earlier passes and open intents know, by organization; without the ids that are gone.
    pub(super) fn known(
        &self,
        intents: &[Intent],
        gone: &BTreeSet<String>,
    ) -> BTreeMap<String, Known> {
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        for status in self.statuses() {
            let (Some(organization), Some(app)) = (&status.org, &status.app) else { continue };
            let known = known.entry(organization.clone()).or_default();
            for machine in &status.machines {
                let Some(id) = machine.id.as_ref().filter(|id| !gone.contains(*id)) else {
                    continue;
                };
                let region = Some(machine.region.clone());
                known.machines.insert(id.clone(), KnownMachine { app: app.clone(), region });
            }
            let volumes = status.volumes.iter().filter_map(|volume| volume.id.as_ref());
            known.volumes.extend(
                volumes.filter(|id| !gone.contains(*id)).map(|id| (id.clone(), app.clone())),
            );
        }
        for intent in intents.iter().filter(|intent| intent.state != IntentState::Planned) {
            let known = known.entry(intent.organization.clone()).or_default();
            let app = intent.app.clone();
            match (intent.kind, &intent.external_id) {
                (ActionKind::CreateVolume, id) => {
                    if let Some(id) = id.as_ref().filter(|id| !gone.contains(*id)) {
                        known.volumes.insert(id.clone(), app.clone());
                    }
                    known.expected_volumes.insert((app, intent.external_name.clone()));
                }
                (ActionKind::CreateMachine, Some(id)) if !gone.contains(id) => {
                    known.machines.entry(id.clone()).or_insert(KnownMachine { app, region: None });
                }
                _ => {}
            }
        }
        known
    }

    /// The machines that earlier passes took down in order to make them anew, by tenant and name.
    pub(super) fn replacing(&self) -> BTreeSet<(String, String)> {
        let statuses = self.tenants.iter().filter_map(|tenant| {
            Some((tenant.object.name.as_str(), &tenant.status.as_ref()?.machines))
        });
        let replacing = statuses.flat_map(|(tenant, machines)| {
            let machines = machines.iter().filter(|machine| machine.replacing);
            machines.map(|machine| (tenant.to_owned(), machine.name.clone()))
        });
        replacing.collect()
    }

    /// The ids that statuses name.
    pub(super) fn ids(&self) -> HashSet<&str> {
        let machines = self.statuses().flat_map(|status| &status.machines);
        let volumes = self.statuses().flat_map(|status| &status.volumes);
        let ids = machines.map(|machine| &machine.id).chain(volumes.map(|volume| &volume.id));
        ids.filter_map(Option::as_deref).collect()
    }

    fn statuses(&self) -> impl Iterator<Item = &TenantStatus> {
        self.tenants.iter().filter_map(|tenant| tenant.status.as_ref())
    }

    /// What changes when somebody changes what a tenant should be: its own spec or its class's, or
    /// that it should be at all.
    pub(super) fn revision(&self, tenant: &TenantObject) -> i64 {
        let class = tenant.spec.class.as_ref().and_then(|class| self.class_generations.get(class));
        let deletion = i64::from(tenant.object.deleted_at.is_some());
        tenant.object.generation + class.copied().unwrap_or(0) + deletion
    }
}

fn decoded(object: StoredObject) -> Result<TenantObject, StoreError> {
    Ok(TenantObject {
        spec: serde_json::from_value(object.spec.clone().into())?,
        status: object.status.clone().map(serde_json::from_value).transpose()?,
        object,
    })
}
