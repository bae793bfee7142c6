//! What can go wrong with a call, sorted by the one thing that matters next: did it act?

mod details;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode};

pub use details::{Answer, CapacityScope, LeaseHolder, MESSAGE_CAP};

use crate::limit::QueueFull;

/// An error of a library beneath, kept for its text and its own sources.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The platform answered and did not act: any 4xx except 408.
    #[error(transparent)]
    Rejected(Rejection),
    /// The request provably did not reach the platform.
    #[error(transparent)]
    NotSent(NotSent),
    /// The platform may have acted: before a write is repeated, somebody must look. After a read it
    /// only means that nothing was learned.
    #[error(transparent)]
    Unknown(Unknown),
}

/// Which request it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// The method.
    pub method: Method,
    /// The path, without host and query.
    pub path: String,
}

/// The platform answered and did not act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the platform refused {request}: {answer}")]
pub struct Rejection {
    /// Which request.
    pub request: RequestLine,
    /// What the platform said.
    pub answer: Box<Answer>,
}

/// The request provably did not reach the platform.
#[derive(Debug, thiserror::Error)]
#[error("{request} was not sent")]
pub struct NotSent {
    /// Which request.
    pub request: RequestLine,
    /// Why.
    #[source]
    pub reason: NotSentReason,
}

/// Why a request was not sent.
#[derive(Debug, thiserror::Error)]
pub enum NotSentReason {
    /// No connection: name not found, refused, no TLS, or none of these in time.
    #[error("no connection to the platform could be made")]
    Connect(#[source] BoxError),
    /// Too many calls of this kind wait already.
    #[error(transparent)]
    Queue(QueueFull),
    /// The arguments make no request, such as an app whose name is empty or `..`.
    #[error("{0:?} cannot be part of a path")]
    Segment(String),
    /// What had to be looked up first could not be.
    #[error("what it needs could not be looked up")]
    Look(#[source] BoxError),
    /// The arguments make no request that the HTTP library accepts.
    #[error("the request cannot be built")]
    Build(#[source] BoxError),
}

/// The platform may have acted.
#[derive(Debug)]
pub struct Unknown {
    /// Which request.
    pub request: RequestLine,
    /// What the platform said, as far as it said anything.
    pub answer: Option<Box<Answer>>,
    /// Why the outcome is open.
    pub cause: UnknownCause,
}

/// Why the outcome of a request is open.
#[derive(Debug, thiserror::Error)]
pub enum UnknownCause {
    /// The answer's status leaves it open: 408, any 5xx, or one that this API does not have.
    #[error("its status leaves the outcome open")]
    Status,
    /// No complete answer in time.
    #[error("no complete answer came in time")]
    Timeout(#[source] BoxError),
    /// The connection ended before the answer did.
    #[error("the connection broke before the answer was complete")]
    Broken(#[source] BoxError),
    /// The answer is longer than this client reads.
    #[error("the answer is longer than {cap} bytes")]
    TooLong {
        /// The cap, in bytes.
        cap: usize,
    },
    /// Success, but not in the API's words.
    #[error("the answer cannot be read: {0}")]
    Undecodable(String),
    /// The pages of a list repeat themselves or do not end.
    #[error("the pages of the list do not end: {0}")]
    Pages(String),
    /// It takes several requests: an earlier one acted, and this one did not.
    #[error("an earlier step acted, but not all of them did")]
    Partly(#[source] BoxError),
}

impl CallError {
    /// Which request it was.
    #[must_use]
    pub const fn request(&self) -> &RequestLine {
        match self {
            Self::Rejected(rejection) => &rejection.request,
            Self::NotSent(not_sent) => &not_sent.request,
            Self::Unknown(unknown) => &unknown.request,
        }
    }

    /// What kind of failure it is, in one word for journals: `refused`, what kept it from being
    /// sent (`connect`, `queue`, `arguments`, `lookup`), or why its outcome is open (`status`, `timeout`,
    /// `broken`, `tooLong`, `undecodable`, `pages`, `partly`).
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Rejected(_) => "refused",
            Self::NotSent(NotSent { reason, .. }) => match reason {
                NotSentReason::Connect(_) => "connect",
                NotSentReason::Queue(_) => "queue",
                NotSentReason::Segment(_) | NotSentReason::Build(_) => "arguments",
                NotSentReason::Look(_) => "lookup",
            },
            Self::Unknown(Unknown { cause, .. }) => match cause {
                UnknownCause::Status => "status",
                UnknownCause::Timeout(_) => "timeout",
                UnknownCause::Broken(_) => "broken",
                UnknownCause::TooLong { .. } => "tooLong",
                UnknownCause::Undecodable(_) => "undecodable",
                UnknownCause::Pages(_) => "pages",
                UnknownCause::Partly(_) => "partly",
            },
        }
    }

    /// What the platform said, if it said anything.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Rejected(rejection) => Some(&rejection.answer),
            Self::NotSent(_) => None,
            Self::Unknown(unknown) => unknown.answer.as_deref(),
        }
    }

    /// The HTTP status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.answer().map(|answer| answer.status)
    }

    /// The platform's name for the request, to quote to its support.
    #[must_use]
    pub fn fly_request_id(&self) -> Option<&str> {
        self.answer()?.fly_request_id.as_deref()
    }

    /// How long the platform asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.answer()?.retry_after
    }

    /// 404: the app, machine or volume is not there. An app that belongs to someone else is
    /// [`Self::is_forbidden`] instead.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.rejected_with(StatusCode::NOT_FOUND).is_some()
    }

    /// 401: the token is no good for anything.
    #[must_use]
    pub fn is_unauthenticated(&self) -> bool {
        self.rejected_with(StatusCode::UNAUTHORIZED).is_some()
    }

    /// 403: the token is good, but not for this; so it is with an app of another organization.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.rejected_with(StatusCode::FORBIDDEN).is_some()
    }

    /// 429.
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        self.rejected_with(StatusCode::TOO_MANY_REQUESTS).is_some()
    }

    /// 412: the machine or volume is not in a state for this; so it is for some seconds after a
    /// create or an update, so wait and repeat.
    #[must_use]
    pub fn is_wrong_state(&self) -> bool {
        self.rejected_with(StatusCode::PRECONDITION_FAILED)
            .is_some_and(|answer| answer.capacity().is_none())
    }

    /// The name of the app is taken, by us or by anybody.
    #[must_use]
    pub fn name_taken(&self) -> bool {
        self.rejected_with(StatusCode::UNPROCESSABLE_ENTITY).is_some_and(Answer::name_taken)
    }

    /// The machine that already has the name that another was to get. It may be our own, from a
    /// create whose answer was lost.
    #[must_use]
    pub fn existing_machine_id(&self) -> Option<&str> {
        self.rejected_with(StatusCode::CONFLICT)?.existing_machine_id()
    }

    /// Who holds the machine's lease, and so keeps the call from being carried out.
    #[must_use]
    pub fn lease_holder(&self) -> Option<LeaseHolder> {
        self.rejected_with(StatusCode::CONFLICT)?.lease_holder()
    }

    /// The volume belongs to a machine; so it is for some seconds after that machine is gone.
    #[must_use]
    pub fn volume_still_claimed(&self) -> bool {
        self.rejected_with(StatusCode::PRECONDITION_FAILED)
            .is_some_and(Answer::volume_still_claimed)
    }

    /// There is no room, and where there is none.
    #[must_use]
    pub fn capacity(&self) -> Option<CapacityScope> {
        match self {
            Self::Rejected(rejection) => rejection.answer.capacity(),
            Self::NotSent(_) | Self::Unknown(_) => None,
        }
    }

    /// A wait for a machine ended because its time was over.
    #[must_use]
    pub fn wait_is_over(&self) -> bool {
        self.answer().is_some_and(Answer::wait_is_over)
    }

    /// Whether the very same call may be repeated without looking first: a call that was not sent,
    /// unless its arguments are wrong; a call that was answered with 429; a read whose outcome is
    /// unknown, unless its answer came and made no sense, or said that the time of a wait is over.
    ///
    /// A write whose outcome is unknown is not, and a refused call is not because it would be
    /// refused again (what waiting may cure has a method of its own here).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unknown(unknown) => {
                matches!(unknown.request.method, Method::GET | Method::HEAD) && self.may_pass()
            }
            Self::Rejected(_) | Self::NotSent(_) => self.may_pass(),
        }
    }

    /// Whether the same call may succeed a moment later, whatever making it twice would do.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Rejected(_) => self.is_rate_limited(),
            Self::NotSent(NotSent { reason, .. }) => {
                matches!(reason, NotSentReason::Connect(_) | NotSentReason::Queue(_))
            }
            Self::Unknown(Unknown { cause, .. }) => {
                !self.wait_is_over()
                    && matches!(
                        cause,
                        UnknownCause::Status | UnknownCause::Timeout(_) | UnknownCause::Broken(_)
                    )
            }
        }
    }

    /// Of a look that was to come before a call: what is not known of the look leaves no doubt about
    /// the call.
    pub(crate) fn before_the_call(self) -> Self {
        match self {
            Self::Unknown(unknown) => {
                let request = unknown.request.clone();
                let reason = NotSentReason::Look(unknown.into());
                Self::NotSent(NotSent { request, reason })
            }
            known => known,
        }
    }

    /// Of a step that comes after one that acted: the whole did something, though this did not.
    #[must_use]
    pub fn after_a_step(self) -> Self {
        let request = self.request().clone();
        match self {
            Self::Unknown(unknown) => Self::Unknown(unknown),
            known => {
                let answer = known.answer().cloned().map(Box::new);
                let cause = UnknownCause::Partly(known.into());
                Self::Unknown(Unknown { request, answer, cause })
            }
        }
    }

    fn rejected_with(&self, status: StatusCode) -> Option<&Answer> {
        match self {
            Self::Rejected(rejection) if rejection.answer.status == status => {
                Some(&rejection.answer)
            }
            _ => None,
        }
    }
}

impl fmt::Display for RequestLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the outcome of {} is unknown", self.request)?;
        match &self.answer {
            Some(answer) => write!(formatter, ": {answer}"),
            None => Ok(()),
        }
    }
}

impl Error for Unknown {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}
