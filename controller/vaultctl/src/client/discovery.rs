//! What the controller can be asked for, and its diagnosis of a tenant's machines.

use reqwest::Method;
use serde::Deserialize;
use vault_api::object::{GROUP, VERSION};

use super::{Client, ClientError};
use crate::object::Resource;

/// One type of object that the controller serves, as Kubernetes' discovery tells it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApiResource {
    /// The name in URLs; with a slash for a subresource.
    pub(crate) name: String,
    /// The name in documents.
    pub(crate) kind: String,
    /// Whether its objects lie in namespaces.
    pub(crate) namespaced: bool,
    /// What can be done with it.
    #[serde(default)]
    pub(crate) verbs: Vec<String>,
    /// Other names of it.
    #[serde(default)]
    pub(crate) short_names: Vec<String>,
    /// The names that mean it among others, such as `all`.
    #[serde(default)]
    pub(crate) categories: Vec<String>,
    /// The `apiVersion` of its objects.
    #[serde(skip)]
    pub(crate) api_version: String,
}

/// What the platform says about a tenant's machines.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Diagnosis {
    /// One entry per machine that there is.
    pub(crate) machines: Vec<MachineDiagnosis>,
}

/// How one machine ended, and what it said last.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MachineDiagnosis {
    /// Our name for it.
    pub(crate) name: String,
    /// The platform's id.
    pub(crate) id: String,
    /// The platform's word.
    pub(crate) state: String,
    /// How it ended, oldest first.
    pub(crate) exits: Vec<MachineExit>,
    /// The tail of its log, oldest first.
    pub(crate) log: Vec<LogLine>,
    /// Why exits or log could not be read.
    pub(crate) trouble: Option<String>,
}

/// One end of a machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct MachineExit {
    /// RFC 3339.
    pub(crate) at: String,
    /// The exit code of its main process.
    pub(crate) exit_code: Option<i64>,
    /// The number of the signal that ended it.
    pub(crate) signal: Option<i64>,
    /// It used more memory than it has.
    pub(crate) oom_killed: bool,
    /// Someone asked for it.
    pub(crate) requested_stop: bool,
    /// The platform starts it again.
    pub(crate) restarting: bool,
}

/// One line of a machine's log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LogLine {
    /// RFC 3339.
    pub(crate) at: String,
    /// What it said.
    pub(crate) message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiResourceList {
    group_version: String,
    resources: Vec<ApiResource>,
}

impl Client {
    /// Every type of object that the controller serves, without subresources.
    pub(crate) async fn api_resources(&self) -> Result<Vec<ApiResource>, ClientError> {
        let mut all = Vec::new();
        for segments in [&["apis", GROUP, VERSION][..], &["api", "v1"]] {
            let list: ApiResourceList = self.call(Method::GET, self.url(segments), None).await?;
            let version = list.group_version;
            let whole = list.resources.into_iter().filter(|one| !one.name.contains('/'));
            all.extend(whole.map(|one| ApiResource { api_version: version.clone(), ..one }));
        }
        Ok(all)
    }

    /// How a tenant's machines ended and what they said last.
    pub(crate) async fn diagnosis(&self, tenant: &str) -> Result<Diagnosis, ClientError> {
        let plural = Resource::Tenant.plural();
        let url = self.url(&["apis", GROUP, VERSION, plural, tenant, "diagnosis"]);
        self.call(Method::GET, url, None).await
    }
}
