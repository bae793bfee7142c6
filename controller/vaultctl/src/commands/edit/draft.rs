//! The file that an editor opens.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::Command;

use tempfile::NamedTempFile;
use vault_api::manifest::MANIFEST_BYTES_MAX;

use crate::error::{Exit, Failure};

const HEADER: &str = "\
# Please edit the object below. Lines beginning with a '#' are ignored, and an empty file ends the
# edit. What is refused is opened again with the reason here.
#
";

/// The file; it goes when this is dropped. Nobody else can read it: objects may say what is nobody
/// else's business.
pub(super) struct Draft {
    file: NamedTempFile,
    /// What the editor was given.
    written: Vec<u8>,
}

impl Draft {
    /// Writes a file that only its owner can read, with the reasons why it was refused before.
    pub(super) fn write(suffix: &str, reasons: &[String], text: &str) -> io::Result<Self> {
        // The library makes the file with mode 0600.
        let mut file =
            tempfile::Builder::new().prefix("vaultctl-edit-").suffix(suffix).tempfile()?;
        let mut written = HEADER.as_bytes().to_vec();
        for reason in reasons {
            for (index, line) in reason.lines().enumerate() {
                let mark = if index == 0 { "*" } else { " " };
                writeln!(written, "# {mark} {line}")?;
            }
        }
        if !reasons.is_empty() {
            writeln!(written, "#")?;
        }
        written.extend_from_slice(text.as_bytes());
        file.write_all(&written)?;
        file.flush()?;
        Ok(Self { file, written })
    }

    /// Opens it in an editor, which may be a command with arguments, and waits for its end.
    pub(super) fn open(&self, editor: &str) -> anyhow::Result<()> {
        let status = Command::new("sh")
            .arg("-c")
            .arg(format!("{editor} \"$1\""))
            .arg("vaultctl-edit")
            .arg(self.file.path())
            .status()?;
        if status.success() {
            return Ok(());
        }
        let message = format!("the editor `{editor}` failed: {status}");
        Err(Failure::new(Exit::BadInput, message)
            .hint("set VAULTCTL_EDITOR to the command of an editor")
            .into())
    }

    /// What is in it now: by its path, because editors replace files.
    pub(super) fn read(&self) -> anyhow::Result<String> {
        let bytes = self.bytes()?;
        if bytes.len() > MANIFEST_BYTES_MAX {
            let message = format!("the edited file is larger than {MANIFEST_BYTES_MAX} bytes");
            return Err(Failure::new(Exit::BadInput, message).into());
        }
        String::from_utf8(bytes)
            .map_err(|_| Failure::new(Exit::BadInput, "the edited file is not UTF-8").into())
    }

    /// Whether there is something in the file that is nowhere else: it has been changed, or, with
    /// `was_edited`, it had been before it was opened this time.
    pub(super) fn is_worth_keeping(&self, was_edited: bool) -> bool {
        was_edited || self.bytes().is_ok_and(|bytes| bytes != self.written)
    }

    /// One byte more than is allowed at most.
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = MANIFEST_BYTES_MAX as u64 + 1;
        std::fs::File::open(self.file.path())?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Leaves the file where it is, and says where.
    pub(super) fn keep(self) -> io::Result<PathBuf> {
        Ok(self.file.into_temp_path().keep()?)
    }
}

/// The lines that do not begin with `#`.
pub(super) fn without_comments(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_draft_is_nobody_elses_business_and_its_comments_are_none_of_it() {
        let reasons = ["spec.clas: unknown\nsecond line".to_owned()];
        let draft = Draft::write(".yaml", &reasons, "a: '#'\nb: |\n  # no comment\n").unwrap();
        let mode = draft.file.as_file().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = draft.read().unwrap();
        assert!(text.contains("# * spec.clas: unknown\n#   second line\n#\na: '#'\n"), "{text}");
        assert_eq!(without_comments(&text), "a: '#'\nb: |\n  # no comment\n");
        let path = draft.file.path().to_owned();
        drop(draft);
        assert!(!path.exists());
    }
}
