//! The calls of the Machines API that a controller makes.

use std::fmt;

use http::Method;
use vault_plan::action::ActionKind;

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// The organizations of the token.
    Organizations,
    /// The apps of an organization.
    Apps,
    /// The machines of an organization.
    Machines,
    /// The machines of an organization that changed lately.
    MachinesSince,
    /// The volumes of an organization.
    Volumes,
    /// One machine.
    Machine,
    /// The volumes of one app.
    AppVolumes,
    /// One volume.
    Volume,
    /// Whose an app is.
    AppOwner,
    /// The secrets of an app.
    Secrets,
    /// The snapshots of a volume.
    Snapshots,
    /// How a machine's program ended.
    Exits,
    /// The end of a machine's log.
    LogTail,
    /// Set a secret.
    SetSecret,
    /// Remove a secret.
    DeleteSecret,
    /// Create an app.
    CreateApp,
    /// Create a volume.
    CreateVolume,
    /// Create a machine.
    CreateMachine,
    /// Give a machine a new config.
    UpdateMachine,
    /// Start a machine.
    StartMachine,
    /// Stop a machine.
    StopMachine,
    /// Suspend a machine.
    SuspendMachine,
    /// Set one entry of a machine's metadata.
    SetMetadata,
    /// Make a volume larger.
    ExtendVolume,
    /// Begin a snapshot.
    CreateSnapshot,
    /// Destroy a machine.
    DeleteMachine,
    /// The deploy tokens of an organization.
    Tokens,
    /// Mint a deploy token.
    MintToken,
    /// Revoke a deploy token.
    RevokeToken,
    /// The machines of one app.
    AppMachines,
    /// The certificates of an app.
    Certificates,
    /// The addresses of an app.
    Addresses,
    /// Delete a volume.
    DeleteVolume,
    /// Delete an app, and whatever is in it.
    DeleteApp,
    /// Take the lease on a machine.
    AcquireLease,
    /// End it.
    ReleaseLease,
    /// The buckets of the account.
    Buckets,
    /// Whose a bucket is.
    Bucket,
    /// The access keys of the account.
    AccessKeys,
    /// What a policy says.
    Policy,
    /// The policies of an access key.
    AttachedPolicies,
    /// Create a bucket.
    CreateBucket,
    /// Delete some objects of a bucket.
    EmptyBucket,
    /// Delete a bucket.
    DeleteBucket,
    /// Make an access key.
    CreateAccessKey,
    /// Delete an access key.
    DeleteAccessKey,
    /// Make a policy, or have it say something else.
    PutPolicy,
    /// Attach a policy to an access key.
    AttachPolicy,
    /// Detach and delete a policy.
    DeletePolicy,
}

/// The calls that passes make.
pub const IN_PASSES: [Verb; 47] = [
    Verb::Organizations,
    Verb::Apps,
    Verb::Machines,
    Verb::MachinesSince,
    Verb::Volumes,
    Verb::Machine,
    Verb::AppVolumes,
    Verb::Volume,
    Verb::AppOwner,
    Verb::Secrets,
    Verb::Snapshots,
    Verb::SetSecret,
    Verb::DeleteSecret,
    Verb::CreateApp,
    Verb::CreateVolume,
    Verb::CreateMachine,
    Verb::UpdateMachine,
    Verb::StartMachine,
    Verb::StopMachine,
    Verb::SuspendMachine,
    Verb::SetMetadata,
    Verb::ExtendVolume,
    Verb::CreateSnapshot,
    Verb::DeleteMachine,
    Verb::Tokens,
    Verb::MintToken,
    Verb::RevokeToken,
    Verb::AppMachines,
    Verb::Certificates,
    Verb::Addresses,
    Verb::DeleteVolume,
    Verb::DeleteApp,
    Verb::AcquireLease,
    Verb::ReleaseLease,
    Verb::Buckets,
    Verb::Bucket,
    Verb::AccessKeys,
    Verb::Policy,
    Verb::AttachedPolicies,
    Verb::CreateBucket,
    Verb::EmptyBucket,
    Verb::DeleteBucket,
    Verb::CreateAccessKey,
    Verb::DeleteAccessKey,
    Verb::PutPolicy,
    Verb::AttachPolicy,
    Verb::DeletePolicy,
];

/// The calls that no pass makes, but people who ask.
pub const NOT_IN_PASSES: [Verb; 2] = [Verb::Exits, Verb::LogTail];

impl Verb {
    /// The last one of the list above.
    pub const LAST: Self = Self::DeletePolicy;

    /// The calls that may change something.
    pub const WRITES: [Self; 27] = [
        Self::SetSecret,
        Self::DeleteSecret,
        Self::CreateApp,
        Self::CreateVolume,
        Self::CreateMachine,
        Self::UpdateMachine,
        Self::StartMachine,
        Self::StopMachine,
        Self::SuspendMachine,
        Self::SetMetadata,
        Self::ExtendVolume,
        Self::CreateSnapshot,
        Self::DeleteMachine,
        Self::MintToken,
        Self::RevokeToken,
        Self::DeleteVolume,
        Self::DeleteApp,
        Self::AcquireLease,
        Self::ReleaseLease,
        Self::CreateBucket,
        Self::EmptyBucket,
        Self::DeleteBucket,
        Self::CreateAccessKey,
        Self::DeleteAccessKey,
        Self::PutPolicy,
        Self::AttachPolicy,
        Self::DeletePolicy,
    ];

    /// The method and the path of its request, with names for what differs.
    #[must_use]
    pub fn template(self) -> (Method, &'static str) {
        match self {
            Self::Organizations => (Method::GET, "/v1/tokens/current"),
            Self::Apps => (Method::GET, "/v1/apps"),
            Self::Machines => (Method::GET, "/v1/orgs/{org}/machines"),
            Self::MachinesSince => (Method::GET, "/v1/orgs/{org}/machines?updated_after"),
            Self::Volumes => (Method::GET, "/v1/orgs/{org}/volumes"),
            Self::Machine => (Method::GET, "/v1/apps/{app}/machines/{machine}"),
            Self::AppVolumes => (Method::GET, "/v1/apps/{app}/volumes"),
            Self::Volume => (Method::GET, "/v1/apps/{app}/volumes/{volume}"),
            Self::AppOwner => (Method::GET, "/v1/apps/{app}"),
            Self::Secrets => (Method::GET, "/v1/apps/{app}/secrets"),
            Self::Snapshots => (Method::GET, "/v1/apps/{app}/volumes/{volume}/snapshots"),
            Self::Exits => (Method::GET, "/v1/apps/{app}/machines/{machine}/events"),
            Self::LogTail => (Method::GET, "/api/v1/apps/{app}/logs"),
            Self::SetSecret => (Method::POST, "/v1/apps/{app}/secrets/{name}"),
            Self::DeleteSecret => (Method::DELETE, "/v1/apps/{app}/secrets/{name}"),
            Self::CreateApp => (Method::POST, "/v1/apps"),
            Self::CreateVolume => (Method::POST, "/v1/apps/{app}/volumes"),
            Self::CreateMachine => (Method::POST, "/v1/apps/{app}/machines"),
            Self::UpdateMachine => (Method::POST, "/v1/apps/{app}/machines/{machine}"),
            Self::StartMachine => (Method::POST, "/v1/apps/{app}/machines/{machine}/start"),
            Self::StopMachine => (Method::POST, "/v1/apps/{app}/machines/{machine}/stop"),
            Self::SuspendMachine => (Method::POST, "/v1/apps/{app}/machines/{machine}/suspend"),
            Self::SetMetadata => (Method::POST, "/v1/apps/{app}/machines/{machine}/metadata/{key}"),
            Self::ExtendVolume => (Method::PUT, "/v1/apps/{app}/volumes/{volume}/extend"),
            Self::CreateSnapshot => (Method::POST, "/v1/apps/{app}/volumes/{volume}/snapshots"),
            Self::DeleteMachine => (Method::DELETE, "/v1/apps/{app}/machines/{machine}"),
            Self::Tokens => (Method::POST, "/graphql limitedAccessTokens"),
            Self::MintToken => (Method::POST, "/graphql createLimitedAccessToken"),
            Self::RevokeToken => (Method::POST, "/graphql deleteLimitedAccessToken"),
            Self::AppMachines => (Method::GET, "/v1/apps/{app}/machines"),
            Self::Certificates => (Method::GET, "/v1/apps/{app}/certificates"),
            Self::Addresses => (Method::GET, "/v1/apps/{app}/ip_assignments"),
            Self::DeleteVolume => (Method::DELETE, "/v1/apps/{app}/volumes/{volume}"),
            Self::DeleteApp => (Method::DELETE, "/v1/apps/{app}"),
            Self::AcquireLease => (Method::POST, "/v1/apps/{app}/machines/{machine}/lease"),
            Self::ReleaseLease => (Method::DELETE, "/v1/apps/{app}/machines/{machine}/lease"),
            Self::Buckets => (Method::GET, "/ ListBuckets"),
            Self::Bucket => (Method::HEAD, "/{bucket}"),
            Self::AccessKeys => (Method::POST, "/ ListAccessKeys"),
            Self::Policy => (Method::POST, "/ GetPolicyVersion"),
            Self::AttachedPolicies => (Method::POST, "/ ListAttachedUserPolicies"),
            Self::CreateBucket => (Method::PUT, "/{bucket}"),
            Self::EmptyBucket => (Method::POST, "/{bucket}?delete"),
            Self::DeleteBucket => (Method::DELETE, "/{bucket}"),
            Self::CreateAccessKey => (Method::POST, "/ CreateAccessKey"),
            Self::DeleteAccessKey => (Method::POST, "/ DeleteAccessKey"),
            Self::PutPolicy => (Method::POST, "/ CreatePolicy"),
            Self::AttachPolicy => (Method::POST, "/ AttachUserPolicy"),
            Self::DeletePolicy => (Method::POST, "/ DeletePolicy"),
        }
    }

    /// Whether it may change something.
    #[must_use]
    pub fn is_write(self) -> bool {
        Self::WRITES.contains(&self)
    }

    /// Whether it answers a list of an organization's, which may lag.
    #[must_use]
    pub fn is_list(self) -> bool {
        matches!(self, Self::Apps | Self::Machines | Self::MachinesSince | Self::Volumes)
    }

    /// Whether it is about buckets and the keys to them, and so about no app.
    #[must_use]
    pub fn is_storage(self) -> bool {
        self >= Self::Buckets
    }

    /// Whether it is about one machine by its id, and so about that machine's host.
    #[must_use]
    pub fn names_machine(self) -> bool {
        self.template().1.contains("{machine}")
    }

    /// The kinds of intents that cover it; none for what only looks.
    #[must_use]
    pub fn intents(self) -> Vec<ActionKind> {
        match self {
            // What is done under a lease.
            Self::AcquireLease | Self::ReleaseLease => {
                vec![ActionKind::StopMachine, ActionKind::DeleteMachine]
            }
            _ => self.intent().into_iter().collect(),
        }
    }

    /// The kind of intent that covers it; `None` for what only looks, and for leases.
    #[must_use]
    pub fn intent(self) -> Option<ActionKind> {
        Some(match self {
            Self::SetSecret => ActionKind::SetSecret,
            Self::DeleteSecret => ActionKind::RemoveSecret,
            Self::CreateApp => ActionKind::CreateApp,
            Self::CreateVolume => ActionKind::CreateVolume,
            Self::CreateMachine => ActionKind::CreateMachine,
            Self::UpdateMachine => ActionKind::UpdateMachine,
            Self::StartMachine => ActionKind::StartMachine,
            Self::StopMachine => ActionKind::StopMachine,
            Self::SuspendMachine => ActionKind::SuspendMachine,
            // The mark that an extension leaves on its machine.
            Self::SetMetadata | Self::ExtendVolume => ActionKind::ExtendVolume,
            Self::CreateSnapshot => ActionKind::SnapshotVolume,
            Self::DeleteMachine => ActionKind::DeleteMachine,
            Self::MintToken => ActionKind::MintToken,
            Self::RevokeToken => ActionKind::RevokeToken,
            Self::DeleteVolume => ActionKind::DeleteVolume,
            Self::DeleteApp => ActionKind::DeleteApp,
            Self::CreateBucket => ActionKind::CreateBucket,
            Self::EmptyBucket => ActionKind::EmptyBucket,
            Self::DeleteBucket => ActionKind::DeleteBucket,
            Self::CreateAccessKey => ActionKind::CreateAccessKey,
            Self::DeleteAccessKey => ActionKind::RevokeAccessKey,
            Self::PutPolicy => ActionKind::PutBucketPolicy,
            Self::AttachPolicy => ActionKind::PutBucketPolicy,
            Self::DeletePolicy => ActionKind::RemoveBucketPolicy,
            _ => return None,
        })
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, path) = self.template();
        write!(formatter, "{method} {path}")
    }
}
