//! Events on their way: to the log, the store and whoever listens.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{ControllerError, EVENT_QUEUE_MAX};
use crate::events::Event;
use crate::store::{SqliteStore, Store};

/// How many events share one write.
const GROUP_MAX: usize = 256;

/// Starts the keeper; answers the function that everyone tells events to. It never waits: events
/// that do not fit into the queue are in the log alone.
pub(super) fn start(
    tasks: &mut JoinSet<Result<(), ControllerError>>,
    store: SqliteStore,
    listeners: broadcast::Sender<Event>,
    stop: CancellationToken,
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
                    store.append_events(std::mem::take(&mut group)).await?;
                }
                () = stop.cancelled() => return Ok(()),
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
