//! What Fly cannot suspend: much memory, swap, GPUs, a schedule.

use serde_json::{Map, Value};

use super::{Merged, Place, Resolution};
use crate::tenant::MachineGroup;

/// The most memory of a machine that Fly suspends, in megabytes.
const SUSPEND_MEMORY_MB_MAX: u64 = 2048;

impl Resolution<'_> {
    /// Finds what keeps the machines of a group from being suspended.
    pub(super) fn check_suspend(
        &mut self,
        place: &Place,
        group: &Merged<'_, MachineGroup>,
        config: &Map<String, Value>,
    ) {
        let number = |parent: &str, field: &str| {
            config.get(parent).and_then(|parent| parent.get(field)).and_then(Value::as_u64)
        };
        let is_set = |value: Option<&Value>| {
            value.is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
        };
        let gpu = config.get("guest").and_then(|guest| guest.get("gpu_kind"));
        let obstacles = [
            number("guest", "memory_mb").filter(|found| *found > SUSPEND_MEMORY_MB_MAX).map(
                |found| format!("with at most {SUSPEND_MEMORY_MB_MAX} MB of memory, not {found}"),
            ),
            number("init", "swap_size_mb")
                .filter(|found| *found > 0)
                .map(|_| "without swap".into()),
            is_set(gpu).then(|| "without a GPU".to_owned()),
            is_set(config.get("schedule")).then(|| "without a schedule".to_owned()),
        ];
        let is_own = group.own_has(|group| group.state.as_ref());
        for obstacle in obstacles.into_iter().flatten() {
            let message = format!("`state: Suspended`: Fly suspends machines {obstacle}");
            let problem = self.blame(place, is_own, &["state"], message);
            self.problems.push(problem);
        }
    }
}
