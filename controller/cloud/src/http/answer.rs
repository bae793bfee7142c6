//! From status, headers and body of an answer to what it means; no I/O.

use std::time::Duration;

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde_json::Value;

use crate::error::{Answer, CallError, MESSAGE_CAP, Rejection, RequestLine, Unknown, UnknownCause};
use crate::text::printable;
use crate::xml;

/// The longest request id that is kept; the platform's have about 30 characters.
const REQUEST_ID_CAP: usize = 128;

/// The longest code that is kept; the longest known one has 25 characters.
const CODE_CAP: usize = 64;

/// Sorts an answer that is no success.
pub(super) fn classify(request: RequestLine, answer: Answer) -> CallError {
    // Statuses that this API does not have (1xx, 3xx, anything above 599) come from something in
    // between, and nobody can say what it did with the request.
    let refused = answer.status.is_client_error() && answer.status != StatusCode::REQUEST_TIMEOUT;
    let answer = Box::new(answer);
    if refused {
        CallError::Rejected(Rejection { request, answer })
    } else {
        CallError::Unknown(Unknown { request, answer: Some(answer), cause: UnknownCause::Status })
    }
}

/// What an answer says, from its head and as much of its body as came.
pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
    let text = |value: Option<&Value>| {
        value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let (message, code) = match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => {
            let message = text(members.get("message")).or_else(|| text(members.get("error")));
            (message, text(members.get("status")))
        }
        _ => match xml::failure(body) {
            Some((code, message)) => (Some(message), Some(code)),
            None => (None, None),
        },
    };
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
    Answer {
        status,
        fly_request_id: fly_request_id(headers),
        message: printable(&message, MESSAGE_CAP),
        code: code.map(|code| printable(&code, CODE_CAP)),
        retry_after: retry_after(headers),
    }
}

/// The platform's name for the request.
pub(super) fn fly_request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("fly-request-id").or_else(|| headers.get("x-amz-request-id"))?;
    let id = id.to_str().ok()?;
    (!id.is_empty()).then(|| printable(id, REQUEST_ID_CAP))
}

/// Seconds, or a date; a date is measured against the answer's own `Date`, so that the two clocks
/// need not agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(text)?;
    let sent = http_date(headers.get(DATE)?.to_str().ok()?)?;
    Some(Duration::try_from(until.duration_since(sent)).unwrap_or_default())
}

fn http_date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Method};

    use super::*;
    use crate::error::CapacityScope;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn call_error(status: u16, body: &str) -> CallError {
        let request = RequestLine { method: Method::POST, path: "/v1/apps/t-42/machines".into() };
        let headers = headers(&[(HeaderName::from_static("fly-request-id"), "01K4Z8-ams")]);
        classify(request, read(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes()))
    }

    fn error(status: u16, message: &str) -> CallError {
        call_error(status, &serde_json::json!({ "error": message }).to_string())
    }

    #[test]
    fn every_documented_status_has_its_class() {
        for status in [400, 401, 403, 404, 409, 412, 422, 429, 499] {
            let error = call_error(status, "{}");
            assert!(matches!(error, CallError::Rejected(_)), "{status}");
            assert_eq!(error.is_retryable(), status == 429, "{status}");
        }
        for status in [301, 303, 408, 500, 502, 503, 504, 599, 700] {
            let error = call_error(status, "{}");
            assert!(matches!(error, CallError::Unknown(_)), "{status}");
            assert!(!error.is_retryable(), "{status}: a write whose outcome is unknown");
        }
    }

    #[test]
    fn an_error_is_one_sentence_with_the_request_id() {
        let taken = call_error(
            422,
            r#"{"error":"Validation failed: Name has already been taken","status":"name_taken"}"#,
        );
        assert_eq!(
            taken.to_string(),
            "the platform refused POST /v1/apps/t-42/machines: 422 Unprocessable Entity, \
             Validation failed: Name has already been taken (name_taken, request 01K4Z8-ams)"
        );
        assert_eq!(
            call_error(503, "").to_string(),
            "the outcome of POST /v1/apps/t-42/machines is unknown: 503 Service Unavailable (request 01K4Z8-ams)"
        );
    }

    #[test]
    fn the_message_is_taken_from_where_the_platform_puts_it() {
        let message = |body: &str| call_error(400, body).answer().unwrap().message.clone();
        assert_eq!(message(r#"{"error":"from error"}"#), "from error");
        assert_eq!(message(r#"{"error":"from error","message":"from message"}"#), "from message");
        assert_eq!(message(r#"{"error":"from error","message":""}"#), "from error");
        assert_eq!(message(r#"{"error":{"no":"text"}}"#), r#"{"error":{"no":"text"}}"#);
        assert_eq!(message("<html>\n\u{1b}[31mBad\u{7}</html>\n"), "<html>  [31mBad </html>");
        assert_eq!(message(""), "");
        let long = "ä".repeat(2_000);
        assert_eq!(message(&long).len(), MESSAGE_CAP);
        assert_eq!(
            message(&serde_json::json!({ "error": format!("x{long}") }).to_string()).len(),
            MESSAGE_CAP - 1
        );
        let lease = call_error(
            409,
            r#"{"status":"error","message":"lease currently held by x","code":"conflict"}"#,
        );
        assert_eq!(lease.answer().unwrap().message, "lease currently held by x");
    }

    #[test]
    fn errors_of_storage_are_xml_with_a_code() {
        let s3 = call_error(
            409,
            "<?xml version=\"1.0\"?><Error><Code>BucketNotEmpty</Code><Message>Not &lt;empty&gt;\
             </Message><Key>x</Key></Error>",
        );
        let answer = s3.answer().unwrap();
        assert_eq!(answer.code.as_deref(), Some("BucketNotEmpty"));
        assert_eq!(answer.message, "Not <empty>");
        let iam = call_error(
            404,
            "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error>\
             <Type>Sender</Type><Code>NoSuchEntity</Code><Message>gone</Message></Error>\
             <RequestId>1</RequestId></ErrorResponse>",
        );
        assert_eq!(iam.answer().unwrap().code.as_deref(), Some("NoSuchEntity"));
        // A page that something in between wrote is no error of storage.
        let page = call_error(404, "<html><Error><Code>NoSuchBucket</Code></Error></html>");
        assert_eq!(page.answer().unwrap().code, None);
    }

    #[test]
    fn the_words_of_the_platform_are_understood() {
        assert!(error(404, "machine not found").is_not_found());
        assert!(error(401, "Authenticate: token validation error").is_unauthenticated());
        assert!(error(403, "unauthorized").is_forbidden());
        assert!(error(429, "rate limit exceeded").is_rate_limited());
        assert!(error(422, "Validation failed: Name has already been taken").name_taken());
        assert!(
            call_error(422, r#"{"error":"uniqueness violation","status":"name_taken"}"#)
                .name_taken()
        );
        assert!(
            !error(
                422,
                "Validation failed: Name under 63 chars using numbers, lowercase letters and dashes"
            )
            .name_taken()
        );
        assert!(!error(409, "Name has already been taken").name_taken());
        assert!(
            error(412, "failed_precondition: volume already claimed by machine 00000")
                .volume_still_claimed()
        );
        assert!(
            error(412, "failed_precondition: volume is currently bound to machine: 48e0")
                .volume_still_claimed()
        );
        assert!(
            !error(412, "failed_precondition: snapshot is already scheduled at 12:00")
                .volume_still_claimed()
        );
        assert!(
            error(
                412,
                "failed_precondition: unable to start machine from current state: 'created'"
            )
            .is_wrong_state()
        );
        let over =
            "deadline_exceeded: machine failed to reach desired state, started, currently created";
        assert!(error(408, over).wait_is_over());
        assert!(!error(409, over).wait_is_over());
        assert!(!error(408, "deadline_exceeded: host did not answer").wait_is_over());
        assert!(error(412, "machine still active, refusing to start").is_wrong_state());
    }

    #[test]
    fn the_machine_that_has_the_name_is_found() {
        let id = |status, text: &str| error(status, text).existing_machine_id().map(str::to_owned);
        let text = "already_exists: unique machine name violation, \
                    machine ID 7811d2b4c90e38 already exists with name \"t-42-web\"";
        assert_eq!(id(409, text).as_deref(), Some("7811d2b4c90e38"));
        assert_eq!(id(412, text), None);
        for text in [
            "aborted: machine update failed due to concurrent update",
            "machine ID 7811d2b4c90e38 lease currently held by u@tokens.fly.io, expires at 2026-09-01T10:00:00Z",
            "unique machine name violation, machine ID  already exists",
            "unique machine name violation, machine ID ../../x already exists",
            "unique machine name violation, machine ID 7811d2b4c90e38",
        ] {
            assert_eq!(id(409, text), None, "{text}");
        }
    }

    #[test]
    fn the_holder_of_a_lease_is_named() {
        let holder = |status, text: &str| error(status, text).lease_holder();
        let text = "machine ID 7811d2b4c90e38 lease currently held by u@tokens.fly.io, \
                    expires at 2026-09-01T10:00:00Z";
        let found = holder(409, text).expect("a holder");
        assert_eq!(found.owner, "u@tokens.fly.io");
        assert_eq!(
            found.expires_at.map(|at| at.to_string()).as_deref(),
            Some("2026-09-01T10:00:00Z")
        );
        let vague = holder(409, "lease currently held by u@tokens.fly.io").expect("a holder");
        assert_eq!((vague.owner.as_str(), vague.expires_at), ("u@tokens.fly.io", None));
        assert_eq!(holder(412, text), None);
        assert_eq!(holder(409, "machine update failed due to concurrent update"), None);
    }

    #[test]
    fn want_of_room_names_its_scope() {
        let region =
            r#"{"error":"could not find a candidate host","status":"insufficient_capacity"}"#;
        assert_eq!(call_error(422, region).capacity(), Some(CapacityScope::Region));
        for text in [
            "aborted: could not reserve resource for machine: insufficient CPUs available to fulfill request",
            "aborted: insufficient IPs available to fulfill request",
            "aborted: no capacity",
            "governor policy blocked start",
        ] {
            assert_eq!(error(409, text).capacity(), Some(CapacityScope::Host), "{text}");
        }
        let volume = r#"{"error":"insufficient resources to create new machine with existing volume 'vol_1'","status":"volume_placement_capacity"}"#;
        assert_eq!(call_error(412, volume).capacity(), Some(CapacityScope::Host));
        assert!(!call_error(412, volume).is_wrong_state());
        for text in [
            "aborted: machine update failed due to concurrent update",
            "unique machine name violation",
        ] {
            assert_eq!(error(409, text).capacity(), None, "{text}");
        }
        assert_eq!(call_error(503, region).capacity(), None);
    }

    #[test]
    fn the_wait_that_is_asked_for_is_read_in_both_forms() {
        assert_eq!(retry_after(&headers(&[(RETRY_AFTER, "7")])), Some(Duration::from_secs(7)));
        let sent = (DATE, "Wed, 21 Oct 2026 07:28:00 GMT");
        let until = (RETRY_AFTER, "Wed, 21 Oct 2026 07:28:09 GMT");
        assert_eq!(
            retry_after(&headers(&[until.clone(), sent.clone()])),
            Some(Duration::from_secs(9))
        );
        assert_eq!(
            retry_after(&headers(&[(RETRY_AFTER, "Wed, 21 Oct 2026 07:00:00 GMT"), sent])),
            Some(Duration::ZERO)
        );
        assert_eq!(retry_after(&headers(&[until])), None);
        assert_eq!(retry_after(&headers(&[(RETRY_AFTER, "soon")])), None);
        assert_eq!(retry_after(&headers(&[(RETRY_AFTER, "-1")])), None);
        assert_eq!(retry_after(&headers(&[])), None);
    }
}
