//! Which controller to talk to: finding and reading the context file.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use vault_api::context::{Context, ContextFile};
use vault_api::object::API_VERSION;

use crate::private_file;

/// A context file is a certificate, a token and an address per controller; this much holds a
/// thousand of them.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Why there is no context.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    /// None of the usual files exists, or the file that was asked for does not.
    #[error("no context file; looked for {}", list(.looked))]
    NotFound {
        /// Where it was looked for, in order.
        looked: Vec<PathBuf>,
    },
    /// It exists but cannot be read.
    #[error("cannot read the context file {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the context file {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It is longer than [`MAX_FILE_BYTES`].
    #[error("the context file {} is larger than {MAX_FILE_BYTES} bytes", .path.display())]
    TooLarge { path: PathBuf },
    /// It is not a context file.
    #[error("the context file {} is not valid", .path.display())]
    Parse {
        path: PathBuf,
        // Boxed because the parser's error is large.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// It is of another version or kind.
    #[error(
        "the context file {} has apiVersion {api_version:?} and kind {kind:?}; wanted {API_VERSION:?} and \"Config\"",
        .path.display()
    )]
    Version { path: PathBuf, api_version: String, kind: String },
    /// It does not have the context that is wanted.
    #[error("the context file {} has no context {name:?}; it has {}", .path.display(), .known.join(", "))]
    Unknown { path: PathBuf, name: String, known: Vec<String> },
}

/// The files to look at, in order: `explicit` alone if given (the flag or `VAULTCTL_CONFIG`), else
/// the one beneath the working directory, else the one beneath `home`.
pub(crate) fn candidates(explicit: Option<&Path>, home: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = explicit {
        return vec![path.to_owned()];
    }
    let mut paths = vec![PathBuf::from("./.vaultctl/config.yaml")];
    paths.extend(home.map(|home| home.join(".config/vaultctl/config.yaml")));
    paths
}

/// A context file, and where it lies.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where.
    pub(crate) path: PathBuf,
    /// What.
    pub(crate) file: ContextFile,
}

/// Reads the first of `paths` that exists and picks the context `name`, or its current one.
///
/// # Errors
/// [`ContextError`]: a file that exists but cannot be used is an error, never passed over.
pub(crate) fn load(paths: &[PathBuf], name: Option<&str>) -> Result<Context, ContextError> {
    let found = find(paths)?;
    pick(&found.path, found.file, name)
}

/// Reads the first of `paths` that exists.
///
/// # Errors
/// As [`load`].
pub(crate) fn find(paths: &[PathBuf]) -> Result<Found, ContextError> {
    for path in paths {
        match read(path) {
            Ok(text) => return Ok(Found { path: path.clone(), file: parse(path, &text)? }),
            Err(ContextError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(ContextError::NotFound { looked: paths.to_vec() })
}

/// Replaces a context file at once, readable by its owner alone: it holds tokens.
///
/// # Errors
/// [`ContextError::Write`].
pub(crate) fn write(path: &Path, file: &ContextFile) -> Result<(), ContextError> {
    let failed = |source| ContextError::Write { path: path.to_owned(), source };
    let text = serde_saphyr::to_string(file)
        .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    private_file::replace(path, &text).map_err(failed)
}

fn read(path: &Path) -> Result<String, ContextError> {
    let failed = |source| ContextError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(ContextError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<ContextFile, ContextError> {
    let file: ContextFile =
        // Without a snippet: a piece of this file in an error message could be the token.
        serde_saphyr::from_str_with_options(text, serde_saphyr::options! { with_snippet: false })
            .map_err(|source| ContextError::Parse {
                path: path.to_owned(),
                source: Box::new(source),
            })?;
    if file.api_version != API_VERSION || file.kind != "Config" {
        return Err(ContextError::Version {
            path: path.to_owned(),
            api_version: file.api_version,
            kind: file.kind,
        });
    }
    Ok(file)
}

fn pick(path: &Path, file: ContextFile, name: Option<&str>) -> Result<Context, ContextError> {
    let name = name.unwrap_or(&file.current_context);
    let known: Vec<String> = file.contexts.iter().map(|one| one.name.clone()).collect();
    match file.contexts.iter().find(|one| one.name == name) {
        Some(context) => Ok(context.clone()),
        None => Err(ContextError::Unknown { path: path.to_owned(), name: name.to_owned(), known }),
    }
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", then ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "apiVersion: vaultctl.dev/v1\nkind: Config\ncurrentContext: here\ncontexts:\n\
        - {name: here, server: 'https://127.0.0.1:8844', token: one}\n\
        - {name: there, server: 'https://vault.example', token: two}\n";

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn an_explicit_file_is_the_only_candidate() {
        let home = Path::new("/home/ada");
        assert_eq!(candidates(Some(Path::new("x.yaml")), Some(home)), [PathBuf::from("x.yaml")]);
        assert_eq!(
            candidates(None, Some(home)),
            [
                PathBuf::from("./.vaultctl/config.yaml"),
                PathBuf::from("/home/ada/.config/vaultctl/config.yaml"),
            ]
        );
        assert_eq!(candidates(None, None).len(), 1);
    }

    #[test]
    fn the_first_file_that_exists_is_used() {
        let (_first, present) = written(TWO);
        let (_second, other) = written(&TWO.replace("one", "three"));
        let absent = present.with_file_name("absent.yaml");
        let context = load(&[absent, present, other], None).unwrap();
        assert_eq!((context.name.as_str(), context.token.as_str()), ("here", "one"));
    }

    #[test]
    fn a_context_is_picked_by_name() {
        let (_folder, path) = written(TWO);
        let context = load(std::slice::from_ref(&path), Some("there")).unwrap();
        assert_eq!(context.server, "https://vault.example");
        let error = load(&[path], Some("nowhere")).unwrap_err();
        assert!(error.to_string().ends_with("it has here, there"), "{error}");
    }

    #[test]
    fn what_cannot_be_used_is_said_and_not_passed_over() {
        let (_good, good) = written(TWO);
        let (_bad, bad) = written("contexts: [");
        assert!(matches!(load(&[bad, good.clone()], None), Err(ContextError::Parse { .. })));
        let (_foreign, foreign) = written(&TWO.replace("vaultctl.dev/v1", "v1"));
        assert!(matches!(load(&[foreign, good.clone()], None), Err(ContextError::Version { .. })));
        let folder = good.parent().unwrap().to_owned();
        assert!(matches!(load(&[folder, good], None), Err(ContextError::Read { .. })));
    }

    #[test]
    fn no_file_says_where_it_was_looked_for() {
        let error = load(&candidates(None, Some(Path::new("/nowhere"))), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no context file; looked for ./.vaultctl/config.yaml, then /nowhere/.config/vaultctl/config.yaml"
        );
    }

    #[test]
    fn a_broken_file_does_not_show_its_token() {
        let (_folder, path) = written(
            "apiVersion: vaultctl.dev/v1\nkind: Config\ncurrentContext: a\ncontexts:\n- name: a\n  server: s\n  token: hush-hush\n  surplus: 1\n",
        );
        let error = anyhow::Error::from(load(&[path], None).unwrap_err());
        assert!(!format!("{error:#}").contains("hush-hush"), "{error:#}");
    }
}
