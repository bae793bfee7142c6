//! What a machine prints, kept within bounds: the newest file and the one before it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file that is being written.
pub(super) const NEWEST: &str = "console.log";
/// The file before it.
pub(super) const OLDER: &str = "console.log.1";

/// The size of one file in bytes; two are kept, so a machine that prints forever takes twice this.
pub(crate) const CONSOLE_BYTES_MAX: u64 = 4 << 20;

/// A machine's console log, open for one run.
pub(super) struct Console {
    directory: PathBuf,
    names: (&'static str, &'static str),
    file: File,
    size: u64,
    size_max: u64,
}

impl Console {
    /// Opens the log in the machine's folder, after what earlier runs wrote.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        Self::of_files(directory, (NEWEST, OLDER), CONSOLE_BYTES_MAX)
    }

    /// As [`Self::open`], in other files: the newest and the one before it.
    pub(super) fn of_files(
        directory: &Path,
        names: (&'static str, &'static str),
        size_max: u64,
    ) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(directory.join(names.0))?;
        let size = file.metadata()?.len();
        Ok(Self { directory: directory.to_owned(), names, file, size, size_max })
    }

    /// Appends, and begins a new file when this one is full.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.size >= self.size_max {
                self.rotate()?;
            }
            let room = usize::try_from(self.size_max - self.size).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.file.write_all(now)?;
            self.size += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let newest = self.directory.join(self.names.0);
        fs::rename(&newest, self.directory.join(self.names.1))?;
        self.file = OpenOptions::new().create(true).append(true).open(newest)?;
        self.size = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_bytes_are_kept_in_two_bounded_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut console = Console::of_files(folder.path(), (NEWEST, OLDER), 10).expect("open");
        for chunk in ["01234", "56789abcdefghijklmno", "pq"] {
            console.write(chunk.as_bytes()).expect("written");
        }
        let read = |name| fs::read_to_string(folder.path().join(name)).expect("read");
        assert_eq!((read(OLDER).as_str(), read(NEWEST).as_str()), ("abcdefghij", "klmnopq"));
        // Another run goes on where this one ended.
        let mut console = Console::of_files(folder.path(), (NEWEST, OLDER), 10).expect("open");
        console.write(b"rstuvwxyz").expect("written");
        assert_eq!((read(OLDER).as_str(), read(NEWEST).as_str()), ("klmnopqrst", "uvwxyz"));
    }
}
