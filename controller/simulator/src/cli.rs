//! The command line: ranges of seeds, and one seed again.

mod mutants;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, anyhow};
use clap::{Parser, Subcommand};

use crate::coverage::Coverage;
use crate::matrix::{Findings, Matrix};
use crate::seed::Seeds;

/// How many failing seeds are shown before a run of a range gives up.
const FAILURES_MAX: usize = 5;
/// How many seeds pass between two lines of progress.
const PROGRESS: u64 = 10_000;

#[derive(Debug, Parser)]
#[command(
    name = "vault-simulator",
    about = "Runs the controller's own code on virtual time, over a platform that fails on purpose"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a range of seeds
    Run {
        /// The first seed, and the one after the last
        #[arg(long, value_name = "A..B", value_parser = range)]
        seeds: (u64, u64),
        /// How many threads
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
    /// Run the crash matrix, all of it or that of one story
    Matrix {
        /// How many threads
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// Only this story
        #[arg(long, value_name = "NAME")]
        workload: Option<String>,
        /// Run this case alone and print its trace
        #[arg(long, value_name = "NUMBER")]
        case: Option<usize>,
    },
    /// Run broken controllers until an oracle bites; exit code 1 if one survives
    Mutants {
        /// How many seeds each of them has to survive
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        seeds_max: u64,
        /// Only this one
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
        /// How many threads
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// What to print
        #[arg(short, long, value_enum, default_value = "table")]
        output: mutants::Output,
    },
    /// Run one seed again and print its trace
    Replay {
        /// Which
        seed: u64,
        /// On this story rather than the one that the seed says
        #[arg(long, value_name = "NAME")]
        workload: Option<String>,
        /// With this broken controller
        #[arg(long, value_name = "NAME")]
        mutant: Option<String>,
    },
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run { seeds: (first, end), threads } => run(first..end, threads),
        Command::Matrix { threads, workload, case } => matrix(threads, workload.as_deref(), case),
        Command::Replay { seed, workload, mutant } => {
            replay(seed, workload.as_deref(), mutant.as_deref())
        }
        Command::Mutants { seeds_max, only, threads, output } => {
            mutants::main(seeds_max, only.as_deref(), threads, output)
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            say(&format!("vault-simulator: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn range(text: &str) -> anyhow::Result<(u64, u64)> {
    let (first, end) = text.split_once("..").ok_or_else(|| anyhow!("a range is A..B"))?;
    let number = |text: &str| text.parse().with_context(|| format!("{text:?} is no number"));
    let (first, end) = (number(first)?, number(end)?);
    (first < end).then_some((first, end)).ok_or_else(|| anyhow!("the range is empty"))
}

/// What the seeds of a range had in common.
#[derive(Default)]
struct Tally {
    calls: Vec<u64>,
    faults: Vec<u64>,
    kills: u64,
    passes: u64,
    coverage: Coverage,
    failures: Vec<(u64, String)>,
}

fn run(seeds: std::ops::Range<u64>, threads: usize) -> anyhow::Result<ExitCode> {
    let began = now_ms();
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let total = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mine = work(&next, &stop, seeds.clone());
                let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                total.calls.extend(mine.calls);
                total.faults.extend(mine.faults);
                total.kills += mine.kills;
                total.passes += mine.passes;
                total.coverage.merge(&mine.coverage);
                total.failures.extend(mine.failures);
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    total.failures.sort();
    let seconds = (now_ms() - began) as f64 / 1000.0;
    report(&mut total, threads, seconds);
    Ok(if total.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn work(next: &AtomicU64, stop: &AtomicBool, seeds: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    let mut runner = Seeds::default();
    while !stop.load(Ordering::Relaxed) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            break;
        }
        let Some(outcome) = runner.run(seed, None, false) else { break };
        tally.calls.push(outcome.counts.calls);
        tally.faults.push(outcome.counts.faults);
        tally.kills += outcome.counts.kills;
        tally.passes += outcome.counts.passes;
        tally.coverage.merge(&outcome.coverage);
        if let Some(violation) = outcome.violations.first() {
            say(&format!("seed {seed}: {violation}"));
            tally.failures.push((seed, violation.to_string()));
            stop.fetch_or(tally.failures.len() >= FAILURES_MAX, Ordering::Relaxed);
        }
        let done = seed + 1 - seeds.start;
        if done.is_multiple_of(PROGRESS) {
            say(&format!("{done} seeds of {}", seeds.end - seeds.start));
        }
    }
    tally
}

fn report(total: &mut Tally, threads: usize, seconds: f64) {
    let seeds = total.calls.len();
    let per_second = seeds as f64 / seconds.max(0.001);
    let (crossed, died) = total.coverage.cells();
    say(&format!(
        "{seeds} seeds in {seconds:.1} s: {per_second:.0} a second, {:.0} a second and thread; median \
         {} calls and {} faults; {} passes, {} deaths; operation × boundary × fate: {crossed} of {} \
         crossed, {died} died at; {} seeds failed",
        per_second / threads.max(1) as f64,
        median(&mut total.calls),
        median(&mut total.faults),
        total.passes,
        total.kills,
        Coverage::possible(),
        total.failures.len(),
    ));
    for (seed, violation) in &total.failures {
        say(&format!("  seed {seed}: {violation}"));
        say(&format!("    cargo run --release -p vault-simulator -- replay {seed}"));
    }
}

fn median(numbers: &mut [u64]) -> u64 {
    numbers.sort_unstable();
    numbers.get(numbers.len() / 2).copied().unwrap_or(0)
}

fn matrix(threads: usize, only: Option<&str>, case: Option<usize>) -> anyhow::Result<ExitCode> {
    let began = now_ms();
    let mut seeds = Seeds::default();
    let matrix = Matrix::new(&mut seeds, only);
    if matrix.is_empty() {
        return Err(anyhow!("there is no story of that name; there are {}", names()));
    }
    if let Some(case) = case {
        let (lines, violations) =
            matrix.replay(case, &seeds).ok_or_else(|| anyhow!("cases end at {}", matrix.len()))?;
        lines.iter().for_each(|line| say(line));
        violations.iter().for_each(|violation| say(&format!("VIOLATION: {violation}")));
        return Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Findings::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let (seeds, mut mine) = (Seeds::default(), Findings::default());
                while mine.violations.len() < FAILURES_MAX {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= matrix.len() {
                        break;
                    }
                    matrix.run(place, &seeds, &mut mine);
                }
                total.lock().unwrap_or_else(PoisonError::into_inner).merge(mine);
            });
        }
    });
    let found = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (crossed, died) = found.coverage.cells();
    say(&format!(
        "{} plans of {} in {:.1} s, {} distinct traces; operation × boundary × fate: {crossed} of {} \
         crossed, {died} died at; {} failed",
        found.cases,
        matrix.len(),
        (now_ms() - began) as f64 / 1000.0,
        found.traces.len(),
        Coverage::possible(),
        found.violations.len(),
    ));
    for (case, violation) in &found.violations {
        say(&format!("  {case}: {violation}"));
    }
    Ok(if found.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn names() -> String {
    let stories = crate::workload::named().into_iter().chain(crate::workload::apart());
    let names: Vec<String> = stories.map(|story| story.name).collect();
    names.join(", ")
}

fn replay(seed: u64, workload: Option<&str>, mutant: Option<&str>) -> anyhow::Result<ExitCode> {
    let mutant = mutant.map(mutants::named).transpose()?;
    let mut seeds = Seeds::default();
    let story = workload.or_else(|| mutant.and_then(|mutant| mutant.ground.story()));
    let setting = seeds.setting(seed, story, true);
    let mut setting =
        setting.ok_or_else(|| anyhow!("there is no story of that name; there are {}", names()))?;
    setting.mutation = mutant.map(|mutant| mutant.mutation);
    let outcome = seeds.run_setting(&setting);
    for line in &outcome.lines {
        say(line);
    }
    for violation in &outcome.violations {
        say(&format!("VIOLATION: {violation}"));
    }
    let counts = outcome.counts;
    say(&format!(
        "seed {seed}: {} calls, {} faults, {} deaths, {} passes",
        counts.calls, counts.faults, counts.kills, counts.passes
    ));
    Ok(if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line for whoever watches; a closed pipe ends nothing.
fn say(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// The real time, in milliseconds: how fast seeds are is all that it tells.
fn now_ms() -> i64 {
    use vault_controller::clock::{Clock as _, SystemClock};
    SystemClock.now().0
}
