//! The forms of a PATCH: merge patches (RFC 7386) and JSON patches (RFC 6902).

use axum::body::Bytes;
use json_patch::PatchOperation;
use serde_json::Value;
use vault_api::check::DEPTH_MAX;
use vault_api::manifest::MANIFEST_BYTES_MAX;
use vault_api::problem::FieldPath;

use super::body::{self, Body};
use super::error::ApiError;

/// Most operations of one JSON patch. People send a handful.
const OPERATIONS_MAX: usize = 500;
/// Most bytes that the `copy` operations of one JSON patch may add up to: each could double the
/// object, and what is larger than a manifest would be refused anyway.
const COPIED_BYTES_MAX: usize = MANIFEST_BYTES_MAX;

/// A change of an object.
#[derive(Debug)]
pub(super) enum Patch {
    /// What is named is replaced, `null` takes away.
    Merge(Body),
    /// Steps, one after the other.
    Json(Vec<PatchOperation>),
}

impl Patch {
    /// Reads a patch in the form that its content type names.
    pub(super) fn read(content_type: &str, bytes: &Bytes) -> Result<Self, ApiError> {
        let form = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let advice = match form.as_str() {
            "application/merge-patch+json" => return body::json(bytes).map(Self::Merge),
            "application/json-patch+json" => return operations(bytes).map(Self::Json),
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => {
                "server-side apply is not supported: use `kubectl apply` without --server-side"
            }
            "application/strategic-merge-patch+json" => {
                "strategic merge patches are not for custom resources: use `kubectl patch \
                 --type=merge` or --type=json"
            }
            _ => "send application/merge-patch+json or application/json-patch+json",
        };
        Err(ApiError::UnsupportedMediaType(format!("a patch in the form {form:?}: {advice}")))
    }

    /// The fields that stand twice in the patch.
    pub(super) fn duplicates(&self) -> Vec<FieldPath> {
        match self {
            Self::Merge(body) => body.duplicates.clone(),
            Self::Json(_) => Vec::new(),
        }
    }

    /// Changes the object.
    ///
    /// # Errors
    /// If a step does not fit, copies too much, or nests deeper than a document may be.
    pub(super) fn apply(&self, whole: &mut Value) -> Result<(), ApiError> {
        let operations = match self {
            Self::Merge(change) => {
                json_patch::merge(whole, &change.value);
                return Ok(());
            }
            Self::Json(operations) => operations,
        };
        let mut copied = 0;
        for operation in operations {
            check_depth(operation, whole)?;
            if let PatchOperation::Copy(copy) = operation {
                copied +=
                    whole.pointer(copy.from.as_str()).map_or(0, |part| part.to_string().len());
                if copied > COPIED_BYTES_MAX {
                    let message = format!("the patch copies more than {COPIED_BYTES_MAX} bytes");
                    return Err(ApiError::TooLarge(message));
                }
            }
            // One at a time and without a way back: what failed is thrown away whole.
            json_patch::patch_unsafe(whole, std::slice::from_ref(operation))
                .map_err(|error| ApiError::Unprocessable(format!("the patch: {error}")))?;
        }
        Ok(())
    }
}

/// Refuses a step that nests the object deeper than a document may be. Afterwards would be too late:
/// steps that copy double the depth each, and whatever walks an object goes as deep as it is.
fn check_depth(operation: &PatchOperation, whole: &Value) -> Result<(), ApiError> {
    let (path, value) = match operation {
        PatchOperation::Add(add) => (&add.path, Some(&add.value)),
        PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value)),
        PatchOperation::Copy(copy) => (&copy.path, whole.pointer(copy.from.as_str())),
        PatchOperation::Move(step) => (&step.path, whole.pointer(step.from.as_str())),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    let Some(value) = value else { return Ok(()) };
    let room = DEPTH_MAX.checked_sub(path.count());
    if room.is_some_and(|room| fits(value, room)) {
        return Ok(());
    }
    Err(ApiError::TooLarge(format!("the patch nests deeper than {DEPTH_MAX} levels")))
}

/// Whether a value has at most so many levels.
fn fits(value: &Value, levels: usize) -> bool {
    let inner = |part: &Value| levels > 0 && fits(part, levels - 1);
    match value {
        Value::Array(items) => items.iter().all(inner),
        Value::Object(members) => members.values().all(inner),
        _ => true,
    }
}

fn operations(bytes: &Bytes) -> Result<Vec<PatchOperation>, ApiError> {
    let patch: json_patch::Patch = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::BadRequest(format!("the body is no JSON patch: {error}")))?;
    match patch.0.len() {
        0..=OPERATIONS_MAX => Ok(patch.0),
        count => {
            let message = format!("the patch has {count} operations; {OPERATIONS_MAX} at most");
            Err(ApiError::TooLarge(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn json_patch(operations: &Value, mut whole: Value) -> Result<Value, ApiError> {
        let bytes = Bytes::from(operations.to_string());
        Patch::read("application/json-patch+json", &bytes)?.apply(&mut whole)?;
        Ok(whole)
    }

    #[test]
    fn steps_are_taken_one_after_the_other() {
        let steps = json!([
            { "op": "test", "path": "/a", "value": 1 },
            { "op": "add", "path": "/b", "value": [] },
            { "op": "add", "path": "/b/-", "value": 2 },
            { "op": "copy", "from": "/b", "path": "/c" },
            { "op": "remove", "path": "/a" },
        ]);
        assert_eq!(json_patch(&steps, json!({ "a": 1 })).unwrap(), json!({ "b": [2], "c": [2] }));
        for step in [
            json!({ "op": "test", "path": "/a", "value": 2 }),
            json!({ "op": "remove", "path": "/nowhere" }),
            json!({ "op": "move", "from": "/nowhere", "path": "/b" }),
        ] {
            let refused = json_patch(&json!([step]), json!({ "a": 1 }));
            assert!(matches!(refused, Err(ApiError::Unprocessable(_))), "{refused:?}");
        }
    }

    #[test]
    fn a_patch_cannot_grow_without_bound() {
        let double = |step| json!({ "op": "copy", "from": "", "path": format!("/x{step}") });
        let bomb: Value = (0..100).map(double).collect();
        assert!(matches!(json_patch(&bomb, json!({ "a": 1 })), Err(ApiError::TooLarge(_))));
        let step = json!({ "op": "test", "path": "/a", "value": 1 });
        let long = Value::from(vec![step; OPERATIONS_MAX + 1]);
        assert!(matches!(json_patch(&long, json!({ "a": 1 })), Err(ApiError::TooLarge(_))));
    }

    #[test]
    fn a_patch_cannot_nest_without_bound() {
        // Each step puts the whole into its own innermost part: sixteen make 65,000 levels, which no
        // stack has room to write down or to drop.
        let steps = (0..16).map(|step| {
            let path = "/a".repeat(1 << step);
            json!({ "op": "copy", "from": "", "path": path })
        });
        let bomb: Value = steps.collect();
        assert!(matches!(json_patch(&bomb, json!({ "a": 1 })), Err(ApiError::TooLarge(_))));
        let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
        let step = |op: &str| json!([{ "op": op, "path": "/a/a/a/a", "value": deep(61) }]);
        for op in ["add", "replace"] {
            assert!(matches!(json_patch(&step(op), deep(4)), Err(ApiError::TooLarge(_))), "{op}");
        }
        let moved = json!([{ "op": "move", "from": "/b", "path": "/a/a/a/a" }]);
        let whole = |levels| json!({ "a": deep(3), "b": deep(levels) });
        assert!(matches!(json_patch(&moved, whole(61)), Err(ApiError::TooLarge(_))));
        json_patch(&moved, whole(60)).unwrap();
    }

    #[test]
    fn other_forms_are_refused_with_advice() {
        for (form, advice) in [
            ("application/apply-patch+yaml", "--server-side"),
            ("application/strategic-merge-patch+json", "--type=merge"),
            ("application/json", "merge-patch+json"),
        ] {
            match Patch::read(form, &Bytes::new()) {
                Err(ApiError::UnsupportedMediaType(message)) => assert!(message.contains(advice)),
                other => panic!("{other:?}"),
            }
        }
    }
}
