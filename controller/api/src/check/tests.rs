use serde_json::json;

use super::*;

fn messages(value: &Value) -> Vec<String> {
    check(value).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn tenant(spec: Value) -> Value {
    json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "Tenant", "metadata": { "name": "acme" }, "spec": spec,
    })
}

#[test]
fn a_document_that_the_controller_sent_is_taken_back() {
    let mut value =
        tenant(json!({ "machines": [ { "name": "box", "config": { "any": [1.5] } } ] }));
    value["metadata"] = json!({
        "name": "acme", "uid": "u", "resourceVersion": "1", "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [ { "any": 1.0 } ],
        "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
    });
    value["status"] = json!({ "observedGeneration": 3, "conditions": [], "machines": [
        { "name": "acme-box-0", "region": "ord", "ready": true, "private_ip": "x" } ] });
    let document = check(&value).unwrap();
    assert_eq!((document.kind(), document.name()), ("Tenant", "acme"));
    // A null is a field that is not set.
    assert!(check(&tenant(json!({ "class": null, "org": null }))).is_ok());
}

#[test]
fn what_stands_inside_an_optional_part_is_told_with_its_path() {
    let mut value = tenant(json!({}));
    value["status"] = json!({ "conditions": [ { "type": 1 } ] });
    let found = messages(&value);
    assert!(
        found.contains(&"status.observedGeneration: missing field `observedGeneration`".to_owned()),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|found| found.starts_with("status.conditions[0].type: expected text")),
        "{found:#?}"
    );
    value["status"] = json!(7);
    assert_eq!(messages(&value), ["status: expected a mapping, found the number 7"]);
}

#[test]
fn fields_with_slashes_and_digits_keep_their_path() {
    let value = tenant(json!({ "machines": [ { "name": "box", "a/b~c": 1, "0": 2 } ] }));
    let found = check(&value).unwrap_err();
    let paths: Vec<String> = found.iter().map(|problem| problem.path.to_string()).collect();
    assert_eq!(paths, ["spec.machines[0].0", "spec.machines[0].a/b~c"]);
    let mut value = tenant(json!({}));
    value["metadata"]["labels"] = json!({ "example.com/x": 1, "0": 2 });
    let found = check(&value).unwrap_err();
    let paths: Vec<String> = found.iter().map(|problem| problem.path.to_string()).collect();
    assert_eq!(paths, ["metadata.labels.0", "metadata.labels.example.com/x"]);
}

#[test]
fn duplicates_say_where_the_first_is() {
    let value = tenant(json!({
        "machines": [ { "name": "a" }, { "name": "b" }, { "name": "a" } ],
        "volumes": [ { "name": "d" }, { "name": "d" } ],
    }));
    let found = check(&value).unwrap_err();
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "spec.machines[2].name: two machine groups are named `a`: the first is spec.machines[0]",
            "spec.volumes[1].name: two volumes are named `d`: the first is spec.volumes[0]",
        ]
    );
    assert!(found.iter().all(|problem| problem.kind == crate::problem::ProblemKind::Duplicate));
}

#[test]
fn an_app_is_a_name_or_shared_and_in_a_class_always_shared() {
    let with = |kind: &str, app: Value| {
        messages(&json!({
            "apiVersion": "vaultctl.dev/v1", "kind": kind, "metadata": { "name": "c" },
            "spec": { "app": app },
        }))
    };
    for (app, expected) in [
        (json!("vault"), &[][..]),
        (json!({ "name": "vault" }), &[]),
        (json!({ "name": "vault", "shared": true }), &[]),
        (json!({ "name": "Vault", "shared": true }), &["spec.app.name: name `Vault` must "]),
        (json!({ "shared": true }), &["spec.app.name: missing field `name`"]),
        (
            json!({ "name": "vault", "share": true }),
            &["spec.app.share: unknown field `share`; did you mean `shared`?"],
        ),
        (
            json!({ "name": "vault", "shared": "yes" }),
            &["spec.app.shared: expected true or false, found the text `yes`"],
        ),
        (json!(7), &["spec.app: expected text or a mapping, found the number 7"]),
    ] {
        let found = with("Tenant", app.clone());
        assert_eq!(found.len(), expected.len(), "{app}: {found:?}");
        let told = found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
        assert!(told, "{app}: {found:?}");
    }
    assert!(with("TenantClass", json!({ "name": "vault", "shared": true })).is_empty());
    for app in [json!("vault"), json!({ "name": "vault" })] {
        let found = with("TenantClass", app);
        assert_eq!(
            found,
            ["spec.app: every tenant of the class would name this app: write \
              `{ name: NAME, shared: true }`"]
        );
    }
}

#[test]
fn too_deep_too_many_and_too_odd_are_refused() {
    let deep = (0..DEPTH_MAX).fold(json!(1), |value, _| json!([value]));
    assert_eq!(messages(&deep), ["nested deeper than 64 levels"]);
    let many: Vec<Value> = (0..50_000).map(|_| json!({ "state": "Suspended", "x": 1.0 })).collect();
    let found = messages(&tenant(json!({ "machines": many })));
    assert_eq!(found.len(), PROBLEMS_MAX + 1);
    assert!(found.contains(&"spec.machines: expected 100 entries at most, found 50000".to_owned()));
    for odd in [json!(null), json!([]), json!({}), json!({ "kind": 1 }), json!({ "kind": "List" })]
    {
        assert!(check(&odd).is_err(), "{odd}");
    }
    let mut value = tenant(json!({}));
    value["metadata"]["generation"] = json!(u64::MAX);
    assert!(check(&value).is_err());
}
