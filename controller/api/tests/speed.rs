//! Checking and merging stay cheap: a folder of ten thousand tenants must not be felt.

use std::time::Duration;

use serde_json::json;
use vault_api::check::{Document, check};
use vault_api::resolve::resolve;

const TENANTS: usize = 10_000;
/// The real times are tens of milliseconds; the margin is for a busy machine.
const CHECK_TIME_MAX: Duration = Duration::from_secs(1);

/// The time that a piece of work takes. What is measured here is the machine itself, so there is
/// no clock to pass in.
#[expect(clippy::disallowed_methods, reason = "this test measures real time")]
fn time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let result = work();
    (result, start.elapsed())
}

#[test]
fn ten_thousand_documents_are_checked_and_merged_at_once() {
    let class = json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "TenantClass", "metadata": { "name": "dev-box" },
        "spec": {
            "machines": [ { "name": "box", "region": "ord", "config": {
                "image": "registry.fly.io/vault-tenants/agent@sha256:0",
                "guest": { "cpu_kind": "shared", "cpus": 2, "memory_mb": 2048 },
                "mounts": [ { "volume": "data", "path": "/data" } ],
                "env": { "TENANT": "{{tenant}}", "INDEX": "{{index}}" },
            } } ],
            "volumes": [ { "name": "data", "sizeGb": 10 } ],
        },
    });
    let Ok(Document::TenantClass(class)) = check(&class) else { panic!("the class is good") };
    let values: Vec<_> = (0..TENANTS)
        .map(|number| {
            json!({
                "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
                "metadata": { "name": format!("tenant-{number}"), "labels": { "tier": "pro" } },
                "spec": { "class": "dev-box", "machines": [ { "name": "box", "config": {
                    "env": { "PLAN": "pro" } } } ] },
            })
        })
        .collect();
    let (documents, checking) =
        time(|| values.iter().map(check).collect::<Result<Vec<_>, _>>().unwrap());
    let (resolved, resolving) = time(|| {
        documents
            .iter()
            .filter_map(|document| match document {
                Document::Tenant(tenant) => {
                    resolve(document.name(), &tenant.spec, Some(("dev-box", &class.spec))).ok()
                }
                Document::TenantClass(_) => None,
            })
            .count()
    });
    assert_eq!(resolved, TENANTS);
    assert!(checking + resolving < CHECK_TIME_MAX, "check {checking:?}, resolve {resolving:?}");
}
