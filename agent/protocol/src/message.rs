//! The messages, their tags and their fields.
//!
//! A message's payload is CBOR (RFC 8949): an array of its fields by number. A field that an older
//! peer does not know stands at the end and is skipped by it; a field that is missing reads as
//! `None`. So a message can grow without a new version of the protocol, and never needs to shrink.
//!
//! Texts that the operating system gives or takes (arguments, environment, folders) are bytes:
//! Linux does not promise UTF-8.

use std::fmt;

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use thiserror::Error;

use crate::frame::Frame;

/// Why a frame is not a message.
#[derive(Debug, Error)]
pub enum MessageError {
    /// A tag that this version does not know.
    #[error("a frame with the unknown tag {0:#04x}")]
    UnknownTag(u8),
    /// The payload is not the message's.
    #[error("a malformed {name} message")]
    Malformed {
        /// Of which message.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: minicbor::decode::Error,
    },
    /// There are bytes after the message.
    #[error("bytes after a {0} message, in the same frame")]
    TrailingBytes(&'static str),
}

/// Reasons for programs: a number each, never used again. One that only a later version knows is
/// read all the same, because the message beside it is for people.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$reason_doc:meta])* $number:literal $reason:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$reason_doc])* $reason,)*
            /// A number that this version does not know.
            Other(u8),
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                encoder: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                encoder.u8(match self {
                    $(Self::$reason => $number,)*
                    Self::Other(number) => *number,
                })?;
                Ok(())
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(
                decoder: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                Ok(match decoder.u8()? {
                    $($number => Self::$reason,)*
                    number => Self::Other(number),
                })
            }
        }
    };
}

pub use self::audit_log::{AuditLog, AuditLogRequest};
pub use self::dial::{Destination, Dial, DialFailed, DialFailedReason, Dialed};
pub use self::files::{
    CopyDone, CopyEntry, CopyFailed, CopyFolderEnd, CopyFrom, CopyOptions, CopyPartial,
    CopyRequest, CopySent, Direction, EntryKind,
};
pub use self::provision::{
    Provision, ProvisionFailed, ProvisionFailedReason, ProvisionProgress, Provisioned, SendFrom,
};
pub use self::sessions::{
    Detach, Detached, Keep, Resume, Resumed, SessionFailed, SessionSignal, SessionSignalled,
    SessionState, Sessions, SessionsRequest, TAKEN_EVERY_BYTES, Taken,
};

mod audit_log;
mod dial;
mod files;
mod provision;
mod sessions;

/// The client begins.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// What the client is, and its version, for the agent's log: `vaultctl 0.1.0`.
    #[n(0)]
    pub software: String,
}

/// The agent says which machine it is.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Evidence {
    /// A token of Fly's OIDC issuer (a JWT) whose audience is [`crate::binding::audience`] of this
    /// connection.
    #[n(0)]
    pub token: String,
    /// What the agent is, and its version. A claim of the agent's, not of Fly's.
    #[n(1)]
    pub software: String,
}

/// How is the agent? May be asked once evidence has come, without proof.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HealthRequest {}

/// How the agent is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Health {
    /// The agent's version.
    #[n(0)]
    pub version: String,
    /// New with each start of the agent.
    #[n(1)]
    pub boot_id: ByteArray<16>,
    /// It serves commands.
    #[n(2)]
    pub ready: bool,
    /// Why not, if it does not.
    #[n(3)]
    pub message: Option<String>,
}

/// The client proves itself.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proof {
    /// What kind of proof; see [`scheme`].
    #[n(0)]
    pub scheme: u8,
    /// For [`scheme::HMAC_SHA256`]: [`crate::key::ProofKey::prove`] of this connection.
    #[n(1)]
    pub value: ByteVec,
}

/// The kinds of proof. Numbers are never used again.
pub mod scheme {
    /// An HMAC over this connection's exporter.
    pub const HMAC_SHA256: u8 = 1;
}

/// The proof was accepted: streams may be opened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ready {
    /// SHA-256 of the archive of the root filesystem that is in use; nothing, if there is none: commands
    /// run beside the agent then. An agent that knows no root filesystems says nothing, too.
    #[n(0)]
    pub root: Option<ByteArray<32>>,
}

/// The connection goes no further; the agent closes it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Refused {
    /// For programs.
    #[n(0)]
    pub reason: RefusedReason,
    /// For people.
    #[n(1)]
    pub message: String,
}

reasons! {
    /// Why a connection goes no further.
    RefusedReason {
        /// The proof was wrong. Nothing says in what.
        0 Proof,
        /// The platform gave the agent no token.
        1 NoEvidence,
        /// The agent cannot serve: it has no secret, for one. The message says why.
        2 NotReady,
    }
}

/// Run a command.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Exec {
    /// The program and its arguments. A program without a slash is looked for in `PATH`. Empty for the
    /// user's login shell.
    #[n(0)]
    pub arguments: Vec<ByteVec>,
    /// Variables to add to the machine's environment; they win.
    #[n(1)]
    pub environment: Vec<Variable>,
    /// Where to run it; the home folder if it is not given.
    #[n(2)]
    pub directory: Option<ByteVec>,
    /// A stream with standard input follows. Without one the command reads from `/dev/null`, or from a
    /// terminal on which nobody types.
    #[n(3)]
    pub stdin: bool,
    /// Give it a terminal: what it writes comes back on standard output alone, and its input is what is
    /// typed. Without one it gets three pipes.
    #[n(4)]
    pub terminal: Option<Terminal>,
    /// The name, or the number, of the user to run it as; the agent's own user if it is not given.
    #[n(5)]
    pub user: Option<String>,
    /// How long it may run, in milliseconds; then it is ended.
    #[n(6)]
    pub timeout_ms: Option<u64>,
    /// Keep it as a session, which outlives the connection. Without this it ends with the connection.
    #[n(7)]
    pub keep: Option<Keep>,
}

/// The terminal that a command is to have.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Terminal {
    /// What it understands: the value of `TERM`.
    #[n(0)]
    pub kind: ByteVec,
    /// How large it is.
    #[n(1)]
    pub size: Size,
}

/// How large a terminal is, in characters; 0 if that is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Size {
    /// Characters in a line.
    #[n(0)]
    pub columns: u16,
    /// Lines.
    #[n(1)]
    pub rows: u16,
}

/// The command's terminal has another size now. Without a terminal it says nothing.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Resize {
    /// Which.
    #[n(0)]
    pub size: Size,
}

/// An environment variable.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Variable {
    /// Neither empty, nor with `=` or a NUL byte.
    #[n(0)]
    pub name: ByteVec,
    /// Without a NUL byte.
    #[n(1)]
    pub value: ByteVec,
}

/// The command runs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Started {
    /// Its process id inside the machine.
    #[n(0)]
    pub process_id: u32,
    /// It is kept as a session. An agent that knows no sessions says nothing.
    #[n(1)]
    pub kept: Option<bool>,
}

/// The command does not run.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ExecFailed {
    /// For programs.
    #[n(0)]
    pub reason: ExecFailedReason,
    /// For people.
    #[n(1)]
    pub message: String,
}

reasons! {
    /// Why a command does not run.
    ExecFailedReason {
        /// There is no such program.
        0 NotFound,
        /// The program cannot be executed.
        1 NotExecutable,
        /// The folder to run it in cannot be entered.
        2 Directory,
        /// The request makes no sense: no program, a NUL byte in a text.
        3 Invalid,
        /// The machine has no room for one more process.
        4 Resources,
        /// The agent is ending.
        5 ShuttingDown,
        /// There is no such user, or the agent may not run anything as them.
        6 User,
        /// The machine has a root filesystem, and it is not booted.
        7 NotBooted,
    }
}

/// Send a signal to the command's process group.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Signal {
    /// The signal's number on Linux, 1 to 64.
    #[n(0)]
    pub number: u8,
}

/// The command has ended, and so have both its outputs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Exit {
    /// The exit code, if it ended by itself: 0 to 255.
    #[n(0)]
    pub code: Option<u8>,
    /// The number of the signal that ended it, on Linux, if one did.
    #[n(1)]
    pub signal: Option<u8>,
    /// It left a core dump.
    #[n(2)]
    pub core_dumped: bool,
    /// It had run for as long as it may, and was ended for that.
    #[n(3)]
    pub timed_out: Option<bool>,
}

/// The first frame of a one-way stream: what the raw bytes after it are.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Attach {
    /// The id of the bidirectional stream of the command (RFC 9000 §2.1).
    #[n(0)]
    pub command: u64,
    /// Which of the command's channels.
    #[n(1)]
    pub channel: Channel,
}

/// The channels of a command. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Channel {
    /// From the client.
    #[n(0)]
    Stdin,
    /// From the agent.
    #[n(1)]
    Stdout,
    /// From the agent.
    #[n(2)]
    Stderr,
}

/// Lists every message once: its tag, and how it is written and read.
macro_rules! messages {
    ($($tag:literal $name:ident,)*) => {
        /// Any message.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Message {
            $(#[doc = concat!("[`struct@", stringify!($name), "`]")] $name($name),)*
        }

        impl Message {
            /// The name, for errors and logs.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }

            /// The message as a frame.
            #[must_use]
            pub fn frame(&self) -> Frame {
                match self {
                    $(Self::$name(message) => Frame { tag: $tag, payload: written(message) },)*
                }
            }

            /// Reads a frame.
            ///
            /// # Errors
            /// The tag is unknown, or the payload is not that message, whole and alone.
            pub fn read(frame: &Frame) -> Result<Self, MessageError> {
                match frame.tag {
                    $($tag => read(&frame.payload, stringify!($name)).map(Self::$name),)*
                    unknown => Err(MessageError::UnknownTag(unknown)),
                }
            }
        }

        $(impl From<$name> for Message {
            fn from(message: $name) -> Self {
                Self::$name(message)
            }
        })*
    };
}

messages! {
    0x01 Hello,
    0x02 Evidence,
    0x03 HealthRequest,
    0x04 Health,
    0x05 Proof,
    0x06 Ready,
    0x07 Refused,
    0x10 Exec,
    0x11 Started,
    0x12 ExecFailed,
    0x13 Signal,
    0x14 Exit,
    0x15 Resize,
    0x18 Dial,
    0x19 Dialed,
    0x1a DialFailed,
    0x20 Attach,
    0x21 Resume,
    0x22 Resumed,
    0x23 Taken,
    0x24 Detach,
    0x25 Detached,
    0x26 SessionsRequest,
    0x27 Sessions,
    0x28 SessionSignal,
    0x29 SessionSignalled,
    0x2a SessionFailed,
    0x30 Provision,
    0x31 SendFrom,
    0x32 ProvisionProgress,
    0x33 Provisioned,
    0x34 ProvisionFailed,
    0x40 AuditLogRequest,
    0x41 AuditLog,
    0x50 CopyRequest,
    0x51 CopyEntry,
    0x52 CopyFolderEnd,
    0x53 CopyPartial,
    0x54 CopyFrom,
    0x55 CopySent,
    0x56 CopyDone,
    0x57 CopyFailed,
}

fn written<T: Encode<()>>(message: &T) -> Vec<u8> {
    // Writing into memory cannot fail, and the types have no fallible parts.
    minicbor::to_vec(message).unwrap_or_else(|error| unreachable!("{error}"))
}

fn read<'b, T: Decode<'b, ()>>(payload: &'b [u8], name: &'static str) -> Result<T, MessageError> {
    let mut decoder = minicbor::Decoder::new(payload);
    let message = decoder.decode().map_err(|source| MessageError::Malformed { name, source })?;
    if decoder.position() != payload.len() {
        return Err(MessageError::TrailingBytes(name));
    }
    Ok(message)
}

// What follows holds a token, a proof, or a command line with perhaps a secret in it: none of them
// may reach a log by way of `Debug`.

impl fmt::Debug for Evidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Evidence").field("software", &self.software).finish_non_exhaustive()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proof").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Exec")
            .field("arguments", &self.arguments.len())
            .field("environment", &self.environment.len())
            .field("stdin", &self.stdin)
            .field("terminal", &self.terminal)
            .field("user", &self.user)
            .field("timeout_ms", &self.timeout_ms)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Variable(…)")
    }
}
