//! What a client and the agent inside a machine say to each other: bytes and state, no sockets.
//!
//! ```text
//!   client                                                     agent
//!     │  QUIC, TLS 1.3, ALPN vaultctl/1                          │ a key of its own, new per boot
//!     │──────────────────────────── handshake ──────────────────▶│
//!     │  first bidirectional stream: control                     │
//!     │── Hello ────────────────────────────────────────────────▶│
//!     │                                    asks Fly for a token whose audience is this connection
//!     │◀─────────────────────────────────────────────── Evidence │
//!     │  checks it: which machine, which version, this very connection
//!     │── HealthRequest ───(as often as wanted, up to a cap)────▶│
//!     │◀───────────────────────────────────────────────── Health │
//!     │── Proof ────────── (a MAC over this connection) ────────▶│
//!     │◀─────────────────────────────────────── Ready or Refused │
//!     │                                                          │
//!     │  one bidirectional stream per command                    │
//!     │── Exec ─────────────────────────────────────────────────▶│
//!     │◀───────────────────────────────────── Started or Failed  │
//!     │── Signal, Resize ───────────────────────────────────────▶│
//!     │◀──────── Exit (after both outputs have ended) ───────────│
//!     │  one one-way stream per channel: an Attach frame, then raw bytes
//!     │── standard input ───────────────────────────────────────▶│
//!     │◀──────────────────────── standard output, standard error │
//!     │                                                          │
//!     │  one bidirectional stream per forwarded connection       │
//!     │── Dial ─────────────────────────────────────────────────▶│ connects, inside the machine
//!     │◀─────────────────────────────────── Dialed or DialFailed │
//!     │◀─────────────── then raw bytes, both ways ──────────────▶│
//!     │                                                          │
//!     │  one bidirectional stream per copy of files              │
//!     │── CopyRequest ──────────────────────────────────────────▶│
//!     │◀── then entries and raw bytes, from whoever sends them ─▶│
//! ```
//!
//! A channel is a QUIC stream of its own, so that the streams' own words keep their meaning for
//! pipes: the end of the stream is the end of the file, `STOP_SENDING` is a broken pipe, and a
//! reader that is slow on one channel does not hold up the others, or a signal. Those of a forwarded
//! connection mean what they do for sockets: the end of a direction is a half-close (FIN), a reset is
//! an abort (RST), and `STOP_SENDING` is a reader that has left.
//!
//! The secret is never sent. Each side computes with a value that only the two ends of this one
//! TLS connection can know (the exporter, RFC 8446 §7.5), so nothing that is captured or relayed is
//! of use on another connection.
//!
//! Tags, fields and codes are never used again for something else. A new version that an old peer
//! cannot read gets a new ALPN name; what an old peer may skip is a new field of a message.

// Bytes.
pub mod code;
pub mod frame;
pub mod message;

// Who is who.
pub mod binding;
pub mod key;

// What may be said when.
pub mod handshake;

// What is written down.
pub mod audit;

/// The name and version of the protocol in TLS (RFC 7301).
pub const ALPN: &[u8] = b"vaultctl/1";

/// The UDP port of an agent that is not told another one.
pub const DEFAULT_PORT: u16 = 8443;

/// The TLS server name that clients ask for. It names nothing: a machine is known by its evidence.
pub const SERVER_NAME: &str = "agent.vaultctl";

/// The app secret, and so the environment variable of the machine, that holds the tenant's secret.
pub const SECRET_VARIABLE: &str = "VAULT_TENANT_SECRET";
