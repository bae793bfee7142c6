//! What is asked of a machine that exists: suspend, signals, cordon, memory, versions.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Api;
use super::extract::{Body, MachinePath, Nonce, Path};
use super::machines::{done, signal_name};
use super::requests::{Memory, SignalMachine};
use crate::api::error::ApiError;
use crate::engine::EngineError;
use crate::rate_limit::Action;
use crate::tokens::Caller;
use crate::world::units;

pub(super) fn routes() -> Router<Api> {
    let machine = |path: &str| format!("/v1/apps/{{app}}/machines/{{machine}}{path}");
    Router::new()
        .route(&machine("/suspend"), post(suspend))
        .route(&machine("/signal"), post(signal))
        .route(&machine("/cordon"), post(cordon))
        .route(&machine("/uncordon"), post(uncordon))
        .route(&machine("/memory"), get(memory).put(limit_memory))
        .route(&machine("/memory/reclaim"), post(reclaim_memory))
        .route(&machine("/versions"), get(versions))
}

async fn suspend(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    nonce: Nonce,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::SuspendMachine, &machine)?;
    api.change_machine(&caller, (&app, &machine), &nonce, |world, now| {
        world.suspend_machine(now, &app, &machine)
    })?;
    Ok(done())
}

async fn signal(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    nonce: Nonce,
    Body(body): Body<SignalMachine>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::SignalMachine, &machine)?;
    let name = signal_name(body.signal.as_ref());
    let name = name.ok_or_else(|| ApiError::Malformed("signal is required".to_owned()))?;
    let number = units::any_signal(&name).map_err(EngineError::from)?;
    api.change_machine(&caller, (&app, &machine), &nonce, |world, now| {
        world.signal_machine(now, &app, &machine, number)
    })?;
    Ok(done())
}

async fn cordon(
    State(api): State<Api>,
    caller: Caller,
    Path(path): Path<MachinePath>,
    nonce: Nonce,
) -> Result<Json<Value>, ApiError> {
    set_cordon(&api, &caller, path, &nonce, true)
}

async fn uncordon(
    State(api): State<Api>,
    caller: Caller,
    Path(path): Path<MachinePath>,
    nonce: Nonce,
) -> Result<Json<Value>, ApiError> {
    set_cordon(&api, &caller, path, &nonce, false)
}

fn set_cordon(
    api: &Api,
    caller: &Caller,
    MachinePath { app, machine }: MachinePath,
    nonce: &Nonce,
    cordoned: bool,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::CordonMachine, &machine)?;
    api.change_machine(caller, (&app, &machine), nonce, |world, now| {
        world.cordon_machine(now, (&app, &machine), cordoned)
    })?;
    Ok(done())
}

async fn memory(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ReadMemory, &machine)?;
    api.read_app(&caller, &app, |world, _| Ok(memory_body(world.memory(&app, &machine)?)))
}

async fn limit_memory(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Body(body): Body<Memory>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::WriteMemory, &machine)?;
    let limit = body.limit_mb.unwrap_or_default();
    api.change_app(&caller, &app, |world, now| {
        world.limit_memory(now, (&app, &machine), limit)?;
        Ok(memory_body(world.memory(&app, &machine)?))
    })
}

/// Machines here have no balloon that could be blown up, so nothing is reclaimed, and that is said.
async fn reclaim_memory(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
    Body(body): Body<Memory>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::WriteMemory, &machine)?;
    api.read_app(&caller, &app, |world, _| world.memory(&app, &machine).map(|_| ()))?;
    if body.amount_mb.unwrap_or_default() == 0 {
        return Err(ApiError::Malformed("amount_mb: at least 1".to_owned()));
    }
    Ok(Json(json!({ "actual_mb": 0 })))
}

fn memory_body((all, limit): (u32, u32)) -> Json<Value> {
    Json(json!({ "available_mb": all, "limit_mb": limit }))
}

async fn versions(
    State(api): State<Api>,
    caller: Caller,
    Path(MachinePath { app, machine }): Path<MachinePath>,
) -> Result<Json<Value>, ApiError> {
    api.admit(Action::ListVersions, &machine)?;
    api.read_app(&caller, &app, |world, _| {
        let versions = world.versions(&app, &machine)?.into_iter();
        let bodies =
            versions.map(|(version, config)| json!({ "version": version, "user_config": config }));
        Ok(Json(bodies.collect()))
    })
}
