//! What people want in a run, stage by stage.

mod apart;
mod manifest;
mod named;
mod random;

use std::collections::BTreeMap;

use vault_controller::policy::Policy;

pub use apart::apart;
pub use manifest::{AppChoice, Bucket, Group, Manifest, Tenant, Token};
pub use named::named;
pub use random::{RANDOM, random};

/// The organizations that exist.
pub const ORGANIZATIONS: [&str; 2] = ["local", "other-org"];
/// The regions that manifests name.
pub const REGIONS: [&str; 2] = ["ord", "fra"];

/// A grace that ends within a stage, in milliseconds: eight sightings fit in, one per pass, and a
/// clock that is wrong by a little does not break their chain.
const GRACE_MS: i64 = 80_000;

/// A story: what people want, one after the other.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What it is called.
    pub name: String,
    /// What is wanted in each stage.
    pub stages: Vec<Manifest>,
    /// Whether the last stage must end as the first one did.
    pub returns: bool,
    /// How long a tombstone stands before what it names may go, in milliseconds.
    pub grace_ms: i64,
    /// When each stage begins at the earliest, in milliseconds since the run began; those that are
    /// missing here begin when the one before is over. Nothing goes wrong while one is waited for.
    pub begins_ms: Vec<i64>,
}

impl Workload {
    /// A story whose end has nothing to do with its beginning.
    #[must_use]
    pub fn new(name: &str, stages: Vec<Manifest>) -> Self {
        let grace_ms = Policy::default().deletion_grace_ms;
        Self { name: name.to_owned(), stages, returns: false, grace_ms, begins_ms: Vec::new() }
    }

    /// One in which what is deleted is gone before the next stage, and not only marked.
    #[must_use]
    pub fn buries(self) -> Self {
        Self { grace_ms: GRACE_MS, ..self }
    }

    /// One whose stages do not begin before these times, in milliseconds.
    #[must_use]
    pub fn begins(self, begins_ms: &[i64]) -> Self {
        Self { begins_ms: begins_ms.to_vec(), ..self }
    }

    /// Whether it is one in which what is deleted is gone before the next stage.
    #[must_use]
    pub fn is_buried(&self) -> bool {
        self.grace_ms == GRACE_MS
    }

    /// Whether somebody wants deploy tokens: their list is read only now and then.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        let mut tenants = self.stages.iter().flat_map(|stage| stage.tenants.values());
        tenants.any(|tenant| !tenant.tokens.is_empty())
    }

    /// Whether somebody wants buckets.
    #[must_use]
    pub fn has_buckets(&self) -> bool {
        let mut tenants = self.stages.iter().flat_map(|stage| stage.tenants.values());
        tenants.any(|tenant| !tenant.buckets.is_empty())
    }

    /// Whether machines go from one region to another: each time a volume is left behind, and two
    /// of one name can come to be in one region.
    #[must_use]
    pub fn moves(&self) -> bool {
        let places =
            self.stages.iter().flat_map(|stage| &stage.tenants).flat_map(|(name, tenant)| {
                tenant.groups.iter().map(move |group| ((name.as_str(), group.name), group.region))
            });
        let mut known: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        places.into_iter().any(|(group, region)| *known.entry(group).or_insert(region) != region)
    }

    /// One that ends as it began.
    #[must_use]
    pub fn and_back(name: &str, stages: Vec<Manifest>) -> Self {
        Self { returns: true, ..Self::new(name, stages) }
    }
}
