//! Why a copy goes no further.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use thiserror::Error;
use vault_protocol::code::StreamCode;
use vault_protocol::frame::FrameError;
use vault_protocol::message::{CopyFailed, MessageError};

use crate::limits::{DEPTH_MAX, ENTRIES_MAX, SHOWN_CHARACTERS_MAX};

/// Why a copy goes no further. What was copied before stays.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The system on this side says no.
    #[error("{path}: {doing}")]
    Here {
        /// Of what, fit for a terminal.
        path: String,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// What is on this side is not what the copy needs.
    #[error("{path}: {problem}")]
    Unfit {
        /// Of what, fit for a terminal.
        path: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The other side says no, in its own words.
    #[error("{path}: {message}")]
    There {
        /// Of what, fit for a terminal.
        path: String,
        /// Why, fit for a terminal.
        message: String,
    },
    /// The other side sent what it may not send.
    #[error("the other side does not follow the protocol: {0}")]
    Violation(&'static str),
    /// The other side's bytes are no frame.
    #[error("the other side's bytes are no message")]
    Frame(#[from] FrameError),
    /// The other side's frame is no message.
    #[error("the other side's frame is no message")]
    Message(#[from] MessageError),
    /// A file became shorter while the other side sent it.
    #[error("{0}: it became shorter while it was copied")]
    ShortThere(String),
    /// The bytes of a file were begun and cannot be ended: no message can follow them.
    #[error(transparent)]
    Midway(Box<Self>),
    /// The other side has left, or the connection is gone.
    #[error("the copy was broken off")]
    Cut(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}

/// What is wrong with something on this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// A folder, and the copy is not recursive.
    #[error("is a folder: --recursive copies folders")]
    Folder,
    /// What has the name is not a file, and is not replaced.
    #[error("is there, and is no file that could be replaced")]
    InTheWay,
    /// Neither a file nor a folder.
    #[error("is neither a file nor a folder")]
    Special,
    /// Not a folder, and it has to be one.
    #[error("is no folder")]
    NoFolder,
    /// A name that leads elsewhere.
    #[error("is a name that leads out of its folder, or none")]
    Name,
    /// It became shorter while it was read.
    #[error("it became shorter while it was copied")]
    Short,
    /// Somebody else continues the same file.
    #[error("another copy is writing it")]
    Busy,
    /// Too deep.
    #[error("folders lie more than {DEPTH_MAX} deep")]
    Depth,
    /// Too many.
    #[error("more than {ENTRIES_MAX} files and folders")]
    Entries,
}

impl CopyError {
    pub(crate) fn here(path: &Path, doing: &'static str) -> impl FnOnce(Errno) -> Self + use<> {
        let path = shown(path);
        move |error| Self::Here { path, doing, source: error.into() }
    }

    pub(crate) fn system(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = shown(path);
        move |source| Self::Here { path, doing, source }
    }

    pub(crate) fn unfit(path: &Path, problem: Problem) -> Self {
        Self::Unfit { path: shown(path), problem }
    }

    /// What the other side said.
    pub(crate) fn there(failed: &CopyFailed) -> Self {
        let path = printable(&String::from_utf8_lossy(&failed.path));
        Self::There { path, message: printable(&failed.message) }
    }

    /// What to tell the other side, unless it is what it said itself, or nobody is there.
    pub(crate) fn told(&self) -> Option<CopyFailed> {
        let (path, message) = match self {
            Self::Here { path, doing, source } => (path.as_str(), format!("{doing}: {source}")),
            Self::Unfit { path, problem } => (path.as_str(), problem.to_string()),
            Self::Violation(_) | Self::Frame(_) | Self::Message(_) => ("", self.to_string()),
            Self::There { .. } | Self::ShortThere(_) | Self::Midway(_) | Self::Cut(_) => {
                return None;
            }
        };
        Some(CopyFailed { path: path.as_bytes().to_vec().into(), message })
    }
}

impl CopyError {
    /// Nothing more can be said on the stream.
    pub(crate) fn is_midway(&self) -> bool {
        matches!(self, Self::Midway(_))
    }

    /// What the stream's end says about it.
    pub(crate) fn code(&self) -> StreamCode {
        match self {
            Self::Midway(error) => error.code(),
            Self::Unfit { problem: Problem::Short, .. } => StreamCode::Changed,
            Self::Violation(_) | Self::Frame(_) | Self::Message(_) => StreamCode::Protocol,
            _ => StreamCode::Failed,
        }
    }
}

/// A path, fit for a terminal.
pub(crate) fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// The front of a text without control characters, which could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    let shown = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    text.chars().take(SHOWN_CHARACTERS_MAX).map(shown).collect()
}
