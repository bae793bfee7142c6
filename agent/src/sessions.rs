//! Commands that run, each in a session that may outlive the connection it came by.
//!
//! ```text
//!   Exec ─▶ launch ─▶ begin ─▶ Session ◀─ attach ─ a client, and after it the next
//!                                 │ one task each (`running`): process, pipes, signals, end
//!                                 ▼
//!   client says goodbye ─▶ hang-up          client is lost ─▶ waits, then hang-up
//!   client detaches ─────▶ goes on          ended ─▶ kept until a client knows how
//! ```
//!
//! A command that is not to be kept is a session without an id: nobody finds it, and it gets its hang-up
//! as soon as its client is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_util::task::TaskTracker;
use vault_protocol::message::SessionState;

use self::inlet::inlet;
use self::outlet::{Kept, Outlet};
use self::running::Running;
use self::session::Presence;
use crate::agent::Shared;
use crate::limits::ENDED_SESSIONS_MAX;
use crate::process::{Pipes, Process};

mod ending;
pub(crate) mod inlet;
pub(crate) mod outlet;
mod ring;
mod running;
pub(crate) mod session;

pub(crate) use self::session::{About, Session};

/// A session's id.
pub(crate) type Id = [u8; 16];

/// All sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    table: Mutex<HashMap<Id, Arc<Session>>>,
    tasks: TaskTracker,
    kept: Kept,
}

/// A command that was started.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) pipes: Pipes,
    pub(crate) about: About,
    /// The client, as it is written down.
    pub(crate) who: String,
    /// When it has run for as long as it may.
    pub(crate) deadline: Option<Duration>,
    /// Its place among the running commands.
    pub(crate) turn: OwnedSemaphorePermit,
}

impl Sessions {
    /// Whether there is one with this id.
    pub(crate) fn has(&self, id: &Id) -> bool {
        self.lock().contains_key(id)
    }

    /// The session with this id.
    pub(crate) fn find(&self, id: &Id) -> Option<Arc<Session>> {
        self.lock().get(id).cloned()
    }

    /// How all are, the oldest first.
    pub(crate) fn list(&self, now: Duration) -> Vec<SessionState> {
        let mut all: Vec<_> =
            self.lock().values().filter_map(|session| session.state(now)).collect();
        all.sort_by_key(|state| std::cmp::Reverse(state.age_ms));
        all
    }

    /// Takes care of a command, to its end. Attachment number 0 has it already.
    pub(crate) fn begin(shared: &Arc<Shared>, started: Started) -> Arc<Session> {
        let Started { process, pipes, about, who, deadline, turn } = started;
        let keeps = about.keep.is_some();
        let id = about.keep.as_ref().map(|keep| keep.session.into());
        let (orders, ordered) = mpsc::channel(16);
        let (tell_exit, exit) = watch::channel(None);
        let outlet = || Arc::new(Outlet::new(keeps, Arc::clone(&shared.sessions.kept)));
        let (stdout, stderr) = (outlet(), outlet());
        let Pipes { stdin, stdout: out, stderr: err, screen } = pipes;
        let (inlet, feed) = match stdin {
            Some(input) => {
                let (inlet, feed) = inlet();
                (Some(inlet), Some((feed, input)))
            }
            None => (None, None),
        };
        let presence = watch::Sender::new(Presence::Attached(0));
        let session = Arc::new(Session { about, stdout, stderr, inlet, presence, orders, exit });
        if let Some(id) = id {
            shared.sessions.lock().insert(id, Arc::clone(&session));
        }
        let running = Running {
            shared: Arc::clone(shared),
            session: Arc::clone(&session),
            process,
            screen,
            who,
            orders: ordered,
            exit: tell_exit,
        };
        shared.sessions.tasks.spawn(running.run(deadline, [out, err], feed, turn));
        session
    }

    /// Ends when all commands have ended, once the agent is ending.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Nobody finds it any more. Another one may have its id since it had to make room.
    fn forget(&self, session: &Session) {
        let Some(keep) = &session.about.keep else { return };
        let id = Id::from(keep.session);
        let mut table = self.lock();
        if table.get(&id).is_some_and(|found| std::ptr::eq(&raw const **found, session)) {
            table.remove(&id);
        }
    }

    /// One more has ended. If too many are kept that have, the oldest are forgotten that nobody has.
    fn make_room(&self) {
        let mut table = self.lock();
        let mut ended: Vec<_> =
            table.iter().filter(|(_, session)| session.exit.borrow().is_some()).collect();
        ended.sort_by_key(|(_, session)| session.about.began);
        let too_many = ended.len().saturating_sub(ENDED_SESSIONS_MAX);
        let forgotten: Vec<Id> = ended
            .into_iter()
            .take(too_many)
            .filter_map(|(id, session)| session.forgo().then_some(*id))
            .collect();
        for id in forgotten {
            table.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Arc<Session>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
