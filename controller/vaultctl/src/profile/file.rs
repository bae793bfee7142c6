//! The file of profiles: read as a whole, changed one profile at a time, so that what people wrote into
//! it stays as it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml_edit::{DocumentMut, Item, Table};

use super::Profile;
use crate::private_file;

/// The variable that names another file.
const VARIABLE: &str = "VAULTCTL_PROFILES";

/// A profile has some 500 bytes; this much holds thousands of them.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The bits of a mode that let others than the owner do something.
const OTHERS: u32 = 0o077;

/// Why there are no profiles. None of them shows what is in the file: it holds tokens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// Nothing says where the home folder is.
    #[error("there is no home folder for the profiles; {VARIABLE} names a file")]
    NoHome,
    /// It is there and cannot be read.
    #[error("cannot read the profiles in {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the profiles in {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Others may read the tokens in it.
    #[error("the profiles in {} can be read by others (mode {mode:03o}), and hold tokens", .path.display())]
    Open { path: PathBuf, mode: u32 },
    /// It is not a file of profiles.
    #[error("{}:{line}:{column}: {message}", .path.display())]
    Parse { path: PathBuf, line: usize, column: usize, message: String },
    /// One of the profiles makes no sense.
    #[error("the profile {name:?} in {} is of no use: {problem}", .path.display())]
    Useless { path: PathBuf, name: String, problem: &'static str },
}

/// What is in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    vault: BTreeMap<String, Profile>,
}

/// The profiles, and the file that they are in.
#[derive(Debug)]
pub(crate) struct Profiles {
    path: PathBuf,
    /// The file as it is, with its comments.
    document: DocumentMut,
    profiles: BTreeMap<String, Profile>,
}

impl Profiles {
    /// Reads the file that `VAULTCTL_PROFILES` names, or `~/.config/vaultctl/config.toml`. One that is
    /// not there has no profiles.
    ///
    /// # Errors
    /// [`ProfileError`]: a file that is there and cannot be used is never passed over.
    pub(crate) fn load() -> Result<Self, ProfileError> {
        let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let usual = || std::env::home_dir().map(|home| home.join(".config/vaultctl/config.toml"));
        Self::read(named.or_else(usual).ok_or(ProfileError::NoHome)?)
    }

    /// Reads this file.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) fn read(path: PathBuf) -> Result<Self, ProfileError> {
        let text = text(&path)?;
        let at = |message: &str, span: Option<std::ops::Range<usize>>| {
            let before = &text[..span.map_or(0, |span| span.start.min(text.len()))];
            let line = before.matches('\n').count() + 1;
            let column =
                before.chars().rev().take_while(|character| *character != '\n').count() + 1;
            // Only its first line: more could be a piece of the file.
            let message = message.lines().next().unwrap_or_default().to_owned();
            ProfileError::Parse { path: path.clone(), line, column, message }
        };
        let document: DocumentMut = text
            .parse()
            .map_err(|error: toml_edit::TomlError| at(error.message(), error.span()))?;
        let Content { vault: profiles } = toml_edit::de::from_str(&text)
            .map_err(|error: toml_edit::de::Error| at(error.message(), error.span()))?;
        let useless = profiles.iter().find_map(|(name, one)| Some((name, one.problem()?)));
        if let Some((name, problem)) = useless {
            return Err(ProfileError::Useless { path, name: name.clone(), problem });
        }
        Ok(Self { path, document, profiles })
    }

    /// Where they are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The profile of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// All of them, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.profiles.iter().map(|(name, profile)| (name.as_str(), profile))
    }

    /// Adds a profile, or gives the one of that name other values, and writes the file.
    ///
    /// # Errors
    /// [`ProfileError::Write`].
    pub(crate) fn put(&mut self, name: &str, profile: Profile) -> Result<(), ProfileError> {
        let values = toml_edit::ser::to_document(&profile)
            .map_err(|error| self.unwritten(io::Error::other(error)))?;
        let vaults = self.document.entry("vault").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let own = vaults
            .as_table_like_mut()
            .map(|vaults| vaults.entry(name).or_insert_with(|| Item::Table(Table::new())));
        // The file was read as profiles, so these are tables, of either notation.
        if let Some(own) = own.and_then(Item::as_table_like_mut) {
            let gone: Vec<String> = own
                .iter()
                .map(|(key, _)| key.to_owned())
                .filter(|key| !values.contains_key(key))
                .collect();
            for key in gone {
                own.remove(&key);
            }
            for (key, value) in values.iter() {
                let value = value.clone().into_value().map_or(Item::None, Item::Value);
                match own.get_mut(key) {
                    Some(known) => *known = value,
                    None => drop(own.insert(key, value)),
                }
            }
        }
        self.profiles.insert(name.to_owned(), profile);
        self.write()
    }

    /// Removes a profile and writes the file. Whether there was one.
    ///
    /// # Errors
    /// [`ProfileError::Write`].
    pub(crate) fn remove(&mut self, name: &str) -> Result<bool, ProfileError> {
        if self.profiles.remove(name).is_none() {
            return Ok(false);
        }
        let vaults = self.document.get_mut("vault").and_then(Item::as_table_like_mut);
        if let Some(vaults) = vaults {
            vaults.remove(name);
        }
        self.write()?;
        Ok(true)
    }

    fn write(&self) -> Result<(), ProfileError> {
        let text = self.document.to_string();
        private_file::replace(&self.path, &text).map_err(|source| self.unwritten(source))
    }

    fn unwritten(&self, source: io::Error) -> ProfileError {
        ProfileError::Write { path: self.path.clone(), source }
    }
}

fn text(path: &Path) -> Result<String, ProfileError> {
    let failed = |source| ProfileError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        file => file.map_err(failed)?,
    };
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & OTHERS != 0 {
        return Err(ProfileError::Open { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes"))));
    }
    Ok(text)
}
