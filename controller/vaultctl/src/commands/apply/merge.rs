//! Pure: what a live object becomes when a manifest is applied to it.

use serde_json::{Map, Value};

use crate::object::Object;

/// The live object with the manifest's spec, labels and annotations. Labels and annotations that
/// the manifest does not name stay; the rest of the spec is replaced. The live resourceVersion stays
/// in place, so a write of the result fails if someone else wrote meanwhile.
pub(crate) fn merged(live: &Object, manifest: &Object) -> Object {
    let mut wanted = Map::new();
    for member in ["apiVersion", "kind", "spec"] {
        if let Some(value) = manifest.0.get(member) {
            wanted.insert(member.to_owned(), value.clone());
        }
    }
    let mut metadata =
        live.0.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    metadata.remove("managedFields");
    for member in ["labels", "annotations"] {
        let named = manifest.0.pointer(&format!("/metadata/{member}")).and_then(Value::as_object);
        let Some(named) = named else { continue };
        let kept = metadata.entry(member).or_insert_with(|| Value::Object(Map::new()));
        if let Some(kept) = kept.as_object_mut() {
            kept.extend(named.clone());
        }
    }
    wanted.insert("metadata".to_owned(), Value::Object(metadata));
    Object(Value::Object(wanted))
}

/// Whether a write would change nothing that people write: spec, labels, annotations.
pub(crate) fn is_same(live: &Object, wanted: &Object) -> bool {
    ["/spec", "/metadata/labels", "/metadata/annotations"]
        .into_iter()
        .all(|pointer| present(live, pointer) == present(wanted, pointer))
}

/// An empty map is the same as none.
fn present<'a>(object: &'a Object, pointer: &str) -> Option<&'a Value> {
    let value = object.0.pointer(pointer)?;
    let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
    (!is_empty).then_some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live() -> Object {
        Object(json!({
            "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
            "metadata": { "name": "acme", "resourceVersion": "7", "generation": 3,
                "labels": { "tier": "pro", "foreign": "yes" }, "managedFields": [{}] },
            "spec": { "class": "dev-box", "org": "acme-org" },
            "status": { "machines": [] },
        }))
    }

    fn manifest(labels: &Value, spec: &Value) -> Object {
        Object(json!({
            "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
            "metadata": { "name": "acme", "labels": labels }, "spec": spec,
        }))
    }

    #[test]
    fn the_spec_is_replaced_and_foreign_labels_stay() {
        let wanted =
            merged(&live(), &manifest(&json!({ "tier": "free" }), &json!({ "class": "big" })));
        assert_eq!(
            wanted.0,
            json!({
                "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
                "metadata": { "name": "acme", "resourceVersion": "7", "generation": 3,
                    "labels": { "tier": "free", "foreign": "yes" } },
                "spec": { "class": "big" },
            })
        );
        assert!(!is_same(&live(), &wanted));
    }

    #[test]
    fn what_a_manifest_says_already_is_no_change() {
        let spec = json!({ "class": "dev-box", "org": "acme-org" });
        for labels in [json!({}), json!({ "tier": "pro" })] {
            assert!(is_same(&live(), &merged(&live(), &manifest(&labels, &spec))), "{labels}");
        }
        let more = merged(&live(), &manifest(&json!({ "new": "label" }), &spec));
        assert!(!is_same(&live(), &more));
        let less = merged(&live(), &manifest(&json!({}), &json!({ "class": "dev-box" })));
        assert!(!is_same(&live(), &less));
    }

    #[test]
    fn an_empty_spec_is_the_same_as_none() {
        let bare = Object(json!({ "kind": "Tenant", "metadata": { "name": "acme" } }));
        assert!(is_same(&bare, &merged(&bare, &manifest(&json!({}), &json!({})))));
    }
}
