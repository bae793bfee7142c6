//! From what went wrong to an exit code and a hint; nothing else in this program picks either.

use std::io::ErrorKind;
use std::process::ExitCode;

use vault_client::ConnectError;
use vault_rootfs::{Limit, PackError, Problem, UnpackError};

use crate::client::ClientError;
use crate::context::ContextError;
use crate::image::{AgentImageError, LayoutError};
use crate::profile::ProfileError;

/// What to do about an agent of another time.
const OTHER_VERSION: &str = "update vaultctl, or the image that the machine runs; `vaultctl get TENANT \
                             -o yaml` shows the version of its agent";

/// How the agent is built so that it needs nothing beside it.
const STATIC_AGENT: &str = "a static one is built by RUSTFLAGS=\"-C target-feature=+crt-static\" cargo \
                            build --release -p vault-agent --target x86_64-unknown-linux-gnu";

/// How a command ended. Scripts depend on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All of it was done.
    Success = 0,
    /// `diff` found a difference.
    Different = 1,
    /// Wrong usage, or input that is refused.
    BadInput = 2,
    /// Someone else owns it or changed it.
    Conflict = 3,
    /// It is not there.
    NotFound = 4,
    /// It took longer than allowed.
    Timeout = 5,
    /// The platform, the controller or the way to them failed.
    Platform = 6,
    /// Some of it was done, some was not.
    Partly = 10,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that a command itself finds.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// An error that ends the program with `exit`.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// The same, with a line that says what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The exit code of an error: that of the outermost cause which has one.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    let known = error.chain().find_map(|cause| {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            Some(failure.exit)
        } else if let Some(client) = cause.downcast_ref::<ClientError>() {
            Some(client_exit(client))
        } else if let Some(unpack) = cause.downcast_ref::<UnpackError>() {
            Some(unpack_exit(unpack))
        } else {
            let is_input = cause.is::<ContextError>()
                || cause.is::<ProfileError>()
                || cause.is::<LayoutError>()
                || cause.downcast_ref::<PackError>().is_some_and(is_about_input)
                || cause.downcast_ref::<AgentImageError>().is_some_and(is_about_binary);
            is_input.then_some(Exit::BadInput)
        }
    });
    known.unwrap_or(Exit::Platform)
}

/// The error as people read it: one line with all its causes, then perhaps a hint.
pub(crate) fn describe(error: &anyhow::Error) -> String {
    let hint = error.chain().find_map(|cause| {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            failure.hint.clone()
        } else if let Some(client) = cause.downcast_ref::<ClientError>() {
            client_hint(client)
        } else if let Some(unpack) = cause.downcast_ref::<UnpackError>() {
            unpack_hint(unpack)
        } else if let Some(layout) = cause.downcast_ref::<LayoutError>() {
            layout_hint(layout)
        } else if let Some(agent) = cause.downcast_ref::<AgentImageError>() {
            agent_hint(agent)
        } else if let Some(ConnectError::Version { .. }) = cause.downcast_ref() {
            Some(OTHER_VERSION.to_owned())
        } else {
            let profile = cause.downcast_ref::<ProfileError>().and_then(profile_hint);
            profile.or_else(|| cause.downcast_ref::<ContextError>().and_then(context_hint))
        }
    });
    match hint {
        Some(hint) => format!("error: {error:#}\nhint: {hint}"),
        None => format!("error: {error:#}"),
    }
}

/// The successes and failures of a command that acts on several objects.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    done: usize,
    failures: Vec<Exit>,
}

impl Tally {
    /// One object was dealt with.
    pub(crate) fn done(&mut self) {
        self.done += 1;
    }

    /// One object was not.
    pub(crate) fn failed(&mut self, exit: Exit) {
        self.failures.push(exit);
    }

    /// How many objects were not dealt with.
    pub(crate) fn failures(&self) -> usize {
        self.failures.len()
    }

    /// Bad input first, because then the caller has something to mend whatever else happened; a
    /// mixture of successes and failures is "partly"; else what failed first.
    pub(crate) fn exit(&self) -> Exit {
        match self.failures.first() {
            None => Exit::Success,
            Some(_) if self.failures.contains(&Exit::BadInput) => Exit::BadInput,
            Some(_) if self.done > 0 => Exit::Partly,
            Some(first) => *first,
        }
    }
}

fn client_exit(error: &ClientError) -> Exit {
    match error {
        ClientError::Refused(status) => match status.code {
            404 | 410 => Exit::NotFound,
            409 | 412 => Exit::Conflict,
            429 => Exit::Platform,
            400..500 => Exit::BadInput,
            _ => Exit::Platform,
        },
        ClientError::ServerAddress { .. }
        | ClientError::CertificateAuthority { .. }
        | ClientError::Token => Exit::BadInput,
        ClientError::Setup { .. }
        | ClientError::Unreachable { .. }
        | ClientError::Answer { .. }
        | ClientError::AnswerSize
        | ClientError::ListSize { .. }
        | ClientError::NoWatch
        | ClientError::Meaning { .. }
        | ClientError::Foreign { .. } => Exit::Platform,
    }
}

fn client_hint(error: &ClientError) -> Option<String> {
    match error {
        ClientError::Unreachable { source, .. } if is_about_trust(source) => Some(
            "the context file does not vouch for this server; is the file from another controller, \
             or older than the controller's data folder?"
                .to_owned(),
        ),
        ClientError::Unreachable { .. } => Some(
            "is the controller running? `vaultctl dev manifests/` starts one on this machine"
                .to_owned(),
        ),
        ClientError::Refused(status) if status.code == 401 => Some(
            "the controller does not know the token of this context file; is the file from \
             another controller?"
                .to_owned(),
        ),
        ClientError::Refused(status)
            if status.code == 409 && status.message.contains("owned by") =>
        {
            Some("edit it where it is owned, or pass --take-ownership".to_owned())
        }
        _ => None,
    }
}

/// Whether a server was there, but not the one that the context file vouches for. The TLS error lies
/// inside an I/O error, out of reach of `source()`, so its text has to do; only a hint hangs on it.
fn is_about_trust(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("invalid peer certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

fn profile_hint(error: &ProfileError) -> Option<String> {
    match error {
        ProfileError::Open { path, .. } => Some(format!("chmod 600 {}", path.display())),
        _ => None,
    }
}

/// What is wrong with an archive is wrong input; what the filesystem refused is not.
fn unpack_exit(error: &UnpackError) -> Exit {
    match error {
        UnpackError::Entry { problem: Problem::System { .. }, .. }
        | UnpackError::Entry {
            problem: Problem::Limit(Limit::Space(_) | Limit::Inodes(_)), ..
        }
        | UnpackError::Folder(_)
        | UnpackError::Sync(_) => Exit::Platform,
        _ => Exit::BadInput,
    }
}

fn unpack_hint(error: &UnpackError) -> Option<String> {
    match error {
        // Somebody else's id is refused to a user, and an id without a place to the root of a namespace.
        UnpackError::Entry { problem: Problem::System { error, .. }, .. }
            if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) =>
        {
            Some(
                "the files of an image have several owners, which root alone can give them: run it as \
                 root, or as the root of a user namespace that has a range of ids (`unshare \
                 --map-root-user --map-auto vaultctl build rootfs …`, or `podman unshare`)"
                    .to_owned(),
            )
        }
        _ => None,
    }
}

fn is_about_input(error: &PackError) -> bool {
    !matches!(error, PackError::Write(_))
}

fn layout_hint(error: &LayoutError) -> Option<String> {
    match error {
        LayoutError::NoPlatform { .. } => {
            Some("--platform OS/ARCHITECTURE chooses another one".to_owned())
        }
        LayoutError::Several { .. } => {
            Some("make a layout with one of them: `skopeo copy oci:DIR:NAME oci:OTHER`".to_owned())
        }
        _ => None,
    }
}

fn is_about_binary(error: &AgentImageError) -> bool {
    !matches!(error, AgentImageError::Write(_))
}

fn agent_hint(error: &AgentImageError) -> Option<String> {
    match error {
        AgentImageError::Write(_) => None,
        AgentImageError::Dynamic(_) => Some(STATIC_AGENT.to_owned()),
        AgentImageError::Read { .. }
        | AgentImageError::Large(_)
        | AgentImageError::NoProgram(_)
        | AgentImageError::Machine { .. } => {
            Some(format!("--agent FILE names the agent's binary; {STATIC_AGENT}"))
        }
    }
}

fn context_hint(error: &ContextError) -> Option<String> {
    match error {
        ContextError::NotFound { .. } => Some(
            "`vaultctl dev manifests/` starts a controller here and writes the file; for another \
             controller set VAULTCTL_CONFIG to its config.yaml"
                .to_owned(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use vault_api::object::Status;

    use super::*;

    fn refused(code: u16) -> anyhow::Error {
        ClientError::Refused(Box::new(Status {
            api_version: "v1".into(),
            kind: "Status".into(),
            metadata: serde_json::Map::new(),
            status: "Failure".into(),
            message: "no".into(),
            reason: String::new(),
            details: None,
            code,
        }))
        .into()
    }

    #[test]
    fn the_answer_of_the_controller_picks_the_exit_code() {
        let table = [
            (400, Exit::BadInput),
            (401, Exit::BadInput),
            (404, Exit::NotFound),
            (409, Exit::Conflict),
            (422, Exit::BadInput),
            (429, Exit::Platform),
            (500, Exit::Platform),
            (503, Exit::Platform),
        ];
        for (code, exit) in table {
            assert_eq!(exit_of(&refused(code)), exit, "HTTP {code}");
            let wrapped = Err::<(), _>(refused(code)).context("cannot read").unwrap_err();
            assert_eq!(exit_of(&wrapped), exit, "HTTP {code}, with context");
        }
    }

    #[test]
    fn an_error_is_said_once_with_its_causes_and_a_hint() {
        let error = Err::<(), _>(Failure::new(Exit::Timeout, "inner").hint("try again"))
            .context("outer")
            .unwrap_err();
        assert_eq!(describe(&error), "error: outer: inner\nhint: try again");
        assert_eq!(exit_of(&error), Exit::Timeout);
        assert_eq!(exit_of(&anyhow::anyhow!("disk full")), Exit::Platform);
    }

    #[test]
    fn a_tally_sums_up() {
        let exit =
            |done: usize, failures: &[Exit]| Tally { done, failures: failures.to_vec() }.exit();
        assert_eq!(exit(0, &[]), Exit::Success);
        assert_eq!(exit(2, &[]), Exit::Success);
        assert_eq!(exit(0, &[Exit::Conflict, Exit::Platform]), Exit::Conflict);
        assert_eq!(exit(1, &[Exit::Conflict]), Exit::Partly);
        assert_eq!(exit(1, &[Exit::Conflict, Exit::BadInput]), Exit::BadInput);
    }
}
