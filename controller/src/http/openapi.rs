//! OpenAPI v3, made from the JSON Schemas of our documents and the table of resources.
//!
//! kubectl reads it for `explain`, and before it writes: a path that declares `fieldValidation` says
//! that the server checks fields itself, and `dryRun` that it can rehearse.

mod convert;
mod paths;
pub(super) mod v2;

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName};
use data_encoding::HEXUPPER;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use vault_api::object::GROUP;
use vault_api::schema;

use super::resources::{NAMESPACES, Resource, VERSION};

/// What all documents are called.
const TITLE: &str = "vaultctl";

/// A document that is made once.
struct Document {
    text: Bytes,
    hash: String,
}

static OURS: LazyLock<Document> = LazyLock::new(|| document(GROUP, our_schemas()));
static CORE: LazyLock<Document> = LazyLock::new(|| document("", core_schemas()));

type Answer = ([(HeaderName, String); 3], Bytes);

/// `/openapi/v3`: where the documents are, one per group and version.
pub(super) async fn index() -> Answer {
    let entry = |path: &str, document: &Document| json!({ "serverRelativeURL": format!("/openapi/v3/{path}?hash={}", document.hash) });
    let ours = format!("apis/{GROUP}/{VERSION}");
    let mut paths = Map::new();
    paths.insert(format!("api/{VERSION}"), entry(&format!("api/{VERSION}"), &CORE));
    paths.insert(ours.clone(), entry(&ours, &OURS));
    answer(&Document::new(&json!({ "paths": paths })))
}

/// Our own group.
pub(super) async fn ours() -> Answer {
    answer(&OURS)
}

/// The core group.
pub(super) async fn core() -> Answer {
    answer(&CORE)
}

fn answer(document: &Document) -> Answer {
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (ETAG, format!("{:?}", document.hash)),
        (CACHE_CONTROL, "no-cache, private".to_owned()),
    ];
    (headers, document.text.clone())
}

impl Document {
    fn new(value: &Value) -> Self {
        let text = value.to_string();
        let hash = HEXUPPER.encode(&Sha256::digest(text.as_bytes()));
        Self { text: text.into(), hash }
    }
}

fn document(group: &'static str, mut schemas: Map<String, Value>) -> Document {
    schemas.extend(common_schemas());
    let mut all_paths = Map::new();
    for resource in Resource::of_group(group) {
        let item = schema_name(resource.group, resource.kind);
        if !resource.verbs.is_empty() {
            schemas.insert(format!("{item}List"), list_schema(resource, &item));
        }
        all_paths.extend(paths::of(resource, &item));
    }
    Document::new(&json!({
        "openapi": "3.0.0",
        "info": { "title": TITLE, "version": env!("CARGO_PKG_VERSION") },
        "paths": all_paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "BearerToken": { "type": "http", "scheme": "bearer" } },
        },
    }))
}

/// The name of a kind's schema: reversed, as Kubernetes names its own.
fn schema_name(group: &str, kind: &str) -> String {
    match group {
        "" => format!("io.k8s.api.core.{VERSION}.{kind}"),
        group => {
            let reversed: Vec<&str> = group.rsplit('.').collect();
            format!("{}.{VERSION}.{kind}", reversed.join("."))
        }
    }
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn our_schemas() -> Map<String, Value> {
    let mut schemas = Map::new();
    for (kind, schema) in [("Tenant", schema::tenant()), ("TenantClass", schema::tenant_class())] {
        let name = schema_name(GROUP, kind);
        let prefix = name.strip_suffix(kind).unwrap_or_default().to_owned();
        for (name, mut schema) in convert::schema(&name, &prefix, schema) {
            if name.ends_with(&format!(".{kind}")) {
                schema["x-kubernetes-group-version-kind"] =
                    json!([{ "group": GROUP, "version": VERSION, "kind": kind }]);
            }
            schemas.insert(name, schema);
        }
    }
    schemas
}

/// Events and namespaces, as far as we fill them in.
fn core_schemas() -> Map<String, Value> {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let time = |description: &str| json!({ "type": "string", "format": "date-time", "description": description });
    let event = object(
        "Event",
        "Something that happened to a tenant or to the controller.",
        json!({
            "involvedObject": {
                "type": "object",
                "description": "What it happened to.",
                "properties": {
                    "apiVersion": text("Its group and version."),
                    "kind": text("Its kind."),
                    "name": text("Its name."),
                    "namespace": text("Its namespace; empty, as ours have none."),
                    "uid": text("Its uid."),
                },
            },
            "reason": text("What happened, in one word."),
            "message": text("What happened, in one sentence."),
            "type": text("Normal or Warning."),
            "count": {
                "type": "integer", "format": "int32", "description": "How often it happened.",
            },
            "firstTimestamp": time("When it happened first."),
            "lastTimestamp": time("When it happened last."),
            "eventTime": time("Always empty."),
            "source": {
                "type": "object",
                "description": "Who tells it.",
                "properties": { "component": text("The program.") },
            },
            "reportingComponent": text("The program that tells it."),
            "reportingInstance": text("The controller's id."),
        }),
    );
    let namespace = object(
        NAMESPACES.kind,
        "There is one namespace; events lie in it.",
        json!({
            "spec": { "type": "object", "description": "Empty." },
            "status": {
                "type": "object",
                "description": "Whether it can be used.",
                "properties": { "phase": text("Always Active.") },
            },
        }),
    );
    [("Event", event), (NAMESPACES.kind, namespace)]
        .into_iter()
        .map(|(kind, schema)| (schema_name("", kind), schema))
        .chain([(format!("{META}.ObjectMeta"), object_meta())])
        .collect()
}

fn object(kind: &str, description: &str, properties: Value) -> Value {
    let mut schema = json!({
        "type": "object",
        "description": description,
        "properties": {
            "apiVersion": { "type": "string", "description": "The group and version." },
            "kind": { "type": "string", "description": "The kind." },
            "metadata": {
                "description": "Name and bookkeeping.",
                "allOf": [reference(&format!("{META}.ObjectMeta"))],
            },
        },
        "x-kubernetes-group-version-kind": [{ "group": "", "version": VERSION, "kind": kind }],
    });
    if let (Some(all), Value::Object(more)) = (schema["properties"].as_object_mut(), properties) {
        all.extend(more);
    }
    schema
}

fn object_meta() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "type": "object",
        "description": "Name and bookkeeping.",
        "properties": {
            "name": text("The object's name."),
            "namespace": text("The namespace in which it lies."),
            "uid": text("Unique over space and time."),
            "resourceVersion": text("An opaque version."),
            "creationTimestamp": {
                "type": "string", "format": "date-time", "description": "When it was made.",
            },
        },
    })
}

fn list_schema(resource: &Resource, item: &str) -> Value {
    json!({
        "type": "object",
        "description": format!("A list of {}.", resource.plural),
        "required": ["items"],
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "allOf": [reference(&format!("{META}.ListMeta"))] },
            "items": { "type": "array", "items": { "allOf": [reference(item)] } },
        },
        "x-kubernetes-group-version-kind": [{
            "group": resource.group,
            "version": VERSION,
            "kind": format!("{}List", resource.kind),
        }],
    })
}

/// What both documents need.
fn common_schemas() -> Vec<(String, Value)> {
    let list_meta = json!({
        "type": "object",
        "description": "Bookkeeping of a list.",
        "properties": {
            "resourceVersion": { "type": "string" },
            "continue": { "type": "string" },
            "remainingItemCount": { "type": "integer", "format": "int64" },
        },
    });
    let status = json!({
        "type": "object",
        "description": "The answer to a request that returns no object.",
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "type": "object" },
            "status": { "type": "string" },
            "message": { "type": "string" },
            "reason": { "type": "string" },
            "details": { "type": "object" },
            "code": { "type": "integer", "format": "int32" },
        },
    });
    let delete_options = json!({
        "type": "object",
        "description": "Options of a deletion.",
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "dryRun": { "type": "array", "items": { "type": "string" } },
            "gracePeriodSeconds": { "type": "integer", "format": "int64" },
            "propagationPolicy": { "type": "string" },
            "preconditions": {
                "type": "object",
                "properties": {
                    "uid": { "type": "string" },
                    "resourceVersion": { "type": "string" },
                },
            },
        },
    });
    let named = |name: &str, schema| (format!("{META}.{name}"), schema);
    vec![
        named("ListMeta", list_meta),
        named("Status", status),
        named("DeleteOptions", delete_options),
        named("Patch", json!({ "type": "object", "description": "A patch." })),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(document: &Document) -> Value {
        serde_json::from_slice(&document.text).unwrap()
    }

    fn visit(value: &Value, look: &mut impl FnMut(&Map<String, Value>)) {
        match value {
            Value::Object(members) => {
                look(members);
                members.values().for_each(|member| visit(member, look));
            }
            Value::Array(items) => items.iter().for_each(|item| visit(item, look)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        for document in [&*OURS, &*CORE] {
            let document = parsed(document);
            let mut found = 0;
            visit(&document, &mut |members| {
                if let Some(Value::String(target)) = members.get("$ref") {
                    let pointer = target.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{target}");
                    assert_eq!(members.len(), 1, "nothing may stand beside {target}");
                    found += 1;
                }
            });
            assert!(found > 10, "{found}");
        }
    }

    #[test]
    fn schemas_are_in_the_language_of_openapi_3_0() {
        let document = parsed(&OURS);
        let schemas = &document["components"]["schemas"];
        visit(schemas, &mut |members| {
            for word in ["const", "$defs", "oneOf", "anyOf", "$schema"] {
                let is_schema = !members.contains_key("properties") || word != "const";
                assert!(!(is_schema && members.contains_key(word)), "{word} in {members:?}");
            }
            assert!(!matches!(members.get("type"), Some(Value::Array(_))), "{members:?}");
        });
        let tenant = &schemas["dev.vaultctl.v1.Tenant"];
        assert_eq!(
            tenant["x-kubernetes-group-version-kind"],
            json!([{ "group": "vaultctl.dev", "version": "v1", "kind": "Tenant" }])
        );
        assert_eq!(
            schemas["dev.vaultctl.v1.MachineState"]["enum"]
                .as_array()
                .map(|words| words.contains(&json!("Stopped"))),
            Some(true)
        );
        let config = &schemas["dev.vaultctl.v1.MachineGroup"]["properties"]["config"];
        assert_eq!(config["x-kubernetes-preserve-unknown-fields"], json!(true));
    }

    #[test]
    fn writing_paths_declare_what_kubectl_looks_for() {
        let document = parsed(&OURS);
        let paths = document["paths"].as_object().unwrap();
        for (path, verbs) in [
            ("/apis/vaultctl.dev/v1/tenants", &["post"][..]),
            ("/apis/vaultctl.dev/v1/tenants/{name}", &["patch", "put"]),
        ] {
            for verb in verbs {
                let operation = &paths[path][*verb];
                let names: Vec<&str> = operation["parameters"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect();
                for name in ["dryRun", "fieldManager", "fieldValidation"] {
                    assert!(names.contains(&name), "{verb} {path}: {names:?}");
                }
                let kind = &operation["x-kubernetes-group-version-kind"]["kind"];
                assert_eq!(kind, "Tenant", "{verb} {path}");
            }
        }
        let core = parsed(&CORE);
        assert!(core["paths"]["/api/v1/namespaces/{namespace}/events"]["get"].is_object());
        assert!(core["paths"]["/api/v1/events"].get("post").is_none());
    }
}
