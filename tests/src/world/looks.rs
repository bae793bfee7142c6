//! What the controller of a world says, and waiting until it says it.

use anyhow::ensure;
use serde_json::Value;

use super::World;
use crate::client::TENANTS;
use crate::eventually::eventually;

impl World {
    /// `GET /status`
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn status(&self) -> anyhow::Result<Value> {
        Ok(self.client()?.get("/status").await?.expect(200))
    }

    /// A tenant as the resource API shows it.
    ///
    /// # Errors
    /// If the controller does not answer, or knows none of this name.
    pub async fn tenant(&self, name: &str) -> anyhow::Result<Value> {
        let answer = self.client()?.get(&format!("{TENANTS}/{name}")).await?;
        ensure!(answer.status == 200, "{:#}", answer.body);
        Ok(answer.body)
    }

    /// Waits until there are exactly `count` tenants and all of them are Ready at their newest
    /// generation, in a pass that began after this call.
    ///
    /// # Errors
    /// If that does not come about.
    pub async fn all_ready(&self, count: usize) -> anyhow::Result<()> {
        let wanted = serde_json::json!({ "total": count, "ready": count });
        // The pass that runs now may not have seen what was written just before.
        let enough = self.status().await?["passes"].as_u64().unwrap_or(0) + 2;
        eventually(&format!("{count} tenants are Ready"), async || {
            self.controller.must_run()?;
            let status = self.status().await.map_err(|error| format!("{error:#}"))?;
            let fresh = status["passes"].as_u64() >= Some(enough);
            (fresh && status["tenants"] == wanted)
                .then_some(())
                .ok_or_else(|| format!("{status:#}"))
        })
        .await
    }

    /// Waits until a tenant is as `check` wants it, and answers it.
    ///
    /// # Errors
    /// If that does not come about.
    pub async fn tenant_where(
        &self,
        name: &str,
        what: &str,
        check: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        eventually(&format!("{name}: {what}"), async || {
            let tenant = self.tenant(name).await.map_err(|error| format!("{error:#}"))?;
            if check(&tenant) { Ok(tenant) } else { Err(format!("{tenant:#}")) }
        })
        .await
    }

    /// Waits until `/status` is as `check` wants it, and answers it.
    ///
    /// # Errors
    /// If that does not come about.
    pub async fn status_where(
        &self,
        what: &str,
        check: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        eventually(what, async || {
            let status = self.status().await.map_err(|error| format!("{error:#}"))?;
            if check(&status) { Ok(status) } else { Err(format!("{status:#}")) }
        })
        .await
    }
}

/// The condition of a tenant, or null.
#[must_use]
pub fn condition<'a>(tenant: &'a Value, kind: &str) -> &'a Value {
    let conditions = tenant["status"]["conditions"].as_array();
    conditions
        .and_then(|all| all.iter().find(|condition| condition["type"] == kind))
        .unwrap_or(&Value::Null)
}

/// Whether a condition of a tenant holds.
#[must_use]
pub fn holds(tenant: &Value, kind: &str) -> bool {
    condition(tenant, kind)["status"] == "True"
}
