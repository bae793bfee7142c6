//! Who asks: what a known token may do, and which tenants it may see.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vault_api::operator::Role;
use vault_api::selector::LabelSelectorError;
use vault_plan::time::UnixMillis;

use crate::select::{LabelSelector, Selection};
use crate::store::{Kind, StoredObject};

/// The name of the controller's own token in the audit log; no other token may have it.
pub(super) const OWN_NAME: &str = "controller";

/// How many watches the bearers of one token may hold at once: a team's terminals and some programs;
/// and whoever takes all of them leaves the others three quarters of the room.
const WATCHES_MAX: usize = 128;

/// The bearer of a known token: an extension of every request behind authentication.
#[derive(Clone, Debug)]
pub struct Caller {
    name: Arc<str>,
    role: Role,
    limit: Option<Arc<Limit>>,
    lease: Option<Lease>,
}

/// What all bearers of a token that was made have in common, for as long as it is good.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// A permit per watch.
    pub(super) watches: Arc<Semaphore>,
    /// Cancelled when the token is revoked.
    pub(super) revoked: CancellationToken,
    /// When the token ends by itself.
    pub(super) expires_at: Option<UnixMillis>,
}

#[derive(Debug)]
struct Limit {
    text: String,
    selector: LabelSelector,
}

impl Caller {
    /// The bearer of the controller's own token, who may do everything.
    #[must_use]
    pub fn controller() -> Self {
        Self { name: OWN_NAME.into(), role: Role::Admin, limit: None, lease: None }
    }

    /// The bearer of a token that was made, limited to the tenants of a label selector.
    ///
    /// # Errors
    /// If the selector is none.
    pub fn new(name: &str, role: Role, selector: Option<&str>) -> Result<Self, LabelSelectorError> {
        let limit = match selector {
            None => None,
            Some(text) => {
                let selector = text.parse()?;
                Some(Arc::new(Limit { text: text.to_owned(), selector }))
            }
        };
        let lease = Lease {
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
            revoked: CancellationToken::new(),
            expires_at: None,
        };
        Ok(Self { name: name.into(), role, limit, lease: Some(lease) })
    }

    /// The same, until the token ends by itself.
    #[must_use]
    pub(super) fn until(mut self, end: Option<UnixMillis>) -> Self {
        if let Some(lease) = &mut self.lease {
            lease.expires_at = end;
        }
        self
    }

    /// What the bearers of the token share; `None` for the controller's own, which has no end.
    pub(super) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// The name of the token.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the token may do.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The label selector that limits the token; `None` if nothing does.
    #[must_use]
    pub fn limit(&self) -> Option<&str> {
        self.limit.as_ref().map(|limit| limit.text.as_str())
    }

    /// Whether a tenant with these labels exists for this caller.
    #[must_use]
    pub fn may_see(&self, labels: Option<&Map<String, Value>>) -> bool {
        let Some(limit) = &self.limit else { return true };
        limit.selector.matches(labels)
    }

    /// What of a selection exists for this caller.
    #[must_use]
    pub fn narrow(&self, kind: Kind, selection: Selection) -> Selection {
        match &self.limit {
            Some(limit) if kind == Kind::Tenant => {
                Selection { labels: selection.labels.and(&limit.selector), ..selection }
            }
            _ => selection,
        }
    }

    /// Whether an object exists for this caller. Classes exist for everyone: tenants are made of
    /// them.
    #[must_use]
    pub fn sees(&self, object: &StoredObject) -> bool {
        object.kind != Kind::Tenant
            || self.may_see(object.metadata.get("labels").and_then(Value::as_object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limited_caller_sees_what_its_selector_selects() {
        let limited = Caller::new("ci", Role::Operate, Some("tier=pro,!hidden")).unwrap();
        let everything = Caller::new("ci", Role::Read, None).unwrap();
        for (labels, seen) in [
            (json!({ "tier": "pro" }), true),
            (json!({ "tier": "free" }), false),
            (json!({ "tier": "pro", "hidden": "" }), false),
            (json!({}), false),
        ] {
            assert_eq!(limited.may_see(labels.as_object()), seen, "{labels}");
            assert!(everything.may_see(labels.as_object()));
        }
        assert!(!limited.may_see(None));
        assert!(Caller::new("ci", Role::Read, Some("a in b")).is_err());
    }
}
