//! From any JSON value to a checked document, or to everything that is wrong with it.
//!
//! ```text
//!   Value ─▶ depth ─▶ kind ─▶ unsupported ─┐
//!                        ├──▶ structure ───┼─▶ no problem? ─▶ Document
//!                        └──▶ semantics ───┘   else all of them, in the order of their paths
//! ```
//!
//! Structure is what the JSON Schema says; semantics is what a schema cannot say, or could say only
//! in words that help nobody. Both look at the raw value, so that one does not hide the other.

pub(crate) mod at;
mod config;
mod secrets;
mod semantics;
mod storage;
mod structure;
mod tokens;
mod unknown;
mod unsupported;
pub(crate) mod words;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::names::did_you_mean;
use crate::object::{API_VERSION, ObjectMeta};
use crate::problem::Problem;
use crate::tenant::{Tenant, TenantClass};
use at::At;
pub use unknown::{UnknownField, remove_field, unknown_fields};

/// Deepest nesting of a document. Ours need about ten levels, Fly's machine config a few more;
/// everything that walks a document may rely on it.
pub const DEPTH_MAX: usize = 64;

/// Most problems that are told of one document: nobody reads more, and each is a cause in an
/// answer over HTTP.
pub const PROBLEMS_MAX: usize = 100;

/// A checked document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// A tenant.
    Tenant(Tenant),
    /// A tenant class.
    TenantClass(TenantClass),
}

/// The kinds of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    /// `Tenant`.
    Tenant,
    /// `TenantClass`.
    TenantClass,
}

impl Document {
    /// The object's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata().name
    }

    /// `Tenant` or `TenantClass`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.document_kind().name()
    }

    /// The kind as a value.
    #[must_use]
    pub fn document_kind(&self) -> DocumentKind {
        match self {
            Self::Tenant(_) => DocumentKind::Tenant,
            Self::TenantClass(_) => DocumentKind::TenantClass,
        }
    }

    /// Name, labels and bookkeeping.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Tenant(tenant) => &tenant.metadata,
            Self::TenantClass(class) => &class.metadata,
        }
    }
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Tenant, Self::TenantClass];

    /// As it stands in `kind`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::TenantClass => "TenantClass",
        }
    }

    /// As it stands in URLs: the plural resource.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            Self::Tenant => "tenants",
            Self::TenantClass => "tenantclasses",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Checks one document as far as it can be checked alone.
///
/// # Errors
/// Everything that is wrong with it, in the order of the paths.
pub fn check(value: &Value) -> Result<Document, Vec<Problem>> {
    check_placed(value).map_err(|placed| placed.into_iter().map(|placed| placed.problem).collect())
}

/// A problem, and whether it is the key rather than the value that is wrong.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) problem: Problem,
    pub(crate) at_key: bool,
    /// For a field that no schema knows: what may have been meant, or nothing.
    pub(crate) unknown: Option<String>,
}

impl Placed {
    /// A problem with the key itself.
    pub(crate) fn key(problem: Problem) -> Self {
        Self { problem, at_key: true, unknown: None }
    }
}

impl From<Problem> for Placed {
    fn from(problem: Problem) -> Self {
        Self { problem, at_key: false, unknown: None }
    }
}

/// As [`check`], for a caller that shows places in a file.
pub(crate) fn check_placed(value: &Value) -> Result<Document, Vec<Placed>> {
    let root = At::ROOT;
    if is_too_deep(value) {
        return Err(vec![too_deep().into()]);
    }
    let Value::Object(members) = value else {
        let expected = "a mapping with `apiVersion`, `kind`, `metadata` and `spec`";
        return Err(vec![root.invalid(words::wrong_type(expected, value)).into()]);
    };
    let mut placed = Vec::new();
    check_api_version(members, &mut placed);
    let Some(kind) = check_kind(members, &mut placed) else {
        return Err(placed);
    };
    placed.extend(structure::check(kind, value));
    placed.extend(semantics::check(kind, members));
    unsupported::replace(members, &mut placed);
    if placed.is_empty() {
        return deserialize(kind, value).map_err(|problem| vec![problem.into()]);
    }
    placed.sort_by(|one, other| one.problem.path.cmp(&other.problem.path));
    placed.dedup_by(|one, other| one.problem == other.problem);
    if placed.len() > PROBLEMS_MAX {
        let more = format!("{} more problems are not shown", placed.len() - PROBLEMS_MAX);
        placed.truncate(PROBLEMS_MAX);
        placed.push(root.invalid(more).into());
    }
    Err(placed)
}

/// The problem of a document that is nested deeper than [`DEPTH_MAX`].
pub(crate) fn too_deep() -> Problem {
    At::ROOT.invalid(format!("nested deeper than {DEPTH_MAX} levels"))
}

fn is_too_deep(value: &Value) -> bool {
    let mut stack = vec![(value, 1)];
    while let Some((value, depth)) = stack.pop() {
        if depth > DEPTH_MAX {
            return true;
        }
        match value {
            Value::Array(items) => stack.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(members) => {
                stack.extend(members.values().map(|member| (member, depth + 1)));
            }
            _ => {}
        }
    }
    false
}

fn check_api_version(members: &Map<String, Value>, placed: &mut Vec<Placed>) {
    let at = At::ROOT;
    let at = at.field("apiVersion");
    let problem = match members.get("apiVersion") {
        None => at.required(format!("missing field `apiVersion`: it is `{API_VERSION}`")),
        Some(Value::String(version)) if version == API_VERSION => return,
        Some(found) => {
            at.invalid(format!("expected `{API_VERSION}`, found {}", words::describe(found)))
        }
    };
    placed.push(problem.into());
}

/// The kind to check the document as: a misspelt kind is a problem, but the rest is checked too.
fn check_kind(members: &Map<String, Value>, placed: &mut Vec<Placed>) -> Option<DocumentKind> {
    let at = At::ROOT;
    let at = at.field("kind");
    let names = DocumentKind::ALL.map(DocumentKind::name);
    let expected = words::either(names);
    let (problem, meant) = match members.get("kind") {
        None => (at.required(format!("missing field `kind`: it is {expected}")), None),
        Some(Value::String(name)) => {
            if let Some(kind) = DocumentKind::named(name) {
                return Some(kind);
            }
            let hint = did_you_mean(name, names);
            let shown = words::shorten(name);
            let problem = at.invalid(format!("unknown kind `{shown}`, expected {expected}{hint}"));
            (problem, crate::names::nearest(name, names).and_then(DocumentKind::named))
        }
        Some(found) => (at.invalid(words::wrong_type(&expected, found)), None),
    };
    placed.push(problem.into());
    meant
}

/// The last step. It fails only where the schema accepts what the types do not, which the tests
/// have not found; the message is then serde's.
fn deserialize(kind: DocumentKind, value: &Value) -> Result<Document, Problem> {
    let document = match kind {
        DocumentKind::Tenant => Tenant::deserialize(value).map(Document::Tenant),
        DocumentKind::TenantClass => TenantClass::deserialize(value).map(Document::TenantClass),
    };
    document.map_err(|error| At::ROOT.invalid(format!("cannot read the {}: {error}", kind.name())))
}

#[cfg(test)]
mod tests;
