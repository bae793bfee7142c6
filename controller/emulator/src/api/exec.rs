//! `POST …/machines/{machine}/exec` and `GET …/machines/{machine}/ps`: into a running machine.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::extract::{Body, MachinePath, Parameters, Path};
use super::requests::Exec;
use crate::api::error::ApiError;
use crate::engine::EngineError;
use crate::rate_limit::Action;
use crate::runner::{Visit, VisitError, VisitOutcome};
use crate::sandbox::processes::ProcessStat;
use crate::tokens::Caller;
use crate::world::{Refusal, State as MachineState};

/// Seconds of a command that names none.
const USUAL_SECONDS: u64 = 60;
/// The longest time for a command, in seconds.
const LONGEST_SECONDS: u64 = 600;
/// Words of a command.
const WORDS_MAX: usize = 1000;
/// How long a machine that has just started may take until one can go in.
const READY_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is tried meanwhile.
const READY_TICK: Duration = Duration::from_millis(20);

pub(super) fn routes() -> Router<Api> {
    let machine = |path: &str| format!("/v1/apps/{{app}}/machines/{{machine}}{path}");
    Router::new().route(&machine("/exec"), post(exec)).route(&machine("/ps"), get(processes))
}

#[derive(Deserialize)]
struct SortQuery {
    sort_by: Option<String>,
    order: Option<String>,
}

async fn exec(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Body(body): Body<Exec>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ExecMachine, &machine)?;
    let container = body.container.as_deref().unwrap_or_default();
    if !container.is_empty() {
        let text = format!("container {container:?} not found: machines here have none");
        return Err(ApiError::Malformed(text));
    }
    let argv = command(&body)?;
    let seconds = body.timeout.filter(|seconds| *seconds > 0).unwrap_or(USUAL_SECONDS);
    if seconds > LONGEST_SECONDS {
        return Err(ApiError::Malformed(format!("timeout: at most {LONGEST_SECONDS} seconds")));
    }
    let input = body.stdin.filter(|text| !text.is_empty());
    let visit = Visit::Run { argv, input, time: Duration::from_secs(seconds) };
    match visit_machine(&api, &caller, (&app, &machine), visit).await? {
        VisitOutcome::Ran { exit, stdout, stderr } => Ok(Json(json!({
            // A shell's convention for a process that a signal ended.
            "exit_code": exit.code.unwrap_or_else(|| 128 + exit.signal.unwrap_or_default()),
            "exit_signal": exit.signal.unwrap_or_default(),
            "stdout": stdout,
            "stderr": stderr,
        }))),
        VisitOutcome::Listed(_) => Err(ApiError::NoVisit),
    }
}

async fn processes(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Parameters(query): Parameters<SortQuery>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ListProcesses, &machine)?;
    let by = query.sort_by.unwrap_or_default();
    let order = query.order.unwrap_or_default();
    let key: fn(&ProcessStat) -> u64 = match by.as_str() {
        "" | "pid" => |process| u64::from(process.pid),
        "stime" => |process| process.stime,
        "rtime" => |process| process.rtime,
        "cpu" => |process| process.cpu,
        "rss" => |process| process.rss,
        other => {
            let text = format!("sort_by: {other:?} is none of pid, stime, rtime, cpu, rss");
            return Err(ApiError::Malformed(text));
        }
    };
    if !matches!(order.as_str(), "" | "asc" | "desc") {
        return Err(ApiError::Malformed(format!("order: {order:?} is neither asc nor desc")));
    }
    match visit_machine(&api, &caller, (&app, &machine), Visit::List).await? {
        VisitOutcome::Listed(mut processes) => {
            processes.sort_by_key(key);
            if order == "desc" {
                processes.reverse();
            }
            Ok(Json(json!(processes)))
        }
        VisitOutcome::Ran { .. } => Err(ApiError::NoVisit),
    }
}

/// The command: words, or one line that is split at its spaces.
fn command(body: &Exec) -> Result<Vec<String>, ApiError> {
    let line = body.cmd.as_deref().unwrap_or_default();
    let words = match &body.command {
        Some(words) if !words.is_empty() => words.clone(),
        _ => line.split_whitespace().map(str::to_owned).collect(),
    };
    let is_bad = |word: &String| word.contains('\0');
    match words.first() {
        Some(program) if !program.is_empty() && words.len() <= WORDS_MAX => {}
        _ => return Err(ApiError::Malformed(format!("command: 1 to {WORDS_MAX} words"))),
    }
    if words.iter().any(is_bad) {
        return Err(ApiError::Malformed("command: a word has a NUL byte in it".to_owned()));
    }
    Ok(words)
}

/// Goes into a started machine, as soon as that can be.
async fn visit_machine(
    api: &Api,
    caller: &Caller,
    (app, machine): (&str, &str),
    visit: Visit,
) -> Result<VisitOutcome, ApiError> {
    let run = api.read_app(caller, app, |world, _| {
        let machine = world.live_machine(app, machine)?;
        if machine.state != MachineState::Started {
            return Err(Refusal::WrongState { action: "enter", state: machine.state });
        }
        Ok(machine.run)
    })?;
    let Some(runner) = api.runner.clone() else {
        let text = "machines are not run here (--machines none), so there is nothing to enter";
        return Err(EngineError::Refused(Refusal::Precondition(text.to_owned())).into());
    };
    let deadline = api.engine.now() + READY_PATIENCE;
    // The semaphore is never closed.
    let _permit = Arc::clone(&api.visits).acquire_owned().await.map_err(|_| ApiError::NoVisit)?;
    loop {
        let (runner, id, visit) = (Arc::clone(&runner), machine.to_owned(), visit.clone());
        let visiting = tokio::task::spawn_blocking(move || runner.visit(&id, run, visit));
        match visiting.await.map_err(|_| ApiError::NoVisit)? {
            Ok(outcome) => return Ok(outcome),
            Err(VisitError::NotReady) if api.engine.now() < deadline => {
                api.engine.pause(READY_TICK).await;
            }
            Err(VisitError::NotReady) => {
                let text = "unable to enter machine: it is not running".to_owned();
                return Err(EngineError::Refused(Refusal::Precondition(text)).into());
            }
            Err(VisitError::Late) => return Err(ApiError::CommandTimeout),
            Err(VisitError::Failed(error)) => {
                tracing::error!(machine, %error, "a machine cannot be entered");
                return Err(ApiError::NoVisit);
            }
        }
    }
}
