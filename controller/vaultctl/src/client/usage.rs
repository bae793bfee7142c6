//! Usage facts, as a list or as they come.

use reqwest::{Method, Url};
use vault_api::usage::UsageFact;

use super::{Client, ClientError, bounded_body, refusal};

impl Client {
    /// When machines ran: of one tenant or of all, deleted ones included.
    pub(crate) async fn usage_facts(
        &self,
        tenant: Option<&str>,
    ) -> Result<Vec<UsageFact>, ClientError> {
        self.call(Method::GET, self.usage_facts_url(tenant), None).await
    }

    /// The same as it comes: the whole of it may be larger than memory has room for.
    pub(crate) async fn usage_facts_stream(
        &self,
        tenant: Option<&str>,
    ) -> Result<reqwest::Response, ClientError> {
        let answer = self.send(self.request(Method::GET, self.usage_facts_url(tenant))).await?;
        let code = answer.status();
        if code.is_success() {
            return Ok(answer);
        }
        Err(refusal(self.server(), code.as_u16(), &bounded_body(answer).await?))
    }

    fn usage_facts_url(&self, tenant: Option<&str>) -> Url {
        let mut url = self.url(&["usage-facts"]);
        if let Some(tenant) = tenant {
            url.query_pairs_mut().append_pair("tenant", tenant);
        }
        url
    }
}
