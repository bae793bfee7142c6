//! Operator tokens, and the record of what was written with them.

use reqwest::Method;
use serde_json::Value;
use vault_api::audit::AuditRecordList;
use vault_api::object::{GROUP, ObjectList, Status, VERSION};
use vault_api::operator::{self, OperatorToken};

use super::{Client, ClientError};

impl Client {
    /// All operator tokens, without the tokens themselves.
    pub(crate) async fn operator_tokens(&self) -> Result<ObjectList<OperatorToken>, ClientError> {
        self.call(Method::GET, self.url(&["apis", GROUP, VERSION, operator::RESOURCE]), None).await
    }

    /// Makes an operator token; the answer holds it in its status.
    pub(crate) async fn create_operator_token(
        &self,
        body: &Value,
    ) -> Result<OperatorToken, ClientError> {
        let url = self.url(&["apis", GROUP, VERSION, operator::RESOURCE]);
        self.call(Method::POST, url, Some(body)).await
    }

    /// Revokes an operator token.
    pub(crate) async fn revoke_operator_token(&self, name: &str) -> Result<Status, ClientError> {
        let url = self.url(&["apis", GROUP, VERSION, operator::RESOURCE, name]);
        self.call(Method::DELETE, url, None).await
    }

    /// Who wrote what; `wanted` are options of the query.
    pub(crate) async fn audit_log(
        &self,
        wanted: &[(&str, Option<&str>)],
    ) -> Result<AuditRecordList, ClientError> {
        let mut url = self.url(&["audit-log"]);
        for (name, value) in wanted {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        self.call(Method::GET, url, None).await
    }
}
