//! How long a tar.zst takes to unpack with all checks, beside GNU tar with zstd on the same archive.
//!
//! ```text
//!   ours:  unpack(archive): read, hash, decompress, check, make, syncfs
//!   tar:   tar --zstd -xpf archive, then syncfs          two processes, one of them zstd
//! ```
//!
//! The two take turns within one run, the one that begins changing with each round; both end with the
//! tree on the disk. What is unpacked are folders of this computer, packed first: one of many small
//! files, one of large ones. `VAULT_BENCH_FOLDERS` names others, apart by colons; `TMPDIR` says where to
//! unpack. Without GNU tar and zstd there is nothing to compare with, and it says so.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vault_rootfs::{Limits, PackOptions, pack, unpack};

/// Rounds that count; each of the two runs once per round.
const ROUNDS: usize = 7;
/// Rounds before those, which fill the caches.
const WARM_UP: usize = 1;

/// Many small files, and few large ones.
const FOLDERS: &str = "/usr/share:/usr/lib/x86_64-linux-gnu";

fn main() -> Result<(), Box<dyn Error>> {
    if !Command::new("tar").arg("--version").output().is_ok_and(|output| output.status.success())
        || Command::new("zstd").arg("--version").output().is_err()
    {
        println!("SKIPPED: no GNU tar with zstd to compare with");
        return Ok(());
    }
    let folders = std::env::var("VAULT_BENCH_FOLDERS").unwrap_or_else(|_| FOLDERS.to_owned());
    println!("{ROUNDS} rounds, seconds:   least     p50    most    MB/s");
    for folder in folders.split(':') {
        compare(Path::new(folder))?;
    }
    Ok(())
}

fn compare(folder: &Path) -> Result<(), Box<dyn Error>> {
    let place = TempDir::new()?;
    let archive = place.path().join("archive.tar.zst");
    let options = PackOptions { level: 3, threads: 2, ..PackOptions::default() };
    let packed = pack(folder, File::create(&archive)?, &options)?;
    println!(
        "{}: {} entries, {} MB",
        folder.display(),
        packed.entries,
        packed.bytes_in / 1_000_000
    );
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let (one, other) = if round % 2 == 0 {
            let one = time(place.path(), |root| vault(&archive, root))?;
            (one, time(place.path(), |root| gnu(&archive, root))?)
        } else {
            let other = time(place.path(), |root| gnu(&archive, root))?;
            (time(place.path(), |root| vault(&archive, root))?, other)
        };
        if round >= WARM_UP {
            ours.push(one);
            theirs.push(other);
        }
    }
    let half = print("ours", &mut ours, packed.bytes_in);
    let their_half = print("tar", &mut theirs, packed.bytes_in);
    println!("  speed, ours to tar's, p50: {:.2}", their_half / half);
    Ok(())
}

fn vault(archive: &Path, root: &Path) -> Result<(), Box<dyn Error>> {
    let root = File::open(root)?;
    let limits = Limits { reserve_percent: 1, ..Limits::default() };
    unpack(BufReader::new(File::open(archive)?), root.as_fd(), &limits, &mut |_| ())?;
    Ok(())
}

fn gnu(archive: &Path, root: &Path) -> Result<(), Box<dyn Error>> {
    let mut tar = Command::new("tar");
    tar.args(["--zstd", "--numeric-owner", "-xpf"]).arg(archive).arg("-C").arg(root);
    let status = tar.status()?;
    if !status.success() {
        return Err(format!("{status}: {tar:?}").into());
    }
    rustix::fs::syncfs(File::open(root)?)?;
    Ok(())
}

/// In a folder of its own, whose removal is not measured; what is still to be written is written before.
fn time(
    place: &Path,
    work: impl FnOnce(&Path) -> Result<(), Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let root = TempDir::new_in(place)?;
    rustix::fs::syncfs(File::open(root.path())?)?;
    let began = now();
    work(root.path())?;
    Ok(began.elapsed())
}

/// Prints a line, and returns the time in the middle, in seconds.
fn print(what: &str, spans: &mut [Duration], bytes: u64) -> f64 {
    spans.sort_unstable();
    let at = |part: usize| spans[(spans.len() - 1) * part / 2].as_secs_f64();
    let [least, half, most] = [0, 1, 2].map(at);
    let speed = bytes as f64 / 1e6 / half;
    println!("  {what:18} {least:7.2} {half:7.2} {most:7.2} {speed:7.0}");
    half
}

/// The benchmark's stopwatch.
fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    Instant::now()
}
