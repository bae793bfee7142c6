//! What people want in a run, stage by stage.

mod manifest;
mod named;
mod random;

use std::collections::BTreeMap;

pub use manifest::{AppChoice, Group, Manifest, Tenant};
pub use named::named;
pub use random::random;

/// The organizations that exist.
pub const ORGANIZATIONS: [&str; 2] = ["local", "other-org"];
/// The regions that manifests name.
pub const REGIONS: [&str; 2] = ["ord", "fra"];

/// A story: what people want, one after the other.
#[derive(Clone, Debug)]
pub struct Workload {
    /// What it is called.
    pub name: String,
    /// What is wanted in each stage.
    pub stages: Vec<Manifest>,
    /// Whether the last stage must end as the first one did.
    pub returns: bool,
}

impl Workload {
    /// A story whose end has nothing to do with its beginning.
    #[must_use]
    pub fn new(name: &str, stages: Vec<Manifest>) -> Self {
        Self { name: name.to_owned(), stages, returns: false }
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
