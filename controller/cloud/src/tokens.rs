//! Deploy tokens: minted, listed and revoked by the platform's GraphQL, which has the host of its own
//! that logs have.
//!
//! Names of tokens are not unique and a token is shown once, so a mint is never repeated here: after
//! one whose outcome is unknown, the list tells what it left behind.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::authorization::authorization;
use crate::error::{CallError, RequestLine};
use crate::graphql::ask;
use crate::http::ClientError;
use crate::machines::{Caller, ClientConfig, Walk};
use crate::operation::Operation;
use crate::text::printable;

const APP: &str = "query($name: String!) { app(name: $name) { id organization { id slug } } }";
const LIST: &str = "query($slug: String!, $first: Int, $after: String) { \
     organization(slug: $slug) { limitedAccessTokens(first: $first, after: $after) { \
     nodes { id name expiresAt revokedAt } pageInfo { hasNextPage endCursor } } } }";
const MINT: &str = "mutation($input: CreateLimitedAccessTokenInput!) { \
     createLimitedAccessToken(input: $input) { \
     limitedAccessToken { id name tokenHeader expiresAt } } }";
const REVOKE: &str = "mutation($input: DeleteLimitedAccessTokenInput!) { \
     deleteLimitedAccessToken(input: $input) { token } }";

/// Tokens asked for per page.
const PAGE_LIMIT: u32 = 500;
/// The longest token that is taken, in bytes: a handful of macaroons, as headers take them.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// The longest id and the longest name that are taken, in bytes.
const WORD_BYTES_MAX: usize = 256;

/// Mints, lists and revokes. Clones share connections and rate limits.
#[derive(Clone)]
pub struct TokensClient {
    caller: Arc<Caller>,
}

/// A token as a list shows it: without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The platform's id.
    pub id: String,
    /// Its name; not unique.
    pub name: String,
    /// When it ends, if the platform says.
    pub expires_at: Option<Timestamp>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// The tokens of an organization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Those that could be read, revoked and ended ones among them if the platform lists such.
    pub tokens: Vec<Token>,
    /// How many could not.
    pub undecodable: usize,
}

/// A deploy token to be minted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Its name; a second one of that name would be minted too.
    pub name: String,
    /// How long it is good.
    pub lifetime: Duration,
}

/// A new token with its value, which nobody shows again.
#[derive(Clone)]
pub struct Minted {
    /// The platform's id.
    pub id: String,
    /// As programs take it in `FLY_API_TOKEN`: `FlyV1 …`.
    pub value: SecretString,
    /// When it ends, if the platform says.
    pub expires_at: Option<Timestamp>,
}

/// Without the value.
impl fmt::Debug for Minted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Minted")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl TokensClient {
    /// A client for the GraphQL at `config.base_url`, such as `https://api.fly.io`. Makes no call.
    ///
    /// # Errors
    /// [`ClientError`], see there.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        Ok(Self { caller: Arc::new(Caller::new(config)?) })
    }

    /// The tokens of an organization, all pages.
    ///
    /// # Errors
    /// [`CallError`], also if only one page could not be read.
    pub async fn list(&self, organization: &str) -> Result<Tokens, CallError> {
        let mut all = Tokens::default();
        let mut walk = Walk::default();
        let mut after: Option<String> = None;
        loop {
            let variables = json!({ "slug": organization, "first": PAGE_LIMIT, "after": after });
            let operation = Operation::ListTokens;
            let found =
                ask(&self.caller, operation, organization, LIST, variables, "organization").await?;
            let page = &found["limitedAccessTokens"];
            let Value::Array(nodes) = &page["nodes"] else {
                return Err(self.unreadable(operation, "its list of tokens is no list"));
            };
            let read: Vec<Token> = nodes.iter().filter_map(token).collect();
            all.undecodable += nodes.len() - read.len();
            all.tokens.extend(read);
            if page["pageInfo"]["hasNextPage"] != Value::Bool(true) {
                return Ok(all);
            }
            let Some(cursor) = page["pageInfo"]["endCursor"].as_str() else {
                return Err(self.unreadable(operation, "a page that is not the last names no next"));
            };
            walk.step(cursor).map_err(|problem| self.unreadable(operation, &problem))?;
            after = Some(cursor.to_owned());
        }
    }

    /// Mints a token that may deploy to one app. The app's id, and its organization's, are asked for
    /// first; if that fails, nothing was minted.
    ///
    /// # Errors
    /// [`CallError`]: not found if there is no such app; unknown if a token may have been minted.
    pub async fn mint(&self, app: &str, new: &NewToken) -> Result<Minted, CallError> {
        let looked = json!({ "name": app });
        let found = ask(&self.caller, Operation::ReadTokenApp, app, APP, looked, "app")
            .await
            .map_err(CallError::before_the_call)?;
        let (Some(app_id), Some(organization)) =
            (word(&found["id"]), word(&found["organization"]["id"]))
        else {
            let error = self.unreadable(Operation::ReadTokenApp, "the app has no id there");
            return Err(error.before_the_call());
        };
        let input = json!({
            "name": new.name,
            "organizationId": organization,
            "profile": "deploy",
            "profileParams": { "app_id": app_id },
            "expiry": go_duration(new.lifetime),
        });
        let (operation, field) = (Operation::MintToken, "createLimitedAccessToken");
        let variables = json!({ "input": input });
        let made = ask(&self.caller, operation, app, MINT, variables, field).await?;
        let made = &made["limitedAccessToken"];
        let value = made["tokenHeader"].as_str().filter(|text| text.len() <= TOKEN_BYTES_MAX);
        let value = value.map(SecretString::from).filter(|value| authorization(value).is_ok());
        match (word(&made["id"]), value) {
            (Some(id), Some(value)) => {
                let (id, expires_at) = (id.to_owned(), time(&made["expiresAt"]));
                Ok(Minted { id, value, expires_at })
            }
            _ => Err(self.unreadable(operation, "it holds no token, or one that no header takes")),
        }
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// [`CallError`]; not found if it is gone already.
    pub async fn revoke(&self, id: &str) -> Result<(), CallError> {
        let (operation, field) = (Operation::RevokeToken, "deleteLimitedAccessToken");
        let variables = json!({ "input": { "id": id } });
        ask(&self.caller, operation, id, REVOKE, variables, field).await.map(drop)
    }

    /// An answer that came and makes no sense.
    fn unreadable(&self, operation: Operation, why: &str) -> CallError {
        use crate::error::{Unknown, UnknownCause};
        let request = RequestLine { method: operation.method(), path: "/graphql".to_owned() };
        let cause = UnknownCause::Undecodable(printable(why, WORD_BYTES_MAX));
        CallError::Unknown(Unknown { request, answer: None, cause })
    }
}

fn token(node: &Value) -> Option<Token> {
    let revoked = match &node["revokedAt"] {
        Value::Null => false,
        Value::String(at) => !at.is_empty(),
        _ => true,
    };
    let (id, name) = (word(&node["id"])?, word(&node["name"])?);
    let expires_at = time(&node["expiresAt"]);
    Some(Token { id: id.to_owned(), name: name.to_owned(), expires_at, revoked })
}

/// A short text; anything else is none.
fn word(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty() && text.len() <= WORD_BYTES_MAX)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// As Go writes durations of whole seconds.
fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}h{}m{}s", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_reads_them() {
        for (seconds, text) in [(60, "0h1m0s"), (90_061, "25h1m1s"), (630_720_000, "175200h0m0s")] {
            assert_eq!(go_duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn nothing_prints_a_token() {
        let value = SecretString::from("FlyV1 fm2_secret");
        let minted = Minted { id: "1".to_owned(), value, expires_at: None };
        assert!(!format!("{minted:?}").contains("fm2"));
    }
}
