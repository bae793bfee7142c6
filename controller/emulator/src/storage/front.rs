//! What stands before `s3s`: it closes what that crate leaves open, and keeps its logs quiet.
//!
//! Signatures of version 2 and forms with a signature inside are not taken. A signature of version 4
//! is of the service `s3`, covers the host and every `x-amz-` header, and names no header that is not
//! there. A request without any signature is nobody's.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::faults::{self, Form};
use super::sigv4::{Authorization, SignatureProblem, check_signed};
use super::{Storage, operation};

/// The largest object that is put at once, and the largest part, in bytes: S3's bound.
pub(super) const PUT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// Answers a request to S3.
pub(super) async fn answer(storage: Storage, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(error) = check(&parts) {
        return refused(error);
    }
    let operation = operation::of(&parts).map(|name| format!("s3.{name}"));
    let form = Form::S3;
    let request = Request::from_parts(parts, body);
    let serve = storage.clone();
    faults::meet(&storage, operation.as_slice(), form, request, move |request| {
        let storage = serve.clone();
        async move { storage.serve(request).await }
    })
    .await
}

impl Storage {
    /// Has `s3s` answer. It logs requests with their signatures, and every 404 as an error: nobody
    /// listens to that, and what is ours to say is said here.
    async fn serve(&self, request: Request) -> Response {
        let line = format!("{} {}", request.method(), request.uri().path());
        let request = request.map(s3s::Body::http_body_unsync);
        let answered = self.s3.call(request).with_subscriber(NoSubscriber::default()).await;
        match answered {
            Ok(response) => {
                if response.status().is_server_error() {
                    tracing::warn!(%line, status = %response.status(), "storage cannot answer");
                }
                response.map(Body::new)
            }
            Err(error) => {
                tracing::error!(%line, ?error, "storage has no answer");
                refused(s3_error!(InternalError))
            }
        }
    }
}

/// What `s3s` would not refuse, or too late.
fn check(parts: &Parts) -> S3Result<()> {
    let query = parts.uri.query().unwrap_or_default();
    let query: Vec<(String, String)> =
        form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let member = |wanted: &str| {
        let mut found = query.iter().filter(|(name, _)| name == wanted);
        let first = found.next().map(|(_, value)| value.as_str());
        if found.next().is_some() { None } else { first }
    };
    let old = query.iter().any(|(name, _)| matches!(name.as_str(), "Signature" | "AWSAccessKeyId"));
    let form = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form =
        form.is_some_and(|form| form.to_ascii_lowercase().starts_with("multipart/form-data"));
    if old || form {
        return Err(unsupported());
    }
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|it| it > PUT_BYTES_MAX) {
        return Err(s3_error!(EntityTooLarge));
    }
    let presigned = query.iter().any(|(name, _)| name.starts_with("X-Amz-Sig"));
    if presigned {
        if parts.headers.contains_key(AUTHORIZATION) {
            let text = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, \
                        Signature query string parameter or the Authorization header should be \
                        specified";
            return Err(s3_error!(InvalidArgument, "{text}"));
        }
        let signed = member("X-Amz-SignedHeaders").ok_or_else(unsupported)?;
        return check_signed(signed, &parts.headers).map_err(said);
    }
    let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if header.is_some_and(|header| header.starts_with("AWS ")) {
        return Err(unsupported());
    }
    let authorization = Authorization::of(&parts.headers).map_err(said)?;
    if authorization.service != "s3" {
        return Err(said(SignatureProblem::Scope));
    }
    check_signed(authorization.signed_headers, &parts.headers).map_err(said)
}

fn unsupported() -> S3Error {
    let text = "The authorization mechanism you have provided is not supported. Please use \
                AWS4-HMAC-SHA256.";
    s3_error!(InvalidRequest, "{text}")
}

fn said(problem: SignatureProblem) -> S3Error {
    let code = match problem {
        SignatureProblem::Missing | SignatureProblem::Unsigned => S3ErrorCode::AccessDenied,
        SignatureProblem::Malformed => S3ErrorCode::InvalidArgument,
        SignatureProblem::Scope => S3ErrorCode::AuthorizationHeaderMalformed,
        SignatureProblem::Skewed => S3ErrorCode::RequestTimeTooSkewed,
        SignatureProblem::Mismatch => S3ErrorCode::SignatureDoesNotMatch,
    };
    S3Error::with_message(code, problem.to_string())
}

/// An error as S3 writes it.
pub(super) fn refused(error: S3Error) -> Response {
    match error.to_http_response() {
        Ok(response) => response.map(Body::new),
        Err(error) => {
            tracing::error!(%error, "an error of storage cannot be written");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}
