//! The deploy tokens of a tenant and its class in one.

use super::{Merged, Place, Resolution, merged};
use crate::duration::milliseconds;
use crate::tokens::{DeployTokenEntry, TTL_MS_MAX, TTL_MS_MIN, TokensSpec};

/// Without another word a token is replaced when a quarter of its life is left.
const ROTATE_BEFORE_SHARE: u64 = 4;

/// A deploy token with nothing left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedToken {
    /// Unique within the tenant.
    pub name: String,
    /// How long each token is good, in milliseconds.
    pub ttl_ms: u64,
    /// How long before its end the next one is minted, in milliseconds; more than 0 and less than
    /// `ttl_ms`.
    pub rotate_before_ms: u64,
}

impl Resolution<'_> {
    pub(super) fn resolve_tokens(
        &mut self,
        own: Option<&TokensSpec>,
        class: Option<&TokensSpec>,
    ) -> Vec<ResolvedToken> {
        let entries =
            |spec: Option<&TokensSpec>| spec.map(|spec| spec.deploy.clone()).unwrap_or_default();
        let (own, class) = (entries(own), entries(class));
        let tokens = merged(&own, &class, |token| &token.name);
        if self.app_is_shared
            && let Some(first) = tokens.first()
        {
            let place = place(first);
            let message = "a deploy token opens all of an app, with the machines of every tenant in \
                           it: there is none for a shared app";
            let problem = self.blame(&place, place.own.is_some(), &["name"], message.to_owned());
            self.problems.push(problem);
        }
        tokens.iter().filter_map(|token| self.resolve_token(token)).collect()
    }

    fn resolve_token(&mut self, token: &Merged<'_, DeployTokenEntry>) -> Option<ResolvedToken> {
        let name = &token.entry()?.name;
        let place = place(token);
        let Some(ttl) = token.pick(|token| token.ttl.as_deref()) else {
            self.missing(&place, "ttl", format!("deploy token `{name}` needs a `ttl`"));
            return None;
        };
        // Each document was checked alone before, so that only what the merge makes can be wrong.
        let ttl_ms =
            milliseconds(ttl).ok().filter(|ttl| (TTL_MS_MIN..=TTL_MS_MAX).contains(ttl))?;
        let rotate_before_ms = match token.pick(|token| token.rotate_before.as_deref()) {
            None => ttl_ms / ROTATE_BEFORE_SHARE,
            Some(before) => milliseconds(before).ok()?,
        };
        if rotate_before_ms >= ttl_ms {
            let is_own = token.own_has(|token| token.rotate_before.as_deref());
            let message = format!("deploy token `{name}`: `rotateBefore` is not less than `ttl`");
            let field = if is_own { "rotateBefore" } else { "ttl" };
            let problem = self.blame(&place, place.own.is_some(), &[field], message);
            self.problems.push(problem);
            return None;
        }
        Some(ResolvedToken { name: name.clone(), ttl_ms, rotate_before_ms })
    }
}

fn place(token: &Merged<'_, DeployTokenEntry>) -> Place {
    Place { list: "tokens.deploy", own: token.own.map(|(index, _)| index) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::resolve;
    use super::ResolvedToken;
    use crate::tenant::{TenantClassSpec, TenantSpec};

    fn tokens(own: &Value, class: &Value) -> Result<Vec<ResolvedToken>, Vec<String>> {
        let own: TenantSpec =
            serde_json::from_value(json!({ "class": "c", "tokens": { "deploy": own } })).unwrap();
        let class: TenantClassSpec =
            serde_json::from_value(json!({ "tokens": { "deploy": class } })).unwrap();
        let resolved = resolve("acme", &own, Some(("c", &class)));
        resolved.map(|resolved| resolved.tokens).map_err(|problems| {
            problems.iter().map(|one| format!("{}: {}", one.path, one.message)).collect()
        })
    }

    #[test]
    fn a_tenants_tokens_merge_into_its_classs_by_name() {
        let own = json!([{ "name": "own", "ttl": "1h" }, { "name": "ci", "ttl": "48h" }]);
        let class = json!([{ "name": "ci", "ttl": "24h", "rotateBefore": "6h" }]);
        let resolved = tokens(&own, &class).unwrap();
        let seen: Vec<_> = resolved
            .iter()
            .map(|one| (&*one.name, one.ttl_ms / 60_000, one.rotate_before_ms / 60_000))
            .collect();
        assert_eq!(seen, [("ci", 2_880, 360), ("own", 60, 15)]);
    }

    #[test]
    fn what_only_the_merge_shows_is_told_at_the_tenants_own_value() {
        let class = json!([{ "name": "ci", "rotateBefore": "6h" }]);
        let errors = tokens(&json!([{ "name": "ci", "ttl": "5h" }]), &class).unwrap_err();
        let expected = "spec.tokens.deploy[0].ttl: deploy token `ci`: `rotateBefore` is not less than \
                        `ttl`";
        assert_eq!(errors, [expected]);
        let errors = tokens(&json!([]), &class).unwrap_err();
        let expected = "spec.class: deploy token `ci` needs a `ttl` (in class `c`, \
                        spec.tokens.deploy[].ttl)";
        assert_eq!(errors, [expected]);
    }

    #[test]
    fn a_shared_app_has_no_deploy_token() {
        let spec: TenantSpec = serde_json::from_value(json!({
            "app": { "name": "all", "shared": true },
            "tokens": { "deploy": [{ "name": "ci", "ttl": "1h" }] },
        }))
        .unwrap();
        let problems = resolve("acme", &spec, None).unwrap_err();
        assert_eq!(problems[0].path.to_string(), "spec.tokens.deploy[0].name");
        assert!(problems[0].message.contains("shared app"), "{problems:?}");
    }
}
