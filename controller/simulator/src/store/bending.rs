//! What only broken controllers do to a disk; see [`crate::mutants`].

use ulid::Ulid;
use vault_plan::time::UnixMillis;

use super::SimStore;
use crate::universe::BEGIN_MS;

impl SimStore {
    /// The platform's time.
    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis(BEGIN_MS + self.shared.lock().now_ms())
    }

    /// Marks an intent as being sent, but only after a while; not at all if the process dies first.
    pub(crate) fn send_intent_late(&self, id: Ulid, now: UnixMillis, late_ms: i64) {
        let (controller, process) = (self.controller, self.process);
        self.shared.lock().after(late_ms, move |universe| {
            if !universe.processes.is_dead(process) {
                // By then it may have been settled.
                drop(universe.controllers[controller].disk.send_intent(id, now));
            }
        });
    }

    /// Forgets which numbers of credentials were used.
    pub(crate) fn forget_numbers(&self) {
        self.shared.lock().controllers[self.controller].disk.credentials.forget_numbers();
    }
}
