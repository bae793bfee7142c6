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
    /// S3: `GET /`
    ListBuckets,
    /// S3: `HEAD /{bucket}`
    HeadBucket,
    /// S3: `PUT /{bucket}`
    CreateBucket,
    /// S3: `DELETE /{bucket}`
    DeleteBucket,
    /// S3: `GET /{bucket}?list-type=2`
    ListObjects,
    /// S3: `POST /{bucket}?delete`
    DeleteObjects,
    /// IAM: `CreateAccessKey`
    CreateAccessKey,
    /// IAM: `ListAccessKeys`
    ListAccessKeys,
    /// IAM: `DeleteAccessKey`
    DeleteAccessKey,
    /// IAM: `ListPolicies`
    ListPolicies,
    /// IAM: `GetPolicy`
    ReadPolicy,
    /// IAM: `GetPolicyVersion`
    ReadPolicyDocument,
    /// IAM: `CreatePolicy`
    CreatePolicy,
    /// IAM: `DeletePolicy`
    DeletePolicy,
    /// IAM: `AttachUserPolicy`
    AttachPolicy,
    /// IAM: `DetachUserPolicy`
    DetachPolicy,
    /// IAM: `ListAttachedUserPolicies`
    ListAttachedPolicies,
    /// IAM: `ListEntitiesForPolicy`
    ListPolicyKeys,
    /// `POST /v1/apps/{app}/machines/{id}/lease`
    AcquireLease,
    /// `DELETE /v1/apps/{app}/machines/{id}/lease`
    ReleaseLease,
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
            Self::ListBuckets => "list_buckets",
            Self::HeadBucket => "head_bucket",
            Self::CreateBucket => "create_bucket",
            Self::DeleteBucket => "delete_bucket",
            Self::ListObjects => "list_objects",
            Self::DeleteObjects => "delete_objects",
            Self::CreateAccessKey => "create_access_key",
            Self::ListAccessKeys => "list_access_keys",
            Self::DeleteAccessKey => "delete_access_key",
            Self::ListPolicies => "list_policies",
            Self::ReadPolicy => "read_policy",
            Self::ReadPolicyDocument => "read_policy_document",
            Self::CreatePolicy => "create_policy",
            Self::DeletePolicy => "delete_policy",
            Self::AttachPolicy => "attach_policy",
            Self::DetachPolicy => "detach_policy",
            Self::ListAttachedPolicies => "list_attached_policies",
            Self::ListPolicyKeys => "list_policy_keys",
            Self::AcquireLease => "acquire_lease",
            Self::ReleaseLease => "release_lease",
        }
    }

    /// The HTTP method; `GET` and `HEAD` read, and so do the questions that GraphQL and IAM take by
    /// `POST`.
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
            | Self::ListAddresses
            | Self::ListBuckets
            | Self::ListObjects => Method::GET,
            Self::HeadBucket => Method::HEAD,
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
            | Self::RevokeToken
            | Self::DeleteObjects
            | Self::CreateAccessKey
            | Self::ListAccessKeys
            | Self::DeleteAccessKey
            | Self::ListPolicies
            | Self::ReadPolicy
            | Self::ReadPolicyDocument
            | Self::CreatePolicy
            | Self::DeletePolicy
            | Self::AttachPolicy
            | Self::DetachPolicy
            | Self::ListAttachedPolicies
            | Self::ListPolicyKeys
            | Self::AcquireLease => Method::POST,
            Self::ExtendVolume | Self::CreateBucket => Method::PUT,
            Self::DeleteApp
            | Self::DeleteMachine
            | Self::DeleteSecret
            | Self::DeleteVolume
            | Self::DeleteBucket
            | Self::ReleaseLease => Method::DELETE,
        }
    }

    /// What every path of this call begins with.
    pub(crate) const fn root(self) -> &'static [&'static str] {
        match self {
            Self::ReadLogs => &["api", "v1"],
            Self::ListTokens | Self::ReadTokenApp | Self::MintToken | Self::RevokeToken => &[],
            operation if operation.is_storage() => &[],
            _ => &["v1"],
        }
    }

    /// Whether it is a call to object storage or to its IAM.
    #[must_use]
    pub const fn is_storage(self) -> bool {
        matches!(
            self,
            Self::ListBuckets
                | Self::HeadBucket
                | Self::CreateBucket
                | Self::DeleteBucket
                | Self::ListObjects
                | Self::DeleteObjects
                | Self::CreateAccessKey
                | Self::ListAccessKeys
                | Self::DeleteAccessKey
                | Self::ListPolicies
                | Self::ReadPolicy
                | Self::ReadPolicyDocument
                | Self::CreatePolicy
                | Self::DeletePolicy
                | Self::AttachPolicy
                | Self::DetachPolicy
                | Self::ListAttachedPolicies
                | Self::ListPolicyKeys
        )
    }

    /// Whether the call changes nothing, whatever its method.
    #[must_use]
    pub fn only_looks(self) -> bool {
        matches!(
            self,
            Self::ListTokens
                | Self::ReadTokenApp
                | Self::ListAccessKeys
                | Self::ListPolicies
                | Self::ReadPolicy
                | Self::ReadPolicyDocument
                | Self::ListAttachedPolicies
                | Self::ListPolicyKeys
        ) || matches!(self.method(), Method::GET | Method::HEAD)
    }

    /// Whether making the call twice leaves what making it once does: looks, setting a secret or an
    /// entry of metadata to the same value, and what goes by a name that is never used again.
    #[must_use]
    pub fn may_be_repeated(self) -> bool {
        matches!(
            self,
            Self::SetSecret
                | Self::SetMetadata
                | Self::DeleteObjects
                | Self::DeleteAccessKey
                | Self::AttachPolicy
                | Self::DetachPolicy
        ) || self.only_looks()
    }

    /// The documented limit per identifier, or `None` for what is listed per organization, and for
    /// storage, which documents none.
    #[must_use]
    pub const fn rate(self) -> Option<Rate> {
        match self {
            operation if operation.is_storage() => None,
            Self::ListApps | Self::ListOrgMachines | Self::ListOrgVolumes | Self::ListTokens => {
                None
            }
            Self::ReadMachine => Some(READ_MACHINE),
            Self::DeleteApp => Some(DELETE_APP),
            _ => Some(COMMON),
        }
    }
}
