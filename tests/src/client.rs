//! A client of the resource API, made from the context file that the controller writes.

use std::path::Path;

use anyhow::Context;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;

/// Where tenants are.
pub const TENANTS: &str = "/apis/vaultctl.dev/v1/tenants";
/// Where classes are.
pub const CLASSES: &str = "/apis/vaultctl.dev/v1/tenantclasses";

/// Speaks to one controller and trusts only its authority.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    token: String,
}

/// What the controller answered.
#[derive(Clone, Debug)]
#[must_use = "the status says whether it worked"]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body: JSON, or the text that it is.
    pub body: Value,
}

impl Answer {
    /// The body, if the status is the expected one.
    ///
    /// # Panics
    /// If it is another one; the body is shown.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }
}

impl Client {
    /// Reads a context file.
    ///
    /// # Errors
    /// If it is not there or not what the controller writes.
    pub fn from_context(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let file: Value = serde_saphyr::from_str(&text).context("the context file is no YAML")?;
        let context = &file["contexts"][0];
        let member = |name: &str| {
            let text = context[name].as_str().map(str::to_owned);
            text.with_context(|| format!("the context file names no {name}"))
        };
        let authority = member("certificateAuthority")?;
        let authority = reqwest::Certificate::from_pem(authority.as_bytes())?;
        install_provider();
        let http = reqwest::Client::builder()
            .tls_certs_only([authority])
            .no_proxy()
            .timeout(crate::eventually::DEADLINE)
            .build()?;
        Ok(Self { http, server: member("server")?, token: member("token")? })
    }

    /// The same without a token, or with another one.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Sends a request; a body is sent as JSON, with PATCH as a merge patch.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let form = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut request = self.http.request(method, format!("{}{path}", self.server));
        if !self.token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.token));
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, form).body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body })
    }

    /// GET.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None).await
    }
}

/// Makes ring the provider of TLS in this process; the first caller does it for all.
pub fn install_provider() {
    // An error means that another test was first, with the same provider.
    drop(rustls::crypto::ring::default_provider().install_default());
}
