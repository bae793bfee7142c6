//! What people do with kubectl, from the first look to the last delete.

use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;
use vault_tests::eventually::DEADLINE;
use vault_tests::world::{World, WorldOptions};

use crate::client::{Kubectl, Ran, run};
use crate::transcript::Transcript;

/// Names are derived from it, so that they are the same in each run.
const MASTER_KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";

const CLASS: &str = r#"apiVersion: vaultctl.dev/v1
kind: TenantClass
metadata: { name: dev-box }
spec:
  machines:
    - name: box
      region: ord
      config: { image: "debian:12", guest: { cpu_kind: shared, cpus: 1, memory_mb: 256 } }
"#;

const ACME: &str = r#"apiVersion: vaultctl.dev/v1
kind: Tenant
metadata: { name: acme, labels: { tier: pro } }
spec: { class: dev-box }
"#;

const UMBRA: &str = r#"apiVersion: vaultctl.dev/v1
kind: Tenant
metadata: { name: umbra, labels: { tier: free } }
spec: { class: dev-box }
"#;

/// A kubectl, a system of its own, and what was typed so far.
pub(crate) struct Story {
    kubectl: Kubectl,
    world: World,
    transcript: Transcript,
}

impl Story {
    pub(crate) async fn start(kubectl: Kubectl) -> anyhow::Result<Self> {
        let options =
            WorldOptions { master_key: Some(MASTER_KEY.into()), ..WorldOptions::default() };
        let world = World::start(options).await?;
        Ok(Self { kubectl, world, transcript: Transcript::default() })
    }

    pub(crate) async fn tell(mut self) -> anyhow::Result<String> {
        self.discovers().await?;
        self.applies().await?;
        self.reads().await?;
        self.watches().await?;
        self.rehearses().await?;
        self.waits().await?;
        self.explains().await?;
        self.changes().await?;
        self.is_refused().await?;
        self.deletes().await?;
        self.world.finish().await?;
        Ok(self.transcript.into_text())
    }

    async fn discovers(&mut self) -> anyhow::Result<()> {
        let ready = self.runs(0, &["get", "--raw", "/readyz"]).await?;
        ensure!(ready.stdout == "ok", "{ready:?}");
        self.runs(0, &["api-resources", "--api-group=vaultctl.dev"]).await?;
        self.runs(0, &["api-versions"]).await?;
        self.runs(0, &["get", "tenants"]).await?;
        self.runs(0, &["get", "namespaces"]).await?;
        Ok(())
    }

    async fn applies(&mut self) -> anyhow::Result<()> {
        let both = format!("{CLASS}---\n{ACME}");
        self.runs_with(0, &["apply", "-f", "-"], &both).await?;
        let again = self.runs_with(0, &["apply", "-f", "-"], &both).await?;
        ensure!(again.stdout.matches(" unchanged").count() == 2, "{again:?}");
        self.runs_with(0, &["create", "-f", "-"], UMBRA).await?;
        self.runs(0, &["wait", "--for=condition=Ready", "tenant/acme", "tenant/umbra"]).await?;
        self.world.all_ready(2).await
    }

    async fn reads(&mut self) -> anyhow::Result<()> {
        for arguments in [
            &["get", "tenants"][..],
            &["get", "tenants", "-o", "wide"],
            &["get", "tenants", "-o", "name"],
            &["get", "tenant", "acme", "-o", "yaml"],
            &["get", "tenants", "-o", "jsonpath={.items[*].metadata.name}"],
            &["get", "tenants", "-o", "go-template={{range .items}}{{.spec.class}} {{end}}"],
            &["get", "tenants", "-o", "custom-columns=NAME:.metadata.name,CLASS:.spec.class"],
            &["get", "tenants", "-l", "tier=pro"],
            &["get", "tenants", "-l", "tier in (free), tier != pro"],
            &["get", "tenants", "--field-selector", "metadata.name=umbra"],
            &["get", "tenants", "--show-labels"],
            &["get", "tenants", "--chunk-size=1"],
            &["get", "tenants", "--sort-by=.metadata.labels.tier"],
            &["get", "all"],
            &["get", "tenantclasses"],
            &["get", "tenant/acme", "tenantclass/dev-box"],
            &["describe", "tenant", "acme"],
            &["get", "events", "--field-selector=involvedObject.name=acme"],
            &["events", "--for=tenant/acme"],
        ] {
            self.runs(0, arguments).await?;
        }
        let whole = self.runs(0, &["get", "tenants", "-o", "json"]).await?;
        let whole: Value = serde_json::from_str(&whole.stdout)?;
        ensure!(whole["items"][0]["status"]["conditions"][0]["type"] == "Ready", "{whole:#}");
        self.runs(1, &["get", "tenant", "nobody"]).await?;
        self.runs(1, &["get", "tenants", "--field-selector", "spec.class=x"]).await?;
        Ok(())
    }

    /// A watch shows what is there, and each change that somebody else makes.
    async fn watches(&mut self) -> anyhow::Result<()> {
        let arguments = ["get", "tenants", "-w", "--show-labels", "--output-watch-events"];
        let mut command = self.kubectl.command(&self.kubeconfig(), &arguments);
        command.stderr(Stdio::null());
        let mut watch = command.spawn()?;
        let output = watch.stdout.take().context("its output")?;
        let mut lines = BufReader::new(output).lines();
        for wanted in ["EVENT", "ADDED", "ADDED"] {
            let line = timeout(DEADLINE, lines.next_line()).await??.context("the watch ended")?;
            ensure!(line.starts_with(wanted), "{wanted}: {line}");
        }
        self.runs(0, &["label", "tenant", "acme", "seen=yes"]).await?;
        let line = timeout(DEADLINE, lines.next_line()).await??.context("the watch ended")?;
        ensure!(line.starts_with("MODIFIED") && line.contains("seen=yes"), "{line}");
        watch.kill().await?;
        self.runs(0, &["label", "tenant", "acme", "seen-"]).await?;
        Ok(())
    }

    /// Dry runs and diffs show what would be, and change nothing.
    async fn rehearses(&mut self) -> anyhow::Result<()> {
        let before = self.world.tenant("acme").await?;
        let changed = ACME.replace("tier: pro", "tier: team");
        self.runs_with(0, &["apply", "--dry-run=server", "-f", "-"], &changed).await?;
        let diff = self.runs_with(1, &["diff", "-f", "-"], &changed).await?;
        let changes: Vec<&str> = diff
            .stdout
            .lines()
            .filter(|line| line.starts_with("+ ") || line.starts_with("- "))
            .map(str::trim_end)
            .collect();
        // A reply that numbered the rehearsal would show its generation and version here too.
        ensure!(changes == ["-    tier: pro", "+    tier: team"], "{diff:?}");
        self.runs_with(0, &["diff", "-f", "-"], ACME).await?;
        let new = ACME.replace("name: acme", "name: cyberdyne");
        self.runs_with(0, &["create", "--dry-run=server", "-f", "-"], &new).await?;
        self.runs(1, &["get", "tenant", "cyberdyne"]).await?;
        self.runs(0, &["delete", "tenant", "acme", "--dry-run=server"]).await?;
        let after = self.world.tenant("acme").await?;
        ensure!(after["metadata"] == before["metadata"], "{after:#}");
        Ok(())
    }

    async fn waits(&mut self) -> anyhow::Result<()> {
        self.runs(0, &["wait", "--for=jsonpath={.spec.class}=dev-box", "tenant/acme"]).await?;
        self.runs(1, &["wait", "--for=condition=Nonsense", "--timeout=1s", "tenant/acme"]).await?;
        self.runs(0, &["wait", "--for=delete", "tenant/nobody"]).await?;
        // Since 1.31 kubectl can wait for what does not exist yet.
        if self.kubectl.minor >= 31 {
            let mut command = self.kubectl.command(
                &self.kubeconfig(),
                &["wait", "--for=create", "--timeout=60s", "tenant/initech"],
            );
            let waiting = command.spawn()?;
            let new = ACME.replace("name: acme", "name: initech");
            self.runs_with(0, &["apply", "-f", "-"], &new).await?;
            let waited = waiting.wait_with_output().await?;
            let said = String::from_utf8_lossy(&waited.stdout).into_owned();
            ensure!(waited.status.success() && said.contains("condition met"), "{waited:?}");
            self.runs(0, &["delete", "tenant", "initech", "--timeout=60s"]).await?;
        }
        Ok(())
    }

    async fn explains(&mut self) -> anyhow::Result<()> {
        let whole = self.runs(0, &["explain", "tenants", "--recursive"]).await?;
        for field in ["machines", "sizeGb", "conditions", "apiVersion"] {
            ensure!(whole.stdout.contains(field), "{field}: {}", whole.stdout);
        }
        self.runs(0, &["explain", "tenantclasses.spec.volumes.sizeGb"]).await?;
        Ok(())
    }

    async fn changes(&mut self) -> anyhow::Result<()> {
        self.runs(0, &["annotate", "tenant", "acme", "owner=ada"]).await?;
        let merge = r#"{"metadata":{"labels":{"tier":"team"}}}"#;
        self.runs(0, &["patch", "tenant", "acme", "--type=merge", "-p", merge]).await?;
        let exact = r#"[{"op":"replace","path":"/metadata/labels/tier","value":"pro"}]"#;
        self.runs(0, &["patch", "tenant", "acme", "--type=json", "-p", exact]).await?;
        self.runs(1, &["patch", "tenant", "acme", "-p", merge]).await?;
        let editor = self.kubectl.editor("tier: pro", "tier: edited")?;
        let arguments = ["edit", "tenant", "acme"];
        let mut command = self.kubectl.command(&self.kubeconfig(), &arguments);
        command.env("KUBE_EDITOR", &editor);
        let edited = run(command, None).await?;
        self.took(0, &arguments, &edited)?;
        let now = self.world.tenant("acme").await?;
        ensure!(now["metadata"]["labels"]["tier"] == "edited", "{now:#}");
        let replaced = ACME.replace("tier: pro", "tier: replaced");
        self.runs_with(0, &["replace", "-f", "-"], &replaced).await?;
        let now = self.world.tenant("acme").await?;
        ensure!(now["metadata"]["labels"]["tier"] == "replaced", "{now:#}");
        ensure!(now["metadata"]["annotations"]["owner"].is_null(), "{now:#}");
        Ok(())
    }

    /// A stale update, an unknown field, an unknown class.
    async fn is_refused(&mut self) -> anyhow::Result<()> {
        let stale = self.world.tenant("acme").await?;
        self.runs(0, &["label", "tenant", "acme", "moved=on"]).await?;
        let refused = self.runs_with(1, &["replace", "-f", "-"], &stale.to_string()).await?;
        ensure!(refused.stderr.contains("the object has been modified"), "{refused:?}");
        let unknown = ACME.replace("{ class: dev-box }", "{ class: dev-box, regionn: ord }");
        let refused = self.runs_with(1, &["apply", "-f", "-"], &unknown).await?;
        ensure!(refused.stderr.contains("unknown field \"spec.regionn\""), "{refused:?}");
        let classless = ACME.replace("class: dev-box", "class: dev-bax");
        let refused = self.runs_with(1, &["apply", "-f", "-"], &classless).await?;
        ensure!(refused.stderr.contains("dev-box"), "{refused:?}");
        self.runs(1, &["delete", "tenantclass", "dev-box"]).await?;
        Ok(())
    }

    /// A delete ends when the machine is gone.
    async fn deletes(&mut self) -> anyhow::Result<()> {
        ensure!(self.world.lists().await?.machines.len() == 2, "one machine each");
        self.runs(0, &["delete", "tenant", "acme", "--timeout=60s"]).await?;
        ensure!(self.world.lists().await?.machines.len() == 1, "its machine is gone");
        self.runs(0, &["delete", "tenants", "-l", "tier=free", "--timeout=60s"]).await?;
        self.runs(0, &["delete", "tenantclass", "dev-box"]).await?;
        self.runs(1, &["delete", "tenant", "acme"]).await?;
        self.runs(0, &["delete", "tenant", "acme", "--ignore-not-found"]).await?;
        Ok(())
    }

    fn kubeconfig(&self) -> std::path::PathBuf {
        self.world.path("controller/kubeconfig")
    }

    async fn runs(&mut self, code: i32, arguments: &[&str]) -> anyhow::Result<Ran> {
        let command = self.kubectl.command(&self.kubeconfig(), arguments);
        let ran = run(command, None).await?;
        self.took(code, arguments, &ran)?;
        Ok(ran)
    }

    async fn runs_with(
        &mut self,
        code: i32,
        arguments: &[&str],
        input: &str,
    ) -> anyhow::Result<Ran> {
        let command = self.kubectl.command(&self.kubeconfig(), arguments);
        let ran = run(command, Some(input)).await?;
        self.took(code, arguments, &ran)?;
        Ok(ran)
    }

    fn took(&mut self, code: i32, arguments: &[&str], ran: &Ran) -> anyhow::Result<()> {
        let version = self.kubectl.minor;
        ensure!(ran.code == Some(code), "1.{version}: kubectl {arguments:?}: {ran:#?}");
        self.transcript.add(arguments, ran);
        Ok(())
    }
}
