//! Deploy tokens: a number is used once, and what is live is wanted, and its value is there.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret as _;
use vault_controller::identity::SealedFor;
use vault_controller::store::{CredentialKind, CredentialState, StoredCredential};
use vault_emulator::world::World;
use vault_plan::time::UnixMillis;
use vault_plan::token::read_platform_name;

use super::Oracles;
use super::storage::is_known_to_be_gone;
use crate::controller::Controller;
use crate::universe::BEGIN_MS;
use crate::workload::{Manifest, ORGANIZATIONS, Token};

/// How long after its overlap a token may still be live, in milliseconds: until the next pass that
/// looks whole, and its call.
const REVOKED_WITHIN_MS: i64 = 60_000;

/// How long a second token of a name may be live, if one call was carried out twice, in milliseconds:
/// until the next list of tokens, which is read by the first pass after five minutes. While a story
/// rests, passes are ten minutes apart.
const DOUBLED_WITHIN_MS: i64 = 900_000 + REVOKED_WITHIN_MS;

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

/// What is wrong with a controller's live tokens, given what people want. `names` are all tenants that
/// there ever were.
#[must_use]
pub fn unlike_tokens(
    world: &World,
    oracles: &Oracles,
    place: usize,
    controller: &Controller,
    (manifest, names): (&Manifest, &BTreeSet<String>),
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
    let mut live: BTreeMap<(String, &str), Vec<i64>> = BTreeMap::new();
    let tokens = ORGANIZATIONS.iter().flat_map(|organization| {
        world.limited_tokens(organization, None).filter(|token| {
            oracles.foreign.owner(&token.id) == Some(place)
                && token.revoked_at.is_none()
                && token.expires_at.as_millisecond() > BEGIN_MS + now_ms
        })
    });
    let forgets = oracles.pardons.disk_lost || oracles.pardons.disk_restored;
    let tenants: BTreeMap<_, _> = manifest
        .tenants
        .iter()
        .map(|(name, tenant)| (controller.id.tenant_uid(name), tenant))
        .collect();
    // Without the disk that knew its tenant, one whose tenant is gone is known to be ours only by what
    // else is left of it. Its own name carries an identity that nobody can turn back into a tenant's,
    // and that may be another controller's.
    let explained: BTreeSet<_> = names
        .iter()
        .map(|name| (controller.id.tenant_uid(name), name))
        .filter(|(uid, name)| is_known_to_be_gone(world, *uid, name))
        .map(|(uid, _)| uid)
        .collect();
    // Nor does anybody touch what a tenant has that is left alone.
    let is_left_alone = |name: &str| match read_platform_name(name) {
        Some((uid, _)) => match tenants.get(&uid) {
            Some(tenant) => tenant.paused,
            None => forgets && !explained.contains(&uid),
        },
        None => false,
    };
    let tokens: Vec<_> = tokens.collect();
    let kept_names: BTreeSet<&str> = tokens
        .iter()
        .filter(|token| kept.contains_key(token.id.as_str()))
        .map(|token| token.name.as_str())
        .collect();
    for token in tokens {
        let made_ms = token.created_at.as_millisecond() - BEGIN_MS;
        let Some((tenant, name, value)) = kept.get(token.id.as_str()) else {
            let is_doubled =
                kept_names.contains(token.name.as_str()) && now_ms - made_ms < DOUBLED_WITHIN_MS;
            if is_left_alone(&token.name) || is_doubled {
                continue;
            }
            return Some(format!("deploy token {} is live, and nobody keeps it", token.name));
        };
        // The platform of a run takes the value itself for its digest.
        if value.as_deref() != Some(token.digest.as_str()) {
            return Some(format!("deploy token {} is live, and its value is lost", token.name));
        }
        live.entry((tenant.clone(), name)).or_default().push(made_ms);
    }
    let cared_for = manifest.tenants.iter().filter(|(_, tenant)| !tenant.paused);
    let wanted: BTreeMap<(String, &str), &Token> = cared_for
        .flat_map(|(name, tenant)| {
            tenant.tokens.iter().map(|token| ((name.clone(), token.name), token))
        })
        .collect();
    if let Some((tenant, name)) = wanted.keys().find(|wanted| !live.contains_key(wanted)) {
        return Some(format!("tenant {tenant} has no live deploy token {name}"));
    }
    let is_paused =
        |tenant: &String| manifest.tenants.get(tenant).is_some_and(|tenant| tenant.paused);
    live.into_iter().filter(|((tenant, _), _)| !is_paused(tenant)).find_map(|(of, mut made_ms)| {
        let (tenant, name) = of;
        let (count, token) = (made_ms.len(), wanted.get(&(tenant.clone(), name)));
        made_ms.sort_unstable();
        // The newest, and the one before it for the overlap.
        let allowed = match (token, made_ms.pop()) {
            (Some(token), Some(newest)) => {
                1 + usize::from(now_ms - newest < token.overlap_ms() + REVOKED_WITHIN_MS)
            }
            _ => 0,
        };
        let message = || format!("{count} deploy tokens {name} of tenant {tenant} are live");
        (count > allowed).then(message)
    })
}

/// The deploy tokens whose values a controller keeps.
#[must_use]
pub fn kept_tokens(controller: &Controller) -> Vec<StoredCredential> {
    let live = controller.disk.live_credentials(CredentialKind::DeployToken);
    live.map(|(row, _)| row.clone()).collect()
}

/// How many calls the times of a manifest's tokens asked for, while of what a controller kept `before`
/// became what it keeps `after`, which is `now`: each minted the next one when its time had come, or
/// revoked the one before when the next had been there for the overlap. No rest is without these.
#[must_use]
pub fn calls_in_time(
    manifest: &Manifest,
    before: &[StoredCredential],
    after: &[StoredCredential],
    now: UnixMillis,
) -> u64 {
    let cared_for = manifest.tenants.iter().filter(|(_, tenant)| !tenant.paused);
    let tokens = cared_for
        .flat_map(|(name, tenant)| tenant.tokens.iter().map(move |token| (name.as_str(), token)));
    let calls = tokens.map(|(tenant, token)| {
        let (before, after) = (lives(before, tenant, token), lives(after, tenant, token));
        let (Some(newest_before), Some(newest)) = (before.last(), after.last()) else { return 0 };
        let is_minted = newest.n > newest_before.n && newest.live_at >= newest_before.rotates_at;
        let overlaps_until = newest.live_at.plus_ms(token.overlap_ms());
        let goes = |life: &&Life| life.n < newest.n && now >= overlaps_until && now < life.ends_at;
        let revoked = before.iter().filter(goes).filter(|life| !after.contains(life));
        usize::from(is_minted) + revoked.count()
    });
    calls.sum::<usize>() as u64
}

/// The times of one token.
#[derive(PartialEq)]
struct Life {
    n: u64,
    live_at: UnixMillis,
    /// When the next one is to be minted, as the manifest has it.
    rotates_at: UnixMillis,
    ends_at: UnixMillis,
}

/// Those of one name, by their numbers.
fn lives(rows: &[StoredCredential], tenant: &str, token: &Token) -> Vec<Life> {
    let is_of = |row: &&StoredCredential| row.of.tenant == tenant && row.of.name == token.name;
    let mut lives: Vec<Life> = rows
        .iter()
        .filter(is_of)
        .filter_map(|row| {
            let CredentialState::Live { live_at, expires_at, .. } = row.state else { return None };
            let ends_at = live_at.plus_ms(i64::from(token.ttl_min) * 60_000);
            let ends_at = expires_at.map_or(ends_at, |expires_at| ends_at.min(expires_at));
            let rotates_at = ends_at.plus_ms(-i64::from(token.rotate_before_min) * 60_000);
            Some(Life { n: row.of.key.n, live_at, rotates_at, ends_at })
        })
        .collect();
    lives.sort_by_key(|life| life.n);
    lives
}

#[cfg(test)]
mod tests {
    use vault_controller::store::{CredentialKey, NewCredential};
    use vault_plan::identity::TenantUid;

    use super::*;
    use crate::workload::{Group, Tenant};

    const MINUTE_MS: i64 = 60_000;
    /// Minted again after an hour, good for an hour and a half; two are there for a quarter of an hour.
    const TOKEN: Token = Token { name: "ci", ttl_min: 90, rotate_before_min: 30 };

    fn kept(n: u64, live_min: i64) -> StoredCredential {
        let tenant_uid = TenantUid::read("a89bbd66-2fb6-56ca-9aba-6cc78c238482").unwrap();
        let of = NewCredential {
            key: CredentialKey { kind: CredentialKind::DeployToken, tenant_uid, n },
            tenant: "acme".to_owned(),
            name: "ci".to_owned(),
            organization: "local".to_owned(),
            app: "acme-app".to_owned(),
        };
        let live_at = UnixMillis(live_min * MINUTE_MS);
        let expires_at = Some(live_at.plus_ms(90 * MINUTE_MS));
        let state = CredentialState::Live { id: n.to_string(), live_at, expires_at };
        StoredCredential { of, state, sent_at: live_at }
    }

    fn in_time(before: &[StoredCredential], after: &[StoredCredential], now_min: i64) -> u64 {
        let tenant = Tenant { tokens: vec![TOKEN], ..Tenant::new(vec![Group::new("box")]) };
        let manifest = Manifest::of(&[("acme", tenant)]);
        calls_in_time(&manifest, before, after, UnixMillis(now_min * MINUTE_MS))
    }

    #[test]
    fn a_token_goes_in_time_once_the_next_was_there_for_the_overlap() {
        let (first, second) = ([kept(1, 0)], [kept(2, 60)]);
        let both = [kept(1, 0), kept(2, 60)];
        assert_eq!(in_time(&both, &second, 75), 1);
        assert_eq!(in_time(&both, &second, 74), 0, "it is too early");
        assert_eq!(in_time(&both, &both, 75), 0, "nothing was done");
        assert_eq!(in_time(&both, &first, 75), 0, "that is the wrong one");
        assert_eq!(in_time(&both, &second, 90), 0, "it had come to its end by itself");
    }

    #[test]
    fn a_token_is_minted_in_time_once_the_one_before_ends_soon() {
        let first = [kept(1, 0)];
        assert_eq!(in_time(&first, &[kept(1, 0), kept(2, 60)], 60), 1);
        assert_eq!(in_time(&first, &[kept(1, 0), kept(2, 59)], 60), 0, "it is too early");
        assert_eq!(in_time(&[], &first, 0), 0, "what is missing has no time");
    }

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
