//! The resources as they are cached: without status, and with no more metadata than is needed.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::ClusterResourceScope;
use serde::Deserialize;
use vault_api::tenant::{TenantClassSpec, TenantSpec};

/// A tenant.
#[derive(Clone, Debug, Deserialize)]
pub struct Tenant {
    /// Its name, uid and version; the rest is stripped.
    pub metadata: ObjectMeta,
    /// What should exist.
    #[serde(default)]
    pub spec: TenantSpec,
}

impl Tenant {
    /// Drops what a reconcile does not look at.
    pub fn strip(&mut self) {
        let ObjectMeta { name, uid, resource_version, deletion_timestamp, .. } =
            std::mem::take(&mut self.metadata);
        self.metadata =
            ObjectMeta { name, uid, resource_version, deletion_timestamp, ..ObjectMeta::default() };
    }
}

/// A class of tenants.
#[derive(Clone, Debug, Deserialize)]
pub struct Class {
    /// Its name, and more.
    pub metadata: ObjectMeta,
    /// What its tenants share.
    #[serde(default)]
    pub spec: TenantClassSpec,
}

/// Both are resources of one group; types without a dynamic part keep references to them small.
macro_rules! resource {
    ($type:ty, $kind:literal, $plural:literal) => {
        impl Resource for $type {
            type DynamicType = ();
            type Scope = ClusterResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> Cow<'_, str> {
                "vaultctl.dev".into()
            }

            fn version((): &()) -> Cow<'_, str> {
                "v1".into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(Tenant, "Tenant", "tenants");
resource!(Class, "TenantClass", "tenantclasses");
