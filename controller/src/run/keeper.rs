//! Events on their way: to the log, the store and whoever listens.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{ControllerError, EVENT_QUEUE_MAX};
use crate::events::Event;
use crate::store::{ApiStore, SqliteStore, StoreError};

/// How many events share one write.
const GROUP_MAX: usize = 256;

/// Starts the keeper; answers the function that everyone tells events to. It never waits: events
/// that do not fit into the queue are in the log alone. The keeper ends when the main loop has
/// `finished` and what was told is stored.
pub(super) fn start(
    tasks: &mut JoinSet<Result<(), ControllerError>>,
    store: SqliteStore,
    listeners: broadcast::Sender<Event>,
    finished: CancellationToken,
) -> Arc<dyn Fn(Event) + Send + Sync> {
    let (queue, mut events) = mpsc::channel::<Event>(EVENT_QUEUE_MAX);
    tasks.spawn(async move {
        let mut group = Vec::new();
        loop {
            // Both arms are cancel-safe: nothing is taken out before an arm is chosen.
            tokio::select! {
                biased;
                count = events.recv_many(&mut group, GROUP_MAX) => {
                    if count == 0 {
                        return Ok(());
                    }
                    match store.append_events(std::mem::take(&mut group)).await {
                        Err(StoreError::Closed) => return Err(StoreError::Closed.into()),
                        Err(error) => {
                            tracing::error!(
                                error = &error as &dyn std::error::Error,
                                "events could not be stored: they stand in the log alone"
                            );
                        }
                        Ok(()) => {}
                    }
                }
                // Chosen only when nothing waits any more.
                () = finished.cancelled() => return Ok(()),
            }
        }
    });
    Arc::new(move |event: Event| {
        let Event { tenant, reason, message, .. } = &event;
        match event.warning {
            true => tracing::warn!(tenant, reason, "{message}"),
            false => tracing::info!(tenant, reason, "{message}"),
        }
        // Nobody listening is no error.
        drop(listeners.send(event.clone()));
        if queue.try_send(event).is_err() {
            tracing::warn!("the event queue is full: an event stands in the log alone");
        }
    })
}
