//! The fields of a document that no schema knows: for writers who want them dropped rather than
//! refused, as Kubernetes' `fieldValidation` lets them choose.

use serde_json::Value;

use super::{DocumentKind, is_too_deep, structure, unsupported};
use crate::problem::{FieldPath, Step};

/// A field that no schema knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// The field itself.
    pub path: FieldPath,
    /// What may have been meant, as the end of a sentence; empty if nothing is near.
    pub hint: String,
}

/// The unknown fields of a document. What is known and not supported yet is not among them: to drop
/// that would be to promise something and not do it. A value that is no document has none; it has
/// other problems.
#[must_use]
pub fn unknown_fields(value: &Value) -> Vec<UnknownField> {
    let Some(members) = value.as_object() else { return Vec::new() };
    let kind = members.get("kind").and_then(Value::as_str).and_then(DocumentKind::named);
    let Some(kind) = kind.filter(|_| !is_too_deep(value)) else { return Vec::new() };
    let mut placed = structure::check(kind, value);
    unsupported::replace(members, &mut placed);
    let mut unknown: Vec<UnknownField> = placed
        .into_iter()
        .filter_map(|placed| {
            placed.unknown.map(|hint| UnknownField { path: placed.problem.path, hint })
        })
        .collect();
    unknown.sort_by(|one, other| one.path.cmp(&other.path));
    unknown.dedup();
    unknown
}

/// Takes a field out of a document; one that is not there is no matter.
pub fn remove_field(value: &mut Value, path: &FieldPath) {
    let Some((last, way)) = path.0.split_last() else { return };
    let mut parent = value;
    for step in way {
        let next = match step {
            Step::Field(name) => parent.get_mut(name),
            Step::Index(index) => parent.get_mut(index),
        };
        match next {
            Some(next) => parent = next,
            None => return,
        }
    }
    if let (Step::Field(name), Some(members)) = (last, parent.as_object_mut()) {
        members.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_found_at_every_depth_and_taken_out() {
        let mut value = json!({
            "apiVersion": "vaultctl.dev/v1",
            "kind": "Tenant",
            "metadata": { "name": "acme", "lables": {} },
            "spec": {
                "regionn": "ord",
                "machines": [
                    { "name": "box", "config": { "image": "a", "whatever": 1 } },
                    { "name": "two", "regoin": "ord" },
                ],
            },
            "extra": 1,
        });
        let found = unknown_fields(&value);
        let shown: Vec<String> =
            found.iter().map(|one| format!("{}{}", one.path, one.hint)).collect();
        assert_eq!(
            shown,
            [
                "extra",
                "metadata.lables; did you mean `labels`?",
                "spec.machines[1].regoin; did you mean `region`?",
                "spec.regionn",
            ]
        );
        for field in &found {
            remove_field(&mut value, &field.path);
        }
        assert_eq!(unknown_fields(&value), []);
        // What Fly knows is Fly's business.
        assert_eq!(value["spec"]["machines"][0]["config"]["whatever"], 1);
    }

    #[test]
    fn what_is_no_document_has_no_unknown_fields() {
        let mut deep = json!({});
        for _ in 0..100 {
            deep = json!({ "x": deep });
        }
        for value in
            [json!(1), json!({ "kind": "Pod", "x": 1 }), json!({ "kind": "Tenant", "spec": deep })]
        {
            assert_eq!(unknown_fields(&value), []);
        }
    }
}
