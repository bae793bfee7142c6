//! What was deleted, and what is left at the platform.

use reqwest::Method;
use serde_json::json;
use vault_api::object::{GROUP, VERSION};
use vault_api::orphan::OrphanList;

use super::{Client, ClientError};
use crate::object::{Object, Resource};

impl Client {
    /// Brings a deleted tenant back.
    pub(crate) async fn undelete(&self, tenant: &str) -> Result<Object, ClientError> {
        let plural = Resource::Tenant.plural();
        let url = self.url(&["apis", GROUP, VERSION, plural, tenant, "undelete"]);
        self.call(Method::POST, url, Some(&json!({}))).await
    }

    /// What is ours at the platform and serves no tenant.
    pub(crate) async fn orphans(&self) -> Result<OrphanList, ClientError> {
        self.call(Method::GET, self.url(&["orphans"]), None).await
    }
}
