//! Spans of time as people write them in manifests: Go's form, because Fly's API takes it too.

use thiserror::Error;

/// Milliseconds per unit, the longest first.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1_000)];

/// Why a text is no span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// It is not of the form.
    #[error("is no duration such as `24h`, `90m` or `1h30m`")]
    Form,
    /// Its number does not fit.
    #[error("is longer than can be counted")]
    TooLong,
}

/// Reads a span such as `24h`, `90m`, `1h30m`, `45s` or `500ms`, in milliseconds. Whole numbers
/// with a unit each, and nothing between them.
///
/// # Errors
/// [`DurationError`], see there.
pub fn milliseconds(text: &str) -> Result<u64, DurationError> {
    let mut rest = text;
    let mut sum: u64 = 0;
    if rest.is_empty() {
        return Err(DurationError::Form);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let unit = UNITS.iter().find(|(unit, _)| {
            // `ms` stands before `m`, and a unit ends where the next number begins.
            after.strip_prefix(unit).is_some_and(|next| {
                next.is_empty() || next.starts_with(|first: char| first.is_ascii_digit())
            })
        });
        let Some((unit, factor)) = unit.filter(|_| digits > 0) else {
            return Err(DurationError::Form);
        };
        let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
        let part = number.checked_mul(*factor).ok_or(DurationError::TooLong)?;
        sum = sum.checked_add(part).ok_or(DurationError::TooLong)?;
        rest = &after[unit.len()..];
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected) in [
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("90m", 5_400_000),
            ("45s", 45_000),
            ("500ms", 500),
            ("1m1ms", 60_001),
            ("175200h0m0s", 630_720_000_000),
            ("0s", 0),
        ] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
        for text in ["", "h", "24", "24 h", " 24h", "-1h", "+1h", "1.5h", "1d", "24H", "1hh", "ä"]
        {
            assert_eq!(milliseconds(text), Err(DurationError::Form), "{text}");
        }
        for text in ["18446744073709551615h", "18446744073709551616s", "99999999999999999999ms"] {
            assert_eq!(milliseconds(text), Err(DurationError::TooLong), "{text}");
        }
    }
}
