use serde_json::{Value, json};

use super::*;

fn spec(value: Value) -> TenantSpec {
    serde_json::from_value(value).unwrap()
}

fn class(value: Value) -> TenantClassSpec {
    serde_json::from_value(value).unwrap()
}

fn dev_box() -> TenantClassSpec {
    class(json!({
        "org": "class-org",
        "machines": [
            { "name": "box", "region": "ord", "count": 2, "config": {
                "image": "nginx",
                "guest": { "cpus": 2, "memory_mb": 512 },
                "env": { "A": "class", "B": "class" },
                "mounts": [ { "volume": "data", "path": "/data" } ],
            } },
            { "name": "side", "region": "ord", "state": "Stopped", "config": { "containers": [{}] } },
        ],
        "volumes": [ { "name": "data", "sizeGb": 10 } ],
    }))
}

#[test]
fn tenant_and_class_merge_and_the_tenant_wins() {
    let tenant = spec(json!({
        "class": "dev-box", "app": "acme-vault",
        "machines": [
            { "name": "extra", "region": "fra", "config": { "image": "redis" } },
            { "name": "box", "count": 0, "config": {
                "guest": { "memory_mb": 1024 }, "env": { "A": "tenant", "C": null },
            } },
        ],
        "volumes": [ { "name": "data", "sizeGb": 20 }, { "name": "spare", "sizeGb": 1 } ],
    }));
    let resolved = resolve("acme", &tenant, Some(("dev-box", &dev_box()))).unwrap();
    assert_eq!(resolved.org.as_deref(), Some("class-org"));
    assert_eq!(resolved.app.as_ref().map(AppSetting::name), Some("acme-vault"));
    let groups: Vec<_> = resolved
        .machines
        .iter()
        .map(|group| (group.name.as_str(), group.region.as_str(), group.count, group.state))
        .collect();
    assert_eq!(
        groups,
        [
            ("box", "ord", 0, MachineState::Started),
            ("side", "ord", 1, MachineState::Stopped),
            ("extra", "fra", 1, MachineState::Started),
        ]
    );
    assert_eq!(
        Value::Object(resolved.machines[0].config.clone()),
        json!({
            "image": "nginx",
            "guest": { "cpus": 2, "memory_mb": 1024 },
            "env": { "A": "tenant", "B": "class", "C": null },
            "mounts": [ { "volume": "data", "path": "/data" } ],
        })
    );
    let mount = ResolvedMount { volume: 0, path: "/data".to_owned() };
    assert_eq!(resolved.machines[0].mount, Some(mount));
    let volumes: Vec<_> =
        resolved.volumes.iter().map(|volume| (volume.name.as_str(), volume.size_gb)).collect();
    assert_eq!(volumes, [("data", 20), ("spare", 1)]);
}

#[test]
fn vars_merge_by_name_and_the_tenant_wins() {
    let tenant = spec(json!({ "vars": { "plan": "pro", "own": "1" } }));
    let class = class(json!({ "vars": { "plan": "free", "common": "2" } }));
    let resolved = resolve("acme", &tenant, Some(("c", &class))).unwrap();
    let vars: Vec<_> = resolved.vars.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(vars, [("common", "2"), ("own", "1"), ("plan", "pro")]);
}

#[test]
fn a_tenant_without_class_or_spec_is_resolved() {
    assert_eq!(resolve("acme", &TenantSpec::default(), None), Ok(ResolvedSpec::default()));
}

#[test]
fn a_named_class_must_be_given() {
    let found = resolve("acme", &spec(json!({ "class": "dev-box" })), None).unwrap_err();
    assert_eq!(found[0].to_string(), "spec.class: there is no tenant class `dev-box`");
}

/// The tenant's name, its spec, and the problems with it under the class.
#[test]
fn problems_point_at_the_tenant_or_at_its_class() {
    let image = json!({ "image": "nginx" });
    let long = "a".repeat(59);
    let table: [(&str, Value, TenantClassSpec, &[&str]); 15] = [
        (
            "acme",
            json!({ "machines": [ { "name": "box", "region": "ord", "state": "Suspended", "config": {
                "image": "x", "guest": { "memory_mb": 4096, "gpu_kind": "a10" },
                "init": { "swap_size_mb": 512 }, "schedule": "daily" } } ] }),
            class(json!({})),
            &[
                "spec.machines[0].state: `state: Suspended`: Fly suspends machines with at most 2048 MB of memory, not 4096",
                "without swap",
                "without a GPU",
                "without a schedule",
            ],
        ),
        (
            "acme",
            json!({ "machines": [ { "name": "box", "state": "Suspended" } ] }),
            class(json!({ "machines": [ { "name": "box", "region": "ord", "config": {
                "image": "x", "guest": { "memory_mb": 2048 }, "init": { "swap_size_mb": 0 } } } ] })),
            &[],
        ),
        (
            "acme",
            json!({ "vars": { "plan": "pro" }, "machines": [ { "name": "box", "region": "ord", "config": {
                "image": "x:{{vars.plan}}", "env": { "0": "{{vars.plam}}" },
                "init": { "cmd": [ "a", "{{vars.zone}}" ] } } } ] }),
            class(json!({ "vars": { "other": "x" } })),
            &[
                "spec.machines[0].config.env.0: there is no var `plam`; did you mean `plan`?",
                "spec.machines[0].config.init.cmd[1]: there is no var `zone`",
            ],
        ),
        (
            "acme",
            json!({ "machines": [ { "name": "box", "config": { "env": { "B": "{{vars.b}}" } } } ] }),
            class(json!({ "machines": [ { "name": "box", "region": "ord", "config": {
                "image": "x", "env": { "A": "{{vars.a}}" } } } ] })),
            &[
                "spec.class: there is no var `a` (in class `dev-box`, spec.machines[].config.env.A)",
                "spec.machines[0].config.env.B: there is no var `b`",
            ],
        ),
        (
            "acme",
            json!({ "machines": [ { "name": "box" } ] }),
            class(json!({})),
            &[
                "spec.machines[0].region: machine group `box` needs a `region`",
                "spec.machines[0].config.image: machine group `box` needs an image",
            ],
        ),
        (
            "acme",
            json!({ "machines": [ { "name": "box", "region": "ord", "config": { "image": null } } ] }),
            class(json!({})),
            &["spec.machines[0].config.image: machine group `box` needs an image"],
        ),
        (
            "acme",
            json!({}),
            class(
                json!({ "machines": [ { "name": "box", "config": image } ], "volumes": [ { "name": "d" } ] }),
            ),
            &[
                "spec.class: volume `d` needs `sizeGb` (in class `dev-box`, spec.volumes[].sizeGb)",
                "spec.class: machine group `box` needs a `region` (in class `dev-box`, spec.machines[].region)",
            ],
        ),
        (
            "acme",
            json!({ "volumes": [ { "name": "d" } ] }),
            class(json!({})),
            &["spec.volumes[0].sizeGb: volume `d` needs `sizeGb`"],
        ),
        (
            "acme",
            json!({ "machines": [ { "name": "box", "config": { "mounts": [ { "volume": "dat", "path": "/" } ] } } ] }),
            dev_box(),
            &[
                "spec.machines[0].config.mounts[0].volume: the mounted volume `dat` is not declared; did you mean `data`?",
            ],
        ),
        (
            "acme",
            json!({}),
            class(json!({ "machines": [ { "name": "box", "region": "ord", "config": {
                "image": "x", "mounts": [ { "volume": "zzz", "path": "/" } ] } } ] })),
            &[
                "spec.class: the mounted volume `zzz` is not declared (in class `dev-box`, spec.machines[].config.mounts[0].volume)",
            ],
        ),
        (
            "acme",
            json!({ "volumes": [ { "name": "data", "region": "fra" } ] }),
            dev_box(),
            &[
                "spec.volumes[0].region: volume `data` is in region `fra`, but machine group `box`, which mounts it, is in `ord`",
            ],
        ),
        (
            "acme",
            json!({ "machines": [ { "name": "box", "region": "ams" } ] }),
            class(json!({
                "machines": dev_box().machines,
                "volumes": [ { "name": "data", "sizeGb": 1, "region": "ord" } ],
            })),
            &[
                "spec.machines[0].region: volume `data` is in region `ord`, but machine group `box`, which mounts it, is in `ams`",
            ],
        ),
        (
            &long,
            json!({ "machines": [ { "name": "b", "region": "ord", "config": image } ] }),
            class(json!({})),
            &[],
        ),
        (
            &long,
            json!({ "machines": [ { "name": "b", "region": "ord", "count": 11, "config": image } ] }),
            class(json!({})),
            &["would have 64 characters, Fly takes 63"],
        ),
        (
            &long,
            json!({ "machines": [ { "name": "box", "count": 0, "region": "ord", "config": image } ] }),
            class(json!({})),
            &[],
        ),
    ];
    for (name, tenant, class, expected) in table {
        let found = resolve(name, &spec(tenant.clone()), Some(("dev-box", &class)));
        let found: Vec<String> =
            found.err().unwrap_or_default().iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{tenant}: {found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{tenant}: {found}");
        }
    }
}

#[test]
fn a_shared_app_takes_no_config_that_chooses_secrets_itself() {
    let with = |member: &str, value: serde_json::Value| {
        let mut config = serde_json::json!({ "image": "nginx" });
        config[member] = value;
        serde_json::json!([{ "name": "box", "region": "ord", "config": config }])
    };
    let told = |machines: &serde_json::Value, shared: bool, of_class: bool| {
        let app = serde_json::json!({ "name": "vault", "shared": shared });
        let (spec, class) = match of_class {
            true => (
                serde_json::json!({ "class": "c" }),
                serde_json::json!({ "app": app, "machines": machines }),
            ),
            false => (
                serde_json::json!({ "class": "c", "app": app, "machines": machines }),
                serde_json::json!({}),
            ),
        };
        let spec: TenantSpec = serde_json::from_value(spec).unwrap();
        let class: TenantClassSpec = serde_json::from_value(class).unwrap();
        let problems = resolve("acme", &spec, Some(("c", &class))).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let secret = serde_json::json!([{ "env_var": "S", "name": "VAULT_TENANT_SECRET_OF_ANOTHER" }]);
    for (member, value) in [
        ("processes", serde_json::json!([{ "secrets": secret }])),
        ("containers", serde_json::json!([{ "name": "one", "image": "nginx", "secrets": secret }])),
        ("files", serde_json::json!([{ "guest_path": "/x", "secret_name": "S" }])),
    ] {
        let machines = with(member, value);
        let found = told(&machines, true, false);
        assert_eq!(found.len(), 1, "{found:?}");
        let begin =
            format!("spec.machines[0].config.{member}: `{member}` cannot be used in a shared app");
        assert!(found[0].starts_with(&begin), "{found:?}");
        assert!(told(&machines, true, true)[0].starts_with("spec.class: "));
        assert!(told(&machines, false, false).is_empty());
    }
    for (member, value) in [
        ("processes", serde_json::json!([])),
        ("containers", serde_json::json!(null)),
        (
            "files",
            serde_json::json!([{ "guest_path": "/x", "raw_value": "eA==", "secret_name": null }]),
        ),
    ] {
        assert!(told(&with(member, value), true, false).is_empty(), "{member}");
    }
}
