//! `fieldValidation`: what becomes of fields that nobody knows and of those that stand twice.
//!
//! As in kube-apiserver: `Strict` refuses the write, `Warn` (the default) drops them and says so in
//! `Warning` headers, `Ignore` drops them.

use serde_json::Value;
use vault_api::check::{remove_field, unknown_fields};
use vault_api::problem::FieldPath;

use super::body::Body;
use super::error::ApiError;
use super::request::FieldValidation;

/// Where kubectl keeps the whole object as it was applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Most fields that are told of: nobody reads more, and each is a header.
const TOLD_MAX: usize = 20;

/// Drops what is not known; answers the warnings.
///
/// # Errors
/// Under `Strict`, if there is anything to drop.
pub(super) fn settle(mode: FieldValidation, body: Body) -> Result<(Value, Vec<String>), ApiError> {
    let Body { mut value, duplicates } = body;
    let unknown = unknown_fields(&value);
    let mut told: Vec<String> = unknown
        .iter()
        .take(TOLD_MAX)
        .map(|field| format!("unknown field {:?}{}", field.path.to_string(), field.hint))
        .chain(duplicates.iter().take(TOLD_MAX).map(duplicate))
        .collect();
    let more = (unknown.len() + duplicates.len()).saturating_sub(told.len());
    if more > 0 {
        told.push(format!("{more} more fields"));
    }
    if mode == FieldValidation::Strict && !told.is_empty() {
        return Err(ApiError::BadRequest(format!("strict decoding error: {}", told.join(", "))));
    }
    for field in &unknown {
        remove_field(&mut value, &field.path);
    }
    clean_last_applied(&mut value);
    match mode {
        FieldValidation::Ignore => Ok((value, Vec::new())),
        FieldValidation::Strict | FieldValidation::Warn => Ok((value, told)),
    }
}

fn duplicate(path: &FieldPath) -> String {
    format!("duplicate field {:?}", path.to_string())
}

/// What is dropped from the object must not live on in the copy that kubectl puts into an
/// annotation: somebody may have written a secret where none belongs.
fn clean_last_applied(value: &mut Value) {
    let annotation = value
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
        .and_then(|annotations| annotations.get_mut(LAST_APPLIED));
    let Some(annotation) = annotation else { return };
    let applied = annotation.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(mut applied) = applied else { return };
    let unknown = unknown_fields(&applied);
    for field in &unknown {
        remove_field(&mut applied, &field.path);
    }
    if !unknown.is_empty() {
        *annotation = format!("{applied}\n").into();
    }
}
