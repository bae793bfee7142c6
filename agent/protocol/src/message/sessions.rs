//! Commands that outlive the connection that started them.
//!
//! ```text
//!   Exec with a session ──▶ Started ──▶ … Taken ◀──▶ Taken … ──▶ Exit
//!                                  │ connection lost, or Detach ──▶ Detached
//!   Resume ──▶ Resumed, or SessionFailed ──▶ … as before, from those bytes on
//!   SessionsRequest ──▶ Sessions           SessionSignal ──▶ SessionSignalled, or SessionFailed
//! ```
//!
//! Every channel counts its bytes from 0. Who sends keeps them until the other side has said by
//! [`Taken`] that it has them, and sends the rest again over the next connection: so nothing is lost and
//! nothing comes twice.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::{Channel, Size};

/// Keep the command when the connection is lost.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Keep {
    /// Its session's id, drawn at random by the client: so that a client that never got an answer can
    /// ask for it.
    #[n(0)]
    pub session: ByteArray<16>,
    /// What people call it; need not be unique.
    #[n(1)]
    pub tag: Option<String>,
    /// How long it may be without a client that has not said goodbye, in milliseconds; then it gets a
    /// hang-up.
    #[n(2)]
    pub linger_ms: u64,
}

/// Go on with a session, in the place of the client that has it now, if one has.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Resume {
    /// Which.
    #[n(0)]
    pub session: ByteArray<16>,
    /// Bytes of its standard output that the client has; nothing for the oldest that are kept.
    #[n(1)]
    pub stdout: Option<u64>,
    /// The same of its standard error.
    #[n(2)]
    pub stderr: Option<u64>,
    /// How large the client's terminal is, if the session has one.
    #[n(3)]
    pub size: Option<Size>,
}

/// The session goes on here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Resumed {
    /// Its command's process id inside the machine.
    #[n(0)]
    pub process_id: u32,
    /// Bytes of its standard input that it has taken; nothing, if it takes no more.
    #[n(1)]
    pub stdin: Option<u64>,
    /// From which byte on its standard output comes: a later one than was asked for, if those between
    /// are not kept any more.
    #[n(2)]
    pub stdout: u64,
    /// The same of its standard error.
    #[n(3)]
    pub stderr: u64,
    /// It has a terminal.
    #[n(4)]
    pub terminal: bool,
}

/// So many bytes of a channel may come before the side that takes them has to say so: the other one may
/// wait after twice as many.
pub const TAKEN_EVERY_BYTES: u64 = 256 << 10;

/// This side has so many bytes of a channel, and will not ask for them again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Taken {
    /// Which: outputs are taken by the client, standard input by the agent.
    #[n(0)]
    pub channel: Channel,
    /// From its beginning.
    #[n(1)]
    pub bytes: u64,
}

/// Leave the session running without a client, until it ends or another one comes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Detach {}

/// The client has the session no more; the last message of its stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Detached {
    /// Another client has it now.
    #[n(0)]
    pub taken_over: bool,
}

/// Which sessions are there?
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionsRequest {}

/// Those are there, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sessions {
    /// A line each.
    #[n(0)]
    pub sessions: Vec<SessionState>,
}

/// How a session is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionState {
    /// Its id.
    #[n(0)]
    pub session: ByteArray<16>,
    /// What people call it.
    #[n(1)]
    pub tag: Option<String>,
    /// The program's name, without its arguments.
    #[n(2)]
    pub program: String,
    /// Its command's process id inside the machine.
    #[n(3)]
    pub process_id: u32,
    /// It has a terminal.
    #[n(4)]
    pub terminal: bool,
    /// A client has it.
    #[n(5)]
    pub attached: bool,
    /// How long ago it began, in milliseconds.
    #[n(6)]
    pub age_ms: u64,
    /// It has ended, and nobody has asked how.
    #[n(7)]
    pub ended: bool,
}

/// Send a signal to the process group of a session's command.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionSignal {
    /// Which.
    #[n(0)]
    pub session: ByteArray<16>,
    /// The signal's number on Linux, 1 to 64.
    #[n(1)]
    pub number: u8,
}

/// It was sent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionSignalled {}

/// There is no such session (any more).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionFailed {
    /// For people.
    #[n(0)]
    pub message: String,
}
