//! The part of a pass that looks at deploy tokens: one list per organization, now and then,
//! and seldom where nobody wants a token.

use std::collections::{BTreeMap, BTreeSet};

use vault_plan::action::ActionKind;
use vault_plan::desired::Desired;
use vault_plan::observed::ObservedOrganization;
use vault_plan::time::UnixMillis;
use vault_plan::token::ObservedTokens;

use super::leftovers::Sight;
use super::{Objects, Reconciler, Settle};
use crate::chain::chain;
use crate::clock::Clock;
use crate::events::Event;
use crate::execute::Turn;
use crate::platform::Platform;
use crate::store::{CredentialKey, CredentialKind, Credentials, Store, StoreError};

impl<P: Platform, S: Store, C: Clock> Reconciler<P, S, C> {
    /// Looks at the tokens of organizations where it is time to, and says what is known of all.
    pub(super) async fn look_at_tokens(
        &self,
        desired: &Desired,
        objects: &Objects,
        organizations: &BTreeMap<String, ObservedOrganization>,
        mode: Settle,
    ) -> Result<ObservedTokens, StoreError> {
        let mut stored = self.store.credentials(CredentialKind::DeployToken).await?;
        let settle_after = self.config.settle_after;
        let mut looks = self.memory().token_looks.clone();
        let due = looks.due(desired, &stored, settle_after, self.clock.now());
        let mut rare = match mode {
            Settle::Write => self.rare_tokens(organizations.keys()),
            Settle::Only => BTreeSet::new(),
        };
        rare.retain(|organization| !looks.are_frequent(organization, self.clock.now()));
        let wanted: BTreeSet<String> = due.into_iter().collect();
        for organization in wanted.union(&rare) {
            let at = self.clock.now();
            let looked = self.platform.tokens(organization).await.map_err(|error| {
                let why = chain(&error);
                tracing::warn!(organization, error = why, "deploy tokens could not be listed");
                why
            });
            let sight = if looked.is_ok() { Sight::Clean } else { Sight::Failed };
            self.memory().rare_tokens.entry(organization.clone()).or_default().looked(sight, at);
            match wanted.contains(organization) {
                true => looks.take(organization, looked, &stored, settle_after, at),
                false => looks.take_rare(organization, looked, at),
            }
        }
        let now = self.clock.now();
        looks.follow(desired, &stored, settle_after, now);
        if mode == Settle::Write {
            // A plan that is only made for somebody may be older than this pass, and keeps nothing.
            self.memory().token_looks = looks.clone();
            let forgotten = looks.forgotten(&stored, settle_after, now);
            self.forget_tokens(&mut stored, forgotten, now).await?;
        }
        let revisions =
            objects.tenants.iter().map(|tenant| (tenant.name.as_str(), objects.revision(tenant)));
        let holds = self.memory().token_setbacks.holds(revisions, now);
        Ok(looks.observed(&stored, holds, now))
    }

    /// The organizations whose tokens are listed now though nobody may want one there.
    fn rare_tokens<'a>(&self, organizations: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
        let (memory, now) = (self.memory(), self.clock.now());
        let is_due =
            |slug: &&String| memory.rare_tokens.get(*slug).is_none_or(|look| look.is_due(now));
        organizations.filter(is_due).cloned().collect()
    }

    async fn forget_tokens(
        &self,
        stored: &mut Credentials,
        forgotten: Vec<(CredentialKey, Option<String>)>,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        if forgotten.is_empty() {
            return Ok(());
        }
        let forgotten: BTreeMap<_, _> = forgotten.into_iter().collect();
        stored.rows.retain(|row| {
            let found = forgotten.get(&row.of.key);
            if let Some(Some(why)) = found {
                (self.tell)(Event::warning(now, &row.of.tenant, "TokenGone", why.clone()));
            }
            found.is_none()
        });
        self.store.remove_credentials(forgotten.into_keys().collect(), None, now).await
    }

    /// Notes what became of a turn's tokens. Whether its failure was about one: then nothing but
    /// the tenant's tokens has to wait.
    pub(super) fn remember_tokens(&self, turn: &Turn, revision: i64, now: UnixMillis) -> bool {
        let mut memory = self.memory();
        for done in &turn.done {
            match (done.kind, &done.id) {
                (ActionKind::RevokeToken, Some(id)) => memory.token_looks.revoked(id),
                (ActionKind::MintToken, _) => {}
                _ => continue,
            }
            memory.token_setbacks.worked(&turn.tenant);
        }
        let is_about_tokens =
            matches!(turn.failed, Some(ActionKind::MintToken | ActionKind::RevokeToken));
        match &turn.failure {
            Some(failure) if is_about_tokens => {
                let message = failure.message.clone();
                memory.token_setbacks.failed(&turn.tenant, revision, failure.hold, message, now);
            }
            _ => {}
        }
        is_about_tokens
    }
}
