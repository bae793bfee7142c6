//! Object storage, as Tigris serves it: buckets over S3, and access keys and policies over IAM.
//!
//! ```text
//!   StorageClient ──▶ buckets, objects ──▶ S3    GET|HEAD|PUT|DELETE /{bucket}   ┐ signed with one
//!              └────▶ keys, policies ────▶ IAM   POST /  Action=…                ┘ admin key
//! ```
//!
//! Errors are sorted as those of machines are, by whether the call acted. A key's secret is shown
//! once, so making a key is never repeated here: after one whose outcome is unknown, the list tells
//! what it left behind. Policies are attached to keys, not to users: a key's id stands where AWS has
//! a user's name.

mod access;
mod buckets;
mod iam;
mod keys;
mod objects;
mod policies;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

pub use access::{StorageAccess, StorageAccessError, VARIABLES};
pub use buckets::{BucketCreation, BucketDeletion, BucketLook, ListedBucket};
pub use keys::{ListedAccessKey, NewAccessKey};
pub use objects::Emptied;
pub use policies::Policy;

pub use crate::http::ClientError;

use crate::counts::CallObserver;
use crate::http::{Http, Signer};
use crate::machines::Caller;
use crate::sleep::{Sleep, TokioSleep};

/// Time for one attempt at a request. Storage answers these within a second, from wherever it is.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// What the time of day is: a signature is good for some minutes around it.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a client is made from.
#[derive(Clone)]
pub struct StorageConfig {
    /// Where storage is, and whose key signs.
    pub access: StorageAccess,
    /// The name of this program for storage's logs.
    pub user_agent: String,
    /// Time for one attempt at a request, connecting and reading the answer included.
    pub timeout: Duration,
    /// Who is told of every attempt.
    pub observer: Option<Arc<dyn CallObserver>>,
    /// How pauses between attempts are spent.
    pub sleep: Arc<dyn Sleep>,
    /// What the time of day is.
    pub clock: WallClock,
}

impl StorageConfig {
    /// The usual: 20 seconds per attempt, no observer, Tokio's timer, the machine's clock.
    #[must_use]
    pub fn new(access: StorageAccess) -> Self {
        Self {
            access,
            user_agent: concat!("vault-cloud/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: DEFAULT_TIMEOUT,
            observer: None,
            sleep: Arc::new(TokioSleep::new()),
            clock: Arc::new(system_time),
        }
    }
}

/// Calls S3 and IAM. Clones share connections.
///
/// A future may be dropped at any time; a write that was under way then has an unknown outcome.
#[derive(Clone)]
pub struct StorageClient {
    s3: Arc<Caller>,
    iam: Arc<Caller>,
    /// What the ARN of a policy of the organization begins with, once one was seen.
    arn_prefix: Arc<Mutex<Option<String>>>,
}

impl StorageClient {
    /// A client for one key. Makes no call.
    ///
    /// # Errors
    /// [`ClientError`], see there; among others, if an address is plain http to another machine.
    pub fn new(config: StorageConfig) -> Result<Self, ClientError> {
        let caller = |url: &str, service| {
            let signer = Signer::new(&config.access, service, Arc::clone(&config.clock));
            let http = Http::signed(url, signer, &config.user_agent, config.timeout)?;
            let (observer, sleep) = (config.observer.clone(), Arc::clone(&config.sleep));
            Ok(Arc::new(Caller::unlimited(http, observer, sleep)))
        };
        let (s3, iam) = (caller(&config.access.s3, "s3")?, caller(&config.access.iam, "iam")?);
        Ok(Self { s3, iam, arn_prefix: Arc::default() })
    }
}

/// Without anything that could hold a secret.
impl fmt::Debug for StorageClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StorageClient").finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "the default of the seam; tests give another clock")]
fn system_time() -> Timestamp {
    Timestamp::now()
}
