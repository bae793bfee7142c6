//! What a stored status names: all that a pass needs of it before it has looked at the platform.
//!
//! Most of a status are sentences for people, and a pass reads all statuses: they are passed over here,
//! and read once, when the next status is folded from them.

use std::borrow::Cow;

use serde::Deserialize;
use vault_api::storage::BucketStatus;

use crate::store::StoreError;

/// Some members of [`vault_api::status::TenantStatus`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Named<'a> {
    pub(super) org: Option<String>,
    pub(super) app: Option<String>,
    #[serde(borrow, default)]
    pub(super) machines: Vec<NamedMachine<'a>>,
    #[serde(default)]
    pub(super) volumes: Vec<NamedVolume>,
    #[serde(default)]
    pub(super) buckets: Vec<BucketStatus>,
    pub(super) reached_revision: Option<i64>,
}

/// Some members of [`vault_api::status::MachineStatus`].
#[derive(Debug, Deserialize)]
pub(super) struct NamedMachine<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) id: Option<String>,
    pub(super) region: String,
    #[serde(default)]
    pub(super) replacing: bool,
}

/// Some members of [`vault_api::status::VolumeStatus`].
#[derive(Debug, Deserialize)]
pub(super) struct NamedVolume {
    pub(super) id: Option<String>,
}

impl<'a> Named<'a> {
    /// Reads what a status, as JSON, names.
    ///
    /// # Errors
    /// If this version cannot read it.
    pub(super) fn read(status: &'a str) -> Result<Self, StoreError> {
        Ok(serde_json::from_str(status)?)
    }
}

#[cfg(test)]
mod tests {
    use vault_api::status::{MachineStatus, TenantStatus, VolumeStatus};
    use vault_api::storage::BucketAccess;
    use vault_api::tenant::DeletionPolicy;

    use super::*;

    #[test]
    fn what_a_status_names_is_read_from_what_was_written() {
        let status = TenantStatus {
            org: Some("acme-org".to_owned()),
            app: Some("acme-app".to_owned()),
            machines: vec![MachineStatus {
                name: "a \"quoted\" name".to_owned(),
                id: Some("m1".to_owned()),
                state: Some("started".to_owned()),
                region: "ord".to_owned(),
                private_ip: None,
                version: None,
                ready: false,
                replacing: true,
                agent: None,
            }],
            volumes: vec![VolumeStatus {
                template: "data".to_owned(),
                name: "v_1".to_owned(),
                id: Some("vol1".to_owned()),
                state: None,
                machine: "m".to_owned(),
                size_gb: 1,
                deletion_policy: DeletionPolicy::Retain,
            }],
            buckets: vec![BucketStatus {
                name: "state".to_owned(),
                bucket: "acme-state".to_owned(),
                access: BucketAccess::ReadOnly,
                deletion_policy: DeletionPolicy::Delete,
                ready: true,
            }],
            reached_revision: Some(7),
            ..TenantStatus::default()
        };
        let text = serde_json::to_string(&status).unwrap();
        let named = Named::read(&text).unwrap();
        assert_eq!(
            (named.org, named.app, named.reached_revision),
            (status.org, status.app, Some(7))
        );
        let [machine] = &*named.machines else { panic!("{:?}", named.machines) };
        assert_eq!(machine.name, status.machines[0].name);
        assert_eq!((&machine.id, machine.replacing), (&status.machines[0].id, true));
        assert_eq!(machine.region, "ord");
        assert_eq!(named.volumes[0].id.as_deref(), Some("vol1"));
        assert_eq!(named.buckets, status.buckets);
        let empty = serde_json::to_string(&TenantStatus::default()).unwrap();
        assert!(Named::read(&empty).unwrap().machines.is_empty());
        assert!(Named::read("[]").is_err());
    }
}
