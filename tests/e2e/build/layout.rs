//! OCI image layouts as the stories need them, sound or not; written without the code that reads them.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

/// When everything in a layer was changed, unless it says otherwise.
pub(super) const TIME: i64 = 1_700_000_000;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// A layer in the making.
pub(super) struct Layer {
    compression: Compression,
    archive: Vec<u8>,
}

impl Layer {
    pub(super) fn new(compression: Compression) -> Self {
        Self { compression, archive: Vec::new() }
    }

    /// An entry whose name is taken as it is: `tar` would refuse the bad ones.
    fn entry(
        mut self,
        kind: EntryType,
        name: &str,
        target: &str,
        content: &[u8],
        mode: u32,
        time: u64,
    ) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(time);
        header.set_cksum();
        self.archive.extend_from_slice(header.as_bytes());
        self.archive.extend_from_slice(content);
        self.archive.resize(self.archive.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, name: &str, content: &str, mode: u32) -> Self {
        self.large(name, content.as_bytes(), mode)
    }

    pub(super) fn large(self, name: &str, content: &[u8], mode: u32) -> Self {
        self.entry(EntryType::Regular, name, "", content, mode, TIME.unsigned_abs())
    }

    pub(super) fn folder(self, name: &str, mode: u32, time: u64) -> Self {
        self.entry(EntryType::Directory, name, "", b"", mode, time)
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, b"", 0o777, TIME.unsigned_abs())
    }

    pub(super) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, b"", 0o644, TIME.unsigned_abs())
    }

    /// The archive, whole, and the same compressed.
    fn bytes(&self) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
        let archive = [&self.archive[..], &[0; 1024]].concat();
        let compressed = match self.compression {
            Compression::None => archive.clone(),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&archive)?;
                encoder.finish()?
            }
            Compression::Zstd => zstd::encode_all(&archive[..], 1)?,
        };
        Ok((archive, compressed))
    }

    fn media_type(&self) -> &'static str {
        match self.compression {
            Compression::None => "application/vnd.oci.image.layer.v1.tar",
            Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// A layout in the making. What it makes are descriptors, to be changed by whoever wants to.
pub(super) struct Layout {
    folder: PathBuf,
}

impl Layout {
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(Self { folder: folder.to_owned() })
    }

    pub(super) fn blob(&self, media_type: &str, bytes: &[u8]) -> anyhow::Result<Value> {
        let digest = digest(bytes);
        fs::write(self.path(&digest), bytes)?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
    }

    pub(super) fn document(&self, media_type: &str, value: &Value) -> anyhow::Result<Value> {
        self.blob(media_type, &serde_json::to_vec(value)?)
    }

    /// Where a blob lies.
    pub(super) fn path(&self, digest: &str) -> PathBuf {
        path(&self.folder, digest)
    }

    /// An image with these layers.
    pub(super) fn image(&mut self, platform: &Value, layers: &[Layer]) -> anyhow::Result<Value> {
        let (mut descriptors, mut differences) = (Vec::new(), Vec::new());
        for layer in layers {
            let (archive, compressed) = layer.bytes()?;
            differences.push(digest(&archive));
            descriptors.push(self.blob(layer.media_type(), &compressed)?);
        }
        self.image_of(platform, &descriptors, &differences)
    }

    /// An image with layers as they are described.
    pub(super) fn image_of(
        &self,
        platform: &Value,
        layers: &[Value],
        differences: &[String],
    ) -> anyhow::Result<Value> {
        let mut config = platform.clone();
        config["config"] = json!({ "Env": ["PATH=/usr/bin"] });
        config["rootfs"] = json!({ "type": "layers", "diff_ids": differences });
        let config = self.document(CONFIGURATION, &config)?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        let mut descriptor = self.document(MANIFEST, &manifest)?;
        descriptor["platform"] = platform.clone();
        Ok(descriptor)
    }

    pub(super) fn index(&self, manifests: &[Value]) -> anyhow::Result<Value> {
        self.document(INDEX, &index(manifests))
    }

    /// Writes `index.json`.
    pub(super) fn finish(&self, manifests: &[Value]) -> anyhow::Result<()> {
        fs::write(self.folder.join("index.json"), serde_json::to_vec(&index(manifests))?)?;
        Ok(())
    }
}

fn index(manifests: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })
}

/// What buildx puts beside each image. Its blob is not there: it is not to be looked at.
pub(super) fn attestation() -> Value {
    json!({
        "mediaType": MANIFEST,
        "digest": digest(b"an attestation"),
        "size": 14,
        "platform": { "os": "unknown", "architecture": "unknown" },
        "annotations": { "vnd.docker.reference.type": "attestation-manifest" },
    })
}

pub(super) fn platform(os: &str, architecture: &str, variant: Option<&str>) -> Value {
    let mut platform = json!({ "os": os, "architecture": architecture });
    if let Some(variant) = variant {
        platform["variant"] = variant.into();
    }
    platform
}

pub(super) fn amd64() -> Value {
    platform("linux", "amd64", None)
}

pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)))
}

fn path(folder: &Path, digest: &str) -> PathBuf {
    folder.join("blobs").join(digest.replace(':', "/"))
}

/// The bytes that a descriptor leads to, which have to be those that it describes.
pub(super) fn blob(folder: &Path, descriptor: &Value) -> anyhow::Result<Vec<u8>> {
    let expected = descriptor["digest"].as_str().unwrap_or_default();
    let bytes = fs::read(path(folder, expected))?;
    anyhow::ensure!(digest(&bytes) == expected, "{descriptor} leads to {}", digest(&bytes));
    anyhow::ensure!(descriptor["size"] == bytes.len(), "{descriptor}: {} bytes", bytes.len());
    Ok(bytes)
}

pub(super) fn gunzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain)?;
    Ok(plain)
}
