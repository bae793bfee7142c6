//! The framing of a tar: one entry after the other, each with one name, one size and one meaning.
//!
//! ```text
//!   [x: PAX records] [L, K: long names] header content…padding   header …   zeros zeros padding
//!   └──────────── belong to the next header ──┘ └─ size ─┘                  └── the end ──────┘
//! ```
//!
//! Where tar readers are known to disagree, nothing is guessed: two sizes, two names, content where
//! none belongs, a lone zero block, records that are said twice or not known are all refused. Then
//! whatever is accepted here reads the same with GNU tar, bsdtar and us.

use std::io::{self, BufRead};
use std::mem;

use crate::attributes::Attributes;
use crate::error::{Limit, Problem};
use crate::limits::{PADDING_BYTES, RECORDS_BYTES};
use crate::name::{Name, shown};

mod header;
mod number;
mod pax;
mod sparse;

use header::{Block, Form};
use pax::Records;
pub(crate) use sparse::Region;

/// Everything in a tar stands in whole blocks.
pub(crate) const BLOCK: u64 = BLOCK_BYTES as u64;
pub(crate) const BLOCK_BYTES: usize = 512;

/// One thing to make.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) attributes: Attributes,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    File(Shape),
    Folder,
    /// Any bytes but none and zero: a symlink may lead anywhere, we never follow it.
    Symlink(Vec<u8>),
    Link(Name),
    CharacterDevice {
        major: u32,
        minor: u32,
    },
}

/// Size and content of a file. The content is read next, by [`Archive::content`].
#[derive(Debug)]
pub(crate) struct Shape {
    /// With holes.
    pub(crate) size: u64,
    /// What of it stands in the archive, in order; everything, if there is no map.
    pub(crate) regions: Option<Vec<Region>>,
}

/// What stood before a header and belongs to it.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
    records: Option<Records>,
    global: Option<()>,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_target.is_none() && self.records.is_none()
    }
}

pub(crate) struct Archive<R> {
    input: R,
    /// Bytes read so far.
    position: u64,
    /// Of the current entry.
    header_position: u64,
    /// Of the current entry's content, that were not read yet.
    content: u64,
    /// Behind the content, up to the next block.
    padding: u64,
    /// The name of the current entry, for errors.
    shown: String,
}

impl<R: BufRead> Archive<R> {
    pub(crate) fn new(input: R) -> Self {
        let shown = "?".to_owned();
        Self { input, position: 0, header_position: 0, content: 0, padding: 0, shown }
    }

    /// The current entry, as errors name it, and where its header stands.
    pub(crate) fn place(&self) -> (&str, u64) {
        (&self.shown, self.header_position)
    }

    /// Decompressed bytes that were read.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next entry, or nothing at the sound end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Problem> {
        debug_assert_eq!(self.content, 0, "the content of the last entry is read first");
        self.skip_padding()?;
        let mut extensions = Extensions::default();
        loop {
            self.header_position = self.position;
            let mut block = Block::default();
            self.fill(block.as_mut_bytes())?;
            if block.is_zero() {
                if !extensions.is_empty() {
                    return Err(Problem::Dangling);
                }
                self.end()?;
                return Ok(None);
            }
            block.check()?;
            match block.kind() {
                b'L' | b'K' | b'x' | b'g' => self.extension(&block, &mut extensions)?,
                _ => return self.entry(&block, extensions).map(Some),
            }
        }
    }

    /// The next piece of the current entry's content, at most `most` bytes of it; empty at its end.
    pub(crate) fn content(&mut self, most: u64) -> Result<&[u8], Problem> {
        let most = usize::try_from(most.min(self.content)).unwrap_or(usize::MAX);
        if most == 0 {
            return Ok(&[]);
        }
        let available = self.input.fill_buf().map_err(read)?;
        if available.is_empty() {
            return Err(Problem::Truncated);
        }
        Ok(&available[..available.len().min(most)])
    }

    /// Moves on behind what [`Archive::content`] gave.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.position += bytes as u64;
        self.content -= bytes as u64;
    }

    /// Content that is not wanted yet to be read by `content`.
    pub(crate) fn remaining(&self) -> u64 {
        self.content
    }

    fn extension(&mut self, block: &Block, extensions: &mut Extensions) -> Result<(), Problem> {
        let size = block.size()?;
        if size > RECORDS_BYTES {
            return Err(Problem::Limit(Limit::Records(RECORDS_BYTES)));
        }
        let kind = block.kind();
        let form = block.form();
        let expected = if matches!(kind, b'L' | b'K') { Form::Gnu } else { Form::Ustar };
        if form != expected {
            return Err(Problem::Format);
        }
        let data = self.read_all(size)?;
        let again = || Problem::Twice(format!("extension header {}", char::from(kind)));
        match kind {
            b'L' => set(&mut extensions.long_name, long_name(data)?).ok_or_else(again),
            b'K' => set(&mut extensions.long_target, long_name(data)?).ok_or_else(again),
            b'x' => set(&mut extensions.records, Records::read(&data)?).ok_or_else(again),
            _ => set(&mut extensions.global, pax::check_global(&data)?).ok_or_else(again),
        }
    }

    fn entry(&mut self, block: &Block, extensions: Extensions) -> Result<Entry, Problem> {
        let Extensions { long_name, long_target, records, .. } = extensions;
        let records = records.unwrap_or_default();
        let raw_name = one_of("its name", long_name, records.path.clone())?;
        let raw_name = raw_name.unwrap_or_else(|| block.path());
        // The name of a sparse file stands in a record of its own; the path is made up by the packer.
        let raw_name = records.sparse_name().map_or(raw_name, <[u8]>::to_vec);
        self.shown = shown(&raw_name);
        let name = Name::new(&raw_name).map_err(Problem::Name)?;
        let target = one_of("the target of its link", long_target, records.target.clone())?
            .or_else(|| block.target());

        let stored = records.size_of(block)?;
        let kind = match block.kind() {
            // The oldest form has no type for folders.
            0 if raw_name.ends_with(b"/") => b'5',
            0 => b'0',
            kind => kind,
        };
        let is_file = matches!(kind, b'0' | b'S');
        if !is_file && stored != 0 {
            return Err(Problem::Content(stored));
        }
        // A file whose name ends like a folder's is a folder to some readers.
        if kind != b'5' && raw_name.ends_with(b"/") {
            return Err(Problem::Type(kind));
        }
        if kind != b'0' && records.sparse.is_some() {
            return Err(Problem::Sparse);
        }
        self.content = stored;
        self.padding = stored.wrapping_neg() % BLOCK;
        let kind = match kind {
            b'0' => Kind::File(self.shape(&records, stored)?),
            b'S' => Kind::File(self.old_sparse(block, stored)?),
            b'1' => Kind::Link(Name::new(&target.unwrap_or_default()).map_err(Problem::Target)?),
            b'2' => Kind::Symlink(symlink_target(target)?),
            b'3' => {
                let (major, minor) = block.device()?;
                Kind::CharacterDevice { major, minor }
            }
            b'5' => Kind::Folder,
            other => return Err(Problem::Type(other)),
        };
        Ok(Entry { name, attributes: records.attributes(block)?, kind })
    }

    /// A file's size and map, in the formats of PAX.
    fn shape(&mut self, records: &Records, stored: u64) -> Result<Shape, Problem> {
        let Some(sparse) = &records.sparse else {
            return Ok(Shape { size: stored, regions: None });
        };
        let regions = match sparse.map() {
            Some(map) => map.to_vec(),
            None => self.map_in_content()?,
        };
        sparse::check(&regions, sparse.size(), self.content)?;
        Ok(Shape { size: sparse.size(), regions: Some(regions) })
    }

    /// Format 1.0: the map stands in front of the content, and is filled up to whole blocks.
    fn map_in_content(&mut self) -> Result<Vec<Region>, Problem> {
        let mut text = sparse::Text::default();
        loop {
            if self.content < BLOCK {
                return Err(Problem::Sparse);
            }
            let mut block = [0; BLOCK_BYTES];
            self.fill(&mut block)?;
            self.content -= BLOCK;
            if let Some(regions) = text.push(&block)? {
                return Ok(regions);
            }
        }
    }

    /// GNU's own type of entry: four regions in the header, then blocks with 21 each.
    fn old_sparse(&mut self, block: &Block, stored: u64) -> Result<Shape, Problem> {
        let gnu = block.as_gnu().ok_or(Problem::Format)?;
        let size = number::size(&gnu.realsize, "real size")?;
        let mut regions = Vec::new();
        let mut more = sparse::read_headers(&gnu.sparse, gnu.isextended[0], &mut regions)?;
        while more {
            let mut extended = tar::GnuExtSparseHeader::new();
            self.fill(extended.as_mut_bytes())?;
            more = sparse::read_headers(extended.sparse(), extended.isextended[0], &mut regions)?;
        }
        sparse::check(&regions, size, stored)?;
        Ok(Shape { size, regions: Some(regions) })
    }

    /// The second zero block, and nothing but zeros behind it.
    fn end(&mut self) -> Result<(), Problem> {
        let mut block = Block::default();
        self.fill(block.as_mut_bytes())?;
        if !block.is_zero() {
            return Err(Problem::Trailing);
        }
        let begin = self.position;
        loop {
            let available = self.input.fill_buf().map_err(read)?;
            if available.is_empty() {
                return Ok(());
            }
            if available.iter().any(|byte| *byte != 0) {
                return Err(Problem::Trailing);
            }
            let length = available.len();
            self.input.consume(length);
            self.position += length as u64;
            if self.position - begin > PADDING_BYTES {
                return Err(Problem::Limit(Limit::Padding(PADDING_BYTES)));
            }
        }
    }

    fn skip_padding(&mut self) -> Result<(), Problem> {
        let mut rest = [0; BLOCK_BYTES];
        let padding = usize::try_from(mem::take(&mut self.padding)).unwrap_or_default();
        self.fill(&mut rest[..padding])
    }

    fn read_all(&mut self, size: u64) -> Result<Vec<u8>, Problem> {
        let mut data = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.fill(&mut data)?;
        self.padding = size.wrapping_neg() % BLOCK;
        self.skip_padding()?;
        Ok(data)
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), Problem> {
        self.input.read_exact(into).map_err(read)?;
        self.position += into.len() as u64;
        Ok(())
    }
}

/// An input that ends too early is cut off, whoever noticed it.
fn read(error: io::Error) -> Problem {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        Problem::Truncated
    } else {
        Problem::Read(error)
    }
}

fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// GNU's long names end with one zero byte.
fn long_name(mut data: Vec<u8>) -> Result<Vec<u8>, Problem> {
    if data.pop() != Some(0) || data.contains(&0) {
        return Err(Problem::Record);
    }
    Ok(data)
}

fn one_of(
    what: &str,
    long: Option<Vec<u8>>,
    record: Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, Problem> {
    match (long, record) {
        (Some(_), Some(_)) => Err(Problem::Twice(what.to_owned())),
        (long, record) => Ok(long.or(record)),
    }
}

fn symlink_target(target: Option<Vec<u8>>) -> Result<Vec<u8>, Problem> {
    use crate::limits::NAME_BYTES;
    use crate::name::NameProblem::{Empty, TooLong, Zero};

    let target = target.unwrap_or_default();
    let problem = match &target {
        empty if empty.is_empty() => Empty,
        long if long.len() > NAME_BYTES => TooLong,
        zero if zero.contains(&0) => Zero,
        _ => return Ok(target),
    };
    Err(Problem::Target(problem))
}
