//! The helper that unpacks: the only process that looks at an archive's bytes.
//!
//! ```text
//!   agent ── archive, as it comes ──▶ pipe ──▶ helper: confined, then vault_rootfs::unpack
//!     ◀── Progress …, Unpacked or Refused ──────╯   └─▶ the staging folder, its root by chroot
//! ```
//!
//! Before the first byte it leaves everything behind that it does not need: the machine's mounts and
//! network, all of the filesystem but the staging folder, all rights but those over files. Whoever finds
//! a hole in the unpacking has won a folder that is about to be removed.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Resource, Rlimit, chroot, fchdir, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
};
use tokio::net::unix::pipe;
use vault_rootfs::{Limits, Progress, unpack};

use crate::limits::{
    PIPE_BYTES, PROGRESS_BYTES, PROGRESS_ENTRIES, REFUSAL_CHARACTERS_MAX, UNPACK_FILES_MAX,
    UNPACK_MEMORY_MAX,
};
use crate::process::Process;
use crate::process::helper::{
    FIRST_DESCRIPTOR, Failed, Helper, Reports, doing, say, take_descriptor,
};
use crate::process::spawner::Spawner;
use crate::roots::Staging;
use crate::telemetry::Chain;

/// The name by which the program knows that it is to unpack.
pub(crate) const NAME: &CStr = c"vault-agent-unpack";

/// What files may need: owners, modes, attributes. Devices are not made: another `/dev` is mounted over
/// them.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETFCAP);

/// What the helper says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Report {
    /// It goes on.
    #[n(0)]
    Progress(#[n(0)] Done),
    /// The whole archive is a tree on the disk.
    #[n(1)]
    Unpacked {
        /// SHA-256 of all its bytes.
        #[n(0)]
        sha256: ByteArray<32>,
        /// What was done.
        #[n(1)]
        done: Done,
    },
    /// The archive is not unpacked; why, for people.
    #[n(2)]
    Refused(#[n(0)] String),
    /// The helper cannot be confined, so it has read nothing.
    #[n(3)]
    Unconfined(#[n(0)] Failed),
}

/// How much was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Done {
    /// Bytes of the archive.
    #[n(0)]
    pub(crate) received: u64,
    /// Bytes that came out of them.
    #[n(1)]
    pub(crate) unpacked: u64,
    /// Entries that were made.
    #[n(2)]
    pub(crate) entries: u64,
}

impl From<Progress> for Done {
    fn from(progress: Progress) -> Self {
        let Progress { bytes_in, bytes_out, entries } = progress;
        Self { received: bytes_in, unpacked: bytes_out, entries }
    }
}

/// Is the helper.
pub(crate) fn main() -> ExitCode {
    let descriptors = [0, 1, 2].map(|offset| take_descriptor(FIRST_DESCRIPTOR + offset));
    let [Ok(archive), Ok(reports), Ok(folder)] = descriptors else { return ExitCode::FAILURE };
    let mut reports = File::from(reports);
    let report = match confine(&folder) {
        Ok(()) => read(File::from(archive), &folder, &mut reports),
        Err(failed) => Report::Unconfined(failed),
    };
    // An agent that is gone needs no report.
    drop(say(&mut reports, &report));
    ExitCode::SUCCESS
}

/// Before any thread exists: all of this is for one thread and what it starts.
fn confine(folder: &OwnedFd) -> Result<(), Failed> {
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(namespaces).map_err(doing("making namespaces"))?;
    fchdir(folder).and_then(|()| chroot(".")).map_err(doing("changing the root"))?;
    let most = |most| Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::Core, most(0))
        .and_then(|()| setrlimit(Resource::Nofile, most(UNPACK_FILES_MAX)))
        .and_then(|()| setrlimit(Resource::As, most(UNPACK_MEMORY_MAX)))
        .map_err(doing("limiting resources"))?;
    set_no_new_privs(true).map_err(doing("giving up privileges"))?;
    let dropping = "dropping capabilities";
    // A machine may have been given fewer.
    let kept = capabilities(None).map_err(doing(dropping))?.permitted.intersection(KEPT);
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(doing(dropping))
}

fn read(archive: File, folder: &OwnedFd, reports: &mut File) -> Report {
    let mut told = Done::default();
    let mut progress = |progress: Progress| {
        let done = Done::from(progress);
        if done.unpacked - told.unpacked >= PROGRESS_BYTES
            || done.entries - told.entries >= PROGRESS_ENTRIES
        {
            told = done;
            // An agent that is gone ends the archive, too.
            drop(say(reports, &Report::Progress(done)));
        }
    };
    let limits = Limits { make_devices: false, ..Limits::default() };
    match unpack(archive, folder.as_fd(), &limits, &mut progress) {
        Ok(summary) => Report::Unpacked {
            sha256: summary.sha256.into(),
            done: Done {
                received: summary.bytes_in,
                unpacked: summary.bytes_out,
                entries: summary.entries,
            },
        },
        Err(error) => {
            let message = Chain(&error).to_string();
            Report::Refused(message.chars().take(REFUSAL_CHARACTERS_MAX).collect())
        }
    }
}

/// A helper that unpacks, from the agent's side. Dropping it ends it.
pub(crate) struct Unpacking {
    /// Kept for its end.
    _process: Process,
    /// Takes the archive's bytes; its end is the archive's.
    pub(crate) archive: Option<pipe::Sender>,
    pub(crate) reports: Reports<pipe::Receiver>,
}

impl Unpacking {
    /// Starts a helper.
    pub(crate) async fn start(spawner: &Spawner, staging: &Staging) -> io::Result<Self> {
        let (archive, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // More than the default is a favour of the kernel; less works too.
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&ours, PIPE_BYTES) {
            tracing::debug!(%error, "a pipe keeps its size");
        }
        let (reports, says) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&staging.tree, flags, Mode::empty())?;
        let helper = Helper {
            name: NAME,
            arguments: Vec::new(),
            environment: Vec::new(),
            descriptors: vec![archive, says, folder],
        };
        Ok(Self {
            _process: spawner.help(helper).await?,
            archive: Some(pipe::Sender::from_owned_fd(ours)?),
            reports: Reports::new(pipe::Receiver::from_owned_fd(reports)?),
        })
    }
}
