//! What a file has beside its name and content.

use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};

/// Owner, mode, time and extended attributes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// The lower twelve bits: permissions, set-user-ID, set-group-ID and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// Full names (`security.capability`) and values, in the archive's order.
    pub(crate) xattrs: Xattrs,
}

/// Extended attributes: names and values.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Since 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    /// 0 to 999,999,999, also before 1970.
    pub(crate) nanoseconds: u32,
}

impl Time {
    /// Only the time of the last change is kept; when something was last read is nobody's business.
    pub(crate) fn timestamps(self) -> Timestamps {
        Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: self.seconds, tv_nsec: self.nanoseconds.into() },
        }
    }
}
