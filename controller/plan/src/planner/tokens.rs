//! A tenant's deploy tokens: after everything else of its turn, so that a platform that mints none
//! keeps no machine waiting.

use super::Planner;
use super::draft::{Draft, hold_reason};
use crate::action::Action;
use crate::token::{self, Decision};

impl<'a> Planner<'a> {
    /// Plans what the tenant's tokens need; whether any are left of a tenant that goes.
    pub(super) fn tokens(&self, draft: &mut Draft<'a>) -> bool {
        let tenant = draft.tenant;
        let Decision { revocations, mints, notes, reports, is_left } =
            token::decide(tenant, &self.observed.tokens, self.now);
        draft.tokens = reports;
        notes.into_iter().for_each(|note| draft.add(note));
        let any = !revocations.is_empty() || !mints.is_empty();
        let hold = self.observed.tokens.holds.get(&*tenant.name);
        if let Some(hold) = hold.filter(|hold| any && self.now < hold.until) {
            draft.note(hold_reason(hold), hold.message.clone());
            return is_left;
        }
        for (revoke, reason) in revocations {
            draft.act(Action::RevokeToken(revoke), reason);
        }
        for (mint, reason) in mints {
            draft.act(Action::MintToken(mint), reason);
        }
        is_left
    }
}
