//! IAM: AWS's query protocol, `POST /` with a form, answered in XML. For admin keys only.

mod answer;
mod form;
mod keys;
mod policies;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode};

use self::answer::Node;
use self::form::Fields;
use super::Storage;
use super::faults::{self, Form};
use super::sigv4::{Authorization, SignatureProblem, hash};
use crate::engine::EngineError;
use crate::world::storage::{AccessKey, StorageRefusal};

pub(super) use self::answer::failed;

/// The longest form, in bytes: a policy document of the greatest length, with every byte escaped, and
/// some more.
const FORM_BYTES_MAX: usize = 32 * 1024;

/// Why IAM does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum IamError {
    /// The signature.
    #[error(transparent)]
    Signature(#[from] SignatureProblem),
    /// No such key.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// A key that may not use IAM.
    #[error("User is not authorized to perform: iam:{0}")]
    NotAdmin(String),
    /// The form is too long or is no form.
    #[error("{0}")]
    Malformed(String),
    /// A member of the form is missing or wrong.
    #[error("{0}")]
    Invalid(String),
    /// No such action, or one that is not served.
    #[error("{0}")]
    UnknownAction(String),
    /// The world's word.
    #[error(transparent)]
    Refused(#[from] StorageRefusal),
    /// The emulator ends, or cannot go on.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The host has no randomness for a key.
    #[error("no randomness")]
    NoRandomness,
}

/// Whether a request is IAM's: S3 has nothing to post to the root.
pub(super) fn is_meant(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == "/"
}

/// Answers a request.
pub(super) async fn answer(storage: Storage, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, FORM_BYTES_MAX).await else {
        let text = format!("the form is longer than {FORM_BYTES_MAX} bytes, or is cut short");
        return answer::refused(&IamError::Malformed(text));
    };
    let operation = Fields::read(&body).ok().and_then(|fields| fields.action().ok());
    let operation = operation.map(|action| format!("iam.{action}"));
    let request = Request::from_parts(parts, Body::from(body));
    let serve = storage.clone();
    faults::meet(&storage, operation.as_slice(), Form::Iam, request, move |request| {
        let storage = serve.clone();
        async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = to_bytes(body, FORM_BYTES_MAX).await else {
                return answer::refused(&IamError::Malformed("the form is cut short".to_owned()));
            };
            match act(&storage, &parts, &body) {
                Ok((action, nodes)) => answer::written(&action, &nodes),
                Err(error) => answer::refused(&error),
            }
        }
    })
    .await
}

fn act(storage: &Storage, parts: &Parts, body: &[u8]) -> Result<(String, Vec<Node>), IamError> {
    let caller = caller(storage, parts, body)?;
    let fields = Fields::read(body)?;
    let action = fields.action()?;
    if !caller.admin {
        return Err(IamError::NotAdmin(action));
    }
    let (engine, org) = (&storage.engine, caller.org.as_str());
    let nodes = match action.as_str() {
        "CreateAccessKey" => keys::create(engine, org, &fields)?,
        "ListAccessKeys" => keys::list(engine, org, &fields)?,
        "DeleteAccessKey" => keys::delete(engine, org, &fields)?,
        "CreatePolicy" => policies::create(engine, org, &fields)?,
        "GetPolicy" => policies::show(engine, org, &fields)?,
        "GetPolicyVersion" => policies::show_document(engine, org, &fields)?,
        "ListPolicies" => policies::list(engine, org, &fields)?,
        "DeletePolicy" => policies::delete(engine, org, &fields)?,
        "AttachUserPolicy" => policies::attach(engine, org, &fields)?,
        "DetachUserPolicy" => policies::detach(engine, org, &fields)?,
        "ListAttachedUserPolicies" => policies::list_attached(engine, org, &fields)?,
        "ListUserPolicies" => policies::list_names(engine, org, &fields)?,
        "ListEntitiesForPolicy" => policies::list_keys(engine, org, &fields)?,
        other => {
            let text = format!("Could not find operation {other} for version 2010-05-08");
            return Err(IamError::UnknownAction(text));
        }
    };
    Ok((action, nodes))
}

/// Whose signature a request has.
fn caller(storage: &Storage, parts: &Parts, body: &[u8]) -> Result<AccessKey, IamError> {
    if parts.uri.query().is_some() {
        return Err(IamError::Malformed("a query beside the form is not taken".to_owned()));
    }
    let authorization = Authorization::of(&parts.headers)?;
    if authorization.service != "iam" {
        return Err(SignatureProblem::Scope.into());
    }
    let found =
        storage.engine.read(|world| Ok(world.access_key(authorization.access_key).cloned()));
    let key = found?.ok_or(IamError::UnknownKey)?;
    let body_hash = hash(body);
    if parts.headers.get("x-amz-content-sha256").is_some_and(|told| told != body_hash.as_str()) {
        return Err(SignatureProblem::Mismatch.into());
    }
    let now = storage.engine.now();
    authorization.verify(parts, &body_hash, key.secret.expose(), now)?;
    Ok(key)
}

impl IamError {
    fn code(&self) -> (StatusCode, &'static str) {
        use StorageRefusal as Is;
        match self {
            Self::Signature(SignatureProblem::Missing) => {
                (StatusCode::FORBIDDEN, "MissingAuthenticationToken")
            }
            Self::Signature(SignatureProblem::Malformed) => {
                (StatusCode::BAD_REQUEST, "IncompleteSignature")
            }
            Self::Signature(_) => (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
            Self::UnknownKey => (StatusCode::FORBIDDEN, "InvalidClientTokenId"),
            Self::NotAdmin(_) => (StatusCode::FORBIDDEN, "AccessDenied"),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "MalformedInput"),
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "ValidationError"),
            Self::UnknownAction(_) => (StatusCode::BAD_REQUEST, "InvalidAction"),
            Self::Engine(EngineError::Closing) => {
                (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
            }
            Self::Engine(_) | Self::NoRandomness => {
                (StatusCode::INTERNAL_SERVER_ERROR, "ServiceFailure")
            }
            Self::Refused(refusal) => match refusal {
                Is::AccessDenied => (StatusCode::FORBIDDEN, "AccessDenied"),
                Is::NoSuchEntity(_) => (StatusCode::NOT_FOUND, "NoSuchEntity"),
                Is::EntityAlreadyExists(_) => (StatusCode::CONFLICT, "EntityAlreadyExists"),
                Is::DeleteConflict => (StatusCode::CONFLICT, "DeleteConflict"),
                Is::LimitExceeded(_) => (StatusCode::CONFLICT, "LimitExceeded"),
                Is::MalformedPolicyDocument(_) => {
                    (StatusCode::BAD_REQUEST, "MalformedPolicyDocument")
                }
                _ => (StatusCode::BAD_REQUEST, "ValidationError"),
            },
        }
    }
}
