//! The init process of a root filesystem that has none: it reaps, and ends when it is asked to.

use std::io;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What is passed on to everything in the workload.
const PASSED_ON: [Signal; 3] = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

/// Everybody but the caller, in its PID namespace (`kill(2)`).
const EVERYBODY: Pid = Pid::from_raw(-1);

/// Runs until SIGTERM or SIGINT was passed on and all children have ended; the kernel ends whoever is
/// left.
pub(super) fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> io::Result<()> {
    let mut signals = SigSet::from_iter(PASSED_ON);
    signals.extend([Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]);
    // Blocked and waited for: signals that come in between are not lost, and an init process would not
    // get them at all as long as nothing is to be done about them (`pid_namespaces(7)`).
    signals.thread_block()?;
    let mut is_ending = false;
    loop {
        match signals.wait()? {
            Signal::SIGCHLD => {}
            Signal::SIGTERM | Signal::SIGINT => {
                is_ending = true;
                pass_on(Signal::SIGTERM);
            }
            signal => pass_on(signal),
        }
        if !children_are_left() && is_ending {
            return Ok(());
        }
    }
}

fn pass_on(signal: Signal) {
    // There may be nobody.
    let _nobody = kill(EVERYBODY, signal);
}

/// Reaps those that have ended.
fn children_are_left() -> bool {
    loop {
        match waitpid(EVERYBODY, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}
