//! The small notations of the API: Go durations and signal names.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

use crate::world::error::Refusal;

/// The signal of a stop that names none: SIGINT.
pub(crate) const DEFAULT_STOP_SIGNAL: i32 = 2;
/// How long a stop waits before it kills.
pub(crate) const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// SIGKILL: a process has no say in it.
pub(crate) const KILL: i32 = 9;
/// Nobody waits longer than this for a machine to stop.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// The signals that the platform knows, by name without `SIG`, with their Linux numbers.
const SIGNALS: [(&str, i32); 7] =
    [("HUP", 1), ("INT", 2), ("QUIT", 3), ("KILL", KILL), ("USR1", 10), ("USR2", 12), ("TERM", 15)];

/// A signal's number from its name (`SIGTERM`, `TERM`) or its number (`15`).
///
/// # Errors
/// [`Refusal::Invalid`] for a signal that machines are not sent.
pub(crate) fn signal(text: &str) -> Result<i32, Refusal> {
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    SIGNALS
        .iter()
        .find(|(known, number)| name == *known || name == number.to_string())
        .map(|(_, number)| *number)
        .ok_or_else(|| Refusal::invalid(format!("unknown signal {text:?}")))
}

/// Signals that only the call that sends one takes, not the config.
const MORE_SIGNALS: [(&str, i32); 7] =
    [("ILL", 4), ("TRAP", 5), ("ABRT", 6), ("FPE", 8), ("SEGV", 11), ("PIPE", 13), ("ALRM", 14)];

/// As [`signal`], and those too that no config may name.
///
/// # Errors
/// [`Refusal::Invalid`] for a signal that machines are not sent.
pub(crate) fn any_signal(text: &str) -> Result<i32, Refusal> {
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let more =
        MORE_SIGNALS.iter().find(|(known, number)| name == *known || name == number.to_string());
    more.map_or_else(|| signal(text), |(_, number)| Ok(*number))
}

/// A duration as Go writes it (`"1m30s"`) or as its JSON number (nanoseconds). Absent, null, empty
/// and zero mean that none is set, because Go clients always send the member.
///
/// # Errors
/// [`Refusal::Invalid`] if it is malformed, negative or longer than a day.
pub(crate) fn go_duration(value: Option<&Value>) -> Result<Option<Duration>, Refusal> {
    let malformed =
        || Refusal::invalid(format!("invalid duration {}", value.unwrap_or(&Value::Null)));
    let duration = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => Duration::from_nanos(number.as_u64().ok_or_else(malformed)?),
        Some(Value::String(text)) => match text.trim() {
            "" | "0" => return Ok(None),
            text => {
                let parsed: SignedDuration = text.parse().map_err(|_| malformed())?;
                Duration::try_from(parsed).map_err(|_| malformed())?
            }
        },
        Some(_) => return Err(malformed()),
    };
    if duration > LONGEST_TIMEOUT {
        return Err(malformed());
    }
    Ok((!duration.is_zero()).then_some(duration))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_gos() {
        let seconds = |count| Ok(Some(Duration::from_secs(count)));
        let cases = [
            (json!(null), Ok(None)),
            (json!("0s"), Ok(None)),
            (json!(""), Ok(None)),
            (json!("15s"), seconds(15)),
            (json!("1m30s"), seconds(90)),
            (json!("1.5s"), Ok(Some(Duration::from_millis(1500)))),
            (json!("250ms"), Ok(Some(Duration::from_millis(250)))),
            (json!(3_000_000_000_u64), seconds(3)),
            (json!("-1s"), Err(())),
            (json!(-1), Err(())),
            (json!("25h"), Err(())),
            (json!("soon"), Err(())),
            (json!([]), Err(())),
        ];
        for (value, wanted) in cases {
            assert_eq!(go_duration(Some(&value)).map_err(|_| ()), wanted, "{value}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, wanted) in [("SIGTERM", 15), ("term", 15), ("9", 9), ("USR1", 10), ("2", 2)] {
            assert_eq!(signal(text), Ok(wanted), "{text}");
        }
        for text in ["", "SIG", "SEGV", "0", "64", "-9"] {
            assert!(signal(text).is_err(), "{text}");
        }
    }
}
