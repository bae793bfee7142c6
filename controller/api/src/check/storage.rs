//! `spec.storage`: names of buckets, and what can be made true of them.

use serde_json::Value;

use super::Placed;
use super::at::At;
use super::words::shorten;
use crate::names::check_object_name;
use crate::storage::BUCKET_NAME_LENGTH_MAX;

/// Everything that is wrong with the buckets beyond their structure.
pub(super) fn check(at: &At<'_>, entries: &[Value], problems: &mut Vec<Placed>) {
    for (index, entry) in entries.iter().enumerate() {
        let at = at.index(index);
        if let Some(Value::String(name)) = entry.get("name") {
            let wrong = match check_object_name(name) {
                Err(error) => Some(error.to_string()),
                Ok(()) if name.len() > BUCKET_NAME_LENGTH_MAX => Some(format!(
                    "must be at most {BUCKET_NAME_LENGTH_MAX} characters long, but has {}",
                    name.len()
                )),
                Ok(()) => None,
            };
            if let Some(wrong) = wrong {
                let message = format!("the bucket's name `{}` {wrong}", shorten(name));
                problems.push(at.field("name").invalid(message).into());
            }
        }
        if entry.get("deletionPolicy").and_then(Value::as_str) == Some("Snapshot") {
            let message =
                "a bucket's data cannot be kept in a snapshot: choose `Retain`, or `Delete`";
            problems.push(at.field("deletionPolicy").invalid(message).into());
        }
    }
}
