//! Every resource of the API in one table: discovery tells it, OpenAPI documents it, routes and
//! lists are made from it.

use super::columns::{self, Column, Row};
use crate::select::fields::Field;
use crate::store::Kind;

/// One resource: names, verbs, and how it is shown and selected.
pub(super) struct Resource {
    /// Empty for the core group.
    pub(super) group: &'static str,
    /// The kind of its objects.
    pub(super) kind: &'static str,
    /// The name in URLs.
    pub(super) plural: &'static str,
    /// The name on command lines.
    pub(super) singular: &'static str,
    /// Shorter names on command lines.
    pub(super) short_names: &'static [&'static str],
    /// Groups of resources that can be asked for together, such as `kubectl get all`.
    pub(super) categories: &'static [&'static str],
    /// Whether its objects lie in namespaces.
    pub(super) namespaced: bool,
    /// What can be done with it, and nothing that cannot.
    pub(super) verbs: &'static [&'static str],
    /// What lies below its objects.
    pub(super) subresources: &'static [Subresource],
    /// The columns of its table.
    pub(super) columns: &'static [Column],
    /// The cells of one object.
    pub(super) row: Row,
    /// What its objects can be selected by, apart from labels.
    pub(super) fields: &'static [Field],
}

/// Something below an object, such as its plan.
pub(super) struct Subresource {
    /// The last part of the path.
    pub(super) name: &'static str,
    /// The kind of what is sent or comes back.
    pub(super) kind: &'static str,
    /// What can be done with it.
    pub(super) verbs: &'static [&'static str],
}

/// The version of both groups.
pub(super) const VERSION: &str = "v1";

const NAME: Field = ("metadata.name", "/metadata/name");
const NAMESPACE: Field = ("metadata.namespace", "/metadata/namespace");

pub(super) static TENANTS: Resource = Resource {
    group: vault_api::object::GROUP,
    kind: "Tenant",
    plural: "tenants",
    singular: "tenant",
    short_names: &["tn"],
    categories: &["all", "vaultctl"],
    namespaced: false,
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    subresources: &[
        Subresource { name: "connect", kind: "ConnectRequest", verbs: &["create"] },
        Subresource { name: "plan", kind: "TenantPlan", verbs: &["create", "get"] },
        Subresource { name: "undelete", kind: "Tenant", verbs: &["create"] },
        Subresource { name: "status", kind: "Tenant", verbs: &["get", "patch", "update"] },
        Subresource { name: "token", kind: "DeployToken", verbs: &["create"] },
    ],
    columns: columns::TENANT,
    row: columns::tenant,
    fields: &[NAME, NAMESPACE],
};

pub(super) static TENANT_CLASSES: Resource = Resource {
    group: vault_api::object::GROUP,
    kind: "TenantClass",
    plural: "tenantclasses",
    singular: "tenantclass",
    short_names: &["tc"],
    categories: &["all", "vaultctl"],
    namespaced: false,
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    subresources: &[],
    columns: columns::CLASS,
    row: columns::class,
    fields: &[NAME, NAMESPACE],
};

pub(super) static EVENTS: Resource = Resource {
    group: "",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    categories: &[],
    namespaced: true,
    verbs: &["get", "list", "watch"],
    subresources: &[],
    columns: columns::EVENT,
    row: columns::event,
    fields: &[
        ("involvedObject.kind", "/involvedObject/kind"),
        ("involvedObject.name", "/involvedObject/name"),
        // Our objects have none; `kubectl describe` says so in its selector.
        ("involvedObject.namespace", "/involvedObject/namespace"),
        ("involvedObject.uid", "/involvedObject/uid"),
        ("involvedObject.apiVersion", "/involvedObject/apiVersion"),
        NAME,
        NAMESPACE,
        ("reason", "/reason"),
        ("reportingComponent", "/reportingComponent"),
        ("source", "/source/component"),
        ("type", "/type"),
    ],
};

pub(super) static NAMESPACES: Resource = Resource {
    group: "",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    categories: &[],
    namespaced: false,
    verbs: &["get", "list"],
    subresources: &[],
    columns: columns::NAMESPACE,
    row: columns::namespace,
    fields: &[NAME],
};

/// All of them, in the order in which discovery tells them.
pub(super) static ALL: [&Resource; 4] = [&EVENTS, &NAMESPACES, &TENANT_CLASSES, &TENANTS];

impl Resource {
    /// The resource of a stored kind.
    pub(super) fn of(kind: Kind) -> &'static Self {
        match kind {
            Kind::Tenant => &TENANTS,
            Kind::TenantClass => &TENANT_CLASSES,
        }
    }

    /// Those of one group.
    pub(super) fn of_group(group: &str) -> impl Iterator<Item = &'static Self> {
        ALL.into_iter().filter(move |resource| resource.group == group)
    }

    /// `apiVersion` of its objects.
    pub(super) fn api_version(&self) -> String {
        match self.group {
            "" => VERSION.to_owned(),
            group => format!("{group}/{VERSION}"),
        }
    }

    /// Where the group's resources stand, without a slash at the end.
    pub(super) fn root(&self) -> String {
        match self.group {
            "" => format!("/api/{VERSION}"),
            group => format!("/apis/{group}/{VERSION}"),
        }
    }
}
