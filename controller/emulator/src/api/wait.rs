//! `GET …/machines/{machine}/wait`

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Api;
use super::extract::{MachinePath, Parameters, Path};
use crate::api::error::ApiError;
use crate::engine::Waited;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::wait::{Goal, Progress, Wish};

/// Seconds of a wait that names none, which is also the longest.
const LONGEST_SECONDS: u64 = 60;

pub(super) async fn wait(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Parameters(pairs): Parameters<Vec<(String, String)>>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::WaitMachine, &machine)?;
    let timeout = timeout(&pairs)?;
    let wish = wish(&pairs)?;
    api.read_app(&caller, &app, |_, _| Ok(()))?;
    let deadline = api.engine.now() + timeout;
    match api.engine.wait(&app, &machine, &wish, deadline).await? {
        Waited::Reached(Progress::Reached { state, version, event_id }) => Ok(Json(
            json!({ "ok": true, "state": state, "version": version, "event_id": event_id }),
        )),
        Waited::Reached(Progress::Waiting(current)) | Waited::TimedOut(current) => {
            let names: Vec<_> = wish.goals.iter().map(|goal| goal.name()).collect();
            Err(ApiError::NotReached { wanted: names.join(","), current })
        }
    }
}

fn timeout(pairs: &[(String, String)]) -> Result<Duration, ApiError> {
    let Some(text) = last(pairs, &["timeout"]) else {
        return Ok(Duration::from_secs(LONGEST_SECONDS));
    };
    // Some clients write the unit.
    let digits = text.strip_suffix('s').unwrap_or(text);
    match digits.parse::<u64>() {
        Ok(seconds @ 1..=LONGEST_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err(ApiError::WaitTimeout),
    }
}

/// `state` may be repeated, hold a comma-separated list, or be missing.
fn wish(pairs: &[(String, String)]) -> Result<Wish, ApiError> {
    let named = pairs.iter().filter(|(name, _)| name == "state");
    let mut goals = Vec::new();
    for name in
        named.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|name| !name.is_empty())
    {
        let unknown = || ApiError::Malformed(format!("invalid WaitMachineRequest.State: {name:?}"));
        let goal = Goal::parse(name).ok_or_else(unknown)?;
        if !goals.contains(&goal) {
            goals.push(goal);
        }
    }
    if goals.is_empty() {
        goals.push(Goal::Started);
    }
    Ok(Wish {
        goals,
        version: last(pairs, &["version", "instance_id"]).map(str::to_owned),
        after_event: last(pairs, &["from_event_id"]).map(str::to_owned),
    })
}

fn last<'a>(pairs: &'a [(String, String)], names: &[&str]) -> Option<&'a str> {
    let values =
        pairs.iter().filter(|(name, value)| names.contains(&name.as_str()) && !value.is_empty());
    values.map(|(_, value)| value.as_str()).next_back()
}
