//! Plugins: programs `vaultctl-NAME` on PATH, run as if they were commands.
//!
//! ```text
//!   vaultctl foo bar -x  ──▶  vaultctl-foo-bar -x   if that is there, else
//!                             vaultctl-foo bar -x   else the command line is wrong
//! ```

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const PREFIX: &str = "vaultctl-";
/// More words than any name of a plugin has; each one costs a look into every folder of PATH.
const MAX_WORDS: usize = 8;

/// A program that is named as a plugin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plugin {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Why it is never run.
    pub(crate) flaw: Option<Flaw>,
}

/// Why a plugin is never run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Its mode does not allow it.
    NotExecutable,
    /// Another one of that name comes first on PATH.
    Shadowed {
        /// The other one.
        by: PathBuf,
    },
    /// `vaultctl` has a command of that name.
    Builtin {
        /// The command.
        command: String,
    },
}

/// Becomes the plugin that the command line names, if it names no command of ours but a plugin.
/// `None`: it does not, and the command line is for us to read.
pub(crate) fn run(
    arguments: &[OsString],
    grammar: &clap::Command,
    path: &OsStr,
    context_file: Option<&Path>,
) -> Option<ExitCode> {
    let first = arguments.first()?;
    if first.as_bytes().starts_with(b"-") || is_builtin(grammar, &first.to_string_lossy()) {
        return None;
    }
    let (program, words) = find(arguments, path)?;
    let mut command = Command::new(&program);
    command.args(&arguments[words..]);
    if let Some(file) = context_file {
        command.env("VAULTCTL_CONFIG", file);
    }
    // The plugin takes this process's place, so its exit code and its signals are its own.
    let error = command.exec();
    let mut output = crate::output::Output::new();
    output.note(&format!("error: cannot run the plugin {}: {error}", program.display()));
    Some(crate::error::Exit::Platform.into())
}

/// Whether we have a command of that name.
pub(crate) fn is_builtin(grammar: &clap::Command, name: &str) -> bool {
    name == "help" || grammar.find_subcommand(name).is_some()
}

/// The program with the longest name that the command line begins with, and how many words that
/// takes.
fn find(arguments: &[OsString], path: &OsStr) -> Option<(PathBuf, usize)> {
    let words: Vec<&OsString> = arguments
        .iter()
        .take_while(|word| {
            let bytes = word.as_bytes();
            !bytes.is_empty() && !bytes.starts_with(b"-") && !bytes.contains(&b'/')
        })
        .take(MAX_WORDS)
        .collect();
    for count in (1..=words.len()).rev() {
        let mut name = OsString::from(PREFIX);
        for (index, word) in words[..count].iter().enumerate() {
            if index > 0 {
                name.push("-");
            }
            // A dash joins words, so within a word an underscore stands for it, as with kubectl.
            name.push(word.to_string_lossy().replace('-', "_"));
        }
        let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
        let found = folders.map(|folder| folder.join(&name)).find(|file| is_executable(file));
        if let Some(found) = found {
            return Some((found, count));
        }
    }
    None
}

/// Every plugin on PATH, in the order of PATH and then of names.
pub(crate) fn list(path: &OsStr, is_builtin: &dyn Fn(&str) -> bool) -> Vec<Plugin> {
    let mut plugins = Vec::new();
    let mut first: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    let mut seen = Vec::new();
    for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
        // PATH may name a folder twice, or one that is not there.
        if seen.contains(&folder) {
            continue;
        }
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        seen.push(folder);
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|file| {
                let name = file.file_name().unwrap_or_default().as_bytes();
                name.len() > PREFIX.len() && name.starts_with(PREFIX.as_bytes()) && file.is_file()
            })
            .collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_owned();
            let command = name.to_string_lossy()[PREFIX.len()..].to_owned();
            let word = command.split('-').next().unwrap_or_default().replace('_', "-");
            let flaw = if !is_executable(&file) {
                Some(Flaw::NotExecutable)
            } else if is_builtin(&word) {
                Some(Flaw::Builtin { command: word })
            } else {
                first.get(&name).map(|by| Flaw::Shadowed { by: by.clone() })
            };
            if flaw.is_none() {
                first.insert(name, file.clone());
            }
            plugins.push(Plugin { path: file, flaw });
        }
    }
    plugins
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}
