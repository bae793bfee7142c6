//! What has happened since the start, for tests and logs.

use std::sync::atomic::{AtomicU64, Ordering};

/// Totals since the agent's start, but for the last three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were let in.
    pub connections: u64,
    /// Newcomers that had to show first that they receive at their address.
    pub retries: u64,
    /// Newcomers refused because their source is under a penalty.
    pub turned_away: u64,
    /// Newcomers refused because all connections were taken by proven clients.
    pub refused_full: u64,
    /// Connections without proof that had to make room for a newcomer.
    pub evicted: u64,
    /// Connections that did not prove themselves in time.
    pub too_slow: u64,
    /// Connections closed for a message that was not allowed.
    pub protocol_errors: u64,
    /// Evidence that the platform did not give.
    pub evidence_failures: u64,
    /// Right proofs.
    pub accepted_proofs: u64,
    /// Wrong proofs.
    pub refused_proofs: u64,
    /// Commands that were started.
    pub commands: u64,
    /// Connections that were forwarded.
    pub forwards: u64,
    /// Connections now, with and without proof.
    pub open_connections: u64,
    /// Commands that run now.
    pub running_commands: u64,
    /// Connections that are forwarded now, or dialed.
    pub open_forwards: u64,
}

/// One total.
#[derive(Debug, Default)]
pub(crate) struct Total(AtomicU64);

impl Total {
    /// One more.
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So far.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The totals as they are counted.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) connections: Total,
    pub(crate) retries: Total,
    pub(crate) turned_away: Total,
    pub(crate) refused_full: Total,
    pub(crate) evicted: Total,
    pub(crate) too_slow: Total,
    pub(crate) protocol_errors: Total,
    pub(crate) evidence_failures: Total,
    pub(crate) accepted_proofs: Total,
    pub(crate) refused_proofs: Total,
    pub(crate) commands: Total,
    pub(crate) forwards: Total,
}

impl Totals {
    /// What has been counted, and what is now.
    pub(crate) fn counts(
        &self,
        open_connections: usize,
        running_commands: usize,
        open_forwards: usize,
    ) -> Counts {
        Counts {
            connections: self.connections.value(),
            retries: self.retries.value(),
            turned_away: self.turned_away.value(),
            refused_full: self.refused_full.value(),
            evicted: self.evicted.value(),
            too_slow: self.too_slow.value(),
            protocol_errors: self.protocol_errors.value(),
            evidence_failures: self.evidence_failures.value(),
            accepted_proofs: self.accepted_proofs.value(),
            refused_proofs: self.refused_proofs.value(),
            commands: self.commands.value(),
            forwards: self.forwards.value(),
            open_connections: open_connections as u64,
            running_commands: running_commands as u64,
            open_forwards: open_forwards as u64,
        }
    }
}
