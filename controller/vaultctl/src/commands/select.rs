//! Reading the objects that a command line names, for commands that show them.

use crate::client::Client;
use crate::commands::not_found;
use crate::error::{Exit, describe};
use crate::object::{Object, Reference, Resource};
use crate::output::Output;
use crate::selector::Selector;

/// Objects by resource, in the order in which the resources were named.
pub(super) type Groups = Vec<(Resource, Vec<Object>)>;

/// Every object of these resources that is selected.
///
/// # Errors
/// A list cannot be read.
pub(super) async fn every(
    client: &Client,
    resources: &[Resource],
    selector: Option<&Selector>,
) -> anyhow::Result<Groups> {
    let mut groups = Vec::new();
    for &resource in resources {
        let mut objects = client.list(resource).await?.items;
        objects.retain(|object| selector.is_none_or(|wanted| wanted.matches(&object.labels())));
        for object in &mut objects {
            complete(object, resource);
        }
        groups.push((resource, objects));
    }
    Ok(groups)
}

/// The named objects that there are. Each one that is not there is said at once, and the exit code
/// is then that of "not found".
///
/// # Errors
/// An object cannot be read.
pub(super) async fn named(
    client: &Client,
    references: &[Reference],
    output: &mut Output,
) -> anyhow::Result<(Groups, Exit)> {
    let mut groups: Groups = Vec::new();
    let mut exit = Exit::Success;
    for reference in references {
        let Some(object) = client.find(reference).await? else {
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

/// Kubernetes leaves `apiVersion` and `kind` out of the items of a typed list; a mixed one needs
/// them.
fn complete(object: &mut Object, resource: Resource) {
    if let Some(members) = object.0.as_object_mut() {
        members.entry("apiVersion").or_insert_with(|| vault_api::object::API_VERSION.into());
        members.entry("kind").or_insert_with(|| resource.kind().into());
    }
}
