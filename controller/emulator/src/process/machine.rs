//! One run of one machine, from start to end, on its own thread.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::PoisonError;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::console::{CONSOLE_BYTES_MAX, Console};
use super::lines::Lines;
use super::{Admitted, Entrance, ProcessRunnerConfig, folder};
use crate::machine_socket::SOCKET;
use crate::runner::{Environment, Launch};
use crate::sandbox::isolation::Isolation;
use crate::sandbox::message::{Channel, Description, Ended, Order, Volume, send};
use crate::sandbox::{self, loopback};

/// How much one read takes from the console.
const READ_BYTES: usize = 64 << 10;

/// Where a program is looked for if the machine does not say; Debian's default for root.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts the machine, keeps its console and waits for its end.
pub(super) fn run(
    config: &ProcessRunnerConfig,
    isolation: Isolation,
    launch: Launch,
    admitted: &Admitted,
    theirs: UnixStream,
) -> io::Result<Ended> {
    let directory = folder::prepare(&config.data_dir, &launch.machine_id)?;
    let mut console = Console::open(&directory)?;
    let mut lines = Lines::open(&directory, &admitted.shared.stamps)?;
    let Launch { machine_id, machine_name, app_name, run, .. } = &launch;
    let header = format!("--- run {run} of {machine_id} ({machine_name} of {app_name})\n");
    console.write(header.as_bytes())?;
    let outcome = describe(config, isolation, &launch, &directory).and_then(|description| {
        let log = Log { console: &mut console, lines: &mut lines, is_failing: false };
        start_and_watch(config, description, admitted, theirs, log)
    });
    outcome.inspect_err(|error| {
        // The reason also stands where the machine's owner looks for it.
        drop(console.write(format!("the machine could not be started: {error}\n").as_bytes()));
    })
}

/// A supervisor without a machine yet: what it prints, and the process.
pub(super) struct Supervisor {
    pub(super) child: Child,
    pub(super) console: PipeReader,
}

/// Starts the first stage. It begins with an empty environment, because ours may hold tokens, and
/// outside our process group, so that Ctrl-C in the emulator's terminal is not for it.
pub(super) fn supervisor(
    config: &ProcessRunnerConfig,
    machine_id: &str,
    socket: UnixStream,
) -> io::Result<Supervisor> {
    let (console, writer) = io::pipe()?;
    let child = Command::new(&config.launcher)
        .args(&config.launcher_args)
        .args([sandbox::SUPERVISE, machine_id])
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .stdin(OwnedFd::from(socket))
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    Ok(Supervisor { child, console })
}

fn describe(
    config: &ProcessRunnerConfig,
    isolation: Isolation,
    launch: &Launch,
    directory: &Path,
) -> io::Result<Description> {
    let volume = launch.volume.as_ref().map(|volume| {
        let directory = volume.directory.canonicalize()?;
        io::Result::Ok(Volume { directory, path: volume.path.clone().into() })
    });
    let home = match isolation {
        Isolation::Namespaces | Isolation::UserNamespaces => Path::new("/root").to_owned(),
        Isolation::PlainProcess => directory.join("home"),
    };
    let mut env = environment(&launch.env, &home);
    let fly = launch.fly.as_ref().map(|fly| fly.canonicalize()).transpose()?;
    if let (Isolation::PlainProcess, Some(fly)) = (isolation, &fly) {
        // Nothing can be shown at /.fly there.
        env.insert("FLY_API_SOCKET".to_owned(), text(&fly.join(SOCKET))?);
    }
    Ok(Description {
        machine_id: launch.machine_id.clone(),
        isolation,
        directory: directory.to_owned(),
        launcher_args: config.launcher_args.clone(),
        argv: launch.argv.clone(),
        env,
        shown: launch.shown.clone(),
        fly,
        volume: volume.transpose()?,
        masked: config.masked.clone(),
        private_ip: (isolation == Isolation::Namespaces).then_some(launch.private_ip),
        hostname: launch.hostname.clone(),
        probe: false,
    })
}

fn text(path: &Path) -> io::Result<String> {
    let not_text = || io::Error::other(format!("{} is not UTF-8", path.display()));
    path.to_str().map(str::to_owned).ok_or_else(not_text)
}

/// What the machine sets, and two variables that hardly any program does without.
fn environment(given: &BTreeMap<String, String>, home: &Path) -> BTreeMap<String, String> {
    let mut env = given.clone();
    env.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
    env.entry("HOME".to_owned()).or_insert_with(|| home.to_string_lossy().into_owned());
    env
}

fn start_and_watch(
    config: &ProcessRunnerConfig,
    description: Description,
    admitted: &Admitted,
    theirs: UnixStream,
    log: Log<'_, '_>,
) -> io::Result<Ended> {
    let private_ip = description.private_ip;
    // Given away, not copied: once the supervisor has ended, our end must read the end.
    let mut supervisor = supervisor(config, &description.machine_id, theirs)?;
    admitted.open(Entrance {
        supervisor: supervisor.child.id(),
        directory: description.directory.clone(),
        env: Environment::from(description.env.clone()),
    });
    let described = {
        let control = admitted.control.lock().unwrap_or_else(PoisonError::into_inner);
        send(&control, &Order::Describe(Box::new(description)))
    };
    if let Err(error) = described {
        // Without its description it would wait for ever; it has started nothing yet.
        drop(supervisor.child.kill());
        supervisor.child.wait()?;
        return Err(error);
    }
    let mut reports = Channel::new(admitted.reports.try_clone()?);
    let ended = watch(&mut supervisor, &mut reports, log);
    if ended.is_err() {
        drop(supervisor.child.kill());
    }
    let status = supervisor.child.wait()?;
    // A supervisor that was killed could not take its address back.
    if let (Some(_), Some(IpAddr::V6(address))) = (status.signal(), private_ip)
        && let Err(error) = loopback::remove(address)
    {
        tracing::warn!(%address, %error, "the address stays on the loopback interface");
    }
    let fallback = match status.signal() {
        Some(signal) => Ended::by_signal(signal),
        None => Ended::not_started(),
    };
    Ok(ended?.unwrap_or(fallback))
}

/// Copies the console and waits until the supervisor has closed its socket; its report, if any.
fn watch(
    supervisor: &mut Supervisor,
    reports: &mut Channel,
    mut log: Log<'_, '_>,
) -> io::Result<Option<Ended>> {
    let mut buffer = vec![0; READ_BYTES];
    let mut console_open = true;
    let mut report = None;
    loop {
        let mut waited = vec![PollFd::new(reports, PollFlags::IN)];
        if console_open {
            waited.push(PollFd::new(&supervisor.console, PollFlags::IN));
        }
        match poll(&mut waited, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let is_ready = |at: usize| waited.get(at).is_some_and(|fd| !fd.revents().is_empty());
        let (reported, printed) = (is_ready(0), console_open && is_ready(1));
        if printed {
            let count = supervisor.console.read(&mut buffer)?;
            log.write(&buffer[..count]);
            console_open = count > 0;
        }
        if reported {
            match reports.receive::<Ended>()? {
                Some(ended) => report = ended.last().copied().or(report),
                None => break,
            }
        }
    }
    drain(&mut supervisor.console, &mut buffer, &mut log)?;
    log.finish();
    Ok(report)
}

/// Takes what is left in the console without waiting: where nothing is isolated, a process that
/// escaped may hold it open for ever.
fn drain(console: &mut PipeReader, buffer: &mut [u8], log: &mut Log<'_, '_>) -> io::Result<()> {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut taken = 0;
    while taken < CONSOLE_BYTES_MAX {
        let mut waited = [PollFd::from_borrowed_fd(console.as_fd(), PollFlags::IN)];
        if poll(&mut waited, Some(&at_once))? == 0 {
            break;
        }
        let count = console.read(buffer)?;
        if count == 0 {
            break;
        }
        log.write(&buffer[..count]);
        taken += count as u64;
    }
    Ok(())
}

/// What the machine prints, as it is and by lines; a full disk costs output, never the machine.
struct Log<'a, 'run> {
    console: &'a mut Console,
    lines: &'a mut Lines<'run>,
    is_failing: bool,
}

impl Log<'_, '_> {
    fn write(&mut self, bytes: &[u8]) {
        let written = self.console.write(bytes).and_then(|()| self.lines.write(bytes));
        self.note(written);
    }

    fn finish(&mut self) {
        let written = self.lines.flush();
        self.note(written);
    }

    fn note(&mut self, written: io::Result<()>) {
        if let (Err(error), false) = (&written, self.is_failing) {
            tracing::warn!(%error, "a machine's console output is lost");
        }
        self.is_failing = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_do_not_override() {
        let given = BTreeMap::from([("PATH".to_owned(), "/x".to_owned())]);
        let env = environment(&given, Path::new("/root"));
        assert_eq!(env["PATH"], "/x");
        assert_eq!(env["HOME"], "/root");
        assert_eq!(env.len(), 2);
    }
}
