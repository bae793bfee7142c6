//! What the controller did, and what it is up to, for one tenant.

use reqwest::Method;
use vault_api::object::{GROUP, VERSION};
use vault_api::trace::TenantTrace;

use super::{Client, ClientError};
use crate::object::Resource;

impl Client {
    /// The last intents of a tenant, at most `limit`.
    pub(crate) async fn trace(&self, tenant: &str, limit: u32) -> Result<TenantTrace, ClientError> {
        let plural = Resource::Tenant.plural();
        let mut url = self.url(&["apis", GROUP, VERSION, plural, tenant, "trace"]);
        url.query_pairs_mut().append_pair("limit", &limit.to_string());
        self.call(Method::GET, url, None).await
    }
}
