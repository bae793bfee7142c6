//! Spans of time, and how they are shown.

use std::time::{Duration, Instant};

use anyhow::Context;

/// Spans of time by what took them, in the order of their first.
#[derive(Default)]
pub(crate) struct Figures {
    /// What is timed counts.
    pub(crate) counts: bool,
    kinds: Vec<(&'static str, Vec<Duration>)>,
}

impl Figures {
    /// Times work.
    pub(crate) fn time(
        &mut self,
        what: &'static str,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let began = now();
        work().context(what)?;
        self.add(what, began.elapsed());
        Ok(())
    }

    /// Takes what was timed.
    pub(crate) fn add(&mut self, what: &'static str, took: Duration) {
        if !self.counts {
            return;
        }
        match self.kinds.iter_mut().find(|(kind, _)| *kind == what) {
            Some((_, spans)) => spans.push(took),
            None => self.kinds.push((what, vec![took])),
        }
    }

    /// Prints what counted.
    pub(crate) fn print(&mut self) {
        println!("milliseconds: least     p50     p99    most  rounds");
        for (what, spans) in &mut self.kinds {
            spans.sort_unstable();
            let at = |part: usize| spans[(spans.len() - 1) * part / 100].as_secs_f64() * 1e3;
            let [least, half, most_of, most] = [0, 50, 99, 100].map(at);
            println!(
                "      {least:7.2} {half:7.2} {most_of:7.2} {most:7.2} {:7}  {what}",
                spans.len()
            );
        }
    }
}

/// The benchmark's stopwatch.
pub(crate) fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]
    Instant::now()
}
