//! The paths of one resource, with what each verb takes and answers.

use serde_json::{Map, Value, json};

use super::{META, reference};
use crate::http::resources::{Resource, VERSION};

/// The paths of a resource; `item` is the name of its schema.
pub(super) fn of(resource: &Resource, item: &str) -> Vec<(String, Value)> {
    let (root, plural) = (resource.root(), resource.plural);
    let can = |verb: &str| resource.verbs.contains(&verb);
    let mut collection = Map::new();
    if can("list") {
        collection.insert("get".to_owned(), operation(resource, "list", &format!("{item}List")));
    }
    if can("create") {
        collection.insert("post".to_owned(), operation(resource, "create", item));
    }
    let mut object = Map::new();
    for (method, verb) in [("get", "get"), ("put", "update"), ("patch", "patch")] {
        if can(verb) {
            object.insert(method.to_owned(), operation(resource, verb, item));
        }
    }
    if can("delete") {
        let status = format!("{META}.Status");
        object.insert("delete".to_owned(), operation(resource, "delete", &status));
    }
    object.insert("parameters".to_owned(), json!([in_path("name")]));
    if !resource.namespaced {
        return vec![
            (format!("{root}/{plural}"), collection.into()),
            (format!("{root}/{plural}/{{name}}"), object.into()),
        ];
    }
    let all = collection.clone();
    let namespace = in_path("namespace");
    collection.insert("parameters".to_owned(), json!([namespace]));
    object.insert("parameters".to_owned(), json!([in_path("name"), namespace]));
    let inside = format!("{root}/namespaces/{{namespace}}/{plural}");
    vec![
        (format!("{root}/{plural}"), all.into()),
        (inside.clone(), collection.into()),
        (format!("{inside}/{{name}}"), object.into()),
    ]
}

fn operation(resource: &Resource, verb: &str, answer: &str) -> Value {
    let action = match verb {
        "create" => "post",
        "update" => "put",
        other => other,
    };
    let code = if verb == "create" { "201" } else { "200" };
    let content = json!({ "application/json": { "schema": reference(answer) } });
    let mut operation = json!({
        "operationId": format!("{verb}{}{}", resource.kind, VERSION.to_uppercase()),
        "parameters": parameters(verb),
        "responses": {
            code: { "description": "OK", "content": content },
            "401": { "description": "Unauthorized" },
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": resource.group, "version": VERSION, "kind": resource.kind,
        },
    });
    let body =
        |form: &str, schema: &str| json!({ "content": { form: { "schema": reference(schema) } } });
    match verb {
        "create" | "update" => operation["requestBody"] = body("application/json", answer),
        "patch" => {
            let schema = format!("{META}.Patch");
            operation["requestBody"] = body("application/merge-patch+json", &schema);
        }
        "delete" => {
            let schema = format!("{META}.DeleteOptions");
            operation["requestBody"] = body("application/json", &schema);
        }
        _ => {}
    }
    operation
}

fn parameters(verb: &str) -> Vec<Value> {
    let names: &[&str] = match verb {
        "create" | "update" | "patch" => &["dryRun", "fieldManager", "fieldValidation"],
        "delete" => &["dryRun"],
        "list" => &[
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "timeoutSeconds",
            "watch",
        ],
        _ => &[],
    };
    names.iter().map(|name| in_query(name)).collect()
}

fn in_query(name: &str) -> Value {
    let form = match name {
        "allowWatchBookmarks" | "sendInitialEvents" | "watch" => "boolean",
        "limit" | "timeoutSeconds" => "integer",
        _ => "string",
    };
    json!({ "name": name, "in": "query", "schema": { "type": form, "uniqueItems": true } })
}

fn in_path(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}
