//! An object of the resource API as it travels: JSON, with the few members that this program reads.
//!
//! It is kept as it came, so that members which a newer controller adds reach `-o json` unharmed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vault_api::object::{Condition, ConditionStatus};
use vault_api::status::TenantStatus;

/// The resources of the API. Classes come first in any order of work: tenants refer to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    /// `tenantclasses`
    TenantClass,
    /// `tenants`
    Tenant,
    /// `events` of Kubernetes' core group; read-only.
    Event,
}

impl Resource {
    /// Every resource.
    pub(crate) const EVERY: [Self; 3] = [Self::Tenant, Self::TenantClass, Self::Event];
    /// Those that people write, tenants first, as `get all` shows them.
    pub(crate) const ALL: [Self; 2] = [Self::Tenant, Self::TenantClass];

    /// The name in URLs: `tenants`.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Tenant => "tenants",
            Self::TenantClass => "tenantclasses",
            Self::Event => "events",
        }
    }

    /// The name before a slash: `tenant`.
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::TenantClass => "tenantclass",
            Self::Event => "event",
        }
    }

    /// The name in documents: `Tenant`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::TenantClass => "TenantClass",
            Self::Event => "Event",
        }
    }

    /// The short name: `tn`.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::Tenant => "tn",
            Self::TenantClass => "tc",
            Self::Event => "ev",
        }
    }

    /// The `apiVersion` of its objects.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::Event => "v1",
            Self::Tenant | Self::TenantClass => vault_api::object::API_VERSION,
        }
    }
}

/// One object by kind and name; prints as `tenant/acme`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reference {
    /// Its resource.
    pub(crate) resource: Resource,
    /// Its name.
    pub(crate) name: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.resource.singular(), self.name)
    }
}

/// One object, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Object(pub(crate) Value);

impl Object {
    /// `kind`; empty if absent.
    pub(crate) fn kind(&self) -> &str {
        self.text("/kind").unwrap_or_default()
    }

    /// `metadata.name`; empty if absent.
    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name").unwrap_or_default()
    }

    /// `KIND/NAME` in lower case, as `-o name` prints it.
    pub(crate) fn reference(&self) -> String {
        format!("{}/{}", self.kind().to_lowercase(), self.name())
    }

    /// The string at a JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer)?.as_str()
    }

    /// `metadata.labels` or `metadata.annotations`; members that are not strings are left out.
    pub(crate) fn texts(&self, pointer: &str) -> BTreeMap<&str, &str> {
        let members = self.0.pointer(pointer).and_then(Value::as_object);
        members
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
            .collect()
    }

    /// `metadata.labels`.
    pub(crate) fn labels(&self) -> BTreeMap<&str, &str> {
        self.texts("/metadata/labels")
    }

    /// Whether a deletion was asked for and is going on.
    pub(crate) fn is_being_deleted(&self) -> bool {
        self.text("/metadata/deletionTimestamp").is_some()
    }

    /// A tenant's status; `None` if absent or of a shape that this version does not know.
    pub(crate) fn tenant_status(&self) -> Option<TenantStatus> {
        serde_json::from_value(self.0.get("status")?.clone()).ok()
    }

    /// The condition of this type; Kubernetes compares types without regard to case.
    pub(crate) fn condition(&self, wanted: &str) -> Option<Condition> {
        let conditions = self.0.pointer("/status/conditions")?.as_array()?;
        let found = conditions.iter().find(|one| {
            one.get("type")
                .and_then(Value::as_str)
                .is_some_and(|found| found.eq_ignore_ascii_case(wanted))
        })?;
        serde_json::from_value(found.clone()).ok()
    }

    /// Whether a condition was said about the current spec, not about an older one.
    pub(crate) fn is_current(&self, condition: &Condition) -> bool {
        let generation = self.0.pointer("/metadata/generation").and_then(Value::as_i64);
        generation.is_none_or(|generation| condition.observed_generation >= generation)
    }
}

/// A condition's value as it is written: `True`, `False`, `Unknown`.
pub(crate) fn condition_text(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}
