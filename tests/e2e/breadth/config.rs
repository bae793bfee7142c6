//! Fly's machine config goes through unchanged, and what Fly fills in is no drift.

use serde_json::{Value, json};
use vault_tests::world::{World, WorldOptions};

use super::{becomes, machine, manifest};
use crate::support::passes;

/// Every member of Fly's machine config, but for containers: the emulator runs none.
fn everything() -> Value {
    let http = json!({
        "compress": true, "h2_backend": true, "idle_timeout": 60, "headers_read_timeout": 5,
        "response": { "headers": { "x-own": "1", "x-none": false }, "pristine": true },
        "replay_cache": [{ "path_prefix": "/", "ttl_seconds": 60, "type": "cookie", "name": "t", "allow_bypass": true }],
    });
    let tls = json!({ "alpn": ["h2"], "versions": ["TLSv1.3"], "default_self_signed": true });
    let check = json!({
        "type": "http", "port": 8080, "interval": "15s", "timeout": "2s", "grace_period": 5_000_000_000_u64,
        "method": "get", "path": "/up", "protocol": "https", "tls_skip_verify": true,
        "tls_server_name": "up", "headers": [{ "name": "X-A", "values": ["1", "2"] }],
    });
    let mut named = check.clone();
    named["kind"] = json!("readiness");
    json!({
        "image": "debian:bookworm-slim",
        "env": { "A": "1", "EMPTY": "" },
        "metadata": { "team": "core", "fly_process_group": "app" },
        "init": { "exec": ["/bin/sleep", "inf"], "entrypoint": ["/e"], "cmd": ["c"], "tty": true, "swap_size_mb": 512, "kernel_args": ["quiet"] },
        "auto_destroy": false,
        "standbys": ["148e272b12d389"],
        "size": "shared-cpu-1x",
        "disable_machine_autostart": true,
        "guest": { "cpu_kind": "performance", "cpus": 2, "memory_mb": 4096, "max_memory_mb": 8192, "host_dedication_id": "h", "kernel_args": ["k"], "required_host_features": ["f"], "persist_rootfs": "always" },
        "rootfs": { "persist": "restart", "size_gb": 8 },
        "cache_drive": { "size_mb": 64 },
        "spot": { "max_price_fraction": 0.5 },
        "mounts": [{ "volume": "data", "path": "/data", "name": "d", "encrypted": true, "extend_threshold_percent": 80, "add_size_gb": 1, "size_gb_limit": 10, "add_size_percent": 10, "min_add_size_gb": 1 }],
        "restart": { "policy": "always", "max_retries": 3 },
        "stop_config": { "timeout": "7s", "signal": "SIGINT" },
        "services": [{
            "protocol": "tcp", "internal_port": 8080, "autostop": "suspend", "autostart": true,
            "min_machines_running": 1, "force_instance_key": null, "force_instance_description": "d",
            "ports": [
                { "port": 443, "handlers": ["tls", "http"], "force_https": false, "tls_options": tls, "http_options": http },
                { "start_port": 5000, "end_port": 5100, "handlers": ["proxy_proto"], "proxy_proto_options": { "version": "v2" } },
            ],
            "checks": [check],
            "concurrency": { "type": "connections", "soft_limit": 20, "hard_limit": 25 },
        }],
        "checks": { "up": named },
        "metrics": [{ "port": 9091, "path": "/metrics", "https": false }],
        "statics": [{ "guest_path": "/www", "url_prefix": "/static", "tigris_bucket": "b", "index_document": "i" }],
        "dns": { "skip_registration": true, "nameservers": ["fdaa::3"], "searches": ["s"], "options": [{ "name": "ndots", "value": "1" }], "dns_forward_rules": [{ "basename": "b", "addr": "fdaa::4" }], "hostname": "h", "hostname_fqdn": "h.f" },
        "files": [
            { "guest_path": "/a", "raw_value": "YQ==", "mode": 420 },
            { "guest_path": "/b", "secret_name": "S" },
            { "guest_path": "/c", "image_config": "x" },
        ],
        "processes": [{
            "exec": ["x"], "entrypoint": ["e"], "cmd": ["c"], "user": "u", "env": { "P": "1" },
            "secrets": [{ "env_var": "S", "name": "S" }], "ignore_app_secrets": true,
            "env_from": [{ "env_var": "ID", "field_ref": "id" }],
        }],
        "volumes": [{ "name": "t", "temp_dir": { "storage_type": "memory", "size_mb": 8 } }],
        "a_member_of_tomorrow": { "deep": [1, 2.5, null, { "deeper": "ünicode \"quoted\"" }] },
    })
}

/// What the platform was sent, without what is ours in it.
fn without_ours(mut config: Value, volume: &str) -> Value {
    let metadata = config["metadata"].as_object_mut().expect("metadata");
    let ours = metadata.keys().filter(|key| key.starts_with("vault_")).count();
    assert!(ours >= 5, "{metadata:#?}");
    metadata.retain(|key, _| !key.starts_with("vault_"));
    assert!(volume.starts_with("vol_"), "{volume}");
    assert_eq!(config["mounts"][0]["volume"], volume);
    config["mounts"][0]["volume"] = json!("data");
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_of_flys_config_arrives_as_it_was_written() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let text = |config: Value| {
        manifest(&json!({
            "machines": [{ "name": "box", "region": "ord", "config": config }],
            "volumes": [{ "name": "data", "sizeGb": 1 }],
        }))
    };
    becomes(&world, &text(everything())).await?;
    let volume = world.lists().await?.volume_ids().remove(0);
    let seen = without_ours(machine(&world).await?["config"].clone(), &volume);
    assert_eq!(seen, everything(), "as it was created");

    // The same by an update, with one member changed deep inside.
    let mut changed = everything();
    changed["services"][0]["ports"][0]["http_options"]["response"]["headers"]["x-own"] = json!("2");
    becomes(&world, &text(changed.clone())).await?;
    let seen = without_ours(machine(&world).await?["config"].clone(), &volume);
    assert_eq!(seen, changed, "as it was updated");
    stays(&world).await?;
    world.finish().await
}

/// Nothing is written by several passes.
async fn stays(world: &World) -> anyhow::Result<()> {
    let writes = world.calls().count().writes;
    passes(world, 5).await?;
    assert_eq!(world.calls().count().writes, writes, "nothing was written");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_platform_fills_in_is_no_drift() -> anyhow::Result<()> {
    let world = World::start(WorldOptions::default()).await?;
    let bare =
        json!({ "machines": [{ "name": "box", "region": "ord", "config": { "image": "box:1" } }] });
    becomes(&world, &manifest(&bare)).await?;
    let config = machine(&world).await?["config"].clone();
    for member in ["init", "dns", "guest", "restart"] {
        assert!(config[member].is_object(), "{member} is filled in: {config:#}");
    }
    stays(&world).await?;

    // Zeros that the platform leaves out are no drift either.
    let mut zeros = bare;
    zeros["machines"][0]["config"]["guest"] =
        json!({ "gpus": 0, "kernel_args": [], "host_dedication_id": "" });
    becomes(&world, &manifest(&zeros)).await?;
    stays(&world).await?;
    world.finish().await
}
