//! The calls that this client makes, and how often the platform lets each be made.

mod template;

use std::time::Duration;

use http::Method;

use crate::limit::Rate;

/// One kind of call; what the platform's documentation of its rate limits calls an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `GET /v1/tokens/current`
    ReadToken,
    /// `GET /v1/apps`
    ListApps,
    /// `GET /v1/apps/{app}`
    ReadApp,
    /// `POST /v1/apps`
    CreateApp,
    /// `DELETE /v1/apps/{app}`
    DeleteApp,
    /// `GET /v1/orgs/{org}/machines`
    ListOrgMachines,
    /// `GET /v1/apps/{app}/machines/{id}`
    ReadMachine,
    /// `POST /v1/apps/{app}/machines`
    CreateMachine,
    /// `POST /v1/apps/{app}/machines/{id}`
    UpdateMachine,
    /// `POST /v1/apps/{app}/machines/{id}/start`
    StartMachine,
    /// `POST /v1/apps/{app}/machines/{id}/stop`
    StopMachine,
    /// `DELETE /v1/apps/{app}/machines/{id}`
    DeleteMachine,
    /// `GET /v1/apps/{app}/machines/{id}/wait`
    WaitMachine,
    /// `GET /v1/orgs/{org}/volumes`
    ListOrgVolumes,
    /// `GET /v1/apps/{app}/volumes`
    ListAppVolumes,
    /// `GET /v1/apps/{app}/volumes/{id}`
    ReadVolume,
    /// `POST /v1/apps/{app}/volumes`
    CreateVolume,
    /// `GET /v1/apps/{app}/secrets`
    ListSecrets,
    /// `POST /v1/apps/{app}/secrets/{name}`
    SetSecret,
    /// `GET /v1/apps/{app}/machines/{id}/events`
    ListMachineEvents,
    /// `GET /api/v1/apps/{app}/logs`
    ReadLogs,
    /// `POST /v1/apps/{app}/machines/{id}/suspend`
    SuspendMachine,
    /// `POST /v1/apps/{app}/machines/{id}/metadata/{key}`
    SetMetadata,
    /// `PUT /v1/apps/{app}/volumes/{id}/extend`
    ExtendVolume,
    /// `GET /v1/apps/{app}/volumes/{id}/snapshots`
    ListSnapshots,
    /// `POST /v1/apps/{app}/volumes/{id}/snapshots`
    CreateSnapshot,
    /// `DELETE /v1/apps/{app}/secrets/{name}`
    DeleteSecret,
    /// `POST /graphql`: the deploy tokens of an organization
    ListTokens,
    /// `POST /graphql`: the ids by which a token names its app
    ReadTokenApp,
    /// `POST /graphql`: `createLimitedAccessToken`
    MintToken,
    /// `POST /graphql`: `deleteLimitedAccessToken`
    RevokeToken,
    /// `DELETE /v1/apps/{app}/volumes/{id}`
    DeleteVolume,
    /// `GET /v1/apps/{app}/machines`
    ListAppMachines,
    /// `GET /v1/apps/{app}/certificates`
    ListCertificates,
    /// `GET /v1/apps/{app}/ip_assignments`
    ListAddresses,
}

/// What the platform allows for every action that has no limit of its own.
const COMMON: Rate = Rate { interval: Duration::from_secs(1), burst: 3 };

/// Reading one machine: five a second, ten at once.
const READ_MACHINE: Rate = Rate { interval: Duration::from_millis(200), burst: 10 };

/// Deleting apps: a hundred a minute. No burst is documented, so the common one is assumed.
const DELETE_APP: Rate = Rate { interval: Duration::from_millis(600), burst: 3 };

impl Operation {
    /// The name in logs and metrics, such as `create_machine`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadToken => "read_token",
            Self::ListApps => "list_apps",
            Self::ReadApp => "read_app",
            Self::CreateApp => "create_app",
            Self::DeleteApp => "delete_app",
            Self::ListOrgMachines => "list_org_machines",
            Self::ReadMachine => "read_machine",
            Self::CreateMachine => "create_machine",
            Self::UpdateMachine => "update_machine",
            Self::StartMachine => "start_machine",
            Self::StopMachine => "stop_machine",
            Self::DeleteMachine => "delete_machine",
            Self::WaitMachine => "wait_machine",
            Self::ListOrgVolumes => "list_org_volumes",
            Self::ListAppVolumes => "list_app_volumes",
            Self::ReadVolume => "read_volume",
            Self::CreateVolume => "create_volume",
            Self::ListSecrets => "list_secrets",
            Self::SetSecret => "set_secret",
            Self::ListMachineEvents => "list_machine_events",
            Self::ReadLogs => "read_logs",
            Self::SuspendMachine => "suspend_machine",
            Self::SetMetadata => "set_metadata",
            Self::ExtendVolume => "extend_volume",
            Self::ListSnapshots => "list_snapshots",
            Self::CreateSnapshot => "create_snapshot",
            Self::DeleteSecret => "delete_secret",
            Self::ListTokens => "list_tokens",
            Self::ReadTokenApp => "read_token_app",
            Self::MintToken => "mint_token",
            Self::RevokeToken => "revoke_token",
            Self::DeleteVolume => "delete_volume",
            Self::ListAppMachines => "list_app_machines",
            Self::ListCertificates => "list_certificates",
            Self::ListAddresses => "list_addresses",
        }
    }

    /// The HTTP method; `GET` reads, and so do the questions that GraphQL takes by `POST`.
    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::ReadToken
            | Self::ListApps
            | Self::ReadApp
            | Self::ListOrgMachines
            | Self::ReadMachine
            | Self::WaitMachine
            | Self::ListOrgVolumes
            | Self::ListAppVolumes
            | Self::ReadVolume
            | Self::ListSecrets
            | Self::ListMachineEvents
            | Self::ReadLogs
            | Self::ListSnapshots
            | Self::ListAppMachines
            | Self::ListCertificates
            | Self::ListAddresses => Method::GET,
            Self::CreateApp
            | Self::CreateMachine
            | Self::UpdateMachine
            | Self::StartMachine
            | Self::StopMachine
            | Self::CreateVolume
            | Self::SetSecret
            | Self::SuspendMachine
            | Self::SetMetadata
            | Self::CreateSnapshot
            | Self::ListTokens
            | Self::ReadTokenApp
            | Self::MintToken
            | Self::RevokeToken => Method::POST,
            Self::ExtendVolume => Method::PUT,
            Self::DeleteApp | Self::DeleteMachine | Self::DeleteSecret | Self::DeleteVolume => {
                Method::DELETE
            }
        }
    }

    /// What every path of this call begins with.
    pub(crate) const fn root(self) -> &'static [&'static str] {
        match self {
            Self::ReadLogs => &["api", "v1"],
            Self::ListTokens | Self::ReadTokenApp | Self::MintToken | Self::RevokeToken => &[],
            _ => &["v1"],
        }
    }

    /// Whether making the call twice leaves what making it once does: reads, and setting a secret
    /// or an entry of metadata to the same value.
    #[must_use]
    pub fn may_be_repeated(self) -> bool {
        matches!(self, Self::SetSecret | Self::SetMetadata | Self::ListTokens | Self::ReadTokenApp)
            || self.method() == Method::GET
    }

    /// The documented limit per identifier, or `None` for what is listed per organization.
    #[must_use]
    pub const fn rate(self) -> Option<Rate> {
        match self {
            Self::ListApps | Self::ListOrgMachines | Self::ListOrgVolumes | Self::ListTokens => {
                None
            }
            Self::ReadMachine => Some(READ_MACHINE),
            Self::DeleteApp => Some(DELETE_APP),
            _ => Some(COMMON),
        }
    }
}
