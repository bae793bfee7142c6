//! Whose turn it is, where a pass asks about fewer than there are.
//!
//! ```text
//!   a b c d e f g h   at one time ──▶ asks c d e     at another ──▶ asks g h a
//! ```
//!
//! Were it always the first ones, those that never get an answer would keep their places, and nobody
//! behind them would ever be asked about. So each pass begins elsewhere, by its time: nothing has to
//! be remembered for that.

use vault_plan::time::UnixMillis;

/// Divides `all` into those whose turn it is at `now`, `max` at most, and the others. Over many times
/// everybody has a turn equally often.
pub(crate) fn in_turn<T>(mut all: Vec<T>, max: usize, now: UnixMillis) -> (Vec<T>, Vec<T>) {
    if all.len() > max {
        let len = all.len() as u64;
        // Less than the length, which is a `usize`.
        let first = usize::try_from(mixed(now.0.cast_unsigned()) % len).unwrap_or(0);
        all.rotate_left(first);
    }
    let others = all.split_off(max.min(all.len()));
    (all, others)
}

/// Spreads numbers, so that passes at a steady pace do not come to the same few beginnings: the
/// finalizer of `SplitMix64`.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn at_any_pace_everybody_has_a_turn_before_long() {
        for pace_ms in [50, 1_000, 10_000, 64_000, 120_000] {
            let mut asked = BTreeSet::new();
            for pass in 0..200 {
                let now = UnixMillis(1_800_000_000_000 + pass * pace_ms);
                let (turn, others) = in_turn((0..100).collect(), 8, now);
                assert_eq!((turn.len(), others.len()), (8, 92));
                let all: BTreeSet<u32> = turn.iter().chain(&others).copied().collect();
                assert_eq!(all.len(), 100, "nobody is lost");
                asked.extend(turn);
            }
            assert_eq!(asked.len(), 100, "a pass each {pace_ms} ms");
        }
    }

    #[test]
    fn who_is_few_is_asked_in_order() {
        let now = UnixMillis(1_800_000_000_000);
        assert_eq!(in_turn(vec![1, 2, 3], 3, now), (vec![1, 2, 3], vec![]));
        assert_eq!(in_turn(Vec::<u32>::new(), 3, now), (vec![], vec![]));
    }
}
