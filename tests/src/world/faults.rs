//! What goes wrong at the platform of a world, and what was ever made there.

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::Value;
use vault_emulator::DEFAULT_ORG;

use super::World;
use crate::client::Answer;

/// With this header a call meets no faults: what a story asks for is what is.
pub(crate) const SEES_WHAT_IS: (&str, &str) = ("vault-emulator-faults", "off");

impl World {
    /// Puts these faults in place of those before.
    ///
    /// # Errors
    /// If the platform does not take them.
    pub async fn set_faults(&self, faults: Value) -> anyhow::Result<()> {
        let answer = self.platform_call(Method::PUT, "/_emulator/faults", Some(&faults)).await?;
        ensure!(answer.status == 200, "{:#}", answer.body);
        Ok(())
    }

    /// Ends all faults.
    ///
    /// # Errors
    /// If the platform does not answer.
    pub async fn end_faults(&self) -> anyhow::Result<()> {
        self.set_faults(Value::Array(Vec::new())).await
    }

    /// How often each fault has happened, in their order.
    ///
    /// # Errors
    /// If the platform does not answer.
    pub async fn fired(&self) -> anyhow::Result<Vec<u64>> {
        let answer = self.platform_call(Method::GET, "/_emulator/faults", None).await?;
        let faults = answer.body.as_array().context("a list of faults")?;
        Ok(faults.iter().map(|fault| fault["fired"].as_u64().unwrap_or(0)).collect())
    }

    /// Every machine of the controller's organization, destroyed ones among them.
    ///
    /// # Errors
    /// If the platform does not answer.
    pub async fn machines_ever(&self) -> anyhow::Result<Vec<Value>> {
        self.ever("machines").await
    }

    /// Every volume of the controller's organization, destroyed ones among them.
    ///
    /// # Errors
    /// If the platform does not answer.
    pub async fn volumes_ever(&self) -> anyhow::Result<Vec<Value>> {
        self.ever("volumes").await
    }

    /// `APP/NAME` of every secret of these apps, sorted.
    ///
    /// # Errors
    /// If the platform does not answer, or one of the apps is not there.
    pub async fn secrets(&self, apps: &[String]) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for app in apps {
            let path = format!("/v1/apps/{app}/secrets");
            let answer = self.platform_call(Method::GET, &path, None).await?;
            let secrets = answer.body["secrets"].as_array().with_context(|| {
                format!("no list of the secrets of {app}: {} {:#}", answer.status, answer.body)
            })?;
            let names = secrets.iter().filter_map(|secret| secret["name"].as_str());
            found.extend(names.map(|name| format!("{app}/{name}")));
        }
        found.sort();
        Ok(found)
    }

    /// Asks the platform as its operator, who meets no faults.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn platform_call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        crate::client::install_provider();
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
        let url = format!("{}{path}", self.platform()?.url());
        let mut request = http.request(method, url).bearer_auth(self.operator_token());
        request = request.header(SEES_WHAT_IS.0, SEES_WHAT_IS.1);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body })
    }

    async fn ever(&self, what: &str) -> anyhow::Result<Vec<Value>> {
        let path = format!("/v1/orgs/{DEFAULT_ORG}/{what}?include_deleted=true");
        let answer = self.platform_call(Method::GET, &path, None).await?;
        // What stands on a second page would be missed without a word.
        ensure!(answer.body.get("next_cursor").is_none(), "more than one page of {what}");
        answer.body[what].as_array().cloned().with_context(|| format!("{:#}", answer.body))
    }
}
