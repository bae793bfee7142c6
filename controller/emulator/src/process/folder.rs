//! A machine's own folder, `machines/<id>/` in the data folder.
//!
//! ```text
//!   console.log, console.log.1   what the machine printed
//!   lines.log, lines.log.1       the same by lines, with times
//!   fly/                         the machine's API socket, seen at /.fly inside
//!   root/                        where its root is mounted, seen by the machine alone; empty here
//!   home/                        the working directory where nothing is isolated
//! ```

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The longest machine id in bytes; Fly's have 14, and it is to be a file name.
const ID_BYTES_MAX: usize = 64;

/// Refuses an id that is not a plain name: it becomes part of a path.
pub(super) fn check_id(machine_id: &str) -> io::Result<()> {
    let is_plain = machine_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if machine_id.is_empty() || machine_id.len() > ID_BYTES_MAX || !is_plain {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not a machine id"));
    }
    Ok(())
}

/// Makes the folder for one start and answers it: what the last start wrote to `home` is gone.
pub(super) fn prepare(data_dir: &Path, machine_id: &str) -> io::Result<PathBuf> {
    check_id(machine_id)?;
    let directory = data_dir.join("machines").join(machine_id);
    fs::create_dir_all(directory.join("root"))?;
    let home = directory.join("home");
    none_if_missing(fs::remove_dir_all(&home))?;
    fs::create_dir(home)?;
    Ok(directory)
}

/// Makes the folder of the machine's API socket for one start and answers it: nothing of the last
/// start is in it.
pub(crate) fn fly_folder(data_dir: &Path, machine_id: &str) -> io::Result<PathBuf> {
    check_id(machine_id)?;
    let fly = data_dir.join("machines").join(machine_id).join("fly");
    none_if_missing(fs::remove_dir_all(&fly))?;
    fs::create_dir_all(&fly)?;
    Ok(fly)
}

/// Removes the folder. Only what [`prepare`], [`fly_folder`] and the console make is removed by name, so that a
/// volume that somebody keeps in there survives.
pub(super) fn remove(data_dir: &Path, machine_id: &str) -> io::Result<()> {
    check_id(machine_id)?;
    let directory = data_dir.join("machines").join(machine_id);
    use super::{console, lines};
    for file in [console::NEWEST, console::OLDER, lines::NEWEST, lines::OLDER] {
        none_if_missing(fs::remove_file(directory.join(file)))?;
    }
    none_if_missing(fs::remove_dir_all(directory.join("home")))?;
    none_if_missing(fs::remove_dir_all(directory.join("fly")))?;
    none_if_missing(fs::remove_dir(directory.join("root")))?;
    none_if_missing(fs::remove_dir(directory))
}

/// The absolute path without links, also for a path whose last parts do not exist yet.
pub(super) fn resolved(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    if absolute.components().any(|part| part == Component::ParentDir) {
        // `..` after a part that does not exist has no meaning yet.
        return absolute.canonicalize();
    }
    let mut missing = Vec::new();
    let mut existing = absolute.as_path();
    loop {
        match existing.canonicalize() {
            Ok(real) => {
                return Ok(missing.iter().rev().fold(real, |path, part| path.join(part)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
                    return Err(error);
                };
                missing.push(name.to_owned());
                existing = parent;
            }
            Err(error) => return Err(error),
        }
    }
}

fn none_if_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_plain_name() {
        check_id("7811d2b4c90e38").expect("Fly's form");
        for bad in ["", "..", "a/b", "a b", "ü", &"x".repeat(65)] {
            check_id(bad).expect_err(bad);
        }
    }

    #[test]
    fn forgetting_leaves_what_is_not_the_runners() {
        let data = tempfile::tempdir().expect("a folder");
        let directory = prepare(data.path(), "m1").expect("prepared");
        fs::write(directory.join("home/x"), "").expect("written");
        remove(data.path(), "m1").expect("removed");
        assert!(!directory.exists());
        remove(data.path(), "m1").expect("twice is once");

        prepare(data.path(), "m2").expect("prepared");
        let kept = data.path().join("machines/m2/volume");
        fs::create_dir(&kept).expect("made");
        remove(data.path(), "m2").expect_err("not empty");
        assert!(kept.exists());
    }

    #[test]
    fn a_start_has_a_fresh_home() {
        let data = tempfile::tempdir().expect("a folder");
        let directory = prepare(data.path(), "m1").expect("prepared");
        fs::write(directory.join("home/x"), "").expect("written");
        prepare(data.path(), "m1").expect("prepared");
        assert!(!directory.join("home/x").exists());
    }

    #[test]
    fn paths_that_do_not_exist_yet_resolve_as_far_as_they_can() {
        let data = tempfile::tempdir().expect("a folder");
        let real = data.path().canonicalize().expect("real").join("real");
        fs::create_dir(&real).expect("made");
        std::os::unix::fs::symlink(&real, data.path().join("link")).expect("linked");
        let resolved = resolved(&data.path().join("link/a/b")).expect("resolved");
        assert_eq!(resolved, real.join("a/b"));
    }
}
