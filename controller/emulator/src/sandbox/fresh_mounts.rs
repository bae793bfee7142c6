//! What a machine gets anew inside its root: proc, sys, dev, tmp and run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::host_mounts::is_replaced;
use super::isolation::Isolation;
use super::{doing, say};

/// How much a machine may write to each of its memory file systems, in bytes: enough to unpack and
/// build in, and not all of the host's memory.
const MEMORY_BYTES_MAX: u64 = 512 << 20;

/// Devices that every program may expect and that reach nothing of the host.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Where root could change the host's kernel.
const READ_ONLY: [&str; 5] =
    ["/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger"];

/// Where root could read the host's memory and keys.
const EMPTY: [&str; 2] = ["/proc/kcore", "/proc/keys"];

/// The host's resolver configuration, if it stands where a machine has its own folder.
pub(super) struct Resolver(Option<(PathBuf, Vec<u8>)>);

const NONE: Option<&str> = None;

impl Resolver {
    /// Reads it; to be called in the host's root. `/etc/resolv.conf` often is a link into `/run`.
    pub(super) fn of_host() -> Self {
        let path = Path::new("/etc/resolv.conf").canonicalize();
        let hidden = path.ok().filter(|path| is_replaced(path));
        Self(hidden.and_then(|path| Some((path.clone(), fs::read(path).ok()?))))
    }

    /// Puts it back; to be called in the machine's root.
    pub(super) fn restore(self) -> io::Result<()> {
        let Some((path, content)) = self.0 else {
            return Ok(());
        };
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        doing("keep the resolver's configuration", fs::create_dir_all(parent))?;
        doing("keep the resolver's configuration", fs::write(path, content))
    }
}

/// Mounts them all; `host` is where the host's root still stands.
pub(super) fn mount_all(isolation: Isolation, host: &Path) -> io::Result<()> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let still = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let memory = format!("size={MEMORY_BYTES_MAX},mode=");
    fresh("proc", "/proc", quiet, "")?;
    protect_kernel()?;
    if isolation == Isolation::UserNamespaces {
        // A new sysfs needs a network namespace of one's own, so this is the host's.
        let source = host.join("sys");
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        doing("show /sys", mount(Some(&source), "/sys", NONE, flags, NONE))?;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | quiet;
        doing("protect /sys", mount(NONE, "/sys", NONE, flags, NONE))?;
    } else {
        fresh("sysfs", "/sys", quiet | MsFlags::MS_RDONLY, "")?;
    }
    fresh("tmpfs", "/tmp", still, &format!("{memory}1777"))?;
    fresh("tmpfs", "/run", still, &format!("{memory}0755"))?;
    fs::create_dir("/run/lock")?;
    devices(host, &format!("{memory}1777"))
}

fn devices(host: &Path, shared_memory: &str) -> io::Result<()> {
    let silent = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    fresh("tmpfs", "/dev", silent, "size=64k,mode=0755")?;
    for name in DEVICES {
        let (source, target) = (host.join("dev").join(name), Path::new("/dev").join(name));
        fs::write(&target, "")?;
        let bound = mount(Some(&source), &target, NONE, MsFlags::MS_BIND, NONE);
        doing(format_args!("show /dev/{name}"), bound)?;
    }
    fs::create_dir("/dev/pts")?;
    fs::create_dir("/dev/shm")?;
    fresh("devpts", "/dev/pts", silent, "newinstance,ptmxmode=0666,mode=0620")?;
    fresh("tmpfs", "/dev/shm", silent | MsFlags::MS_NODEV, shared_memory)?;
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (target, name) in links {
        std::os::unix::fs::symlink(target, Path::new("/dev").join(name))?;
    }
    Ok(())
}

fn protect_kernel() -> io::Result<()> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for path in READ_ONLY.into_iter().filter(|path| Path::new(path).exists()) {
        let what = format!("protect {path}");
        doing(&what, mount(Some(path), path, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE))?;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | quiet;
        doing(&what, mount(NONE, path, NONE, flags, NONE))?;
    }
    for path in EMPTY.into_iter().filter(|path| Path::new(path).exists()) {
        // Some kernels refuse mounts over single files here; that machine goes on without.
        if let Err(error) = mount(Some("/.host/dev/null"), path, NONE, MsFlags::MS_BIND, NONE) {
            say(format_args!("{path} is readable: {error}"));
        }
    }
    Ok(())
}

fn fresh(kind: &str, target: &str, flags: MsFlags, options: &str) -> io::Result<()> {
    doing(
        format_args!("mount {target}"),
        mount(Some(kind), target, Some(kind), flags, Some(options)),
    )
}
