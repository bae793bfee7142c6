//! Policies: what keys may do. A policy is found by its name, attached to keys by its ARN.
//!
//! ```text
//!   put:     create ─ taken? ─▶ same document? ─▶ as it is
//!                                    └ other ─▶ detach from all ─▶ delete ─▶ create ─▶ attach to all
//!   delete:                                     detach from all ─▶ delete
//! ```

use std::sync::PoisonError;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::StorageClient;
use super::iam::{Continuation, bounded};
use crate::error::{CallError, RequestLine, UnknownCause};
use crate::operation::Operation;

/// The longest document that is taken, in bytes: AWS's have 6,144 characters at most, and escaped
/// each of them may be three.
const DOCUMENT_BYTES_MAX: usize = 32 << 10;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What it is attached by: `arn:aws:iam::ORG:policy/NAME`.
    pub arn: String,
    /// What it says, in JSON.
    pub document: String,
}

#[derive(Deserialize)]
struct PolicyAnswer {
    #[serde(rename = "CreatePolicyResult", alias = "GetPolicyResult")]
    result: PolicyResult,
}

#[derive(Deserialize)]
struct PolicyResult {
    #[serde(rename = "Policy")]
    policy: PolicyRow,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyRow {
    arn: String,
    policy_name: Option<String>,
    default_version_id: Option<String>,
}

#[derive(Deserialize)]
struct VersionAnswer {
    #[serde(rename = "GetPolicyVersionResult")]
    result: VersionResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionResult {
    policy_version: VersionRow,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionRow {
    document: String,
}

#[derive(Deserialize)]
struct ListAnswer {
    #[serde(rename = "ListPoliciesResult")]
    result: ListResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListResult {
    policies: Members<PolicyRow>,
    #[serde(default)]
    is_truncated: bool,
    marker: Option<String>,
}

#[derive(Deserialize)]
struct AttachedAnswer {
    #[serde(rename = "ListAttachedUserPoliciesResult")]
    result: AttachedResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttachedResult {
    attached_policies: Members<AttachedRow>,
    #[serde(default)]
    is_truncated: bool,
    marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttachedRow {
    policy_arn: String,
}

#[derive(Deserialize)]
struct KeysAnswer {
    #[serde(rename = "ListEntitiesForPolicyResult")]
    result: KeysResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeysResult {
    policy_users: Members<KeyRow>,
    #[serde(default)]
    is_truncated: bool,
    marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyRow {
    user_name: String,
}

#[derive(Deserialize)]
struct Members<T> {
    #[serde(rename = "member", default = "Vec::new")]
    rows: Vec<T>,
}

impl StorageClient {
    /// A policy by its name.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn policy(&self, name: &str) -> Result<Option<Policy>, CallError> {
        let Some(arn) = self.arn_of(name).await? else { return Ok(None) };
        let members = [("PolicyArn", arn.as_str())];
        let shown = self.ask::<PolicyAnswer>(Operation::ReadPolicy, &members).await;
        let Some((_, shown)) = unless_gone(shown)? else { return Ok(None) };
        let version = shown.result.policy.default_version_id.unwrap_or_else(|| "v1".to_owned());
        let members = [("PolicyArn", arn.as_str()), ("VersionId", &version)];
        let answer = self.ask::<VersionAnswer>(Operation::ReadPolicyDocument, &members).await;
        let Some((line, answer)) = unless_gone(answer)? else { return Ok(None) };
        let document = document_of(&answer.result.policy_version.document);
        let Some(document) = document else {
            let why = "a policy's document is too long, or no text".to_owned();
            return Err(CallError::of_answer(line, UnknownCause::Undecodable(why)));
        };
        Ok(Some(Policy { arn, document }))
    }

    /// Sees to it that a policy of this name says this, and answers its ARN. IAM changes no
    /// document: one that says something else is detached from its keys, made anew and attached to
    /// them again, so they may do nothing for a moment; if that is broken off, whoever repeats it
    /// has to attach it again.
    ///
    /// # Errors
    /// [`CallError`]; unknown if any step acted.
    pub async fn put_policy(&self, name: &str, document: &str) -> Result<String, CallError> {
        let refused = match self.make_policy(name, document).await {
            Err(error) if error.storage_code(StatusCode::CONFLICT) == Some(TAKEN) => error,
            made => return made,
        };
        let known = self.policy(name).await.map_err(CallError::before_the_call)?;
        // It went away between the two calls: whoever asks again makes it.
        let Some(known) = known else { return Err(refused) };
        if same(&known.document, document) {
            return Ok(known.arn);
        }
        let keys = self.policy_keys(&known.arn).await.map_err(CallError::before_the_call)?;
        self.remove(&known.arn, &keys).await?;
        let arn = self.make_policy(name, document).await.map_err(CallError::after_a_step)?;
        for key in &keys {
            self.attach_policy(key, &arn).await.map_err(CallError::after_a_step)?;
        }
        Ok(arn)
    }

    /// Removes a policy, from the keys that it is attached to first. One that is gone already is
    /// fine.
    ///
    /// # Errors
    /// [`CallError`]; unknown if any step acted.
    pub async fn delete_policy(&self, name: &str) -> Result<(), CallError> {
        let found = self.arn_of(name).await.map_err(CallError::before_the_call)?;
        let Some(arn) = found else { return Ok(()) };
        let keys = match self.policy_keys(&arn).await {
            Err(error) if error.is_no_entity() => return Ok(()),
            keys => keys.map_err(CallError::before_the_call)?,
        };
        self.remove(&arn, &keys).await
    }

    /// Attaches a policy to a key. Twice is once.
    ///
    /// # Errors
    /// [`CallError`]; not found if there is no such key, or no such policy.
    pub async fn attach_policy(&self, key_id: &str, arn: &str) -> Result<(), CallError> {
        self.tell(Operation::AttachPolicy, &[("UserName", key_id), ("PolicyArn", arn)]).await
    }

    /// Detaches a policy from a key. If it is not attached, or either is gone, that is fine.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn detach_policy(&self, key_id: &str, arn: &str) -> Result<(), CallError> {
        let members = [("UserName", key_id), ("PolicyArn", arn)];
        match self.tell(Operation::DetachPolicy, &members).await {
            Err(error) if error.is_no_entity() => Ok(()),
            done => done,
        }
    }

    /// The ARNs of all policies that are attached to a key.
    ///
    /// # Errors
    /// [`CallError`]; not found if there is no such key.
    pub async fn attached_policies(&self, key_id: &str) -> Result<Vec<String>, CallError> {
        let (operation, mut all) = (Operation::ListAttachedPolicies, Vec::new());
        self.pages(operation, &[("UserName", key_id)], |page: AttachedAnswer, line| {
            let AttachedResult { attached_policies, is_truncated, marker } = page.result;
            for row in attached_policies.rows {
                all.push(bounded(row.policy_arn, line)?);
            }
            Ok(Some(Continuation { is_truncated, marker }))
        })
        .await?;
        Ok(all)
    }

    /// The ids of all keys that a policy is attached to.
    async fn policy_keys(&self, arn: &str) -> Result<Vec<String>, CallError> {
        let (operation, mut all) = (Operation::ListPolicyKeys, Vec::new());
        self.pages(operation, &[("PolicyArn", arn)], |page: KeysAnswer, line| {
            let KeysResult { policy_users, is_truncated, marker } = page.result;
            for row in policy_users.rows {
                all.push(bounded(row.user_name, line)?);
            }
            Ok(Some(Continuation { is_truncated, marker }))
        })
        .await?;
        Ok(all)
    }

    async fn make_policy(&self, name: &str, document: &str) -> Result<String, CallError> {
        let members = [("PolicyName", name), ("PolicyDocument", document)];
        let (line, made) = self.ask::<PolicyAnswer>(Operation::CreatePolicy, &members).await?;
        self.learn(&made.result.policy.arn, name);
        bounded(made.result.policy.arn, &line)
    }

    /// Detaches a policy from these keys, and deletes it.
    async fn remove(&self, arn: &str, keys: &[String]) -> Result<(), CallError> {
        let mut acted = false;
        let sorted = |acted: bool, error: CallError| match acted {
            true => error.after_a_step(),
            false => error,
        };
        for key in keys {
            self.detach_policy(key, arn).await.map_err(|error| sorted(acted, error))?;
            acted = true;
        }
        match self.tell(Operation::DeletePolicy, &[("PolicyArn", arn)]).await {
            Err(error) if error.is_no_entity() => Ok(()),
            done => done.map_err(|error| sorted(acted, error)),
        }
    }

    /// The ARN of a policy; `None` only if the whole list has none of that name. The organization's
    /// name within it is nowhere told but in other ARNs: the first one that is seen says it, and
    /// from then on no list is read.
    async fn arn_of(&self, name: &str) -> Result<Option<String>, CallError> {
        let known = self.arn_prefix.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(prefix) = known {
            return Ok(Some(format!("{prefix}{name}")));
        }
        let mut found = None;
        let local = [("Scope", "Local")];
        self.pages(Operation::ListPolicies, &local, |page: ListAnswer, line: &RequestLine| {
            let ListResult { policies, is_truncated, marker } = page.result;
            for row in policies.rows {
                let arn = bounded(row.arn, line)?;
                let Some(other) = row.policy_name else { continue };
                self.learn(&arn, &other);
                if other == name {
                    found = Some(arn);
                    return Ok(None);
                }
            }
            Ok(Some(Continuation { is_truncated, marker }))
        })
        .await?;
        Ok(found)
    }

    fn learn(&self, arn: &str, name: &str) {
        let prefix = arn.strip_suffix(name).filter(|prefix| prefix.ends_with(":policy/"));
        if let Some(prefix) = prefix {
            let mut known = self.arn_prefix.lock().unwrap_or_else(PoisonError::into_inner);
            known.get_or_insert_with(|| prefix.to_owned());
        }
    }
}

/// IAM's code for a policy whose name is taken.
const TAKEN: &str = "EntityAlreadyExists";

fn unless_gone<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_no_entity() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether two documents say the same, however they are laid out.
fn same(left: &str, right: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    left == right || read(left).is_some_and(|left| read(right) == Some(left))
}

/// A document as it comes: escaped for URLs by AWS, or plain.
fn document_of(text: &str) -> Option<String> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return None;
    }
    let text = text.trim();
    if text.starts_with('{') {
        return Some(text.to_owned());
    }
    // A plus is a plus here, and not a blank.
    let form = text.replace('+', "%2B");
    let mut pairs = form_urlencoded::parse(form.as_bytes());
    let (document, rest) = pairs.next()?;
    (rest.is_empty() && pairs.next().is_none()).then(|| document.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_plain_and_escaped() {
        let plain = r#"{"Action": "s3:*", "More": "a+b=c&d"}"#;
        let escaped =
            "%7B%22Action%22%3A%20%22s3%3A%2A%22%2C%20%22More%22%3A%20%22a+b%3Dc%26d%22%7D";
        assert_eq!(document_of(plain).as_deref(), Some(plain));
        assert_eq!(document_of(escaped).as_deref(), Some(plain));
        assert_eq!(document_of("%7B%7D=1"), None);
        assert_eq!(document_of("%7B%7D&%7B%7D"), None);
        assert_eq!(document_of(&" ".repeat(DOCUMENT_BYTES_MAX + 1)), None);
    }

    #[test]
    fn documents_are_the_same_by_what_they_say() {
        assert!(same(r#"{"a": 1, "b": [2]}"#, r#"{"b":[2],"a":1}"#));
        assert!(!same(r#"{"a": 1}"#, r#"{"a": 2}"#));
        assert!(!same("{", "}"));
    }
}
