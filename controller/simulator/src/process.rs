//! Controllers' processes: each lives until it is killed, and does nothing after that.

use std::fmt;

use tokio::sync::oneshot;

/// One life of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId(usize);

impl fmt::Display for ProcessId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {}", self.0)
    }
}

struct Process {
    /// The place of its controller.
    controller: usize,
    /// Told when it is killed; gone once that happened.
    killed: Option<oneshot::Sender<()>>,
}

/// All processes of a run.
#[derive(Default)]
pub struct Processes {
    all: Vec<Process>,
    /// Boundaries that were crossed by any of them.
    crossed: u64,
}

impl Processes {
    /// A new one, and what tells of its end.
    pub fn start(&mut self, controller: usize) -> (ProcessId, oneshot::Receiver<()>) {
        let (killed, told) = oneshot::channel();
        self.all.push(Process { controller, killed: Some(killed) });
        (ProcessId(self.all.len() - 1), told)
    }

    /// The one that lives of a controller's, if one does.
    #[must_use]
    pub fn living_of(&self, controller: usize) -> Option<ProcessId> {
        let lives =
            |process: &Process| process.controller == controller && process.killed.is_some();
        self.all.iter().rposition(lives).map(ProcessId)
    }

    /// Whether it was killed.
    #[must_use]
    pub fn is_dead(&self, process: ProcessId) -> bool {
        self.all[process.0].killed.is_none()
    }

    /// How many boundaries were crossed so far.
    #[must_use]
    pub fn crossed(&self) -> u64 {
        self.crossed
    }

    /// Counts a boundary; its number, from 0.
    pub(crate) fn cross(&mut self) -> u64 {
        self.crossed += 1;
        self.crossed - 1
    }

    pub(crate) fn kill(&mut self, process: ProcessId) -> Option<oneshot::Sender<()>> {
        self.all[process.0].killed.take()
    }
}
