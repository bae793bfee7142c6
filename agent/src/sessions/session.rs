//! One session, as those see it who attach to it.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{mpsc, watch};
use vault_protocol::message::{Channel, Exit, Keep, SessionState, Size};

use super::inlet::{Inlet, Written};
use super::outlet::Outlet;
use crate::limits::LINGER_MAX;

/// A command, its channels, and who has it.
pub(crate) struct Session {
    pub(crate) about: About,
    pub(crate) stdout: Arc<Outlet>,
    pub(crate) stderr: Arc<Outlet>,
    /// If it has a standard input.
    pub(crate) inlet: Option<Inlet>,
    pub(super) presence: watch::Sender<Presence>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) exit: watch::Receiver<Option<Exit>>,
}

/// What does not change.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// The program's name, shortened: clients choose it.
    pub(crate) program: String,
    /// The process id.
    pub(crate) process: u32,
    pub(crate) terminal: bool,
    /// When it began.
    pub(crate) began: Duration,
    /// How it outlives its connection, if it does.
    pub(crate) keep: Option<Keep>,
}

/// Who has a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The client of this attachment; they are counted.
    Attached(u64),
    /// Nobody, since this attachment's client was lost.
    Lost(u64),
    /// Nobody, and that is as it was wished.
    Detached(u64),
    /// Nobody, and nobody wants it any more.
    Abandoned(u64),
    /// Somebody who knows how it has ended.
    Told(u64),
}

/// What a client wants of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Signal(Signal),
    Resize(Size),
}

/// From where on a client goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    /// Counts the attachments.
    pub(crate) attachment: u64,
    pub(crate) stdin: Option<Written>,
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
}

impl Presence {
    fn attachment(self) -> u64 {
        match self {
            Self::Attached(number)
            | Self::Lost(number)
            | Self::Detached(number)
            | Self::Abandoned(number)
            | Self::Told(number) => number,
        }
    }
}

impl About {
    /// How long it may be without a client that was lost.
    pub(crate) fn linger(&self) -> Duration {
        let wished = self.keep.as_ref().map_or(0, |keep| keep.linger_ms);
        Duration::from_millis(wished).min(LINGER_MAX)
    }
}

impl Session {
    /// Takes the session over; whoever has it loses it.
    pub(crate) async fn attach(&self, stdout: Option<u64>, stderr: Option<u64>) -> Beginning {
        let mut attachment = 0;
        self.presence.send_modify(|presence| {
            attachment = presence.attachment() + 1;
            *presence = Presence::Attached(attachment);
        });
        let stdin = match &self.inlet {
            Some(inlet) => Some(inlet.take_over(attachment).await),
            None => None,
        };
        let (stdout, stderr) = (self.stdout.attach(stdout), self.stderr.attach(stderr));
        Beginning { attachment, stdin, stdout, stderr }
    }

    /// Tells what became of an attachment; says whether it still had the session.
    pub(crate) fn leave(&self, left: Presence) -> bool {
        let had = self.presence.send_if_modified(|presence| {
            let has = *presence == Presence::Attached(left.attachment());
            if has {
                *presence = left;
            }
            has
        });
        if had && matches!(left, Presence::Detached(_)) {
            self.stdout.detach();
            self.stderr.detach();
        }
        had
    }

    /// Ends when somebody else has the session.
    pub(crate) async fn taken_over(&self, attachment: u64) {
        let mut presence = self.presence.subscribe();
        // The sender lives as long as we do.
        drop(presence.wait_for(|presence| presence.attachment() != attachment).await);
    }

    /// How the command ended, as soon as it has, and its outputs have. `None` if that will never be known.
    pub(crate) async fn ended(&self) -> Option<Exit> {
        let mut exit = self.exit.clone();
        let exit = exit.wait_for(Option::is_some).await.ok()?;
        exit.clone()
    }

    /// The output of this channel, if it is one.
    pub(crate) fn outlet(&self, channel: Channel) -> Option<&Arc<Outlet>> {
        match channel {
            Channel::Stdin => None,
            Channel::Stdout => Some(&self.stdout),
            Channel::Stderr => Some(&self.stderr),
        }
    }

    /// Tells the command's side. After its end there is nobody to tell.
    pub(crate) async fn order(&self, order: Order) {
        let _ended = self.orders.send(order).await;
    }

    /// A line for people who ask what is there.
    pub(super) fn state(&self, now: Duration) -> Option<SessionState> {
        let keep = self.about.keep.as_ref()?;
        let age = now.saturating_sub(self.about.began);
        Some(SessionState {
            session: keep.session,
            tag: keep.tag.clone(),
            program: self.about.program.clone(),
            process_id: self.about.process,
            terminal: self.about.terminal,
            attached: matches!(*self.presence.borrow(), Presence::Attached(_)),
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            ended: self.exit.borrow().is_some(),
        })
    }
}
