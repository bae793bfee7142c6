//! Why a connection or a stream was ended: the application error codes of QUIC (RFC 9000 §20.2).

use std::fmt;

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// The client has no more to ask.
    Done,
    /// The peer said what it may not say, or not now; also frames over their cap.
    Protocol,
    /// The client did not prove itself in time.
    TooSlow,
    /// The proof was refused.
    Refused,
    /// The client did not believe the agent's evidence.
    EvidenceRefused,
    /// The agent is ending.
    ShuttingDown,
    /// The agent has too many connections.
    Busy,
}

impl CloseCode {
    const ALL: [Self; 7] = [
        Self::Done,
        Self::Protocol,
        Self::TooSlow,
        Self::Refused,
        Self::EvidenceRefused,
        Self::ShuttingDown,
        Self::Busy,
    ];

    /// The code on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::Protocol => 1,
            Self::TooSlow => 2,
            Self::Refused => 3,
            Self::EvidenceRefused => 4,
            Self::ShuttingDown => 5,
            Self::Busy => 6,
        }
    }

    /// Reads a code; `None` for one that a later version may have brought.
    #[must_use]
    pub fn read(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|code| u64::from(code.number()) == number)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Done => "done",
            Self::Protocol => "a message that is not allowed",
            Self::TooSlow => "the client did not prove itself in time",
            Self::Refused => "the proof was refused",
            Self::EvidenceRefused => "the agent's evidence was refused",
            Self::ShuttingDown => "the agent is ending",
            Self::Busy => "the agent has too many connections",
        })
    }
}

/// Why one stream was reset, or its reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCode {
    /// Nobody reads this channel any more: a broken pipe.
    BrokenPipe,
    /// The command that the stream belongs to is over, or was never started.
    NoCommand,
    /// What the stream carried was not understood.
    Protocol,
    /// What stands behind the stream failed: the process's side of the channel, or the connection that
    /// is forwarded was aborted.
    Failed,
    /// A file became shorter while it was sent.
    Changed,
}

impl StreamCode {
    /// The code on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::BrokenPipe => 1,
            Self::NoCommand => 2,
            Self::Protocol => 3,
            Self::Failed => 4,
            Self::Changed => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_they_are_written() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::read(u64::from(code.number())), Some(code));
        }
        assert_eq!(CloseCode::read(7), None);
        assert_eq!(CloseCode::read(u64::MAX), None);
    }
}
