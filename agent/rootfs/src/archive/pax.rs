//! PAX extension records (POSIX.1-2017, `pax`): `LENGTH KEY=VALUE\n`, and what they change.
//!
//! Every key is known by name here. What only tells of the packer's computer is left out; what is
//! not known, and would be lost, is an error.

use std::collections::BTreeSet;

use data_encoding::{BASE64, BASE64_NOPAD};

use crate::attributes::{Attributes, Time, Xattrs};
use crate::error::Problem;
use crate::name::shown;

use super::header::{Block, Form};
use super::number;
use super::sparse::{self, Region};

/// Tells of the packer's computer: nothing that we keep is lost with it.
const IGNORED: [&str; 11] = [
    "LIBARCHIVE.creationtime",
    "SCHILY.dev",
    "SCHILY.ino",
    "SCHILY.nlink",
    "atime",
    "charset",
    "comment",
    "ctime",
    "gname",
    // Names are bytes, whatever it says.
    "hdrcharset",
    "uname",
];

/// What fits into a header's field for sizes, in eleven octal digits.
const HEADER_SIZE_MAX: u64 = (1 << 33) - 1;

/// The records before an entry.
#[derive(Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) target: Option<Vec<u8>>,
    pub(super) sparse: Option<SparseFile>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<Time>,
    xattrs: Xattrs,
}

/// A sparse file, as its records tell.
pub(super) enum SparseFile {
    /// Format 0.1.
    Listed { name: Option<Vec<u8>>, size: u64, map: Vec<Region> },
    /// Format 1.0: the map stands before the content.
    Inside { name: Option<Vec<u8>>, size: u64 },
}

impl SparseFile {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Listed { size, .. } | Self::Inside { size, .. } => *size,
        }
    }

    pub(super) fn map(&self) -> Option<&[Region]> {
        match self {
            Self::Listed { map, .. } => Some(map),
            Self::Inside { .. } => None,
        }
    }
}

/// The keys `GNU.sparse.…` as they come.
#[derive(Default)]
struct SparseKeys {
    major: Option<u64>,
    minor: Option<u64>,
    name: Option<Vec<u8>>,
    real_size: Option<u64>,
    size: Option<u64>,
    blocks: Option<u64>,
    map: Option<Vec<u8>>,
}

impl SparseKeys {
    fn read(&mut self, key: &str, value: &[u8]) -> Result<bool, Problem> {
        let place = match key {
            "name" => {
                self.name = Some(filled(value)?);
                return Ok(true);
            }
            "map" => {
                self.map = Some(value.to_vec());
                return Ok(true);
            }
            "major" => &mut self.major,
            "minor" => &mut self.minor,
            "realsize" => &mut self.real_size,
            "size" => &mut self.size,
            "numblocks" => &mut self.blocks,
            // Format 0.0 says the same keys again and again.
            _ => return Ok(false),
        };
        *place = Some(number::decimal(value).ok_or(Problem::Sparse)?);
        Ok(true)
    }

    fn finish(self) -> Result<Option<SparseFile>, Problem> {
        match self {
            Self {
                major: None,
                minor: None,
                name: None,
                real_size: None,
                size: None,
                blocks: None,
                map: None,
            } => Ok(None),
            Self {
                major: Some(1),
                minor: Some(0),
                name,
                real_size: Some(size),
                size: None,
                blocks: None,
                map: None,
            } => Ok(Some(SparseFile::Inside { name, size })),
            Self {
                major: None,
                minor: None,
                name,
                real_size: None,
                size: Some(size),
                blocks: Some(blocks),
                map: Some(map),
            } => {
                let map = sparse::read_list(&map, blocks)?;
                Ok(Some(SparseFile::Listed { name, size, map }))
            }
            _ => Err(Problem::Sparse),
        }
    }
}

impl Records {
    pub(super) fn read(data: &[u8]) -> Result<Self, Problem> {
        let mut records = Self::default();
        let mut sparse = SparseKeys::default();
        // bsdtar says an attribute twice, in two encodings.
        let mut encoded = Vec::new();
        let mut seen = BTreeSet::new();
        for record in split(data) {
            let (key, value) = record?;
            if !seen.insert(key) {
                return Err(Problem::Twice(format!("record {}", shown(key.as_bytes()))));
            }
            match key {
                "path" => records.path = Some(filled(value)?),
                "linkpath" => records.target = Some(filled(value)?),
                "size" => records.size = Some(decimal(value, "size")?),
                "uid" => records.uid = Some(decimal(value, "uid")?),
                "gid" => records.gid = Some(decimal(value, "gid")?),
                "mtime" => records.mtime = Some(time(value).ok_or(Problem::Number("mtime"))?),
                _ if IGNORED.contains(&key) => {}
                _ => {
                    let known = if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                        records.xattrs.push((attribute_name(name.as_bytes())?, value.to_vec()));
                        true
                    } else if let Some(name) = key.strip_prefix("LIBARCHIVE.xattr.") {
                        encoded.push((percent_decoded(name)?, base_64(value)?));
                        true
                    } else if let Some(key) = key.strip_prefix("GNU.sparse.") {
                        sparse.read(key, value)?
                    } else {
                        false
                    };
                    if !known {
                        return Err(Problem::Unsupported(shown(key.as_bytes())));
                    }
                }
            }
        }
        for (name, value) in encoded {
            match records.xattrs.iter().find(|(other, _)| *other == name) {
                None => records.xattrs.push((name, value)),
                Some((_, plain)) if *plain == value => {}
                Some(_) => return Err(Problem::Twice(format!("attribute {}", shown(&name)))),
            }
        }
        records.sparse = sparse.finish()?;
        Ok(records)
    }

    pub(super) fn sparse_name(&self) -> Option<&[u8]> {
        match &self.sparse {
            Some(SparseFile::Listed { name, .. } | SparseFile::Inside { name, .. }) => {
                name.as_deref()
            }
            None => None,
        }
    }

    /// The bytes of content that the archive holds. A record may only say what the header cannot:
    /// then the header has zero (GNU tar, Python) or its largest number (bsdtar).
    pub(super) fn size_of(&self, block: &Block) -> Result<u64, Problem> {
        let header = block.size()?;
        match self.size {
            None => Ok(header),
            Some(record) if record == header => Ok(record),
            Some(record) if record > HEADER_SIZE_MAX && matches!(header, 0 | HEADER_SIZE_MAX) => {
                Ok(record)
            }
            Some(record) => Err(Problem::TwoSizes { header, record }),
        }
    }

    pub(super) fn attributes(self, block: &Block) -> Result<Attributes, Problem> {
        debug_assert!(block.form() != Form::Old || self.path.is_none(), "records are of ustar");
        let mtime = match self.mtime {
            Some(time) => time,
            None => Time { seconds: block.mtime()?, nanoseconds: 0 },
        };
        Ok(Attributes {
            mode: block.mode()?,
            uid: id(self.uid.map_or_else(|| block.uid(), Ok)?, "uid")?,
            gid: id(self.gid.map_or_else(|| block.gid(), Ok)?, "gid")?,
            mtime,
            xattrs: self.xattrs,
        })
    }
}

/// Records for all entries that follow: nothing that changes them is taken.
pub(super) fn check_global(data: &[u8]) -> Result<(), Problem> {
    for record in split(data) {
        let (key, _) = record?;
        if !matches!(key, "comment" | "charset" | "hdrcharset") {
            return Err(Problem::Unsupported(format!("{} for all entries", shown(key.as_bytes()))));
        }
    }
    Ok(())
}

type Record<'data> = (&'data str, &'data [u8]);

/// The records by their lengths: values may hold line feeds.
fn split(mut data: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Problem>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let record = first(data);
        // After a damaged one nothing is known.
        data = record.as_ref().map_or(&[], |(_, _, rest)| rest);
        Some(record.map(|(key, value, _)| (key, value)).ok_or(Problem::Record))
    })
}

fn first(data: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let space = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number::decimal(&data[..space])?).ok()?;
    if length <= space + 1 || length > data.len() {
        return None;
    }
    let (record, rest) = data.split_at(length);
    let (line_feed, record) = record[space + 1..].split_last()?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let key = str::from_utf8(&record[..equals]).ok()?;
    (*line_feed == b'\n' && !key.is_empty()).then_some((key, &record[equals + 1..], rest))
}

/// An empty value would take an earlier record back, which some readers do and some do not.
fn filled(value: &[u8]) -> Result<Vec<u8>, Problem> {
    if value.is_empty() { Err(Problem::Record) } else { Ok(value.to_vec()) }
}

fn decimal(value: &[u8], name: &'static str) -> Result<u64, Problem> {
    number::decimal(value).ok_or(Problem::Number(name))
}

/// The largest number means "leave it as it is" to the system, so it is nobody's.
fn id(number: u64, name: &'static str) -> Result<u32, Problem> {
    match u32::try_from(number) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(Problem::Number(name)),
    }
}

/// Seconds since 1970 with a fraction; before 1970 they are negative, with the fraction away from
/// zero. What is finer than a nanosecond is cut off.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(number::decimal(parts.next()?)?).ok()?;
    let mut nanoseconds = 0;
    if let Some(fraction) = parts.next() {
        if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut unit = 100_000_000;
        for digit in fraction.iter().take(9) {
            nanoseconds += u32::from(digit - b'0') * unit;
            unit /= 10;
        }
    }
    if !negative {
        return Some(Time { seconds, nanoseconds });
    }
    Some(match nanoseconds {
        0 => Time { seconds: -seconds, nanoseconds: 0 },
        _ => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

fn attribute_name(name: &[u8]) -> Result<Vec<u8>, Problem> {
    if name.is_empty() || name.contains(&0) { Err(Problem::Record) } else { Ok(name.to_vec()) }
}

fn percent_decoded(name: &str) -> Result<Vec<u8>, Problem> {
    let mut bytes = name.bytes();
    let mut decoded = Vec::with_capacity(name.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(Problem::Record) };
        decoded.push(u8::try_from(high * 16 + low).map_err(|_| Problem::Record)?);
    }
    attribute_name(&decoded)
}

fn base_64(value: &[u8]) -> Result<Vec<u8>, Problem> {
    let encoding = if value.ends_with(b"=") { &BASE64 } else { &BASE64_NOPAD };
    encoding.decode(value).map_err(|_| Problem::Record)
}

#[cfg(test)]
mod tests;
