//! What cannot be undone: looked at once more, by name and by id, at the moment of the call.
//!
//! ```text
//!   list (some seconds old) ─▶ plan ─▶ look at it alone ─ as planned? ─▶ delete
//!                                            └ otherwise ─▶ nothing; the next pass decides anew
//! ```

use vault_plan::action::DeleteVolume;
use vault_plan::observed::HoldKind;

use super::{Applied, Failure, settle};
use crate::chain::chain;
use crate::platform::{AppContents, Platform};

/// Deletes a volume, unless it is no longer what the plan saw. One that is gone is as good as
/// deleted. The platform itself refuses one that a machine holds.
pub(super) async fn volume<P: Platform>(platform: &P, app: &str, volume: &DeleteVolume) -> Applied {
    let seen = match platform.volume(app, &volume.id).await {
        Ok(None) => return Applied::Done(None),
        Ok(Some(seen)) => seen,
        Err(error) => return not_looked_at(&chain(&error)),
    };
    if let Some(holder) = &seen.attached_machine {
        return not_done(format!("volume {} is held by machine {holder}", volume.id));
    }
    if seen.name != volume.name || seen.app != app {
        return not_done(format!("volume {} is called {} now", volume.id, seen.name));
    }
    match platform.delete_volume(app, &volume.id).await {
        Err(error) if error.is_not_found() => Applied::Done(None),
        deleted => settle(deleted.map(|()| None)),
    }
}

/// Deletes an app that holds nothing of anybody. The platform would delete what is in it as well,
/// so everything is asked for first: what a person added keeps it.
pub(super) async fn app<P: Platform>(platform: &P, organization: &str, app: &str) -> Applied {
    let contents = match platform.app_contents(app).await {
        Ok(None) => return Applied::Done(None),
        Ok(Some(contents)) => contents,
        Err(error) => return not_looked_at(&chain(&error)),
    };
    if let Some(obstacle) = obstacle(&contents, organization) {
        let message = format!("app {app} is kept: {obstacle}");
        return Applied::NotDone(Failure { hold: HoldKind::Refused, message });
    }
    match platform.delete_app(app).await {
        Err(error) if error.is_not_found() => Applied::Done(None),
        deleted => settle(deleted.map(|()| None)),
    }
}

/// What in an app speaks against its deletion, if anything does.
fn obstacle(contents: &AppContents, organization: &str) -> Option<String> {
    if contents.organization != organization {
        return Some(format!("it is in organization {}", contents.organization));
    }
    [
        (contents.machines, "machines"),
        (contents.volumes, "volumes"),
        (contents.certificates, "certificates, which somebody added"),
        (contents.addresses, "IP addresses, which somebody added"),
    ]
    .into_iter()
    .find(|(count, _)| *count > 0)
    .map(|(count, what)| format!("it holds {count} {what}"))
}

fn not_done(message: String) -> Applied {
    Applied::NotDone(Failure { hold: HoldKind::BackOff, message })
}

fn not_looked_at(error: &str) -> Applied {
    not_done(format!("it could not be looked at once more: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_in_an_app_keeps_it() {
        let empty = AppContents { organization: "local".to_owned(), ..AppContents::default() };
        assert_eq!(obstacle(&empty, "local"), None);
        for (contents, word) in [
            (AppContents { machines: 1, ..empty.clone() }, "machines"),
            (AppContents { volumes: 1, ..empty.clone() }, "volumes"),
            (AppContents { certificates: 1, ..empty.clone() }, "certificates"),
            (AppContents { addresses: 2, ..empty.clone() }, "addresses"),
            (AppContents { organization: "other".to_owned(), ..empty }, "organization"),
        ] {
            assert!(obstacle(&contents, "local").unwrap().contains(word), "{contents:?}");
        }
    }
}
