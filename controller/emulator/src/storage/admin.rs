//! The keys that may do everything in an organization, and the files that say what they are.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use serde_json::json;

use super::REGION;
use crate::emulator::DEFAULT_ORG;
use crate::engine::Engine;
use crate::world::SecretValue;
use crate::world::storage::NewAccessKey;

/// Where storage is, and a key that may do everything in one organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageAccess {
    /// The base of all URLs of S3 and of IAM, without a slash at the end.
    pub endpoint: String,
    /// `tid_…`
    pub access_key_id: String,
    /// `tsec_…`
    pub secret_access_key: SecretValue,
    /// The region to sign for.
    pub region: &'static str,
}

/// Random bytes of an access key's id: as many as make a collision out of the question.
const ID_BYTES: usize = 15;
/// Random bytes of a secret.
const SECRET_BYTES: usize = 30;

/// Sees to an admin key for each organization, and writes `storage.json` for the default one and
/// `storage/ORG.json` for each other, all with mode 0600.
pub(super) fn prepare(
    engine: &Arc<Engine>,
    data_dir: &Path,
    address: SocketAddr,
    orgs: impl IntoIterator<Item = String>,
) -> anyhow::Result<BTreeMap<String, StorageAccess>> {
    let endpoint = format!("http://{}", reachable(address));
    let folder = data_dir.join("storage");
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut access = BTreeMap::new();
    for org in orgs {
        let (id, secret) = draw()?;
        let key = engine.change(|world, now| {
            if let Some(known) = world.admin_key(&org) {
                return Ok(Ok(known.clone()));
            }
            let new = NewAccessKey { id, name: None, org: org.clone(), secret, admin: true };
            Ok(world.add_access_key(now, new))
        })??;
        let one = StorageAccess {
            endpoint: endpoint.clone(),
            access_key_id: key.id,
            secret_access_key: key.secret,
            region: REGION,
        };
        let path = match org.as_str() {
            DEFAULT_ORG => data_dir.join("storage.json"),
            other => folder.join(format!("{other}.json")),
        };
        write(&path, &one).with_context(|| format!("writing {}", path.display()))?;
        access.insert(org, one);
    }
    Ok(access)
}

/// Where storage was when this folder was last used, if that is known.
pub(super) fn last_address(data_dir: &Path) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(data_dir.join("storage.json")).ok()?;
    let written: serde_json::Value = serde_json::from_str(&text).ok()?;
    written["endpoint"].as_str()?.strip_prefix("http://")?.parse().ok()
}

/// A new key's id and secret.
///
/// # Errors
/// If the host has no randomness.
pub(super) fn draw() -> anyhow::Result<(String, SecretValue)> {
    let mut bytes = [0; ID_BYTES + SECRET_BYTES];
    getrandom::fill(&mut bytes).context("drawing an access key")?;
    let (id, secret) = bytes.split_at(ID_BYTES);
    let text = |bytes: &[u8]| data_encoding::BASE32_NOPAD.encode(bytes);
    Ok((format!("tid_{}", text(id)), SecretValue::new(format!("tsec_{}", text(secret)))))
}

/// Whoever listens everywhere is found at the loopback address, by machines too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Written beside and renamed, so that whoever reads it finds the whole of it.
fn write(path: &Path, access: &StorageAccess) -> std::io::Result<()> {
    let body = json!({
        "endpoint": access.endpoint,
        "accessKeyId": access.access_key_id,
        "secretAccessKey": access.secret_access_key.expose(),
        "region": access.region,
    });
    let temporary = path.with_extension("json.new");
    if let Err(error) = std::fs::remove_file(&temporary)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create_new(true).write(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{body}")?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}
