//! Calls as faults see them: what is done (the action), and to what (the subject).

use jiff::Timestamp;

use crate::world::Machine;

/// Something that a caller can ask of the platform.
#[derive(Debug, PartialEq, Eq)]
pub struct Action {
    /// The name in documents of faults.
    pub name: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The path; `{app}` and the like stand for one segment each.
    pub path: &'static str,
}

/// All actions of the platform, also those that this emulator does not serve: a fault may answer
/// them all the same.
pub const ACTIONS: &[Action] = &[
    action("list-apps", "GET", "/v1/apps"),
    action("create-app", "POST", "/v1/apps"),
    action("read-app", "GET", "/v1/apps/{app}"),
    action("delete-app", "DELETE", "/v1/apps/{app}"),
    action("list-machines", "GET", "/v1/apps/{app}/machines"),
    action("create-machine", "POST", "/v1/apps/{app}/machines"),
    action("read-machine", "GET", "/v1/apps/{app}/machines/{machine}"),
    action("update-machine", "POST", "/v1/apps/{app}/machines/{machine}"),
    action("destroy-machine", "DELETE", "/v1/apps/{app}/machines/{machine}"),
    action("start-machine", "POST", "/v1/apps/{app}/machines/{machine}/start"),
    action("stop-machine", "POST", "/v1/apps/{app}/machines/{machine}/stop"),
    action("suspend-machine", "POST", "/v1/apps/{app}/machines/{machine}/suspend"),
    action("restart-machine", "POST", "/v1/apps/{app}/machines/{machine}/restart"),
    action("signal-machine", "POST", "/v1/apps/{app}/machines/{machine}/signal"),
    action("cordon-machine", "POST", "/v1/apps/{app}/machines/{machine}/cordon"),
    action("uncordon-machine", "POST", "/v1/apps/{app}/machines/{machine}/uncordon"),
    action("exec-machine", "POST", "/v1/apps/{app}/machines/{machine}/exec"),
    action("list-processes", "GET", "/v1/apps/{app}/machines/{machine}/ps"),
    action("list-events", "GET", "/v1/apps/{app}/machines/{machine}/events"),
    action("list-versions", "GET", "/v1/apps/{app}/machines/{machine}/versions"),
    action("wait-machine", "GET", "/v1/apps/{app}/machines/{machine}/wait"),
    action("read-lease", "GET", "/v1/apps/{app}/machines/{machine}/lease"),
    action("acquire-lease", "POST", "/v1/apps/{app}/machines/{machine}/lease"),
    action("release-lease", "DELETE", "/v1/apps/{app}/machines/{machine}/lease"),
    action("read-metadata", "GET", "/v1/apps/{app}/machines/{machine}/metadata"),
    action("replace-metadata", "PUT", "/v1/apps/{app}/machines/{machine}/metadata"),
    action("merge-metadata", "PATCH", "/v1/apps/{app}/machines/{machine}/metadata"),
    action("read-metadata-key", "GET", "/v1/apps/{app}/machines/{machine}/metadata/{key}"),
    action("set-metadata-key", "POST", "/v1/apps/{app}/machines/{machine}/metadata/{key}"),
    action("remove-metadata-key", "DELETE", "/v1/apps/{app}/machines/{machine}/metadata/{key}"),
    action("list-secrets", "GET", "/v1/apps/{app}/secrets"),
    action("change-secrets", "POST", "/v1/apps/{app}/secrets"),
    action("read-secret", "GET", "/v1/apps/{app}/secrets/{name}"),
    action("set-secret", "POST", "/v1/apps/{app}/secrets/{name}"),
    action("delete-secret", "DELETE", "/v1/apps/{app}/secrets/{name}"),
    action("list-volumes", "GET", "/v1/apps/{app}/volumes"),
    action("create-volume", "POST", "/v1/apps/{app}/volumes"),
    action("read-volume", "GET", "/v1/apps/{app}/volumes/{volume}"),
    action("update-volume", "PUT", "/v1/apps/{app}/volumes/{volume}"),
    action("delete-volume", "DELETE", "/v1/apps/{app}/volumes/{volume}"),
    action("extend-volume", "PUT", "/v1/apps/{app}/volumes/{volume}/extend"),
    action("list-snapshots", "GET", "/v1/apps/{app}/volumes/{volume}/snapshots"),
    action("create-snapshot", "POST", "/v1/apps/{app}/volumes/{volume}/snapshots"),
    action("list-org-machines", "GET", "/v1/orgs/{org}/machines"),
    action("list-org-volumes", "GET", "/v1/orgs/{org}/volumes"),
    action("read-token", "GET", "/v1/tokens/current"),
    action("create-oidc-token", "POST", "/v1/tokens/oidc"),
    action("list-regions", "GET", "/v1/platform/regions"),
    action("list-placements", "POST", "/v1/platform/placements"),
    action("read-logs", "GET", "/api/v1/apps/{app}/logs"),
];

const fn action(name: &'static str, method: &'static str, path: &'static str) -> Action {
    Action { name, method, path }
}

impl Action {
    /// Whether its answer is a list.
    pub fn is_list(&self) -> bool {
        self.method == "GET" && self.name.starts_with("list-")
    }

    /// Whether it names one machine by its id.
    pub fn names_machine(&self) -> bool {
        self.path.contains("{machine}")
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// What it asks for, if that is known.
    pub action: Option<&'static Action>,
    /// The app that its path names.
    pub app: Option<String>,
    /// The machine's id that its path names.
    pub machine: Option<String>,
    /// The volume's id that its path names.
    pub volume: Option<String>,
    /// What it asks of S3, IAM or GraphQL, as in [`super::OPERATIONS`]; empty for calls of REST.
    pub operations: Vec<String>,
}

impl Call {
    /// Reads a request line.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        let segments: Vec<&str> = path.split('/').collect();
        let found = ACTIONS.iter().find(|action| {
            let template: Vec<&str> = action.path.split('/').collect();
            let fits = |(template, segment): (&&str, &&str)| {
                if template.starts_with('{') { !segment.is_empty() } else { template == segment }
            };
            action.method == method
                && template.len() == segments.len()
                && template.iter().zip(&segments).all(fits)
        });
        let named = |name: &str| {
            let place = found?.path.split('/').position(|segment| segment == name)?;
            segments.get(place).map(|segment| (*segment).to_owned())
        };
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            action: found,
            app: named("{app}"),
            machine: named("{machine}"),
            volume: named("{volume}"),
            operations: Vec::new(),
        }
    }

    /// A call of S3, IAM or GraphQL, by what it asks for.
    #[must_use]
    pub fn of_operations(method: &str, path: &str, operations: Vec<String>) -> Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        let (action, app, machine, volume) = (None, None, None, None);
        Self { method, path, action, app, machine, volume, operations }
    }

    /// Whether it changes something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }

    /// Whether it is one of these actions.
    #[must_use]
    pub fn is_one_of(&self, names: &[&str]) -> bool {
        self.action.is_some_and(|action| names.contains(&action.name))
    }
}

/// What a call is about, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The app's name.
    pub app: Option<String>,
    /// The machine's id.
    pub machine_id: Option<String>,
    /// The machine's name.
    pub machine_name: Option<String>,
    /// The region's code.
    pub region: Option<String>,
    /// The volume's id: that of the path, or the one that a new machine is to mount.
    pub volume: Option<String>,
    /// When the machine's live version was made.
    pub version_at: Option<Timestamp>,
}

impl Subject {
    /// A machine.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        let version: Option<ulid::Ulid> = machine.version.parse().ok();
        let made = version.and_then(|version| i64::try_from(version.timestamp_ms()).ok());
        Self {
            app: Some(machine.app.clone()),
            machine_id: Some(machine.id.clone()),
            machine_name: Some(machine.name.clone()),
            region: Some(machine.region.clone()),
            volume: machine.volume(),
            version_at: made.and_then(|made| Timestamp::from_millisecond(made).ok()),
        }
    }
}
