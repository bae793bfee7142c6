//! The command's side of a session: its process, its pipes, and what makes it end.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use vault_protocol::audit::Event;
use vault_protocol::message::{Exit, Size};

use super::ending::{Ending, Step};
use super::inlet::Feed;
use super::session::{Order, Presence, Session};
use crate::agent::Shared;
use crate::audit::milliseconds;
use crate::clock::Clock;
use crate::limits::{ENDED_SESSION_KEPT, GROUP_POLL};
use crate::process::terminal::Screen;
use crate::process::{Input, Output, Process};

/// How a command ended of which nothing is known.
const NO_EXIT: Exit = Exit { code: None, signal: None, core_dumped: false, timed_out: None };

/// A running command.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Arc<Session>,
    pub(super) process: Process,
    /// Of its terminal, if it has one.
    pub(super) screen: Option<Screen>,
    /// Who started it.
    pub(super) who: String,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) exit: watch::Sender<Option<Exit>>,
}

/// The tasks that copy.
struct Channels {
    outputs: JoinSet<()>,
    input: JoinSet<()>,
}

impl Running {
    /// Takes care of it until it has ended, and its end is known to a client, or to none for long.
    pub(super) async fn run(
        mut self,
        deadline: Option<Duration>,
        [stdout, stderr]: [Output; 2],
        feed: Option<(Feed, Input)>,
        turn: OwnedSemaphorePermit,
    ) {
        let over = CancellationToken::new();
        let _ends_input = over.clone().drop_guard();
        let mut channels = Channels { outputs: JoinSet::new(), input: JoinSet::new() };
        for (outlet, source) in [(&self.session.stdout, stdout), (&self.session.stderr, stderr)] {
            let outlet = Arc::clone(outlet);
            channels.outputs.spawn(async move { outlet.fill(source).await });
        }
        if let Some((feed, input)) = feed {
            let over = over.clone();
            channels.input.spawn(async move { feed.run(input, &over).await });
        }
        let mut ending = Ending::new(deadline);
        let exit = self.watch(&mut channels, &mut ending).await;
        over.cancel();
        // Nobody takes orders any more: whoever gives one must not wait.
        self.orders.close();
        self.process.reap();
        drop(turn);
        self.record(&exit, ending.is_hung_up());
        // The clients see it only now: what they are told stands in the log already.
        let kept = self.session.about.keep.is_some() && !ending.is_hung_up();
        self.exit.send_replace(Some(exit));
        if kept {
            self.wait_until_known().await;
        }
        self.shared.sessions.forget(&self.session);
        clear(&ending, &self.process, &*self.shared.clock).await;
    }

    /// Until the process and both outputs have ended.
    async fn watch(&mut self, channels: &mut Channels, ending: &mut Ending) -> Exit {
        let shared = Arc::clone(&self.shared);
        let mut presence = self.session.presence.subscribe();
        let (mut exit, mut hang_up_at) = (None, None);
        while exit.is_none() || !channels.outputs.is_empty() {
            // All arms are cancel-safe: an end stays an end, tasks stay in their set, orders in their
            // queue, and only the newest presence counts.
            tokio::select! {
                ended = self.process.ended(), if exit.is_none() => {
                    exit = Some(ended.unwrap_or_else(|error| {
                        tracing::error!(%error, "a process cannot be watched; it is killed");
                        self.process.signal(Signal::KILL);
                        Exit { signal: Some(signal_number(Signal::KILL)), ..NO_EXIT }
                    }));
                }
                Some(_) = channels.outputs.join_next() => {}
                Some(order) = self.orders.recv() => match order {
                    Order::Signal(signal) => self.process.signal(signal),
                    Order::Resize(size) => self.resize(size),
                },
                Ok(()) = presence.changed(), if !ending.is_hung_up() => {
                    let now = shared.clock.now();
                    match *presence.borrow_and_update() {
                        Presence::Attached(_) | Presence::Detached(_) | Presence::Told(_) => {
                            hang_up_at = None;
                        }
                        Presence::Lost(_) => hang_up_at = Some(now + self.session.about.linger()),
                        Presence::Abandoned(_) => hang_up_at = Some(now),
                    }
                }
                () = until(hang_up_at, &*shared.clock), if !ending.is_hung_up() => {
                    // The signal comes first: a closed standard input alone looks like its end.
                    self.process.signal(ending.hang_up(shared.clock.now()));
                    self.close(channels);
                }
                () = shared.draining.cancelled(), if !ending.is_terminated() => {
                    self.process.signal(ending.terminate(shared.clock.now(), shared.grace()));
                }
                step = next_step(ending, &*shared.clock) => match step {
                    Step::TimeOut => self.process.signal(Signal::TERM),
                    Step::Kill => self.process.signal(Signal::KILL),
                    Step::CloseOutputs => self.close(channels),
                },
            }
        }
        let timed_out = ending.is_timed_out().then_some(true);
        Exit { timed_out, ..exit.unwrap_or(NO_EXIT) }
    }

    /// Closes our ends of all channels. For a terminal that is a hang-up.
    fn close(&mut self, channels: &mut Channels) {
        self.screen = None;
        self.session.stdout.close();
        self.session.stderr.close();
        channels.input.abort_all();
    }

    /// The client's terminal has another size.
    fn resize(&self, size: Size) {
        if let Some(Err(error)) = self.screen.as_ref().map(|screen| screen.resize(size)) {
            tracing::debug!(%error, "a terminal keeps its size");
        }
    }

    fn record(&self, exit: &Exit, client_lost: bool) {
        let about = &self.session.about;
        let took = self.shared.clock.now() - about.began;
        tracing::info!(
            target: "audit",
            program = about.program,
            process = about.process,
            source = self.who,
            milliseconds = took.as_millis(),
            code = exit.code,
            signal = exit.signal,
            client_lost,
            "command ended"
        );
        self.shared.audit.record(Event::CommandEnded {
            source: self.who.clone(),
            program: about.program.clone(),
            process: about.process,
            code: exit.code,
            signal: exit.signal,
            milliseconds: milliseconds(took),
        });
    }

    /// The end of a session is kept until a client knows it, or for as long as one may come back.
    async fn wait_until_known(&self) {
        let shared = &self.shared;
        let mut presence = self.session.presence.subscribe();
        shared.sessions.make_room();
        loop {
            let wait = match *presence.borrow_and_update() {
                Presence::Attached(_) => None,
                Presence::Lost(_) => Some(self.session.about.linger()),
                Presence::Detached(_) => Some(ENDED_SESSION_KEPT),
                Presence::Abandoned(_) | Presence::Told(_) => return,
            };
            let at = wait.map(|wait| shared.clock.now() + wait);
            // All arms are cancel-safe: only the newest presence counts.
            tokio::select! {
                Ok(()) = presence.changed() => {}
                () = until(at, &*shared.clock) => return,
                () = shared.draining.cancelled() => return,
            }
        }
    }
}

impl Session {
    /// Nobody may ask any more how it ended, unless somebody is just being told.
    pub(super) fn forgo(&self) -> bool {
        self.presence.send_if_modified(|presence| match *presence {
            Presence::Lost(number) | Presence::Detached(number) => {
                *presence = Presence::Abandoned(number);
                true
            }
            _ => false,
        })
    }
}

/// Ends at a time, or never. Cancel-safe.
async fn until(at: Option<Duration>, clock: &dyn Clock) {
    let Some(at) = at else { return pending().await };
    loop {
        let now = clock.now();
        if at <= now {
            return;
        }
        sleep(at - now).await;
    }
}

/// Waits for the next step, if one is planned. Cancel-safe: a step is taken only as it is answered.
async fn next_step(ending: &mut Ending, clock: &dyn Clock) -> Step {
    loop {
        if let Some(step) = ending.advance(clock.now()) {
            return step;
        }
        until(ending.due(), clock).await;
    }
}

/// When a command had to end, so has whoever it left in its group; they get the same time for it.
async fn clear(ending: &Ending, process: &Process, clock: &dyn Clock) {
    let Some(due) = ending.due().filter(|_| ending.is_asked()) else {
        return;
    };
    while process.group_is_left() {
        if due <= clock.now() {
            return process.signal(Signal::KILL);
        }
        sleep(GROUP_POLL).await;
    }
}

fn signal_number(signal: Signal) -> u8 {
    u8::try_from(signal.as_raw()).unwrap_or_default()
}
