//! An entry's header: ustar, with PAX records for what does not fit, and GNU's sparse format 1.0.

use tar::Header;

use crate::archive::{BLOCK_BYTES, Region};
use crate::attributes::{Attributes, Time};
use crate::limits::RECORDS_BYTES;
use crate::name::split;

/// The largest numbers of seven and eleven octal digits.
const ID_MAX: u32 = 0o777_7777;
const LONG_MAX: u64 = (1 << 33) - 1;

/// What the header's fields for names hold.
const NAME_MAX: usize = 100;
const PREFIX_MAX: usize = 155;

/// What is to be written of an entry before its content.
pub(super) struct Record<'entry> {
    /// Folders end with a slash.
    pub(super) name: &'entry [u8],
    pub(super) kind: u8,
    pub(super) attributes: &'entry Attributes,
    /// Of content in the archive, without a map.
    pub(super) size: u64,
    pub(super) target: Option<&'entry [u8]>,
    pub(super) device: Option<(u32, u32)>,
    pub(super) sparse: Option<Sparse<'entry>>,
}

/// A file with holes.
pub(super) struct Sparse<'entry> {
    pub(super) size: u64,
    pub(super) regions: &'entry [Region],
}

impl Record<'_> {
    /// Whole blocks; a sparse file's map is the last of them. Nothing, if the records are larger than
    /// what is unpacked again.
    pub(super) fn blocks(&self) -> Option<Vec<u8>> {
        let map = self.sparse.as_ref().map(|sparse| map(sparse)).unwrap_or_default();
        let mut header = Header::new_ustar();
        let records = self.fields(&mut header, map.len() as u64);
        let mut blocks = Vec::new();
        if !records.is_empty() {
            if records.len() as u64 > RECORDS_BYTES {
                return None;
            }
            blocks.extend_from_slice(extension(records.len() as u64).as_bytes());
            blocks.extend_from_slice(&records);
            fill_up(&mut blocks);
        }
        header.set_cksum();
        blocks.extend_from_slice(header.as_bytes());
        blocks.extend_from_slice(&map);
        Some(blocks)
    }

    /// Fills the header in, and returns the records for what does not fit.
    fn fields(&self, header: &mut Header, map_bytes: u64) -> Vec<u8> {
        let mut records = Records::default();
        let Attributes { mode, uid, gid, mtime, ref xattrs } = *self.attributes;
        match &self.sparse {
            Some(sparse) => {
                records.add("GNU.sparse.major", b"1");
                records.add("GNU.sparse.minor", b"0");
                records.add_name("GNU.sparse.name", self.name);
                records.add("GNU.sparse.realsize", sparse.size.to_string().as_bytes());
                // What readers make that know nothing of sparse files.
                let (_, leaf) = split(self.name);
                let leaf = &leaf[..leaf.len().min(NAME_MAX / 2)];
                set_name(header, &[b"GNUSparseFile.0/", leaf].concat());
            }
            None if !set_name(header, self.name) => records.add_name("path", self.name),
            None => {}
        }
        if let Some(target) = self.target
            && !set_target(header, target)
        {
            records.add_name("linkpath", target);
        }
        let size = self.size + map_bytes;
        header.set_size(if size > LONG_MAX { 0 } else { size });
        if size > LONG_MAX {
            records.add("size", size.to_string().as_bytes());
        }
        for (key, id) in [("uid", uid), ("gid", gid)] {
            if id > ID_MAX {
                records.add(key, id.to_string().as_bytes());
            }
        }
        header.set_uid(if uid > ID_MAX { 0 } else { uid.into() });
        header.set_gid(if gid > ID_MAX { 0 } else { gid.into() });
        header.set_mode(mode);
        let seconds = u64::try_from(mtime.seconds).ok().filter(|seconds| *seconds <= LONG_MAX);
        header.set_mtime(seconds.unwrap_or_default());
        if seconds.is_none() || mtime.nanoseconds != 0 {
            records.add("mtime", decimal(mtime).as_bytes());
        }
        let (major, minor) = self.device.unwrap_or_default();
        let ustar = header.as_ustar_mut().expect("it was made as ustar");
        ustar.set_device_major(major);
        ustar.set_device_minor(minor);
        header.as_old_mut().linkflag = [self.kind];
        for (name, value) in xattrs {
            records.add_attribute(name, value);
        }
        records.finish()
    }
}

/// The header before the records; the same for all, so that it tells nothing.
fn extension(size: u64) -> Header {
    let mut header = Header::new_ustar();
    set_name(&mut header, b"PaxHeaders/entry");
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.as_old_mut().linkflag = [b'x'];
    header.set_cksum();
    header
}

/// Whether it fits, whole or cut at a slash.
fn set_name(header: &mut Header, name: &[u8]) -> bool {
    let cut = if name.len() <= NAME_MAX {
        None
    } else {
        let slash = (1..name.len().saturating_sub(1)).find(|slash| {
            name[*slash] == b'/' && *slash <= PREFIX_MAX && name.len() - slash - 1 <= NAME_MAX
        });
        if slash.is_none() {
            return false;
        }
        slash
    };
    let ustar = header.as_ustar_mut().expect("it was made as ustar");
    let (prefix, rest) = match cut {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (&b""[..], name),
    };
    ustar.prefix[..prefix.len()].copy_from_slice(prefix);
    ustar.name[..rest.len()].copy_from_slice(rest);
    true
}

fn set_target(header: &mut Header, target: &[u8]) -> bool {
    let place = &mut header.as_old_mut().linkname;
    if target.len() > place.len() {
        return false;
    }
    place[..target.len()].copy_from_slice(target);
    true
}

/// The map of format 1.0. A hole at the end is told by a region of no length, as GNU tar does.
fn map(sparse: &Sparse<'_>) -> Vec<u8> {
    let end = sparse.regions.last().map_or(0, |region| region.offset + region.length);
    let hole = (end < sparse.size).then_some(Region { offset: sparse.size, length: 0 });
    let count = sparse.regions.len() + usize::from(hole.is_some());
    let mut text = format!("{count}\n").into_bytes();
    for region in sparse.regions.iter().chain(&hole) {
        text.extend_from_slice(format!("{}\n{}\n", region.offset, region.length).as_bytes());
    }
    fill_up(&mut text);
    text
}

fn fill_up(blocks: &mut Vec<u8>) {
    blocks.resize(blocks.len().next_multiple_of(BLOCK_BYTES), 0);
}

/// As PAX has it: negative before 1970, with the fraction away from zero.
fn decimal(time: Time) -> String {
    let Time { seconds, nanoseconds } = time;
    let text = match nanoseconds {
        0 => return seconds.to_string(),
        _ if seconds >= 0 => format!("{seconds}.{nanoseconds:09}"),
        _ => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
    };
    text.trim_end_matches('0').to_owned()
}

#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    /// Whether a name in them is no text, which they have to say.
    binary: bool,
}

impl Records {
    fn add(&mut self, key: &str, value: &[u8]) {
        self.push(&[key.as_bytes()], value);
    }

    fn add_name(&mut self, key: &str, name: &[u8]) {
        self.binary |= str::from_utf8(name).is_err();
        self.add(key, name);
    }

    fn add_attribute(&mut self, name: &[u8], value: &[u8]) {
        self.push(&[b"SCHILY.xattr.", name], value);
    }

    /// The length counts itself.
    fn push(&mut self, key: &[&[u8]], value: &[u8]) {
        let key = key.concat();
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.bytes.extend_from_slice(format!("{length} ").as_bytes());
        self.bytes.extend_from_slice(&key);
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }

    fn finish(self) -> Vec<u8> {
        if !self.binary {
            return self.bytes;
        }
        let mut first = Self::default();
        first.add("hdrcharset", b"BINARY");
        first.bytes.extend_from_slice(&self.bytes);
        first.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_read() {
        let written = |seconds, nanoseconds| decimal(Time { seconds, nanoseconds });
        assert_eq!(written(12, 0), "12");
        assert_eq!(written(10, 0), "10");
        assert_eq!(written(12, 500_000_000), "12.5");
        assert_eq!(written(12, 1), "12.000000001");
        assert_eq!(written(-2, 750_000_000), "-1.25");
        assert_eq!(written(-1, 500_000_000), "-0.5");
        assert_eq!(written(-3, 0), "-3");
    }

    #[test]
    fn names_are_cut_at_a_slash_where_both_parts_fit() {
        let fits = |name: &str| set_name(&mut Header::new_ustar(), name.as_bytes());
        assert!(fits(&"n".repeat(100)));
        assert!(!fits(&"n".repeat(101)));
        assert!(fits(&format!("{}/{}", "p".repeat(155), "n".repeat(100))));
        assert!(!fits(&format!("{}/{}", "p".repeat(156), "n".repeat(100))));
        assert!(!fits(&format!("{}/{}", "p".repeat(10), "n".repeat(101))));
        // A prefix alone would leave an empty name.
        assert!(!fits(&format!("{}/", "n".repeat(100))));
    }
}
