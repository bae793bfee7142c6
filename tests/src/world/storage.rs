//! Object storage, as the controller of a world is told of it, and as a story looks into it.

use anyhow::Context;
pub use vault_cloud::storage::{BucketLook, StorageClient};
use vault_cloud::storage::{StorageAccess, StorageConfig};
use vault_emulator::DEFAULT_ORG;

use super::World;

impl World {
    /// A client with the admin key of the controller's organization.
    ///
    /// # Errors
    /// If the platform does not run.
    pub fn storage(&self) -> anyhow::Result<StorageClient> {
        let access = self.platform()?.storage(DEFAULT_ORG).context("there is storage")?;
        let secret = access.secret_access_key.expose().to_owned();
        self.storage_with_key(access.access_key_id.clone(), secret)
    }

    /// A client with a key.
    ///
    /// # Errors
    /// If the platform does not run.
    pub fn storage_with_key(&self, id: String, secret: String) -> anyhow::Result<StorageClient> {
        let admin = self.platform()?.storage(DEFAULT_ORG).context("there is storage")?;
        let access = StorageAccess {
            s3: admin.endpoint.clone(),
            iam: admin.endpoint.clone(),
            region: admin.region.to_owned(),
            access_key_id: id,
            secret_access_key: secret.into(),
        };
        Ok(StorageClient::new(StorageConfig::new(access))?)
    }

    /// The environment that gives the controller the emulator's admin key; nothing while the platform
    /// does not run.
    pub(super) fn storage_environment(&self) -> Vec<(&'static str, String)> {
        let access = self.emulator.as_ref().and_then(|emulator| emulator.storage(DEFAULT_ORG));
        let Some(access) = access else { return Vec::new() };
        vec![
            ("AWS_ACCESS_KEY_ID", access.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", access.secret_access_key.expose().to_owned()),
            ("AWS_ENDPOINT_URL_S3", access.endpoint.clone()),
            ("AWS_ENDPOINT_URL_IAM", access.endpoint.clone()),
            ("AWS_REGION", access.region.to_owned()),
        ]
    }
}
