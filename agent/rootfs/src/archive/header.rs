//! One header block, by the layout of the `tar` crate.

use std::ops::Deref;

use crate::error::Problem;

use super::number;

/// Which of the three layouts a header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Before 1988: no magic, no types beyond links.
    Old,
    /// POSIX, and so PAX.
    Ustar,
    /// GNU's.
    Gnu,
}

pub(super) struct Block(tar::Header);

impl Default for Block {
    fn default() -> Self {
        Self(tar::Header::new_old())
    }
}

impl Deref for Block {
    type Target = tar::Header;

    fn deref(&self) -> &tar::Header {
        &self.0
    }
}

impl Block {
    pub(super) fn as_mut_bytes(&mut self) -> &mut [u8; 512] {
        self.0.as_mut_bytes()
    }

    pub(super) fn is_zero(&self) -> bool {
        self.as_bytes().iter().all(|byte| *byte == 0)
    }

    /// Whether it is a header at all.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let bytes = self.as_bytes();
        // The checksum is taken with spaces in its own place.
        let sum: u64 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u64::from(*byte)).sum();
        if number::unsigned(&self.as_old().cksum, "checksum").ok() != Some(sum + 8 * 32) {
            return Err(Problem::Checksum);
        }
        let strange = match self.form() {
            // Where the others have their magic, and behind it, the oldest form has nothing; only GNU
            // tar fills the numbers of devices in, which do not count here.
            Form::Old => bytes[257..329].iter().chain(&bytes[345..]).any(|byte| *byte != 0),
            // star's own form, which reads as ustar, has a shorter prefix and times behind it.
            Form::Ustar => bytes[500..].iter().any(|byte| *byte != 0),
            Form::Gnu => false,
        };
        if strange { Err(Problem::Format) } else { Ok(()) }
    }

    pub(super) fn form(&self) -> Form {
        if self.as_ustar().is_some() {
            Form::Ustar
        } else if self.as_gnu().is_some() {
            Form::Gnu
        } else {
            Form::Old
        }
    }

    /// The type's byte as it stands there.
    pub(super) fn kind(&self) -> u8 {
        self.as_old().linkflag[0]
    }

    pub(super) fn size(&self) -> Result<u64, Problem> {
        number::size(&self.as_old().size, "size")
    }

    pub(super) fn mode(&self) -> Result<u32, Problem> {
        let mode = number::unsigned(&self.as_old().mode, "mode")?;
        // Some tools leave the bits of the file's type in; the entry's type is what counts.
        u32::try_from(mode & 0o7777).map_err(|_| Problem::Number("mode"))
    }

    pub(super) fn uid(&self) -> Result<u64, Problem> {
        number::unsigned(&self.as_old().uid, "uid")
    }

    pub(super) fn gid(&self) -> Result<u64, Problem> {
        number::unsigned(&self.as_old().gid, "gid")
    }

    pub(super) fn mtime(&self) -> Result<i64, Problem> {
        number::signed(&self.as_old().mtime, "mtime")
    }

    pub(super) fn path(&self) -> Vec<u8> {
        self.path_bytes().into_owned()
    }

    pub(super) fn target(&self) -> Option<Vec<u8>> {
        self.link_name_bytes().map(|target| target.into_owned())
    }

    pub(super) fn device(&self) -> Result<(u32, u32), Problem> {
        let (major, minor) = match (self.as_ustar(), self.as_gnu()) {
            (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
            (_, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
            // The oldest form has no devices.
            (None, None) => return Err(Problem::Type(self.kind())),
        };
        let read = |field: &[u8; 8], name| {
            u32::try_from(number::unsigned(field, name)?).map_err(|_| Problem::Number(name))
        };
        Ok((read(major, "device major")?, read(minor, "device minor")?))
    }
}
