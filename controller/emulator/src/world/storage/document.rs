//! Policy documents: who may do what, as far as Tigris documents them.
//!
//! ```json
//! { "Version": "2012-10-17", "Statement": [
//!   { "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::bucket/*" } ] }
//! ```
//!
//! A statement that denies outweighs all that allow; what no statement allows is denied. `Condition`,
//! `NotAction`, `NotResource` and `Principal` are refused rather than passed over: a document that
//! is half understood would open more than it says.

use serde::{Deserialize, Serialize};

use super::StorageRefusal;
use crate::faults::glob::Glob;

/// The longest document, in bytes: AWS's bound for a managed policy.
const DOCUMENT_BYTES_MAX: usize = 6_144;

/// A document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Document {
    /// `2012-10-17`
    pub version: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is allowed and denied.
    pub statement: OneOrMore<Statement>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub struct Statement {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// Allow or deny.
    pub effect: Effect,
    /// `s3:GetObject`, `s3:*`, `*`, …
    pub action: OneOrMore<String>,
    /// `arn:aws:s3:::bucket`, `arn:aws:s3:::bucket/*`, `*`, …
    pub resource: OneOrMore<String>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// It opens.
    Allow,
    /// It closes, whatever others open.
    Deny,
}

/// A single value stands for a list of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore<T> {
    /// A list.
    More(Vec<T>),
    /// A value.
    One(T),
}

impl<T> OneOrMore<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::More(values) => values,
            Self::One(value) => std::slice::from_ref(value),
        }
    }
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// [`StorageRefusal::MalformedPolicyDocument`] with what is wrong.
    pub fn read(text: &str) -> Result<Self, StorageRefusal> {
        let malformed = |text: String| Err(StorageRefusal::MalformedPolicyDocument(text));
        if text.len() > DOCUMENT_BYTES_MAX {
            return malformed(format!("PolicyDocument: at most {DOCUMENT_BYTES_MAX} bytes"));
        }
        let document: Self = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(error) => {
                return malformed(format!("Syntax errors in policy: {}", why(text, &error)));
            }
        };
        if document.version != "2012-10-17" {
            return malformed("Version: has to be 2012-10-17".to_owned());
        }
        if document.statement.as_slice().is_empty() {
            return malformed("Statement: at least one is needed".to_owned());
        }
        for statement in document.statement.as_slice() {
            let (actions, resources) = (statement.action.as_slice(), statement.resource.as_slice());
            if actions.is_empty() || resources.is_empty() {
                return malformed("Action and Resource: at least one each".to_owned());
            }
            if let Some(action) = actions.iter().find(|action| !is_action(action)) {
                return malformed(format!("Action {action:?}: write s3:NAME, s3:* or *"));
            }
            if let Some(resource) = resources.iter().find(|resource| !is_resource(resource)) {
                return malformed(format!(
                    "Resource {resource:?}: write arn:aws:s3:::BUCKET, arn:aws:s3:::BUCKET/KEY or *"
                ));
            }
        }
        Ok(document)
    }

    /// What this document says of an action on a resource; `None` if nothing.
    fn says(&self, action: &str, resource: &str) -> Option<Effect> {
        let speaking = self.statement.as_slice().iter().filter(|statement| {
            // Actions are compared without regard to case, resources with it, as AWS does.
            let action = action.to_ascii_lowercase();
            let actions = statement.action.as_slice().iter();
            let mut actions = actions.map(|known| Glob::new(&known.to_ascii_lowercase()));
            let mut resources = statement.resource.as_slice().iter().map(|known| Glob::new(known));
            actions.any(|known| known.fits(&action)) && resources.any(|known| known.fits(resource))
        });
        let effects: Vec<Effect> = speaking.map(|statement| statement.effect).collect();
        let denies = effects.contains(&Effect::Deny);
        if denies { Some(Effect::Deny) } else { effects.first().copied() }
    }
}

/// Whether these documents together allow an action (`s3:…`) on a resource (`arn:aws:s3:::…`).
pub fn allow<'a>(
    documents: impl IntoIterator<Item = &'a Document>,
    action: &str,
    resource: &str,
) -> bool {
    let mut allowed = false;
    for document in documents {
        match document.says(action, resource) {
            Some(Effect::Deny) => return false,
            Some(Effect::Allow) => allowed = true,
            None => {}
        }
    }
    allowed
}

/// What a reader's error means for whoever wrote the document. An error inside a choice of one or more
/// names nothing, so the blocks that are known not to be served are looked for.
fn why(text: &str, error: &serde_json::Error) -> String {
    let unserved = ["Condition", "NotAction", "NotResource", "Principal", "NotPrincipal"];
    let found = unserved.iter().find(|block| text.contains(&format!("\"{block}\"")));
    match found {
        Some(block) => format!("{block} is not served by this emulator"),
        None => error.to_string(),
    }
}

fn is_action(action: &str) -> bool {
    let name = |name: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'?');
        !name.is_empty() && name.bytes().all(known)
    };
    // The service is compared without regard to case too.
    let service = action.split_once(':').filter(|(service, _)| service.eq_ignore_ascii_case("s3"));
    action == "*" || service.is_some_and(|(_, rest)| name(rest))
}

fn is_resource(resource: &str) -> bool {
    resource == "*" || resource.strip_prefix("arn:aws:s3:::").is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(statements: &str) -> Document {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":{statements}}}"#);
        Document::read(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn statements_open_and_close_what_they_name() {
        let own = document(
            r#"[{"Effect":"Allow","Action":["s3:GetObject","s3:Put*"],"Resource":"arn:aws:s3:::own/*"},
                {"Sid":"list","Effect":"Allow","Action":"S3:listbucket","Resource":["arn:aws:s3:::own"]}]"#,
        );
        let deny =
            document(r#"{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::own/secret/*"}"#);
        let all = document(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#);
        let table: [(&[&Document], &str, &str, bool); 15] = [
            (&[], "s3:GetObject", "own/a", false),
            (&[&own], "s3:GetObject", "own/a", true),
            (&[&own], "s3:GetObject", "own/a/b/c", true),
            (&[&own], "s3:PutObject", "own/a", true),
            (&[&own], "s3:DeleteObject", "own/a", false),
            (&[&own], "s3:ListBucket", "own", true),
            (&[&own], "s3:ListBucket", "own/a", false),
            (&[&own], "s3:GetObject", "own", false),
            (&[&own], "s3:GetObject", "own2/a", false),
            (&[&own], "s3:GetObject", "sibling/a", false),
            (&[&own], "s3:GetObject", "Own/a", false),
            (&[&own, &deny], "s3:GetObject", "own/secret/a", false),
            (&[&deny, &own], "s3:GetObject", "own/secret/a", false),
            (&[&own, &deny], "s3:GetObject", "own/public", true),
            (&[&all, &deny], "s3:DeleteBucket", "anything", true),
        ];
        for (documents, action, resource, wanted) in table {
            let arn = format!("arn:aws:s3:::{resource}");
            let found = allow(documents.iter().copied(), action, &arn);
            assert_eq!(found, wanted, "{action} {resource}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let statement = |more: &str| {
            format!(r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow",{more}}}]}}"#)
        };
        let rest = r#""Action":"s3:*","Resource":"*""#;
        for (text, wanted) in [
            (String::new(), "Syntax errors"),
            ("[]".to_owned(), "Syntax errors"),
            (
                format!(r#"{{"Version":"2008-10-17","Statement":[{{"Effect":"Allow",{rest}}}]}}"#),
                "2012",
            ),
            (r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned(), "at least one"),
            (statement(&format!(r#"{rest},"Condition":{{}}"#)), "Condition"),
            (statement(r#""NotAction":"s3:*","Resource":"*""#), "NotAction"),
            (statement(r#""Action":[],"Resource":"*""#), "at least one"),
            (statement(r#""Action":"iam:*","Resource":"*""#), "iam:*"),
            (statement(r#""Action":"s3:","Resource":"*""#), "s3:"),
            (statement(r#""Action":"s3:*","Resource":"bucket""#), "bucket"),
            (statement(r#""Action":"s3:*","Resource":"arn:aws:s3:::""#), "arn:aws:s3:::"),
            (" ".repeat(DOCUMENT_BYTES_MAX + 1), "at most"),
        ] {
            let Err(StorageRefusal::MalformedPolicyDocument(said)) = Document::read(&text) else {
                panic!("{text} is taken");
            };
            assert!(said.contains(wanted), "{text}: {said}");
        }
    }
}
