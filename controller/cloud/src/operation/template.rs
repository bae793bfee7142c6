//! The path of each call with its variable parts as words: what a person looks up in the API's
//! reference, and what two calls of one kind have in common.

use super::Operation;

impl Operation {
    /// The path template, such as `/v1/apps/{app}/machines/{id}`; it names nothing of anybody.
    #[must_use]
    pub const fn template(self) -> &'static str {
        match self {
            Self::ReadToken => "/v1/tokens/current",
            Self::ListApps | Self::CreateApp => "/v1/apps",
            Self::ReadApp | Self::DeleteApp => "/v1/apps/{app}",
            Self::ListOrgMachines => "/v1/orgs/{org}/machines",
            Self::ReadMachine | Self::UpdateMachine | Self::DeleteMachine => {
                "/v1/apps/{app}/machines/{id}"
            }
            Self::CreateMachine | Self::ListAppMachines => "/v1/apps/{app}/machines",
            Self::StartMachine => "/v1/apps/{app}/machines/{id}/start",
            Self::StopMachine => "/v1/apps/{app}/machines/{id}/stop",
            Self::WaitMachine => "/v1/apps/{app}/machines/{id}/wait",
            Self::ListOrgVolumes => "/v1/orgs/{org}/volumes",
            Self::ListAppVolumes | Self::CreateVolume => "/v1/apps/{app}/volumes",
            Self::ReadVolume | Self::DeleteVolume => "/v1/apps/{app}/volumes/{id}",
            Self::ListSecrets => "/v1/apps/{app}/secrets",
            Self::SetSecret | Self::DeleteSecret => "/v1/apps/{app}/secrets/{name}",
            Self::ListMachineEvents => "/v1/apps/{app}/machines/{id}/events",
            Self::ReadLogs => "/api/v1/apps/{app}/logs",
            Self::SuspendMachine => "/v1/apps/{app}/machines/{id}/suspend",
            Self::SetMetadata => "/v1/apps/{app}/machines/{id}/metadata/{key}",
            Self::ExtendVolume => "/v1/apps/{app}/volumes/{id}/extend",
            Self::ListCertificates => "/v1/apps/{app}/certificates",
            Self::ListAddresses => "/v1/apps/{app}/ip_assignments",
            Self::ListTokens | Self::ReadTokenApp | Self::MintToken | Self::RevokeToken => {
                "/graphql"
            }
            Self::AcquireLease | Self::ReleaseLease => "/v1/apps/{app}/machines/{id}/lease",
            Self::ListBuckets => "/",
            Self::HeadBucket | Self::CreateBucket | Self::DeleteBucket => "/{bucket}",
            Self::ListObjects => "/{bucket}?list-type=2",
            Self::DeleteObjects => "/{bucket}?delete",
            Self::CreateAccessKey => "/?Action=CreateAccessKey",
            Self::ListAccessKeys => "/?Action=ListAccessKeys",
            Self::DeleteAccessKey => "/?Action=DeleteAccessKey",
            Self::ListPolicies => "/?Action=ListPolicies",
            Self::ReadPolicy => "/?Action=GetPolicy",
            Self::ReadPolicyDocument => "/?Action=GetPolicyVersion",
            Self::CreatePolicy => "/?Action=CreatePolicy",
            Self::DeletePolicy => "/?Action=DeletePolicy",
            Self::AttachPolicy => "/?Action=AttachUserPolicy",
            Self::DetachPolicy => "/?Action=DetachUserPolicy",
            Self::ListAttachedPolicies => "/?Action=ListAttachedUserPolicies",
            Self::ListPolicyKeys => "/?Action=ListEntitiesForPolicy",
            Self::ListSnapshots | Self::CreateSnapshot => "/v1/apps/{app}/volumes/{id}/snapshots",
        }
    }
}
