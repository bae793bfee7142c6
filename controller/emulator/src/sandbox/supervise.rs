//! The first stage: stays in the host's namespaces, starts the machine and answers for it.
//!
//! It waits on four things at once and decides nothing else: orders of the emulator, the report of
//! PID 1, the end of PID 1, and the time after which a stopping machine is killed.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_gettime, timerfd_settime,
};

use super::isolation::Isolation;
use super::message::{self, Channel, Description, Ended, Order};
use super::{doing, init, loopback, say};

/// Runs the stage: from the description to the report of how the machine ended.
pub(crate) fn run() -> io::Result<()> {
    close_inherited()?;
    let mut emulator = Channel::from_stdin()?;
    let Some((description, orders)) = message::description(&mut emulator)? else {
        return Ok(());
    };
    let ended = supervise(&mut emulator, description, orders).unwrap_or_else(|error| {
        say(format_args!("{error}"));
        Ended::not_started()
    });
    // An emulator that is gone does not want to know any more.
    drop(emulator.send(&ended));
    Ok(())
}

/// Closes what the emulator's own parent left open for it (a shell's or a build tool's pipes): it is
/// not for machines. What the emulator itself opened was closed by the exec.
fn close_inherited() -> io::Result<()> {
    let entries = fs::read_dir("/proc/self/fd")?.flatten();
    let open: Vec<i32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The one that listed the others is closed already.
        let _: Result<_, _> = nix::unistd::close(fd);
    }
    Ok(())
}

fn supervise(
    emulator: &mut Channel,
    description: Description,
    orders: Vec<Order>,
) -> io::Result<Ended> {
    let private = description.private_ip.and_then(|address| match address {
        IpAddr::V6(address) => Some(address),
        // All of 127.0.0.0/8 is on the loopback interface already.
        IpAddr::V4(_) => None,
    });
    let address = private.and_then(|address| {
        loopback::Held::add(address)
            .inspect_err(|error| say(format_args!("{address} is not on the loopback: {error}")))
            .ok()
    });
    let mut machine = Machine::start(description)?;
    for order in orders {
        machine.obey(&order)?;
    }
    let ended = machine.watch(emulator);
    drop(address);
    ended
}

/// The machine's PID 1 (or the head of its process tree, where nothing is isolated).
struct Machine {
    isolation: Isolation,
    child: Child,
    handle: OwnedFd,
    channel: Channel,
    timer: OwnedFd,
    report: Option<Ended>,
}

impl Machine {
    fn start(description: Description) -> io::Result<Self> {
        let isolation = description.isolation;
        enter(isolation)?;
        let (ours, theirs) = UnixStream::pair()?;
        // `/proc/self/exe` is this very binary, even if its file was replaced by a newer build.
        let child = Command::new("/proc/self/exe")
            .args(&description.launcher_args)
            .args([super::INIT, &description.machine_id])
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .spawn();
        let child = doing("start the machine's first process", child)?;
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let channel = Channel::new(ours);
        // If it is dead already, its handle says so, and with which status.
        drop(channel.send(&Order::Describe(Box::new(description))));
        Ok(Self { isolation, child, handle, channel, timer, report: None })
    }

    /// Waits until the machine has ended; an emulator that goes away ends it.
    fn watch(&mut self, emulator: &mut Channel) -> io::Result<Ended> {
        let mut emulator_open = true;
        let mut channel_open = true;
        loop {
            let [over, late, reported, ordered] = ready([
                Some(self.handle.as_fd()),
                Some(self.timer.as_fd()),
                channel_open.then(|| self.channel.as_fd()),
                emulator_open.then(|| emulator.as_fd()),
            ])?;
            if reported {
                channel_open = self.read_report()?;
                // The handle is looked at only once the report, which came before it, is read.
                continue;
            }
            if over {
                return self.bury();
            }
            if late {
                self.kill();
                disarm(&self.timer)?;
            }
            if ordered {
                emulator_open = self.read_orders(emulator)?;
            }
        }
    }

    /// Takes the report of PID 1; false when it has closed its end.
    fn read_report(&mut self) -> io::Result<bool> {
        match self.channel.receive::<Ended>()? {
            Some(reports) => {
                self.report = reports.last().copied().or(self.report);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Obeys the emulator; false when it is gone, and with it the machine.
    fn read_orders(&mut self, emulator: &mut Channel) -> io::Result<bool> {
        match emulator.receive::<Order>() {
            Ok(Some(orders)) => {
                for order in &orders {
                    self.obey(order)?;
                }
                Ok(true)
            }
            Ok(None) => {
                self.kill();
                Ok(false)
            }
            Err(error) => {
                self.kill();
                Err(error)
            }
        }
    }

    fn obey(&self, order: &Order) -> io::Result<()> {
        match order {
            Order::Describe(_) => {}
            Order::Kill => self.kill(),
            // A machine that is ending already has nothing to freeze.
            Order::Freeze(_) => drop(self.channel.send(order)),
            Order::Signal { signal, kill_after_ms } => {
                // A machine that is ending already needs no signal.
                drop(self.channel.send(&Order::Signal { signal: *signal, kill_after_ms: None }));
                if let Some(milliseconds) = kill_after_ms {
                    arm(&self.timer, Duration::from_millis(*milliseconds))?;
                }
            }
        }
        Ok(())
    }

    /// Ends everything in the machine; the end itself is seen through the handle.
    fn kill(&self) {
        // In a PID namespace the death of PID 1 is the death of all; elsewhere the head of the
        // process tree has to bring its descendants down first.
        if self.isolation == Isolation::PlainProcess && self.channel.send(&Order::Kill).is_ok() {
            return;
        }
        // An error means that it has ended already.
        let _: Result<_, _> = pidfd_send_signal(&self.handle, Signal::KILL);
    }

    fn bury(&mut self) -> io::Result<Ended> {
        let status = self.child.wait()?;
        if self.isolation == Isolation::PlainProcess {
            init::end_descendants()?;
        }
        let fallback = match (status.code(), status.signal()) {
            (_, Some(signal)) => Ended::by_signal(signal),
            (Some(code), None) if code != 0 => Ended::with_code(code),
            // PID 1 ends with 0 only after its report; without one something is badly wrong.
            _ => Ended::not_started(),
        };
        Ok(self.report.unwrap_or(fallback))
    }
}

/// Waits until one of these is readable or closed, and says which; those not given never are.
pub(super) fn ready<const COUNT: usize>(
    fds: [Option<BorrowedFd<'_>>; COUNT],
) -> io::Result<[bool; COUNT]> {
    let mut waited = Vec::with_capacity(COUNT);
    let given = fds.into_iter().flatten();
    waited.extend(given.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    match poll(&mut waited, None) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok([false; COUNT]),
        Err(error) => return Err(error.into()),
    }
    let mut answers = waited.iter().map(|fd| !fd.revents().is_empty());
    Ok(fds.map(|fd| fd.is_some() && answers.next().unwrap_or_default()))
}

/// Sees to it that the next child is the head of a process tree that can be ended as a whole.
fn enter(isolation: Isolation) -> io::Result<()> {
    match isolation {
        Isolation::Namespaces => doing("make a PID namespace", unshare(CloneFlags::CLONE_NEWPID)),
        Isolation::UserNamespaces => {
            let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
            let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID;
            doing("make a user namespace", unshare(flags))?;
            doing("refuse setgroups", fs::write("/proc/self/setgroups", "deny"))?;
            doing("map the group", fs::write("/proc/self/gid_map", format!("0 {group} 1")))?;
            doing("map the user", fs::write("/proc/self/uid_map", format!("0 {user} 1")))
        }
        Isolation::PlainProcess => {
            doing("adopt orphans", rustix::process::set_child_subreaper(Some(getpid())))
        }
    }
}

/// Sets the timer, unless it runs out earlier anyway: a second stop never prolongs the first.
pub(super) fn arm(timer: impl AsFd, after: Duration) -> io::Result<()> {
    // Zero would disarm it; the nearest thing to "at once" is a nanosecond.
    let after = after.max(Duration::from_nanos(1));
    let running = timerfd_gettime(&timer)?.it_value;
    let wanted = Timespec {
        tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(after.subsec_nanos()),
    };
    let is_running = running.tv_sec != 0 || running.tv_nsec != 0;
    if is_running && (running.tv_sec, running.tv_nsec) <= (wanted.tv_sec, wanted.tv_nsec) {
        return Ok(());
    }
    set(timer, wanted)
}

fn disarm(timer: impl AsFd) -> io::Result<()> {
    set(timer, Timespec { tv_sec: 0, tv_nsec: 0 })
}

fn set(timer: impl AsFd, value: Timespec) -> io::Result<()> {
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(())
}
