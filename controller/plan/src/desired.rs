//! What should exist: tenants as written, resolved with their classes into machines and volumes.
//!
//! A tenant that cannot be resolved is kept, with its problems: it must not disappear from the
//! plan, because what it already has would then look like it belonged to nobody.

mod sharing;
mod slots;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use vault_api::problem::{FieldPath, Problem};
use vault_api::resolve::{ResolvedBucket, ResolvedSpec, ResolvedToken, app_of, resolve};
use vault_api::tenant::{
    AppSetting, DriftPolicy, MachineState, ReconcileMode, SecretEntry, SecretFrom, TenantClassSpec,
    TenantSpec,
};

use crate::bucket::DesiredBucket;
use crate::config::{ConfigTemplate, SpecHash};
use crate::identity::{ControllerId, TenantUid, machine_name};
use crate::metadata::SECRET_HASH_SEPARATOR;
use crate::token::DesiredToken;
pub(crate) use slots::group_and_index;
pub use slots::{Slot, Slots};

/// Fly's limit for the names of machines is that of a DNS label.
const MACHINE_NAME_LENGTH_MAX: usize = 63;

/// Everything that should exist.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Whose tenants these are.
    pub controller: ControllerId,
    /// The controller's id as it stands in metadata.
    pub controller_mark: String,
    /// The tenants, in the order of their names.
    pub tenants: Vec<DesiredTenant>,
    /// Machines of shared apps whose names two tenants come to.
    pub contested: Contested,
}

/// Machines that are not made for a tenant, by its name and theirs, because another tenant, which
/// stands here, comes to the same name and is the first. One that is there already stays whose it is.
pub type Contested = BTreeMap<(Arc<str>, String), Arc<str>>;

/// One tenant, as far as the planner is concerned.
#[derive(Clone, Debug)]
pub struct DesiredTenant {
    /// Unique.
    pub name: Arc<str>,
    /// Its identity; names follow from it.
    pub uid: TenantUid,
    /// The organization's slug.
    pub organization: Arc<str>,
    /// The app's name.
    pub app: String,
    /// Whether the manifest names the app. A derived name is proof that the app is ours.
    pub app_is_named: bool,
    /// Whether other tenants may have machines in the app.
    pub app_is_shared: bool,
    /// Somebody asked for the tenant's deletion.
    pub deleting: bool,
    /// Nothing may be done for it, only said.
    pub paused: bool,
    /// What somebody else changed is reported and not corrected.
    pub reports_drift: bool,
    /// The app secrets that should be set, in the order of their names.
    pub secrets: Vec<DesiredSecret>,
    /// The deploy tokens that should exist; none if it cannot be said what should.
    pub tokens: Arc<[DesiredToken]>,
    /// The buckets that should exist; none if it cannot be said what should.
    pub buckets: Vec<DesiredBucket>,
    /// What should exist, or why that cannot be said.
    pub machines: Result<Vec<DesiredMachine>, Vec<Problem>>,
    /// The groups and volume templates that the names of its volumes are derived from; empty if the
    /// spec cannot be resolved.
    pub slots: Arc<Slots>,
}

impl DesiredTenant {
    /// The hashes of all secrets: what machines that know them carry as
    /// [`crate::metadata::SECRET_HASH`]. Empty without secrets.
    #[must_use]
    pub fn secrets_mark(&self) -> Cow<'_, str> {
        let mut hashes = self.secrets.iter().map(|secret| secret.hash.as_str());
        let first = hashes.next().unwrap_or_default();
        hashes.fold(Cow::Borrowed(first), |mut mark, hash| {
            mark.to_mut().push(SECRET_HASH_SEPARATOR);
            mark.to_mut().push_str(hash);
            mark
        })
    }
}

/// One app secret that should be set. Its value never enters the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredSecret {
    /// Its name in the app.
    pub name: Arc<str>,
    /// The environment variable in the machines: the same name, but in a shared app.
    pub variable: Arc<str>,
    /// Our keyed hash over app, name and value, as text without commas. Who does not have the key
    /// can neither test a guess of the value against it nor tell equal values of two apps.
    pub hash: String,
    /// Where its value comes from, if the manifest says; else it is derived.
    pub from: Option<SecretFrom>,
    /// What of the tenant's storage it holds, if it does.
    pub storage: Option<StorageValue>,
}

/// What an app secret holds of a tenant's storage. Only one of them is to be kept secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageValue {
    /// The id of the access key.
    KeyId(String),
    /// The secret of the access key with this number.
    KeySecret(u64),
    /// The address of S3.
    Endpoint,
    /// The region to sign for.
    Region,
    /// The name of a bucket.
    Bucket(String),
}

/// Where a tenant's secrets are.
#[derive(Clone, Copy, Debug)]
pub struct SecretPlace<'a> {
    /// Whose secrets they are.
    pub tenant: TenantUid,
    /// The app's name.
    pub app: &'a str,
    /// Whether other tenants may have secrets there.
    pub shared: bool,
}

impl SecretPlace<'_> {
    /// The name in the app of the secret that machines find as `variable`.
    #[must_use]
    pub fn name(&self, variable: &Arc<str>) -> Arc<str> {
        if self.shared { self.tenant.secret_name(variable).into() } else { Arc::clone(variable) }
    }
}

/// Tells which secrets a tenant should have in its app.
pub trait DesiredSecrets {
    /// The secrets, in the order of their names. The same arguments give the same answer.
    fn of(&self, place: SecretPlace<'_>) -> Vec<DesiredSecret>;

    /// The hash of a secret that a manifest names and that is to be called `name` in the app; see
    /// [`DesiredSecret::hash`].
    ///
    /// # Errors
    /// Why its value cannot be had, as a sentence.
    fn of_manifest(&self, app: &str, name: &str, secret: &SecretEntry) -> Result<String, String>;
}

/// One machine that should exist.
#[derive(Clone, Debug)]
pub struct DesiredMachine {
    /// `TENANT-GROUP-INDEX`.
    pub name: String,
    /// From 0.
    pub index: u32,
    /// The region code.
    pub region: Arc<str>,
    /// Whether it should run.
    pub state: MachineState,
    /// Whether it and its volume may be moved to another region by a snapshot.
    pub relocate: bool,
    /// Its group's config.
    pub config: Arc<ConfigTemplate>,
    /// The hash of its rendered config.
    pub spec_hash: SpecHash,
    /// The volume that it mounts.
    pub volume: Option<DesiredVolume>,
}

/// One volume that should exist, for one machine.
#[derive(Clone, Debug)]
pub struct DesiredVolume {
    /// The volume template's name.
    pub template: Arc<str>,
    /// The derived name at Fly.
    pub name: String,
    /// Size in gigabytes.
    pub size_gb: u32,
}

/// A tenant as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct TenantInput<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its spec as written.
    pub spec: &'a TenantSpec,
    /// Somebody asked for its deletion.
    pub deleting: bool,
}

impl Desired {
    /// Resolves stored tenants with their classes. `organization` is the controller's own, for
    /// tenants and classes that name none.
    ///
    /// Every tenant gets its secrets, whatever images it runs: any of them may hold the agent.
    #[must_use]
    pub fn resolve<'a>(
        controller: ControllerId,
        organization: &str,
        classes: &BTreeMap<String, TenantClassSpec>,
        secrets: &dyn DesiredSecrets,
        tenants: impl IntoIterator<Item = TenantInput<'a>>,
    ) -> Self {
        let mut resolver = Resolver {
            controller,
            organization: organization.into(),
            classes,
            secrets,
            plain: HashMap::new(),
        };
        let mut inputs: Vec<_> = tenants.into_iter().collect();
        inputs.sort_unstable_by_key(|tenant| tenant.name);
        let mut tenants: Vec<_> = inputs.iter().map(|tenant| resolver.tenant(tenant)).collect();
        sharing::refuse(&mut tenants);
        let contested = sharing::contested(&tenants);
        Self { controller, controller_mark: controller.to_string(), tenants, contested }
    }
}

/// A spec whose configs are compiled: what tenants of one class without changes of their own share.
struct CompiledSpec {
    organization: Option<Arc<str>>,
    secrets: Vec<SecretEntry>,
    tokens: Arc<[DesiredToken]>,
    buckets: Vec<ResolvedBucket>,
    groups: Vec<CompiledGroup>,
    slots: Arc<Slots>,
}

struct CompiledGroup {
    name: String,
    region: Arc<str>,
    count: u32,
    state: MachineState,
    relocate: bool,
    config: Arc<ConfigTemplate>,
    volume: Option<(Arc<str>, u32)>,
}

struct Resolver<'a> {
    controller: ControllerId,
    organization: Arc<str>,
    classes: &'a BTreeMap<String, TenantClassSpec>,
    secrets: &'a dyn DesiredSecrets,
    /// Tenants that only name a class resolve once per class, not once per tenant. What keeps one of them
    /// from it, such as the length of its name, need not keep the others.
    plain: HashMap<&'a str, Arc<CompiledSpec>>,
}

impl<'a> Resolver<'a> {
    fn tenant(&mut self, tenant: &TenantInput<'a>) -> DesiredTenant {
        let name: Arc<str> = tenant.name.into();
        let uid = self.controller.tenant_uid(tenant.name);
        let compiled = self.compiled(tenant);
        let named = app_of(tenant.spec, self.class_of(tenant.spec));
        let app_is_named = named.is_some();
        let app_is_shared = named.is_some_and(AppSetting::is_shared);
        let app = named.map_or_else(|| uid.app_name(tenant.name), |named| named.name().to_owned());
        let organization = match &compiled {
            Ok(spec) => spec.organization.clone(),
            // What is left of the tenant has to be looked for where it was made.
            Err(_) => self.written_organization(tenant.spec).map(Into::into),
        };
        let organization = organization.unwrap_or_else(|| Arc::clone(&self.organization));
        let place = SecretPlace { tenant: uid, app: &app, shared: app_is_shared };
        let mut secrets = self.secrets.of(place);
        let tokens = compiled.as_ref().map(|spec| Arc::clone(&spec.tokens)).unwrap_or_default();
        let slots = compiled.as_ref().map(|spec| Arc::clone(&spec.slots)).unwrap_or_default();
        let buckets =
            compiled.as_ref().map(|spec| desired_buckets(&spec.buckets, tenant.name, uid));
        let buckets = buckets.unwrap_or_default();
        let machines = compiled.and_then(|spec| {
            secrets.extend(self.manifest_secrets(place, &spec.secrets)?);
            machines_of(&spec, tenant.name, uid)
        });
        secrets.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        DesiredTenant {
            name,
            uid,
            organization,
            app,
            app_is_named,
            app_is_shared,
            deleting: tenant.deleting,
            paused: self.is_paused(tenant.spec),
            reports_drift: self.reports_drift(tenant.spec),
            secrets,
            tokens,
            buckets,
            machines,
            slots,
        }
    }

    fn compiled(&mut self, tenant: &TenantInput<'a>) -> Result<Arc<CompiledSpec>, Vec<Problem>> {
        let spec = tenant.spec;
        let plain = spec.org.is_none()
            && spec.vars.is_empty()
            && spec.relocate.is_none()
            && spec.secrets.is_empty()
            && spec.tokens.is_none()
            && spec.storage.is_none()
            && spec.machines.is_empty()
            && spec.volumes.is_empty();
        match &spec.class {
            Some(class) if plain && spec.app.is_none() => {
                if let Some(known) = self.plain.get(class.as_str()) {
                    return Ok(Arc::clone(known));
                }
                let compiled = self.resolve(tenant)?;
                self.plain.insert(class, Arc::clone(&compiled));
                Ok(compiled)
            }
            _ => self.resolve(tenant),
        }
    }

    fn resolve(&self, tenant: &TenantInput<'_>) -> Result<Arc<CompiledSpec>, Vec<Problem>> {
        let class = tenant.spec.class.as_deref();
        let class = class.and_then(|class| self.classes.get_key_value(class));
        let class = class.map(|(name, spec)| (name.as_str(), spec));
        Ok(Arc::new(compile(resolve(tenant.name, tenant.spec, class)?)))
    }

    /// A machine must not start without a secret that its manifest names, so a value that cannot be
    /// had is a problem of the whole tenant.
    fn manifest_secrets(
        &self,
        place: SecretPlace<'_>,
        entries: &[SecretEntry],
    ) -> Result<Vec<DesiredSecret>, Vec<Problem>> {
        let (mut secrets, mut problems) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            let variable: Arc<str> = entry.name.as_str().into();
            let name = place.name(&variable);
            match self.secrets.of_manifest(place.app, &name, entry) {
                Ok(hash) => {
                    let from = Some(entry.from.clone());
                    secrets.push(DesiredSecret { name, variable, hash, from, storage: None });
                }
                Err(why) => {
                    let path = FieldPath::default().field("spec").field("secrets").index(index);
                    let message = format!("secret {}: {why}", entry.name);
                    problems.push(Problem::invalid(path.field("from"), message));
                }
            }
        }
        if problems.is_empty() { Ok(secrets) } else { Err(problems) }
    }

    /// Asked of what is written, because a tenant that cannot be resolved may be paused too.
    fn is_paused(&self, spec: &TenantSpec) -> bool {
        let class = self.class_of(spec);
        let mode = spec.reconcile.or_else(|| class.and_then(|class| class.reconcile));
        mode == Some(ReconcileMode::Paused)
    }

    fn reports_drift(&self, spec: &TenantSpec) -> bool {
        let class = self.class_of(spec);
        let policy = spec.drift_policy.or_else(|| class.and_then(|class| class.drift_policy));
        policy == Some(DriftPolicy::Report)
    }

    fn written_organization(&self, spec: &'a TenantSpec) -> Option<&'a str> {
        let of_class = self.class_of(spec).and_then(|class| class.org.as_deref());
        spec.org.as_deref().or(of_class)
    }

    fn class_of(&self, spec: &TenantSpec) -> Option<&'a TenantClassSpec> {
        self.classes.get(spec.class.as_ref()?)
    }
}

fn compile(spec: ResolvedSpec) -> CompiledSpec {
    let ResolvedSpec { org, app: _, vars, secrets, tokens, buckets, machines, volumes } = spec;
    let slots = Slots {
        groups: machines.iter().map(|group| (group.name.as_str().into(), group.count)).collect(),
        templates: volumes
            .iter()
            .map(|volume| (volume.name.as_str().into(), volume.deletion_policy))
            .collect(),
    };
    let groups = machines
        .into_iter()
        .map(|group| CompiledGroup {
            volume: group.mount.map(|mount| {
                let volume = &volumes[mount.volume];
                (volume.name.as_str().into(), volume.size_gb)
            }),
            name: group.name,
            region: group.region.into(),
            count: group.count,
            state: group.state,
            relocate: group.relocate,
            config: Arc::new(ConfigTemplate::compile(group.config, vars.clone())),
        })
        .collect();
    let tokens = tokens.into_iter().map(desired_token).collect();
    let (organization, slots) = (org.map(Into::into), Arc::new(slots));
    CompiledSpec { organization, secrets, tokens, buckets, groups, slots }
}

fn desired_buckets(buckets: &[ResolvedBucket], tenant: &str, uid: TenantUid) -> Vec<DesiredBucket> {
    let desired = |bucket: &ResolvedBucket| DesiredBucket {
        name: bucket.name.as_str().into(),
        bucket: uid.bucket_name(tenant, &bucket.name),
        access: bucket.access,
        deletion_policy: bucket.deletion_policy,
    };
    buckets.iter().map(desired).collect()
}

fn desired_token(token: ResolvedToken) -> DesiredToken {
    let milliseconds = |span: u64| i64::try_from(span).unwrap_or(i64::MAX);
    DesiredToken {
        name: token.name.into(),
        ttl_ms: milliseconds(token.ttl_ms),
        rotate_before_ms: milliseconds(token.rotate_before_ms),
    }
}

fn machines_of(
    spec: &CompiledSpec,
    tenant: &str,
    uid: TenantUid,
) -> Result<Vec<DesiredMachine>, Vec<Problem>> {
    let count: u32 = spec.groups.iter().map(|group| group.count).sum();
    let mut machines = Vec::with_capacity(count as usize);
    for group in &spec.groups {
        for index in 0..group.count {
            let name = machine_name(tenant, &group.name, index);
            if name.len() > MACHINE_NAME_LENGTH_MAX {
                let path = FieldPath::default().field("metadata").field("name");
                let message = format!(
                    "the machine name {name} is longer than {MACHINE_NAME_LENGTH_MAX} characters"
                );
                return Err(vec![Problem::invalid(path, message)]);
            }
            machines.push(DesiredMachine {
                name,
                index,
                region: Arc::clone(&group.region),
                state: group.state,
                relocate: group.relocate,
                spec_hash: group.config.hash(tenant, index),
                config: Arc::clone(&group.config),
                volume: group.volume.as_ref().map(|(template, size_gb)| DesiredVolume {
                    template: Arc::clone(template),
                    name: uid.volume_name(&group.name, index, template),
                    size_gb: *size_gb,
                }),
            });
        }
    }
    Ok(machines)
}
