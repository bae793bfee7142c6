//! Real controllers killed at the wrong moment, and answers that they never hear: with the real
//! database and real HTTP, through a proxy that numbers what the platform answers.
//!
//! A short form runs always. `VAULT_KILLS=all` takes every number of a story, and
//! `VAULT_KILLS_SECONDS` and `VAULT_KILLS_SEED` lengthen and repeat the random one.

mod answers;
mod changes;
mod credentials;
mod fleet;
mod lists;
mod proxy;
mod random;
mod writes;

use std::str::FromStr;

/// Worlds at once in one story: they wait more than they work.
const SIDE_BY_SIDE: usize = 4;

/// Whether every number is asked for.
fn all() -> bool {
    match std::env::var("VAULT_KILLS") {
        Err(std::env::VarError::NotPresent) => false,
        Ok(text) if text == "all" => true,
        other => panic!("VAULT_KILLS is {other:?}: it may be `all`, or absent"),
    }
}

/// The numbers from 1 to `last` that are to be tried: all, or every `step`-th.
fn chosen(last: u64, step: usize) -> Vec<u64> {
    let step = if all() { 1 } else { step };
    (1..=last).step_by(step).collect()
}

/// A number in the environment.
fn number<T: FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}: it has to be a number")))
}
