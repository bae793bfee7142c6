//! Arbitrary bytes as an archive: unpacked or refused, and nothing outside of the root is there after.
//! Blocks that look like headers get a sound checksum first, or hardly anything would pass it.
#![no_main]

use std::fs::{self, File};
use std::os::fd::AsFd;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use vault_rootfs::{Limits, unpack};

fn repair(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512) {
        // The magic of all forms but the oldest.
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut archive = input.to_vec();
    repair(&mut archive);
    let outer = TempDir::new().expect("a folder");
    let root = outer.path().join("root");
    fs::create_dir(&root).expect("a folder");
    let folder = File::open(&root).expect("a folder");
    let limits =
        Limits { bytes: 1 << 20, file_bytes: 1 << 20, reserve_percent: 0, ..Limits::default() };
    drop(unpack(&archive[..], folder.as_fd(), &limits, &mut |_| ()));
    assert_eq!(fs::read_dir(outer.path()).expect("a folder").count(), 1, "beside the root");
});
