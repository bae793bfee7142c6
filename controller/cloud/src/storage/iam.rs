//! One call to IAM: a form that names its action, answered in XML whose root names it too.

use http::StatusCode;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::StorageClient;
use crate::error::{CallError, RequestLine, Unknown, UnknownCause};
use crate::http::Request;
use crate::machines::Walk;
use crate::operation::Operation;

/// The version of IAM's protocol, the only one that there is.
const VERSION: &str = "2010-05-08";
/// Rows asked for per page: the most that IAM gives.
const PAGE_LIMIT: &str = "1000";
/// The longest name, id or ARN that is taken, in bytes: an ARN of AWS has 2,048 at most.
const WORD_BYTES_MAX: usize = 2_048;

/// Where a list goes on.
pub(super) struct Continuation {
    pub(super) is_truncated: bool,
    pub(super) marker: Option<String>,
}

impl StorageClient {
    /// Makes one call and reads its answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        operation: Operation,
        members: &[(&str, &str)],
    ) -> Result<(RequestLine, T), CallError> {
        let action = action(operation);
        // What writes the form cannot go from thread to thread, so it ends before the call.
        let form = {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("Action", action).append_pair("Version", VERSION);
            form.extend_pairs(members).finish().into_bytes()
        };
        let kind = "application/x-www-form-urlencoded";
        let request = Request::new(operation, &[], "").body_of(kind, form, Vec::new());
        let request = if operation.only_looks() { request.list() } else { request };
        let success = self.iam.call(&request).await?;
        let line = success.request.clone();
        Ok((line, success.decode_xml(&format!("{action}Response"))?))
    }

    /// Makes one call whose success says nothing more.
    pub(super) async fn tell(
        &self,
        operation: Operation,
        members: &[(&str, &str)],
    ) -> Result<(), CallError> {
        self.ask::<IgnoredAny>(operation, members).await.map(drop)
    }

    /// Reads all pages of a list; `take` answers what a page says of the next one, or ends the walk
    /// because what was looked for is found.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        operation: Operation,
        members: &[(&str, &str)],
        mut take: impl FnMut(T, &RequestLine) -> Result<Option<Continuation>, CallError>,
    ) -> Result<(), CallError> {
        let (mut walk, mut marker): (_, Option<String>) = (Walk::default(), None);
        loop {
            let mut members = members.to_vec();
            members.push(("MaxItems", PAGE_LIMIT));
            members.extend(marker.as_deref().map(|marker| ("Marker", marker)));
            let (line, page) = self.ask(operation, &members).await?;
            let Some(next) = take(page, &line)?.filter(|next| next.is_truncated) else {
                return Ok(());
            };
            let stepped = match next.marker.as_deref().filter(|marker| !marker.is_empty()) {
                Some(marker) => walk.step(marker).map_err(UnknownCause::Pages),
                None => {
                    let why = "a page that is not the last names no next";
                    Err(UnknownCause::Undecodable(why.to_owned()))
                }
            };
            stepped.map_err(|cause| CallError::of_answer(line, cause))?;
            marker = next.marker;
        }
    }
}

impl CallError {
    /// A call that succeeded with an answer that makes no sense.
    pub(super) fn of_answer(request: RequestLine, cause: UnknownCause) -> Self {
        Self::Unknown(Unknown { request, answer: None, cause })
    }

    /// The code of a refusal with this status.
    pub(super) fn storage_code(&self, status: StatusCode) -> Option<&str> {
        match self {
            Self::Rejected(rejection) if rejection.answer.status == status => {
                rejection.answer.code.as_deref()
            }
            _ => None,
        }
    }

    /// There is no such key, or no such policy.
    pub(super) fn is_no_entity(&self) -> bool {
        self.storage_code(StatusCode::NOT_FOUND) == Some("NoSuchEntity")
    }
}

/// A name, id or ARN out of an answer: short, and nothing that would spoil a log.
pub(super) fn bounded(text: String, line: &RequestLine) -> Result<String, CallError> {
    let sound =
        !text.is_empty() && text.len() <= WORD_BYTES_MAX && !text.chars().any(char::is_control);
    if sound {
        return Ok(text);
    }
    let why = "a name in it is empty, too long, or holds control characters";
    Err(CallError::of_answer(line.clone(), UnknownCause::Undecodable(why.to_owned())))
}

/// What IAM calls an operation.
fn action(operation: Operation) -> &'static str {
    let template = operation.template();
    template.strip_prefix("/?Action=").unwrap_or(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_have_iams_names() {
        assert_eq!(action(Operation::CreateAccessKey), "CreateAccessKey");
        assert_eq!(action(Operation::ListPolicyKeys), "ListEntitiesForPolicy");
        assert_eq!(action(Operation::ReadPolicyDocument), "GetPolicyVersion");
    }
}
