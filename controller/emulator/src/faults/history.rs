//! What lists said before: for lists that lag.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// Answers kept per list. A controller looks a few times a second, and a lag is some seconds.
const ANSWERS_MAX: usize = 64;
/// Lists that are kept apart, pages and filters among them: those of an organization, and of a
/// hundred apps.
const LISTS_MAX: usize = 256;

/// Earlier answers by list.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    lists: BTreeMap<String, VecDeque<(Timestamp, Value)>>,
}

impl History {
    /// Keeps today's answer, and gives the one that was true `age` ago: the newest of those that
    /// are old enough, else the oldest that there is. `None` if the list cannot be kept.
    pub(super) fn lag(
        &mut self,
        now: Timestamp,
        list: &str,
        answer: &Value,
        age: Duration,
    ) -> Option<Value> {
        if !self.lists.contains_key(list) && self.lists.len() >= LISTS_MAX {
            return None;
        }
        let answers = self.lists.entry(list.to_owned()).or_default();
        answers.push_back((now, answer.clone()));
        // Of those that are old enough only the newest is of use.
        while answers.get(1).is_some_and(|(at, _)| *at + age <= now) {
            answers.pop_front();
        }
        if answers.len() > ANSWERS_MAX {
            // Every second one: the lag stays, its steps become coarser.
            let mut place = 0;
            answers.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
        answers.front().map(|(_, answer)| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millisecond).expect("a time")
    }

    #[test]
    fn a_list_lags_by_its_age_and_lists_do_not_mix() {
        let mut history = History::default();
        let age = Duration::from_millis(100);
        let mut lag =
            |time, list: &str, answer: i64| history.lag(at(time), list, &json!(answer), age);
        for (time, answer, shown) in
            [(0, 1, 1), (50, 2, 1), (99, 3, 1), (120, 4, 1), (150, 5, 2), (199, 6, 3), (500, 7, 6)]
        {
            assert_eq!(lag(time, "a", answer), Some(json!(shown)), "at {time}");
        }
        assert_eq!(lag(500, "b", 9), Some(json!(9)));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut history = History::default();
        let day = Duration::from_secs(86_400);
        for time in 0..1_000 {
            assert_eq!(history.lag(at(time), "a", &json!(time), day), Some(json!(0)));
        }
        assert!(history.lists["a"].len() <= ANSWERS_MAX);
        for list in 0..LISTS_MAX {
            history.lag(at(0), &list.to_string(), &json!(0), day);
        }
        assert_eq!(history.lists.len(), LISTS_MAX);
        assert_eq!(history.lag(at(0), "one more", &json!(0), day), None);
    }
}
