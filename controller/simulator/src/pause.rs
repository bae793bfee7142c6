//! A leader that stands still and does not know it: its host was paused, and another process of the
//! same identity has taken over with a copy of its disk.
//!
//! ```text
//!   first leader ── plans, sends ─┤ stands still ├── goes on with the plan it had ─▶
//!                                 │              │
//!   second leader                 └─ takes over, settles, converges ──────────────▶
//! ```

use tokio::sync::oneshot;

use crate::process::ProcessId;

/// When a process stands still, and for how long.
#[derive(Debug, Default)]
pub struct Pause {
    /// The boundary, by its number in the run, and the milliseconds.
    planned: Option<(u64, i64)>,
    /// Told when it begins.
    begins: Option<oneshot::Sender<()>>,
    /// Who stands still, and until when.
    stands: Option<(ProcessId, i64)>,
}

impl Pause {
    /// Whoever crosses the boundary with that number stands still for `lasts_ms` milliseconds.
    /// Answers what tells of it.
    #[must_use]
    pub fn new(boundary: u64, lasts_ms: i64) -> (Self, oneshot::Receiver<()>) {
        let (begins, begun) = oneshot::channel();
        let planned = Some((boundary, lasts_ms));
        (Self { planned, begins: Some(begins), stands: None }, begun)
    }

    /// A process has crossed a boundary; who is to be told if it stands still from now on.
    pub(crate) fn crossed(
        &mut self,
        boundary: u64,
        process: ProcessId,
        now_ms: i64,
    ) -> Option<oneshot::Sender<()>> {
        let (_, lasts_ms) = self.planned.take_if(|(planned, _)| *planned == boundary)?;
        self.stands = Some((process, now_ms + lasts_ms));
        self.begins.take()
    }

    /// For how many milliseconds a process stands still from now on.
    pub(crate) fn left_ms(&self, process: ProcessId, now_ms: i64) -> Option<i64> {
        let (_, until_ms) = self.stands.filter(|(stands, _)| *stands == process)?;
        (until_ms > now_ms).then_some(until_ms - now_ms)
    }
}
