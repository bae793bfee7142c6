//! A fleet of one-machine tenants on the emulator, and waiting for what its controller does.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use vault_tests::eventually::within;
use vault_tests::world::{World, WorldOptions};

use crate::Settings;
use crate::calls::begins_sweep;

/// Tenants in one file: a file may have 1 MiB.
const TENANTS_PER_FILE: usize = 1_000;
/// Longer than ten thousand tenants take on a busy machine.
const CONVERGES_WITHIN: Duration = Duration::from_secs(1_800);
/// How often the controller is asked how far it is.
const LOOK: Duration = Duration::from_millis(250);
/// How often the platform's record is looked at, which costs no contestant anything.
const WATCH: Duration = Duration::from_millis(2);
/// The longest wait for a sweep: many intervals.
const SWEEPS_WITHIN: Duration = Duration::from_secs(300);

/// A controller with its tenants.
pub(crate) struct Fleet {
    /// Where it runs.
    pub(crate) world: World,
    /// How many tenants there are.
    pub(crate) tenants: usize,
}

impl Fleet {
    /// Starts a world whose folder holds the tenants, and waits until all are Ready.
    pub(crate) async fn converged(
        tenants: usize,
        settings: Settings,
        interval: Duration,
    ) -> anyhow::Result<Self> {
        let world = World::start(WorldOptions { interval, ..WorldOptions::default() }).await?;
        let fleet = Self { world, tenants };
        let began = now();
        fleet.write(settings)?;
        fleet.ready().await?;
        println!("{tenants} tenants are Ready after {:.1?}", began.elapsed());
        Ok(fleet)
    }

    /// Writes the tenants' manifests into the folder.
    pub(crate) fn write(&self, settings: Settings) -> anyhow::Result<()> {
        // One write tells of all: the controller does not find half of them.
        let texts = manifests(self.tenants, settings);
        let (last, first) = texts.split_last().expect("a class at least");
        for (number, text) in first.iter().enumerate() {
            self.world.write_manifest(&format!("{number:02}.yaml"), text)?;
        }
        self.world.write_manifest(LAST_FILE, last)?;
        Ok(())
    }

    /// Waits until all tenants are Ready.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let wanted = json!({ "total": self.tenants, "ready": self.tenants });
        let began = now();
        loop {
            let status = self.world.status().await?;
            if status["tenants"] == wanted {
                return Ok(());
            }
            ensure!(began.elapsed() < CONVERGES_WITHIN, "they are not Ready: {status:#}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How many answers the platform has given.
    pub(crate) fn seen(&self) -> usize {
        let count = self.world.calls().count();
        count.reads + count.writes
    }

    /// Waits until a sweep begins after the first `seen` answers; how many there were then.
    pub(crate) async fn next_sweep(&self, seen: usize) -> anyhow::Result<usize> {
        let began = now();
        let mut seen = seen;
        loop {
            for answer in self.world.calls().since(seen) {
                seen += 1;
                if begins_sweep(&answer) {
                    return Ok(seen);
                }
            }
            ensure!(began.elapsed() < SWEEPS_WITHIN, "nobody looks at the platform");
            tokio::time::sleep(WATCH).await;
        }
    }

    /// Waits until `/status` is as `check` wants it.
    pub(crate) async fn until(
        &self,
        what: &str,
        check: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<()> {
        within(CONVERGES_WITHIN, what, async || {
            let status = self.world.status().await.map_err(|error| format!("{error:#}"))?;
            if check(&status) { Ok(()) } else { Err(format!("{status:#}")) }
        })
        .await
    }
}

/// The file that holds the class, and no tenant.
pub(crate) const CLASS_FILE: &str = "00.yaml";
/// The file that is written last; it holds the last thousand tenants.
pub(crate) const LAST_FILE: &str = "last.yaml";

/// The manifests: one class, and the tenants in files that a controller takes.
pub(crate) fn manifests(tenants: usize, settings: Settings) -> Vec<String> {
    let mut texts = vec![class(body())];
    for first in (0..tenants).step_by(TENANTS_PER_FILE) {
        let mut text = String::new();
        for number in first..tenants.min(first + TENANTS_PER_FILE) {
            let tenant = json!({
                "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
                "metadata": { "name": name(number) },
                "spec": if settings.own { body() } else { json!({ "class": "dev-box" }) },
            });
            // JSON is YAML; a text takes all.
            write!(text, "---\n{tenant}\n").expect("a text takes all");
        }
        texts.push(text);
    }
    texts
}

/// The manifest of the class.
pub(crate) fn class(body: Value) -> String {
    let class = json!({
        "apiVersion": "vaultctl.dev/v1", "kind": "TenantClass",
        "metadata": { "name": "dev-box" }, "spec": body,
    });
    class.to_string()
}

/// The name of a tenant.
pub(crate) fn name(number: usize) -> String {
    format!("tenant-{number:05}")
}

/// What a tenant is: one machine with ten variables and a mount, one volume.
pub(crate) fn body() -> Value {
    let mut variables = serde_json::Map::new();
    for number in 0..10 {
        variables.insert(format!("VARIABLE_{number}"), format!("value-{number}").into());
    }
    json!({
        "machines": [{
            "name": "box", "region": "ord",
            "config": {
                "image": "registry.fly.io/vault-tenants/dev-box:1",
                "guest": { "cpu_kind": "shared", "cpus": 2, "memory_mb": 2048 },
                "env": variables,
                "mounts": [{ "volume": "data", "path": "/data" }],
            },
        }],
        "volumes": [{ "name": "data", "sizeGb": 10 }],
    })
}

/// The benchmark's stopwatch.
pub(crate) fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    Instant::now()
}
