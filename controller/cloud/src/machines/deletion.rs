//! Calls around the end of volumes and apps: what is deleted for good, and what an app still holds.

use serde_json::Value;

use super::MachinesClient;
use super::paging::Page;
use crate::error::CallError;
use crate::http::Request;
use crate::operation::Operation;

/// How many rows of a list are asked for where only it matters whether there are any.
const SOME_ROWS: &str = "25";

/// What the platform calls a machine that is gone, though it still lists it.
const DESTROYED: &str = "destroyed";

impl MachinesClient {
    /// Deletes a volume: it stays listed as being destroyed for a day, and cannot be used again.
    /// Refused (412) while a machine holds it.
    ///
    /// # Errors
    /// [`CallError`]; not found if it is gone already.
    pub async fn delete_volume(&self, app: &str, id: &str) -> Result<(), CallError> {
        let path = ["apps", app, "volumes", id];
        self.caller.done(Request::new(Operation::DeleteVolume, &path, app)).await
    }

    /// How many machines an app has, by its own list; destroyed ones do not count, and rows that
    /// cannot be read do.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn count_app_machines(&self, app: &str) -> Result<u64, CallError> {
        let request =
            Request::new(Operation::ListAppMachines, &["apps", app, "machines"], app).list();
        let page: Page<Value> = self.caller.call(&request).await?.decode(Page::of_array)?;
        let is_there = |row: &&Value| row.get("state").and_then(Value::as_str) != Some(DESTROYED);
        Ok(page.rows.iter().filter(is_there).count() as u64)
    }

    /// How many certificates an app has; of many, the number is what the platform says.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn count_certificates(&self, app: &str) -> Result<u64, CallError> {
        let request =
            Request::new(Operation::ListCertificates, &["apps", app, "certificates"], app)
                .query("limit", SOME_ROWS)
                .list();
        let page: Page<Value> = self
            .caller
            .call(&request)
            .await?
            .decode(|body| Page::of_member("certificates", body))?;
        let total = page.rest.get("total_count").and_then(Value::as_u64).unwrap_or(0);
        Ok(total.max(page.rows.len() as u64))
    }

    /// How many IP addresses an app has.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn count_addresses(&self, app: &str) -> Result<u64, CallError> {
        let request =
            Request::new(Operation::ListAddresses, &["apps", app, "ip_assignments"], app).list();
        let page: Page<Value> =
            self.caller.call(&request).await?.decode(|body| Page::of_member("ips", body))?;
        Ok(page.rows.len() as u64)
    }
}
