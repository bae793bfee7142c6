//! One root filesystem on its way from a client to the volume.
//!
//! ```text
//!   free ── begin ──▶ attached to a stream ── the connection is lost ──▶ parked ── too long ──▶ free
//!    ▲                 │   ▲  └─ another stream brings the same archive: it takes over            ▲
//!    └── told, or unpacked ┘   └────────────── begin, the same archive ──┴── another archive ─────┘
//! ```
//!
//! There is one at a time. What has come is in the helper's hands ([`unpacking`]); a new connection goes on
//! behind it, so that no byte is sent twice.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use vault_protocol::message::ProvisionFailedReason;

use crate::limits::{PARKED_ARCHIVE_PATIENCE, TAKE_OVER_PATIENCE};
use crate::process::spawner::Spawner;
use crate::roots::Staging;
use crate::workload::{SharedRoots, locked};

pub(crate) mod unpacking;

use self::unpacking::Unpacking;

/// Why a machine does not run what it was sent.
#[derive(Debug, Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    pub(crate) reason: ProvisionFailedReason,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(reason: ProvisionFailedReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// An archive, by what its bytes are.
pub(crate) type Digest = [u8; 32];

/// The archive on its way, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Provisioner {
    slot: Arc<Mutex<Slot>>,
    /// The slot has changed.
    changed: Arc<Notify>,
    numbers: Arc<AtomicU64>,
}

#[derive(Default)]
enum Slot {
    #[default]
    Free,
    Attached {
        digest: Digest,
        /// For whoever holds it now: let go.
        take_over: CancellationToken,
    },
    Parked {
        arrival: Box<Arrival>,
        /// Which time it is parked.
        number: u64,
        /// Ends the wait.
        _timer: JoinSet<()>,
    },
}

/// An archive that is being unpacked while it comes. Dropping it ends that, and removes what is there.
pub(crate) struct Arrival {
    pub(crate) digest: Digest,
    /// Bytes that the helper has.
    pub(crate) received: u64,
    // In this order: nobody may unpack into what is being removed.
    pub(crate) unpacking: Unpacking,
    pub(crate) tree: StagedTree,
}

/// A tree in the making. Dropping it removes it.
pub(crate) struct StagedTree {
    roots: SharedRoots,
    staging: Option<Staging>,
}

impl StagedTree {
    fn new(roots: &SharedRoots) -> Result<Self, Refusal> {
        let staging = locked(roots).stage().map_err(internal)?;
        Ok(Self { roots: Arc::clone(roots), staging: Some(staging) })
    }

    /// It stays; where it is.
    pub(crate) fn keep(mut self) -> Option<Staging> {
        self.staging.take()
    }
}

impl Drop for StagedTree {
    fn drop(&mut self) {
        let Some(staging) = self.staging.take() else { return };
        let leftovers = {
            let mut roots = locked(&self.roots);
            roots.discard(&staging);
            roots.leftovers()
        };
        // It ends by itself; nobody waits for it.
        drop(spawn_blocking(move || leftovers.remove()));
    }
}

/// One stream's hold on the arrival. When it ends, the slot is free, unless the arrival is parked.
pub(crate) struct Hold {
    provisioner: Provisioner,
    /// Somebody else wants to go on with it.
    pub(crate) take_over: CancellationToken,
    is_over: bool,
}

impl Provisioner {
    /// Begins with an archive, or goes on with it.
    ///
    /// # Errors
    /// Another one is being unpacked, or the machine has no room.
    pub(crate) async fn begin(
        &self,
        digest: Digest,
        roots: &SharedRoots,
        spawner: &Spawner,
    ) -> Result<(Arrival, Hold), Refusal> {
        let take_over = CancellationToken::new();
        let waiting = timeout(TAKE_OVER_PATIENCE, self.attach(digest, &take_over)).await;
        let busy =
            |_| Refusal::new(ProvisionFailedReason::Busy, "it does not let go of this archive");
        let parked = waiting.map_err(busy)??;
        let hold = Hold { provisioner: self.clone(), take_over, is_over: false };
        if let Some(arrival) = parked {
            return Ok((arrival, hold));
        }
        let tree = StagedTree::new(roots)?;
        let staging = tree.staging.as_ref().ok_or_else(|| internal("no folder"))?;
        let unpacking = Unpacking::start(spawner, staging).await.map_err(internal)?;
        Ok((Arrival { digest, received: 0, unpacking, tree }, hold))
    }

    /// Waits until the slot is this stream's; gives what was parked there.
    async fn attach(
        &self,
        wanted: Digest,
        token: &CancellationToken,
    ) -> Result<Option<Arrival>, Refusal> {
        loop {
            let changed = self.changed.notified();
            {
                let mut slot = self.slot();
                let attached = Slot::Attached { digest: wanted, take_over: token.clone() };
                match mem::replace(&mut *slot, attached) {
                    Slot::Free => return Ok(None),
                    Slot::Parked { arrival, .. } if arrival.digest == wanted => {
                        return Ok(Some(*arrival));
                    }
                    // Whoever sent that is gone, and somebody is here.
                    Slot::Parked { arrival, .. } => {
                        drop(slot);
                        drop(arrival);
                        return Ok(None);
                    }
                    Slot::Attached { digest, take_over } => {
                        let is_same = digest == wanted;
                        if is_same {
                            take_over.cancel();
                        }
                        *slot = Slot::Attached { digest, take_over };
                        if !is_same {
                            let message = "another root filesystem is being unpacked";
                            return Err(Refusal::new(ProvisionFailedReason::Busy, message));
                        }
                    }
                }
            }
            changed.await;
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, settled: Slot) {
        let before = mem::replace(&mut *self.slot(), settled);
        drop(before);
        self.changed.notify_waiters();
    }

    /// The arrival that was parked as `number` has waited for long enough.
    fn expire(&self, number: u64) {
        let mut slot = self.slot();
        if !matches!(&*slot, Slot::Parked { number: parked, .. } if *parked == number) {
            return;
        }
        let expired = mem::take(&mut *slot);
        drop(slot);
        tracing::info!(
            "the rest of a root filesystem did not come; what there is of it is removed"
        );
        drop(expired);
        self.changed.notify_waiters();
    }
}

impl Hold {
    /// The connection is lost: somebody may come back, and go on.
    pub(crate) fn park(mut self, arrival: Arrival) {
        self.is_over = true;
        let provisioner = self.provisioner.clone();
        let number = provisioner.numbers.fetch_add(1, Ordering::Relaxed);
        let mut timer = JoinSet::new();
        let later = provisioner.clone();
        timer.spawn(async move {
            sleep(PARKED_ARCHIVE_PATIENCE).await;
            later.expire(number);
        });
        provisioner.settle(Slot::Parked { arrival: Box::new(arrival), number, _timer: timer });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !mem::replace(&mut self.is_over, true) {
            self.provisioner.settle(Slot::Free);
        }
    }
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(ProvisionFailedReason::Internal, error.to_string())
}
