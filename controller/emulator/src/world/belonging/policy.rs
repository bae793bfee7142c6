//! Network policies: kept and shown, not enforced, because machines share this computer's network.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Belonging, Thing};
use crate::world::World;
use crate::world::error::Refusal;

/// A network policy, as it was sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// In the caller's words.
    #[serde(deserialize_with = "null_as_none")]
    pub name: String,
    /// Which machines it is about.
    pub selector: Value,
    /// What they may do.
    #[serde(deserialize_with = "null_as_none")]
    pub rules: Vec<Rule>,
}

/// One thing that is allowed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// `allow`
    #[serde(deserialize_with = "null_as_none")]
    pub action: String,
    /// `ingress` or `egress`
    #[serde(deserialize_with = "null_as_none")]
    pub direction: String,
    /// The ports, with their protocols.
    #[serde(deserialize_with = "null_as_none")]
    pub ports: Vec<Value>,
}

/// Clients send unset members as null.
fn null_as_none<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl World {
    /// Writes a policy: a new one, or the one of that id.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a rule that says nothing, [`Refusal::NotFound`] for an unknown id.
    pub fn set_policy(
        &mut self,
        now: Timestamp,
        app: &str,
        id: Option<String>,
        policy: Policy,
    ) -> Result<Belonging, Refusal> {
        for rule in &policy.rules {
            if rule.action != "allow" {
                return Err(Refusal::invalid(format!(
                    "rules.action: {:?} is not allow",
                    rule.action
                )));
            }
            if !matches!(rule.direction.as_str(), "ingress" | "egress") {
                let text =
                    format!("rules.direction: {:?} is neither ingress nor egress", rule.direction);
                return Err(Refusal::invalid(text));
            }
        }
        let id = match id.filter(|id| !id.is_empty()) {
            Some(id) => self.belonging(app, super::Kind::Policy, &id)?.name.clone(),
            None => self.ids.nonce(),
        };
        self.set_belonging(now, app, &id, Thing::Policy(policy))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unset_members_may_be_null() {
        let null = json!({
            "name": null, "selector": null, "rules": [{ "action": "allow", "ports": null }],
        });
        let read = Policy::deserialize(null).expect("a policy");
        let rule = Rule { action: "allow".to_owned(), ..Rule::default() };
        assert_eq!(read, Policy { rules: vec![rule], ..Policy::default() });
        assert_eq!(Policy::deserialize(json!({ "rules": null })).ok(), Some(Policy::default()));
    }
}
