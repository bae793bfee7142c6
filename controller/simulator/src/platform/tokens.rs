//! Deploy tokens: any number may have one name, and each value is shown once.

use std::time::Duration;

use secrecy::SecretString;
use vault_controller::platform::{DeployToken, MintedToken, NewDeployToken, TokenList};
use vault_emulator::world::Refusal;
use vault_emulator::world::limited_token::NewLimitedToken;

use super::{Call, effects};
use crate::lists;
use crate::universe::Universe;

pub(super) fn list(universe: &mut Universe, call: &Call) -> Result<TokenList, Refusal> {
    let tokens = universe.world.limited_tokens(&call.organization, None);
    let tokens = tokens.map(|token| DeployToken {
        id: token.id.clone(),
        name: token.name.clone(),
        expires_at: Some(lists::millis(token.expires_at)),
        revoked: token.revoked_at.is_some(),
    });
    Ok(TokenList { tokens: tokens.collect(), unreadable: 0 })
}

pub(super) fn mint(
    universe: &mut Universe,
    call: &Call,
    new: &NewDeployToken,
) -> Result<MintedToken, Refusal> {
    let now = universe.timestamp();
    effects::touches(universe, call);
    let org = universe.world.app(&call.app, |_| true)?.org.clone();
    // What opens nothing here need not be hard to guess, only be another each time.
    let value = format!("{:032x}", universe.chance.u128(..));
    let minted = NewLimitedToken {
        name: new.name.clone(),
        org,
        app: Some(call.app.clone()),
        digest: value.clone(),
        lifetime: Duration::max(new.lifetime, Duration::from_secs(1)),
    };
    let made = universe.world.add_limited_token(now, minted)?;
    universe.oracles.made_token(universe.now_ms(), call, &made.id);
    Ok(MintedToken {
        id: made.id,
        value: SecretString::from(value),
        expires_at: Some(lists::millis(made.expires_at)),
    })
}

pub(super) fn revoke(universe: &mut Universe, call: &Call) -> Result<(), Refusal> {
    let now = universe.timestamp();
    if universe.world.find_limited_token(&call.subject).is_some() {
        let now_ms = universe.now_ms();
        universe.oracles.touches_subject(now_ms, call);
    }
    universe.world.revoke_limited_token(now, &call.subject).map(drop)
}
