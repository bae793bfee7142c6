//! The committed schemas are the generated ones.

use std::path::Path;

use vault_api::schema;

/// Set to `1` to rewrite the files instead of comparing them.
const UPDATE: &str = "UPDATE_SCHEMAS";

#[test]
fn committed_schemas_are_the_generated_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let update = std::env::var_os(UPDATE).is_some_and(|value| value == "1");
    let files = [
        ("tenant.json", schema::tenant()),
        ("tenantclass.json", schema::tenant_class()),
        ("manifest.json", schema::manifest()),
    ];
    for (name, schema) in files {
        let path = folder.join(name);
        let text = schema::text(&schema);
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "schemas/{name} is not what the types generate; run\n\
             {UPDATE}=1 cargo test --release -p vault-api --test schemas"
        );
    }
}

#[test]
fn each_schema_is_a_valid_schema() {
    for schema in [schema::tenant(), schema::tenant_class(), schema::manifest()] {
        assert!(jsonschema::draft202012::meta::is_valid(&schema), "{schema:#}");
    }
}
