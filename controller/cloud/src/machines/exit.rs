//! How a machine's program ended, as the platform's events tell it.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::wire::MachineEvent;

/// The end of a machine's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// When; the event's own time if it does not say.
    pub at: Option<Timestamp>,
    /// What the program answered, if it is told.
    pub exit_code: Option<i64>,
    /// The signal that ended it, if one did.
    pub signal: Option<i64>,
    /// The machine ran out of memory.
    pub oom_killed: bool,
    /// Somebody had asked for it.
    pub requested_stop: bool,
    /// The platform starts it again by its restart policy.
    pub restarting: bool,
}

impl Exit {
    /// Reads an event; `None` if it is not about an exit. The details stand in
    /// `request.exit_event` or in `request.MonitorEvent.exit_event`, both are met.
    #[must_use]
    pub fn of_event(event: &MachineEvent) -> Option<Self> {
        if event.kind != "exit" {
            return None;
        }
        let request = event.request.as_ref();
        let details = request.and_then(|request| {
            let direct = request.get("exit_event");
            direct
                .or_else(|| request.pointer("/MonitorEvent/exit_event"))
                .and_then(Value::as_object)
        });
        let empty = Map::new();
        let details = details.unwrap_or(&empty);
        let flag = |name: &str| details.get(name).and_then(Value::as_bool).unwrap_or(false);
        let number = |name: &str| details.get(name).and_then(Value::as_i64);
        let of_event = event.timestamp.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Some(Self {
            at: details.get("exited_at").and_then(instant).or(of_event),
            exit_code: number("exit_code").or_else(|| number("guest_exit_code")),
            // The platform writes -1 for "none", and 0 is no signal.
            signal: number("signal")
                .filter(|signal| *signal > 0)
                .or_else(|| number("guest_signal").filter(|signal| *signal > 0)),
            oom_killed: flag("oom_killed"),
            requested_stop: flag("requested_stop"),
            restarting: flag("restarting"),
        })
    }
}

/// An RFC 3339 text, or epoch milliseconds as an old sample has them.
fn instant(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => Timestamp::from_millisecond(value.as_i64()?).ok(),
    }
}
