//! `vaultctl sessions`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use data_encoding::HEXLOWER;
use serde::Serialize;
use vault_client::protocol::message::SessionState;

use crate::cli::Globals;
use crate::conversation::{self, OWN_FAILURE, Wanted};
use crate::error::describe;
use crate::output::format::DataForm;
use crate::output::table::render;
use crate::output::{Output, json, yaml};
use crate::poll::{Deadline, parse_limit};
use crate::provisioning::When;
use crate::reach::{FAREWELL, MachineName, Reached, Way};

const COLUMNS: &[&str] = &["SESSION", "TAG", "PROGRAM", "PROCESS", "TERMINAL", "STATE", "AGE"];

/// List the commands that run in a machine, come back to one, or end one
///
/// Each `vaultctl exec` and `connect` is a session, unless --linger is 0. It outlives its connection: when
/// that is lost, for --linger; when you leave it by ~d, until it ends. A session is named by the beginning
/// of its id, or by its tag.
///
/// EXAMPLES:
///   vaultctl sessions list acme
///   vaultctl sessions attach acme 3f9c2a10
///   vaultctl sessions kill acme nightly --signal 9
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the sessions of a machine, the oldest first
    List(List),
    /// Come back to a session; whoever has it loses it
    ///
    /// What it has shown last is shown again, and how much is not kept any more is said.
    Attach(Attach),
    /// Send a signal to the processes of a session
    Kill(Kill),
}

#[derive(Debug, clap::Args)]
struct Machine {
    /// The tenant, if it has one machine; else TENANT/GROUP-INDEX
    #[arg(value_name = "TENANT[/GROUP-INDEX]")]
    machine: MachineName,

    /// How long to try to reach the machine; 0 tries once
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = parse_limit)]
    connect_timeout: Duration,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    machine: Machine,

    /// The form of the output; a table if absent
    #[arg(short, long, value_name = "FORM")]
    output: Option<DataForm>,
}

#[derive(Debug, clap::Args)]
struct Attach {
    #[command(flatten)]
    machine: Machine,

    /// The beginning of its id, or its tag
    #[arg(value_name = "SESSION")]
    session: String,
}

#[derive(Debug, clap::Args)]
struct Kill {
    #[command(flatten)]
    machine: Machine,

    /// The beginning of its id, or its tag
    #[arg(value_name = "SESSION")]
    session: String,

    /// The signal's number; 15, SIGTERM, asks it to end, 9 ends it at once
    #[arg(short, long, value_name = "NUMBER", default_value_t = 15, value_parser = clap::value_parser!(u8).range(1..=64))]
    signal: u8,
}

/// Lists, comes back, or ends; answers with what to exit with.
pub(crate) async fn run(args: Args, globals: &Globals, output: &mut Output) -> ExitCode {
    let done = match args.action {
        Action::List(args) => list(args, globals, output).await,
        Action::Kill(args) => kill(args, globals, output).await,
        Action::Attach(Attach { machine: Machine { machine, connect_timeout }, session }) => {
            let (wanted, when) = (Wanted::Attach(session), When::Never);
            return conversation::run(&machine, wanted, when, connect_timeout, globals, output)
                .await;
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.note(&describe(&error));
            ExitCode::from(OWN_FAILURE)
        }
    }
}

async fn list(args: List, globals: &Globals, output: &mut Output) -> anyhow::Result<()> {
    let (way, connection) = reach(&args.machine, globals, output).await?;
    let sessions = connection.sessions().await?;
    drop(connection);
    drop(tokio::time::timeout(FAREWELL, way.wait_idle()).await);
    let sessions: Vec<Line> = sessions.into_iter().map(Line::from).collect();
    match args.output {
        Some(DataForm::Json) => output.text(&json(&sessions)?)?,
        Some(DataForm::Yaml) => output.text(&yaml(&sessions)?)?,
        None if sessions.is_empty() => output.note("No sessions found."),
        None => {
            let rows: Vec<_> = sessions.iter().map(Line::row).collect();
            output.text(&render(COLUMNS, &rows))?;
        }
    }
    Ok(())
}

async fn kill(args: Kill, globals: &Globals, output: &mut Output) -> anyhow::Result<()> {
    let (way, connection) = reach(&args.machine, globals, output).await?;
    let session = find(connection.sessions().await?, &args.session)?;
    connection.signal_session(session.session.into(), args.signal).await?;
    drop(connection);
    drop(tokio::time::timeout(FAREWELL, way.wait_idle()).await);
    let id = short_id(&session.session);
    output.note(&format!("signal {} was sent to session {id}, {}", args.signal, session.program));
    Ok(())
}

async fn reach(
    machine: &Machine,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<(Way, vault_client::Connection)> {
    let way = Way::new(&machine.machine, globals)?;
    let progress = output.progress(&format!("connecting to {}", machine.machine));
    let reached = way.connection(Deadline::after(machine.connect_timeout), &progress).await?;
    drop(progress);
    let Reached { connection, note } = reached;
    if let Some(note) = note {
        output.note(&note);
    }
    Ok((way, connection))
}

/// As many digits of a session's id as people see.
const SHORT_ID: usize = 8;

/// A session's id, as people see it.
pub(crate) fn short_id(id: &[u8; 16]) -> String {
    let mut text = HEXLOWER.encode(id);
    text.truncate(SHORT_ID);
    text
}

/// The session of that name: the beginning of its id, or its tag.
pub(crate) fn find(sessions: Vec<SessionState>, name: &str) -> anyhow::Result<SessionState> {
    let id = |session: &SessionState| HEXLOWER.encode(&*session.session);
    let is_meant = |session: &SessionState| {
        session.tag.as_deref() == Some(name) || (!name.is_empty() && id(session).starts_with(name))
    };
    let mut meant: Vec<_> = sessions.into_iter().filter(is_meant).collect();
    if meant.len() > 1 {
        bail!("several sessions are meant by {name}: name one by its id");
    }
    meant.pop().ok_or_else(|| anyhow!("there is no session {name}: see `vaultctl sessions list`"))
}

/// A session, as it is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    session: String,
    tag: Option<String>,
    program: String,
    process: u32,
    terminal: bool,
    state: &'static str,
    age_seconds: u64,
}

impl From<SessionState> for Line {
    fn from(session: SessionState) -> Self {
        Self {
            session: HEXLOWER.encode(&*session.session),
            state: match (session.ended, session.attached) {
                (true, _) => "ended",
                (false, true) => "attached",
                (false, false) => "waiting",
            },
            tag: session.tag,
            program: session.program,
            process: session.process_id,
            terminal: session.terminal,
            age_seconds: session.age_ms / 1000,
        }
    }
}

impl Line {
    fn row(&self) -> Vec<String> {
        vec![
            self.session.chars().take(SHORT_ID).collect(),
            self.tag.clone().unwrap_or_default(),
            self.program.clone(),
            self.process.to_string(),
            if self.terminal { "yes" } else { "no" }.to_owned(),
            self.state.to_owned(),
            format!("{}s", self.age_seconds),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(first: u8, tag: Option<&str>) -> SessionState {
        SessionState {
            session: [first; 16].into(),
            tag: tag.map(str::to_owned),
            program: "sh".to_owned(),
            process_id: 7,
            terminal: false,
            attached: false,
            age_ms: 1,
            ended: false,
        }
    }

    #[test]
    fn a_session_is_named_by_id_or_tag_and_never_guessed() {
        let all =
            || vec![session(0x3f, None), session(0x3e, Some("nightly")), session(1, Some("3"))];
        let found = |name| find(all(), name).map(|session| session.session[0]);
        assert_eq!(found("3f3f").expect("one"), 0x3f);
        assert_eq!(found("nightly").expect("one"), 0x3e);
        for none in ["", "3", "4", "night"] {
            found(none).expect_err(none);
        }
    }
}
