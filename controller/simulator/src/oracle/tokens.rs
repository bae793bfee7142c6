//! Deploy tokens: a number is used once, and what is live is wanted, and its value is there.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret as _;
use vault_controller::identity::SealedFor;
use vault_controller::store::{CredentialKind, CredentialState};
use vault_emulator::world::World;

use super::ForeignOracle;
use crate::controller::Controller;
use crate::universe::BEGIN_MS;
use crate::workload::{Manifest, ORGANIZATIONS};

/// Most live tokens of one name: the newest, and the one before it for the overlap.
const LIVE_MAX: usize = 2;

/// Watches what is minted.
#[derive(Debug, Default)]
pub struct TokenOracle {
    /// Names that were given, with their controllers' places.
    minted: BTreeSet<(usize, String)>,
}

impl TokenOracle {
    /// What is wrong with a credential of that name being made by a controller. `is_repeated` says that
    /// the platform carries one call out twice; `forgets` that its disk was lost, and with it what it
    /// knew of numbers.
    pub fn minted(
        &mut self,
        controller: usize,
        name: &str,
        is_repeated: bool,
        forgets: bool,
    ) -> Option<String> {
        let is_new = self.minted.insert((controller, name.to_owned()));
        (!is_new && !is_repeated && !forgets)
            .then(|| format!("{name} is made a second time: its number was used before"))
    }
}

/// What is wrong with a controller's live tokens, given what people want.
#[must_use]
pub fn unlike_tokens(
    world: &World,
    owners: &ForeignOracle,
    place: usize,
    controller: &Controller,
    manifest: &Manifest,
    now_ms: i64,
) -> Option<String> {
    let kept: BTreeMap<&str, (String, &str, Option<String>)> = controller
        .disk
        .live_credentials(CredentialKind::DeployToken)
        .filter_map(|(row, sealed)| {
            let CredentialState::Live { id, .. } = &row.state else { return None };
            let key = row.of.key;
            let of = SealedFor {
                tenant: key.tenant_uid,
                kind: key.kind.word(),
                name: &row.of.name,
                n: key.n,
            };
            let value = controller.secrets.sealer().open(of, sealed).ok();
            let value = value.map(|value| value.expose_secret().to_owned());
            Some((id.as_str(), (row.of.tenant.clone(), row.of.name.as_str(), value)))
        })
        .collect();
    let mut live: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let tokens = ORGANIZATIONS.iter().flat_map(|organization| {
        world.limited_tokens(organization, None).filter(|token| {
            owners.owner(&token.id) == Some(place)
                && token.revoked_at.is_none()
                && token.expires_at.as_millisecond() > BEGIN_MS + now_ms
        })
    });
    for token in tokens {
        let Some((tenant, name, value)) = kept.get(token.id.as_str()) else {
            return Some(format!("deploy token {} is live, and nobody keeps it", token.name));
        };
        // The platform of a run takes the value itself for its digest.
        if value.as_deref() != Some(token.digest.as_str()) {
            return Some(format!("deploy token {} is live, and its value is lost", token.name));
        }
        *live.entry((tenant.clone(), name)).or_default() += 1;
    }
    let wanted: BTreeSet<(String, &str)> = manifest
        .tenants
        .iter()
        .filter(|(_, tenant)| !tenant.paused)
        .flat_map(|(name, tenant)| tenant.tokens.iter().map(|token| (name.clone(), *token)))
        .collect();
    if let Some((tenant, name)) = wanted.iter().find(|wanted| !live.contains_key(wanted)) {
        return Some(format!("tenant {tenant} has no live deploy token {name}"));
    }
    let mut surplus = live.iter().filter(|(of, count)| !wanted.contains(of) || **count > LIVE_MAX);
    let ((tenant, name), count) = surplus.next()?;
    Some(format!("{count} deploy tokens {name} of tenant {tenant} are live"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_minted_once_by_each_controller() {
        let mut oracle = TokenOracle::default();
        assert_eq!(oracle.minted(0, "vault/u/1", false, false), None);
        assert_eq!(oracle.minted(0, "vault/u/1", true, false), None, "one call, carried out twice");
        assert_eq!(oracle.minted(0, "vault/u/1", false, true), None, "it cannot know");
        assert_eq!(oracle.minted(1, "vault/u/1", false, false), None);
        let message = oracle.minted(0, "vault/u/1", false, false).unwrap();
        assert!(message.contains("vault/u/1"), "{message}");
    }
}
