//! Deploy tokens: their names at the platform, and what has to happen to a tenant's.
//!
//! ```text
//!   wanted, none live ───────────────────────────────▶ mint n+1
//!   wanted, within rotateBefore of its end ──────────▶ mint n+1; the one before stays for the overlap
//!   a newer one has been live for the overlap ───────▶ revoke
//!   no longer in the manifest, or the tenant goes ───▶ revoke
//!   listed under our name, and nobody has its value ─▶ revoke
//!   being minted, and the answer was lost ───────────▶ wait: the list shows it, or never will
//! ```
//!
//! A token's value is shown once, in the answer to its creation. So a creation is never repeated: a
//! number is used once, and what a lost answer left behind is revoked by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::action::Action;
use crate::desired::DesiredTenant;
use crate::identity::TenantUid;
use crate::observed::Hold;
use crate::report::{Note, NoteReason};
use crate::time::UnixMillis;

/// What the platform's names of our credentials begin with.
const NAME_PREFIX: &str = "vault/";

/// The least time between two mints of one name, in milliseconds: whatever ends the platform gives to
/// tokens, no pass mints as fast as it can.
const REST_MS: i64 = 10_000;

/// The name at the platform of a tenant's `n`th credential. It carries the tenant's uid, and so our
/// controller's identity: whatever is called so is ours.
#[must_use]
pub fn platform_name(tenant: TenantUid, n: u64) -> String {
    format!("{NAME_PREFIX}{tenant}/{n}")
}

/// Whose credential a name at the platform says it is, and its number, if that can be read.
#[must_use]
pub fn read_platform_name(name: &str) -> Option<(TenantUid, Option<u64>)> {
    let (uid, n) = name.strip_prefix(NAME_PREFIX)?.split_once('/')?;
    // Only the one form that we write: a number with a sign or zeros before it is not ours.
    let uid = TenantUid::read(uid)?;
    let n = n.parse().ok().filter(|parsed: &u64| parsed.to_string() == n);
    Some((uid, n))
}

/// One deploy token that should exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredToken {
    /// As in the manifest.
    pub name: Arc<str>,
    /// How long each one is good, in milliseconds.
    pub ttl_ms: i64,
    /// How long before its end the next one is minted, in milliseconds; less than `ttl_ms`.
    pub rotate_before_ms: i64,
}

impl DesiredToken {
    /// How long the one before stays good once the next one exists, in milliseconds: half of
    /// `rotateBefore`, and less where the next but one would come before that is over.
    #[must_use]
    pub fn overlap_ms(&self) -> i64 {
        (self.rotate_before_ms / 2).min(self.ttl_ms - self.rotate_before_ms)
    }

    /// When the next one is to be minted, given the newest. A `ttl` that was shortened since counts;
    /// of one that the platform gave a shorter life, the same share is left.
    #[must_use]
    pub fn next_rotation(&self, live_at: UnixMillis, expires_at: UnixMillis) -> UnixMillis {
        let end = expires_at.min(live_at.plus_ms(self.ttl_ms));
        let life = i128::from(end.since_ms(live_at));
        let before = life * i128::from(self.rotate_before_ms) / i128::from(self.ttl_ms.max(1));
        let before = i64::try_from(before).unwrap_or(self.rotate_before_ms);
        end.plus_ms(-before).max(live_at.plus_ms(REST_MS))
    }
}

/// What is known of deploy tokens.
#[derive(Clone, Debug, Default)]
pub struct ObservedTokens {
    /// What the controller keeps, by the tenants' uids.
    pub known: BTreeMap<TenantUid, KnownTokens>,
    /// What the organizations' lists show of tokens that still open something, by the uids in their
    /// names.
    pub listed: BTreeMap<TenantUid, Vec<ListedToken>>,
    /// The organizations whose tokens were looked at: whether that worked lately, or why not.
    pub looks: BTreeMap<String, Result<(), String>>,
    /// Tenants for whom more tokens may have been made than any list could show yet: the platform may
    /// carry one call out twice.
    pub doubtful: BTreeSet<TenantUid>,
    /// Tenants for whose tokens nothing may be done yet.
    pub holds: BTreeMap<String, Hold>,
}

/// The tokens of one tenant that the controller keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownTokens {
    /// The highest number that was ever used; 0 for none.
    pub last_n: u64,
    /// The tokens, in the order of their numbers.
    pub tokens: Vec<KnownToken>,
}

/// A token that the controller keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownToken {
    /// As in the manifest.
    pub name: Arc<str>,
    /// Its number.
    pub n: u64,
    /// The app that it opens.
    pub app: String,
    /// How far it is.
    pub state: TokenState,
}

/// How far a token is that the controller keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Its creation was sent, and the answer was lost, or is still to come.
    Minting,
    /// Its value is there.
    Live {
        /// The platform's id.
        id: String,
        /// Since when.
        live_at: UnixMillis,
        /// When it ends.
        expires_at: UnixMillis,
    },
}

/// A token of one of our names, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedToken {
    /// The platform's id.
    pub id: String,
    /// Its name: `vault/UID/N`.
    pub name: String,
    /// Its number, if that can be read.
    pub n: Option<u64>,
}

/// A token to be minted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintToken {
    /// Its name at the platform: `vault/UID/N`.
    pub platform_name: String,
    /// Its name in the manifest.
    pub name: Arc<str>,
    /// Its number: never used before.
    pub n: u64,
    /// Whose it is.
    pub tenant_uid: TenantUid,
    /// How long it is to be good, in milliseconds.
    pub ttl_ms: i64,
    /// The number of the one that it is to replace, if that still opens something.
    pub replaces: Option<u64>,
}

/// A token to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeToken {
    /// The platform's id.
    pub id: String,
    /// Its name at the platform: `vault/UID/N`.
    pub platform_name: String,
    /// Its number, if its name tells.
    pub n: Option<u64>,
    /// Whose it is.
    pub tenant_uid: TenantUid,
}

impl MintToken {
    /// What is made, for people.
    #[must_use]
    pub fn target(&self) -> String {
        format!("deploy token {} ({})", self.name, self.platform_name)
    }
}

impl RevokeToken {
    /// What goes, for people.
    #[must_use]
    pub fn target(&self) -> String {
        format!("deploy token {}", self.platform_name)
    }
}

impl Action {
    /// Whether a tenant that is as wanted stays so while this is done: nothing that anybody uses
    /// changes for it.
    #[must_use]
    pub fn keeps_ready(&self) -> bool {
        match self {
            Self::MintToken(token) => token.replaces.is_some(),
            Self::RevokeToken(_)
            | Self::RevokeAccessKey(_)
            | Self::EmptyBucket(_)
            | Self::DeleteBucket(_) => true,
            _ => false,
        }
    }
}

/// Where one wanted token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenReport {
    /// As in the manifest.
    pub name: Arc<str>,
    /// The newest one that can be had.
    pub current: Option<CurrentToken>,
}

/// The newest token of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurrentToken {
    /// Its number.
    pub n: u64,
    /// When it ends.
    pub expires_at: UnixMillis,
    /// When the next one is minted.
    pub next_rotation: UnixMillis,
}

/// What is to be done about a tenant's tokens.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    /// In this order: what goes, and then what is made.
    pub(crate) revocations: Vec<(RevokeToken, &'static str)>,
    pub(crate) mints: Vec<(MintToken, String)>,
    pub(crate) notes: Vec<Note>,
    pub(crate) reports: Vec<TokenReport>,
    /// Something of a tenant that goes is left, or may be.
    pub(crate) is_left: bool,
}

/// A token whose value is there, and that has not ended.
#[derive(Clone, Copy)]
struct Live<'a> {
    token: &'a KnownToken,
    id: &'a str,
    live_at: UnixMillis,
    expires_at: UnixMillis,
}

/// Decides about the tokens of one tenant.
pub(crate) fn decide(
    tenant: &DesiredTenant,
    observed: &ObservedTokens,
    now: UnixMillis,
) -> Decision {
    let known = observed.known.get(&tenant.uid);
    let listed = observed.listed.get(&tenant.uid).map_or(&[][..], Vec::as_slice);
    let tokens = known.map_or(&[][..], |known| &known.tokens);
    let is_doubtful = observed.doubtful.contains(&tenant.uid);
    if tenant.tokens.is_empty() && tokens.is_empty() && listed.is_empty() && !is_doubtful {
        return Decision::default();
    }
    let live: Vec<Live<'_>> = tokens.iter().filter_map(|token| alive(token, now)).collect();
    let unclaimed = |token: &&ListedToken| live.iter().all(|one| one.id != token.id);
    let unclaimed: Vec<&ListedToken> = listed.iter().filter(unclaimed).collect();
    // What the list shows is revoked by this very plan: its creation is no open question any more.
    let is_open = |token: &&KnownToken| {
        token.state == TokenState::Minting
            && unclaimed.iter().all(|listed| listed.n != Some(token.n))
    };
    let open = tokens.iter().filter(is_open).collect();
    let look = match observed.looks.get(&*tenant.organization) {
        Some(look) => look.as_ref().map(|&()| ()).map_err(String::as_str),
        None => Err("they have not been listed yet"),
    };
    let mut decision = Decision::default();
    decision.revoke_unclaimed(tenant, &unclaimed);
    decision.revoke_unwanted(tenant, &live);
    if tenant.deleting {
        decision.is_left =
            !tokens.is_empty() || !unclaimed.is_empty() || look.is_err() || is_doubtful;
        if let Err(why) = look {
            let message = format!("deploy tokens may be left: {why}");
            decision.notes.push(Note::new(NoteReason::Unobserved, message));
        } else if is_doubtful {
            let message = "waiting for a list of deploy tokens that shows all that were minted";
            decision.notes.push(Note::new(NoteReason::Unsettled, message.to_owned()));
        }
        return decision;
    }
    let numbers = tokens.iter().map(|token| token.n).chain(listed.iter().filter_map(|one| one.n));
    let highest = numbers.max().unwrap_or(0).max(known.map_or(0, |known| known.last_n));
    let mut seen = Seen { live, open, look, next: highest.saturating_add(1), now };
    for wanted in &*tenant.tokens {
        decision.want(tenant, wanted, &mut seen);
    }
    decision
}

/// What was found of a tenant's tokens.
struct Seen<'a> {
    live: Vec<Live<'a>>,
    /// Those of which nobody knows whether they were made.
    open: Vec<&'a KnownToken>,
    /// Why the list is not known, if it is not.
    look: Result<(), &'a str>,
    /// The first number that was never used.
    next: u64,
    now: UnixMillis,
}

fn alive(token: &KnownToken, now: UnixMillis) -> Option<Live<'_>> {
    match &token.state {
        TokenState::Live { id, live_at, expires_at } if now < *expires_at => {
            Some(Live { token, id, live_at: *live_at, expires_at: *expires_at })
        }
        TokenState::Live { .. } | TokenState::Minting => None,
    }
}

/// Whether a token is one of that name for the app that the tenant has now.
fn is_of(token: &KnownToken, tenant: &DesiredTenant, name: &str) -> bool {
    *token.name == *name && token.app == tenant.app
}

impl Decision {
    /// Plans what one wanted token needs.
    fn want(&mut self, tenant: &DesiredTenant, wanted: &DesiredToken, seen: &mut Seen<'_>) {
        let of_name = |one: &&Live<'_>| is_of(one.token, tenant, &wanted.name);
        let mut of_name: Vec<Live<'_>> = seen.live.iter().filter(of_name).copied().collect();
        of_name.sort_unstable_by_key(|one| std::cmp::Reverse(one.token.n));
        self.retire(tenant, wanted, &of_name, seen.now);
        let current = of_name.first().map(|one| CurrentToken {
            n: one.token.n,
            expires_at: one.expires_at,
            next_rotation: wanted.next_rotation(one.live_at, one.expires_at),
        });
        self.reports.push(TokenReport { name: Arc::clone(&wanted.name), current });
        let reason = match current {
            Some(current) if seen.now < current.next_rotation => return,
            Some(current) => format!("token {} ends soon", current.n),
            None => "there is none".to_owned(),
        };
        if let Some(waiting) = seen.open.iter().find(|token| token.name == wanted.name) {
            let message = format!(
                "waiting for deploy token {} ({}): its answer was lost, and whether it was made is \
                 not known yet",
                wanted.name, waiting.n
            );
            self.notes.push(Note::new(NoteReason::Unsettled, message));
        } else if let Err(why) = seen.look {
            let message = format!("deploy token {}: {why}", wanted.name);
            self.notes.push(Note::new(NoteReason::Unobserved, message));
        } else {
            let mint = MintToken {
                platform_name: platform_name(tenant.uid, seen.next),
                name: Arc::clone(&wanted.name),
                n: seen.next,
                tenant_uid: tenant.uid,
                ttl_ms: wanted.ttl_ms,
                replaces: current.map(|current| current.n),
            };
            seen.next = seen.next.saturating_add(1);
            self.mints.push((mint, reason));
        }
    }

    /// Revokes what is listed under our names and whose value nobody has.
    fn revoke_unclaimed(&mut self, tenant: &DesiredTenant, unclaimed: &[&ListedToken]) {
        for token in unclaimed {
            let revoke = RevokeToken {
                id: token.id.clone(),
                platform_name: token.name.clone(),
                n: token.n,
                tenant_uid: tenant.uid,
            };
            self.revocations.push((revoke, "nobody has its value"));
        }
    }

    fn revoke_unwanted(&mut self, tenant: &DesiredTenant, live: &[Live<'_>]) {
        for one in live {
            let mut wanted = tenant.tokens.iter();
            if tenant.deleting {
                self.revoke(tenant, one, "the tenant is being deleted");
            } else if !wanted.any(|wanted| is_of(one.token, tenant, &wanted.name)) {
                self.revoke(tenant, one, "the manifest no longer names it");
            }
        }
    }

    /// Revokes those of one name, newest first, that newer ones have replaced.
    fn retire(
        &mut self,
        tenant: &DesiredTenant,
        wanted: &DesiredToken,
        of_name: &[Live<'_>],
        now: UnixMillis,
    ) {
        let Some((newest, older)) = of_name.split_first() else { return };
        for (place, one) in older.iter().enumerate() {
            if place > 0 || now >= newest.live_at.plus_ms(wanted.overlap_ms()) {
                self.revoke(tenant, one, "a newer one has taken its place");
            }
        }
    }

    fn revoke(&mut self, tenant: &DesiredTenant, live: &Live<'_>, reason: &'static str) {
        let revoke = RevokeToken {
            id: live.id.to_owned(),
            platform_name: platform_name(tenant.uid, live.token.n),
            n: Some(live.token.n),
            tenant_uid: tenant.uid,
        };
        self.revocations.push((revoke, reason));
    }
}

#[cfg(test)]
mod tests;
