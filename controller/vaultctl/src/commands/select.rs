//! Reading the objects that a command line names, for commands that show them.

use crate::client::{CHUNK_SIZE, Client, Selection};
use crate::commands::not_found;
use crate::error::{Exit, Failure, describe};
use crate::object::{Object, Reference, Resource};
use crate::output::Output;
use crate::reference::Targets;

/// Objects by resource, in the order in which the resources were named.
pub(super) type Groups = Vec<(Resource, Vec<Object>)>;

/// Every object of these resources that is selected.
///
/// # Errors
/// A list cannot be read.
pub(super) async fn every(
    client: &Client,
    resources: &[Resource],
    selection: &Selection,
    chunk: u32,
) -> anyhow::Result<Groups> {
    let mut groups = Vec::new();
    for &resource in resources {
        let mut objects = client.select(resource, selection, chunk).await?.items;
        for object in &mut objects {
            complete(object, resource);
        }
        groups.push((resource, objects));
    }
    Ok(groups)
}

/// The named objects that there are. Each one that is not there is said at once, unless
/// `ignore_missing`, and the exit code is then that of "not found".
///
/// # Errors
/// An object cannot be read.
pub(super) async fn named(
    client: &Client,
    references: &[Reference],
    ignore_missing: bool,
    output: &mut Output,
) -> anyhow::Result<(Groups, Exit)> {
    let mut groups: Groups = Vec::new();
    let mut exit = Exit::Success;
    for reference in references {
        let Some(object) = client.find(reference).await? else {
            if ignore_missing {
                continue;
            }
            output.note(&describe(&not_found(client, reference).await.into()));
            exit = Exit::NotFound;
            continue;
        };
        match groups.iter_mut().find(|(resource, _)| *resource == reference.resource) {
            Some((_, objects)) => objects.push(object),
            None => groups.push((reference.resource, vec![object])),
        }
    }
    Ok((groups, exit))
}

/// The objects that a command acts on: those that are named, or every one of a type, of which all or
/// the selected ones have to be asked for.
///
/// # Errors
/// Names beside a selector, a type alone, or a list that cannot be read.
pub(super) async fn references(
    client: &Client,
    targets: Targets,
    all: bool,
    selector: Option<&str>,
) -> anyhow::Result<Vec<Reference>> {
    // An empty selector selects everything. It is a variable that is not set, and none is meant.
    let selector = selector.filter(|selector| !selector.trim().is_empty());
    let many = all || selector.is_some();
    let resources = match targets {
        Targets::Named(references) if !many => return Ok(references),
        Targets::Every(resources) if many => resources,
        Targets::Named(_) => {
            let message = "names do not go together with --all or --selector";
            return Err(Failure::new(Exit::BadInput, message).into());
        }
        Targets::Every(_) => {
            let failure = Failure::new(Exit::BadInput, "no object is named");
            return Err(failure.hint("name one, or say --all").into());
        }
    };
    let selection = Selection::labelled(selector);
    let mut references = Vec::new();
    for resource in resources {
        for object in client.select(resource, &selection, CHUNK_SIZE).await?.items {
            references.push(Reference { resource, name: object.name().to_owned() });
        }
    }
    Ok(references)
}

/// The objects that are named one by one, for a command that acts on no others.
///
/// # Errors
/// A type alone.
pub(super) fn each_named(targets: Targets) -> Result<Vec<Reference>, Failure> {
    match targets {
        Targets::Named(references) => Ok(references),
        Targets::Every(_) => {
            let failure = Failure::new(Exit::BadInput, "no object is named");
            Err(failure.hint("say TYPE NAME or TYPE/NAME"))
        }
    }
}

/// Kubernetes leaves `apiVersion` and `kind` out of the items of a typed list; a mixed one needs
/// them.
fn complete(object: &mut Object, resource: Resource) {
    if let Some(members) = object.0.as_object_mut() {
        members.entry("apiVersion").or_insert_with(|| resource.api_version().into());
        members.entry("kind").or_insert_with(|| resource.kind().into());
    }
}
