//! Access keys.

use super::answer::Node;
use super::form::Fields;
use super::{IamError, StorageRefusal};
use crate::engine::Engine;
use crate::storage::admin::draw;
use crate::world::storage::{AccessKey, NewAccessKey};

/// `CreateAccessKey`: the only answer that has the secret.
pub(super) fn create(engine: &Engine, org: &str, form: &Fields) -> Result<Vec<Node>, IamError> {
    form.only(&["UserName"])?;
    let (id, secret) = draw().map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "no access key can be made");
        IamError::NoRandomness
    })?;
    let name = form.optional("UserName").map(str::to_owned);
    let new = NewAccessKey { id, name, org: org.to_owned(), secret, admin: false };
    let key = engine.change(|world, now| Ok(world.add_access_key(now, new)))??;
    let mut shown = metadata(&key);
    shown.push(Node::text("SecretAccessKey", key.secret.expose()));
    Ok(vec![Node::Group("AccessKey", shown)])
}

/// `ListAccessKeys`: all of the organization's, or those of a name; a key's id stands for its name too.
pub(super) fn list(engine: &Engine, org: &str, form: &Fields) -> Result<Vec<Node>, IamError> {
    form.only(&["UserName", "Marker", "MaxItems"])?;
    let name = form.optional("UserName");
    let (marker, most) = form.page()?;
    let found = engine.read(|world| {
        let by_id = name.and_then(|name| world.access_key(name));
        let by_id = by_id.filter(|key| key.org == org);
        let keys: Vec<AccessKey> = match by_id {
            Some(key) => vec![key.clone()],
            None => world.access_keys(org, name, marker).take(most + 1).cloned().collect(),
        };
        Ok(keys)
    })?;
    let rows = found.iter().take(most).map(metadata);
    let last = found.get(most - 1).map(|key| key.id.as_str());
    let mut nodes = vec![Node::list("AccessKeyMetadata", rows)];
    nodes.extend(continuation(found.len() > most, last));
    Ok(nodes)
}

/// `DeleteAccessKey`
pub(super) fn delete(engine: &Engine, org: &str, form: &Fields) -> Result<Vec<Node>, IamError> {
    form.only(&["UserName", "AccessKeyId"])?;
    let (id, name) = (form.required("AccessKeyId")?, form.optional("UserName"));
    engine.change(|world, now| {
        let named = |key: &AccessKey| name.is_none_or(|name| user_name(key) == name || id == name);
        if !world.access_key(id).is_some_and(named) {
            let text = format!("The Access Key with id {id} cannot be found.");
            return Ok(Err(StorageRefusal::NoSuchEntity(text)));
        }
        Ok(world.delete_access_key(now, org, id))
    })??;
    Ok(Vec::new())
}

/// What says where a list goes on.
pub(super) fn continuation(more: bool, last: Option<&str>) -> Vec<Node> {
    let mut nodes = vec![Node::text("IsTruncated", more.to_string())];
    nodes.extend(last.filter(|_| more).map(|last| Node::text("Marker", last)));
    nodes
}

/// A key is its own user; the name that it was given is shown, if there is one.
fn user_name(key: &AccessKey) -> &str {
    key.name.as_deref().unwrap_or(&key.id)
}

fn metadata(key: &AccessKey) -> Vec<Node> {
    vec![
        Node::text("UserName", user_name(key)),
        Node::text("AccessKeyId", &key.id),
        Node::text("Status", "Active"),
        Node::text("CreateDate", key.created_at.to_string()),
    ]
}
