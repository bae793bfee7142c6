//! Which role may do what: one table for all routes, and the check that every request passes.
//!
//! What is not in the table is for an unlimited `admin` alone, so that a forgotten row gives
//! nothing away.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use vault_api::operator::Role;

use super::App;
use super::caller::Caller;
use super::error::ApiError;
use crate::clock::Clock;
use crate::platform::Platform;
use crate::store::{ApiStore, Kind};

/// What a token that is limited to some tenants finds on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Nothing about any tenant: everything.
    Common,
    /// One tenant, `{name}` of the path: its own ones; others are not found.
    Tenant,
    /// Many tenants, which the handler filters: its own ones.
    Filtered,
    /// All tenants at once, or what stands above them: nothing.
    Fleet,
}

/// One row: who may send these methods to this path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// As in the route table; a `*` at the end stands for anything.
    pub(super) path: &'static str,
    pub(super) methods: &'static [Method],
    pub(super) role: Role,
    pub(super) scope: Scope,
    /// Whether it is a write, of which the audit log tells.
    pub(super) audited: bool,
}

const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const GET_POST: &[Method] = &[Method::GET, Method::POST];
const PUT_PATCH: &[Method] = &[Method::PUT, Method::PATCH];
const PUT_PATCH_DELETE: &[Method] = &[Method::PUT, Method::PATCH, Method::DELETE];

/// Something that changes nothing.
const fn look(path: &'static str, methods: &'static [Method], role: Role, scope: Scope) -> Rule {
    Rule { path, methods, role, scope, audited: false }
}

/// Something that changes something.
const fn write(path: &'static str, methods: &'static [Method], role: Role, scope: Scope) -> Rule {
    Rule { path, methods, role, scope, audited: true }
}

/// Every route behind authentication.
pub(super) const RULES: &[Rule] = &[
    look("/version", GET, Role::Read, Scope::Common),
    look("/api", GET, Role::Read, Scope::Common),
    look("/apis", GET, Role::Read, Scope::Common),
    look("/apis/{group}", GET, Role::Read, Scope::Common),
    look("/apis/vaultctl.dev/v1", GET, Role::Read, Scope::Common),
    look("/api/v1", GET, Role::Read, Scope::Common),
    look("/api/v1/namespaces", GET, Role::Read, Scope::Common),
    look("/api/v1/namespaces/{namespace}", GET, Role::Read, Scope::Common),
    look("/openapi/*", GET, Role::Read, Scope::Common),
    look("/status", GET, Role::Read, Scope::Fleet),
    look("/metrics", GET, Role::Read, Scope::Fleet),
    look("/usage-facts", GET, Role::Read, Scope::Fleet),
    look("/audit-log", GET, Role::Admin, Scope::Fleet),
    look("/orphans", GET, Role::Read, Scope::Fleet),
    // Who may see some tenants only does not see those that are gone.
    write("/apis/vaultctl.dev/v1/tenants/{name}/undelete", POST, Role::Operate, Scope::Tenant),
    look("/api/v1/events", GET, Role::Read, Scope::Filtered),
    look("/api/v1/namespaces/{namespace}/events", GET, Role::Read, Scope::Filtered),
    look("/api/v1/namespaces/{namespace}/events/{name}", GET, Role::Read, Scope::Filtered),
    look("/apis/vaultctl.dev/v1/tenants", GET, Role::Read, Scope::Filtered),
    write("/apis/vaultctl.dev/v1/tenants", POST, Role::Operate, Scope::Filtered),
    look("/apis/vaultctl.dev/v1/tenants/{name}", GET, Role::Read, Scope::Tenant),
    write("/apis/vaultctl.dev/v1/tenants/{name}", PUT_PATCH_DELETE, Role::Operate, Scope::Tenant),
    look("/apis/vaultctl.dev/v1/tenants/{name}/status", GET, Role::Read, Scope::Tenant),
    // A diagnosis reads the machines that the status names, whosesoever they are.
    write("/apis/vaultctl.dev/v1/tenants/{name}/status", PUT_PATCH, Role::Admin, Scope::Fleet),
    // A question, though a body comes with it.
    look("/apis/vaultctl.dev/v1/tenants/{name}/plan", GET_POST, Role::Read, Scope::Tenant),
    look("/apis/vaultctl.dev/v1/tenants/{name}/diagnosis", GET, Role::Read, Scope::Tenant),
    look("/apis/vaultctl.dev/v1/tenants/{name}/trace", GET, Role::Read, Scope::Tenant),
    // Changes nothing here; a credential is given out, and each command asks for one.
    look("/apis/vaultctl.dev/v1/tenants/{name}/connect", POST, Role::Operate, Scope::Tenant),
    // Changes nothing here either; but what is given out opens the platform, so each is recorded.
    write("/apis/vaultctl.dev/v1/tenants/{name}/token", POST, Role::Operate, Scope::Tenant),
    look("/apis/vaultctl.dev/v1/tenantclasses", GET, Role::Read, Scope::Common),
    write("/apis/vaultctl.dev/v1/tenantclasses", POST, Role::Admin, Scope::Fleet),
    look("/apis/vaultctl.dev/v1/tenantclasses/{name}", GET, Role::Read, Scope::Common),
    write(
        "/apis/vaultctl.dev/v1/tenantclasses/{name}",
        PUT_PATCH_DELETE,
        Role::Admin,
        Scope::Fleet,
    ),
    look("/apis/vaultctl.dev/v1/operatortokens", GET, Role::Admin, Scope::Fleet),
    write("/apis/vaultctl.dev/v1/operatortokens", POST, Role::Admin, Scope::Fleet),
    look("/apis/vaultctl.dev/v1/operatortokens/{name}", GET, Role::Admin, Scope::Fleet),
    write(
        "/apis/vaultctl.dev/v1/operatortokens/{name}",
        &[Method::DELETE],
        Role::Admin,
        Scope::Fleet,
    ),
];

/// The row of a request; the strictest one if there is none.
pub(super) fn rule(method: &Method, path: &str) -> Rule {
    // The router answers HEAD as it answers GET.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let is_for = |rule: &&Rule| {
        let same = match rule.path.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => rule.path == path,
        };
        same && rule.methods.contains(method)
    };
    RULES.iter().find(is_for).copied().unwrap_or_else(|| Rule {
        path: "",
        methods: &[],
        role: Role::Admin,
        scope: Scope::Fleet,
        // A question that no route answers is none the less a question.
        audited: !method.is_safe(),
    })
}

/// Lets a request through if the caller's role and limit allow it.
pub(super) async fn authorize<P: Platform, S: ApiStore, C: Clock>(
    State(app): State<Arc<App<P, S, C>>>,
    Extension(caller): Extension<Caller>,
    path: Option<MatchedPath>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    // A path that there is not is the same for everyone: not there.
    let Some(path) = path else { return Ok(next.run(request).await) };
    let rule = rule(request.method(), path.as_str());
    let name = params.ok().and_then(|params| {
        params.iter().find(|(key, _)| *key == "name").map(|(_, name)| name.to_owned())
    });
    if caller.role() < rule.role {
        return Err(ApiError::forbidden(
            path.as_str(),
            name.as_deref(),
            &format!(
                "token {:?} has the role {}, and this needs {}",
                caller.name(),
                caller.role(),
                rule.role
            ),
        ));
    }
    if let Some(limit) = caller.limit() {
        match (rule.scope, name) {
            (Scope::Common | Scope::Filtered, _) => {}
            (Scope::Tenant, Some(name)) => {
                let stored = app.store.object(Kind::Tenant, &name).await?;
                if stored.is_some_and(|stored| !caller.sees(&stored)) {
                    return Err(ApiError::NotFound(Kind::Tenant, name));
                }
            }
            (Scope::Fleet | Scope::Tenant, name) => {
                return Err(ApiError::forbidden(
                    path.as_str(),
                    name.as_deref(),
                    &format!(
                        "token {:?} is limited to tenants with {limit}, and this concerns all",
                        caller.name()
                    ),
                ));
            }
        }
    }
    Ok(next.run(request).await)
}
