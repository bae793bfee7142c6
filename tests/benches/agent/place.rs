//! Where a machine's agent is, and what it has to prove.

use vault_client::protocol::key::ProofKey;
use vault_client::{ExpectedIdentity, IssuerKeys, Target};
use vault_tests::client::TENANTS;
use vault_tests::world::World;

use serde_json::Value;

/// What a client is told by the controller.
pub(crate) struct Place {
    pub(crate) target: Target,
    pub(crate) keys: IssuerKeys,
    pub(crate) proof: ProofKey,
}

/// Asks the controller about the machine of `acme`.
pub(crate) async fn place(world: &World) -> anyhow::Result<Place> {
    let request = serde_json::json!({ "apiVersion": "vaultctl.dev/v1", "kind": "ConnectRequest" });
    let path = format!("{TENANTS}/acme/connect");
    let answer = world.client()?.send(reqwest::Method::POST, &path, Some(&request)).await?;
    let status = &answer.expect(201)["status"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let evidence = &status["evidence"];
    let issuer = text(&evidence["issuer"]);
    let keys = match &evidence["keys"] {
        // The controller reads them beside its work; whoever is first reads them too.
        Value::Null => IssuerKeys::new(),
        keys => IssuerKeys::seeded(&issuer, keys, seconds())?,
    };
    let identity = ExpectedIdentity {
        issuer,
        org_name: text(&evidence["orgName"]),
        org_id: evidence["orgId"].as_str().map(str::to_owned),
        app_name: text(&evidence["appName"]),
        app_id: evidence["appId"].as_str().map(str::to_owned),
        machine_id: text(&evidence["machineId"]),
        machine_versions: vec![text(&evidence["machineVersions"][0])],
        image_digests: Vec::new(),
    };
    let address = text(&status["address"]).parse()?;
    let proof = ProofKey::read(&text(&status["credential"]["key"]))?;
    Ok(Place { target: Target { address, identity }, keys, proof })
}

/// Unix seconds.
pub(crate) fn seconds() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}
