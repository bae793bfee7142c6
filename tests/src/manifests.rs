//! Manifests for stories, as text.

/// One tenant with one machine that runs `script` with `/bin/sh`, and a volume at `/data`.
///
/// The name of the tenant is an argument of the machine's process, as [`marker`] says, so that it
/// can be found in `/proc`.
#[must_use]
pub fn tenant(name: &str, script: &str) -> String {
    let marker = marker(name);
    format!(
        "apiVersion: vaultctl.dev/v1
kind: Tenant
metadata: {{ name: {name} }}
spec:
  machines:
    - name: box
      region: ord
      config:
        image: debian:bookworm-slim
        guest: {{ cpu_kind: shared, cpus: 1, memory_mb: 256 }}
        mounts: [{{ volume: data, path: /data }}]
        init:
          exec:
            - /bin/sh
            - -c
            - |
{script}
            - {marker}
  volumes:
    - {{ name: data, sizeGb: 1, deletionPolicy: Retain }}
",
        script = indented(script),
    )
}

/// One tenant whose machine does nothing.
#[must_use]
pub fn idle(name: &str) -> String {
    tenant(name, "while :; do sleep 1000; done")
}

/// One tenant whose machines, as many as given, run the agent.
#[must_use]
pub fn agent(name: &str, count: u32) -> String {
    format!(
        "apiVersion: vaultctl.dev/v1
kind: Tenant
metadata: {{ name: {name} }}
spec:
  machines:
    - name: box
      region: ord
      count: {count}
      config:
        image: registry.fly.io/vault-tenants/agent:1
        guest: {{ cpu_kind: shared, cpus: 1, memory_mb: 256 }}
"
    )
}

/// One tenant with one machine that runs the agent and has a volume at `/data`.
#[must_use]
pub fn agent_with_volume(name: &str) -> String {
    let agent = agent(name, 1);
    format!(
        "{agent}        mounts: [{{ volume: data, path: /data }}]
  volumes: [ {{ name: data, sizeGb: 1, deletionPolicy: Delete }} ]
"
    )
}

/// The argument by which a tenant's process is found.
#[must_use]
pub fn marker(tenant: &str) -> String {
    // The id of this process keeps test runs side by side apart.
    format!("vault-test-{}-{tenant}", std::process::id())
}

fn indented(script: &str) -> String {
    let lines: Vec<String> = script.lines().map(|line| format!("              {line}")).collect();
    lines.join("\n")
}
