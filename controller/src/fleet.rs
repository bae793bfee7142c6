//! The fleet in numbers: a pure fold over what one pass saw and published.

use std::collections::{BTreeMap, BTreeSet};

use vault_api::fleet::{ConditionCount, MachineCounts, NotReady, NotReadyTenant, VolumeCounts};
use vault_api::object::ConditionStatus;
use vault_api::status::{TenantStatus, condition};
use vault_plan::observed::ObservedOrganization;

use crate::usage::is_marked;

/// How many tenants that are not Ready are named: a person who sees more of them looks at what they
/// have in common.
const NOT_READY_MAX: usize = 100;
/// Rows in one page of the platform's lists.
const PAGE_ROWS: usize = 1_000;

/// The fleet after one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// The tenants that are not Ready.
    pub not_ready: NotReady,
    /// The machines that carry our mark.
    pub machines: MachineCounts,
    /// The tenants' volumes that exist.
    pub volumes: VolumeCounts,
    /// Regions that the platform's lists left out, by organization.
    pub error_regions: BTreeMap<String, BTreeSet<String>>,
    /// The fewest calls with which the lists could be read: one for the apps of an organization,
    /// one per page of its machines and of its volumes.
    pub floor_reads: u64,
    conditions: ByType,
}

/// How many tenants have each condition, by its type, status and reason: nested, so that one more
/// tenant of a kind that is known copies nothing.
type ByType = BTreeMap<String, BTreeMap<&'static str, BTreeMap<String, usize>>>;

impl Fleet {
    /// Counts a tenant; they are named in the order in which they come.
    pub fn add_tenant(&mut self, name: &str, status: &TenantStatus, ready: bool) {
        for one in &status.conditions {
            if !self.conditions.contains_key(&one.r#type) {
                self.conditions.insert(one.r#type.clone(), BTreeMap::new());
            }
            if let Some(by_status) = self.conditions.get_mut(&one.r#type) {
                count(by_status.entry(word(one.status)).or_default(), &one.reason);
            }
        }
        for volume in status.volumes.iter().filter(|volume| volume.id.is_some()) {
            self.volumes.total += 1;
            self.volumes.size_gb += u64::from(volume.size_gb);
        }
        if ready {
            return;
        }
        self.not_ready.total += 1;
        if self.not_ready.tenants.len() < NOT_READY_MAX {
            let is_ready = |one: &&vault_api::object::Condition| one.r#type == condition::READY;
            let why = status.conditions.iter().find(is_ready);
            self.not_ready.tenants.push(NotReadyTenant {
                name: name.to_owned(),
                reason: why.map(|why| why.reason.clone()).unwrap_or_default(),
                message: why.map(|why| why.message.clone()).unwrap_or_default(),
            });
        }
    }

    /// Counts what the lists showed.
    pub fn add_observed(
        &mut self,
        organizations: &BTreeMap<String, ObservedOrganization>,
        controller: &str,
    ) {
        for (slug, organization) in organizations {
            for machine in &organization.machines {
                if is_marked(machine, controller) {
                    self.machines.total += 1;
                    count(&mut self.machines.by_state, machine.state.word());
                    count(&mut self.machines.by_region, &machine.region);
                }
            }
            if !organization.gaps.regions.is_empty() {
                self.error_regions.insert(slug.clone(), organization.gaps.regions.clone());
            }
            let pages = |rows: usize| rows.div_ceil(PAGE_ROWS).max(1) as u64;
            self.floor_reads +=
                1 + pages(organization.machines.len()) + pages(organization.volumes.len());
        }
    }

    /// How many tenants have each condition.
    #[must_use]
    pub fn conditions(&self) -> Vec<ConditionCount> {
        let kinds = self.conditions.iter();
        let statuses = kinds.flat_map(|(kind, by_status)| {
            by_status.iter().map(move |(status, by_reason)| (kind, *status, by_reason))
        });
        let counts = statuses.flat_map(|(kind, status, by_reason)| {
            by_reason.iter().map(move |(reason, count)| ConditionCount {
                r#type: kind.clone(),
                status: match status {
                    "True" => ConditionStatus::True,
                    "False" => ConditionStatus::False,
                    _ => ConditionStatus::Unknown,
                },
                reason: reason.clone(),
                count: *count,
            })
        });
        counts.collect()
    }
}

/// A condition's status as documents and labels write it.
#[must_use]
pub fn word(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}

fn count(counts: &mut BTreeMap<String, usize>, key: &str) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => drop(counts.insert(key.to_owned(), 1)),
    }
}
