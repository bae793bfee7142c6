//! Deploy tokens of tenants.

use reqwest::Method;
use serde_json::json;
use vault_api::object::{GROUP, VERSION};
use vault_api::tokens::{FetchedToken, TokenRequest};

use super::{Client, ClientError};
use crate::object::Resource;

impl Client {
    /// The newest deploy token of a name.
    pub(crate) async fn deploy_token(
        &self,
        tenant: &str,
        name: &str,
    ) -> Result<FetchedToken, ClientError> {
        let url = self.url(&["apis", GROUP, VERSION, Resource::Tenant.plural(), tenant, "token"]);
        let body = json!(TokenRequest { name: name.to_owned() });
        self.call(Method::POST, url, Some(&body)).await
    }
}
