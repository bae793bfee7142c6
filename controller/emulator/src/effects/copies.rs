//! Copies of volumes' files: snapshots, and volumes that begin with the files of another.
//!
//! They are made on the thread that carries out effects, one after the other, so that a machine
//! whose launch comes later meets a whole copy. A copy is made beside its place and renamed, so that
//! half of one is never taken for the whole. Files that a machine writes meanwhile are copied in
//! whatever state they are: the platform's snapshots are as crash-consistent as that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::engine::Engine;
use crate::world::CopyFrom;

/// Fills a new volume, and tells the world; what fails is logged and tried again by the next
/// emulator.
pub(super) fn fill_volume(data_dir: &Path, engine: &Arc<Engine>, id: &str, from: &CopyFrom) {
    let source = match from {
        CopyFrom::Snapshot(snapshot) => snapshot_directory(data_dir, snapshot),
        CopyFrom::Volume(volume) => volume_directory(data_dir, volume),
    };
    if let Err(error) = copy(&source, &volume_directory(data_dir, id)) {
        tracing::error!(volume_id = id, %error, "the volume cannot be filled");
        return;
    }
    tell(engine, |world, now| world.volume_filled(now, id));
}

/// Copies a volume, and tells the world.
pub(super) fn take_snapshot(data_dir: &Path, engine: &Arc<Engine>, volume: &str, id: &str) {
    let target = snapshot_directory(data_dir, id);
    let taken = copy(&volume_directory(data_dir, volume), &target).and_then(|()| size(&target));
    match taken {
        Ok(bytes) => tell(engine, |world, _| world.snapshot_taken(id, bytes)),
        Err(error) => tracing::error!(snapshot_id = id, %error, "the snapshot cannot be taken"),
    }
}

/// Removes a snapshot's files.
pub(super) fn remove_snapshot(data_dir: &Path, id: &str) {
    let directory = snapshot_directory(data_dir, id);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(snapshot_id = id, %error, "the files stay at {}", directory.display());
        }
        _ => {}
    }
}

fn tell(engine: &Arc<Engine>, change: impl FnOnce(&mut crate::world::World, jiff::Timestamp)) {
    let told = engine.change(|world, now| {
        change(world, now);
        Ok(())
    });
    if let Err(error) = told {
        tracing::debug!(%error, "the emulator ends before it hears of a copy; the next one repeats it");
    }
}

/// Copies a folder with owners, modes, links and holes. A folder that no machine has used yet does
/// not exist, and is as good as empty.
fn copy(source: &Path, target: &Path) -> io::Result<()> {
    let beside = target.with_extension("new");
    for left_over in [&beside, target] {
        match fs::remove_dir_all(left_over) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::create_dir_all(&beside)?;
    if source.is_dir() {
        // The one program that knows all of what a file system holds.
        let output = Command::new("cp")
            .args(["-a", "--reflink=auto", "--"])
            .args([&source.join("."), &beside])
            .stdin(Stdio::null())
            .env_clear()
            .output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(io::Error::other(format!("cp: {text}")));
        }
    }
    fs::rename(&beside, target)
}

/// The bytes of all files below.
fn size(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}

fn volume_directory(data_dir: &Path, id: &str) -> PathBuf {
    data_dir.join("volumes").join(id)
}

fn snapshot_directory(data_dir: &Path, id: &str) -> PathBuf {
    data_dir.join("snapshots").join(id)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_copy_is_whole_and_replaces_what_was_half_done() {
        let directory = tempfile::tempdir().expect("a folder");
        let (source, target) = (directory.path().join("a"), directory.path().join("b"));
        fs::create_dir_all(source.join("deep")).expect("made");
        fs::write(source.join("deep/file"), "hello").expect("written");
        symlink("/nowhere", source.join("link")).expect("linked");
        fs::create_dir_all(target.with_extension("new")).expect("made");
        fs::write(target.with_extension("new").join("half"), "x").expect("written");
        copy(&source, &target).expect("copied");
        assert_eq!(fs::read_to_string(target.join("deep/file")).expect("read"), "hello");
        assert_eq!(fs::read_link(target.join("link")).expect("a link"), Path::new("/nowhere"));
        assert!(!target.join("half").exists());
        assert_eq!(size(&target).expect("counted"), 5 + 8);
        copy(&directory.path().join("nothing"), &target).expect("copied");
        assert_eq!(fs::read_dir(&target).expect("a folder").count(), 0);
    }
}
