//! The namespaces of a workload, and what nobody may do in there.
//!
//! ```text
//!   thread of the spawner ── enter ──▶ in all of them: commands begin there
//!   its threshold ────────── number only ──▶ stage, with the machine's files ── go_in ──▶ in all of them
//! ```
//!
//! A stage is this program, which the workload's root may not be able to run: it lacks the libraries, for
//! one. So it is executed outside, and goes in itself. Until then root of the workload could follow it to
//! the machine's files; that gives it nothing new, because it may make the device of the volume, too. Other
//! users of the workload may not.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{
    CapabilitySet, CapabilitySets, ThreadNameSpaceType, capabilities, move_into_thread_name_spaces,
    remove_capability_from_bounding_set, set_capabilities,
};

/// What root of a workload may not do, though it is root of the machine: load code into the kernel, talk
/// to devices behind its back, and restart or replace it.
const FORBIDDEN: CapabilitySet = CapabilitySet::SYS_MODULE
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::SYS_BOOT)
    .union(CapabilitySet::MAC_ADMIN);

/// All but that of process ids, which is for children only.
const PLACES: ThreadNameSpaceType = ThreadNameSpaceType::MOUNT
    .union(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
    .union(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME);

/// A thread whose children are numbered in a workload, and see the machine's files. It ends with this.
pub(super) struct Threshold(SyncSender<Box<dyn FnOnce() + Send>>);

impl Threshold {
    /// Starts the thread.
    ///
    /// # Errors
    /// The process has ended, or the agent may not, or the machine has no room for a thread.
    pub(super) fn start(init: OwnedFd) -> io::Result<Self> {
        let (runs, queue) = sync_channel::<Box<dyn FnOnce() + Send>>(1);
        let (entered, outcome) = sync_channel(1);
        thread::Builder::new().name("threshold".to_owned()).spawn(move || {
            let number = ThreadNameSpaceType::PROCESS_ID;
            let moved = move_into_thread_name_spaces(init.as_fd(), number);
            let moved = moved.map_err(io::Error::from).and_then(|()| forbid());
            let is_there = moved.is_ok();
            if entered.send(moved).is_ok() && is_there {
                queue.into_iter().for_each(|run| run());
            }
        })?;
        outcome.recv().map_err(io::Error::other)??;
        Ok(Self(runs))
    }

    /// Has the thread do something, and waits for that.
    ///
    /// # Errors
    /// The thread is gone.
    pub(super) fn run<T: Send + 'static>(
        &self,
        what: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (answer, answered) = sync_channel(1);
        // Whoever asks waits for the answer.
        let run = Box::new(move || drop(answer.send(what())));
        self.0.send(run).map_err(|_| io::Error::other("the threshold's thread is gone"))?;
        answered.recv().map_err(io::Error::other)
    }
}

/// Moves this thread into the namespaces of a workload's init process; what it starts is in all of them,
/// the thread itself keeps its process id. There is no way back.
///
/// # Errors
/// The process has ended, or the agent may not.
pub(super) fn enter(init: &OwnedFd) -> io::Result<()> {
    // A thread that shares root and working folder with others cannot change what they are.
    unshare(CloneFlags::CLONE_FS)?;
    let all = PLACES | ThreadNameSpaceType::PROCESS_ID;
    move_into_thread_name_spaces(init.as_fd(), all)?;
    forbid()
}

/// Whether an init process has ended, and everything that it was the first of.
pub(super) fn has_ended(init: &OwnedFd) -> bool {
    let mut look = [PollFd::new(init, PollFlags::IN)];
    poll(&mut look, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Moves this thread to where the workload's files are, and no further. There is no way back.
///
/// # Errors
/// The process has ended, or the agent may not.
pub(super) fn visit(init: &OwnedFd) -> io::Result<()> {
    unshare(CloneFlags::CLONE_FS)?;
    move_into_thread_name_spaces(init.as_fd(), ThreadNameSpaceType::MOUNT)?;
    forbid()
}

/// Moves a process that was started on a [`Threshold`] into the rest of the namespaces.
///
/// # Errors
/// The init process has ended.
pub(super) fn go_in(init: &OwnedFd) -> rustix::io::Result<()> {
    move_into_thread_name_spaces(init.as_fd(), PLACES)
}

/// Takes from this thread, and all that it starts, what a workload may not do.
///
/// # Errors
/// The agent may not.
pub(crate) fn forbid() -> io::Result<()> {
    for capability in FORBIDDEN.iter() {
        // A kernel that does not know one does not have it to give.
        match remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let sets = capabilities(None)?;
    let left = CapabilitySets {
        effective: sets.effective.difference(FORBIDDEN),
        permitted: sets.permitted.difference(FORBIDDEN),
        inheritable: sets.inheritable.difference(FORBIDDEN),
    };
    Ok(set_capabilities(None, left)?)
}
