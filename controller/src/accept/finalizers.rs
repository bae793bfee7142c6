//! What keeps a deleted object from going: a list of names, one per party that has to clean up
//! first.
//!
//! ```text
//!   DELETE ─▶ deletionTimestamp, and for a tenant `vaultctl.dev/teardown`
//!                 │                         └── taken away by the pass that finds nothing left
//!                 └── others take their own names away; with the last one the object goes
//! ```

use serde_json::{Map, Value};
use vault_api::names::check_label_key;
use vault_api::problem::{FieldPath, Problem};
use vault_plan::time::UnixMillis;

use crate::source::Source;
use crate::store::{Kind, StoredObject};

/// The member of `metadata` that holds them.
pub(super) const KEY: &str = "finalizers";
/// The controller's own: it stands on a deleted tenant while its machines are taken down. Only the
/// controller puts it there and takes it away.
pub const TEARDOWN: &str = "vaultctl.dev/teardown";
/// Most finalizers of one object: each is a program that has to run, and nobody runs so many.
const FINALIZERS_MAX: usize = 20;

/// The finalizers of an object.
pub fn of(object: &StoredObject) -> impl Iterator<Item = &str> {
    listed(&object.metadata)
}

/// Whether the controller still has to take machines down.
#[must_use]
pub fn is_held_by_us(object: &StoredObject) -> bool {
    is_among(&object.metadata)
}

/// Whether the controller's own finalizer stands in this metadata.
#[must_use]
pub fn is_among(metadata: &Map<String, Value>) -> bool {
    listed(metadata).any(|name| name == TEARDOWN)
}

/// Whether a deleted object may go now.
#[must_use]
pub fn may_go(object: &StoredObject) -> bool {
    object.deleted_at.is_some() && of(object).next().is_none()
}

/// The object with its deletion asked for; a tenant is held until its machines are gone.
#[must_use]
pub fn deleted(object: &StoredObject, now: UnixMillis) -> StoredObject {
    let mut deleted = StoredObject { deleted_at: Some(now), ..object.clone() };
    if deleted.kind == Kind::Tenant && !is_held_by_us(&deleted) {
        let mut names: Vec<String> = of(&deleted).map(str::to_owned).collect();
        names.push(TEARDOWN.to_owned());
        deleted.metadata.insert(KEY.to_owned(), names.into());
    }
    deleted
}

/// The object after the controller has done its part.
#[must_use]
pub fn torn_down(object: &StoredObject) -> StoredObject {
    let mut object = object.clone();
    let names = of(&object).filter(|name| *name != TEARDOWN).map(str::to_owned).collect();
    set(&mut object.metadata, names);
    object
}

/// Puts the finalizers that the object will have into the written metadata: those that were
/// written, with the controller's own as it stands. A file says only what a new object gets: others
/// add and take away later what the file knows nothing of.
///
/// # Errors
/// A name is none, there are too many, or one is new to an object that is being deleted.
pub(super) fn settle(
    written: &mut Map<String, Value>,
    stored: Option<&StoredObject>,
    source: &Source,
) -> Result<(), Problem> {
    let names: Vec<String> = match (stored, source) {
        (Some(stored), Source::Folder { .. }) => of(stored).map(str::to_owned).collect(),
        _ => {
            let mut names: Vec<String> = Vec::new();
            for name in listed(written).filter(|name| *name != TEARDOWN) {
                if !names.iter().any(|known| known == name) {
                    check(name, stored)?;
                    names.push(name.to_owned());
                }
            }
            if stored.is_some_and(is_held_by_us) {
                names.push(TEARDOWN.to_owned());
            }
            names
        }
    };
    if names.len() > FINALIZERS_MAX {
        return Err(problem(format!("at most {FINALIZERS_MAX} are kept, found {}", names.len())));
    }
    set(written, names);
    Ok(())
}

fn check(name: &str, stored: Option<&StoredObject>) -> Result<(), Problem> {
    if let Some(stored) = stored {
        if of(stored).any(|known| known == name) {
            return Ok(());
        }
        if stored.deleted_at.is_some() {
            return Err(problem(format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found \
                 new finalizers [{name:?}]"
            )));
        }
    }
    check_label_key(name).map_err(|error| problem(format!("{name:?}: {error}")))?;
    match name.contains('/') {
        true => Ok(()),
        false => Err(problem(format!("{name:?} needs a domain before it: example.com/{name}"))),
    }
}

fn problem(message: String) -> Problem {
    Problem::invalid(FieldPath::default().field("metadata").field(KEY), message)
}

fn listed(metadata: &Map<String, Value>) -> impl Iterator<Item = &str> {
    metadata.get(KEY).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn set(metadata: &mut Map<String, Value>, names: Vec<String>) {
    if names.is_empty() {
        metadata.remove(KEY);
    } else {
        metadata.insert(KEY.to_owned(), names.into());
    }
}
