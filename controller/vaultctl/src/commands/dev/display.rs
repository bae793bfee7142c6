//! Where `dev` prints: lines alone, or lines above a table that is kept up to date.
//!
//! ```text
//!   terminal          events ─▶ lines that scroll
//!                     list of tenants, again and again ─▶ board ─▶ redrawn beneath them
//!   everything else   events ─▶ lines
//! ```

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::board::board;
use crate::client::Client;
use crate::clock;
use crate::context;
use crate::object::Resource;
use crate::output::live::Live;
use crate::output::{Output, Progress};

/// How long the table may be out of date.
const PAUSE: Duration = Duration::from_millis(500);
/// A list of very many tenants takes long; the pause after it is so many times as long, so that
/// looking costs the controller a tenth of its time at most.
const PAUSE_PER_LOOK: u32 = 9;
/// The last look is a courtesy: the controller answers it from memory, or is broken.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Where it prints.
pub(super) enum Display {
    /// One line that moves, if stderr is a terminal, and what happens.
    Lines(Progress),
    /// A table of the tenants, and what happens above it.
    Table {
        /// The terminal's last lines.
        live: Live,
        /// The controller whose tenants are shown.
        source: Source,
        /// Keeps the table up to date; ends with this.
        tasks: JoinSet<()>,
    },
}

/// The controller that runs in this process, as its clients find it.
#[derive(Clone)]
pub(super) struct Source {
    /// The context file, which may not be written yet or be that of an earlier run.
    pub(super) context_file: PathBuf,
    /// Where the API is in this run.
    pub(super) url: String,
}

impl Source {
    /// A client, once the context file is that of this run.
    fn client(&self) -> Option<Client> {
        let context = context::load(std::slice::from_ref(&self.context_file), None).ok()?;
        if context.server != self.url {
            return None;
        }
        Client::new(&context).ok()
    }
}

impl Display {
    /// The best that the terminal can do.
    pub(super) fn new(source: Source, output: &Output) -> Self {
        let Some(live) = output.live() else {
            return Self::Lines(output.progress("reading the manifests"));
        };
        live.show("reading the manifests");
        let mut tasks = JoinSet::new();
        tasks.spawn(keep(live.clone(), source.clone()));
        Self::Table { live, source, tasks }
    }

    /// Prints a line of what happens.
    ///
    /// # Errors
    /// The stream cannot be written.
    pub(super) fn line(&self, output: &mut Output, line: &str) -> io::Result<()> {
        match self {
            Self::Lines(progress) => progress.beside(|| output.line(line)),
            Self::Table { live, .. } => live.beside(|| output.line(line)),
        }
    }

    /// Replaces the sum that stands in the line that moves; the table has its own.
    pub(super) fn sum(&self, text: String) {
        if let Self::Lines(progress) = self {
            progress.say(text);
        }
    }

    /// Ends it. The table stays, as things are now.
    pub(super) async fn close(self) {
        let Self::Table { live, source, mut tasks } = self else { return };
        tasks.shutdown().await;
        if let Some(client) = source.client() {
            // Without an answer in time the table stays as it was.
            drop(tokio::time::timeout(LAST_LOOK, look(&client, &live)).await);
        }
    }
}

/// Shows the tenants again and again.
async fn keep(live: Live, source: Source) {
    let mut client = None;
    loop {
        let began = Instant::now();
        if client.is_none() {
            client = source.client();
        }
        if let Some(client) = &client {
            look(client, &live).await;
        }
        tokio::time::sleep(PAUSE.max(began.elapsed() * PAUSE_PER_LOOK)).await;
    }
}

/// Shows the tenants once. What stands in the way of a look is in the controller's own events, so
/// the table just stays as it was.
async fn look(client: &Client, live: &Live) {
    if let Ok(list) = client.list(Resource::Tenant).await {
        live.show(&board(&list.items, clock::now(), live.size()));
    }
}
