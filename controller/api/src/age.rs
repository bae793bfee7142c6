//! Ages as kubectl tells them: one or two units, coarser the longer ago.

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A span of seconds as text such as `90s`, `4m30s`, `3h5m`, `2d1h` or `8y`. A negative span, of a
/// clock that is behind another one, is `0s`: that is no reason to say something odd.
///
/// The limits are those of `HumanDuration` in k8s.io/apimachinery.
#[must_use]
pub fn age(seconds: i64) -> String {
    match seconds {
        ..0 => "0s".to_owned(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two(seconds, (MINUTE, "m"), (1, "s")),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two(seconds, (HOUR, "h"), (MINUTE, "m")),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two(seconds, (DAY, "d"), (HOUR, "h")),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two(seconds, (YEAR, "y"), (DAY, "d")),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// The span in the large unit, and what is left over in the small one if there is any.
fn two(seconds: i64, (large, large_word): (i64, &str), (small, small_word): (i64, &str)) -> String {
    let whole = seconds / large;
    match seconds % large / small {
        0 => format!("{whole}{large_word}"),
        rest => format!("{whole}{large_word}{rest}{small_word}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_the_units_of_kubectl() {
        for (seconds, text) in [
            (i64::MIN, "0s"),
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (10 * MINUTE, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (8 * HOUR, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY, "8d"),
            (2 * YEAR - 1, "729d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + 5 * DAY, "2y5d"),
            (8 * YEAR - 1, "7y364d"),
            (8 * YEAR + DAY, "8y"),
        ] {
            assert_eq!(age(seconds), text, "{seconds} s");
        }
    }
}
