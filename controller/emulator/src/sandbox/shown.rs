//! What of the host a machine sees in spite of everything that hides it: its volume, the folder of
//! its API socket, and the program that it runs.

use std::fs;
use std::io;
use std::path::{Component, Path};

use nix::mount::{MsFlags, mount};

use super::doing;
use super::masks::make_place;
use super::message::{Description, Volume};
use super::root::{HOST, on_host};

/// Where a machine finds its API socket's folder.
const FLY: &str = "/.fly";

const NONE: Option<&str> = None;

/// Shows it all; to be called in the machine's root while the host's still stands at [`HOST`]. The
/// volume comes last: no path is followed any more once a tenant's own files are there.
pub(super) fn show_all(description: &Description) -> io::Result<()> {
    if let Some(fly) = &description.fly {
        show_fly(fly)?;
    }
    match (&description.shown, description.argv.first()) {
        (Some(shown), _) => show_file(shown)?,
        (None, Some(program)) => show_program(Path::new(program), description)?,
        (None, None) => {}
    }
    description.volume.as_ref().map_or(Ok(()), show_volume)
}

/// The folder and not the socket in it, read-only: a new socket of that name is seen, and none can
/// be put in its place.
fn show_fly(folder: &Path) -> io::Result<()> {
    let what = format!("show {FLY}");
    doing(&what, fs::create_dir_all(FLY))?;
    doing(&what, mount(Some(&on_host(folder)), FLY, NONE, MsFlags::MS_BIND, NONE))?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    doing(&what, remount(Path::new(FLY), flags))
}

/// Shows one file of the host at its own path. Whoever runs the emulator chose it, so masks do not
/// hide it; elsewhere it may have been left out (another user's home, a mount too many).
fn show_file(path: &Path) -> io::Result<()> {
    let what = format!("show {}", path.display());
    if !path.is_file() {
        doing(&what, make_place(path))?;
    }
    doing(&what, mount(Some(&on_host(path)), path, NONE, MsFlags::MS_BIND, NONE))?;
    doing(&what, remount(path, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID))
}

/// A program in `/tmp` or `/run` (a build folder may lie there) is hidden by the machine's own;
/// this one file is shown again, read-only. A tenant chose it, so what is masked stays so.
fn show_program(program: &Path, description: &Description) -> io::Result<()> {
    let is_hidden = ["/tmp", "/run"].iter().any(|folder| program.starts_with(folder));
    let is_masked = description.masked.iter().any(|masked| program.starts_with(masked));
    let source = on_host(program);
    // A link could lead out of the old root, and into a masked folder.
    let is_plain_file = source.canonicalize().is_ok_and(|real| real == source) && source.is_file();
    let has_parent_steps = program.components().any(|part| part == Component::ParentDir);
    if !is_hidden || is_masked || has_parent_steps || !is_plain_file {
        return Ok(());
    }
    show_file(program)
}

fn show_volume(volume: &Volume) -> io::Result<()> {
    let path = &volume.path;
    check_volume_path(path)?;
    let what = format!("mount the volume at {}", path.display());
    doing(&what, fs::create_dir_all(path))?;
    let source = on_host(&volume.directory);
    doing(&what, mount(Some(&source), path, NONE, MsFlags::MS_BIND, NONE))
}

fn remount(path: &Path, flags: MsFlags) -> io::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags;
    Ok(mount(NONE, path, NONE, flags, NONE)?)
}

/// A volume goes to a folder of its own: not over the root, not over what the kernel or the platform
/// shows.
fn check_volume_path(path: &Path) -> io::Result<()> {
    let mut parts = path.components();
    let is_absolute = parts.next() == Some(Component::RootDir);
    let all_named = parts.clone().all(|part| matches!(part, Component::Normal(_)));
    let taken = ["/proc", "/sys", "/dev", FLY, HOST];
    let is_reserved = taken.iter().any(|taken| path.starts_with(taken));
    if !is_absolute || parts.next().is_none() || !all_named || is_reserved {
        let text = format!("a volume cannot be mounted at {}", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_a_folder_of_its_own() {
        for good in ["/data", "/var/lib/tenant", "/tmp/x"] {
            check_volume_path(Path::new(good)).expect(good);
        }
        for bad in ["/", "data", "", "/data/../etc", "/proc/1", "/dev", "/.host/etc", "/.fly"] {
            check_volume_path(Path::new(bad)).expect_err(bad);
        }
    }
}
