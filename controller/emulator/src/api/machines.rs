//! `/v1/apps/{app}/machines`

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::extract::{AppPath, Body, MachinePath, Parameters};
use super::lists::{ListQuery, is_true};
use super::requests::{StopMachine, WriteMachine};
use super::wire::MachineBody;
use crate::api::error::ApiError;
use crate::engine::EngineError;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::units::{self, KILL};
use crate::world::{Machine, NewMachine, Refusal, Update};

/// Events in an answer that names no number, and at most.
const EVENTS: (usize, usize) = (20, 50);

pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Parameters(query): Parameters<ListQuery>,
    Parameters(pairs): Parameters<Vec<(String, String)>>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ListMachines, &app)?;
    let mut filter = query.filter();
    filter.metadata = pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("metadata.")?.to_owned(), value)))
        .collect();
    let summary = query.summary();
    api.read_app(&caller, &app, |world, _| {
        let shape = if summary { MachineBody::summary } else { MachineBody::full };
        let machines: Vec<_> = world.machines(&app, &filter).map(shape).collect();
        Ok(Json(json!(machines)))
    })
}

pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Path(AppPath { app }): Path<AppPath>,
    Body(body): Body<WriteMachine>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::CreateMachine, &app)?;
    if body.lease_ttl.is_some_and(|seconds| seconds != 0) {
        return Err(refused("lease_ttl: this emulator has no leases"));
    }
    let new = NewMachine {
        name: body.name,
        region: body.region,
        config: body.config.unwrap_or_default(),
        skip_launch: body.skip_launch.unwrap_or_default(),
        skip_secrets: body.skip_secrets.unwrap_or_default(),
        min_secrets_version: body.min_secrets_version,
    };
    let machine =
        api.change_app(&caller, &app, |world, now| world.create_machine(now, &app, new))?;
    Ok(full(&machine))
}

pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadMachine, &machine)?;
    api.read_app(&caller, &app, |world, _| Ok(full(world.machine(&app, &machine)?)))
}

pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Body(body): Body<WriteMachine>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::UpdateMachine, &machine)?;
    let update = Update {
        name: body.name,
        region: body.region,
        config: body.config.unwrap_or_default(),
        skip_launch: body.skip_launch.unwrap_or_default(),
        current_version: body.current_version,
        skip_secrets: body.skip_secrets.unwrap_or_default(),
        min_secrets_version: body.min_secrets_version,
    };
    let updated = api.change_app(&caller, &app, |world, now| {
        world.update_machine(now, &app, &machine, update)
    })?;
    Ok(full(&updated))
}

#[derive(Deserialize)]
pub(super) struct DestroyQuery {
    force: Option<String>,
    /// What the platform's own client calls `force`.
    kill: Option<String>,
}

pub(super) async fn destroy(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Parameters(query): Parameters<DestroyQuery>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::DestroyMachine, &machine)?;
    let force = is_true(query.force.as_deref()) || is_true(query.kill.as_deref());
    api.change_app(&caller, &app, |world, now| world.destroy_machine(now, &app, &machine, force))?;
    Ok(done())
}

pub(super) async fn start(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::StartMachine, &machine)?;
    let before =
        api.change_app(&caller, &app, |world, now| world.start_machine(now, &app, &machine))?;
    Ok(Json(json!({ "previous_state": before, "migrated": false, "new_host": "" })))
}

pub(super) async fn stop(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Body(body): Body<StopMachine>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::StopMachine, &machine)?;
    let signal = signal(body.signal.as_ref())?;
    let timeout = units::go_duration(body.timeout.as_ref()).map_err(EngineError::from)?;
    api.change_app(&caller, &app, |world, now| {
        world.stop_machine(now, &app, &machine, signal, timeout)
    })?;
    Ok(done())
}

#[derive(Deserialize)]
pub(super) struct RestartQuery {
    timeout: Option<String>,
    signal: Option<String>,
    force_stop: Option<String>,
}

pub(super) async fn restart(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Parameters(query): Parameters<RestartQuery>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::RestartMachine, &machine)?;
    let signal = match query.signal.map(Value::String) {
        _ if is_true(query.force_stop.as_deref()) => Some(KILL),
        named => signal(named.as_ref())?,
    };
    // A bare number counts seconds here.
    let timeout = query.timeout.map(|text| match text.parse::<u32>() {
        Ok(seconds) => Value::String(format!("{seconds}s")),
        Err(_) => Value::String(text),
    });
    let timeout = units::go_duration(timeout.as_ref()).map_err(EngineError::from)?;
    api.change_app(&caller, &app, |world, now| {
        world.restart_machine(now, &app, &machine, signal, timeout)
    })?;
    Ok(done())
}

#[derive(Deserialize)]
pub(super) struct EventsQuery {
    limit: Option<usize>,
}

pub(super) async fn events(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ListEvents, &machine)?;
    let (usual, most) = EVENTS;
    let limit = query.limit.unwrap_or(usual).min(most);
    api.read_app(&caller, &app, |world, _| {
        let events = &world.machine(&app, &machine)?.events;
        Ok(Json(json!(&events[..limit.min(events.len())])))
    })
}

fn full(machine: &Machine) -> Json<Value> {
    Json(json!(MachineBody::full(machine)))
}

fn done() -> Json<Value> {
    Json(json!({ "ok": true }))
}

fn refused(text: &str) -> ApiError {
    EngineError::Refused(Refusal::invalid(text)).into()
}

/// A signal by name or number; absent, null, empty and zero mean that none is named.
fn signal(value: Option<&Value>) -> Result<Option<i32>, ApiError> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if matches!(text.as_str(), "" | "0") {
        return Ok(None);
    }
    Ok(Some(units::signal(&text).map_err(EngineError::from)?))
}
