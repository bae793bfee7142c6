//! Forms of output: labels, columns, order; and `explain` and `api-resources`.

use serde_json::{Value, json};

use crate::fake::Fake;

fn tenant(name: &str, tier: &str, count: u32) -> Value {
    json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
        "metadata": { "name": name, "labels": { "tier": tier, "example.com/env": "dev" } },
        "spec": { "class": "dev-box", "machines": [{ "name": "box", "count": count }] },
    })
}

fn stocked() -> Fake {
    let fake = Fake::start();
    fake.store("tenants", tenant("acme", "pro", 10));
    fake.store("tenants", tenant("umbra", "free", 9));
    fake
}

#[test]
fn labels_can_be_columns() {
    let fake = stocked();
    let text = fake.run(&["get", "tenants", "-L", "tier,example.com/env", "--show-labels"]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].ends_with("   TIER   ENV   LABELS"), "{text}");
    assert!(lines[1].ends_with("   pro    dev   example.com/env=dev,tier=pro"), "{text}");
    assert_eq!(fake.reads()[0], "list tenants?limit=500");
}

#[test]
fn columns_can_be_chosen() {
    let fake = stocked();
    let spec = "custom-columns=NAME:.metadata.name,COUNT:{.spec.machines[0].count},X:.spec.absent";
    let ended = fake.run(&["get", "tenants", "-o", spec]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "NAME    COUNT   X\nacme    10      <none>\numbra   9       <none>\n"),
        "{ended:?}"
    );
    fake.file("columns", "NAME CLASS\nmetadata.name .spec.class\n");
    let file =
        fake.run(&["get", "tenant/acme", "-o", "custom-columns-file=columns", "--no-headers"]);
    assert_eq!(file.stdout, "acme   dev-box\n", "{file:?}");
    fake.file("template", "{range .items[*]}{.metadata.name} {.spec.class}{\"\\n\"}{end}\n");
    let template = fake.run(&["get", "tenants", "-o", "jsonpath-file=template"]);
    assert_eq!(template.stdout, "acme dev-box\numbra dev-box\n", "{template:?}");
    for form in ["custom-columns=NAME", "custom-columns-file=absent", "jsonpath={range .a}"] {
        let bad = fake.run(&["get", "tenants", "-o", form]);
        assert_eq!((bad.code, bad.stdout.as_str()), (2, ""), "{form}: {bad:?}");
    }
}

#[test]
fn objects_can_be_sorted() {
    let fake = stocked();
    let by = |key: &str| fake.run(&["get", "tenants", "--sort-by", key, "-o", "name"]);
    assert_eq!(by(".spec.machines[0].count").stdout, "tenant/umbra\ntenant/acme\n");
    assert_eq!(by("{.metadata.name}").stdout, "tenant/acme\ntenant/umbra\n");
    let nowhere = by(".spec.absent");
    assert_eq!(nowhere.code, 2);
    assert_eq!(nowhere.stderr, "error: no object has the field .spec.absent to sort by\n");
}

#[test]
fn selectors_are_the_controllers_business() {
    let fake = stocked();
    let one = fake.run(&["get", "tn", "--field-selector", "metadata.name=umbra", "-o", "name"]);
    assert_eq!(one.stdout, "tenant/umbra\n", "{one:?}");
    let bad = fake.run(&["get", "tenants", "--field-selector", "spec.class=dev-box"]);
    assert_eq!(
        (bad.code, bad.stderr.as_str()),
        (2, "error: field label not supported: spec.class\n"),
        "{bad:?}"
    );
    fake.run(&["wait", "tenants", "-l", "tier=pro", "--for=create", "--timeout=0"]);
    assert!(fake.reads().iter().any(|read| read.contains("labelSelector=tier%3Dpro")));
    let silent = fake.run(&["get", "tenant", "nobody", "acme", "--ignore-not-found", "-o", "name"]);
    assert_eq!((silent.code, silent.stdout.as_str()), (0, "tenant/acme\n"), "{silent:?}");
}

#[test]
fn explain_tells_what_the_schema_says() {
    let fake = Fake::start();
    let root = fake.run(&["explain", "tenants"]);
    assert_eq!((root.code, root.stderr.as_str()), (0, ""), "{root:?}");
    assert!(
        root.stdout.starts_with("GROUP:      vaultctl.dev\nKIND:       Tenant\nVERSION:    v1\n\nDESCRIPTION:\n    One customer's machines"),
        "{}",
        root.stdout
    );
    assert!(root.stdout.contains("\n  spec\t<TenantSpec>\n"), "{}", root.stdout);
    let field = fake.run(&["explain", "tn.spec.machines"]).stdout;
    assert!(field.contains("\nFIELD: machines <[]MachineGroup>\n"), "{field}");
    assert!(field.contains("\n  name\t<string> -required-\n"), "{field}");
    assert!(field.contains("\n  state\t<string>\n    enum: Started, Stopped"), "{field}");
    let deep = fake.run(&["explain", "tenantclass.spec", "--recursive"]).stdout;
    assert!(deep.contains("\n  machines\t<[]MachineGroup>\n    config\t<Object>\n"), "{deep}");
    let wrong = fake.run(&["explain", "tenant.spec.machine"]);
    assert_eq!(
        (wrong.code, wrong.stderr.as_str()),
        (2, "error: tenant.spec has no field \"machine\"\nhint: did you mean machines?\n")
    );
    assert_eq!(fake.run(&["explain", "events"]).code, 2);
    assert_eq!(fake.run(&["explain", "pods"]).code, 2);
}

#[test]
fn api_resources_are_what_the_controller_serves() {
    let fake = Fake::start();
    let table = fake.run(&["api-resources"]);
    assert_eq!(
        table.stdout,
        "NAME            SHORTNAMES   APIVERSION        NAMESPACED   KIND\n\
         events          ev           v1                true         Event\n\
         tenantclasses   -            vaultctl.dev/v1   false        TenantClass\n\
         tenants         tn           vaultctl.dev/v1   false        Tenant\n",
        "{table:?}"
    );
    let names = fake.run(&["api-resources", "-o", "name"]);
    assert_eq!(names.stdout, "events\ntenantclasses.vaultctl.dev\ntenants.vaultctl.dev\n");
    let wide = fake.run(&["api-resources", "-o", "wide", "--no-headers"]).stdout;
    assert!(wide.lines().nth(2).unwrap().ends_with("Tenant        get,list,watch   all"), "{wide}");
}
