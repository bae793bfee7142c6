//! The parts that every object of the resource API has in common, in the shape of Kubernetes
//! (`sig-architecture/api-conventions.md`).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::problem::Problem;

/// The group and version of every document: `vaultctl.dev/v1`.
pub const API_VERSION: &str = "vaultctl.dev/v1";
/// The group alone, as it stands in URLs: `/apis/vaultctl.dev/v1/…`.
pub const GROUP: &str = "vaultctl.dev";
/// The version alone.
pub const VERSION: &str = "v1";

/// Name, labels and bookkeeping of an object.
///
/// People write `name`, `labels` and `annotations`; the rest is filled in by the controller and
/// ignored when it is sent back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectMeta {
    /// The object's name: unique per kind; 1 to 63 lower-case letters, digits and dashes, beginning
    /// with a letter and ending with a letter or digit.
    pub name: String,
    /// Names for selecting objects: at most 63 characters per value, as in Kubernetes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Free text for tools and people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Set by the controller: derived from its identity and the name, so it survives a lost database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Set by the controller: an opaque version for conflict checks, as a decimal string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Set by the controller: grows by one with each change of `spec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Set by the controller: RFC 3339, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// Set by the controller when a deletion was asked for: RFC 3339, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// What has to be cleaned up before the object may go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Accepted for round trips with Kubernetes tools; unused, because tenants are cluster-scoped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Accepted for round trips with Kubernetes tools; not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_fields: Option<Vec<Map<String, Value>>>,
}

/// One observation about an object, summed up as True, False or Unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is said: `Ready`, `Synced`, `Progressing`, `Degraded`, …
    pub r#type: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The `metadata.generation` that this was said about.
    pub observed_generation: i64,
    /// When `status` last changed: RFC 3339, seconds.
    pub last_transition_time: String,
    /// One CamelCase word for programs.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known, or not yet.
    Unknown,
}

/// A list of objects of one kind, or, from `vaultctl -o json`, of any kind (`kind: List`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectList<T> {
    /// `vaultctl.dev/v1`, or `v1` for the mixed `List`.
    pub api_version: String,
    /// `TenantList`, `TenantClassList` or `List`.
    pub kind: String,
    /// The version of the whole list.
    pub metadata: ListMeta,
    /// The objects, in the order of their names.
    pub items: Vec<T>,
}

/// Bookkeeping of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListMeta {
    /// The newest version that this list has seen, as a decimal string; empty in a mixed `List`.
    pub resource_version: String,
}

/// The answer to a request that did not return an object: Kubernetes' `v1.Status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `v1`.
    pub api_version: String,
    /// Always `Status`.
    pub kind: String,
    /// Always empty.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// `Success` or `Failure`.
    pub status: String,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// One CamelCase word for programs: `NotFound`, `AlreadyExists`, `Conflict`, `Invalid`, …
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Which object, and which of its fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<StatusDetails>,
    /// The HTTP status code.
    pub code: u16,
}

impl Status {
    /// A refusal or a failure.
    #[must_use]
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: "Status".to_owned(),
            metadata: Map::new(),
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.to_owned(),
            details: None,
            code,
        }
    }

    /// An object with problems: 422 `Invalid`, one cause per problem. `resource` is the plural
    /// resource, such as `tenants`.
    #[must_use]
    pub fn invalid(resource: &str, name: &str, problems: &[Problem]) -> Self {
        let listed: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let message = format!("{resource}.{GROUP} {name:?} is invalid: {}", listed.join("; "));
        let details = StatusDetails {
            name: name.to_owned(),
            group: GROUP.to_owned(),
            kind: resource.to_owned(),
            causes: problems.iter().map(StatusCause::from).collect(),
        };
        Self { details: Some(details), ..Self::failure(422, "Invalid", message) }
    }

    /// A success without an object to return; `code` is 200 as a rule.
    #[must_use]
    pub fn success(code: u16, message: impl Into<String>) -> Self {
        Self { status: "Success".to_owned(), ..Self::failure(code, "", message) }
    }

    /// The same, about one object.
    #[must_use]
    pub fn about(self, resource: &str, name: &str) -> Self {
        let details = StatusDetails {
            name: name.to_owned(),
            group: GROUP.to_owned(),
            kind: resource.to_owned(),
            causes: self.details.map(|details| details.causes).unwrap_or_default(),
        };
        Self { details: Some(details), ..self }
    }
}

impl From<&Problem> for StatusCause {
    fn from(problem: &Problem) -> Self {
        Self {
            reason: problem.kind.cause_reason().to_owned(),
            message: problem.message.clone(),
            field: problem.path.to_string(),
        }
    }
}

/// Which object a [`Status`] is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDetails {
    /// The object's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `vaultctl.dev`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The plural resource: `tenants` or `tenantclasses`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// One entry per problem of an invalid object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
}

/// One problem of an invalid object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusCause {
    /// `FieldValueInvalid`, `FieldValueRequired`, `FieldValueDuplicate`, `FieldValueNotSupported`.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
    /// The path of the field, such as `spec.machines[0].region`.
    pub field: String,
}
