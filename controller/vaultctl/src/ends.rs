//! The signals that end this program, for commands that have something to put in order before.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Interrupt, terminate and hang up. From when it is made, none of them ends the program by itself.
pub(crate) struct Ends([Signal; 3]);

impl Ends {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    /// One of them. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.0;
        // All arms are cancel-safe.
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}
