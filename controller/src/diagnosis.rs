//! Why machines do not come up: their exits and the tails of their logs, read when somebody asks.
//!
//! ```text
//!   status ─▶ machines not as wanted ─▶ MACHINES_AT_ONCE side by side:  events ┐  each with READ_TIME;
//!                                                                      log    ┘  what fails is told
//! ```

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use vault_api::diagnosis::{MachineDiagnosis, MachineExit, MachineLogLine};
use vault_api::status::{MachineStatus, TenantStatus};
use vault_cloud::error::CallError;
use vault_cloud::logs::Tail;
use vault_cloud::machines::Exit;
use vault_plan::time::UnixMillis;

use crate::chain::chain;
use crate::clock::{Clock, rfc3339};
use crate::platform::Platform;

/// How many machines are asked about at once: two calls each, at limits that are per machine and
/// per app.
const MACHINES_AT_ONCE: usize = 4;
/// How many machines are read in one diagnosis. A person reads no more, and of an app's logs the
/// platform answers one call a second.
const MACHINES_MAX: usize = 20;
/// How long the reading of one machine's exits or log may take: a person waits for it.
const READ_TIME: Duration = Duration::from_secs(5);
/// How many exits are told: a crash loop says the same each time.
const EXITS_MAX: usize = 10;
/// How many lines of log are told.
const LINES_MAX: usize = 20;

/// Diagnoses the machines of a tenant that exist and are not as wanted, or `all` that exist.
pub async fn diagnose<P: Platform, C: Clock>(
    platform: &P,
    clock: &C,
    status: &TenantStatus,
    all: bool,
) -> Vec<MachineDiagnosis> {
    let Some(app) = status.app.as_deref() else { return Vec::new() };
    let mut reads = Vec::new();
    let mut beyond = Vec::new();
    for machine in status.machines.iter().filter(|machine| all || !machine.ready) {
        match machine.id.as_deref() {
            Some(id) if reads.len() < MACHINES_MAX => {
                reads.push(read(platform, clock, app, machine, id));
            }
            Some(id) => beyond.push(unread(machine, id)),
            None => {}
        }
    }
    let mut told: Vec<_> = iter(reads).buffered(MACHINES_AT_ONCE).collect().await;
    told.extend(beyond);
    told
}

async fn read<P: Platform, C: Clock>(
    platform: &P,
    clock: &C,
    app: &str,
    machine: &MachineStatus,
    id: &str,
) -> MachineDiagnosis {
    let (exits, tail) = tokio::join!(
        within(clock, platform.exits(app, id)),
        within(clock, platform.log_tail(app, id, &machine.region, LINES_MAX)),
    );
    let mut told = unread(machine, id);
    let mut troubles = Vec::new();
    match exits {
        Ok(exits) => told.exits = oldest_first(exits),
        Err(trouble) => troubles.push(format!("its exits could not be read: {trouble}")),
    }
    match tail {
        Ok(Tail { lines, is_longer }) => {
            let line = |line: vault_cloud::logs::LogLine| MachineLogLine {
                at: line.at.map(text),
                message: line.message,
            };
            told.log = lines.into_iter().map(line).collect();
            if is_longer {
                troubles.push("its log goes on after these lines".to_owned());
            }
        }
        Err(trouble) => troubles.push(format!("its log could not be read: {trouble}")),
    }
    told.trouble = (!troubles.is_empty()).then(|| troubles.join("; "));
    told
}

/// What is known of a machine without asking.
fn unread(machine: &MachineStatus, id: &str) -> MachineDiagnosis {
    MachineDiagnosis {
        name: machine.name.clone(),
        id: id.to_owned(),
        state: machine.state.clone().unwrap_or_default(),
        exits: Vec::new(),
        log: Vec::new(),
        trouble: Some(format!("only the first {MACHINES_MAX} machines are read")),
    }
}

/// The result, or why there is none, as a sentence.
async fn within<C: Clock, T>(
    clock: &C,
    read: impl Future<Output = Result<T, CallError>>,
) -> Result<T, String> {
    // A read that is dropped has done no harm; an answer that is there goes first.
    tokio::select! {
        biased;
        result = read => result.map_err(|error| chain(&error)),
        () = clock.sleep(READ_TIME) => {
            Err(format!("the platform did not answer within {} s", READ_TIME.as_secs()))
        }
    }
}

/// The platform tells the newest first.
fn oldest_first(mut exits: Vec<Exit>) -> Vec<MachineExit> {
    exits.truncate(EXITS_MAX);
    let told = exits.into_iter().rev().map(|exit| MachineExit {
        at: exit.at.map(text),
        exit_code: exit.exit_code,
        signal: exit.signal,
        oom_killed: exit.oom_killed,
        requested_stop: exit.requested_stop,
        restarting: exit.restarting,
    });
    told.collect()
}

fn text(at: jiff::Timestamp) -> String {
    rfc3339(UnixMillis(at.as_millisecond()))
}
