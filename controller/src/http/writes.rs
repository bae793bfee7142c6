//! Writes that are carried out to their end, whether or not whoever asked still waits.
//!
//! ```text
//!   request ─▶ room? ─▶ a task of its own: handler, record ─▶ answer ─▶ whoever still waits
//! ```
//!
//! The HTTP library drops what it is doing for a client that hangs up: between a change and its
//! record, between a refusal and its record, between what is stored and what is known in memory.

use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::error::ApiError;

/// How many writes may be under way at once: they follow one another at the disk, and each holds a
/// manifest's bytes at most. Nobody could open more connections than a few times this anyway.
const WRITES_MAX: usize = 256;

/// The writes that are under way.
#[derive(Debug)]
pub struct Writes {
    tasks: Mutex<JoinSet<()>>,
    room: Arc<Semaphore>,
}

impl Default for Writes {
    fn default() -> Self {
        Self { tasks: Mutex::default(), room: Arc::new(Semaphore::new(WRITES_MAX)) }
    }
}

impl Writes {
    /// Carries a write out and answers it.
    ///
    /// # Errors
    /// If there are too many, or the write came to no end.
    pub(super) async fn carry_out(
        &self,
        work: impl Future<Output = Response> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let Ok(seat) = Arc::clone(&self.room).try_acquire_owned() else {
            let message = format!("{WRITES_MAX} writes are under way already; try again");
            return Err(ApiError::Unavailable(message));
        };
        let (tell, told) = oneshot::channel();
        {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that have ended make room in the set.
            while tasks.try_join_next().is_some() {}
            tasks.spawn(async move {
                let answer = work.await;
                drop(seat);
                // Whoever asked may be gone.
                drop(tell.send(answer));
            });
        }
        told.await.map_err(|_| ApiError::Unavailable("the write came to no end".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[tokio::test]
    async fn there_is_room_for_so_many_and_it_comes_back() {
        let writes = Writes::default();
        let open = Arc::new(Semaphore::new(0));
        let mut waiting = Vec::new();
        for _ in 0..WRITES_MAX {
            let open = Arc::clone(&open);
            let work = async move {
                drop(open.acquire().await);
                "done".into_response()
            };
            let mut write = Box::pin(writes.carry_out(work));
            assert!(futures_util::poll!(&mut write).is_pending());
            waiting.push(write);
        }
        let more = writes.carry_out(async { "done".into_response() }).await;
        assert!(matches!(more, Err(ApiError::Unavailable(_))));
        // Half of them hang up, and are carried out all the same.
        waiting.truncate(WRITES_MAX / 2);
        open.add_permits(WRITES_MAX);
        for write in waiting {
            assert!(write.await.is_ok());
        }
        let all = u32::try_from(WRITES_MAX).unwrap();
        drop(writes.room.acquire_many(all).await.unwrap());
        assert!(writes.carry_out(async { "done".into_response() }).await.is_ok());
    }
}
