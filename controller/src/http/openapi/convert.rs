//! From JSON Schema 2020-12 to the dialect of OpenAPI 3.0 that Kubernetes speaks.

use serde_json::{Map, Value, json};

/// The schemas of a document and of all its parts, by their names in OpenAPI; `name` is that of the
/// document, `prefix` goes before the names of its parts.
pub(super) fn schema(name: &str, prefix: &str, mut root: Value) -> Vec<(String, Value)> {
    let parts = match root.as_object_mut().and_then(|members| members.remove("$defs")) {
        Some(Value::Object(parts)) => parts,
        _ => Map::new(),
    };
    let mut schemas = vec![(name.to_owned(), converted(root, prefix))];
    schemas.extend(
        parts
            .into_iter()
            .map(|(part, schema)| (format!("{prefix}{part}"), converted(schema, prefix))),
    );
    schemas
}

fn converted(schema: Value, prefix: &str) -> Value {
    let Value::Object(mut members) = schema else {
        // `true` allows everything.
        return json!({ "x-kubernetes-preserve-unknown-fields": true });
    };
    members.remove("$schema");
    members.remove("title");
    if let Some(choices) = members.remove("anyOf").or_else(|| members.remove("oneOf")) {
        return chosen(members, choices, prefix);
    }
    if let Some(Value::String(target)) = members.remove("$ref") {
        return referring(members, &target, prefix);
    }
    if let Some(Value::Array(types)) = members.get("type") {
        let first = types.iter().find(|one| *one != "null").cloned();
        members.insert("type".to_owned(), first.unwrap_or_else(|| json!("string")));
    }
    if let Some(value) = members.remove("const") {
        members.insert("enum".to_owned(), json!([value]));
    }
    if let Some(Value::Array(values)) = members.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Object(properties)) = members.remove("properties") {
        let properties: Map<String, Value> = properties
            .into_iter()
            .map(|(name, property)| (name, converted(property, prefix)))
            .collect();
        members.insert("properties".to_owned(), properties.into());
    }
    if let Some(items) = members.remove("items") {
        members.insert("items".to_owned(), converted(items, prefix));
    }
    match members.remove("additionalProperties") {
        Some(Value::Bool(true)) => {
            members.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
        }
        Some(values @ Value::Object(_)) => {
            members.insert("additionalProperties".to_owned(), converted(values, prefix));
        }
        // That nothing else may stand there is the server's to say.
        Some(_) | None => {}
    }
    Value::Object(members)
}

/// Something that has to be one of several: a word of a few, or something that may be absent; what
/// is neither is passed through.
fn chosen(mut members: Map<String, Value>, choices: Value, prefix: &str) -> Value {
    let Value::Array(mut choices) = choices else { return Value::Object(members) };
    choices.retain(|choice| choice["type"] != "null");
    let words: Option<Vec<Value>> =
        choices.iter().map(|choice| choice.get("const").cloned()).collect();
    if let Some(words) = words {
        let said = choices.iter().filter_map(|choice| {
            Some(format!("{}: {}", choice["const"].as_str()?, choice["description"].as_str()?))
        });
        let description = members.get("description").and_then(Value::as_str);
        let lines: Vec<String> = description.map(str::to_owned).into_iter().chain(said).collect();
        members.insert("description".to_owned(), lines.join("\n").into());
        members.insert("type".to_owned(), json!("string"));
        members.insert("enum".to_owned(), words.into());
        return Value::Object(members);
    }
    match choices.as_slice() {
        [one] => match one["$ref"].as_str() {
            Some(target) => referring(members, target, prefix),
            None => {
                if let Value::Object(one) = one {
                    for (key, value) in one {
                        members.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
                converted(Value::Object(members), prefix)
            }
        },
        _ => {
            members.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
            Value::Object(members)
        }
    }
}

/// Beside a reference nothing may stand, so it goes into an `allOf`.
fn referring(mut members: Map<String, Value>, target: &str, prefix: &str) -> Value {
    let name = target.rsplit('/').next().unwrap_or_default();
    let reference = json!({ "$ref": format!("#/components/schemas/{prefix}{name}") });
    if members.is_empty() {
        return reference;
    }
    members.insert("allOf".to_owned(), json!([reference]));
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openapi_does_not_know_is_said_otherwise() {
        let table = [
            (json!({ "type": ["string", "null"] }), json!({ "type": "string" })),
            (
                json!({ "const": "v1", "type": "string" }),
                json!({ "enum": ["v1"], "type": "string" }),
            ),
            (
                json!({ "enum": ["ord", null], "type": ["string", "null"] }),
                json!({ "enum": ["ord"], "type": "string" }),
            ),
            (
                json!({ "$ref": "#/$defs/Spec", "description": "d" }),
                json!({ "allOf": [{ "$ref": "#/components/schemas/x.Spec" }], "description": "d" }),
            ),
            (
                json!({ "anyOf": [{ "$ref": "#/$defs/Spec" }, { "type": "null" }] }),
                json!({ "$ref": "#/components/schemas/x.Spec" }),
            ),
            (
                json!({ "description": "d", "oneOf": [
                    { "const": "A", "description": "a", "type": "string" },
                    { "const": "B", "description": "b", "type": "string" },
                ] }),
                json!({ "description": "d\nA: a\nB: b", "enum": ["A", "B"], "type": "string" }),
            ),
            (
                json!({ "type": "object", "additionalProperties": true }),
                json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
            ),
            (
                json!({ "type": "object", "additionalProperties": { "type": ["string", "null"] } }),
                json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            ),
            (
                json!({ "properties": { "const": { "const": 1 } }, "additionalProperties": false }),
                json!({ "properties": { "const": { "enum": [1] } } }),
            ),
            (
                json!({ "anyOf": [{ "type": "string" }, { "type": "object" }] }),
                json!({ "x-kubernetes-preserve-unknown-fields": true }),
            ),
        ];
        for (given, expected) in table {
            assert_eq!(converted(given.clone(), "x."), expected, "{given}");
        }
    }
}
