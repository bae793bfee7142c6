//! What the agent writes down about those who come in, and how one sees that nothing of it was changed.
//!
//! ```text
//!   {"sequence":7,…,"previous":"ab12…"}   one line per record, as the agent wrote it
//!        ▲                       │
//!        │      SHA-256 of the line before it, without its end of line
//!   {"sequence":8,…,"previous":"9f03…"}
//! ```
//!
//! A record that is changed, taken out or put in breaks the chain behind it. Whoever can write the file
//! can still write all of it anew from there on: against that helps to know a [`Head`] of earlier.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The longest line, in bytes: names and paths in it have bounds of their own, a few KiB together.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// The SHA-256 of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineHash([u8; 32]);

impl LineHash {
    /// What stands before the first record of all: nothing.
    pub const NONE: Self = Self([0; 32]);

    /// Of a line without its end.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// A text is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("write RECORD:SHA256, as `vaultctl audit-log` prints it")]
pub struct NotAHead;

impl FromStr for LineHash {
    type Err = NotAHead;

    fn from_str(text: &str) -> Result<Self, NotAHead> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NotAHead)?;
        bytes.try_into().map(Self).map_err(|_| NotAHead)
    }
}

impl Serialize for LineHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LineHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The newest record: whoever keeps this can tell later whether it is still the one of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; the first is 1.
    pub sequence: u64,
    /// Of its line.
    pub hash: LineHash,
}

impl fmt::Display for Head {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.sequence, self.hash)
    }
}

impl FromStr for Head {
    type Err = NotAHead;

    fn from_str(text: &str) -> Result<Self, NotAHead> {
        let (sequence, hash) = text.split_once(':').ok_or(NotAHead)?;
        let sequence = sequence.parse().map_err(|_| NotAHead)?;
        Ok(Self { sequence, hash: hash.parse()? })
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts up by one, through restarts of the agent; the first is 1.
    pub sequence: u64,
    /// When, by the machine's clock: an instant as RFC 3339 has it, in UTC, to the millisecond.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub event: Event,
    /// Of the line before; [`LineHash::NONE`] before the first.
    pub previous: LineHash,
}

/// What happened. Neither an argument, nor a variable, nor a byte of what went through is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Event {
    /// The agent began to serve.
    AgentStarted {
        /// Its version.
        version: String,
        /// Bytes of a record that its predecessor had not finished, and that were taken out.
        #[serde(default, skip_serializing_if = "is_zero")]
        torn_bytes: u64,
    },
    /// The agent was asked to end.
    AgentEnding,
    /// A client proved itself.
    ProofAccepted {
        /// Its address and port.
        source: String,
    },
    /// A client did not.
    ProofRefused {
        /// Its address and port.
        source: String,
    },
    /// A command was started.
    CommandStarted {
        /// The client's address and port.
        source: String,
        /// The program's name.
        program: String,
        /// How many arguments it got.
        arguments: usize,
        /// SHA-256 over program and arguments, each followed by a NUL byte: whoever knows a command line
        /// can tell whether it was this one.
        arguments_sha256: String,
        /// The user that it was to run as, if one was named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Its process id.
        process: u32,
    },
    /// A command was not started.
    CommandRefused {
        /// The client's address and port.
        source: String,
        /// Why.
        reason: String,
    },
    /// A command ended.
    CommandEnded {
        /// The client's address and port.
        source: String,
        /// The program's name.
        program: String,
        /// Its process id.
        process: u32,
        /// Its exit code, if it ended by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u8>,
        /// The number of the signal that ended it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<u8>,
        /// How long it ran.
        milliseconds: u64,
    },
    /// A client went on with a session that another connection had begun.
    SessionResumed {
        /// The client's address and port.
        source: String,
        /// The program's name.
        program: String,
        /// Its process id.
        process: u32,
    },
    /// A client sent a signal to a session.
    SessionSignalled {
        /// The client's address and port.
        source: String,
        /// The program's name.
        program: String,
        /// Its process id.
        process: u32,
        /// The signal's number.
        signal: u8,
    },
    /// A root filesystem was unpacked, and has worked.
    RootProvisioned {
        /// The client's address and port.
        source: String,
        /// SHA-256 of its archive, in hex.
        sha256: String,
        /// Entries that were made.
        entries: u64,
        /// Bytes that were unpacked.
        bytes: u64,
    },
    /// A root filesystem was not taken, or does not work.
    RootRefused {
        /// The client's address and port.
        source: String,
        /// SHA-256 of its archive, in hex, as it was announced.
        sha256: String,
        /// Why.
        reason: String,
    },
    /// A connection was forwarded.
    ForwardOpened {
        /// The client's address and port.
        source: String,
        /// Where to.
        destination: String,
    },
    /// A connection was not forwarded.
    ForwardRefused {
        /// The client's address and port.
        source: String,
        /// Where to.
        destination: String,
        /// Why.
        reason: String,
    },
    /// A forwarded connection ended.
    ForwardEnded {
        /// The client's address and port.
        source: String,
        /// Where to.
        destination: String,
        /// Bytes from the client.
        bytes_in: u64,
        /// Bytes to the client.
        bytes_out: u64,
        /// How long it was open.
        milliseconds: u64,
        /// It did not end on both sides.
        aborted: bool,
    },
    /// Files were copied, or were to be.
    FilesCopied {
        /// The client's address and port.
        source: String,
        /// `upload` into the machine, or `download`.
        direction: String,
        /// The path that was asked for.
        path: String,
        /// How many files are whole at the other end.
        files: u64,
        /// Bytes of files that went through.
        bytes: u64,
        /// How long it took.
        milliseconds: u64,
        /// Why it went no further, if it did not end well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Somebody read these records.
    LogRead {
        /// The client's address and port.
        source: String,
    },
    /// Records that could not be kept, because the disk refused them or was too slow.
    RecordsLost {
        /// How many.
        records: u64,
    },
    /// An event that only a later version knows.
    #[serde(other)]
    Other,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Why a line does not follow the one before it.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The line is no record.
    #[error("the line behind record {after} is no record")]
    Malformed {
        /// The number of the record before it; 0 if it is the first line.
        after: u64,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A record is missing, or one too many is there.
    #[error("record {expected} is missing: what stands in its place is record {found}")]
    Sequence {
        /// Which one had to follow.
        expected: u64,
        /// Which one does.
        found: u64,
    },
    /// The record before it is not the one that this one was written behind.
    #[error("record {0} is not the one behind which record {next} was written", next = .0 + 1)]
    Previous(u64),
    /// A record is not the one that was there earlier.
    #[error("record {0} is not the one that was there earlier")]
    Replaced(u64),
}

/// Follows the chain from the first line that is there.
#[derive(Debug, Default)]
pub struct Chain {
    head: Option<Head>,
    known: Option<Head>,
}

impl Chain {
    /// Looks also whether a record is the one that was there earlier.
    #[must_use]
    pub fn knowing(known: Option<Head>) -> Self {
        Self { head: None, known }
    }

    /// Takes the next line, without its end.
    ///
    /// # Errors
    /// It does not follow the line before. The chain can go on behind it, from this line.
    pub fn follow(&mut self, line: &[u8]) -> Result<Record, ChainError> {
        let before = self.head;
        let after = before.map_or(0, |head| head.sequence);
        let record: Record = serde_json::from_slice(line)
            .map_err(|source| ChainError::Malformed { after, source })?;
        let head = Head { sequence: record.sequence, hash: LineHash::of(line) };
        self.head = Some(head);
        if let Some(before) = before {
            let expected = before.sequence.saturating_add(1);
            if record.sequence != expected {
                return Err(ChainError::Sequence { expected, found: record.sequence });
            }
            if record.previous != before.hash {
                return Err(ChainError::Previous(before.sequence));
            }
        }
        match self.known {
            Some(known) if known.sequence == head.sequence && known.hash != head.hash => {
                Err(ChainError::Replaced(known.sequence))
            }
            _ => Ok(record),
        }
    }

    /// The newest record so far.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: u64) -> Vec<Vec<u8>> {
        let mut previous = LineHash::NONE;
        let line = |sequence| {
            let event = match sequence {
                1 => Event::AgentStarted { version: "0.1.0".to_owned(), torn_bytes: 0 },
                _ => Event::ProofAccepted { source: format!("[::1]:{sequence}") },
            };
            let at = "2026-01-01T00:00:00Z".to_owned();
            let line = serde_json::to_vec(&Record { sequence, at, event, previous });
            let line = line.expect("serializable");
            previous = LineHash::of(&line);
            line
        };
        (1..=count).map(line).collect()
    }

    fn whole(lines: &[Vec<u8>], known: Option<Head>) -> Result<Head, ChainError> {
        let mut chain = Chain::knowing(known);
        for line in lines {
            chain.follow(line)?;
        }
        Ok(chain.head().expect("some lines"))
    }

    #[test]
    fn a_record_is_one_flat_object() {
        let text = String::from_utf8(lines(1).remove(0)).expect("UTF-8");
        let zeros = "0".repeat(64);
        assert_eq!(
            text,
            format!(
                r#"{{"sequence":1,"at":"2026-01-01T00:00:00Z","event":"AgentStarted","version":"0.1.0","previous":"{zeros}"}}"#
            )
        );
    }

    #[test]
    fn what_was_written_follows() {
        let head = whole(&lines(5), None).expect("whole");
        assert_eq!(head.sequence, 5);
        assert_eq!(head.to_string().parse(), Ok(head));
        whole(&lines(5)[2..], None).expect("whole from where it begins");
        whole(&lines(9), Some(head)).expect("and so it is with what was known earlier");
    }

    #[test]
    fn what_was_changed_taken_out_or_put_in_is_found() {
        let good = lines(5);
        let mut changed = good.clone();
        let text = String::from_utf8(changed[2].clone()).expect("UTF-8").replace("::1", "::2");
        changed[2] = text.into_bytes();
        assert!(matches!(whole(&changed, None), Err(ChainError::Previous(3))));
        let mut without = good.clone();
        without.remove(2);
        let found = whole(&without, None);
        assert!(matches!(found, Err(ChainError::Sequence { expected: 3, found: 4 })));
        let mut twice = good.clone();
        twice.insert(2, good[2].clone());
        let found = whole(&twice, None);
        assert!(matches!(found, Err(ChainError::Sequence { expected: 4, found: 3 })));
        let mut garbage = good.clone();
        garbage[4] = b"{}".to_vec();
        assert!(matches!(whole(&garbage, None), Err(ChainError::Malformed { after: 4, .. })));
    }

    #[test]
    fn a_log_that_was_written_anew_is_found_by_what_was_known() {
        let known = whole(&lines(3), None).expect("whole");
        let mut previous = LineHash::NONE;
        let forged: Vec<Vec<u8>> = lines(5)
            .iter()
            .map(|line| {
                let mut record: Record = serde_json::from_slice(line).expect("a record");
                record.at = "2026-01-02T00:00:00Z".to_owned();
                record.previous = previous;
                let line = serde_json::to_vec(&record).expect("serializable");
                previous = LineHash::of(&line);
                line
            })
            .collect();
        whole(&forged, None).expect("whole in itself");
        assert!(matches!(whole(&forged, Some(known)), Err(ChainError::Replaced(3))));
    }

    #[test]
    fn events_of_later_versions_are_read() {
        let line = format!(
            r#"{{"sequence":1,"at":"2026-01-01T00:00:00Z","event":"Flown","to":7,"previous":"{}"}}"#,
            LineHash::NONE
        );
        let record = Chain::default().follow(line.as_bytes()).expect("a record");
        assert_eq!(record.event, Event::Other);
    }
}
