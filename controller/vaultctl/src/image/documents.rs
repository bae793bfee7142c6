//! The documents of an image, as far as we read and write them (OCI Image Specification 1.1), and what
//! their media types mean. Docker's own media types stand for the same documents.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use vault_rootfs::Compression;

use super::digest::Digest;

/// Of a manifest that we write.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Of an index that we write.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Of a configuration that we write.
pub(super) const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
/// Of a layer that we write.
pub(super) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What a media type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Index,
    Manifest,
    Configuration,
    Layer(Compression),
}

impl Meaning {
    /// Nothing, if it is none that belongs to an image which can be unpacked.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        Some(match media_type {
            INDEX | "application/vnd.docker.distribution.manifest.list.v2+json" => Self::Index,
            MANIFEST | "application/vnd.docker.distribution.manifest.v2+json" => Self::Manifest,
            CONFIGURATION | "application/vnd.docker.container.image.v1+json" => Self::Configuration,
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => Self::Layer(Compression::None),
            LAYER_GZIP | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
                Self::Layer(Compression::Gzip)
            }
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Self::Layer(Compression::Zstd),
            _ => return None,
        })
    }
}

/// What machine a program is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    /// The processor, in Go's words.
    pub(crate) architecture: String,
    /// The operating system, in Go's words.
    pub(crate) os: String,
    /// The processor's variant, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

impl Platform {
    /// Whether an image for `self` is one that was asked for as `wanted`.
    pub(super) fn is(&self, wanted: &Self) -> bool {
        (&self.os, &self.architecture) == (&wanted.os, &wanted.architecture)
            && (wanted.variant.is_none() || self.variant == wanted.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None)
                if !os.is_empty() && !architecture.is_empty() =>
            {
                Ok(Self { architecture, os, variant })
            }
            _ => Err("a platform is OS/ARCHITECTURE, such as linux/amd64".to_owned()),
        }
    }
}

/// Where a blob is and what it has to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
}

/// `index.json`, and indexes beneath it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    pub(super) manifests: Vec<Descriptor>,
}

/// One image.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) media_type: Option<String>,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// What an image is for; we read no more of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Configuration {
    #[serde(flatten)]
    pub(super) platform: Platform,
    #[serde(default)]
    pub(super) config: Start,
    pub(super) rootfs: Differences,
}

/// What is started.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Start {
    #[serde(default)]
    pub(super) entrypoint: Option<Vec<String>>,
}

/// The layers before they were compressed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Differences {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) diff_ids: Vec<Digest>,
}

/// The file `oci-layout`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Marker {
    pub(super) image_layout_version: String,
}

impl Marker {
    /// The only version there is; it is the same in 1.0 and 1.1 of the specification.
    pub(super) const VERSION: &str = "1.0.0";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_and_compared() {
        let platform = |text: &str| text.parse::<Platform>();
        let arm = platform("linux/arm64").expect("a platform");
        assert_eq!(platform("linux/arm64/v8").expect("a platform").to_string(), "linux/arm64/v8");
        assert!(platform("linux/arm64/v8").is_ok_and(|found| found.is(&arm)));
        assert!(!arm.is(&platform("linux/arm64/v8").expect("a platform")));
        assert!(!arm.is(&platform("linux/amd64").expect("a platform")));
        for bad in ["", "linux", "linux/", "/amd64", "a/b/c/d"] {
            assert!(platform(bad).is_err(), "{bad}");
        }
    }
}
