//! The stage that goes into a running machine: runs one program there, or lists the processes.
//!
//! ```text
//!   emulator ──socket──▶ enter ──setns──▶ the machine's namespaces ──▶ program
//!               ▲           │ standard output and error: pipes of the emulator
//!               └─ report ──┘
//! ```
//!
//! It ends the program when its time is over, when the machine ends, and when the emulator goes
//! away: then the socket ends.

use std::fs;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};

use super::isolation::Isolation;
use super::message::{Channel, Ended, Task, Visit, Visited};
use super::supervise::{arm, ready};
use super::{NOT_STARTED, doing, identity, init, processes, say};

/// Runs the stage.
pub(crate) fn run() -> io::Result<()> {
    let mut emulator = Channel::from_stdin()?;
    let visit = loop {
        match emulator.receive::<Visit>()? {
            None => return Ok(()),
            Some(visits) => {
                if let Some(visit) = visits.into_iter().next() {
                    break visit;
                }
            }
        }
    };
    let visited = match first_process(visit.supervisor) {
        None => Visited::NotReady,
        Some((number, first)) => {
            enter(&visit, &first)?;
            match &visit.task {
                Task::List => Visited::Listed(processes::list(visit.isolation, number)?),
                Task::Run { argv, input, milliseconds } => {
                    let time = Duration::from_millis(*milliseconds);
                    run_program(&mut emulator, &first, &visit, (argv, input.as_deref(), time))?
                }
            }
        }
    };
    emulator.send(&visited)
}

/// The machine's first process, if its world is built. The handle is taken before anything is
/// looked at: what is found then is about this very process.
fn first_process(supervisor: u32) -> Option<(u32, OwnedFd)> {
    let list = format!("/proc/{supervisor}/task/{supervisor}/children");
    let list = fs::read_to_string(list).ok()?;
    let number: u32 = list.split_whitespace().next()?.parse().ok()?;
    let handle =
        pidfd_open(Pid::from_raw(i32::try_from(number).ok()?)?, PidfdFlags::empty()).ok()?;
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // number (name) state parent …
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let parent: u32 = rest.split_whitespace().nth(1)?.parse().ok()?;
    let is_ready = init::READY.to_str().is_ok_and(|ready| ready == name);
    (is_ready && parent == supervisor).then_some((number, handle))
}

/// Joins the machine's namespaces; where there are none, goes to its folder.
fn enter(visit: &Visit, first: &OwnedFd) -> io::Result<()> {
    let own = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    match visit.isolation {
        Isolation::Namespaces => {
            doing("enter the machine", setns(first, own))?;
            identity::withhold()?;
        }
        Isolation::UserNamespaces => {
            doing("enter the machine", setns(first, own | CloneFlags::CLONE_NEWUSER))?;
        }
        Isolation::PlainProcess => {
            return std::env::set_current_dir(visit.directory.join("home"));
        }
    }
    std::env::set_current_dir("/")
}

fn run_program(
    emulator: &mut Channel,
    first: &OwnedFd,
    visit: &Visit,
    (argv, input, time): (&[String], Option<&str>, Duration),
) -> io::Result<Visited> {
    let (program, arguments) =
        argv.split_first().ok_or_else(|| io::Error::other("no program is given"))?;
    let spawned = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&visit.env)
        .process_group(0)
        .stdin(input_file(input)?)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            say(format_args!("cannot run {program}: {error}"));
            let ended = Ended::with_code(i32::from(NOT_STARTED));
            return Ok(Visited::Ran { ended, is_late: false });
        }
    };
    let pid = Pid::from_child(&child);
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    arm(&timer, time)?;
    let waited = [handle.as_fd(), timer.as_fd(), first.as_fd(), emulator.as_fd()];
    let [_, late, ..] = ready(waited.map(Some))?;
    // Everything of the group: the program may have left children behind.
    let _: Result<_, _> = kill_process_group(pid, Signal::KILL);
    let ended = bury(&mut child)?;
    Ok(Visited::Ran { ended, is_late: late })
}

/// What the program reads. A file in memory, not a pipe: nobody has to go on writing it, and this
/// process, between two PID namespaces, cannot have a thread for that.
fn input_file(input: Option<&str>) -> io::Result<Stdio> {
    let Some(input) = input else { return Ok(Stdio::null()) };
    let mut file = fs::File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(input.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

fn bury(child: &mut Child) -> io::Result<Ended> {
    let status = child.wait()?;
    Ok(match (status.code(), status.signal()) {
        (_, Some(signal)) => Ended::by_signal(signal),
        (code, None) => Ended::with_code(code.unwrap_or_else(|| i32::from(NOT_STARTED))),
    })
}
