use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;

fn decode<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_machine_as_create_returns_it() {
    let machine: Machine = decode(json!({
        "id": "7811d2b4c90e38", "name": "t-42-web", "state": "created", "region": "ams",
        "instance_id": "01K4Z8Q2V7M3N9T5R1X6W0YBCD", "private_ip": "fdaa:9:1c2:a7b:2f1:4b1d:77aa:2",
        "image_ref": {"registry": "registry-1.docker.io", "repository": "library/nginx", "tag": "1.29", "digest": "sha256:0f", "labels": null},
        "config": {"init": {}, "image": "nginx:1.29", "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256}, "metadata": {"owner": "t-42"}, "restart": {"policy": "on-failure"}, "dns": {}},
        "incomplete_config": null, "created_at": "2026-09-01T10:00:00Z", "updated_at": "2026-09-01T10:00:00Z",
        "host_status": "ok", "cordoned": false,
        "events": [{"id": "01K4Z8Q2VB", "type": "launch", "status": "created", "source": "user", "timestamp": 1788256800120_i64}]
    }));
    assert_eq!(machine.id, "7811d2b4c90e38");
    assert_eq!(machine.version(), Some("01K4Z8Q2V7M3N9T5R1X6W0YBCD"));
    assert_eq!(machine.metadata(), BTreeMap::from([("owner", "t-42")]));
    assert_eq!(machine.created_at, "2026-09-01T10:00:00Z".parse().ok());
    assert_eq!(machine.image_ref.unwrap().digest.as_deref(), Some("sha256:0f"));
    assert_eq!(machine.events[0].kind, "launch");
    assert_eq!(machine.events[0].timestamp, Some(1_788_256_800_120));
    assert_eq!(machine.config.unwrap()["guest"]["memory_mb"], 256);
}

#[test]
fn a_machine_on_a_dead_host_and_every_spelling_of_its_version() {
    let machine = |members: Value| {
        let mut object = json!({"id": "1", "name": "n", "state": "started", "region": "ams"});
        object.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        decode::<Machine>(object)
    };
    let dead = machine(json!({
        "config": null, "incomplete_config": {"metadata": {"owner": "t-42"}}, "host_status": "unreachable",
        "events": null, "image_ref": null, "private_ip": "", "created_at": "not a time", "cordoned": null, "new": 1
    }));
    assert_eq!(dead.config, None);
    assert_eq!(dead.metadata(), BTreeMap::from([("owner", "t-42")]));
    assert_eq!(dead.host_status.as_deref(), Some("unreachable"));
    assert_eq!((dead.private_ip, dead.created_at, dead.events), (None, None, Vec::new()));
    assert_eq!(machine(json!({"version": "B"})).version(), Some("B"));
    assert_eq!(machine(json!({"instance_id": "A", "version": "B"})).version(), Some("A"));
    assert_eq!(machine(json!({"instance_id": "", "version": "B"})).version(), Some("B"));
    assert_eq!(machine(json!({})).version(), None);
}

#[test]
fn an_exit_event() {
    let event: MachineEvent = decode(json!({
        "id": "01K4Z9", "type": "exit", "status": "stopped", "source": "flyd", "timestamp": 1788257111250_i64,
        "request": {"exit_event": {"exit_code": 0, "requested_stop": true}, "restart_count": 0}
    }));
    assert_eq!(event.request.unwrap()["exit_event"]["requested_stop"], true);
}

#[test]
fn a_volume_free_attached_and_in_a_list() {
    let volume = |attached: Value| {
        json!({
            "id": "vol_4xk9q1zr2w7m0pd3", "name": "data", "state": "created", "size_gb": 10, "region": "ams",
            "zone": "b1f7", "encrypted": true, "attached_machine_id": attached, "attached_alloc_id": null,
            "created_at": "2026-09-01T09:59:58.4Z", "blocks": 0, "block_size": 0, "blocks_free": 0, "blocks_avail": 0,
            "bytes_used": 0, "bytes_total": 0, "fstype": "ext4", "snapshot_retention": 5, "auto_backup_enabled": true,
            "host_status": "ok", "host_dedication_key": ""
        })
    };
    let free: Volume = decode(volume(Value::Null));
    assert_eq!((free.size_gb, &free.attached_machine_id), (10, &None));
    assert_eq!(free.snapshot_retention, Some(5));
    assert!(free.created_at.is_some());
    assert_eq!(decode::<Volume>(volume(json!(""))).attached_machine_id, None);
    let mut row = volume(json!("7811d2b4c90e38"));
    row["app_name"] = json!("t-42");
    let row: VolumeRow = decode(row);
    assert_eq!(row.app_name, "t-42");
    assert_eq!(row.volume.attached_machine_id.as_deref(), Some("7811d2b4c90e38"));
    assert_eq!(row.volume.size_gb, 10);
}

#[test]
fn a_row_of_an_organization() {
    let row: MachineRow = decode(json!({
        "id": "7811d2b4c90e38", "app_name": "t-42", "name": "t-42-web", "state": "started", "region": "ams",
        "version": "01K4Z8Q2V7M3N9T5R1X6W0YBCD", "private_ip": "fdaa::2", "created_at": "…", "updated_at": "…",
        "config": {"image": "nginx:1.29", "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
                   "metadata": {"owner": "t-42", "gone": null}}
    }));
    let config = row.config.unwrap();
    assert_eq!(config.metadata, BTreeMap::from([("owner".to_owned(), "t-42".to_owned())]));
    assert_eq!(config.image.as_deref(), Some("nginx:1.29"));
    assert_eq!(row.version.as_deref(), Some("01K4Z8Q2V7M3N9T5R1X6W0YBCD"));
    let bare: MachineRow = decode(
        json!({"id": "1", "app_name": "a", "name": "n", "state": "started", "region": "ams", "config": {"metadata": null}}),
    );
    assert_eq!(bare.config, Some(MachineRowConfig::default()));
    for missing in ["id", "app_name", "name", "state", "region"] {
        let mut row =
            json!({"id": "1", "app_name": "a", "name": "n", "state": "started", "region": "ams"});
        row.as_object_mut().unwrap().remove(missing);
        let error = serde_json::from_value::<MachineRow>(row).unwrap_err().to_string();
        assert_eq!(error, format!("missing field `{missing}`"));
    }
}

#[test]
fn apps() {
    let app: App = decode(json!({
        "id": "app_1", "name": "t-42", "internal_numeric_id": 7, "status": "deployed", "network": "", "machine_count": 1,
        "volume_count": 0, "organization": {"name": "Acme", "slug": "acme-org", "internal_numeric_id": 9}, "cname_target": "x"
    }));
    let organization = app.organization.unwrap();
    assert_eq!(organization.slug, "acme-org");
    assert_eq!((app.number, organization.number), (Some(7), Some(9)));
    for number in [json!(0), json!(null), json!("7"), json!(-7)] {
        let app: App = decode(json!({"name": "t-42", "internal_numeric_id": number}));
        assert_eq!(app.number, None, "{number}");
    }
    assert_eq!((app.network, app.machine_count), (None, Some(1)));
    assert_eq!(decode::<App>(json!({"name": "t-42"})).status, "");
    assert_eq!(
        decode::<CreatedApp>(json!({"id": "x", "created_at": 1788256800120_i64})).created_at,
        Some(1_788_256_800_120)
    );
    assert_eq!(
        decode::<CreatedApp>(json!({"name": "t-42", "created_at": "2026-09-01T10:00:00Z"}))
            .created_at,
        None
    );
}

#[test]
fn what_is_written() {
    let config = || decode::<Map<String, Value>>(json!({"image": "nginx", "later": {"member": 1}}));
    let app = CreateApp {
        name: "a".into(),
        org: "o".into(),
        network: None,
        idempotency_key: Some("k".into()),
    };
    assert_eq!(json!(app), json!({"name": "a", "org_slug": "o", "idempotency_key": "k"}));
    let create = CreateMachine {
        name: "m".into(),
        region: "ams".into(),
        config: config(),
        skip_launch: false,
        min_secrets_version: None,
    };
    assert_eq!(
        json!(create),
        json!({"name": "m", "region": "ams", "config": {"image": "nginx", "later": {"member": 1}}, "skip_launch": false})
    );
    let update = UpdateMachine {
        config: config(),
        current_version: Some("V".into()),
        skip_launch: true,
        min_secrets_version: None,
    };
    assert_eq!(
        json!(update),
        json!({"config": {"image": "nginx", "later": {"member": 1}}, "current_version": "V", "skip_launch": true})
    );
    let volume = CreateVolume {
        name: "v_1".into(),
        region: "ams".into(),
        size_gb: 10,
        ..CreateVolume::default()
    };
    assert_eq!(json!(volume), json!({"name": "v_1", "region": "ams", "size_gb": 10}));
}
