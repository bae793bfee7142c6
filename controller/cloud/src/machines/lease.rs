//! Leases: who holds one keeps others from changing the machine for some seconds.

use serde::{Deserialize, Serialize};

use super::MachinesClient;
use crate::error::{CallError, UnknownCause};
use crate::http::Request;
use crate::operation::Operation;

/// Names the lease under which a call is made.
const NONCE: &str = "fly-machine-lease-nonce";
/// The longest nonce and the longest version that are taken, in bytes; the platform's have 12 and 26
/// characters.
const WORD_BYTES_MAX: usize = 256;

/// A lease to be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewLease {
    /// How long it lasts if nobody ends it, in seconds.
    pub ttl: u32,
    /// What for, for whoever is kept out by it.
    pub description: String,
}

/// A lease that we hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Makes calls pass.
    pub nonce: String,
    /// The version (`instance_id`) that the machine has now, if the platform says: nobody changes it
    /// as long as the lease lasts.
    pub version: Option<String>,
}

#[derive(Deserialize)]
struct LeaseRow {
    nonce: String,
    version: Option<String>,
}

/// As the platform answers, or as its documentation says that it does.
#[derive(Deserialize)]
#[serde(untagged)]
enum LeaseAnswer {
    Wrapped { data: LeaseRow },
    Flat(LeaseRow),
}

impl MachinesClient {
    /// Takes the lease on a machine. Never repeated: a second one is refused, to its own holder too.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::lease_holder`] if somebody has it.
    pub async fn acquire_lease(
        &self,
        app: &str,
        id: &str,
        new: &NewLease,
    ) -> Result<Lease, CallError> {
        let path = ["apps", app, "machines", id, "lease"];
        let request = Request::new(Operation::AcquireLease, &path, id);
        let success = self.caller.call(&self.caller.with_body(request, new)?).await?;
        // Into a shape whose errors quote nothing.
        let row = match serde_json::from_slice(&success.body) {
            Ok(LeaseAnswer::Wrapped { data } | LeaseAnswer::Flat(data)) => data,
            Err(error) => return Err(success.undecodable(&error)),
        };
        let sound = |text: &str| {
            (1..=WORD_BYTES_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !sound(&row.nonce) {
            let why = "it holds no nonce that a header takes".to_owned();
            return Err(success.unknown(UnknownCause::Undecodable(why)));
        }
        Ok(Lease { nonce: row.nonce, version: row.version.filter(|version| sound(version)) })
    }

    /// Ends a lease of ours.
    ///
    /// # Errors
    /// [`CallError`]; not found if it ended already, or the machine is gone.
    pub async fn release_lease(&self, app: &str, id: &str, nonce: &str) -> Result<(), CallError> {
        let path = ["apps", app, "machines", id, "lease"];
        let request = Request::new(Operation::ReleaseLease, &path, id);
        self.caller.done(under(Some(nonce), request)).await
    }
}

/// A request that passes the lease with this nonce.
pub(super) fn under(nonce: Option<&str>, request: Request) -> Request {
    match nonce {
        Some(nonce) => request.header(NONCE, nonce),
        None => request,
    }
}
