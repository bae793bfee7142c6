//! Tokens that GraphQL mints: for one app (`deploy`) or a whole organization (`deploy_organization`).
//!
//! ```text
//!  minted ──▶ opens its app or organization ──▶ expired or revoked ──▶ listed for a while ──▶ gone
//! ```
//!
//! The text of a token is shown once and kept nowhere: only its digest is. Names are not unique.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::world::World;
use crate::world::error::Refusal;
use crate::world::table::Row;

/// Tokens of one organization, the dead ones that are still listed included: ten for each of the most
/// tenants that this emulator is measured with.
const TOKENS_MAX: usize = 100_000;
/// How long a token is listed after its end. The platform's own time is not known.
const LISTED_AFTER_END: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Characters of a name: far above any that is chosen, and a bound on what lists carry.
const NAME_CHARS_MAX: usize = 255;

/// A token of an app or an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitedToken {
    /// Opaque, and growing with time.
    pub id: String,
    /// What its maker calls it; others may be called the same.
    pub name: String,
    /// The organization's slug.
    pub org: String,
    /// The app that it opens, by name; `None` if it opens the organization.
    pub app: Option<String>,
    /// The SHA-256 of its text, in hexadecimal digits.
    pub digest: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it opens nothing any more.
    pub expires_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLimitedToken {
    /// What to call it.
    pub name: String,
    /// The organization's slug.
    pub org: String,
    /// The app that it is to open, by name; `None` for the whole organization.
    pub app: Option<String>,
    /// The SHA-256 of its text, in hexadecimal digits.
    pub digest: String,
    /// How long it is to live.
    pub lifetime: Duration,
}

impl LimitedToken {
    /// The name of its profile at the platform.
    pub const fn profile(&self) -> &'static str {
        if self.app.is_some() { "deploy" } else { "deploy_organization" }
    }

    /// When it stopped or will stop to open anything.
    fn ends_at(&self) -> Timestamp {
        self.revoked_at.map_or(self.expires_at, |revoked| revoked.min(self.expires_at))
    }

    /// When it is no longer listed; the end of time for those that live until then.
    fn forgotten_at(&self) -> Timestamp {
        self.ends_at().checked_add(LISTED_AFTER_END).unwrap_or(Timestamp::MAX)
    }
}

impl Row for LimitedToken {
    fn key(&self) -> &str {
        &self.id
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.org
    }

    fn updated_at(&self) -> Timestamp {
        self.revoked_at.unwrap_or(self.created_at)
    }

    fn deadline(&self) -> Option<Timestamp> {
        Some(self.forgotten_at())
    }

    fn handle(&self) -> Option<String> {
        Some(self.digest.clone())
    }
}

impl World {
    /// Takes a new token, by its digest.
    ///
    /// # Errors
    /// [`Refusal::AppNotFound`] if the app is not one of the organization's, [`Refusal::LimitReached`],
    /// a name that is too long, an end that is out of time's range.
    pub fn add_limited_token(
        &mut self,
        now: Timestamp,
        new: NewLimitedToken,
    ) -> Result<LimitedToken, Refusal> {
        let NewLimitedToken { name, org, app, digest, lifetime } = new;
        if let Some(app) = &app
            && self.open_app(app)?.org != org
        {
            return Err(Refusal::AppNotFound);
        }
        if name.chars().count() > NAME_CHARS_MAX {
            return Err(Refusal::invalid(format!("name: at most {NAME_CHARS_MAX} characters")));
        }
        if self.limited_tokens.count(&org) >= TOKENS_MAX {
            return Err(Refusal::LimitReached("token"));
        }
        let too_long = |_| Refusal::invalid("expiry: that long from now there is no time");
        let expires_at = now.checked_add(lifetime).map_err(too_long)?;
        let id = self.ids.ulid(now);
        let created_at = self.ids.stamp(now);
        let token =
            LimitedToken { id, name, org, app, digest, created_at, expires_at, revoked_at: None };
        self.limited_tokens.insert(token.clone());
        Ok(token)
    }

    /// The token behind a digest, if it has neither expired nor been revoked and its app is not going.
    pub fn limited_token(&self, now: Timestamp, digest: &str) -> Option<&LimitedToken> {
        let found = self.limited_tokens.by_handle(digest)?;
        let open = found.app.as_deref().is_none_or(|app| self.open_app(app).is_ok());
        (open && found.ends_at() > now).then_some(found)
    }

    /// A token by its id or by the digest of its text, whatever its state.
    pub fn find_limited_token(&self, id_or_digest: &str) -> Option<&LimitedToken> {
        let by_id = self.limited_tokens.row(id_or_digest);
        by_id.or_else(|| self.limited_tokens.by_handle(id_or_digest))
    }

    /// The tokens of an organization, or of one of its apps, oldest first.
    pub fn limited_tokens<'a>(
        &'a self,
        org: &str,
        app: Option<&'a str>,
    ) -> impl Iterator<Item = &'a LimitedToken> {
        let tokens = self.limited_tokens.group(org);
        tokens.filter(move |token| app.is_none() || token.app.as_deref() == app)
    }

    /// Revokes a token; one that was revoked before keeps its time.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn revoke_limited_token(
        &mut self,
        now: Timestamp,
        id: &str,
    ) -> Result<LimitedToken, Refusal> {
        if self.limited_tokens.row(id).is_some_and(|token| token.revoked_at.is_none()) {
            let stamp = self.ids.stamp(now);
            self.limited_tokens.change(id, |token| token.revoked_at = Some(stamp));
        }
        self.limited_tokens.row(id).cloned().ok_or(Refusal::NotFound("token"))
    }

    /// The time after which a dead token is not listed any more.
    pub(crate) fn limited_token_due(&mut self, id: &str) {
        self.limited_tokens.remove(id);
    }

    /// Forgets all tokens of an app that is gone: one of its name may come after it.
    pub(crate) fn forget_limited_tokens(&mut self, org: &str, app: &str) {
        let ids: Vec<String> =
            self.limited_tokens(org, Some(app)).map(|token| token.id.clone()).collect();
        for id in ids {
            self.limited_tokens.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::testing::{at, world};

    const HOUR: Duration = Duration::from_secs(3600);

    fn new(app: Option<&str>, digest: &str) -> NewLimitedToken {
        NewLimitedToken {
            name: "vault/u/1".to_owned(),
            org: "local".to_owned(),
            app: app.map(str::to_owned),
            digest: digest.to_owned(),
            lifetime: HOUR,
        }
    }

    #[test]
    fn a_token_opens_until_it_expires_or_is_revoked_and_is_listed_for_a_while() {
        let mut world = world(false);
        let first = world.add_limited_token(at(0), new(Some("app"), "d1")).expect("made");
        let second = world.add_limited_token(at(0), new(Some("app"), "d2")).expect("same name");
        let third = world.add_limited_token(at(0), new(None, "d3")).expect("made");
        let open =
            |world: &World, second, digest| world.limited_token(at(second), digest).is_some();
        assert!(open(&world, 3599, "d1") && !open(&world, 3600, "d1") && !open(&world, 0, "d4"));
        world.revoke_limited_token(at(10), &second.id).expect("revoked");
        let again = world.revoke_limited_token(at(20), &second.id).expect("stays revoked");
        assert_eq!(again.revoked_at, Some(at(10)));
        assert!(!open(&world, 11, "d2") && open(&world, 11, "d3"));
        let listed: Vec<_> =
            world.limited_tokens("local", None).map(|token| token.id.clone()).collect();
        assert_eq!(listed, [&first.id, &second.id, &third.id].map(Clone::clone));
        assert_eq!(world.limited_tokens("local", Some("app")).count(), 2);

        let mut again = World::restore(crate::world::testing::settings(false), world.snapshot());
        assert!(open(&again, 11, "d3") && !open(&again, 11, "d2"));
        again.advance(at(40 * 24 * 3600));
        assert_eq!(again.limited_tokens("local", None).count(), 0);
    }

    #[test]
    fn a_token_is_its_apps_and_goes_with_it() {
        let mut world = world(false);
        let foreign = NewLimitedToken { org: "other".to_owned(), ..new(Some("app"), "d0") };
        assert_eq!(world.add_limited_token(at(0), foreign), Err(Refusal::AppNotFound));
        assert_eq!(
            world.add_limited_token(at(0), new(Some("none"), "d0")),
            Err(Refusal::AppNotFound)
        );
        let endless = NewLimitedToken { lifetime: Duration::MAX, ..new(None, "d0") };
        assert!(matches!(world.add_limited_token(at(0), endless), Err(Refusal::Invalid(_))));
        world.add_limited_token(at(0), new(Some("app"), "d1")).expect("made");
        world.delete_app(at(1), "app").expect("going");
        assert_eq!(world.limited_token(at(1), "d1"), None);
        world.advance(at(24 * 3600));
        world.create_app(at(24 * 3600), crate::world::testing::new_app("app")).expect("made again");
        assert_eq!(world.find_limited_token("d1"), None);
    }
}
