//! What is known of deploy tokens, and the looks that keep it true: pure.
//!
//! ```text
//!   store: what we minted ──┐
//!                           ├─▶ observed ─▶ planner
//!   list, now and then ─────┘
//!      └─▶ forgotten: never made, ended, revoked or removed by somebody else
//! ```
//!
//! One list per organization shows all tokens. It is read when a tenant first has some, every few
//! minutes from then on, and soon again while the answer to a mint is missing. What is done in
//! between is written into the list that is remembered.
//!
//! A platform that carries one mint out twice leaves a second token of the same name, of which only a
//! list tells. So whoever had one minted is listed once more when that can have acted, although nobody
//! keeps a token by then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use vault_plan::desired::Desired;
use vault_plan::identity::TenantUid;
use vault_plan::observed::Hold;
use vault_plan::time::UnixMillis;
use vault_plan::token::{
    KnownToken, KnownTokens, ListedToken, ObservedTokens, TokenState, read_platform_name,
};

use crate::platform::TokenList;
use crate::store::{CredentialKey, CredentialState, Credentials, StoredCredential};

/// How long a list is good for, in milliseconds. A stray token does no more harm in five minutes than
/// in one, and this costs a fleet of any size one call per organization.
pub const LOOK_VALID_MS: i64 = 300_000;
/// The least time between two looks while an answer is missing, in milliseconds.
pub const LOOK_SOON_MS: i64 = 2_000;
/// The least time between two looks while they fail, in milliseconds.
pub const LOOK_RETRY_MS: i64 = 10_000;
/// How long a token must be missing from lists before it is taken to be gone, in milliseconds: two
/// looks, because lists lag, and one may lie.
pub const ABSENT_MS: i64 = LOOK_VALID_MS - LOOK_RETRY_MS;

/// What is remembered of looks, by organization. All of it may be lost.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    organizations: BTreeMap<String, Look>,
    /// When these looks began: what was minted before that is not remembered.
    began: Option<UnixMillis>,
}

/// The looks at one organization.
#[derive(Clone, Debug, Default)]
struct Look {
    tried_at: Option<UnixMillis>,
    /// The last list that could be read.
    seen: Option<Arc<Seen>>,
    /// Why the last look failed, if it did.
    failure: Option<String>,
    /// Tokens of ours that are missing from the list, by id, and since when.
    absent: BTreeMap<String, UnixMillis>,
    /// The tenants for whom a token was minted, and when that was sent last, until a list is young
    /// enough to show all that came of it.
    minted: BTreeMap<TenantUid, UnixMillis>,
    /// Nobody wanted a token here when it was made: nothing but what a lost database forgot is read
    /// off it.
    is_rare: bool,
}

#[derive(Clone, Debug)]
struct Seen {
    /// When it was asked for.
    at: UnixMillis,
    /// Tokens of our names, by id: every pass asks for each token that is stored.
    tokens: BTreeMap<String, SeenToken>,
}

#[derive(Clone, Debug)]
struct SeenToken {
    tenant: TenantUid,
    token: ListedToken,
    expires_at: Option<UnixMillis>,
    revoked: bool,
}

impl Looks {
    /// The organizations to look at now: those that have, or are to have, tokens, and whose list is
    /// too old, or does not answer an open question yet.
    #[must_use]
    pub fn due(
        &self,
        desired: &Desired,
        stored: &Credentials,
        settle_after: Duration,
        now: UnixMillis,
    ) -> Vec<String> {
        let with_tokens = desired.tenants.iter().filter(|tenant| !tenant.tokens.is_empty());
        let mut organizations: BTreeSet<&str> =
            with_tokens.map(|tenant| &*tenant.organization).collect();
        organizations.extend(stored.rows.iter().map(|row| row.of.organization.as_str()));
        let owing = self.organizations.iter().filter(|(_, look)| !look.minted.is_empty());
        organizations.extend(owing.map(|(organization, _)| organization.as_str()));
        let keepers: BTreeSet<TenantUid> =
            stored.rows.iter().map(|row| row.of.key.tenant_uid).collect();
        let is_due = |organization: &&str| {
            let look = self.organizations.get(*organization);
            let Some((look, tried_at)) = look.and_then(|look| Some((look, look.tried_at?))) else {
                return true;
            };
            let is_open = |row: &StoredCredential| {
                row.of.organization == **organization
                    && row.state == CredentialState::Minting
                    && !look.answers(row, settle_after)
            };
            // Whoever keeps one is listed every few minutes anyway.
            let may_be_left = look.minted.iter().any(|(tenant, sent_at)| {
                !keepers.contains(tenant) && now >= sent_at.plus_ms(milliseconds(settle_after))
            });
            let wait_ms = match &look.failure {
                Some(_) => LOOK_RETRY_MS,
                None if may_be_left => LOOK_SOON_MS,
                None if stored.rows.iter().any(is_open) => LOOK_SOON_MS,
                None => LOOK_VALID_MS,
            };
            now.since_ms(tried_at) >= wait_ms
        };
        organizations.into_iter().filter(is_due).map(str::to_owned).collect()
    }

    /// Takes in a look that was begun at `at`, and notes which stored tokens it misses.
    pub fn take(
        &mut self,
        organization: &str,
        looked: Result<TokenList, String>,
        stored: &Credentials,
        settle_after: Duration,
        at: UnixMillis,
    ) {
        let look = self.organizations.entry(organization.to_owned()).or_default();
        look.is_rare = false;
        look.tried_at = Some(at);
        let list = match looked {
            Ok(list) => list,
            Err(why) => {
                look.failure = Some(why);
                return;
            }
        };
        look.failure = None;
        let ids: BTreeSet<&str> = list.tokens.iter().map(|token| token.id.as_str()).collect();
        let live = stored.rows.iter().filter(|row| row.of.organization == organization);
        let live: Vec<(&str, UnixMillis)> = live
            .filter_map(|row| match &row.state {
                CredentialState::Live { id, live_at, .. } => Some((id.as_str(), *live_at)),
                CredentialState::Minting => None,
            })
            .collect();
        // A list that shows none of ours is wrong about all of them, or shows other tokens. And one
        // with rows that cannot be read may show it there.
        let proves = list.unreadable == 0 && live.iter().any(|(id, _)| ids.contains(id));
        let wait_ms = milliseconds(settle_after);
        let missing = live.iter().filter(|(id, live_at)| {
            proves && !ids.contains(id) && at.since_ms(*live_at) >= wait_ms
        });
        let missing: BTreeMap<String, UnixMillis> = missing
            .map(|(id, _)| ((*id).to_owned(), look.absent.get(*id).copied().unwrap_or(at)))
            .collect();
        look.absent = missing;
        look.seen = Some(Arc::new(Seen { at, tokens: of_our_names(list) }));
    }

    /// Notes for whom tokens were minted, and forgets those of whom the last list tells all. It is
    /// called after the looks of each pass, and each token stands in the store for at least one.
    pub fn follow(
        &mut self,
        desired: &Desired,
        stored: &Credentials,
        settle_after: Duration,
        now: UnixMillis,
    ) {
        for row in &stored.rows {
            if let Some(look) = self.organizations.get_mut(&row.of.organization) {
                let sent_at = look.minted.entry(row.of.key.tenant_uid).or_insert(row.sent_at);
                *sent_at = row.sent_at.max(*sent_at);
            }
        }
        // Of an earlier process's mints nothing is remembered, and nobody can tell whose a token is once
        // its tenant is gone: whoever goes, and ever had one, may have had one minted just before.
        let began = *self.began.get_or_insert(now);
        let had = |uid: &TenantUid| stored.last_n.get(uid).is_some_and(|last_n| *last_n > 0);
        for tenant in desired.tenants.iter().filter(|tenant| tenant.deleting && had(&tenant.uid)) {
            let look = self.organizations.entry(tenant.organization.to_string()).or_default();
            look.minted.entry(tenant.uid).or_insert(began);
        }
        let wait_ms = milliseconds(settle_after);
        for look in self.organizations.values_mut() {
            if let Some(seen_at) = look.seen.as_ref().map(|seen| seen.at) {
                look.minted.retain(|_, sent_at| seen_at < sent_at.plus_ms(wait_ms));
            }
        }
    }

    /// Whether an organization is looked at every few minutes anyway, because somebody wants a token.
    #[must_use]
    pub fn are_frequent(&self, organization: &str, now: UnixMillis) -> bool {
        let look = self.organizations.get(organization);
        look.and_then(|look| look.tried_at).is_some_and(|at| now.since_ms(at) < 2 * LOOK_VALID_MS)
    }

    /// Takes in a look at an organization where nobody wants a token. One that failed is made again
    /// sometime.
    pub fn take_rare(
        &mut self,
        organization: &str,
        looked: Result<TokenList, String>,
        at: UnixMillis,
    ) {
        let Ok(list) = looked else { return };
        let new = || Look { is_rare: true, ..Look::default() };
        let look = self.organizations.entry(organization.to_owned()).or_insert_with(new);
        look.seen = Some(Arc::new(Seen { at, tokens: of_our_names(list) }));
    }

    /// The tenants that tokens which were seen belong to, by their identities.
    #[must_use]
    pub fn tenants(&self) -> BTreeSet<TenantUid> {
        let seen = self.organizations.values().filter_map(|look| look.seen.as_ref());
        seen.flat_map(|seen| seen.tokens.values()).map(|token| token.tenant).collect()
    }

    /// Notes that a token was revoked since the last look.
    pub fn revoked(&mut self, id: &str) {
        for look in self.organizations.values_mut() {
            if let Some(seen) = look.seen.as_mut().filter(|seen| seen.tokens.contains_key(id)) {
                Arc::make_mut(seen).tokens.remove(id);
            }
        }
    }

    /// What the store need not keep any longer, and why, as far as somebody else did it.
    #[must_use]
    pub fn forgotten(
        &self,
        stored: &Credentials,
        settle_after: Duration,
        now: UnixMillis,
    ) -> Vec<(CredentialKey, Option<String>)> {
        let nothing = Look::default();
        let mut forgotten = Vec::new();
        for row in &stored.rows {
            let look = self.organizations.get(&row.of.organization).unwrap_or(&nothing);
            let why = match &row.state {
                // The list is younger than the last moment at which it could have been made.
                CredentialState::Minting if look.answers(row, settle_after) => None,
                CredentialState::Live { expires_at: Some(end), .. } if *end <= now => None,
                CredentialState::Live { id, .. } if look.has_revoked(id) => Some("revoked"),
                CredentialState::Live { id, .. } if look.is_absent(id) => Some("removed"),
                CredentialState::Minting | CredentialState::Live { .. } => continue,
            };
            let why = why.map(|what| {
                let (name, n) = (&row.of.name, row.of.key.n);
                format!("somebody else {what} deploy token {name} ({n})")
            });
            forgotten.push((row.of.key, why));
        }
        forgotten
    }

    /// In the planner's words.
    #[must_use]
    pub fn observed(
        &self,
        stored: &Credentials,
        holds: BTreeMap<String, Hold>,
        now: UnixMillis,
    ) -> ObservedTokens {
        let mut observed = ObservedTokens { holds, ..ObservedTokens::default() };
        for (tenant, last_n) in &stored.last_n {
            observed.known.entry(*tenant).or_default().last_n = *last_n;
        }
        for row in &stored.rows {
            let known: &mut KnownTokens = observed.known.entry(row.of.key.tenant_uid).or_default();
            known.tokens.push(known_token(row));
        }
        for (organization, look) in &self.organizations {
            let is_recent = |seen: &&Arc<Seen>| now.since_ms(seen.at) < 2 * LOOK_VALID_MS;
            let looked = match (look.seen.as_ref().filter(is_recent), &look.failure) {
                (Some(_), _) => Ok(()),
                (None, Some(why)) => Err(format!("the list of tokens could not be read: {why}")),
                (None, None) => Err("the list of tokens is too old".to_owned()),
            };
            if !look.is_rare {
                observed.looks.insert(organization.clone(), looked);
            }
            observed.doubtful.extend(look.minted.keys());
            let seen = look.seen.iter().flat_map(|seen| seen.tokens.values());
            let opens =
                |seen: &&SeenToken| !seen.revoked && seen.expires_at.is_none_or(|end| now < end);
            for SeenToken { tenant, token, .. } in seen.filter(opens) {
                observed.listed.entry(*tenant).or_default().push(token.clone());
            }
        }
        observed
    }
}

/// The tokens that may be ours, by id.
fn of_our_names(list: TokenList) -> BTreeMap<String, SeenToken> {
    let named = list.tokens.into_iter().filter_map(|token| {
        let (tenant, n) = read_platform_name(&token.name)?;
        let (expires_at, revoked) = (token.expires_at, token.revoked);
        let token = ListedToken { id: token.id, name: token.name, n };
        Some((token.id.clone(), SeenToken { tenant, token, expires_at, revoked }))
    });
    named.collect()
}

impl Look {
    /// Whether the list tells that a token which is being minted was never made: it was asked for
    /// after the last moment at which it could have been, and does not show it.
    fn answers(&self, row: &StoredCredential, settle_after: Duration) -> bool {
        let Some(seen) = &self.seen else { return false };
        let until = row.sent_at.plus_ms(milliseconds(settle_after));
        let is_it = |seen: &SeenToken| {
            seen.tenant == row.of.key.tenant_uid && seen.token.n == Some(row.of.key.n)
        };
        let opens =
            |token: &SeenToken| !token.revoked && token.expires_at.is_none_or(|end| seen.at < end);
        seen.at >= until && !seen.tokens.values().any(|token| is_it(token) && opens(token))
    }

    fn has_revoked(&self, id: &str) -> bool {
        let token = self.seen.as_ref().and_then(|seen| seen.tokens.get(id));
        token.is_some_and(|token| token.revoked)
    }

    fn is_absent(&self, id: &str) -> bool {
        let (Some(since), Some(seen)) = (self.absent.get(id), &self.seen) else { return false };
        seen.at.since_ms(*since) >= ABSENT_MS
    }
}

impl StoredCredential {
    /// Whether this is what the platform calls by that id: it is, or nobody knows yet.
    #[must_use]
    pub fn may_be(&self, id: &str) -> bool {
        match &self.state {
            CredentialState::Minting => true,
            CredentialState::Live { id: own, .. } => own == id,
        }
    }
}

fn known_token(row: &StoredCredential) -> KnownToken {
    let state = match &row.state {
        CredentialState::Minting => TokenState::Minting,
        CredentialState::Live { id, live_at, expires_at } => TokenState::Live {
            id: id.clone(),
            live_at: *live_at,
            // Deploy tokens have an end; one without is as good as one that never comes to it.
            expires_at: expires_at.unwrap_or(UnixMillis(i64::MAX)),
        },
    };
    KnownToken {
        name: row.of.name.as_str().into(),
        n: row.of.key.n,
        app: row.of.app.clone(),
        state,
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
