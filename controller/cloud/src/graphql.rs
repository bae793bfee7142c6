//! One GraphQL call: what is asked, and what the answer means. No I/O of its own.
//!
//! ```text
//!   2xx ─▶ data.FIELD there ───────────────▶ the value   (a read must have no errors beside it)
//!       └▶ none ─▶ errors[0] ─▶ its code ──▶ Rejected, or Unknown where the platform itself broke
//!   else ─▶ as for any call
//! ```
//!
//! Answers hold tokens. So nothing of an answer but an error's sentence ever gets into a message.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::error::{Answer, CallError, MESSAGE_CAP, Rejection, Unknown, UnknownCause};
use crate::http::{Request, Success};
use crate::machines::Caller;
use crate::operation::Operation;
use crate::text::printable;

/// The longest code that is kept.
const CODE_CAP: usize = 64;

/// Phrases of errors without a code that leave it open whether the platform acted.
const BROKEN: [&str; 5] =
    ["internal error", "internal server error", "unknown error", "timed out", "timeout"];

/// Asks for one root field.
///
/// # Errors
/// [`CallError`]; an error of GraphQL is sorted by its code.
pub(crate) async fn ask(
    caller: &Caller,
    operation: Operation,
    identifier: &str,
    document: &str,
    variables: Value,
    field: &str,
) -> Result<Value, CallError> {
    let request = Request::new(operation, &["graphql"], identifier);
    let request = if operation.may_be_repeated() { request.list() } else { request };
    let body = json!({ "query": document, "variables": variables });
    let success = caller.call(&caller.with_body(request, &body)?).await?;
    read(success, field, operation.may_be_repeated())
}

/// The value of a root field of an answer; for one that only looks, whole or not at all.
fn read(success: Success, field: &str, looks: bool) -> Result<Value, CallError> {
    // Into a `Value`, whose errors are about syntax and so quote nothing of the answer.
    let mut answer: Map<String, Value> = match serde_json::from_slice(&success.body) {
        Ok(Value::Object(answer)) => answer,
        Ok(_) => return Err(unreadable(success, "it is no object")),
        Err(error) => return Err(success.undecodable(&error)),
    };
    let errors = match answer.remove("errors") {
        Some(Value::Array(errors)) => errors,
        _ => Vec::new(),
    };
    let data = answer.remove("data").unwrap_or_default();
    let value = match data {
        Value::Object(mut data) => data.remove(field).unwrap_or_default(),
        _ => Value::Null,
    };
    match errors.first() {
        // What was changed was changed, whatever else could not be told of it.
        Some(_) if !looks && !value.is_null() => Ok(value),
        Some(error) => Err(refused(success, error)),
        None if value.is_null() => Err(unreadable(success, "it holds neither data nor errors")),
        None => Ok(value),
    }
}

/// An answer that came and makes no sense.
pub(crate) fn unreadable(success: Success, why: &str) -> CallError {
    success.unknown(UnknownCause::Undecodable(why.to_owned()))
}

/// Sorts an error of GraphQL by its code, and by its words where there is none.
fn refused(success: Success, error: &Value) -> CallError {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let message = text(error.get("message"));
    let code = text(error.get("extensions").and_then(|extensions| extensions.get("code")));
    let status = status(&code, &message);
    let answer = Box::new(Answer {
        status,
        fly_request_id: success.fly_request_id,
        message: printable(&message, MESSAGE_CAP),
        code: (!code.is_empty()).then(|| printable(&code, CODE_CAP)),
        retry_after: None,
    });
    if status.is_client_error() {
        return CallError::Rejected(Rejection { request: success.request, answer });
    }
    let cause = UnknownCause::Status;
    CallError::Unknown(Unknown { request: success.request, answer: Some(answer), cause })
}

/// The status that the same answer would have had over REST.
fn status(code: &str, message: &str) -> StatusCode {
    let lower = message.to_ascii_lowercase();
    match code {
        "UNAUTHENTICATED" => StatusCode::UNAUTHORIZED,
        "UNAUTHORIZED" | "FORBIDDEN" => StatusCode::FORBIDDEN,
        "NOT_FOUND" => StatusCode::NOT_FOUND,
        "RATE_LIMITED" | "THROTTLED" => StatusCode::TOO_MANY_REQUESTS,
        "SERVER_ERROR" | "INTERNAL" | "INTERNAL_SERVER_ERROR" | "TIMEOUT" => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ if lower.starts_with("could not find") => StatusCode::NOT_FOUND,
        _ if lower.contains("unauthorized") || lower.contains("not authorized") => {
            StatusCode::FORBIDDEN
        }
        "" if BROKEN.iter().any(|phrase| lower.contains(phrase)) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_status_that_its_code_or_its_words_say() {
        for (code, message, expected) in [
            ("NOT_FOUND", "no", 404),
            ("UNAUTHORIZED", "no", 403),
            ("UNAUTHENTICATED", "no", 401),
            ("RATE_LIMITED", "no", 429),
            ("SERVER_ERROR", "no", 500),
            ("UNPROCESSABLE", "timeout must be a number", 422),
            ("", "Could not find App", 404),
            ("", "Not authorized to access this", 403),
            ("", "An unknown error occurred.", 500),
            ("", "Upstream timed out", 500),
            ("", "Name is too long", 422),
        ] {
            assert_eq!(status(code, message).as_u16(), expected, "{code} {message}");
        }
    }
}
