//! What reading ten thousand tenants costs the controller and its clients.
//!
//! ```text
//!   database with 1,000 or 10,000 tenants ─▶ vault-controller (a process; its platform is away,
//!                                            so that no pass takes part)
//!     list as Table in pages of 500   all pages, one after the other
//!     100 watches, then changes       from a write's answer, and from its request, to the last watcher
//!     VmRSS                           after all that; per tenant by comparing the two sizes
//!
//!   the same, converged on an emulator ─▶ the same figures while passes run, and VmRSS every 100 ms
//!                                         over some of them: median, largest, and the peak (VmHWM)
//! ```
//!
//! The emulator is the program beside the controller's: `cargo build --release -p vault-emulator`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use vault_api::check::check;
use vault_controller::accept::{Decision, Writer, decide};
use vault_controller::identity::MasterKey;
use vault_controller::source::Source;
use vault_controller::store::{SqliteStore, Store};
use vault_plan::time::UnixMillis;

const SMALL: usize = 1_000;
const LARGE: usize = 10_000;
const PAGE: usize = 500;
const WATCHERS: usize = 100;
const CHANGES: usize = 100;
/// How many writes wait for one commit while the database is filled.
const FILL_GROUP: usize = 200;
/// How long resident memory is looked at: more than three of the controller's intervals.
const SAMPLED_FOR: Duration = Duration::from_secs(35);
const SAMPLED_EVERY: Duration = Duration::from_millis(100);
const CONVERGED_WITHIN: Duration = Duration::from_secs(900);
const CLASS: &str = "dev-box";
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const TENANTS: &str = "/apis/vaultctl.dev/v1/tenants";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

fn main() -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // `cargo bench --bench serving -- own` does one part; cargo adds flags of its own.
        let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
        let wanted = |part: &str| wanted.as_deref().is_none_or(|wanted| wanted == part);
        if wanted("away") {
            let small = measure(SMALL).await?;
            per_tenant("platform away", small, measure(LARGE).await?);
        }
        for (part, specs) in [("class", Specs::OfClass), ("own", Specs::Own)] {
            if wanted(part) {
                let large = converged(LARGE, specs).await?;
                per_tenant(part, converged(SMALL, specs).await?, large);
            }
        }
        Ok(())
    })
}

fn per_tenant(what: &str, small_kb: u64, large_kb: u64) {
    let bytes = large_kb.saturating_sub(small_kb) * 1024 / (LARGE - SMALL) as u64;
    println!("{what}: resident bytes per tenant, {SMALL} to {LARGE}: {bytes}");
}

/// Where tenants say what they are.
#[derive(Clone, Copy, Debug)]
enum Specs {
    /// All name one class.
    OfClass,
    /// Each says it itself.
    Own,
}

/// Prints the figures of one size on a platform that agrees, and answers the median of resident
/// memory in kB while passes run and watches are open.
async fn converged(tenants: usize, specs: Specs) -> anyhow::Result<u64> {
    let folder = tempfile::tempdir()?;
    let token = fill(folder.path(), tenants, specs, false).await?;
    let platform = Emulator::start(&folder.path().join("platform")).await?;
    let began = now();
    let controller = Controller::start(&folder, token, Some(&platform)).await?;
    while controller.ready().await? < tenants {
        ensure!(began.elapsed() < CONVERGED_WITHIN, "the tenants do not converge");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{tenants} tenants converged, specs {specs:?}, after {:?}", began.elapsed());
    println!("  resident: {} kB, peak so far {} kB", controller.resident()?, controller.peak()?);
    // From here on the peak is that of the steady state.
    fs::write(format!("/proc/{}/clear_refs", controller.process.id()), "5")?;
    controller.lists(tenants).await?;
    let watches = controller.watch(tenants).await?;
    let mut samples = Vec::new();
    let began = now();
    while began.elapsed() < SAMPLED_FOR {
        samples.push(controller.resident()?);
        tokio::time::sleep(SAMPLED_EVERY).await;
    }
    drop(watches);
    samples.sort_unstable();
    let (median, p90) = (samples[samples.len() / 2], samples[samples.len() * 9 / 10]);
    let (least, most) = (samples[0], samples[samples.len() - 1]);
    println!(
        "  resident over {SAMPLED_FOR:?} of passes with {WATCHERS} watches: median {median} kB, \
         {least} to {most} kB, p90 {p90} kB; peak {} kB",
        controller.peak()?
    );
    Ok(median)
}

/// Prints the figures of one size, and answers the resident memory in kB.
async fn measure(tenants: usize) -> anyhow::Result<u64> {
    let folder = tempfile::tempdir()?;
    let token = fill(folder.path(), tenants, Specs::Own, true).await?;
    let controller = Controller::start(&folder, token, None).await?;
    println!("{tenants} tenants; resident at the start: {} kB", controller.resident()?);
    controller.lists(tenants).await?;
    println!("  resident after that: {} kB", controller.resident()?);
    drop(controller.watch(tenants).await?);
    controller.resident()
}

/// Makes a database as the controller's API would, and answers the operator token.
async fn fill(
    folder: &Path,
    tenants: usize,
    specs: Specs,
    with_status: bool,
) -> anyhow::Result<String> {
    let key = MasterKey::load_or_create(&folder.join("master.key"))?;
    let store = SqliteStore::open(&folder.join("controller.db"), NOW)?;
    let mut writes = JoinSet::new();
    let class = matches!(specs, Specs::OfClass).then(class);
    for (number, value) in class
        .into_iter()
        .map(|class| (0, class))
        .chain((0..tenants).map(|number| (number, tenant(number, specs))))
    {
        let document = check(&value).map_err(|found| anyhow::anyhow!("{found:?}"))?;
        let writer = Writer { source: &Source::Api, take_ownership: false, rehearsal: false };
        let decision = decide(&document, None, writer, &key.controller_id(), NOW)?;
        let Decision::Create(mut object) = decision else { anyhow::bail!("not new") };
        if with_status {
            object.status = Some(status(number));
        }
        let store = store.clone();
        writes.spawn(async move { store.put_object(object, None).await });
        while writes.len() >= FILL_GROUP {
            writes.join_next().await.context("nothing waits")???;
        }
    }
    while let Some(written) = writes.join_next().await {
        written??;
    }
    Ok(key.operator_token().expose_secret().to_owned())
}

fn name(number: usize) -> String {
    format!("tenant-{number:05}")
}

fn what_a_tenant_is() -> Value {
    let config = json!({
        "image": "registry.fly.io/vault-tenants/agent:1",
        "guest": { "cpu_kind": "shared", "cpus": 2, "memory_mb": 2048 },
        "mounts": [{ "volume": "data", "path": "/data" }],
        "env": { "TENANT": "{{tenant}}", "LEVEL": "info" },
    });
    json!({
        "machines": [{ "name": "box", "region": "ord", "config": config }],
        "volumes": [{ "name": "data", "sizeGb": 10 }],
    })
}

fn class() -> Value {
    json!({
        "apiVersion": "vaultctl.dev/v1",
        "kind": "TenantClass",
        "metadata": { "name": CLASS },
        "spec": what_a_tenant_is(),
    })
}

fn tenant(number: usize, specs: Specs) -> Value {
    json!({
        "apiVersion": "vaultctl.dev/v1",
        "kind": "Tenant",
        "metadata": {
            "name": name(number),
            "labels": { "tier": if number.is_multiple_of(10) { "pro" } else { "free" } },
        },
        "spec": match specs {
            Specs::OfClass => json!({ "class": CLASS }),
            Specs::Own => what_a_tenant_is(),
        },
    })
}

fn status(number: usize) -> Value {
    let name = name(number);
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "observedGeneration": 1, "reason": kind,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "its machine is as wanted",
        })
    };
    json!({
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", "True"), condition("Synced", "True"),
            condition("Progressing", "False"), condition("Degraded", "False"),
        ],
        "source": "API", "org": "acme-org", "app": format!("{name}-a2b3c4d5"),
        "machines": [{
            "name": format!("{name}-box-0"), "id": format!("{number:014x}"), "state": "started",
            "region": "ord", "privateIp": "fdaa:0:1:a7b:1:0:0:2", "version": "01JBQ", "ready": true,
        }],
        "volumes": [{
            "template": "data", "name": "v_a2b3c4d5e6f7", "id": format!("vol_{number:016}"),
            "state": "created", "machine": format!("{name}-box-0"), "sizeGb": 10,
        }],
    })
}

/// A running emulator, whose machines are moved by the clock alone.
struct Emulator {
    process: Child,
    url: String,
    token: String,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Emulator {
    async fn start(folder: &Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let program =
            Path::new(env!("CARGO_BIN_EXE_vault-controller")).with_file_name("vault-emulator");
        let process = Command::new(&program)
            .args(["--listen", &address.to_string(), "--machines", "none"])
            .args(["--rate-limits", "off", "--boot-delay", "0s"])
            .arg("--data-dir")
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} is not there: build it first", program.display()))?;
        let mut emulator = Self { process, url: format!("http://{address}"), token: String::new() };
        let began = now();
        while emulator.token.is_empty() {
            ensure!(began.elapsed() < Duration::from_secs(60), "the emulator does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
            if reqwest::get(&emulator.url).await.is_ok() {
                let token = fs::read_to_string(folder.join("operator.token"))?;
                token.trim().clone_into(&mut emulator.token);
            }
        }
        Ok(emulator)
    }
}

/// A running controller and a client of it.
struct Controller {
    process: Child,
    url: String,
    token: String,
    client: reqwest::Client,
}

impl Drop for Controller {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Controller {
    async fn start(
        folder: &TempDir,
        token: String,
        platform: Option<&Emulator>,
    ) -> anyhow::Result<Self> {
        let (platform_url, platform_token) = match platform {
            Some(platform) => (platform.url.as_str(), platform.token.as_str()),
            None => ("http://127.0.0.1:9", "none"),
        };
        // Free again at the end of the statement, and nobody else takes it meanwhile.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new(env!("CARGO_BIN_EXE_vault-controller"))
            .args(["--platform-url", platform_url, "--token", platform_token])
            .args(["--listen", &address.to_string()])
            .arg("--data-dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // The process is in the hands of the one that ends it before anything can fail.
        let (url, client) = (format!("https://{address}"), reqwest::Client::new());
        let mut controller = Self { process, url, token, client };
        let began = now();
        let authority = folder.path().join("tls/ca.pem");
        while !authority.exists() {
            ensure!(began.elapsed() < Duration::from_secs(60), "the controller does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let authority = reqwest::Certificate::from_pem(&fs::read(authority)?)?;
        controller.client = reqwest::Client::builder().tls_certs_only([authority]).build()?;
        while controller.client.get(format!("{}/livez", controller.url)).send().await.is_err() {
            ensure!(began.elapsed() < Duration::from_secs(60), "the controller does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(controller)
    }

    fn get(&self, query: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{TENANTS}?{query}", self.url);
        self.client.get(url).bearer_auth(&self.token).header("accept", TABLE)
    }

    /// Prints how long whole lists take.
    async fn lists(&self, tenants: usize) -> anyhow::Result<()> {
        let mut times = Vec::new();
        for _ in 0..5 {
            let began = now();
            ensure!(self.list().await? == tenants, "the list is not whole");
            times.push(began.elapsed());
        }
        times.sort();
        println!(
            "  list as Table in pages of {PAGE}: median {:?}, {:?} to {:?}",
            times[2], times[0], times[4]
        );
        Ok(())
    }

    /// How many tenants are Ready.
    async fn ready(&self) -> anyhow::Result<usize> {
        let request = self.client.get(format!("{}/status", self.url)).bearer_auth(&self.token);
        let status: Value = request.send().await?.error_for_status()?.json().await?;
        let ready = status["tenants"]["ready"].as_u64().context("no tenants.ready")?;
        Ok(usize::try_from(ready)?)
    }

    /// How many rows all pages have together.
    async fn list(&self) -> anyhow::Result<usize> {
        let (mut rows, mut token) = (0, String::new());
        loop {
            let answer = self.get(&format!("limit={PAGE}&continue={token}")).send().await?;
            let page: Value = answer.error_for_status()?.json().await?;
            rows += page["rows"].as_array().context("no rows")?.len();
            match page["metadata"]["continue"].as_str() {
                Some(next) => token = next.to_owned(),
                None => return Ok(rows),
            }
        }
    }

    /// Opens watches, changes tenants, and prints how soon the last watcher knew; answers the
    /// watches, which are read until they are dropped.
    async fn watch(&self, tenants: usize) -> anyhow::Result<JoinSet<()>> {
        let version = self.version().await?;
        let (told, mut seen) = mpsc::channel(WATCHERS);
        let mut watches = JoinSet::new();
        for _ in 0..WATCHERS {
            let request = self.get(&format!("watch=true&resourceVersion={version}"));
            let mut answer = request.send().await?.error_for_status()?;
            let told = told.clone();
            watches.spawn(async move {
                while let Ok(Some(chunk)) = answer.chunk().await {
                    for _ in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        // Once nobody counts any more, it is only read.
                        told.send(now()).await.unwrap_or(());
                    }
                }
            });
        }
        let (mut from_answer, mut from_request) = (Vec::new(), Vec::new());
        for number in 0..CHANGES {
            let began = now();
            self.change(&name(number % tenants), number).await?;
            let answered = now();
            let mut last = began;
            for _ in 0..WATCHERS {
                last = last.max(seen.recv().await.context("the watches have ended")?);
            }
            from_answer.push(last.saturating_duration_since(answered));
            from_request.push(last.saturating_duration_since(began));
        }
        for (what, mut times) in [("answer", from_answer), ("request", from_request)] {
            times.sort();
            let (median, worst) = (times[CHANGES / 2], times[CHANGES * 99 / 100]);
            println!(
                "  from a write's {what} to the last of {WATCHERS}: {median:?}, p99 {worst:?}"
            );
        }
        println!("  resident with {WATCHERS} watches: {} kB", self.resident()?);
        Ok(watches)
    }

    async fn version(&self) -> anyhow::Result<String> {
        let page: Value = self.get("limit=1").send().await?.error_for_status()?.json().await?;
        let version = page["metadata"]["resourceVersion"].as_str().context("no version")?;
        Ok(version.to_owned())
    }

    async fn change(&self, name: &str, number: usize) -> anyhow::Result<()> {
        let url = format!("{}{TENANTS}/{name}", self.url);
        let labels = json!({ "metadata": { "labels": { "turn": number.to_string() } } });
        let request = self.client.patch(url).bearer_auth(&self.token);
        let request = request.header("content-type", "application/merge-patch+json");
        request.body(labels.to_string()).send().await?.error_for_status()?;
        Ok(())
    }

    /// The process's resident memory in kB.
    fn resident(&self) -> anyhow::Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most that was resident, in kB.
    fn peak(&self) -> anyhow::Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no figure")?;
        Ok(number.trim().parse()?)
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures with the machine's own clock")]
fn now() -> Instant {
    Instant::now()
}
