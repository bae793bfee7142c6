//! What requests carry besides a name: who asks, options in the query, documents in the body.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Query, Request};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue, WARNING};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use vault_api::check::{Document, check};
use vault_api::names::did_you_mean;
use vault_api::problem::Problem;

use super::audit::Trail;
use super::body::Body;
use super::caller::Caller;
use super::error::ApiError;
use super::fields;
use crate::store::{Kind, StoredObject};

/// A write, taken in whole.
pub(super) struct WriteRequest {
    pub(super) options: WriteOptions,
    pub(super) caller: Caller,
    pub(super) trail: Trail,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

impl<T: Send + Sync> FromRequest<T> for WriteRequest {
    type Rejection = Response;

    async fn from_request(request: Request, state: &T) -> Result<Self, Response> {
        let extensions = request.extensions();
        let (Some(caller), Some(trail)) =
            (extensions.get::<Caller>().cloned(), extensions.get::<Trail>().cloned())
        else {
            // The table of roles does not call this route a write.
            return Err(StatusCode::INTERNAL_SERVER_ERROR.into_response());
        };
        let Query(options) = Query::<WriteOptions>::try_from_uri(request.uri())
            .map_err(IntoResponse::into_response)?;
        if options.dry_run().map_err(IntoResponse::into_response)? {
            trail.dry_run();
        }
        let content_type = request.headers().get(CONTENT_TYPE);
        let content_type =
            content_type.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let body =
            Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        Ok(Self { options, caller, trail, content_type, body })
    }
}

impl WriteRequest {
    /// Checks a document alone, after its fields were settled; and the warnings about them. The
    /// status is not a writer's business here.
    pub(super) fn document(
        &self,
        kind: Kind,
        name: Option<&str>,
        mut body: Body,
    ) -> Result<(Document, Vec<String>), ApiError> {
        if let Some(members) = body.value.as_object_mut() {
            members.remove("status");
        }
        let (value, warnings) = fields::settle(self.options.field_validation()?, body)?;
        Ok((document(kind, name, &value)?, warnings))
    }
}

/// The answer to a write that an object comes back from.
pub(super) struct Reply {
    pub(super) code: StatusCode,
    pub(super) body: Value,
    pub(super) warnings: Vec<String>,
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = (self.code, Json(self.body)).into_response();
        for warning in self.warnings {
            // What is no plain letter has no place in a header.
            let text: String = warning
                .chars()
                .map(|letter| if letter.is_ascii_graphic() || letter == ' ' { letter } else { '?' })
                .flat_map(|letter| match letter {
                    '"' | '\\' => vec!['\\', letter],
                    letter => vec![letter],
                })
                .collect();
            if let Ok(value) = HeaderValue::try_from(format!("299 - \"{text}\"")) {
                response.headers_mut().append(WARNING, value);
            }
        }
        response
    }
}

/// What becomes of fields that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldValidation {
    /// The write is refused.
    Strict,
    /// They are dropped, and the writer is told.
    Warn,
    /// They are dropped.
    Ignore,
}

/// Options of a write. Unknown ones are ignored, as Kubernetes does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WriteOptions {
    dry_run: Option<String>,
    field_validation: String,
    take_ownership: bool,
    propagation_policy: Option<String>,
    grace_period_seconds: Option<i64>,
}

impl WriteOptions {
    /// Whether nothing may be written.
    pub(super) fn dry_run(&self) -> Result<bool, ApiError> {
        match self.dry_run.as_deref() {
            None | Some("") => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                Err(ApiError::BadRequest(format!("dryRun is {other:?}; it can only be \"All\"")))
            }
        }
    }

    /// What becomes of fields that nobody knows.
    pub(super) fn field_validation(&self) -> Result<FieldValidation, ApiError> {
        match self.field_validation.as_str() {
            "Strict" => Ok(FieldValidation::Strict),
            "" | "Warn" => Ok(FieldValidation::Warn),
            "Ignore" => Ok(FieldValidation::Ignore),
            other => {
                let hint = did_you_mean(other, ["Strict", "Warn", "Ignore"]);
                Err(ApiError::BadRequest(format!(
                    "fieldValidation is {other:?}; it is \"Strict\", \"Warn\" or \"Ignore\"{hint}"
                )))
            }
        }
    }

    /// Whether the writer wants to own the spec from now on.
    pub(super) fn take_ownership(&self) -> bool {
        self.take_ownership
    }
}

/// The body of a DELETE: kubectl puts `dryRun` here, not into the query.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeleteOptions {
    dry_run: Vec<String>,
    preconditions: Preconditions,
    propagation_policy: Option<String>,
    grace_period_seconds: Option<i64>,
    orphan_dependents: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads the options of a request from body and query; the query's stand where the body says
    /// nothing.
    pub(super) fn read(request: &WriteRequest) -> Result<Self, ApiError> {
        let mut options = Self::default();
        if !request.body.is_empty() {
            let form = &request.content_type;
            let value = super::body::read(form, &request.body)?.value;
            options = serde_json::from_value(value).map_err(|error| {
                ApiError::BadRequest(format!("the body is no DeleteOptions: {error}"))
            })?;
        }
        if request.options.dry_run()? {
            options.dry_run = vec!["All".to_owned()];
        }
        let query = &request.options;
        options.propagation_policy =
            options.propagation_policy.or_else(|| query.propagation_policy.clone());
        options.grace_period_seconds = options.grace_period_seconds.or(query.grace_period_seconds);
        options.check()?;
        if options.dry_run()? {
            request.trail.dry_run();
        }
        Ok(options)
    }

    fn check(&self) -> Result<(), ApiError> {
        let bad = |message: String| Err(ApiError::BadRequest(message));
        let orphans = self.propagation_policy.as_deref() == Some("Orphan");
        if orphans || self.orphan_dependents == Some(true) {
            return bad(
                "propagationPolicy Orphan is not supported: a tenant's machines go with it; leave \
                 the tenant in place to keep them"
                    .to_owned(),
            );
        }
        if let Some(policy) = self.propagation_policy.as_deref()
            && !["Background", "Foreground", ""].contains(&policy)
        {
            let hint = did_you_mean(policy, ["Background", "Foreground"]);
            return bad(format!(
                "propagationPolicy is {policy:?}; it is \"Background\" or \"Foreground\"{hint}"
            ));
        }
        if self.grace_period_seconds.is_some_and(|seconds| seconds < 0) {
            return bad("gracePeriodSeconds must not be negative".to_owned());
        }
        Ok(())
    }

    /// Whether nothing may be deleted.
    pub(super) fn dry_run(&self) -> Result<bool, ApiError> {
        match self.dry_run.as_slice() {
            [] => Ok(false),
            [all] if all == "All" => Ok(true),
            other => {
                Err(ApiError::BadRequest(format!("dryRun is {other:?}; it can only be [\"All\"]")))
            }
        }
    }

    /// Why the object is not the one that was meant; `None` if it is.
    pub(super) fn obstacle(&self, object: &StoredObject) -> Option<String> {
        let wanted = &self.preconditions;
        let version = object.resource_version.to_string();
        let pairs = [
            ("UID", &wanted.uid, &object.uid),
            ("ResourceVersion", &wanted.resource_version, &version),
        ];
        pairs.into_iter().find_map(|(what, wanted, found)| {
            let wanted = wanted.as_ref().filter(|wanted| *wanted != found)?;
            Some(format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: \
                 {found}"
            ))
        })
    }
}

/// Reads JSON.
pub(super) fn json(body: &Bytes) -> Result<Value, ApiError> {
    super::body::json(body).map(|body| body.value)
}

/// Checks a document alone; `name` is the one in the URL, if there is one.
pub(super) fn document(
    kind: Kind,
    name: Option<&str>,
    value: &Value,
) -> Result<Document, ApiError> {
    let shown = name
        .or_else(|| value.pointer("/metadata/name").and_then(Value::as_str))
        .unwrap_or_default()
        .to_owned();
    let document = check(value).map_err(|problems| ApiError::Invalid(kind, shown, problems))?;
    if document.kind() != kind.word() {
        let (found, wanted) = (document.kind(), kind.word());
        return Err(ApiError::BadRequest(format!("the body is a {found}, not a {wanted}")));
    }
    match name {
        Some(name) if name != document.name() => Err(ApiError::BadRequest(format!(
            "the name of the object ({}) does not match the name in the URL ({name})",
            document.name()
        ))),
        _ => Ok(document),
    }
}

/// Whether the writer has read the object that is stored: both its version and its uid, as far as
/// the writer says.
pub(super) fn must_be_read(document: &Document, stored: &StoredObject) -> Result<(), ApiError> {
    let (kind, name) = (stored.kind, stored.name.clone());
    let metadata = document.metadata();
    if let Some(uid) = metadata.uid.as_ref().filter(|uid| !uid.is_empty() && **uid != stored.uid) {
        return Err(ApiError::Conflict(
            kind,
            name,
            format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                stored.uid
            ),
        ));
    }
    let version = metadata.resource_version.as_ref().filter(|version| !version.is_empty());
    match version {
        Some(version) if *version != stored.resource_version.to_string() => {
            Err(ApiError::Stale(kind, name))
        }
        _ => Ok(()),
    }
}

/// The problems of one document among those of a set.
pub(super) fn problems(found: Vec<vault_api::set::SetProblem>) -> Vec<Problem> {
    found.into_iter().map(|found| found.problem).collect()
}
