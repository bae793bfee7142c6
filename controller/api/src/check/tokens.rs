//! `spec.tokens`: names, and spans of time as far as one document tells.

use serde_json::Value;

use super::Placed;
use super::at::At;
use super::words::shorten;
use crate::duration::milliseconds;
use crate::names::check_object_name;
use crate::tokens::{TTL_MS_MAX, TTL_MS_MIN};

/// Everything that is wrong with the deploy tokens beyond their structure.
pub(super) fn check(at: &At<'_>, entries: &[Value], problems: &mut Vec<Placed>) {
    for (index, entry) in entries.iter().enumerate() {
        let at = at.index(index);
        if let Some(Value::String(name)) = entry.get("name")
            && let Err(error) = check_object_name(name)
        {
            let message = format!("the token's name `{}` {error}", shorten(name));
            problems.push(at.field("name").invalid(message).into());
        }
        let ttl = span(&at, entry, "ttl", problems);
        let before = span(&at, entry, "rotateBefore", problems);
        if let Some(ttl) = ttl
            && !(TTL_MS_MIN..=TTL_MS_MAX).contains(&ttl)
        {
            let message = "a token lives from 1 minute to 20 years (`175200h`)";
            problems.push(at.field("ttl").invalid(message).into());
        }
        if before == Some(0) {
            let message = "the next token is minted before this one ends: more than `0s`";
            problems.push(at.field("rotateBefore").invalid(message).into());
        }
        if let (Some(ttl), Some(before)) = (ttl, before)
            && before >= ttl
        {
            let message = "expected less than `ttl`: the next token is minted before this one ends";
            problems.push(at.field("rotateBefore").invalid(message).into());
        }
    }
}

fn span(at: &At<'_>, entry: &Value, field: &str, problems: &mut Vec<Placed>) -> Option<u64> {
    let Some(Value::String(text)) = entry.get(field) else { return None };
    match milliseconds(text) {
        Ok(span) => Some(span),
        Err(error) => {
            let message = format!("`{}` {error}", shorten(text));
            problems.push(at.field(field).invalid(message).into());
            None
        }
    }
}
