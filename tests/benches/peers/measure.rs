//! Reading what processes have used, and keeping those still whose turn it is not.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

/// Milliseconds in a tick of `/proc`: `USER_HZ` is 100 on every Linux that Rust programs run on.
const TICK_MS: u64 = 10;
/// A process that has used no tick for so long has done what it was doing.
const IDLE_FOR: Duration = Duration::from_millis(400);
/// How often that is looked at.
const IDLE_LOOK: Duration = Duration::from_millis(50);

/// User and system time that a process has used so far, in milliseconds, to 10 ms.
///
/// # Errors
/// If there is no such process.
pub(crate) fn cpu_ms(id: u32) -> anyhow::Result<u64> {
    ticks(&format!("/proc/{id}/stat"), [11, 12])
}

/// The same of all children of this process that have ended and been waited for.
///
/// # Errors
/// If `/proc` cannot be read.
pub(crate) fn children_cpu_ms() -> anyhow::Result<u64> {
    ticks("/proc/self/stat", [13, 14])
}

/// Two members of a `stat` file, counted from the state, which is the first after the name.
fn ticks(path: &str, members: [usize; 2]) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    // The name stands in parentheses and may hold anything, parentheses too.
    let (_, after) = text.rsplit_once(')').with_context(|| format!("{path} names nothing"))?;
    let values: Vec<&str> = after.split_whitespace().collect();
    let mut sum = 0;
    for member in members {
        let value = values.get(member).with_context(|| format!("{path} is short"))?;
        sum += value.parse::<u64>()?;
    }
    Ok(sum * TICK_MS)
}

/// Resident memory of a process now, and the most of it so far, in kB.
///
/// # Errors
/// If there is no such process.
pub(crate) fn resident_kb(id: u32) -> anyhow::Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let value = |field: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(number.with_context(|| format!("no {field}"))?.trim().parse()?)
    };
    Ok((value("VmRSS:")?, value("VmHWM:")?))
}

/// From now on the most of a process's resident memory is counted anew.
///
/// # Errors
/// If there is no such process.
pub(crate) fn forget_peak(id: u32) -> anyhow::Result<()> {
    Ok(fs::write(format!("/proc/{id}/clear_refs"), "5")?)
}

/// Waits until a process does nothing.
///
/// # Errors
/// If there is no such process.
pub(crate) async fn idle(id: u32) -> anyhow::Result<()> {
    let mut used = cpu_ms(id)?;
    let mut quiet = Duration::ZERO;
    while quiet < IDLE_FOR {
        tokio::time::sleep(IDLE_LOOK).await;
        let now = cpu_ms(id)?;
        quiet = if now == used { quiet + IDLE_LOOK } else { Duration::ZERO };
        used = now;
    }
    Ok(())
}

/// Stops a process until [`thaw`].
///
/// # Errors
/// If there is no such process.
pub(crate) fn freeze(id: u32) -> anyhow::Result<()> {
    signal(id, Signal::STOP)
}

/// Lets a stopped process run on.
///
/// # Errors
/// If there is no such process.
pub(crate) fn thaw(id: u32) -> anyhow::Result<()> {
    signal(id, Signal::CONT)
}

fn signal(id: u32, signal: Signal) -> anyhow::Result<()> {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).context("no process id")?;
    Ok(kill_process(id, signal)?)
}

/// Figures of several rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    /// Takes in one more.
    pub(crate) fn add(&mut self, figure: f64) {
        self.0.push(figure);
        self.0.sort_by(f64::total_cmp);
    }

    /// The one in the middle; 0 without any.
    pub(crate) fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// Each of these by the one of the other in the same place of the order: the ratio of the
    /// medians, and its spread at the worst.
    pub(crate) fn over(&self, other: &Self) -> String {
        let ends = |figures: &Self| {
            let end = |place: Option<&f64>| place.copied().unwrap_or_default();
            (end(figures.0.first()), end(figures.0.last()))
        };
        let ((least, most), (other_least, other_most)) = (ends(self), ends(other));
        let ratio = self.median() / other.median();
        format!("{ratio:.2} ({:.2} to {:.2})", least / other_most, most / other_least)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.0.first(), self.0.last());
        let [least, most] = [least, most].map(|one| one.copied().unwrap_or_default());
        let digits = formatter.precision().unwrap_or(0);
        let (median, rounds) = (self.median(), self.0.len());
        write!(
            formatter,
            "{median:.digits$} ({least:.digits$} to {most:.digits$}, {rounds} rounds)"
        )
    }
}
