//! Whether files that secrets come from hold what a pass found in them, without keeping what that is.
//!
//! ```text
//!   a pass reads each file once ─▶ SecretFiles: a fingerprint per file ─▶ read again later ─▶ the same?
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use secrecy::{ExposeSecret, SecretString};
use vault_api::tenant::SecretFrom;

/// What a pass found in the files that manifests name as secrets: by a key of its own, so that a
/// fingerprint says nothing to anybody else, and is gone with the process.
///
/// Values are compared and not times of files: a file may be written twice within one tick of the file
/// system's clock, and a folder that is mounted anew has other files of the same times.
#[derive(Default)]
pub struct SecretFiles {
    fingerprints: RandomState,
    found: BTreeMap<SecretFrom, u64>,
}

impl SecretFiles {
    /// Of what was read; sources that are no files do not change while the process runs.
    pub(super) fn of<'a>(
        read: impl IntoIterator<Item = (&'a SecretFrom, &'a Result<SecretString, String>)>,
    ) -> Self {
        let fingerprints = RandomState::new();
        let files = read.into_iter().filter(|(from, _)| from.file.is_some());
        let found = files.map(|(from, value)| (from.clone(), fingerprint(&fingerprints, value)));
        Self { found: found.collect(), fingerprints }
    }

    /// Whether each file holds now what it held, or cannot be read for the same reason.
    pub(super) fn are_same(
        &self,
        read: impl Fn(&SecretFrom) -> Result<SecretString, String>,
    ) -> bool {
        let mut found = self.found.iter();
        found.all(|(from, known)| fingerprint(&self.fingerprints, &read(from)) == *known)
    }
}

fn fingerprint(by: &RandomState, value: &Result<SecretString, String>) -> u64 {
    by.hash_one(value.as_ref().map(|value| value.expose_secret()))
}

impl fmt::Debug for SecretFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SecretFiles").field("count", &self.found.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(env: Option<&str>, file: Option<&str>) -> SecretFrom {
        SecretFrom { env: env.map(str::to_owned), file: file.map(str::to_owned) }
    }

    #[test]
    fn files_are_the_same_while_each_holds_the_same_or_fails_for_the_same_reason() {
        let value = |text: &str| Ok(SecretString::from(text));
        let no = || Err("no such file".to_owned());
        let read = BTreeMap::from([
            (from(None, Some("a")), value("one")),
            (from(None, Some("b")), no()),
            (from(Some("VAULTCTL_SECRET_X"), None), value("never asked for again")),
        ]);
        let files = SecretFiles::of(&read);
        let look = |a: Result<SecretString, String>, b: Result<SecretString, String>| {
            files.are_same(|from| match from.file.as_deref() {
                Some("a") => a.clone(),
                Some("b") => b.clone(),
                other => panic!("{other:?}"),
            })
        };
        assert!(look(value("one"), no()));
        assert!(!look(value("two"), no()));
        assert!(!look(no(), no()));
        assert!(!look(value("one"), value("no such file")), "a value is no failure");
        assert!(!look(value("one"), Err("is no file".to_owned())));
        assert!(SecretFiles::default().are_same(|_| panic!("there is nothing to be read")));
    }

    #[test]
    fn debug_shows_neither_paths_nor_values() {
        let read = BTreeMap::from([(from(None, Some("path")), Ok(SecretString::from("value")))]);
        assert_eq!(format!("{:?}", SecretFiles::of(&read)), "SecretFiles { count: 1 }");
    }
}
