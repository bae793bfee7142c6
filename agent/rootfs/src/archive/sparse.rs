//! Maps of sparse files: which regions of a file stand in the archive.
//!
//! ```text
//!   file:     |data|··hole··|data|····hole····|
//!   map:      (0, 4)   (12, 4)   (28, 0)        a last region of length 0 at the end is usual
//!   archive:  |data|data|
//! ```

use tar::GnuSparseHeader;

use crate::error::{Limit, Problem};
use crate::limits::SPARSE_REGIONS;

use super::{BLOCK, number};

/// A part of a file that is in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Appends a region, up to the limit.
fn add(regions: &mut Vec<Region>, offset: u64, length: u64) -> Result<(), Problem> {
    if regions.len() as u64 >= SPARSE_REGIONS {
        return Err(Problem::Limit(Limit::Regions(SPARSE_REGIONS)));
    }
    regions.push(Region { offset, length });
    Ok(())
}

/// Whether the regions are in order, inside of the file, and exactly what the archive holds.
pub(super) fn check(regions: &[Region], size: u64, stored: u64) -> Result<(), Problem> {
    let mut end = 0;
    let mut sum: u64 = 0;
    let mut aligned = true;
    for region in regions {
        if region.offset < end {
            return Err(Problem::Sparse);
        }
        end = region.offset.checked_add(region.length).ok_or(Problem::Sparse)?;
        // GNU tar begins each region at a new block, bsdtar right behind the last one. Only where
        // both are the same there is one meaning.
        if region.length > 0 && !aligned {
            return Err(Problem::Sparse);
        }
        aligned &= region.length % BLOCK == 0;
        sum = sum.checked_add(region.length).ok_or(Problem::Sparse)?;
    }
    if end > size || sum != stored { Err(Problem::Sparse) } else { Ok(()) }
}

/// The regions of a header of GNU's own format, and whether more follow in a block of their own. Unused
/// places have no digits, and stand only at the end of the last block: the chain of blocks has no
/// other bound than that of the regions.
pub(super) fn read_headers(
    headers: &[GnuSparseHeader],
    extended: u8,
    regions: &mut Vec<Region>,
) -> Result<bool, Problem> {
    let begin = regions.len();
    for header in headers {
        if header.offset[0] == 0 || header.numbytes[0] == 0 {
            break;
        }
        let offset = number::size(&header.offset, "sparse offset")?;
        let length = number::size(&header.numbytes, "sparse length")?;
        add(regions, offset, length)?;
    }
    let full = regions.len() - begin == headers.len();
    match extended {
        0 => Ok(false),
        _ if full => Ok(true),
        _ => Err(Problem::Sparse),
    }
}

/// Format 0.1: `offset,length,offset,length,…` in a record.
pub(super) fn read_list(text: &[u8], count: u64) -> Result<Vec<Region>, Problem> {
    let mut regions = Vec::new();
    if !text.is_empty() {
        let mut numbers = text.split(|byte| *byte == b',');
        while let Some(offset) = numbers.next() {
            let offset = number::decimal(offset).ok_or(Problem::Sparse)?;
            let length = numbers.next().and_then(number::decimal).ok_or(Problem::Sparse)?;
            add(&mut regions, offset, length)?;
        }
    }
    if regions.len() as u64 == count { Ok(regions) } else { Err(Problem::Sparse) }
}

/// Format 1.0, read block by block: the number of regions and then two numbers for each, in decimal,
/// with a line feed behind every one.
#[derive(Default)]
pub(super) struct Text {
    /// Of the number that is being read.
    digits: Vec<u8>,
    count: Option<u64>,
    offset: Option<u64>,
    regions: Vec<Region>,
}

impl Text {
    /// All regions, once the last one has come.
    pub(super) fn push(&mut self, block: &[u8]) -> Result<Option<Vec<Region>>, Problem> {
        for byte in block {
            if *byte != b'\n' {
                // A longer number is out of bounds in any case.
                if self.digits.len() > 20 {
                    return Err(Problem::Sparse);
                }
                self.digits.push(*byte);
                continue;
            }
            let number = number::decimal(&self.digits).ok_or(Problem::Sparse)?;
            self.digits.clear();
            match (self.count, self.offset.take()) {
                (None, _) => self.count = Some(number),
                (Some(_), None) => self.offset = Some(number),
                (Some(_), Some(offset)) => add(&mut self.regions, offset, number)?,
            }
            if self.offset.is_none() && self.count == Some(self.regions.len() as u64) {
                return Ok(Some(std::mem::take(&mut self.regions)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(offset: u64, length: u64) -> Region {
        Region { offset, length }
    }

    #[test]
    fn a_map_in_text_is_read_over_the_borders_of_blocks() {
        let text = b"2\n0\n512\n1024\n100\n\0\0";
        for cut in 1..text.len() - 2 {
            let mut reader = Text::default();
            let first = reader.push(&text[..cut]).expect("sound so far");
            let all = match first {
                Some(all) => all,
                None => reader.push(&text[cut..]).expect("sound").expect("whole"),
            };
            assert_eq!(all, [region(0, 512), region(1024, 100)], "cut at {cut}");
        }
        assert_eq!(Text::default().push(b"0\n").expect("sound"), Some(Vec::new()));
        assert!(Text::default().push(b"x\n").is_err());
        assert!(Text::default().push(&[b'1'; 512]).is_err());
    }

    #[test]
    fn a_map_has_one_meaning() {
        assert!(check(&[region(0, 512), region(1024, 100)], 1124, 612).is_ok());
        assert!(check(&[region(0, 512), region(4096, 0)], 4096, 512).is_ok());
        // Overlap, beyond the end, other bytes than there are, not in whole blocks, overflow.
        assert!(check(&[region(0, 512), region(511, 1)], 4096, 513).is_err());
        assert!(check(&[region(0, 512)], 511, 512).is_err());
        assert!(check(&[region(0, 512)], 4096, 513).is_err());
        assert!(check(&[region(0, 100), region(1024, 512)], 4096, 612).is_err());
        assert!(check(&[region(u64::MAX, 2)], u64::MAX, 2).is_err());
    }

    #[test]
    fn a_list_has_pairs() {
        assert_eq!(read_list(b"0,512,1024,1", 2).expect("sound").len(), 2);
        assert!(read_list(b"0,512,1024", 2).is_err());
        assert!(read_list(b"0,512", 2).is_err());
        assert!(read_list(b"", 0).expect("sound").is_empty());
    }
}
