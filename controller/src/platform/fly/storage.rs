//! Object storage beside the machines: there only if the operator gave a key for it.

use std::sync::Arc;

use vault_cloud::machines::ClientError;
use vault_cloud::storage::{StorageAccess, StorageClient, StorageConfig};

use super::FlyPlatform;

impl FlyPlatform {
    /// With object storage, over a client of its own; nothing is sent yet. Its calls are counted and
    /// told of as all others are.
    ///
    /// # Errors
    /// If an address cannot be used.
    pub fn with_storage(mut self, access: StorageAccess) -> Result<Self, ClientError> {
        let mut config = StorageConfig::new(access);
        config.user_agent = concat!("vaultctl/", env!("CARGO_PKG_VERSION")).to_owned();
        config.observer = Some(Arc::clone(&self.told));
        self.storage = Some(StorageClient::new(config)?);
        Ok(self)
    }

    /// The client of object storage; `None` if the controller has no key for it.
    #[must_use]
    pub const fn storage(&self) -> Option<&StorageClient> {
        self.storage.as_ref()
    }
}
