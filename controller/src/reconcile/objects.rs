//! What is stored, decoded: the pass's view of what people want and of what earlier passes knew.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use vault_api::status::TenantStatus;
use vault_api::tenant::{TenantClassSpec, TenantSpec};
use vault_plan::action::ActionKind;
use vault_plan::bucket::DesiredBucket;
use vault_plan::desired::{Desired, TenantInput};

use super::ReconcileConfig;
use super::named::Named;
use crate::accept::finalizers;
use crate::identity::SecretFiles;
use crate::observe::{Known, KnownMachine};
use crate::source::Source;
use crate::store::{
    Intent, IntentState, Kind, StatusRow, Store, StoreError, StoredObject, TenantRow,
};

/// How many tenants are decoded at a time: enough that the queries do not count, and few enough
/// that their memory does not.
const TENANTS_PER_PAGE: usize = 200;

/// Stored tenants and classes, decoded: what a pass needs of them from its beginning to its end.
#[derive(Debug, Default)]
pub struct Objects {
    /// The classes' specs by name.
    pub classes: BTreeMap<String, TenantClassSpec>,
    /// The generations of the classes' specs by name.
    class_generations: HashMap<String, i64>,
    /// The tenants in the order of their names.
    pub tenants: Vec<TenantObject>,
    /// What statuses name, by organization.
    known: BTreeMap<String, Known>,
    /// The machines that earlier passes took down in order to make them anew, by tenant and name.
    pub(super) replacing: BTreeSet<(String, String)>,
    /// The buckets that statuses name, by tenant.
    pub(super) buckets: BTreeMap<String, Vec<DesiredBucket>>,
    /// What was found in the files that their secrets come from; known once [`Objects::desired`] was
    /// asked.
    pub(super) files: SecretFiles,
    /// The revisions at which tenants were Ready whose drift is only reported.
    reached: HashMap<String, i64>,
}

/// A stored tenant, decoded; without its status, which only the beginning and the end of a pass
/// look at.
#[derive(Clone, Debug)]
pub struct TenantObject {
    /// Unique.
    pub name: String,
    /// Grows by one with each change of the spec.
    pub generation: i64,
    /// Somebody asked for its deletion.
    pub deleting: bool,
    /// Its deletion was asked for, and the controller has done its part of it.
    pub torn_down: bool,
    /// Who owns the spec.
    pub source: Source,
    /// The class that its spec names.
    class: Option<String>,
    /// Its spec, until [`Objects::desired`] takes it.
    spec: TenantSpec,
}

impl TenantObject {
    /// The tenant as it would be if `object`, whose spec is `spec`, were stored.
    #[must_use]
    pub fn new(object: &StoredObject, spec: TenantSpec) -> Self {
        let deleting = object.deleted_at.is_some();
        Self {
            name: object.name.clone(),
            generation: object.generation,
            deleting,
            torn_down: deleting && !finalizers::is_held_by_us(object),
            source: object.source.clone(),
            class: spec.class.clone(),
            spec,
        }
    }

    /// The class that its spec names.
    pub(super) fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    fn of_row(row: TenantRow) -> Result<Self, StoreError> {
        let deleting = row.deleted_at.is_some();
        let spec = row.spec()?;
        Ok(Self {
            generation: row.generation,
            deleting,
            torn_down: deleting && !finalizers::is_among(&row.metadata()?),
            source: row.source()?,
            class: spec.class.clone(),
            spec,
            name: row.name,
        })
    }
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
        let mut after = String::new();
        loop {
            let rows = store.tenant_rows(&after, TENANTS_PER_PAGE).await?;
            match rows.last() {
                Some(last) => after.clone_from(&last.name),
                None => return Ok(objects),
            }
            for row in rows {
                if let Some(status) = &row.status {
                    objects.learn(&row.name, Named::read(status)?);
                }
                objects.tenants.push(TenantObject::of_row(row)?);
            }
        }
    }

    /// Reads and decodes one tenant and its class, and the tenant's status; `None` if there is no
    /// such tenant.
    ///
    /// # Errors
    /// As [`Objects::load`].
    pub async fn of_tenant<S: Store>(
        store: &S,
        name: &str,
    ) -> Result<Option<(Self, Option<TenantStatus>)>, StoreError> {
        let Some(mut object) = store.object(Kind::Tenant, name).await? else { return Ok(None) };
        let spec: TenantSpec = serde_json::from_value(std::mem::take(&mut object.spec).into())?;
        let status = object.status.take().map(serde_json::from_value).transpose()?;
        let mut objects = Self::default();
        if let Some(class) = &spec.class
            && let Some(class) = store.object(Kind::TenantClass, class).await?
        {
            objects.add_class(class)?;
        }
        objects.tenants.push(TenantObject::new(&object, spec));
        Ok(Some((objects, status)))
    }

    /// Takes in what a status names.
    fn learn(&mut self, tenant: &str, status: Named<'_>) {
        let replacing = status.machines.iter().filter(|machine| machine.replacing);
        let replacing = replacing.map(|machine| (tenant.to_owned(), machine.name.to_string()));
        self.replacing.extend(replacing);
        if let Some(revision) = status.reached_revision {
            self.reached.insert(tenant.to_owned(), revision);
        }
        if !status.buckets.is_empty() {
            let buckets = status.buckets.into_iter().map(|known| DesiredBucket {
                name: known.name.into(),
                bucket: known.bucket,
                access: known.access,
                deletion_policy: known.deletion_policy,
            });
            self.buckets.insert(tenant.to_owned(), buckets.collect());
        }
        let (Some(organization), Some(app)) = (status.org, status.app) else { return };
        let known = self.known.entry(organization).or_default();
        for machine in status.machines {
            if let Some(id) = machine.id {
                let region = Some(machine.region);
                known.machines.insert(id, KnownMachine { app: app.clone(), region });
            }
        }
        let volumes = status.volumes.into_iter().filter_map(|volume| volume.id);
        known.volumes.extend(volumes.map(|id| (id, app.clone())));
    }

    fn add_class(&mut self, class: StoredObject) -> Result<(), StoreError> {
        let spec = serde_json::from_value(class.spec.into())?;
        self.class_generations.insert(class.name.clone(), class.generation);
        self.classes.insert(class.name, spec);
        Ok(())
    }

    /// The generations of the classes' specs by name.
    pub(super) fn class_generations(&self) -> &HashMap<String, i64> {
        &self.class_generations
    }

    /// What should exist. Takes the specs, which nothing needs after that: they are as large as
    /// all the rest.
    #[must_use]
    pub fn desired(&mut self, config: &ReconcileConfig) -> Desired {
        let specs: Vec<TenantSpec> =
            self.tenants.iter_mut().map(|tenant| std::mem::take(&mut tenant.spec)).collect();
        let inputs = self.tenants.iter().zip(&specs).map(|(tenant, spec)| TenantInput {
            name: &tenant.name,
            spec,
            deleting: tenant.deleting,
        });
        let (controller, secrets) = (config.controller, config.secrets.pass());
        let desired =
            Desired::resolve(controller, &config.organization, &self.classes, &secrets, inputs);
        self.files = secrets.files();
        desired
    }

    /// Takes out what earlier passes and open intents know, by organization, without the ids that
    /// are gone; and which ids statuses name of those, or only intents do.
    pub(super) fn known(&mut self, intents: &[Intent], gone: &BTreeSet<String>) -> KnownIds {
        let mut ids = KnownIds { known: std::mem::take(&mut self.known), ..KnownIds::default() };
        for known in ids.known.values_mut() {
            for id in gone {
                let machine = known.machines.remove(id).is_some();
                if known.volumes.remove(id).is_some() || machine {
                    ids.gone_and_named.insert(id.clone());
                }
            }
        }
        let known = &mut ids.known;
        for intent in intents.iter().filter(|intent| intent.state != IntentState::Planned) {
            let known = known.entry(intent.organization.clone()).or_default();
            let app = intent.app.clone();
            match (intent.kind, &intent.external_id) {
                (ActionKind::CreateVolume, id) => {
                    if let Some(id) = id.as_ref().filter(|id| !gone.contains(*id))
                        && known.volumes.insert(id.clone(), app.clone()).is_none()
                    {
                        ids.only_of_intents.insert(id.clone());
                    }
                    known.expected_volumes.insert((app, intent.external_name.clone()));
                }
                (ActionKind::CreateMachine, Some(id)) if !gone.contains(id) => {
                    known.machines.entry(id.clone()).or_insert_with(|| {
                        ids.only_of_intents.insert(id.clone());
                        KnownMachine { app, region: None }
                    });
                }
                _ => {}
            }
        }
        ids
    }

    /// The class that a tenant names, and the generation of that; 0 if there is none.
    pub(super) fn class_generation(&self, tenant: &TenantObject) -> Option<(String, i64)> {
        let class = tenant.class.clone()?;
        let generation = self.class_generations.get(&class).copied().unwrap_or(0);
        Some((class, generation))
    }

    /// What changes when somebody changes what a tenant should be: its own spec or its class's, or
    /// that it should be at all.
    pub(super) fn revision(&self, tenant: &TenantObject) -> i64 {
        let class = tenant.class.as_ref().and_then(|class| self.class_generations.get(class));
        let deletion = i64::from(tenant.deleting);
        tenant.generation + class.copied().unwrap_or(0) + deletion
    }
}

impl Objects {
    /// The tenants that were Ready at their present revision, of those whose drift is reported.
    pub(super) fn reached(&self) -> BTreeSet<String> {
        if self.reached.is_empty() {
            return BTreeSet::new();
        }
        let at_present =
            |tenant: &&TenantObject| self.reached.get(&tenant.name) == Some(&self.revision(tenant));
        self.tenants.iter().filter(at_present).map(|tenant| tenant.name.clone()).collect()
    }
}

/// What is known by id at the beginning of a pass.
#[derive(Debug, Default)]
pub(super) struct KnownIds {
    /// By organization, without the ids that are gone.
    pub(super) known: BTreeMap<String, Known>,
    /// Ids that are gone, and that statuses still name.
    pub(super) gone_and_named: BTreeSet<String>,
    /// Ids that no status names, but open intents do.
    pub(super) only_of_intents: BTreeSet<String>,
}

/// The stored statuses once more, at the end of a pass: asked for in the order of the tenants' names,
/// and read a page at a time.
pub(super) struct Rows<'a, S> {
    store: &'a S,
    page: VecDeque<StatusRow>,
    /// The name of the last one that was read.
    after: String,
    ended: bool,
}

impl<'a, S: Store> Rows<'a, S> {
    pub(super) fn new(store: &'a S) -> Self {
        Self { store, page: VecDeque::new(), after: String::new(), ended: false }
    }

    /// The tenant `name`, which comes after those that were asked for before; `None` if it has gone
    /// in the meantime.
    pub(super) async fn of(&mut self, name: &str) -> Result<Option<StatusRow>, StoreError> {
        loop {
            while self.page.pop_front_if(|row| row.name.as_str() < name).is_some() {}
            if self.ended || !self.page.is_empty() {
                return Ok(self.page.pop_front_if(|row| row.name == name));
            }
            self.page = self.store.status_rows(&self.after, TENANTS_PER_PAGE).await?.into();
            match self.page.back() {
                Some(last) => self.after.clone_from(&last.name),
                None => self.ended = true,
            }
        }
    }
}
