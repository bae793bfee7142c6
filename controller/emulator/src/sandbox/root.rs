//! The machine's root file system: the host's files below, a private layer above.
//!
//! ```text
//!   tmpfs (private to this machine's mount namespace, gone when it ends)
//!     upper/N  work/N   what the machine writes over layer N
//!     merged            overlay of /, with further overlays where the host has mounts
//!        │ pivot_root
//!        ▼
//!   /                   proc, sys, dev, tmp and run anew; masked folders empty; the volume, /.fly
//!                       and the agent bound
//! ```
//!
//! The upper layer lies in memory because every start has a fresh root anyway, as on Fly, and
//! because an overlay cannot take its upper layer from another overlay, which the host's own root
//! often is. Every path that a tenant chose is resolved only after the pivot, inside the new root.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::host_mounts::{self, is_replaced};
use super::isolation::Isolation;
use super::message::Description;
use super::{doing, fresh_mounts, masks, say, shown};

/// How much a machine may write to its root, in bytes: it is memory of the host until the machine
/// ends; data that is to last belongs on the volume.
const ROOT_BYTES_MAX: u64 = 1 << 30;

/// How many layers a root is made of at most; hosts of containers have thousands of mounts, and
/// each layer costs kernel memory per machine.
const LAYERS_MAX: usize = 128;

/// A single file that is mounted on the host (a container's `/etc/hosts`) is copied up to this
/// many bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the host's root stands until everything has been taken from it.
pub(super) const HOST: &str = "/.host";

/// Builds the root and enters it. Needs a mount namespace of its own; leaves the host as it was.
pub(super) fn build(description: &Description) -> io::Result<()> {
    const NONE: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    doing("make the mounts private", mount(NONE, "/", NONE, private, NONE))?;
    // Read before anything of ours is mounted: our own mounts are no part of the host.
    let mountinfo = doing("read the mounts", fs::read_to_string("/proc/self/mountinfo"))?;
    let points = host_mounts::mount_points(&mountinfo);
    let room = description.directory.join("root");
    let options = format!("size={ROOT_BYTES_MAX},mode=0755");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    // Programs with the set-user-id bit keep it: that is a flag of the overlay, not of its layers.
    let mounted = mount(Some("tmpfs"), &room, Some("tmpfs"), flags, Some(options.as_str()));
    doing("mount the root's upper layer", mounted)?;
    // From here on relative paths: the room's own path may hold what an option cannot.
    std::env::set_current_dir(&room)?;
    for name in ["upper", "work", "merged"] {
        fs::create_dir(name)?;
    }
    let mut layers = Layers { masked: &description.masked, count: 0, in_user_namespace: false };
    if description.isolation == Isolation::UserNamespaces {
        layers.in_user_namespace = true;
        layers.tree_in_pieces(&points)?;
    } else {
        layers.whole_tree(&points)?;
    }
    let resolver = fresh_mounts::Resolver::of_host();
    pivot()?;
    fresh_mounts::mount_all(description.isolation, Path::new(HOST))?;
    resolver.restore()?;
    masks::mask_all(&description.masked, description.shown.as_deref())?;
    shown::show_all(description)?;
    doing("leave the host's root", umount2(HOST, MntFlags::MNT_DETACH))?;
    doing("leave the host's root", fs::remove_dir(HOST))
}

/// The overlays that the root is made of.
struct Layers<'machine> {
    masked: &'machine [PathBuf],
    count: usize,
    in_user_namespace: bool,
}

impl Layers<'_> {
    /// As root: one overlay for `/`, one for each mount below it.
    fn whole_tree(&mut self, points: &[PathBuf]) -> io::Result<()> {
        doing("overlay the host's root", self.overlay(Path::new("/")))?;
        for point in points {
            self.add_or_leave_out(point);
        }
        Ok(())
    }

    /// In a user namespace the kernel refuses a lower layer with locked mounts in it, so only trees
    /// without mounts are overlaid, and the folders above them are made anew.
    fn tree_in_pieces(&mut self, points: &[PathBuf]) -> io::Result<()> {
        const NONE: Option<&str> = None;
        // A root to pivot to has to be a mount.
        let bound = mount(Some("merged"), "merged", NONE, MsFlags::MS_BIND, NONE);
        doing("bind the new root", bound)?;
        let mut pending = vec![PathBuf::from("/")];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                let inside = merged(&path);
                let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
                if is_replaced(&path) || path == Path::new("/root") {
                    // The home of the host's root is closed to us; the machine has its own.
                    fs::create_dir(&inside)?;
                } else if is_folder && has_mount_below(points, &path) {
                    fs::create_dir(&inside)?;
                    pending.push(path);
                } else if is_folder {
                    fs::create_dir(&inside)?;
                    self.add_or_leave_out(&path);
                } else if path.is_symlink() {
                    std::os::unix::fs::symlink(fs::read_link(&path)?, &inside)?;
                } else if path.is_file() {
                    fs::write(&inside, "")?;
                    self.add_or_leave_out(&path);
                }
            }
        }
        for replaced in host_mounts::REPLACED {
            fs::create_dir_all(merged(Path::new(replaced)))?;
        }
        Ok(())
    }

    /// Adds what the machine can do without: the loss of it is said on its console.
    fn add_or_leave_out(&mut self, path: &Path) {
        let added = match fs::metadata(path) {
            Ok(found) if found.is_dir() => self.overlay(path),
            Ok(found) if found.is_file() => copy_file(path, found.len()),
            Ok(_) => Err(io::Error::other("neither a file nor a folder")),
            Err(error) => Err(error),
        };
        if let Err(error) = added {
            say(format_args!("{} of the host is left out: {error}", path.display()));
        }
    }

    fn overlay(&mut self, lower: &Path) -> io::Result<()> {
        if self.count == LAYERS_MAX {
            return Err(io::Error::other(format!("there are {LAYERS_MAX} layers already")));
        }
        let (upper, work) = (format!("upper/{}", self.count), format!("work/{}", self.count));
        self.count += 1;
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        // The root of an overlay looks like the root of its upper layer.
        let found = fs::metadata(lower)?;
        if !self.in_user_namespace {
            std::os::unix::fs::chown(&upper, Some(found.uid()), Some(found.gid()))?;
        }
        fs::set_permissions(&upper, fs::Permissions::from_mode(found.mode() & 0o7777))?;
        let target = merged(lower);
        if self.in_user_namespace {
            for path in self.masked.iter().filter(|path| path.starts_with(lower)) {
                prepare(path, lower, Path::new(&upper))?;
            }
        }
        let lower = lower.to_str().ok_or_else(|| io::Error::other("its name is not UTF-8"))?;
        let lower = lower.replace('\\', "\\\\").replace(',', "\\,").replace(':', "\\:");
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let options = if self.in_user_namespace { options + ",userxattr" } else { options };
        let (kind, flags) = (Some("overlay"), MsFlags::MS_NODEV);
        mount(Some("machine"), &target, kind, flags, Some(options.as_str()))?;
        Ok(())
    }
}

/// Makes the way from `lower` to a masked path in the upper layer: in a user namespace the overlay
/// cannot copy up folders of other users, and so could not make a masked folder that is missing.
fn prepare(masked: &Path, lower: &Path, upper: &Path) -> io::Result<()> {
    let (mut below, mut above) = (lower.to_owned(), upper.to_owned());
    for part in masked.strip_prefix(lower).unwrap_or_else(|_| Path::new("")) {
        below.push(part);
        above.push(part);
        match fs::create_dir(&above) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        let mode = match fs::metadata(&below) {
            Ok(found) if found.is_dir() => found.mode() & 0o7777,
            // A masked file is there, so nothing has to be made.
            Ok(_) => return fs::remove_dir(&above),
            Err(_) => 0o755,
        };
        fs::set_permissions(&above, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Where a path of the host stands in the new root, before the pivot.
fn merged(path: &Path) -> PathBuf {
    Path::new("merged").join(path.strip_prefix("/").unwrap_or(path))
}

/// Where a path of the host stands after the pivot, as long as it is there.
pub(super) fn on_host(path: &Path) -> PathBuf {
    Path::new(HOST).join(path.strip_prefix("/").unwrap_or(path))
}

fn has_mount_below(points: &[PathBuf], path: &Path) -> bool {
    points.iter().any(|point| point != path && point.starts_with(path))
}

fn copy_file(path: &Path, size: u64) -> io::Result<()> {
    if size > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("a single file over {FILE_BYTES_MAX} bytes")));
    }
    fs::write(merged(path), fs::read(path)?)
}

fn pivot() -> io::Result<()> {
    let old = merged(Path::new(HOST));
    doing("make room for the host's root", fs::create_dir(&old))?;
    doing("enter the new root", nix::unistd::pivot_root("merged", &old))?;
    std::env::set_current_dir("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_strictly_below_force_a_folder_apart() {
        let points = [PathBuf::from("/home"), PathBuf::from("/var/lib/box")];
        assert!(has_mount_below(&points, Path::new("/var")));
        assert!(!has_mount_below(&points, Path::new("/home")));
        assert!(!has_mount_below(&points, Path::new("/var/lib/box/inner")));
    }

    #[test]
    fn paths_change_roots() {
        assert_eq!(merged(Path::new("/home/x")), Path::new("merged/home/x"));
        assert_eq!(merged(Path::new("/")), Path::new("merged"));
        assert_eq!(on_host(Path::new("/home/x")), Path::new("/.host/home/x"));
    }
}
