//! The fixture of the end-to-end stories: the real system in a temporary folder.
//!
//! ```text
//!   test ─┬─ files ──────▶ FOLDER/manifests ─▶ vault-controller (child process) ─┐ http
//!         ├─ vaultctl ───▶ (child process) ──https──▲                            ▼
//!         ├─ Client ──────────────────────────https─┘      Emulator (in process, hooks count)
//!         ├─ crash ──────▶ SIGKILL from a hook, at a chosen answer          │
//!         ├─ proxy ──────▶ (if asked for) between the two: loses answers    │
//!         └─ processes ──▶ /proc ◀── machines as processes ◀────────────────┘
//! ```
//!
//! A [`world::World`] that is dropped without [`world::World::finish`] keeps its folder with all
//! logs and prints where it is.

pub mod binaries;
pub mod eventually;
pub mod program;

pub mod world;

pub mod client;
pub mod dev;
pub mod inventory;
pub mod manifests;
pub mod processes;
pub mod proxy;
