//! `GET /api/v1/apps/{app}/logs`: what machines print, as the platform's own client reads it.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::extract::{AppPath, Parameters, Path};
use crate::api::error::ApiError;
use crate::rate_limit::Action;
use crate::runner::{LogLine, MachineRunner};
use crate::tokens::Caller;
use crate::world::query::Filter;

/// Lines per page.
const PAGE: usize = 100;
/// Machines of an app whose logs are merged, those that changed last: each is a megabyte to read.
const MACHINES_MAX: usize = 50;

#[derive(Deserialize, Default)]
#[serde(default)]
struct LogQuery {
    instance: Option<String>,
    region: Option<String>,
    next_token: Option<String>,
}

/// A machine whose log is read.
struct Instance {
    id: String,
    region: String,
}

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/api/v1/apps/{app}/logs", get(logs))
}

/// The newest page without a token, and what came after it with one; oldest line first. Machines
/// that are no processes print nothing.
async fn logs(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Parameters(query): Parameters<LogQuery>,
) -> Result<Json<Value>, ApiError> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (instance, region) = (given(query.instance), given(query.region));
    api.admit(Action::ReadLogs, instance.as_deref().unwrap_or(&app))?;
    let after = match given(query.next_token) {
        None => None,
        Some(text) => Some(
            text.parse::<i64>()
                .map_err(|_| ApiError::Malformed("next_token is not one of ours".to_owned()))?,
        ),
    };
    let instances = api.read_app(&caller, &app, |world, _| {
        let filter = Filter { region, ..Filter::default() };
        let machines = world.machines(&app, &filter);
        let mut machines: Vec<_> = machines
            .filter(|machine| instance.as_ref().is_none_or(|id| *id == machine.id))
            .collect();
        machines.sort_by_key(|machine| std::cmp::Reverse(machine.updated_at));
        machines.truncate(MACHINES_MAX);
        let rows = machines.into_iter();
        let rows = rows.map(|row| Instance { id: row.id.clone(), region: row.region.clone() });
        Ok(rows.collect::<Vec<_>>())
    })?;
    let Some(runner) = api.runner.clone() else {
        return Ok(Json(page(after, Vec::new())));
    };
    let reading = tokio::task::spawn_blocking(move || read(&runner, &instances));
    let lines = reading.await.map_err(|_| ApiError::LogUnreadable)??;
    Ok(Json(page(after, lines)))
}

fn read(
    runner: &Arc<dyn MachineRunner>,
    instances: &[Instance],
) -> Result<Vec<(LogLine, Value)>, ApiError> {
    let mut lines = Vec::new();
    for Instance { id, region } in instances {
        let own = runner.logs(id).map_err(|error| {
            tracing::error!(machine_id = id, %error, "a machine's log cannot be read");
            ApiError::LogUnreadable
        })?;
        lines.extend(own.into_iter().map(|line| {
            let origin = json!({ "instance": id, "region": region });
            (line, origin)
        }));
    }
    lines.sort_by_key(|(line, _)| line.stamp);
    Ok(lines)
}

/// One page of all lines. The token is the time of its last line, which no other line has.
fn page(after: Option<i64>, lines: Vec<(LogLine, Value)>) -> Value {
    let rows: Vec<_> = match after {
        None => {
            let skipped = lines.len().saturating_sub(PAGE);
            lines.into_iter().skip(skipped).collect()
        }
        Some(after) => {
            lines.into_iter().filter(|(line, _)| line.stamp > after).take(PAGE).collect()
        }
    };
    let last = rows.last().map(|(line, _)| line.stamp).or(after).unwrap_or_default();
    let data: Vec<Value> = rows.into_iter().map(|(line, origin)| row(&line, &origin)).collect();
    json!({ "data": data, "meta": { "next_token": last.to_string() } })
}

fn row(line: &LogLine, origin: &Value) -> Value {
    let timestamp = Timestamp::from_nanosecond(i128::from(line.stamp)).unwrap_or_default();
    json!({
        "id": line.stamp.to_string(),
        "type": "log",
        "attributes": {
            "timestamp": timestamp,
            "message": line.message,
            "level": "info",
            "instance": origin["instance"],
            "region": origin["region"],
            "meta": {},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_begin_at_the_tail_and_go_on() {
        let lines = |count: i64| {
            let line = |stamp| LogLine { stamp, message: format!("m{stamp}") };
            (1..=count).map(|stamp| (line(stamp), json!({}))).collect::<Vec<_>>()
        };
        let ids = |page: &Value| {
            let rows = page["data"].as_array().expect("rows").iter();
            rows.map(|row| row["id"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
        };
        let first = page(None, lines(250));
        assert_eq!((ids(&first).len(), ids(&first)[0].as_str()), (100, "151"));
        assert_eq!(first["meta"]["next_token"], "250");
        let next = page(Some(250), lines(400));
        assert_eq!((ids(&next)[0].as_str(), ids(&next)[99].as_str()), ("251", "350"));
        let none = page(Some(400), lines(400));
        assert_eq!((ids(&none).len(), &none["meta"]["next_token"]), (0, &json!("400")));
    }
}
