//! Policies, and attaching them to access keys: AWS's users are keys here, by their ids.

use super::IamError;
use super::answer::Node;
use super::form::Fields;
use super::keys::continuation;
use crate::engine::Engine;
use crate::storage::s3::escaped;
use crate::world::storage::{Policy, StorageRefusal};

/// The only version that a policy has.
const VERSION: &str = "v1";

/// `CreatePolicy`
pub(super) fn create(engine: &Engine, org: &str, form: &Fields) -> Result<Vec<Node>, IamError> {
    form.only(&["PolicyName", "PolicyDocument"])?;
    let (name, text) = (form.required("PolicyName")?, form.required("PolicyDocument")?);
    let made = engine.change(|world, now| Ok(world.create_policy(now, org, name, text)))??;
    Ok(vec![Node::Group("Policy", described(&made))])
}

/// `GetPolicy`
pub(super) fn show(engine: &Engine, org: &str, form: &Fields) -> Result<Vec<Node>, IamError> {
    form.only(&["PolicyArn"])?;
    let policy = find(engine, org, form)?;
    Ok(vec![Node::Group("Policy", described(&policy))])
}

/// `GetPolicyVersion`: the document, escaped as AWS does.
pub(super) fn show_document(
    engine: &Engine,
    org: &str,
    form: &Fields,
) -> Result<Vec<Node>, IamError> {
    form.only(&["PolicyArn", "VersionId"])?;
    let policy = find(engine, org, form)?;
    if form.required("VersionId")? != VERSION {
        let text = format!("Policy {} has the version {VERSION} only.", policy.arn);
        return Err(StorageRefusal::NoSuchEntity(text).into());
    }
    Ok(vec![Node::Group(
        "PolicyVersion",
        vec![
            Node::text("Document", escaped(&policy.text)),
            Node::text("VersionId", VERSION),
            Node::text("IsDefaultVersion", "true"),
            Node::text("CreateDate", policy.created_at.to_string()),
        ],
    )])
}

/// `ListPolicies`
pub(super) fn list(engine: &Engine, org: &str, form: &Fields) -> Result<Vec<Node>, IamError> {
    form.only(&["Scope", "Marker", "MaxItems"])?;
    if form.optional("Scope").is_some_and(|scope| !matches!(scope, "All" | "Local")) {
        return Err(IamError::Invalid("Scope: All or Local".to_owned()));
    }
    let (marker, most) = form.page()?;
    let found = engine.read(|world| {
        Ok(world.policies(org, marker).take(most + 1).cloned().collect::<Vec<_>>())
    })?;
    let last = found.get(most - 1).map(|policy| policy.arn.as_str());
    let mut nodes = vec![Node::list("Policies", found.iter().take(most).map(described))];
    nodes.extend(continuation(found.len() > most, last));
    Ok(nodes)
}

/// `DeletePolicy`
pub(super) fn delete(engine: &Engine, org: &str, form: &Fields) -> Result<Vec<Node>, IamError> {
    form.only(&["PolicyArn"])?;
    let arn = form.required("PolicyArn")?;
    engine.change(|world, _| Ok(world.delete_policy(org, arn)))??;
    Ok(Vec::new())
}

/// `AttachUserPolicy`
pub(super) fn attach(engine: &Engine, org: &str, form: &Fields) -> Result<Vec<Node>, IamError> {
    form.only(&["UserName", "PolicyArn"])?;
    let (key, arn) = (form.required("UserName")?, form.required("PolicyArn")?);
    engine.change(|world, now| Ok(world.attach_policy(now, org, arn, key)))??;
    Ok(Vec::new())
}

/// `DetachUserPolicy`
pub(super) fn detach(engine: &Engine, org: &str, form: &Fields) -> Result<Vec<Node>, IamError> {
    form.only(&["UserName", "PolicyArn"])?;
    let (key, arn) = (form.required("UserName")?, form.required("PolicyArn")?);
    engine.change(|world, now| Ok(world.detach_policy(now, org, arn, key)))??;
    Ok(Vec::new())
}

/// `ListAttachedUserPolicies`
pub(super) fn list_attached(
    engine: &Engine,
    org: &str,
    form: &Fields,
) -> Result<Vec<Node>, IamError> {
    let (attached, more) = attached(engine, org, form)?;
    let rows = attached.iter().map(|policy| {
        vec![Node::text("PolicyName", &policy.name), Node::text("PolicyArn", &policy.arn)]
    });
    let mut nodes = vec![Node::list("AttachedPolicies", rows)];
    nodes.extend(continuation(more, attached.last().map(|policy| policy.arn.as_str())));
    Ok(nodes)
}

/// `ListUserPolicies`: at Tigris what is attached, because keys have no policies inside.
pub(super) fn list_names(engine: &Engine, org: &str, form: &Fields) -> Result<Vec<Node>, IamError> {
    let (attached, more) = attached(engine, org, form)?;
    let names = attached.iter().map(|policy| Node::text("member", &policy.name));
    let mut nodes = vec![Node::Group("PolicyNames", names.collect())];
    nodes.extend(continuation(more, attached.last().map(|policy| policy.arn.as_str())));
    Ok(nodes)
}

/// `ListEntitiesForPolicy`
pub(super) fn list_keys(engine: &Engine, org: &str, form: &Fields) -> Result<Vec<Node>, IamError> {
    form.only(&["PolicyArn", "Marker", "MaxItems"])?;
    let policy = find(engine, org, form)?;
    let (marker, most) = form.page()?;
    let after =
        policy.attached.iter().filter(|key| marker.is_none_or(|marker| key.as_str() > marker));
    let page: Vec<&String> = after.take(most + 1).collect();
    let rows = page
        .iter()
        .take(most)
        .map(|key| vec![Node::text("UserName", key.as_str()), Node::text("UserId", key.as_str())]);
    let last = page.get(most - 1).map(|key| key.as_str());
    let mut nodes = vec![
        Node::Group("PolicyGroups", Vec::new()),
        Node::list("PolicyUsers", rows),
        Node::Group("PolicyRoles", Vec::new()),
    ];
    nodes.extend(continuation(page.len() > most, last));
    Ok(nodes)
}

/// A page of what is attached to a key, by ARN, and whether there is more.
fn attached(engine: &Engine, org: &str, form: &Fields) -> Result<(Vec<Policy>, bool), IamError> {
    form.only(&["UserName", "Marker", "MaxItems"])?;
    let key = form.required("UserName")?;
    let (marker, most) = form.page()?;
    let found = engine.read(|world| {
        if world.access_key(key).is_none_or(|key| key.org != org) {
            let text = format!("The user with name {key} cannot be found.");
            return Ok(Err(StorageRefusal::NoSuchEntity(text)));
        }
        let arns = world.attached_policies(org, key).into_iter();
        let arns = arns.filter(|arn| marker.is_none_or(|marker| arn.as_str() > marker));
        let policies = arns.filter_map(|arn| world.policy(org, &arn).ok().cloned());
        Ok(Ok(policies.take(most + 1).collect::<Vec<_>>()))
    });
    let mut found = found??;
    let more = found.len() > most;
    found.truncate(most);
    Ok((found, more))
}

fn find(engine: &Engine, org: &str, form: &Fields) -> Result<Policy, IamError> {
    let arn = form.required("PolicyArn")?;
    Ok(engine.read(|world| Ok(world.policy(org, arn).cloned()))??)
}

fn described(policy: &Policy) -> Vec<Node> {
    vec![
        Node::text("PolicyName", &policy.name),
        Node::text("PolicyId", &policy.id),
        Node::text("Arn", &policy.arn),
        Node::text("Path", "/"),
        Node::text("DefaultVersionId", VERSION),
        Node::text("AttachmentCount", policy.attached.len().to_string()),
        Node::text("PermissionsBoundaryUsageCount", "0"),
        Node::text("IsAttachable", "true"),
        Node::text("CreateDate", policy.created_at.to_string()),
        Node::text("UpdateDate", policy.updated_at.to_string()),
    ]
}
