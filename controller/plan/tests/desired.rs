//! What manifests come to, before anything is compared with the platform.

use std::collections::BTreeMap;
use std::sync::Arc;

use vault_api::check::Document;
use vault_api::manifest::read_manifest;
use vault_api::tenant::{SecretEntry, TenantClassSpec, TenantSpec};
use vault_plan::desired::{
    Desired, DesiredSecret, DesiredSecrets, DesiredTenant, SecretPlace, TenantInput,
};
use vault_plan::identity::ControllerId;

/// A class, and a tenant of it that says nothing of its own.
const PLAIN: &str = r#"
apiVersion: vaultctl.dev/v1
kind: TenantClass
metadata: { name: small }
spec:
  vars: { plan: free }
  machines:
    - name: box
      region: ord
      config:
        image: box:1
        env: { PLAN: "{{vars.plan}}" }
        mounts: [{ volume: data, path: /data }]
  volumes: [{ name: data, sizeGb: 1 }]
---
apiVersion: vaultctl.dev/v1
kind: Tenant
metadata: { name: a-plain-one }
spec: { class: small }
"#;

/// Secrets of manifests have values here, whose hashes say what they were asked for.
struct Hashes;

impl DesiredSecrets for Hashes {
    fn of(&self, _: SecretPlace<'_>) -> Vec<DesiredSecret> {
        Vec::new()
    }

    fn of_manifest(&self, app: &str, name: &str, _: &SecretEntry) -> Result<String, String> {
        Ok(format!("{app}/{name}"))
    }
}

fn resolve(manifest: &str) -> Desired {
    let reading = read_manifest("desired.yaml", manifest.as_bytes());
    assert!(reading.problems.is_empty(), "{:?}", reading.problems);
    let mut classes: BTreeMap<String, TenantClassSpec> = BTreeMap::new();
    let mut tenants: BTreeMap<String, TenantSpec> = BTreeMap::new();
    for located in reading.documents {
        match located.document {
            Document::TenantClass(class) => {
                classes.insert(class.metadata.name, class.spec);
            }
            Document::Tenant(tenant) => {
                tenants.insert(tenant.metadata.name, tenant.spec);
            }
        }
    }
    let inputs = tenants.iter().map(|(name, spec)| TenantInput { name, spec, deleting: false });
    let controller = ControllerId::from_bytes([7; 16]);
    Desired::resolve(controller, "local", &classes, &Hashes, inputs)
}

fn tenant(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: vaultctl.dev/v1\nkind: Tenant\nmetadata: {{ name: {name} }}\nspec: {spec}\n"
    )
}

fn find<'a>(desired: &'a Desired, name: &str) -> &'a DesiredTenant {
    desired.tenants.iter().find(|tenant| &*tenant.name == name).unwrap()
}

/// Tenants that only name a class are resolved once for all of them. Whoever says one thing more is not
/// one of them.
#[test]
fn a_tenant_gets_what_it_says_beside_one_that_only_names_the_class() {
    let group = "[{ name: more, region: fra, config: { image: more:1 } }]";
    for own in [
        "org: other".to_owned(),
        "app: named".to_owned(),
        "vars: { plan: pro }".to_owned(),
        "relocate: Snapshot".to_owned(),
        "secrets: [{ name: KEY, from: { env: VAULTCTL_SECRET_KEY } }]".to_owned(),
        "tokens: { deploy: [{ name: ci, ttl: 24h, rotateBefore: 1h }] }".to_owned(),
        "storage: { buckets: [{ name: state }] }".to_owned(),
        format!("machines: {group}"),
        "volumes: [{ name: data, sizeGb: 3 }]".to_owned(),
    ] {
        let named = tenant("b", &format!("{{ class: small, {own} }}"));
        let beside = resolve(&format!("{PLAIN}{named}"));
        let (class, _) = PLAIN.rsplit_once("---").unwrap();
        let alone = resolve(&format!("{class}{named}"));
        let (beside, alone) = (find(&beside, "b"), find(&alone, "b"));
        assert!(alone.machines.is_ok(), "{own}: {:?}", alone.machines);
        assert_eq!(format!("{beside:?}"), format!("{alone:?}"), "{own}");
    }
}

#[test]
fn tenants_that_only_name_a_class_share_its_configs() {
    let desired = resolve(&format!("{PLAIN}{}", tenant("b", "{ class: small }")));
    let config = |name| Arc::clone(&find(&desired, name).machines.as_ref().unwrap()[0].config);
    assert!(
        Arc::ptr_eq(&config("a-plain-one"), &config("b")),
        "ten thousand of them fit in memory"
    );
}

#[test]
fn a_secret_of_the_manifest_is_wanted_in_the_app_under_the_name_that_machines_look_for() {
    let secrets = "secrets: [{ name: KEY, from: { env: VAULTCTL_SECRET_KEY } }]";
    let own = tenant("own", &format!("{{ class: small, app: named, {secrets} }}"));
    let sharing = "app: { name: many, shared: true }";
    let shared = tenant("sharing", &format!("{{ class: small, {sharing}, {secrets} }}"));
    let desired = resolve(&format!("{PLAIN}{own}{shared}"));
    let [secret] = find(&desired, "own").secrets.as_slice() else { panic!("one is wanted") };
    assert_eq!(
        (&*secret.name, &*secret.variable, secret.hash.as_str()),
        ("KEY", "KEY", "named/KEY")
    );
    let sharing = find(&desired, "sharing");
    let [secret] = sharing.secrets.as_slice() else { panic!("one is wanted") };
    let name = sharing.uid.secret_name("KEY");
    assert_eq!((&*secret.name, &*secret.variable), (name.as_str(), "KEY"));
    assert_eq!(secret.hash, format!("many/{name}"));
}

#[test]
fn an_app_is_shared_within_one_organization_only() {
    let shared = "class: small, app: { name: many, shared: true }";
    let (one, two) =
        (tenant("one", &format!("{{ {shared} }}")), tenant("two", &format!("{{ {shared} }}")));
    let other = tenant("other", &format!("{{ {shared}, org: other }}"));
    let desired = resolve(&format!("{PLAIN}{one}{other}{two}"));
    assert!(find(&desired, "one").machines.is_ok() && find(&desired, "two").machines.is_ok());
    let refused = find(&desired, "other").machines.as_ref().unwrap_err();
    let message = "tenant one shares app many in organization local, not in other";
    assert_eq!(refused[0].message, message);
}

#[test]
fn a_tenant_that_cannot_be_resolved_is_looked_for_in_the_organization_that_it_names() {
    let class = PLAIN.replace("  vars:", "  org: of-class\n  vars:");
    let spec = |own: &str| format!("{{ class: small, {own}machines: [{{ name: more }}] }}");
    for (own, organization) in [("", "of-class"), ("org: its-own, ", "its-own")] {
        let desired = resolve(&format!("{class}{}", tenant("b", &spec(own))));
        let found = find(&desired, "b");
        assert!(found.machines.is_err(), "a group without an image");
        assert_eq!(&*found.organization, organization);
    }
    let desired = resolve(&tenant("b", "{ class: nowhere }"));
    assert_eq!(&*find(&desired, "b").organization, "local");
}

#[test]
fn a_tenant_whose_machines_would_have_too_long_names_keeps_nobody_else_from_the_class() {
    let group = "g".repeat(20);
    let class = PLAIN.replace("name: box", &format!("name: {group}"));
    let (longest, too_long) = ("t".repeat(40), "t".repeat(41));
    // Whoever comes first by name is resolved first.
    for too_long in [too_long.clone(), format!("a-a{}", &too_long[3..])] {
        let tenants = [&longest, &too_long].map(|name| tenant(name, "{ class: small }"));
        let desired = resolve(&format!("{class}{}", tenants.concat()));
        let machines = |name| find(&desired, name).machines.as_ref();
        assert_eq!(machines(&longest).unwrap()[0].name.len(), 63);
        assert!(machines("a-plain-one").is_ok());
        let problems = machines(&too_long).unwrap_err();
        assert!(problems[0].message.contains("63"), "{problems:?}");
    }
}
