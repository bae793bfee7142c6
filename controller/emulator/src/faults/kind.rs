//! The kinds of faults, with what each may be told and which calls it concerns.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

use super::action::Call;

/// What is answered in the platform's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// The text of `error`; `{machine}`, `{name}` and `{volume}` are filled in.
    pub error: String,
    /// The text of `status`, the class that a few errors carry.
    pub code: Option<String>,
}

/// What happens to a machine without a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// Fly moves it to another host: new address, new version, new volume id.
    Migration,
    /// The proxy stops it.
    Autostop,
    /// A person stops it.
    UserStop,
    /// A person merges this into its config (RFC 7396).
    UserEdit(Map<String, Value>),
    /// A person destroys it.
    UserDestroy,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// The call is answered with an error and not carried out.
    Fail(Reply),
    /// The call is carried out and answered with an error.
    ActThenFail(Reply),
    /// The connection ends before the call is carried out.
    LostRequest,
    /// The call is carried out, then the connection ends.
    LostReply,
    /// The call is carried out twice, as an edge that retries does; the second answer is given.
    DeliveredTwice,
    /// The call waits before it is carried out.
    Latency(Duration),
    /// The app's name is somebody else's: 422 for who creates it, 403 for who asks.
    NameTaken,
    /// Start is refused with 412 for this long after a create or update.
    StartRefused(Duration),
    /// Somebody else holds the machine's lease: 409, but stop and destroy wait for its end.
    ForeignLease,
    /// The machine's host does not answer: nothing of its config is shown, calls end in this error,
    /// and a destroy is accepted and carried out when the host is back.
    DeadHost(Reply),
    /// Lists show nothing.
    EmptyList,
    /// Lists show what was true this long ago.
    StaleList(Duration),
    /// Organization-wide lists of machines leave regions out and say so.
    PartialList(BTreeSet<String>),
    /// Answers have members that nobody documented, `null` for empty lists, and capitals.
    WireDrift,
    /// Machines are shown in this state, which they are not in.
    Flicker(String),
    /// A new version of a machine stays where it is for this long before it starts.
    SlowImage(Duration),
    /// An update is answered, and undone this long afterwards.
    RevertedUpdate(Duration),
    /// A volume stays claimed this long after its machine is destroyed.
    LingeringClaim(Duration),
    /// A destroyed machine is known for this long, then answers 404.
    DestroyedShown(Duration),
    /// Something happens to a machine, this long after it was seen started.
    Happens(Happening, Duration),
}

/// A kind's name and what it may be told.
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// Members beside those that every fault may have.
    pub(super) options: &'static [&'static str],
    /// The actions that it concerns unless the document names others; empty for all.
    pub(super) actions: &'static [&'static str],
}

/// All kinds, in the order of the documentation.
pub(super) const KINDS: &[Entry] = &[
    kind("fail", &["status", "error", "code"], &[]),
    kind("act-then-fail", &["status", "error", "code"], &[]),
    kind("lost-request", &[], &[]),
    kind("lost-reply", &[], &[]),
    kind("delivered-twice", &[], &[]),
    kind("latency", &["delay"], &[]),
    kind("rate-limit", &[], &[]),
    kind("token-trouble", &[], &[]),
    kind("region-full", &[], &["create-machine", "create-volume"]),
    kind("host-full", &[], &["create-machine", "update-machine", "start-machine"]),
    kind("volume-host-full", &[], &["create-machine"]),
    kind("organization-limit", &["status"], &["create-app", "create-machine", "create-volume"]),
    kind("name-taken", &[], &["create-app", "read-app"]),
    kind("start-refused", &["delay"], &["start-machine"]),
    kind("foreign-lease", &[], LEASED),
    kind("dead-host", &["status"], &[]),
    kind("empty-list", &[], LISTS),
    kind("stale-list", &["age"], LISTS),
    kind("partial-list", &["regions"], &["list-org-machines"]),
    kind("wire-drift", &[], &[]),
    kind("flicker", &["state"], &[]),
    kind("slow-image", &["delay"], &[]),
    kind("reverted-update", &["delay"], &[]),
    kind("lingering-claim", &["delay"], &[]),
    kind("destroyed-shown", &["delay"], &[]),
    kind("migration", &["delay"], &[]),
    kind("autostop", &["delay"], &[]),
    kind("user-stop", &["delay"], &[]),
    kind("user-edit", &["delay", "config"], &[]),
    kind("user-destroy", &["delay"], &[]),
];

/// The lists that a controller lives on.
const LISTS: &[&str] =
    &["list-apps", "list-machines", "list-volumes", "list-org-machines", "list-org-volumes"];

/// What a lease guards; metadata and creates it does not.
const LEASED: &[&str] = &[
    "update-machine",
    "start-machine",
    "stop-machine",
    "suspend-machine",
    "restart-machine",
    "destroy-machine",
    "cordon-machine",
    "uncordon-machine",
    "acquire-lease",
];

const fn kind(
    name: &'static str,
    options: &'static [&'static str],
    actions: &'static [&'static str],
) -> Entry {
    Entry { name, options, actions }
}

impl Entry {
    /// The fixed answer of kinds that are a way of failing.
    pub(super) fn preset(&self) -> Option<Reply> {
        let (status, error, code) = match self.name {
            "rate-limit" => (429, "rate limit exceeded", None),
            "token-trouble" => (401, "Authenticate: token validation error", None),
            "region-full" => {
                (422, "could not find a candidate host", Some("insufficient_capacity"))
            }
            "host-full" => (
                409,
                "aborted: could not reserve resource for machine: insufficient CPUs available to \
                 fulfill request on the current host",
                None,
            ),
            "volume-host-full" => (
                412,
                "insufficient resources to create new machine with existing volume '{volume}'",
                Some("volume_placement_capacity"),
            ),
            "organization-limit" => (
                422,
                "Your organization has reached its machine limit. Please contact billing@fly.io",
                None,
            ),
            _ => return None,
        };
        Some(Reply { status, error: error.to_owned(), code: code.map(str::to_owned) })
    }
}

impl Kind {
    /// Whether it is decided when a call arrives.
    pub(super) fn meets_calls(&self) -> bool {
        matches!(
            self,
            Self::Fail(_)
                | Self::ActThenFail(_)
                | Self::LostRequest
                | Self::LostReply
                | Self::DeliveredTwice
                | Self::Latency(_)
                | Self::NameTaken
                | Self::StartRefused(_)
                | Self::ForeignLease
                | Self::DeadHost(_)
        )
    }

    /// Whether it can happen to calls of S3, IAM and GraphQL.
    pub(super) fn meets_operations(&self) -> bool {
        matches!(
            self,
            Self::Fail(_)
                | Self::ActThenFail(_)
                | Self::LostRequest
                | Self::LostReply
                | Self::DeliveredTwice
                | Self::Latency(_)
        )
    }

    /// Whether it is decided when an answer is ready.
    pub(super) fn changes_answers(&self) -> bool {
        matches!(
            self,
            Self::EmptyList
                | Self::StaleList(_)
                | Self::PartialList(_)
                | Self::WireDrift
                | Self::Flicker(_)
                | Self::DeadHost(_)
        )
    }

    /// Whether a call of this form can be hit at all, whatever its subject.
    pub(super) fn concerns(&self, call: &Call) -> bool {
        match self {
            // What is only read was not acted upon.
            Self::ActThenFail(_) | Self::DeliveredTwice => call.is_write(),
            Self::DeadHost(_) => {
                call.is_write() && call.action.is_some_and(super::Action::names_machine)
            }
            _ => true,
        }
    }
}

/// The platform's usual text for a status.
pub(super) fn usual_text(status: u16) -> String {
    let text = match status {
        400 => "invalid_argument: invalid request",
        401 => "Authenticate: token validation error",
        403 => "unauthorized",
        404 => "not found",
        408 => "deadline_exceeded: the host did not answer in time",
        409 => "aborted: machine update failed due to concurrent update",
        412 => "failed_precondition: machine still active, refusing to start",
        422 => "Validation failed",
        429 => "rate limit exceeded",
        _ => {
            let known = http::StatusCode::from_u16(status).ok();
            let reason = known.and_then(|known| known.canonical_reason()).unwrap_or("error");
            return reason.to_lowercase();
        }
    };
    text.to_owned()
}
