//! What a request asks to be run, checked: plain data.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use nix::errno::Errno;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use vault_protocol::SECRET_VARIABLE;
use vault_protocol::message::{Exec, ExecFailedReason, Size, Variable};

use super::account::Account;
use crate::secret::DESCRIPTOR_VARIABLE;

/// Where programs are looked for if the environment does not say (as `execvp` of glibc).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Why a command does not run.
#[derive(Debug, Error)]
pub(crate) enum LaunchError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The folder cannot be entered.
    #[error("the folder {} cannot be entered", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The program cannot be executed.
    #[error("{} cannot be executed", String::from_utf8_lossy(program))]
    Program {
        program: Vec<u8>,
        #[source]
        source: Errno,
    },
    /// There is no such user, or the agent may not become them.
    #[error("nothing can be run as user {name}")]
    User {
        name: String,
        #[source]
        source: Option<io::Error>,
    },
    /// The machine has no room.
    #[error("the machine has no room for one more process")]
    Resources(#[source] io::Error),
    /// The root filesystem is not booted; here is why.
    #[error("the machine's root filesystem is not booted: {0}")]
    NotBooted(String),
    /// As many commands run as may.
    #[error("too many commands are running")]
    TooMany,
    /// The agent is ending.
    #[error("the agent is ending")]
    ShuttingDown,
}

impl LaunchError {
    /// The reason, for programs.
    pub(crate) fn reason(&self) -> ExecFailedReason {
        match self {
            Self::Invalid(_) | Self::Program { source: Errno::E2BIG, .. } => {
                ExecFailedReason::Invalid
            }
            Self::Directory { .. } => ExecFailedReason::Directory,
            Self::User { .. } => ExecFailedReason::User,
            Self::Program { source, .. } => match source {
                Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::ELOOP => {
                    ExecFailedReason::NotFound
                }
                Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE => {
                    ExecFailedReason::Resources
                }
                _ => ExecFailedReason::NotExecutable,
            },
            Self::NotBooted(_) => ExecFailedReason::NotBooted,
            Self::Resources(_) | Self::TooMany => ExecFailedReason::Resources,
            Self::ShuttingDown => ExecFailedReason::ShuttingDown,
        }
    }
}

/// The environment that commands get from the machine.
#[derive(Clone)]
pub(crate) struct MachineEnvironment(BTreeMap<Vec<u8>, Vec<u8>>);

impl MachineEnvironment {
    /// As `NAME=value`.
    pub(crate) fn lines(&self) -> Vec<CString> {
        let line = |(name, value): (&Vec<u8>, &Vec<u8>)| {
            // What comes from an environment holds no NUL byte.
            CString::new([name.as_slice(), value].join(&b'=')).ok()
        };
        self.0.iter().filter_map(line).collect()
    }

    /// These variables, but for the agent's secrets.
    pub(crate) fn new(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let secrets = [SECRET_VARIABLE, DESCRIPTOR_VARIABLE].map(OsStr::new);
        let variables = variables.filter(|(name, _)| !secrets.contains(&name.as_os_str()));
        Self(variables.map(|(name, value)| (name.into_vec(), value.into_vec())).collect())
    }

    /// The folder that commands run in if nothing else is said.
    pub(crate) fn home(&self) -> Vec<u8> {
        let home = self.0.get(b"HOME".as_slice()).filter(|home| !home.is_empty());
        home.cloned().unwrap_or_else(|| b"/".to_vec())
    }
}

/// A command, ready to be started.
pub(crate) struct Launch {
    /// Not empty.
    pub(crate) arguments: Vec<CString>,
    /// `NAME=value`.
    pub(crate) environment: Vec<CString>,
    /// Where to look for the program: paths, to be tried in this order.
    pub(crate) candidates: Vec<CString>,
    /// Where to run it.
    pub(crate) directory: PathBuf,
    /// Where to run it if that cannot be entered. Only a home folder has a substitute.
    pub(crate) substitute: Option<PathBuf>,
    /// It has a standard input.
    pub(crate) stdin: bool,
    /// It has a terminal of this size.
    pub(crate) screen: Option<Size>,
    /// Whom to run it as, if not as the agent.
    pub(crate) account: Option<Account>,
}

impl Launch {
    /// Checks a request. `account` is that of the user whom it names, or, for a login shell, of whoever
    /// it is to be for.
    ///
    /// # Errors
    /// No program, a NUL byte, or a variable's name that is none.
    pub(crate) fn new(
        exec: Exec,
        machine: &MachineEnvironment,
        account: Option<Account>,
    ) -> Result<Self, LaunchError> {
        let nul = |_| LaunchError::Invalid("a NUL byte in an argument or a variable");
        let mut environment = machine.0.clone();
        if let Some(account) = &account {
            environment.extend(account_variables(account));
        }
        if let Some(terminal) = &exec.terminal {
            environment.insert(b"TERM".to_vec(), terminal.kind.to_vec());
        }
        for Variable { name, value } in exec.environment {
            if name.is_empty() || name.contains(&b'=') {
                return Err(LaunchError::Invalid("a variable's name is empty, or holds `=`"));
            }
            environment.insert(name.to_vec(), value.to_vec());
        }
        let path = environment.get(b"PATH".as_slice()).map_or(DEFAULT_PATH, Vec::as_slice);
        let given = exec.arguments.into_iter().map(Vec::from).collect::<Vec<_>>();
        let (program, arguments) = match (given.first(), &account) {
            (Some(program), _) => (program.clone(), given),
            (None, Some(account)) => login_shell(&account.shell),
            (None, None) => return Err(LaunchError::Invalid("no program is given")),
        };
        if program.is_empty() {
            return Err(LaunchError::Invalid("no program is given"));
        }
        let candidates = candidates(&program, path);
        let home = environment.get(b"HOME".as_slice()).filter(|home| !home.is_empty());
        let (directory, substitute) = match (exec.directory, home) {
            (Some(directory), _) if directory.contains(&0) => {
                return Err(LaunchError::Invalid("a NUL byte in the folder's name"));
            }
            (Some(directory), _) => (path_of(&directory), None),
            (None, Some(home)) => (path_of(home), Some(PathBuf::from("/"))),
            (None, None) => (PathBuf::from("/"), None),
        };
        let text = |bytes: Vec<u8>| CString::new(bytes).map_err(nul);
        let variable = |(name, value): (Vec<u8>, Vec<u8>)| text([name, value].join(&b'='));
        Ok(Self {
            candidates: candidates.into_iter().map(text).collect::<Result<_, _>>()?,
            arguments: arguments.into_iter().map(text).collect::<Result<_, _>>()?,
            environment: environment.into_iter().map(variable).collect::<Result<_, _>>()?,
            directory,
            substitute,
            stdin: exec.stdin,
            screen: exec.terminal.map(|terminal| terminal.size),
            account: account.filter(|_| exec.user.is_some()),
        })
    }

    /// The program, as it is named in the request.
    pub(crate) fn program(&self) -> Vec<u8> {
        self.arguments.first().map(|program| program.to_bytes().to_vec()).unwrap_or_default()
    }

    /// The program's name without folders, for the audit log.
    pub(crate) fn name(&self) -> String {
        let program = self.program();
        let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// SHA-256 over program and arguments, each with its NUL byte, for the audit log.
    pub(crate) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for argument in &self.arguments {
            hash.update(argument.as_bytes_with_nul());
        }
        HEXLOWER.encode(&hash.finalize())
    }
}

/// What `login(1)` tells a shell about its user.
fn account_variables(account: &Account) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let Account { name, home, shell, .. } = account;
    [("HOME", home), ("USER", name), ("LOGNAME", name), ("SHELL", shell)]
        .into_iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
}

/// A shell's path, and its name with the dash by which it knows that it is a login shell (`bash(1)`).
fn login_shell(path: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
    let name = path.rsplit('/').next().unwrap_or_default();
    (path.as_bytes().to_vec(), vec![format!("-{name}").into_bytes()])
}

/// Arguments and variables may hold secrets.
impl fmt::Debug for Launch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Launch").field("name", &self.name()).finish_non_exhaustive()
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// As `execvp`: a program with a slash is a path, another one is looked for in `PATH`, in which an
/// empty part is the current folder.
fn candidates(program: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    path.split(|byte| *byte == b':')
        .map(|folder| if folder.is_empty() { b".".as_slice() } else { folder })
        .map(|folder| [folder, program].join(&b'/'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> MachineEnvironment {
        let variables = [
            ("PATH", "/usr/bin::/bin"),
            ("HOME", "/root"),
            (SECRET_VARIABLE, "s"),
            (DESCRIPTOR_VARIABLE, "0"),
            ("VAULT_LISTEN", "[::]:1"),
        ];
        MachineEnvironment::new(variables.into_iter().map(|(n, v)| (n.into(), v.into())))
    }

    fn exec(arguments: &[&[u8]]) -> Exec {
        Exec {
            arguments: arguments.iter().map(|argument| argument.to_vec().into()).collect(),
            environment: Vec::new(),
            directory: None,
            stdin: false,
            terminal: None,
            user: None,
            timeout_ms: None,
            keep: None,
        }
    }

    fn variable(name: &[u8], value: &[u8]) -> Variable {
        Variable { name: name.to_vec().into(), value: value.to_vec().into() }
    }

    fn texts(texts: &[CString]) -> Vec<&str> {
        texts.iter().map(|text| text.to_str().expect("UTF-8")).collect()
    }

    #[test]
    fn a_command_gets_the_machines_environment_without_secrets() {
        let launch = Launch::new(exec(&[b"env"]), &machine(), None).expect("sound");
        let environment = texts(&launch.environment);
        assert_eq!(environment, ["HOME=/root", "PATH=/usr/bin::/bin", "VAULT_LISTEN=[::]:1"]);
        assert_eq!(texts(&launch.candidates), ["/usr/bin/env", "./env", "/bin/env"]);
        assert_eq!(launch.directory, PathBuf::from("/root"));
        assert_eq!(launch.substitute, Some(PathBuf::from("/")));
    }

    #[test]
    fn what_is_asked_for_wins() {
        let mut request = exec(&[b"tools/run", b"-x"]);
        request.environment = vec![variable(b"PATH", b"/opt"), variable(b"HOME", b"")];
        let launch = Launch::new(request, &machine(), None).expect("sound");
        assert_eq!(texts(&launch.candidates), ["tools/run"]);
        assert_eq!(launch.name(), "run");
        assert_eq!(launch.directory, PathBuf::from("/"));
        assert!(texts(&launch.environment).contains(&"PATH=/opt"));

        let mut request = exec(&[b"run"]);
        request.environment = vec![variable(b"PATH", b"/opt")];
        request.directory = Some(b"/srv".to_vec().into());
        let launch = Launch::new(request, &machine(), None).expect("sound");
        assert_eq!(texts(&launch.candidates), ["/opt/run"]);
        assert_eq!((launch.directory, launch.substitute), (PathBuf::from("/srv"), None));
    }

    #[test]
    fn nonsense_is_refused() {
        let mut directory = exec(&[b"x"]);
        directory.directory = Some(b"/a\0b".to_vec().into());
        let with = |variables| Exec { environment: variables, ..exec(&[b"x"]) };
        for request in [
            exec(&[]),
            exec(&[b""]),
            exec(&[b"a\0b"]),
            exec(&[b"a", b"\0"]),
            directory,
            with(vec![variable(b"", b"v")]),
            with(vec![variable(b"a=b", b"v")]),
            with(vec![variable(b"a\0", b"v")]),
            with(vec![variable(b"a", b"v\0")]),
        ] {
            let error = Launch::new(request, &machine(), None).expect_err("nonsense");
            assert_eq!(error.reason(), ExecFailedReason::Invalid, "{error}");
        }
    }

    #[test]
    fn errors_have_the_reason_that_fits() {
        let reason = |source| LaunchError::Program { program: b"p".to_vec(), source }.reason();
        assert_eq!(reason(Errno::ENOENT), ExecFailedReason::NotFound);
        assert_eq!(reason(Errno::EACCES), ExecFailedReason::NotExecutable);
        assert_eq!(reason(Errno::ENOEXEC), ExecFailedReason::NotExecutable);
        assert_eq!(reason(Errno::E2BIG), ExecFailedReason::Invalid);
        assert_eq!(reason(Errno::EAGAIN), ExecFailedReason::Resources);
        assert_eq!(LaunchError::TooMany.reason(), ExecFailedReason::Resources);
        assert_eq!(LaunchError::ShuttingDown.reason(), ExecFailedReason::ShuttingDown);
    }
}
