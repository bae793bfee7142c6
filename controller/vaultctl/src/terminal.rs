//! The terminal that we run on: what it is, how large, and how it is handed to a command.

use std::io;

use rustix::termios::{self, OptionalActions, Termios};
use vault_client::protocol::message::{Size, Terminal};

/// What a terminal is taken for that does not say what it understands: nothing but text.
const PLAIN: &str = "dumb";

/// A terminal for a command that is like ours.
pub(crate) fn ours() -> Terminal {
    let kind = std::env::var("TERM").ok().filter(|kind| !kind.is_empty());
    let kind = kind.unwrap_or_else(|| PLAIN.to_owned());
    Terminal { kind: kind.into_bytes().into(), size: size() }
}

/// How large our terminal is; zeros if we have none.
pub(crate) fn size() -> Size {
    let seen = termios::tcgetwinsize(io::stdout())
        .or_else(|_| termios::tcgetwinsize(io::stdin()))
        .or_else(|_| termios::tcgetwinsize(io::stderr()));
    let none = Size { columns: 0, rows: 0 };
    seen.map_or(none, |seen| Size { columns: seen.ws_col, rows: seen.ws_row })
}

/// While this lives, what is typed on our terminal is passed on as it is: no line is edited here, and
/// no key means a signal.
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Begins; `None` if standard input is no terminal.
    pub(crate) fn begin() -> Option<Self> {
        let before = termios::tcgetattr(io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before).ok();
    }
}
