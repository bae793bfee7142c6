//! Deploy tokens: each opens one app, until it expires. Their texts are shown once and kept nowhere.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Belonging, Thing};
use crate::world::World;
use crate::world::error::Refusal;

/// A deploy token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployToken {
    /// The SHA-256 of its text, in hexadecimal digits.
    pub digest: String,
    /// When it opens nothing any more.
    pub expires_at: Timestamp,
}

impl World {
    /// Takes a new token of an app, by its digest.
    ///
    /// # Errors
    /// [`Refusal::AppNotFound`], [`Refusal::LimitReached`], an end that is out of time's range.
    pub fn add_deploy_token(
        &mut self,
        now: Timestamp,
        app: &str,
        digest: String,
        lifetime: Duration,
    ) -> Result<Belonging, Refusal> {
        let too_long = |_| Refusal::invalid("expiry: that long from now there is no time");
        let expires_at = now.checked_add(lifetime).map_err(too_long)?;
        let id = self.ids.nonce();
        self.set_belonging(now, app, &id, Thing::Token(DeployToken { digest, expires_at }))
    }

    /// The token behind a digest, if it has not expired and its app is not going.
    pub fn deploy_token(&self, now: Timestamp, digest: &str) -> Option<&Belonging> {
        // The table is ordered by digests of tokens: how far a comparison comes tells nothing that
        // helps to find a text.
        let found = self.belongings.by_handle(digest)?;
        let lives = matches!(&found.thing, Thing::Token(token) if token.expires_at > now);
        (lives && self.open_app(&found.app).is_ok()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::testing::{at, world};

    #[test]
    fn a_token_opens_its_app_until_it_expires() {
        let mut world = world(false);
        let hour = Duration::from_secs(3600);
        world.add_deploy_token(at(0), "app", "d1".to_owned(), hour).expect("added");
        assert_eq!(world.deploy_token(at(3599), "d1").map(|found| found.app.as_str()), Some("app"));
        assert_eq!(world.deploy_token(at(3600), "d1"), None);
        assert_eq!(world.deploy_token(at(0), "d2"), None);
        let endless = world.add_deploy_token(at(0), "app", "d3".to_owned(), Duration::MAX);
        assert!(matches!(endless, Err(Refusal::Invalid(_))));
        world.delete_app(at(1), "app").expect("going");
        assert_eq!(world.deploy_token(at(1), "d1"), None);
    }
}
