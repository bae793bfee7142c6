//! What the stages tell each other: one JSON document per line on a Unix socket.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::isolation::Isolation;
use super::processes::ProcessStat;

/// The longest message in bytes: Linux takes at most 2 MiB of arguments and environment for one
/// process by default, so a longer description could not be started anyway; twice that leaves room
/// for JSON's escapes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// How much one read takes from the socket.
const READ_BYTES: usize = 64 << 10;

/// Everything the stages need to know about a machine. No `Debug`: the environment holds secrets.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) machine_id: String,
    pub(crate) isolation: Isolation,
    /// The machine's own folder on the host; absolute, without symbolic links.
    pub(crate) directory: PathBuf,
    /// What stands between the launcher and the stage name.
    pub(crate) launcher_args: Vec<String>,
    /// The program and its arguments; empty for the built-in pause.
    pub(crate) argv: Vec<String>,
    /// The whole environment of the workload.
    pub(crate) env: BTreeMap<String, String>,
    /// A file of the host that is seen at its own path inside, read-only, whatever hides that path;
    /// absolute, without symbolic links.
    pub(crate) shown: Option<PathBuf>,
    /// The folder of the host that is seen at `/.fly`, read-only; absolute, without symbolic links.
    pub(crate) fly: Option<PathBuf>,
    pub(crate) volume: Option<Volume>,
    /// Folders of the host that are empty inside; absolute, without symbolic links, and none of them
    /// in another.
    pub(crate) masked: Vec<PathBuf>,
    /// The address that the machine knows as its own, where it can be told; one of the private
    /// network is put on the loopback interface.
    pub(crate) private_ip: Option<IpAddr>,
    pub(crate) hostname: String,
    /// Set everything up, then end with code 0: finds out whether this host allows it.
    pub(crate) probe: bool,
}

/// A folder of the host and where it is seen inside.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// Absolute, without symbolic links.
    pub(crate) directory: PathBuf,
    /// Absolute, checked by [`super::root`].
    pub(crate) path: PathBuf,
}

/// What goes down: from the emulator to `supervise`, and from there to `init`.
#[derive(Serialize, Deserialize)]
pub(crate) enum Order {
    /// Start this machine; comes once, but other orders may overtake it.
    Describe(Box<Description>),
    /// Send the signal to the main process, and kill the machine after the time, if one is given.
    Signal { signal: i32, kill_after_ms: Option<u64> },
    /// Stop all processes where they are, or let them go on.
    Freeze(bool),
    /// End everything now.
    Kill,
}

/// What comes up, once: how the main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

/// What is to be done in a running machine; comes once, to the stage that goes in.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) isolation: Isolation,
    /// The machine's first stage, as the host counts processes.
    pub(crate) supervisor: u32,
    /// The machine's own folder on the host.
    pub(crate) directory: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) task: Task,
}

/// The tasks of a visit.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Run a program, with this on its standard input, for so long at most.
    Run { argv: Vec<String>, input: Option<String>, milliseconds: u64 },
    /// List the processes.
    List,
}

/// How a visit ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Visited {
    /// The machine's world is not built yet, or the machine has ended.
    NotReady,
    /// The program ended, or was ended because its time was over.
    Ran { ended: Ended, is_late: bool },
    /// The processes.
    Listed(Vec<ProcessStat>),
}

impl Ended {
    pub(crate) fn with_code(code: i32) -> Self {
        Self { code: Some(code), signal: None }
    }

    pub(crate) fn by_signal(signal: i32) -> Self {
        Self { code: None, signal: Some(signal) }
    }

    pub(crate) fn not_started() -> Self {
        Self::with_code(i32::from(super::NOT_STARTED))
    }
}

/// One end of a socket, with what was read of the next message.
pub(crate) struct Channel {
    socket: UnixStream,
    unread: Vec<u8>,
}

impl Channel {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self { socket, unread: Vec::new() }
    }

    /// The socket that the parent stage gave us as standard input.
    pub(crate) fn from_stdin() -> io::Result<Self> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self::new(UnixStream::from(socket)))
    }

    /// Sends one message, whole.
    pub(crate) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        send(&self.socket, message)
    }

    /// Reads once (blocking if nothing is there) and answers the messages that are now complete;
    /// `None` when the other side is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<Vec<T>>> {
        let mut chunk = vec![0; READ_BYTES];
        let count = match self.socket.read(&mut chunk) {
            Ok(count) => count,
            // The other side left without reading what we sent: for us the same as a clean end.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(error),
        };
        if count == 0 {
            return Ok(None);
        }
        self.unread.extend_from_slice(&chunk[..count]);
        self.take_complete().map(Some)
    }

    fn take_complete<T: DeserializeOwned>(&mut self) -> io::Result<Vec<T>> {
        let mut messages = Vec::new();
        if let Some(end) = self.unread.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.unread.split_off(end + 1);
            for line in self.unread.split(|byte| *byte == b'\n') {
                if !line.is_empty() {
                    messages.push(serde_json::from_slice(line)?);
                }
            }
            self.unread = rest;
        }
        if self.unread.len() > MESSAGE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
        }
        Ok(messages)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends one message, whole; refuses one over the cap before anything is sent.
pub(crate) fn send(mut socket: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    if line.len() > MESSAGE_BYTES_MAX {
        let text = format!("the machine's description is over {MESSAGE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    line.push(b'\n');
    socket.write_all(&line)
}

/// Reads until the description has come; the other orders that came with it are answered in order.
/// `None` when the other side is gone before.
pub(crate) fn description(channel: &mut Channel) -> io::Result<Option<(Description, Vec<Order>)>> {
    let mut others = Vec::new();
    let mut found = None;
    while found.is_none() {
        let Some(orders) = channel.receive()? else {
            return Ok(None);
        };
        for order in orders {
            match order {
                Order::Describe(description) => found = Some(*description),
                order => others.push(order),
            }
        }
    }
    Ok(found.map(|description| (description, others)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_arrive_in_pieces_and_in_order() {
        let (left, right) = UnixStream::pair().expect("a pair");
        let mut channel = Channel::new(right);
        let mut bytes = serde_json::to_vec(&Order::Signal { signal: 15, kill_after_ms: Some(5) })
            .expect("JSON");
        bytes.push(b'\n');
        let (head, tail) = bytes.split_at(4);
        (&left).write_all(head).expect("written");
        assert!(channel.receive::<Order>().expect("read").expect("open").is_empty());
        (&left).write_all(tail).expect("written");
        send(&left, &Order::Kill).expect("sent");
        let mut orders = channel.receive::<Order>().expect("read").expect("open");
        if orders.len() == 1 {
            orders.extend(channel.receive::<Order>().expect("read").expect("open"));
        }
        assert!(matches!(orders[0], Order::Signal { signal: 15, kill_after_ms: Some(5) }));
        assert!(matches!(orders[1], Order::Kill));
        drop(left);
        assert!(channel.receive::<Order>().expect("read").is_none());
    }

    #[test]
    fn an_endless_message_is_refused() {
        let (left, right) = UnixStream::pair().expect("a pair");
        let writer = std::thread::spawn(move || {
            let block = vec![b'x'; READ_BYTES];
            while (&left).write_all(&block).is_ok() {}
        });
        let mut channel = Channel::new(right);
        let error = loop {
            match channel.receive::<Order>() {
                Ok(messages) => assert!(messages.expect("open").is_empty()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(channel);
        writer.join().expect("the writer ends");
    }

    #[test]
    fn a_description_over_the_cap_is_not_sent() {
        let (left, _right) = UnixStream::pair().expect("a pair");
        let error = send(&left, &"x".repeat(MESSAGE_BYTES_MAX)).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
