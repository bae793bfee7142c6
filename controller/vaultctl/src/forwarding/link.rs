//! The connection to the agent, made anew when it is lost and somebody needs it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use vault_client::protocol::message::Destination;
use vault_client::{Connection, Dialed};

use crate::output::Progress;
use crate::poll::Deadline;
use crate::reach::{MachineName, Reached, Way};

/// The way to one machine.
pub(super) struct Link {
    way: Way,
    name: MachineName,
    /// How long to try to reach it.
    limit: Duration,
    reports: Sender<String>,
    current: Mutex<Current>,
}

/// Connections so far, and the last one.
#[derive(Default)]
struct Current {
    number: u64,
    connection: Option<Connection>,
    /// Tells when the last one is lost.
    watch: JoinSet<()>,
}

impl Link {
    /// Not connected yet. What happens to connections is told to `reports`.
    pub(super) fn new(
        way: Way,
        name: MachineName,
        limit: Duration,
        reports: Sender<String>,
    ) -> Arc<Self> {
        let current = Mutex::default();
        Arc::new(Self { way, name, limit, reports, current })
    }

    /// Connects, if there is no connection.
    ///
    /// # Errors
    /// Why the machine cannot be reached.
    pub(super) async fn connect(&self, progress: &Progress) -> anyhow::Result<()> {
        self.connection(None, progress).await.map(drop)
    }

    /// Connects to something in the machine. If the connection to its agent turns out to be lost, or
    /// the agent ends, that is made anew once.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub(super) async fn dial(&self, destination: &Destination) -> anyhow::Result<Dialed> {
        let hidden = Progress::hidden();
        let (number, connection) = self.connection(None, &hidden).await?;
        match connection.dial(destination.clone()).await {
            Err(error) if error.is_retryable() => {
                let (_, connection) = self.connection(Some(number), &hidden).await?;
                Ok(connection.dial(destination.clone()).await?)
            }
            dialed => Ok(dialed?),
        }
    }

    /// The last connection, with its number, or a new one if that is over or is `useless`. Whoever
    /// comes meanwhile waits for the same.
    async fn connection(
        &self,
        useless: Option<u64>,
        progress: &Progress,
    ) -> anyhow::Result<(u64, Connection)> {
        let mut current = self.current.lock().await;
        let number = current.number;
        if let Some(connection) = &current.connection
            && !connection.is_closed()
            && useless != Some(number)
        {
            return Ok((number, connection.clone()));
        }
        let deadline = Deadline::after(self.limit);
        let Reached { connection, note } = self.way.connection(deadline, progress).await?;
        if let Some(note) = note {
            // Whoever prints it may have ended.
            self.reports.send(note).await.ok();
        }
        *current = Current {
            number: number + 1,
            connection: Some(connection.clone()),
            watch: self.watched(connection.clone()),
        };
        Ok((number + 1, connection))
    }

    fn watched(&self, connection: Connection) -> JoinSet<()> {
        let (name, reports) = (self.name.clone(), self.reports.clone());
        let mut watch = JoinSet::new();
        watch.spawn(async move {
            let why = connection.closed().await;
            let line = format!(
                "{name}: the connection was lost ({why}); the next one here makes a new one"
            );
            // Whoever prints it may have ended.
            reports.send(line).await.ok();
        });
        watch
    }

    /// Tells the agent that we are done.
    pub(super) async fn leave(&self) {
        let mut current = self.current.lock().await;
        current.watch.abort_all();
        if let Some(connection) = current.connection.take() {
            connection.close();
            self.way.wait_idle().await;
        }
    }
}
