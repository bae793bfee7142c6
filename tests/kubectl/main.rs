//! Stock Kubernetes clients against the real controller: what people type, what they see, and what
//! the clients asked the controller for meanwhile.
//!
//! ```text
//!   story ─▶ kubectl -v=6 ──https──▶ vault-controller ──▶ emulator (states by the clock)
//!              │ stdout, exit code                 ▲
//!              └ stderr: its request log           └── dynamic_client.py (package `kubernetes`)
//! ```
//!
//! By default the oldest and the newest kubectl are run that are found among [`MINORS`];
//! `VAULT_KUBECTL=all` runs every one. A machine without the client skips loudly.

mod client;
mod clients;
mod python;
mod story;
mod transcript;

use client::{Kubectl, MINORS};
use story::Story;

/// One story with each kubectl, compared with the transcript that is kept for its version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_kubectl_works_as_against_kubernetes() -> anyhow::Result<()> {
    let found = Kubectl::installed();
    if found.is_empty() {
        clients::skipped(&format!("kubectl: none of 1.{MINORS:?} is installed"));
        return Ok(());
    }
    for kubectl in found {
        let name = format!("kubectl_1.{}", kubectl.minor);
        let transcript = Story::start(kubectl).await?.tell().await?;
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, transcript);
        });
    }
    Ok(())
}
