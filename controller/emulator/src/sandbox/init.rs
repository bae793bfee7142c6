//! The second stage: PID 1 of the machine. Builds its world, starts the workload, reaps, reports.
//!
//! When this process ends, the kernel ends every process of the machine with it.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sched::{CloneFlags, unshare};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper,
    set_parent_process_death_signal, wait,
};

use super::isolation::Isolation;
use super::message::{self, Channel, Description, Ended, Order};
use super::{doing, freeze, identity, root, say};

/// What is passed on to the workload when somebody sends it to PID 1 by hand.
const FORWARDED: [Number; 6] = [
    Number::SIGHUP,
    Number::SIGINT,
    Number::SIGQUIT,
    Number::SIGTERM,
    Number::SIGUSR1,
    Number::SIGUSR2,
];

/// The name of this process once its world is built: whoever comes in from outside looks for it.
pub(super) const READY: &std::ffi::CStr = c"machine-ready";

/// Runs the stage: from the description to the report.
pub(crate) fn run() -> io::Result<()> {
    // The socket says the same when the parent dies; this also holds while a mount hangs.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let signals = hold_signals()?;
    rustix::process::setsid()?;
    let mut supervisor = Channel::from_stdin()?;
    let Some((description, orders)) = message::description(&mut supervisor)? else {
        return Ok(());
    };
    let isolation = description.isolation;
    let ended = live(&mut supervisor, &signals, &description, orders).unwrap_or_else(|error| {
        say(format_args!("{error}"));
        Ended::not_started()
    });
    if isolation == Isolation::PlainProcess {
        end_descendants()?;
    }
    // A supervisor that is gone has taken the machine down already.
    drop(supervisor.send(&ended));
    Ok(())
}

/// Kills and reaps every descendant of this process, which must be a child subreaper: what a dying
/// child leaves behind becomes our child, until nothing is left.
pub(crate) fn end_descendants() -> io::Result<()> {
    let own = getpid().as_raw_nonzero();
    let list = format!("/proc/self/task/{own}/children");
    loop {
        let children = doing("list the children", fs::read_to_string(&list))?;
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        for child in children.filter_map(Pid::from_raw) {
            // It may have ended between the list and now; then there is nothing to kill.
            let _: Result<_, _> = kill_process(child, Signal::KILL);
        }
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn live(
    supervisor: &mut Channel,
    signals: &SignalFd,
    description: &Description,
    orders: Vec<Order>,
) -> io::Result<Ended> {
    if description.isolation == Isolation::PlainProcess {
        set_child_subreaper(Some(getpid()))?;
    } else {
        let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
        doing("make the namespaces", unshare(flags))?;
        root::build(description)?;
        identity::assume(description)?;
    }
    rustix::thread::set_name(READY)?;
    if description.probe {
        return Ok(Ended::with_code(0));
    }
    let main = if description.argv.is_empty() { None } else { Some(start(description)?) };
    let machine = Machine { main, isolation: description.isolation };
    for order in &orders {
        if let Some(ended) = machine.obey(order) {
            return Ok(ended);
        }
    }
    machine.watch(supervisor, signals)
}

/// Starts the third stage, which becomes the workload. It begins with no signal blocked, as
/// ours are, and none ignored, as a shell's background jobs ignore some: it is asked to stop by
/// signals.
fn start(description: &Description) -> io::Result<Pid> {
    let stage = description.launcher_args.iter().map(String::as_str).chain([super::RUN]);
    let stage = std::iter::once("/proc/self/exe").chain(stage);
    let own = description.argv.iter().map(String::as_str);
    let args: Vec<CString> = stage.chain(own).map(CString::new).collect::<Result<_, _>>()?;
    let variables = description.env.iter().map(|(name, value)| format!("{name}={value}"));
    let env: Vec<CString> = variables.map(CString::new).collect::<Result<_, _>>()?;
    if description.isolation == Isolation::PlainProcess {
        std::env::set_current_dir(description.directory.join("home"))?;
    }
    let mut streams = PosixSpawnFileActions::init()?;
    let nothing = fs::File::open("/dev/null")?;
    streams.add_dup2(nothing.as_raw_fd(), 0)?;
    let mut signals = PosixSpawnAttr::init()?;
    let settable = |number: &Number| !matches!(number, Number::SIGKILL | Number::SIGSTOP);
    signals.set_sigdefault(&Number::iterator().filter(settable).collect())?;
    signals.set_sigmask(&SigSet::empty())?;
    signals.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    let child = posix_spawn(c"/proc/self/exe", &streams, &signals, &args, &env);
    let child = doing("start the workload", child)?;
    Pid::from_raw(child.as_raw()).ok_or_else(|| io::Error::other("the workload has no id"))
}

/// The process whose end is the machine's end; none for the built-in pause.
struct Machine {
    main: Option<Pid>,
    isolation: Isolation,
}

impl Machine {
    /// Reaps and forwards until the main process has ended or the order to end has come.
    fn watch(&self, supervisor: &mut Channel, signals: &SignalFd) -> io::Result<Ended> {
        loop {
            let mut waited = [
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
                PollFd::new(supervisor, PollFlags::IN),
            ];
            match poll(&mut waited, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [signalled, ordered] = waited.map(|fd| !fd.revents().is_empty());
            if signalled && let Some(ended) = self.take_signals(signals)? {
                return Ok(ended);
            }
            if ordered {
                let killed = Ended::by_signal(Signal::KILL.as_raw());
                let Some(orders) = supervisor.receive::<Order>()? else {
                    return Ok(killed);
                };
                if let Some(ended) = orders.iter().find_map(|order| self.obey(order)) {
                    return Ok(ended);
                }
            }
        }
    }

    fn take_signals(&self, signals: &SignalFd) -> io::Result<Option<Ended>> {
        while let Some(information) = signals.read_signal()? {
            let signal = i32::try_from(information.ssi_signo).unwrap_or_default();
            let ended =
                if signal == Number::SIGCHLD as i32 { self.reap()? } else { self.deliver(signal) };
            if ended.is_some() {
                return Ok(ended);
            }
        }
        Ok(None)
    }

    fn obey(&self, order: &Order) -> Option<Ended> {
        match order {
            Order::Describe(_) => None,
            Order::Signal { signal, .. } => self.deliver(*signal),
            Order::Freeze(frozen) => {
                if let Err(error) = freeze::all(self.isolation, *frozen) {
                    say(format_args!("cannot suspend or resume: {error}"));
                }
                None
            }
            Order::Kill => Some(Ended::by_signal(Signal::KILL.as_raw())),
        }
    }

    /// Hands a signal to the workload; the built-in pause ends on one, with code 0.
    fn deliver(&self, number: i32) -> Option<Ended> {
        let Some(signal) = Signal::from_named_raw(number) else {
            say(format_args!("there is no signal {number}"));
            return None;
        };
        match self.main {
            Some(main) => {
                if let Err(error) = kill_process(main, signal) {
                    say(format_args!("cannot send signal {number}: {error}"));
                }
                None
            }
            None if signal == Signal::KILL => Some(Ended::by_signal(number)),
            None => {
                FORWARDED.iter().any(|known| *known as i32 == number).then(|| Ended::with_code(0))
            }
        }
    }

    /// Collects every child that has ended, orphans of the workload among them.
    fn reap(&self) -> io::Result<Option<Ended>> {
        let mut ended = None;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((child, status))) if Some(child) == self.main => {
                    ended = Some(how_it_ended(status));
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(ended),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn how_it_ended(status: WaitStatus) -> Ended {
    Ended { code: status.exit_status(), signal: status.terminating_signal() }
}

/// Blocks the signals that we act on and answers where to read them.
fn hold_signals() -> io::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Number::SIGCHLD);
    signals.extend(FORWARDED);
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}
