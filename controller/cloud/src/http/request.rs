//! A call as data.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

use crate::operation::Operation;

/// The longest list that is read, in bytes: a page of 1,000 machines has about 1 MB, so this leaves
/// room for large metadata and stops an answer without end.
const LIST_CAP: usize = 64 << 20;

/// The longest answer about one thing that is read, in bytes: a machine with its config and events
/// is well below 1 MB.
const OBJECT_CAP: usize = 4 << 20;

/// What a request says beside its path.
#[derive(Clone)]
pub(super) struct Body {
    pub(super) content_type: &'static str,
    pub(super) bytes: Vec<u8>,
    /// Headers about it, in small letters.
    pub(super) headers: Vec<(&'static str, String)>,
}

/// A call, ready to be sent.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) operation: Operation,
    /// What follows the root, `/v1` for all calls but those at logs.
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Body>,
    /// In small letters.
    pub(super) header: Option<(&'static str, String)>,
    /// What of the body must not be told on, whatever the platform answers.
    pub(super) confidential: Option<SecretString>,
    /// Whose bucket of the rate limit it draws from: a machine, an app, or all (empty).
    pub(crate) identifier: String,
    /// Besides the client's own timeout: how long the platform is asked to hold the answer back.
    pub(super) held_back: Duration,
    /// The longest answer that is read, in bytes.
    pub(super) cap: usize,
}

impl Request {
    /// A call without query and body, to the path of these segments after the root.
    pub(crate) fn new(operation: Operation, segments: &[&str], identifier: &str) -> Self {
        Self {
            operation,
            segments: segments.iter().map(|segment| (*segment).to_owned()).collect(),
            query: Vec::new(),
            body: None,
            header: None,
            confidential: None,
            identifier: identifier.to_owned(),
            held_back: Duration::ZERO,
            cap: OBJECT_CAP,
        }
    }

    /// With one more member of the query.
    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// With this header, whose name is in small letters.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// With this body, which is JSON.
    pub(crate) fn body(self, json: Vec<u8>) -> Self {
        self.body_of("application/json", json, Vec::new())
    }

    /// With this body, which is of another kind, and headers about it, in small letters.
    pub(crate) fn body_of(
        mut self,
        content_type: &'static str,
        bytes: Vec<u8>,
        headers: Vec<(&'static str, String)>,
    ) -> Self {
        self.body = Some(Body { content_type, bytes, headers });
        self
    }

    /// With a body that holds this secret: an answer that quotes it is told without it.
    pub(crate) fn confidential(mut self, secret: SecretString) -> Self {
        self.confidential = Some(secret);
        self
    }

    /// With an answer that may be long.
    pub(crate) fn list(mut self) -> Self {
        self.cap = LIST_CAP;
        self
    }

    /// With an answer that the platform holds back for so long.
    pub(crate) fn held_back(mut self, duration: Duration) -> Self {
        self.held_back = duration;
        self
    }
}

/// Without the body, which may hold a secret.
impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("operation", &self.operation)
            .field("segments", &self.segments)
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}
