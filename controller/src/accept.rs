//! Whether a written object is taken: one set of rules for files, requests and dry runs.
//!
//! ```text
//!   Document + who writes ──┐
//!                           ├─▶ decide ─▶ Create | Change | Keep | refusal
//!   what is stored ─────────┘
//! ```
//!
//! Labels and annotations belong to nobody alone: what a file says of them is laid over what others
//! wrote ([`layers`]). Finalizers are the API's and the controller's ([`finalizers`]).

pub mod finalizers;
mod layers;

use serde_json::{Map, Value};
use thiserror::Error;
use vault_api::check::Document;
use vault_api::object::API_VERSION;
use vault_api::problem::Problem;
use vault_plan::identity::ControllerId;
use vault_plan::time::UnixMillis;

use crate::clock::rfc3339;
use crate::source::Source;
use crate::store::{Kind, StoredObject};

/// Why an object is not taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// Another writer owns the spec.
    #[error("{kind} {name} is owned by {owner}; change it there, or take ownership")]
    Owned {
        /// The kind's name.
        kind: &'static str,
        /// The object's name.
        name: String,
        /// Who owns it.
        owner: Source,
    },
    /// Somebody asked for the object's deletion, and that is not finished.
    #[error("{kind} {name} is being deleted; it can be made again once it is gone")]
    Deleting {
        /// The kind's name.
        kind: &'static str,
        /// The object's name.
        name: String,
    },
    /// The finalizers cannot be so.
    #[error("{kind} {name}: metadata.finalizers: {}", .problem.message)]
    Finalizers {
        /// The kind's name.
        kind: &'static str,
        /// The object's name.
        name: String,
        /// Why, at `metadata.finalizers`.
        problem: Problem,
    },
}

/// What to do with a written object.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It is new.
    Create(StoredObject),
    /// It differs from what is stored.
    Change(StoredObject),
    /// It is stored already, exactly so.
    Keep(StoredObject),
}

impl Decision {
    /// The object as it will be.
    #[must_use]
    pub fn object(&self) -> &StoredObject {
        match self {
            Self::Create(object) | Self::Change(object) | Self::Keep(object) => object,
        }
    }
}

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The owner that a new object gets.
    pub source: &'a Source,
    /// Become the owner of an object that somebody else owns.
    pub take_ownership: bool,
    /// Nothing is going to be stored: it is only a question, and questions are never refused.
    pub rehearsal: bool,
}

/// Decides about a checked document, given what is stored under its name.
///
/// # Errors
/// If this write would change the spec and somebody else owns it, or the object is being deleted;
/// or if its finalizers cannot be so.
pub fn decide(
    document: &Document,
    stored: Option<&StoredObject>,
    writer: Writer<'_>,
    controller: &ControllerId,
    now: UnixMillis,
) -> Result<Decision, Refusal> {
    let mut written = Written::read(document);
    let (kind, name) = (written.kind.word(), written.name.clone());
    let bad_finalizers = |problem| Refusal::Finalizers { kind, name: name.clone(), problem };
    finalizers::settle(&mut written.metadata, stored, writer.source).map_err(bad_finalizers)?;
    let Some(stored) = stored else {
        return Ok(Decision::Create(written.into_new(writer.source, controller, now)));
    };
    let spec_changes = stored.spec != written.spec;
    let is_deleting = stored.deleted_at.is_some() && !writer.rehearsal;
    if spec_changes && is_deleting && !only_resumes(&stored.spec, &written.spec) {
        return Err(Refusal::Deleting { kind, name });
    }
    let same_owner = same_owner(&stored.source, writer.source);
    if spec_changes && !same_owner && !writer.take_ownership && !writer.rehearsal {
        return Err(Refusal::Owned { kind, name, owner: stored.source.clone() });
    }
    let mut object = stored.clone();
    object.metadata = match writer.source {
        Source::Folder { .. } => layers::over(&stored.metadata, written.metadata),
        Source::Api if writer.take_ownership => written.metadata,
        Source::Api => layers::kept(&stored.metadata, written.metadata),
    };
    if spec_changes {
        object.spec = written.spec;
        object.generation += 1;
    }
    if same_owner || writer.take_ownership {
        object.source = writer.source.clone();
    }
    Ok(match object == *stored {
        true => Decision::Keep(object),
        false => Decision::Change(object),
    })
}

/// Whether two specs differ in nothing but `reconcile`: without that change, the deletion of a
/// paused tenant could never go on.
fn only_resumes(stored: &Map<String, Value>, written: &Map<String, Value>) -> bool {
    let rest = |spec: &Map<String, Value>| {
        let mut spec = spec.clone();
        spec.remove("reconcile");
        spec
    };
    rest(stored) == rest(written)
}

/// Files of the watched folder are one owner: a document may move from one to another.
fn same_owner(one: &Source, other: &Source) -> bool {
    match (one, other) {
        (Source::Folder { .. }, Source::Folder { .. }) | (Source::Api, Source::Api) => true,
        (Source::Folder { .. } | Source::Api, _) => false,
    }
}

/// The parts of a document that people write.
struct Written {
    kind: Kind,
    name: String,
    metadata: Map<String, Value>,
    spec: Map<String, Value>,
}

impl Written {
    fn read(document: &Document) -> Self {
        let (kind, spec) = match document {
            Document::Tenant(tenant) => (Kind::Tenant, object(&tenant.spec)),
            Document::TenantClass(class) => (Kind::TenantClass, object(&class.spec)),
        };
        let meta = document.metadata();
        let mut metadata = Map::new();
        for (key, value) in [("labels", &meta.labels), ("annotations", &meta.annotations)] {
            if !value.is_empty() {
                metadata.insert(key.to_owned(), Value::Object(object(value)));
            }
        }
        if !meta.finalizers.is_empty() {
            metadata.insert(finalizers::KEY.to_owned(), meta.finalizers.clone().into());
        }
        Self { kind, name: meta.name.clone(), metadata, spec }
    }

    fn into_new(self, source: &Source, controller: &ControllerId, now: UnixMillis) -> StoredObject {
        let metadata = match source {
            Source::Folder { .. } => layers::over(&Map::new(), self.metadata),
            Source::Api => self.metadata,
        };
        let uid = match self.kind {
            Kind::Tenant => controller.tenant_uid(&self.name).to_string(),
            Kind::TenantClass => controller.object_uid(self.kind.word(), &self.name).to_string(),
        };
        StoredObject {
            kind: self.kind,
            name: self.name,
            uid,
            generation: 1,
            resource_version: 0,
            created_at: now,
            deleted_at: None,
            source: source.clone(),
            metadata,
            spec: self.spec,
            status: None,
        }
    }
}

/// The object as the resource API shows it.
#[must_use]
pub fn to_json(object: &StoredObject) -> Value {
    let mut metadata = object.metadata.clone();
    metadata.remove(layers::KEY);
    let mut set = |key: &str, value: Value| drop(metadata.insert(key.to_owned(), value));
    set("name", object.name.clone().into());
    set("uid", object.uid.clone().into());
    set("generation", object.generation.into());
    // An object that was never stored has none.
    if object.resource_version > 0 {
        set("resourceVersion", object.resource_version.to_string().into());
    }
    set("creationTimestamp", rfc3339(object.created_at).into());
    if let Some(deleted_at) = object.deleted_at {
        set("deletionTimestamp", rfc3339(deleted_at).into());
    }
    let mut json = Map::new();
    json.insert("apiVersion".to_owned(), API_VERSION.into());
    json.insert("kind".to_owned(), object.kind.word().into());
    json.insert("metadata".to_owned(), metadata.into());
    json.insert("spec".to_owned(), object.spec.clone().into());
    if let Some(status) = &object.status {
        json.insert("status".to_owned(), status.clone());
    }
    Value::Object(json)
}

/// The stored object as a document, for checking others against it.
///
/// # Errors
/// If it was stored by a version with other fields.
pub fn to_document(object: &StoredObject) -> Result<Document, serde_json::Error> {
    let json = to_json(&StoredObject { status: None, ..object.clone() });
    Ok(match object.kind {
        Kind::Tenant => Document::Tenant(serde_json::from_value(json)?),
        Kind::TenantClass => Document::TenantClass(serde_json::from_value(json)?),
    })
}

fn object<T: serde::Serialize>(value: &T) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => members,
        // The derived serializers of specs and label maps yield objects and cannot fail.
        Ok(_) | Err(_) => unreachable!("specs and labels are objects"),
    }
}

#[cfg(test)]
mod tests;
