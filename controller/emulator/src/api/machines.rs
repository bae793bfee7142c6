//! `/v1/apps/{app}/machines`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::extract::{AppPath, Body, MachinePath, Nonce, Parameters, Path};
use super::lists::{ListQuery, is_true};
use super::requests::{StopMachine, WriteMachine};
use super::wire::MachineBody;
use crate::api::error::ApiError;
use crate::engine::EngineError;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::units::{self, KILL};
use crate::world::{Machine, NewMachine, Order, Update, lease};

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
    let (summary, leases) = (query.summary(), query.include_leases());
    api.read_app(&caller, &app, |world, _| {
        let shape = if summary { MachineBody::summary } else { MachineBody::full };
        let machines = world.machines(&app, &filter);
        let machines: Vec<_> =
            machines.map(|machine| shape(machine).with_lease(machine, leases)).collect();
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
    let ttl = body.lease_ttl.filter(|seconds| *seconds != 0);
    let new = NewMachine {
        name: body.name,
        region: body.region,
        config: body.config.unwrap_or_default(),
        skip_launch: body.skip_launch.unwrap_or_default(),
        skip_secrets: body.skip_secrets.unwrap_or_default(),
        min_secrets_version: body.min_secrets_version,
        skip_service_registration: body.skip_service_registration.unwrap_or_default(),
    };
    let owner = caller.token_id.clone();
    let (machine, lease) = api.change_app(&caller, &app, |world, now| {
        // Checked first: what is refused creates nothing.
        lease::expiry(now, ttl)?;
        let machine = world.create_machine(now, &app, new)?;
        let target = (app.as_str(), machine.id.as_str());
        let lease =
            ttl.map(|ttl| world.acquire_lease(now, target, None, (Some(ttl), None), &owner));
        Ok((machine, lease.transpose()?))
    })?;
    let nonce = lease.as_ref().map(|lease| lease.nonce.as_str());
    Ok(Json(json!(MachineBody::full(&machine).with_nonce(nonce))))
}

pub(super) async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadMachine, &machine)?;
    let leases = query.include_leases();
    api.read_app(&caller, &app, |world, _| {
        let machine = world.machine(&app, &machine)?;
        Ok(Json(json!(MachineBody::full(machine).with_lease(machine, leases))))
    })
}

pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    nonce: Nonce,
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
    let updated = api.change_machine(&caller, (&app, &machine), &nonce, |world, now| {
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
    nonce: Nonce,
    Parameters(query): Parameters<DestroyQuery>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::DestroyMachine, &machine)?;
    let force = is_true(query.force.as_deref()) || is_true(query.kill.as_deref());
    api.order(&caller, (&app, &machine), &nonce, Order::Destroy { force }).await?;
    Ok(done())
}

pub(super) async fn start(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    nonce: Nonce,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::StartMachine, &machine)?;
    let before = api.change_machine(&caller, (&app, &machine), &nonce, |world, now| {
        world.start_machine(now, &app, &machine)
    })?;
    Ok(Json(json!({ "previous_state": before, "migrated": false, "new_host": "" })))
}

pub(super) async fn stop(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    nonce: Nonce,
    Body(body): Body<StopMachine>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::StopMachine, &machine)?;
    let signal = signal(body.signal.as_ref())?;
    let timeout = units::go_duration(body.timeout.as_ref()).map_err(EngineError::from)?;
    api.order(&caller, (&app, &machine), &nonce, Order::Stop { signal, timeout }).await?;
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
    nonce: Nonce,
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
    api.change_machine(&caller, (&app, &machine), &nonce, |world, now| {
        world.restart_machine(now, &app, &machine, signal, timeout)
    })?;
    Ok(done())
}

#[derive(Deserialize)]
pub(super) struct EventsQuery {
    limit: Option<String>,
}

pub(super) async fn events(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Parameters(query): Parameters<EventsQuery>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ListEvents, &machine)?;
    let (usual, most) = EVENTS;
    let limit = match query.limit.filter(|text| !text.is_empty()) {
        None => usual,
        Some(text) => match text.parse::<usize>() {
            Ok(limit) if limit > 0 => limit.min(most),
            _ => return Err(ApiError::Malformed(format!("limit {text:?} is no positive number"))),
        },
    };
    api.read_app(&caller, &app, |world, _| {
        let events = &world.machine(&app, &machine)?.events;
        Ok(Json(json!(&events[..limit.min(events.len())])))
    })
}

fn full(machine: &Machine) -> Json<Value> {
    Json(json!(MachineBody::full(machine)))
}

pub(super) fn done() -> Json<Value> {
    Json(json!({ "ok": true }))
}

/// A signal by name or number; absent, null, empty and zero mean that none is named.
fn signal(value: Option<&Value>) -> Result<Option<i32>, ApiError> {
    let named = signal_name(value).map(|text| units::signal(&text));
    Ok(named.transpose().map_err(EngineError::from)?)
}

/// The text that names a signal, if one does.
pub(super) fn signal_name(value: Option<&Value>) -> Option<String> {
    let text = match value? {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (!matches!(text.as_str(), "" | "0")).then_some(text)
}
