use serde_json::{Value, json};

use super::*;

fn document(kind: &str, name: &str, spec: Value) -> Document {
    let value = json!({
        "apiVersion": "vaultctl.dev/v1", "kind": kind, "metadata": { "name": name }, "spec": spec,
    });
    crate::check::check(&value).unwrap()
}

fn found(documents: &[&Document], known: &[&Document]) -> Vec<(usize, String)> {
    check_set(documents, known, &[])
        .into_iter()
        .map(|found| (found.document, found.problem.to_string()))
        .collect()
}

#[test]
fn a_new_document_replaces_the_known_one_of_its_name() {
    let old = document("Tenant", "acme", json!({ "app": "vault" }));
    let new = document("Tenant", "acme", json!({ "app": "vault" }));
    assert_eq!(found(&[&new], &[&old]), []);
}

#[test]
fn an_app_belongs_to_one_tenant() {
    let known = document("Tenant", "acme", json!({ "app": "vault" }));
    let new = document("Tenant", "beta", json!({ "app": "vault" }));
    let message = "spec.app: the app `vault` is already named by tenant `acme`".to_owned();
    assert_eq!(found(&[&new], &[&known]), [(0, message)]);
}

#[test]
fn an_app_is_shared_by_tenants_that_all_say_so() {
    let shared = json!({ "name": "vault", "shared": true });
    let of = |name: &str, spec: Value| document("Tenant", name, spec);
    let acme = of("acme", json!({ "app": shared }));
    let class = document("TenantClass", "common", json!({ "app": shared }));
    assert_eq!(found(&[&of("beta", json!({ "app": shared }))], &[&acme]), []);
    assert_eq!(found(&[&of("beta", json!({ "class": "common" }))], &[&acme, &class]), []);
    let told = |message: &str| vec![(0, format!("spec.app: {message}"))];
    let of_class = of("beta", json!({ "class": "common" }));
    let plain = of("gamma", json!({ "app": "vault" }));
    assert_eq!(
        found(&[&plain], &[&of_class, &class]),
        told("the app `vault` is shared by tenant `beta`: write `{ name: vault, shared: true }`")
    );
    let beta = of("beta", json!({ "app": shared }));
    assert_eq!(
        found(&[&beta], &[&plain]),
        told("the app `vault` is already named by tenant `gamma`, which does not share it")
    );
    let elsewhere = of("beta", json!({ "app": shared, "org": "other" }));
    assert_eq!(
        found(&[&elsewhere], &[&acme]),
        told("tenant `acme` shares the app `vault` in another organization")
    );
}

#[test]
fn a_class_is_found_among_new_and_known() {
    let class = document("TenantClass", "dev-box", json!({}));
    let tenant = document("Tenant", "acme", json!({ "class": "dev-box" }));
    assert_eq!(found(&[&tenant, &class], &[]), []);
    assert_eq!(found(&[&tenant], &[&class]), []);
    let message = "spec.class: there is no tenant class `dev-box`".to_owned();
    assert_eq!(found(&[&tenant], &[]), [(0, message)]);
}

#[test]
fn a_class_that_breaks_known_tenants_is_refused() {
    let group =
        |config| json!({ "machines": [ { "name": "box", "region": "ord", "config": config } ] });
    let old = document("TenantClass", "dev-box", group(json!({ "image": "nginx" })));
    let new = document("TenantClass", "dev-box", group(json!({})));
    let tenant = document("Tenant", "acme", json!({ "class": "dev-box" }));
    let problems = found(&[&new], &[&old, &tenant]);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].1.starts_with("spec: this would break tenant `acme`: "), "{problems:?}");
    // A tenant that was broken before is not the new class's doing.
    assert_eq!(found(&[&new], &[&new, &tenant]), []);
    // A tenant that comes along with the class speaks for itself.
    let problems = found(&[&new, &tenant], &[&old, &tenant]);
    assert_eq!(problems.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1]);
}

#[test]
fn the_first_of_two_stands() {
    let one = document("Tenant", "acme", json!({}));
    let class = document("TenantClass", "acme", json!({}));
    let problems = check_set(&[&one, &class, &one], &[], &[]);
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].document, problems[0].first), (2, Some(0)));
}
