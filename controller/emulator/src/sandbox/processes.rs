//! The processes of a machine, as its own `/proc` shows them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::freeze;
use super::isolation::Isolation;

/// Processes in one answer: enough for any machine of one host, and a bound on the answer.
const PROCESSES_MAX: usize = 1000;
/// The longest command line that is shown, in bytes.
const COMMAND_BYTES_MAX: usize = 1024;
/// What `/proc` counts processor time in, per second: fixed for programs, whatever the kernel uses.
const TICKS_PER_SECOND: u64 = 100;
/// The state of a listening TCP socket in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStat {
    /// Its number inside the machine.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub stime: u64,
    /// For how long it has run, in seconds.
    pub rtime: u64,
    /// The command line.
    pub command: String,
    /// The working directory.
    pub directory: String,
    /// Processor time over run time, in percent of one processor.
    pub cpu: u64,
    /// Memory, in bytes.
    pub rss: u64,
    /// TCP sockets that it listens on.
    pub listen_sockets: Vec<ListenSocket>,
}

/// A socket that a process listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenSocket {
    /// `tcp` or `tcp6`
    pub proto: String,
    /// Address and port.
    pub address: String,
}

/// Lists the processes: all that are seen inside, or, where nothing is isolated, those below the
/// machine's first one.
pub(super) fn list(isolation: Isolation, first: u32) -> io::Result<Vec<ProcessStat>> {
    let mut numbers = match isolation {
        Isolation::Namespaces | Isolation::UserNamespaces => {
            let entries = fs::read_dir("/proc")?.flatten();
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
        }
        Isolation::PlainProcess => freeze::below(first)?,
    };
    numbers.sort_unstable();
    numbers.truncate(PROCESSES_MAX);
    let boot = boot_time()?;
    let uptime = uptime()?;
    // Some may have ended meanwhile.
    Ok(numbers.into_iter().filter_map(|number| stat(number, boot, uptime)).collect())
}

fn stat(pid: u32, boot: u64, uptime: u64) -> Option<ProcessStat> {
    let folder = format!("/proc/{pid}");
    let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    // Counted from the third field, the state: proc_pid_stat(5).
    let (used, started) = (number(11)? + number(12)?, number(19)? / TICKS_PER_SECOND);
    let rtime = uptime.saturating_sub(started);
    let line = fs::read(format!("{folder}/cmdline")).unwrap_or_default();
    let line = &line[..line.len().min(COMMAND_BYTES_MAX)];
    let command = String::from_utf8_lossy(line).replace('\0', " ").trim().to_owned();
    let directory = fs::read_link(format!("{folder}/cwd")).unwrap_or_default();
    Some(ProcessStat {
        pid,
        stime: boot + started,
        rtime,
        command: if command.is_empty() { format!("[{name}]") } else { command },
        directory: directory.to_string_lossy().into_owned(),
        cpu: used * 100 / (rtime.max(1) * TICKS_PER_SECOND),
        rss: resident(&folder).unwrap_or_default(),
        listen_sockets: sockets(&folder),
    })
}

fn resident(folder: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("{folder}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// The listening sockets among the process's open files.
fn sockets(folder: &str) -> Vec<ListenSocket> {
    let mut listening = HashMap::new();
    for proto in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("{folder}/net/{proto}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            if let Some((inode, address)) = listener(line) {
                listening.insert(inode, ListenSocket { proto: proto.to_owned(), address });
            }
        }
    }
    let Ok(files) = fs::read_dir(format!("{folder}/fd")) else { return Vec::new() };
    let mut found = Vec::new();
    for file in files.flatten() {
        let target = fs::read_link(file.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|text| text.strip_suffix(']'));
        // Taken out, so that a socket under two numbers is told once.
        found.extend(inode.and_then(|inode| listening.remove(inode)));
    }
    found.sort_by(|one, other| one.address.cmp(&other.address));
    found
}

/// The inode and the address of a line of `/proc/net/tcp`, if that socket listens.
fn listener(line: &str) -> Option<(String, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != LISTENING {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let bytes = data_encoding::HEXUPPER.decode(address.as_bytes()).ok()?;
    // Each group of four bytes is a number as this processor writes it.
    let bytes: Vec<u8> = bytes
        .chunks_exact(4)
        .filter_map(|group| Some(u32::from_be_bytes(group.try_into().ok()?).to_ne_bytes()))
        .flatten()
        .collect();
    let address: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
    };
    Some(((*fields.get(9)?).to_owned(), SocketAddr::new(address, port).to_string()))
}

fn boot_time() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| io::Error::other("/proc/stat names no boot time"))
}

fn uptime() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/uptime")?;
    let seconds = text.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok());
    seconds.ok_or_else(|| io::Error::other("/proc/uptime is no number"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_process_is_found_with_its_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let own = stat(std::process::id(), boot_time().expect("time"), uptime().expect("time"));
        let own = own.expect("this process");
        let address = listener.local_addr().expect("an address").to_string();
        assert!(own.listen_sockets.iter().any(|socket| socket.address == address), "{own:?}");
        assert!(own.rss > 0 && own.stime > 1_500_000_000, "{own:?}");
        assert_eq!(own.directory, std::env::current_dir().expect("a folder").to_string_lossy());
    }

    #[test]
    fn only_listening_sockets_are_read() {
        let line = |state| {
            format!("0: 00000000000000000000000001000000:1F90 0:0 {state} 0:0 0:0 0 0 0 77 1 0")
        };
        if cfg!(target_endian = "little") {
            let wanted = Some(("77".to_owned(), "[::1]:8080".to_owned()));
            assert_eq!(listener(&line("0A")), wanted);
        }
        assert_eq!(listener(&line("01")), None);
        assert_eq!(listener("rubbish"), None);
    }
}
