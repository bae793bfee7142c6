//! What can become of a call.

use std::fmt;

use http::StatusCode;
use vault_cloud::error::{
    Answer, CallError, NotSent, NotSentReason, Rejection, RequestLine, Unknown, UnknownCause,
};
use vault_emulator::api::error::status_of;
use vault_emulator::world::Refusal;

use crate::verb::Verb;

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It is carried out and answered.
    Works,
    /// No connection: it provably never left.
    NotSent,
    /// It never arrives, and nobody knows.
    LostRequest,
    /// It arrives long after its sender gave up.
    LateRequest,
    /// It is carried out, and the answer is lost.
    LostReply,
    /// It is carried out, and answered with 408.
    ActsThen408,
    /// It is carried out, and answered with 500.
    ActsThen500,
    /// It is answered with 408, and not carried out.
    Is408,
    /// It is answered with 503, and not carried out.
    Is503,
    /// It is refused with 409.
    Is409,
    /// It is refused with 412.
    Is412,
    /// It is refused with 422.
    Is422,
    /// It is refused with 429.
    Is429,
    /// It is carried out twice; the second answer is given.
    Twice,
    /// It takes seconds both ways.
    Slow,
    /// The list shows what an earlier one showed.
    Stale,
    /// The list shows nothing.
    Empty,
    /// The list leaves a region out, and says so.
    Partial,
    /// A row of the list cannot be read.
    Unreadable,
}

impl Fate {
    /// All fates, in their order.
    pub const ALL: [Self; 19] = [
        Self::Works,
        Self::NotSent,
        Self::LostRequest,
        Self::LateRequest,
        Self::LostReply,
        Self::ActsThen408,
        Self::ActsThen500,
        Self::Is408,
        Self::Is503,
        Self::Is409,
        Self::Is412,
        Self::Is422,
        Self::Is429,
        Self::Twice,
        Self::Slow,
        Self::Stale,
        Self::Empty,
        Self::Partial,
        Self::Unreadable,
    ];

    /// Whether a call of this verb can have this fate.
    #[must_use]
    pub fn concerns(self, verb: Verb) -> bool {
        match self {
            Self::Works
            | Self::NotSent
            | Self::LostRequest
            | Self::Is408
            | Self::Is503
            | Self::Is429
            | Self::Slow => true,
            Self::LateRequest
            | Self::LostReply
            | Self::ActsThen408
            | Self::ActsThen500
            | Self::Is409
            | Self::Is412
            | Self::Is422
            | Self::Twice => verb.is_write(),
            Self::Stale => verb.is_list(),
            Self::Empty if matches!(verb, Verb::Buckets | Verb::AccessKeys) => true,
            Self::Empty | Self::Unreadable => verb.is_list() || verb == Verb::AppVolumes,
            Self::Partial => matches!(verb, Verb::Machines | Verb::MachinesSince),
        }
    }

    /// Whether the platform carries the call out.
    #[must_use]
    pub fn acts(self) -> bool {
        !matches!(
            self,
            Self::NotSent
                | Self::LostRequest
                | Self::Is408
                | Self::Is503
                | Self::Is409
                | Self::Is412
                | Self::Is422
                | Self::Is429
        )
    }

    /// What the caller is told in place of the platform's own answer, if it is told another thing.
    #[must_use]
    pub fn error(self, verb: Verb) -> Option<CallError> {
        let status = |code: u16, message: &str| answer(code, message);
        Some(match self {
            Self::NotSent => {
                let reason = NotSentReason::Connect("connection refused".into());
                CallError::NotSent(NotSent { request: request(verb), reason })
            }
            Self::LostRequest | Self::LateRequest => {
                unknown(verb, None, UnknownCause::Timeout("no answer in time".into()))
            }
            Self::LostReply => {
                unknown(verb, None, UnknownCause::Broken("connection reset by peer".into()))
            }
            Self::ActsThen408 | Self::Is408 => {
                let answer = status(408, "deadline_exceeded: the host did not answer in time");
                unknown(verb, Some(answer), UnknownCause::Status)
            }
            Self::ActsThen500 => unknown(verb, Some(status(500, "internal")), UnknownCause::Status),
            Self::Is503 => unknown(verb, Some(status(503, "unavailable")), UnknownCause::Status),
            Self::Is409 => {
                rejected(verb, 409, "aborted: machine update failed due to concurrent update")
            }
            Self::Is412 => {
                rejected(verb, 412, "failed_precondition: machine still active, refusing to start")
            }
            Self::Is422 => rejected(verb, 422, "Validation failed"),
            Self::Is429 => rejected(verb, 429, "rate limit exceeded"),
            Self::Works
            | Self::Twice
            | Self::Slow
            | Self::Stale
            | Self::Empty
            | Self::Partial
            | Self::Unreadable => return None,
        })
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Works => "works",
            Self::NotSent => "not sent",
            Self::LostRequest => "request lost",
            Self::LateRequest => "request late",
            Self::LostReply => "reply lost",
            Self::ActsThen408 => "acts, then 408",
            Self::ActsThen500 => "acts, then 500",
            Self::Is408 => "408",
            Self::Is503 => "503",
            Self::Is409 => "409",
            Self::Is412 => "412",
            Self::Is422 => "422",
            Self::Is429 => "429",
            Self::Twice => "delivered twice",
            Self::Slow => "slow",
            Self::Stale => "stale list",
            Self::Empty => "empty list",
            Self::Partial => "a region is missing",
            Self::Unreadable => "an unreadable row",
        })
    }
}

/// The world's refusal, as the client tells it.
#[must_use]
pub fn refused(verb: Verb, refusal: &Refusal) -> CallError {
    let code = matches!(refusal, Refusal::AppNameTaken).then(|| "name_taken".to_owned());
    let mut answer = answer(status_of(refusal).as_u16(), &refusal.to_string());
    answer.code = code;
    CallError::Rejected(Rejection { request: request(verb), answer })
}

/// What a call names is not there.
#[must_use]
pub fn no_entity(verb: Verb) -> CallError {
    rejected(verb, 404, "NoSuchEntity")
}

/// A host that does not answer.
#[must_use]
pub fn dead_host(verb: Verb) -> CallError {
    let answer = answer(408, "deadline_exceeded: the host did not answer in time");
    unknown(verb, Some(answer), UnknownCause::Status)
}

fn unknown(verb: Verb, answer: Option<Box<Answer>>, cause: UnknownCause) -> CallError {
    CallError::Unknown(Unknown { request: request(verb), answer, cause })
}

fn rejected(verb: Verb, status: u16, message: &str) -> CallError {
    CallError::Rejected(Rejection { request: request(verb), answer: answer(status, message) })
}

fn request(verb: Verb) -> RequestLine {
    let (method, path) = verb.template();
    RequestLine { method, path: path.to_owned() }
}

fn answer(status: u16, message: &str) -> Box<Answer> {
    Box::new(Answer {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        fly_request_id: None,
        message: message.to_owned(),
        code: None,
        retry_after: None,
    })
}
