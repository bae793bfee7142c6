//! What becomes of a conversation whose connection is lost, or whose session goes on without it.
//!
//! ```text
//!   lost ──▶ another connection, the session goes on ──▶ the conversation goes on
//!        ╰─▶ we leave meanwhile ──▶ it waits for --linger
//!   ~d, or another client ──▶ it goes on without us
//! ```

use std::io::{self, Write as _};
use std::time::Duration;

use vault_client::exec::shell_code;
use vault_client::protocol::message::Exit;
use vault_client::{Connection, Control, ControlError, Keep};

use super::{OWN_FAILURE, Outcome, tell};
use crate::commands::sessions::short_id;
use crate::output::Progress;
use crate::poll::Deadline;
use crate::reach::{MachineName, Way};

/// How long somebody who comes back to a session tries to go on, when the connection is lost: what
/// --linger is where nobody says otherwise.
pub(super) const ATTACHED_LINGER: Duration = Duration::from_secs(15 * 60);

/// The connection that is used now, and how another one is made.
pub(super) struct Line<'run> {
    way: &'run Way,
    pub(super) connection: Connection,
    machine: &'run MachineName,
    /// The command has a terminal, and so have we.
    pub(super) on_terminal: bool,
    /// How long to try to go on.
    pub(super) linger: Duration,
}

/// How a command is kept when its connection is lost; `None` if it is not to be.
pub(crate) fn keep(linger: Duration, tag: Option<String>) -> Option<Keep> {
    let mut session = [0; 16];
    // Without random numbers no connection could be made either.
    getrandom::fill(&mut session).ok()?;
    (!linger.is_zero()).then_some(Keep { session, tag, linger })
}

impl<'run> Line<'run> {
    /// Nothing runs over it yet.
    pub(super) fn new(way: &'run Way, connection: Connection, machine: &'run MachineName) -> Self {
        Self { way, connection, machine, on_terminal: false, linger: Duration::ZERO }
    }

    /// Goes on over another connection, if one can be made while the machine waits for us.
    pub(super) async fn resume(&mut self, control: &mut Control) -> anyhow::Result<()> {
        self.say(&format!("the connection to {} is lost; trying to go on", self.machine));
        let deadline = Deadline::after(self.linger);
        loop {
            let reached = self.way.connection(deadline, &Progress::hidden()).await?;
            self.connection = reached.connection;
            match control.resume(&self.connection).await {
                Ok(missed) => {
                    let gap = match missed.stdout + missed.stderr {
                        0 => String::new(),
                        bytes => format!("; {bytes} bytes of output are not kept any more"),
                    };
                    self.say(&format!("connected again{gap}"));
                    return Ok(());
                }
                Err(error) if error.is_lost() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Leaves a session that goes on, or has ended just now.
    pub(super) fn part(
        &self,
        parted: Result<Exit, ControlError>,
        control: &Control,
    ) -> anyhow::Result<Outcome> {
        match parted {
            Err(ControlError::Detached { taken_over: false }) => {
                self.say(&format!("the session goes on: {}", self.way_back(control)));
                Ok(Outcome::Over(0))
            }
            Err(ControlError::Detached { taken_over: true }) => {
                self.say("another client has taken the session over");
                Ok(Outcome::Over(OWN_FAILURE))
            }
            ended => Ok(Outcome::Over(shell_code(&ended?))),
        }
    }

    /// Says what becomes of a session that cannot be reached.
    pub(super) fn leave_waiting(&self, control: &Control) {
        let (minutes, back) = (self.linger.as_secs().div_ceil(60), self.way_back(control));
        self.say(&format!("the session waits for up to {minutes} min, and then ends: {back}"));
    }

    fn way_back(&self, control: &Control) -> String {
        let id = control.session().map(|id| short_id(&id)).unwrap_or_default();
        format!("vaultctl sessions attach {} {id}", self.machine)
    }

    fn say(&self, text: &str) {
        match self.on_terminal {
            true => tell(text),
            // Whoever has no standard error does not want to know.
            false => drop(writeln!(io::stderr(), "{text}")),
        }
    }
}
