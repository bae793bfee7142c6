//! What an answer that is no success says, and what its words mean.
//!
//! The platform's errors are sentences. They are sorted by status first, then by the code in the
//! body, and by words only where there is nothing else.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use crate::text::printable;

/// The longest message that is kept of an answer, in bytes: enough for any of the platform's
/// sentences, and a page of HTML from something in between is cut.
pub const MESSAGE_CAP: usize = 1024;

/// The longest machine id that is taken out of a sentence; the platform's have 14 characters.
const MACHINE_ID_CAP: usize = 64;

/// The longest name of a lease's owner that is kept, in bytes.
const OWNER_CAP: usize = 128;

/// Phrases of a refusal for want of room on one host, as they follow status 409.
const HOST_IS_FULL: [&str; 7] = [
    "could not reserve resource for machine",
    "insufficient IPs available",
    "insufficient resources available",
    "no capacity",
    "governor policy blocked start",
    "deploys to this host are temporarily disabled",
    "insufficient resources to create new machine with existing volume",
];

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The platform's name for the request.
    pub fly_request_id: Option<String>,
    /// Its sentence, [`MESSAGE_CAP`] bytes at most, without control characters; may be empty.
    pub message: String,
    /// The code in its body, such as `name_taken` or `insufficient_capacity`; usually absent.
    pub code: Option<String>,
    /// How long it asks to wait.
    pub retry_after: Option<Duration>,
}

/// Who holds a lease, as a refusal says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseHolder {
    /// Whose token it is.
    pub owner: String,
    /// When it ends, if that can be read.
    pub expires_at: Option<Timestamp>,
}

/// Where there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapacityScope {
    /// In the whole region: try another one.
    Region,
    /// On the host that holds this machine or volume: try again, then relocate.
    Host,
}

impl Answer {
    pub(super) fn name_taken(&self) -> bool {
        self.has_code("name_taken") || self.message.contains("Name has already been taken")
    }

    /// Of `already_exists: unique machine name violation, machine ID <id> already exists with …`.
    pub(super) fn existing_machine_id(&self) -> Option<&str> {
        let (_, rest) = self.message.split_once("unique machine name violation")?;
        let (_, rest) = rest.split_once("machine ID ")?;
        let (id, _) = rest.split_once(" already exists")?;
        let sound = !id.is_empty()
            && id.len() <= MACHINE_ID_CAP
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        sound.then_some(id)
    }

    /// Of `machine ID <id> lease currently held by <owner>, expires at <time>`.
    pub(super) fn lease_holder(&self) -> Option<LeaseHolder> {
        let (_, rest) = self.message.split_once("lease currently held by ")?;
        let (owner, rest) = rest.split_once(", expires at ").unwrap_or((rest, ""));
        let expires_at = rest.split_whitespace().next().and_then(|text| text.parse().ok());
        Some(LeaseHolder { owner: printable(owner.trim(), OWNER_CAP), expires_at })
    }

    pub(super) fn volume_still_claimed(&self) -> bool {
        self.message.contains("volume already claimed by machine")
            || self.message.contains("volume is currently bound to machine")
    }

    /// Other answers with status 408 mean that the machine's host did not answer.
    pub(super) fn wait_is_over(&self) -> bool {
        self.status == StatusCode::REQUEST_TIMEOUT
            && self.message.contains("machine failed to reach desired state")
    }

    pub(super) fn capacity(&self) -> Option<CapacityScope> {
        let host = || HOST_IS_FULL.iter().any(|phrase| self.message.contains(phrase));
        match self.status {
            StatusCode::UNPROCESSABLE_ENTITY if self.has_code("insufficient_capacity") => {
                Some(CapacityScope::Region)
            }
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED
                if self.has_code("volume_placement_capacity")
                    || self.has_code("insufficient_capacity")
                    || host() =>
            {
                Some(CapacityScope::Host)
            }
            _ => None,
        }
    }

    fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.status)?;
        if !self.message.is_empty() {
            write!(formatter, ", {}", self.message)?;
        }
        match (&self.code, &self.fly_request_id) {
            (None, None) => Ok(()),
            (Some(code), None) => write!(formatter, " ({code})"),
            (None, Some(id)) => write!(formatter, " (request {id})"),
            (Some(code), Some(id)) => write!(formatter, " ({code}, request {id})"),
        }
    }
}
