//! Every bound of unpacking, with its reason.
//!
//! ```text
//!   bytes in ─▶ decompressed ────▶ headers, records ─────▶ names ─▶ tree
//!               BYTES, RATIO       RECORDS_BYTES,          NAME_*   ENTRIES, FILE_BYTES,
//!               ZSTD_WINDOW_LOG    SPARSE_REGIONS          DEPTH    HELD_BYTES, RESERVE_PERCENT
//! ```

use rustix::fs::{Dev, makedev};

/// What a caller may choose. The default is meant for the root filesystem of a machine.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the decompressed archive. What is written to the disk is less.
    pub bytes: u64,
    /// How many times larger than its compressed bytes an archive may be, from [`RATIO_FREE_BYTES`]
    /// on.
    pub ratio: u64,
    /// Entries, extension records not counted.
    pub entries: u64,
    /// Folders above an entry, beneath the root.
    pub depth: usize,
    /// The size that a single file may have, holes included.
    pub file_bytes: u64,
    /// The part of the filesystem's space, and of its inodes, that has to stay free.
    pub reserve_percent: u64,
    /// The character devices that may be there; every other one is refused.
    pub devices: Vec<Device>,
    /// They are made. Else they are passed over, which needs no right to make devices: for whoever mounts
    /// another `/dev` over them anyway.
    pub make_devices: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: BYTES,
            ratio: RATIO,
            entries: ENTRIES,
            depth: DEPTH,
            file_bytes: BYTES,
            reserve_percent: RESERVE_PERCENT,
            devices: DEVICES.to_vec(),
            make_devices: true,
        }
    }
}

/// A character device that gives nobody power over the machine: its name in `/dev`, and the numbers
/// that Linux has given to it for good (`Documentation/admin-guide/devices.txt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The last part of its path.
    pub name: &'static str,
    /// The driver.
    pub major: u32,
    /// Which device of the driver.
    pub minor: u32,
}

impl Device {
    pub(crate) fn number(self) -> Dev {
        makedev(self.major, self.minor)
    }
}

/// What programs expect in `/dev` before anything is mounted over it.
pub const DEVICES: [Device; 8] = [
    Device { name: "null", major: 1, minor: 3 },
    Device { name: "zero", major: 1, minor: 5 },
    Device { name: "full", major: 1, minor: 7 },
    Device { name: "random", major: 1, minor: 8 },
    Device { name: "urandom", major: 1, minor: 9 },
    Device { name: "tty", major: 5, minor: 0 },
    Device { name: "console", major: 5, minor: 1 },
    // With devpts mounted it is a link, but debootstrap makes it all the same.
    Device { name: "ptmx", major: 5, minor: 2 },
];

/// Development environments with several toolchains are some 10 to 20 GiB.
pub const BYTES: u64 = 64 << 30;

/// Root filesystems are 2 to 5 times as large as their archives; disk images in them, mostly zeros,
/// may lift that to some tens. A bomb has a thousand (gzip) or ten thousand (zstd).
pub const RATIO: u64 = 200;

/// What an archive may hold whatever its ratio: small ones may well be nearly empty.
pub const RATIO_FREE_BYTES: u64 = 256 << 20;

/// A large development environment has some 500,000 files.
pub const ENTRIES: u64 = 1_000_000;

/// Deeper than what node_modules and the like reach, by far; `pack` refuses to go deeper as well.
pub const DEPTH: usize = 256;

/// Linux's `PATH_MAX` without the zero byte at the end: longer paths cannot be opened at once.
pub const NAME_BYTES: usize = 4095;

/// `NAME_MAX`: what one part of a path may have on Linux's filesystems.
pub const NAME_PART_BYTES: usize = 255;

/// One extension record: names are at most 4 KiB, an extended attribute at most 64 KiB, and an entry
/// has a few of these.
pub const RECORDS_BYTES: u64 = 1 << 20;

/// Pieces of one sparse file: 16 MiB of memory for the map.
pub const SPARSE_REGIONS: u64 = 1 << 20;

/// What is kept of folders until the end, when they get their times and modes: a name and attributes
/// each. A million ordinary ones need less than 128 MiB.
pub const HELD_BYTES: usize = 256 << 20;

/// Zeros after the end of the archive. Tools fill their last record up, which has 10 KiB usually
/// and at most some hundred.
pub const PADDING_BYTES: u64 = 1 << 20;

/// A twentieth is what ext4 keeps for root, too; below it the machine's own work suffers.
pub const RESERVE_PERCENT: u64 = 5;

/// How much may be written before free space is looked at again. It is a small part of any volume
/// that holds a root filesystem.
pub(crate) const RESERVE_LOOK_BYTES: u64 = 64 << 20;

/// How many entries may be made before free space and inodes are looked at again.
pub(crate) const RESERVE_LOOK_ENTRIES: u64 = 4096;

/// zstd's memory: 128 MiB, what its own program accepts without being asked for more.
pub(crate) const ZSTD_WINDOW_LOG: u32 = 27;

/// One piece of decompressed archive: large enough that a write costs little beside its bytes, small
/// enough for a processor's cache.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// Pieces that are decompressed ahead of the writer.
pub(crate) const PIECES_AHEAD: usize = 8;

/// Folder descriptors that are kept open. Archives go through a tree in order, so the last few serve
/// nearly every entry.
pub(crate) const FOLDERS_OPEN: usize = 64;
