//! The feed of a topic: one task reads each change once and hands it to everyone who watches.

use std::sync::Arc;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use vault_plan::identity::ControllerId;

use super::Topic;
use super::news::{News, Reading};
use crate::store::{ApiStore, StoreError};

/// How many changes a watcher may be behind before it has to read from the store: some megabytes of
/// documents if all of them are waited for, and none if nobody is behind.
const RING_LENGTH: usize = 512;

/// What a feed hands out.
#[derive(Clone)]
pub(super) enum Message {
    /// Something happened.
    News(Arc<News>),
    /// Everything up to this version was handed out.
    UpTo(i64),
    /// Something may be missing here: look into the store.
    Gap,
}

/// The feed of one topic.
pub(super) struct Feed {
    topic: Topic,
    ring: broadcast::Sender<Message>,
}

impl Feed {
    /// A feed that nobody reads yet.
    pub(super) fn new(topic: Topic) -> Self {
        Self { topic, ring: broadcast::Sender::new(RING_LENGTH) }
    }

    /// What it is about.
    pub(super) fn topic(&self) -> Topic {
        self.topic
    }

    /// A place in the ring. Whoever has it looks into the store once: what happened before may not
    /// come by here.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Message> {
        self.ring.subscribe()
    }

    /// Reads what changes until the store closes or `stop`.
    pub(super) async fn run<S: ApiStore>(
        self: Arc<Self>,
        store: S,
        controller: ControllerId,
        stop: CancellationToken,
    ) {
        let mut commits = store.commits();
        let mut reading: Option<Reading> = None;
        loop {
            match self.round(&store, &controller, reading.take()).await {
                Ok(next) => reading = Some(next),
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "changes could not be read: watchers look for themselves"
                    );
                    self.send(Message::Gap);
                }
            }
            // Both arms are cancel-safe.
            tokio::select! {
                told = commits.changed() => if told.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    }

    /// Hands out all that happened since the last time.
    async fn round<S: ApiStore>(
        &self,
        store: &S,
        controller: &ControllerId,
        reading: Option<Reading>,
    ) -> Result<Reading, StoreError> {
        // Read before the listeners are counted: who comes later finds all up to it in the store.
        let newest = store.resource_version().await?;
        let Some(mut reading) = reading.filter(|_| self.ring.receiver_count() > 0) else {
            self.send(Message::Gap);
            return Ok(Reading::new(self.topic, newest));
        };
        loop {
            let Ok(step) = reading.step(store, controller).await? else {
                self.send(Message::Gap);
                return Ok(Reading::new(self.topic, newest));
            };
            for news in step.news {
                self.send(Message::News(Arc::new(news)));
            }
            if step.complete {
                self.send(Message::UpTo(reading.knows()));
                return Ok(reading);
            }
            // A whole fleet has changed at once: those who listen get their turn in between.
            tokio::task::yield_now().await;
        }
    }

    fn send(&self, message: Message) {
        // That nobody listens is no error.
        drop(self.ring.send(message));
    }
}
