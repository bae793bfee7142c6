//! JSON Schemas of the documents, generated from the types: what editors complete and underline
//! is what [`crate::check`] accepts.
//!
//! They are committed as `schemas/*.json`; `tests/schemas.rs` fails when they drift. Keys are
//! sorted, so that the text does not depend on which features of serde_json a build happens to
//! have.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::object::API_VERSION;
use crate::regions::REGIONS;
use crate::tenant::{Tenant, TenantClass};

/// The schema of a `Tenant`.
#[must_use]
pub fn tenant() -> Value {
    of::<Tenant>("Tenant")
}

/// The schema of a `TenantClass`.
#[must_use]
pub fn tenant_class() -> Value {
    of::<TenantClass>("TenantClass")
}

/// The schema of one document of a manifest: a `Tenant`, a `TenantClass`, or a `List` of them.
/// Editors use it by `# yaml-language-server: $schema=../schemas/manifest.json`.
#[must_use]
pub fn manifest() -> Value {
    let kinds = [("Tenant", tenant()), ("TenantClass", tenant_class())];
    let mut definitions = Map::new();
    let mut branches = Vec::new();
    for (kind, mut schema) in kinds {
        if let Some(members) = schema.as_object_mut() {
            members.remove("$schema");
            if let Some(Value::Object(inner)) = members.remove("$defs") {
                definitions.extend(inner);
            }
        }
        definitions.insert(kind.to_owned(), schema);
        branches.push(branch(kind, &format!("#/$defs/{kind}")));
    }
    definitions.insert("Document".to_owned(), one_of_kinds(&["Tenant", "TenantClass"], &branches));
    definitions.insert("List".to_owned(), list_of_documents());
    branches.push(branch("List", "#/$defs/List"));

    let mut schema = one_of_kinds(&["Tenant", "TenantClass", "List"], &branches);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Manifest");
    schema["description"] = json!("One document of a manifest of vaultctl.");
    schema["$defs"] = Value::Object(definitions);
    sorted(schema)
}

/// A schema as the text of its file, with a line break at the end.
#[must_use]
pub fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

fn of<T: JsonSchema>(kind: &str) -> Value {
    let generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    schema["properties"]["apiVersion"]["const"] = json!(API_VERSION);
    schema["properties"]["kind"]["const"] = json!(kind);
    list_regions(&mut schema);
    sorted(schema)
}

/// Lists Fly's regions where a document names one, so that editors complete them.
fn list_regions(schema: &mut Value) {
    let mut codes: Vec<Value> = REGIONS.iter().map(|region| json!(region)).collect();
    codes.push(Value::Null);
    for definition in ["MachineGroup", "VolumeTemplate"] {
        schema["$defs"][definition]["properties"]["region"]["enum"] = json!(codes);
    }
}

fn branch(kind: &str, reference: &str) -> Value {
    json!({
        "if": { "properties": { "kind": { "const": kind } }, "required": ["kind"] },
        "then": { "$ref": reference },
    })
}

fn one_of_kinds(kinds: &[&str], branches: &[Value]) -> Value {
    json!({
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": { "kind": { "enum": kinds } },
        "allOf": branches,
    })
}

fn list_of_documents() -> Value {
    json!({
        "description": "Several documents in one, as `kubectl get -o yaml` prints them.",
        "type": "object",
        "required": ["apiVersion", "items", "kind"],
        "properties": {
            "apiVersion": { "const": "v1" },
            "kind": { "const": "List" },
            "metadata": { "type": "object" },
            "items": { "type": "array", "items": { "$ref": "#/$defs/Document" } },
        },
        "additionalProperties": false,
    })
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<String, Value> =
                members.into_iter().map(|(key, member)| (key, sorted(member))).collect();
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}
