//! The way to a machine.

use reqwest::Method;
use serde_json::json;
use vault_api::connect::{self, ConnectRequest, ConnectSpec, ConnectStatus};
use vault_api::object::{API_VERSION, GROUP, VERSION};

use super::{Client, ClientError};
use crate::object::Resource;

impl Client {
    /// Where a machine of a tenant is, how it proves itself, and what proves us to it.
    pub(crate) async fn connect(
        &self,
        tenant: &str,
        machine: Option<&str>,
    ) -> Result<ConnectStatus, ClientError> {
        let url = self.url(&["apis", GROUP, VERSION, Resource::Tenant.plural(), tenant, "connect"]);
        let request = format!("POST {}", url.path());
        let body = json!({
            "apiVersion": API_VERSION,
            "kind": connect::KIND,
            "spec": ConnectSpec { machine: machine.map(str::to_owned) },
        });
        let answer: ConnectRequest = self.call(Method::POST, url, Some(&body)).await?;
        answer.status.ok_or_else(|| ClientError::Meaning {
            request,
            source: serde::de::Error::missing_field("status"),
        })
    }
}
