//! What a workload sees of the machine: its root filesystem, what outlives it, and what the kernel
//! shows.
//!
//! ```text
//!   tree on the volume ─▶ bound to itself, no devices ─▶ pivot ─▶ /
//!      persist/root, persist/home ─────────────────────────────▶ /root, /home
//!      the machine's resolv.conf, hosts ───────────────────────▶ /etc, read-only
//!      the machine's null, zero, full, random, urandom, tty ───▶ /dev
//!      proc, sys (read-only), dev, dev/pts, dev/shm, dev/mqueue, run: new ones
//!   the machine's root, with the volume and the platform's socket: gone
//! ```
//!
//! All that is mounted within the tree is mounted once the tree is the root: whatever links are in it,
//! they lead nowhere else.

use std::ffi::CStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_bind, mount_change, mount_remount, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::persist::{self, PERSISTED};
use crate::process::helper::{Failed, doing};

/// What the machine knows better than the root filesystem.
const FROM_THE_MACHINE: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

const QUIET: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// A filesystem of the kernel's: where, which, how, and with which options.
type Virtual = (&'static str, &'static str, MountFlags, &'static CStr);

const VIRTUAL: [Virtual; 7] = [
    ("/proc", "proc", QUIET, c""),
    ("/sys", "sysfs", QUIET.union(MountFlags::RDONLY), c""),
    ("/dev", "tmpfs", MountFlags::NOSUID.union(MountFlags::NOEXEC), c"mode=0755,size=1m"),
    // Group 5 is `tty` nearly everywhere; terminals of its members can be written to by `write(1)`.
    (
        "/dev/pts",
        "devpts",
        MountFlags::NOSUID.union(MountFlags::NOEXEC),
        c"newinstance,ptmxmode=0666,mode=0620,gid=5",
    ),
    ("/dev/shm", "tmpfs", MountFlags::NOSUID.union(MountFlags::NODEV), c"mode=1777"),
    ("/dev/mqueue", "mqueue", QUIET, c""),
    ("/run", "tmpfs", MountFlags::NOSUID.union(MountFlags::NODEV), c"mode=0755"),
];

/// The machine's own devices: binding them needs no right to make devices.
const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

const LINKS: [(&str, &str); 5] = [
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Makes the tree the root of this process's mount namespace, which has to be its own.
pub(super) fn enter(tree: &Path, persisted: &Path) -> Result<(), Failed> {
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount_change("/", private).map_err(doing("separating the mounts"))?;
    let folders = persist::prepare(tree, persisted).map_err(doing("preparing what is kept"))?;
    let kept = folders.iter().map(|folder| detached(folder));
    let kept = kept.collect::<Result<Vec<_>, _>>().map_err(doing("binding what is kept"))?;
    let devices = DEVICES.map(|path| Ok((path, detached(Path::new(path))?)));
    let devices: Vec<_> = devices
        .into_iter()
        .collect::<rustix::io::Result<_>>()
        .map_err(doing("binding the machine's devices"))?;
    // A machine may do without them.
    let files = FROM_THE_MACHINE.map(|path| detached(Path::new(path)).ok());
    mount_bind(tree, tree).map_err(doing("binding the root filesystem"))?;
    mount_remount(tree, MountFlags::BIND | MountFlags::NODEV, c"")
        .map_err(doing("keeping devices out of the root filesystem"))?;
    pivot(tree).map_err(doing("changing the root"))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    fill().map_err(doing("mounting the kernel's filesystems"))?;
    for (path, device) in &devices {
        let place = File::options().write(true).create_new(true).mode(0o600).open(path);
        place.and_then(|_| attach(device, Path::new(path))).map_err(doing("mounting devices"))?;
    }
    for ((name, mode), folder) in PERSISTED.into_iter().zip(&kept) {
        let place = Path::new("/").join(name);
        make_folder(&place, mode)
            .and_then(|()| attach(folder, &place))
            .map_err(doing("mounting what is kept"))?;
    }
    for (path, file) in FROM_THE_MACHINE.into_iter().zip(files) {
        if let Some(file) = file {
            show(Path::new(path), &file).map_err(doing("showing resolv.conf and hosts"))?;
        }
    }
    Ok(())
}

/// A copy of what is mounted there that is mounted nowhere yet.
fn detached(path: &Path) -> rustix::io::Result<OwnedFd> {
    open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
}

fn attach(from: &OwnedFd, to: &Path) -> io::Result<()> {
    Ok(move_mount(from, "", CWD, to, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// As `pivot_root(2)` has it under "pivot_root(\".\", \".\")": the old root lies on top of the new one
/// for a moment, and needs no place in it.
fn pivot(tree: &Path) -> rustix::io::Result<()> {
    chdir(tree)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")
}

fn fill() -> io::Result<()> {
    for (place, kind, flags, options) in VIRTUAL {
        make_folder(Path::new(place), 0o755)?;
        mount(kind, place, kind, flags, options)?;
    }
    LINKS.into_iter().try_for_each(|(path, target)| symlink(target, path))
}

/// A folder that may be there.
fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Mounts the machine's file over the root filesystem's. A link is left alone: somebody has set it up,
/// and what it leads to may come later, as with systemd-resolved.
fn show(path: &Path, file: &OwnedFd) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Ok(()),
        Ok(_) => {}
        Err(_) => {
            let folder = path.parent().unwrap_or_else(|| Path::new("/"));
            make_folder(folder, 0o755)?;
            drop(File::options().write(true).create_new(true).mode(0o644).open(path)?);
        }
    }
    attach(file, path)?;
    Ok(mount_remount(path, MountFlags::BIND | MountFlags::RDONLY, c"")?)
}
