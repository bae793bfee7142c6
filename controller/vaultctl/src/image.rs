//! Images as OCI layouts (OCI Image Layout Specification): folders of blobs, each named by its digest.
//!
//! ```text
//!   oci-layout                                              says that it is one
//!   index.json ─▶ (index ─▶) manifest ─┬─▶ configuration    blobs/sha256/HEX
//!                                      └─▶ layer, layer …   blobs/sha256/HEX
//!
//!   layout ─▶ reads one: chooses an image, believes nothing but digests ─▶ vault_rootfs::Layers
//!   agent  ─▶ writes one around the static agent
//! ```

mod agent;
mod digest;
mod documents;
mod layout;
mod limits;

pub(crate) use agent::{AgentImage, AgentImageError};
pub(crate) use digest::Digest;
pub(crate) use documents::Platform;
pub(crate) use layout::{Image, Layer, Layout, LayoutError};
