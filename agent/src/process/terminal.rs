//! A terminal for a command: our end, and the name under which the command opens its own.
//!
//! ```text
//!   what is typed ─▶ our end ─▶ line discipline ─▶ the command's end ─▶ 0
//!   what is shown ◀─ our end ◀─ line discipline ◀─ the command's end ◀─ 1, 2
//! ```
//!
//! A leader of a session that has no terminal takes the first one that it opens for its controlling
//! terminal (`tty_ioctl(4)`), so opening it by name is all that the command has to do for Ctrl-C, job
//! control and hang-ups to work.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use pty_process::{OwnedReadPty, OwnedWritePty, Pts};
use rustix::termios::Winsize;
use vault_protocol::message::Size;

/// What stands for the end of the input on a terminal, where nothing can be closed: Ctrl-D, as
/// `script(1)` types it.
pub(super) const END_OF_INPUT: &[u8] = b"\x04";

/// A terminal that a command is to open.
pub(super) struct Opened {
    /// What the command writes.
    pub(super) reader: OwnedReadPty,
    /// What is typed.
    pub(super) writer: OwnedWritePty,
    /// Its size.
    pub(super) screen: Screen,
    /// The command's end has this name.
    pub(super) path: CString,
    /// Until the command has opened its end, this keeps it from looking closed.
    pub(super) until_opened: Pts,
}

/// Sets the size of a terminal. Like the other parts it keeps our end open.
#[derive(Debug)]
pub(crate) struct Screen(OwnedFd);

/// Opens a terminal of that size. Inside a tokio runtime.
pub(super) fn open(size: Size) -> io::Result<Opened> {
    let (ours, until_opened) = pty_process::open().map_err(io::Error::other)?;
    let path = rustix::pty::ptsname(&ours, Vec::new())?;
    let screen = Screen(ours.as_fd().try_clone_to_owned()?);
    screen.resize(size)?;
    let (reader, writer) = ours.into_split();
    Ok(Opened { reader, writer, screen, path, until_opened })
}

impl Screen {
    /// Gives the terminal another size; its foreground processes are told by SIGWINCH.
    pub(crate) fn resize(&self, size: Size) -> io::Result<()> {
        let Size { columns: ws_col, rows: ws_row } = size;
        let size = Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(&self.0, size)?)
    }
}
