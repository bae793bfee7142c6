//! Limited access tokens: minted, listed and revoked here, and nowhere else on the platform.
//!
//! The profiles are `deploy`, for one app, and `deploy_organization`; the platform's others open
//! things that are not emulated. A token's text is in the answer to its making and never again.
//! An organization's list has the tokens of its apps too, and revoked and expired ones for a while:
//! the platform's own rule for both is not documented.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::document::Selection;
use super::{organization_body, said};
use crate::api::Api;
use crate::api::apps::{DEPLOY_TOKEN_LIFETIME, lifetime};
use crate::tokens::{self, Caller};
use crate::world::{LimitedToken, NewLimitedToken, World};

/// The field under which apps and organizations list their tokens.
pub(super) const LIST: &str = "limitedAccessTokens";
/// Tokens on one page, also where no number is asked for.
const PAGE_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateToken {
    name: String,
    organization_id: String,
    profile: String,
    profile_params: Option<Map<String, Value>>,
    /// A Go duration.
    expiry: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeleteToken {
    id: Option<String>,
    token: Option<String>,
}

/// `createLimitedAccessToken`: only who may do everything in an organization mints tokens for it.
pub(super) fn create(api: &Api, caller: &Caller, input: CreateToken) -> Result<Value, String> {
    let CreateToken { name, organization_id: org, profile, profile_params, expiry } = input;
    if !caller.may_use_all_of(&org) {
        return Err("Could not find Organization".to_owned());
    }
    let app = app_of(&profile, profile_params.as_ref())?;
    let lifetime = match expiry.filter(|text| !text.trim().is_empty()) {
        None => DEPLOY_TOKEN_LIFETIME,
        Some(text) => lifetime(&text).ok_or_else(|| format!("expiry {text:?} is no duration"))?,
    };
    let (text, digest) = tokens::new_token().map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "no token can be made");
        "no randomness".to_owned()
    })?;
    let new = NewLimitedToken { name, org, app, digest, lifetime };
    let made = api.engine.change(|world, now| world.add_limited_token(now, new));
    let made = made.map_err(|error| said(&error.into(), "Could not find App"))?;
    let mut shown = body(&made);
    shown["token"] = json!(text);
    shown["tokenHeader"] = json!(format!("FlyV1 {text}"));
    Ok(json!({ "limitedAccessToken": shown }))
}

/// `deleteLimitedAccessToken`: by id or by the token itself.
pub(super) fn delete(api: &Api, caller: &Caller, input: DeleteToken) -> Result<Value, String> {
    let unknown = || "Could not find LimitedAccessToken".to_owned();
    let named = match (input.id, input.token) {
        (Some(id), None) => id,
        (None, Some(text)) => {
            // Pasted headers carry a scheme.
            let text = text.trim();
            tokens::digest(text.strip_prefix("FlyV1 ").unwrap_or(text))
        }
        _ => return Err("either id or token is required".to_owned()),
    };
    let found = api.engine.read(|world| Ok(world.find_limited_token(&named).cloned()));
    let found = found.map_err(|error| error.to_string())?.ok_or_else(unknown)?;
    if !caller.may_use_all_of(&found.org) {
        return Err(unknown());
    }
    let revoked = api.engine.change(|world, now| world.revoke_limited_token(now, &found.id));
    let revoked = revoked.map_err(|error| error.to_string())?;
    Ok(json!({ "token": revoked.name, "limitedAccessToken": body(&revoked) }))
}

/// The page of tokens that a field selects; `None` if it selects none.
pub(super) fn list(
    world: &World,
    field: &Selection,
    org: &str,
    app: Option<&str>,
) -> Result<Option<Value>, String> {
    let Some(asked) = field.selections.iter().find(|inner| inner.name == LIST) else {
        return Ok(None);
    };
    let number = |name: &str| match asked.arguments.get(name) {
        None => Ok(PAGE_MAX),
        Some(value) => {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            let number = number.filter(|number| *number > 0);
            number
                .ok_or_else(|| format!("Argument '{name}' on Field '{LIST}' has an invalid value"))
        }
    };
    let first = number("first")?.min(PAGE_MAX);
    let after = asked.arguments.get("after").and_then(Value::as_str).unwrap_or_default();
    let tokens = world.limited_tokens(org, app).filter(|token| token.id.as_str() > after);
    let mut page: Vec<&LimitedToken> = tokens.take(first + 1).collect();
    let more = page.len() > first;
    page.truncate(first);
    let end = page.last().map(|token| token.id.as_str());
    Ok(Some(json!({
        "nodes": page.iter().map(|token| body(token)).collect::<Vec<_>>(),
        "pageInfo": {
            "hasNextPage": more, "endCursor": end,
            "hasPreviousPage": !after.is_empty(),
            "startCursor": page.first().map(|token| token.id.as_str()),
        },
    })))
}

/// Which app a profile is for; `None` for the whole organization.
fn app_of(profile: &str, params: Option<&Map<String, Value>>) -> Result<Option<String>, String> {
    match profile {
        "deploy" => {
            let id = params.and_then(|params| params.get("app_id")).and_then(Value::as_str);
            id.map(|id| Some(id.to_owned()))
                .ok_or_else(|| "profileParams of profile 'deploy' need an app_id".to_owned())
        }
        "deploy_organization" => Ok(None),
        other => Err(format!(
            "Profile '{other}' is unknown here; there are 'deploy' and 'deploy_organization'"
        )),
    }
}

/// A token as everybody may see it.
fn body(token: &LimitedToken) -> Value {
    let params = token.app.as_ref().map_or_else(|| json!({}), |app| json!({ "app_id": app }));
    json!({
        "id": token.id, "name": token.name, "profile": token.profile(), "profileParams": params,
        // Shown once, when it is made.
        "token": null, "tokenHeader": null,
        "createdAt": token.created_at, "expiresAt": token.expires_at,
        "revokedAt": token.revoked_at, "revokedBy": null,
        "user": { "id": "operator", "name": "operator", "email": "operator@localhost" },
        "organization": organization_body(&token.org),
    })
}
