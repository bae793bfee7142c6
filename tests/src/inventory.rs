//! What exists on the platform, asked for with its own API.

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::world::faults::SEES_WHAT_IS;

/// Everything in an organization, without ids: equal for two runs with the same master key.
///
/// The lists are sorted and hold duplicates, so that anything made twice shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The names of the apps.
    pub apps: Vec<String>,
    /// `APP/NAME REGION STATE`
    pub machines: Vec<String>,
    /// `APP/NAME REGION SIZE on MACHINE`
    pub volumes: Vec<String>,
}

/// The platform's own lists.
#[derive(Clone, Debug)]
pub struct Lists {
    /// `GET /v1/apps`
    pub apps: Vec<Value>,
    /// `GET /v1/orgs/ORG/machines`
    pub machines: Vec<Value>,
    /// `GET /v1/orgs/ORG/volumes`
    pub volumes: Vec<Value>,
}

impl Lists {
    /// Reads all lists of an organization. The caller must expect no more than a page of each.
    ///
    /// # Errors
    /// If the platform does not answer with lists, or one goes on behind its first page.
    pub async fn read(url: &str, token: &str, organization: &str) -> anyhow::Result<Self> {
        crate::client::install_provider();
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
        let list = async |path: String, member: &str| -> anyhow::Result<Vec<Value>> {
            let request = http.get(format!("{url}{path}")).bearer_auth(token);
            let (name, value) = SEES_WHAT_IS;
            let request = request.header(name, value);
            let body: Value = request.send().await?.error_for_status()?.json().await?;
            ensure!(body.get("next_cursor").is_none(), "more than one page of {member}");
            body[member].as_array().cloned().with_context(|| format!("no list: {body}"))
        };
        Ok(Self {
            apps: list(format!("/v1/apps?org_slug={organization}"), "apps").await?,
            machines: list(format!("/v1/orgs/{organization}/machines"), "machines").await?,
            volumes: list(format!("/v1/orgs/{organization}/volumes"), "volumes").await?,
        })
    }

    /// The same without ids.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        let apps = self.apps.iter().map(|app| text(app, "name").to_owned());
        let machines = self.machines.iter().map(|machine| {
            let [app, name] = [text(machine, "app_name"), text(machine, "name")];
            format!("{app}/{name} {} {}", text(machine, "region"), text(machine, "state"))
        });
        let volumes = self.volumes.iter().map(|volume| {
            let [app, name] = [text(volume, "app_name"), text(volume, "name")];
            let machine = self
                .machines
                .iter()
                .find(|machine| machine["id"] == volume["attached_machine_id"])
                .map_or("nothing", |machine| text(machine, "name"));
            let (region, size) = (text(volume, "region"), &volume["size_gb"]);
            format!("{app}/{name} {region} {size} on {machine}")
        });
        Inventory { apps: sorted(apps), machines: sorted(machines), volumes: sorted(volumes) }
    }

    /// `MACHINE IMAGE` of each machine, sorted.
    #[must_use]
    pub fn images(&self) -> Vec<String> {
        let images = self.machines.iter().map(|machine| {
            format!("{} {}", text(machine, "name"), text(&machine["config"], "image"))
        });
        sorted(images)
    }

    /// The ids of the machines, sorted.
    #[must_use]
    pub fn machine_ids(&self) -> Vec<String> {
        sorted(self.machines.iter().map(|machine| text(machine, "id").to_owned()))
    }

    /// The ids of the volumes, sorted.
    #[must_use]
    pub fn volume_ids(&self) -> Vec<String> {
        sorted(self.volumes.iter().map(|volume| text(volume, "id").to_owned()))
    }
}

fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object[member].as_str().unwrap_or_default()
}

fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts
}
