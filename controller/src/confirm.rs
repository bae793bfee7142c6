//! A last look before a volume is made in an app that was there before.
//!
//! ```text
//!   plan ─▶ to_confirm ─▶ each app's own list of volumes ─▶ shown: added ─▶ plan again
//!                                      │                 └▶ fewer than counted, or no answer: a gap
//! ```
//!
//! Names of volumes are not unique, so the platform would not refuse a second one, and with an empty
//! database nothing is known by id: a list that is wrongly empty would cost a tenant its data. Two
//! more witnesses are heard before that: the app's own list, and the count in the list of apps. Neither
//! knows of a request that is still on its way: while a database is so young that one of before its time
//! may be, no volume is made in an app that was there.

mod apps;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use vault_plan::action::AppPlace;
use vault_plan::observed::{ObservedOrganization, VolumeGap};
use vault_plan::time::UnixMillis;

use crate::chain::chain;
use crate::in_turn::in_turn;
use crate::platform::Platform;

pub(crate) use apps::confirm_apps;

/// How many apps are asked in one pass, side by side. Those beyond wait for their turn.
const LOOKS_MAX: usize = 64;

/// Leaves these apps unasked while a volume that nobody remembers may still come to be in them.
pub(crate) fn put_off(
    places: &BTreeSet<AppPlace>,
    organizations: &mut BTreeMap<String, ObservedOrganization>,
) {
    for place in places {
        if let Some(observed) = organizations.get_mut(&*place.organization) {
            let why = "the database is new, and what was asked for before it may still come";
            observed.gaps.volumes.insert(place.app.clone(), VolumeGap::Unread(why.to_owned()));
        }
    }
}

/// Asks these apps for their volumes and adds what they say; whether there was anything to ask.
pub(crate) async fn confirm<P: Platform>(
    platform: &P,
    places: &BTreeSet<AppPlace>,
    organizations: &mut BTreeMap<String, ObservedOrganization>,
    now: UnixMillis,
) -> bool {
    let (turn, others) = in_turn(places.iter().collect(), LOOKS_MAX, now);
    let looks = turn.into_iter().map(|place| async move {
        let list = platform.app_volumes(&place.app).await.map_err(|error| chain(&error));
        (place, list)
    });
    for (place, list) in join_all(looks).await {
        let Some(observed) = organizations.get_mut(&*place.organization) else { continue };
        let counted = match observed.gaps.volumes.remove(&place.app) {
            Some(VolumeGap::Counted(count)) => count,
            Some(VolumeGap::Unread(_)) | None => 0,
        };
        let gap = match list {
            Ok(list) if list.unreadable > 0 => {
                let why = format!("{} rows could not be read", list.unreadable);
                Some(VolumeGap::Unread(why))
            }
            Ok(list) => {
                let shown = list.volumes.len() + list.departing.len();
                let in_app = observed.volumes.iter().filter(|volume| volume.app == place.app);
                let known: BTreeSet<String> = in_app.map(|volume| volume.id.clone()).collect();
                let news = list.volumes.into_iter().filter(|volume| !known.contains(&volume.id));
                observed.volumes.extend(news);
                ((shown as u64) < counted).then_some(VolumeGap::Counted(counted))
            }
            Err(why) => Some(VolumeGap::Unread(why)),
        };
        if let Some(gap) = gap {
            observed.gaps.volumes.insert(place.app.clone(), gap);
        }
    }
    for place in others {
        if let Some(observed) = organizations.get_mut(&*place.organization) {
            let why = "other apps are asked first".to_owned();
            observed.gaps.volumes.insert(place.app.clone(), VolumeGap::Unread(why));
        }
    }
    !places.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakePlatform, NOW, ORG, rejected};

    #[tokio::test]
    async fn apps_that_never_answer_keep_nobody_from_being_asked() {
        let app = |number: usize| format!("app-{number:03}");
        let place = |number| AppPlace { organization: ORG.into(), app: app(number) };
        let places: BTreeSet<AppPlace> = (0..LOOKS_MAX + 8).map(place).collect();
        let last = app(LOOKS_MAX + 7);
        let platform = FakePlatform::default();
        let mut asked = 0;
        for pass in 0..40 {
            let lists = ObservedOrganization::default();
            let mut organizations = BTreeMap::from([(ORG.to_owned(), lists)]);
            for _ in 0..LOOKS_MAX {
                platform.fail("app_volumes", rejected(403, "no"), false);
            }
            let now = NOW.plus_ms(pass * 10_000);
            assert!(confirm(&platform, &places, &mut organizations, now).await);
            let gaps = &organizations[ORG].gaps.volumes;
            assert_eq!(gaps.len(), places.len(), "nobody gets a volume without an answer");
            let VolumeGap::Unread(why) = &gaps[&last] else { panic!("{gaps:?}") };
            asked += usize::from(why != "other apps are asked first");
        }
        assert!(asked > 20, "{asked} of 40 passes asked the last one");
        assert_eq!(platform.calls().reads, 40 * LOOKS_MAX as u64);
    }
}
