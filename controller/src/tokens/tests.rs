use vault_plan::desired::DesiredTenant;
use vault_plan::token::DesiredToken;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::platform::DeployToken;
use crate::store::{CredentialKind, NewCredential};
use crate::testing::{NOW, ORG, controller};

const WAIT: Duration = Duration::from_secs(10);
const HOUR: i64 = 3_600_000;

fn row(n: u64, state: CredentialState) -> StoredCredential {
    let tenant_uid = controller().tenant_uid("acme");
    let key = CredentialKey { kind: CredentialKind::DeployToken, tenant_uid, n };
    let of = NewCredential {
        key,
        tenant: "acme".to_owned(),
        name: "ci".to_owned(),
        organization: ORG.to_owned(),
        app: "acme-app".to_owned(),
    };
    StoredCredential { of, state, sent_at: NOW }
}

fn live(n: u64) -> StoredCredential {
    let id = format!("id-{n}");
    row(n, CredentialState::Live { id, live_at: NOW, expires_at: Some(NOW.plus_ms(24 * HOUR)) })
}

fn stored(rows: Vec<StoredCredential>) -> Credentials {
    Credentials { rows, ..Credentials::default() }
}

fn list(ids: &[u64]) -> Result<TokenList, String> {
    let uid = controller().tenant_uid("acme");
    let tokens = ids.iter().map(|n| DeployToken {
        id: format!("id-{n}"),
        name: format!("vault/{uid}/{n}"),
        expires_at: None,
        revoked: false,
    });
    Ok(TokenList { tokens: tokens.collect(), unreadable: 0 })
}

fn desired(with_tokens: bool) -> Desired {
    let token = DesiredToken { name: "ci".into(), ttl_ms: HOUR, rotate_before_ms: HOUR / 4 };
    let tenant = DesiredTenant {
        name: "acme".into(),
        uid: controller().tenant_uid("acme"),
        organization: ORG.into(),
        app: "acme-app".to_owned(),
        app_is_named: false,
        app_is_shared: false,
        deleting: false,
        paused: false,
        reports_drift: false,
        secrets: Vec::new(),
        tokens: with_tokens.then_some(token).into_iter().collect(),
        buckets: Vec::new(),
        slots: Arc::default(),
        machines: Ok(Vec::new()),
    };
    let controller = controller();
    Desired {
        controller,
        controller_mark: controller.to_string(),
        tenants: vec![tenant],
        contested: BTreeMap::new(),
    }
}

#[test]
fn a_look_is_due_at_first_then_rarely_and_soon_while_an_answer_is_missing() {
    let nothing = stored(vec![]);
    let mut looks = Looks::default();
    let due = |looks: &Looks, with_tokens, stored: &Credentials, after_ms| {
        !looks.due(&desired(with_tokens), stored, WAIT, NOW.plus_ms(after_ms)).is_empty()
    };
    assert!(!due(&looks, false, &nothing, 0), "nobody has tokens");
    assert!(due(&looks, true, &nothing, 0));
    assert!(due(&looks, false, &stored(vec![live(1)]), 0), "somebody had some");
    looks.take(ORG, list(&[]), &nothing, WAIT, NOW);
    let minting = stored(vec![row(1, CredentialState::Minting)]);
    for (stored, after_ms, expected) in [
        (&nothing, LOOK_VALID_MS - 1, false),
        (&nothing, LOOK_VALID_MS, true),
        (&minting, LOOK_SOON_MS - 1, false),
        (&minting, LOOK_SOON_MS, true),
    ] {
        assert_eq!(due(&looks, true, stored, after_ms), expected, "{after_ms}");
    }
    // Once a list answers the question, there is none.
    looks.take(ORG, list(&[]), &minting, WAIT, NOW.plus_ms(10_000));
    assert!(!due(&looks, true, &minting, 10_000 + LOOK_SOON_MS));
    looks.take(ORG, Err("no".to_owned()), &nothing, WAIT, NOW.plus_ms(20_000));
    assert!(!due(&looks, true, &nothing, 20_000 + LOOK_RETRY_MS - 1));
    assert!(due(&looks, true, &nothing, 20_000 + LOOK_RETRY_MS));
}

#[test]
fn who_keeps_no_token_any_more_is_listed_once_more_when_the_last_mint_can_have_acted_twice() {
    let (nothing, kept) = (stored(vec![]), stored(vec![live(1)]));
    let uid = controller().tenant_uid("acme");
    let mut looks = Looks::default();
    let wait_ms = milliseconds(WAIT);
    let due = |looks: &Looks, stored: &Credentials, after_ms| {
        !looks.due(&desired(false), stored, WAIT, NOW.plus_ms(after_ms)).is_empty()
    };
    looks.take(ORG, list(&[]), &nothing, WAIT, NOW);
    looks.follow(&desired(false), &kept, WAIT, NOW);
    assert!(!due(&looks, &kept, wait_ms), "who keeps one is looked at now and then anyway");
    // Its last one was revoked, and its row is gone.
    looks.follow(&desired(false), &nothing, WAIT, NOW);
    assert!(!due(&looks, &nothing, wait_ms - 1));
    assert!(due(&looks, &nothing, wait_ms));
    assert!(looks.observed(&nothing, BTreeMap::new(), NOW).doubtful.contains(&uid));
    looks.take(ORG, list(&[1]), &nothing, WAIT, NOW.plus_ms(wait_ms - 1));
    looks.follow(&desired(false), &nothing, WAIT, NOW);
    assert!(due(&looks, &nothing, wait_ms - 1 + LOOK_SOON_MS), "that list was too early");
    let at = NOW.plus_ms(wait_ms);
    looks.take(ORG, list(&[1]), &nothing, WAIT, at);
    looks.follow(&desired(false), &nothing, WAIT, NOW);
    assert!(!due(&looks, &nothing, wait_ms + 2 * LOOK_VALID_MS), "it is told all");
    let observed = looks.observed(&nothing, BTreeMap::new(), at);
    assert!(observed.doubtful.is_empty());
    assert_eq!(observed.listed[&uid].len(), 1, "the planner sees what is left");
    looks.follow(&desired(false), &kept, WAIT, NOW);
    assert!(looks.observed(&kept, BTreeMap::new(), at).doubtful.is_empty(), "an old one is known");
}

/// What an earlier process minted may still be made twice, and once a tenant is gone nobody can tell
/// whose a token is.
#[test]
fn a_tenant_that_goes_after_a_restart_waits_for_a_late_list_if_it_ever_had_a_token() {
    let mut going = desired(false);
    going.tenants[0].deleting = true;
    let uid = going.tenants[0].uid;
    let mut looks = Looks::default();
    let mut is_doubtful = |at_ms: i64, last_n: u64| {
        let at = NOW.plus_ms(at_ms);
        let stored = Credentials { last_n: BTreeMap::from([(uid, last_n)]), ..stored(vec![]) };
        for organization in looks.due(&going, &stored, WAIT, at) {
            looks.take(&organization, list(&[]), &stored, WAIT, at);
        }
        looks.follow(&going, &stored, WAIT, at);
        looks.observed(&stored, BTreeMap::new(), at).doubtful.contains(&uid)
    };
    assert!(!is_doubtful(0, 0), "it never had one");
    assert!(is_doubtful(1, 7), "what was sent may still act");
    assert!(is_doubtful(7_000, 7), "and it still may");
    assert!(!is_doubtful(10_000, 7));
    assert!(!is_doubtful(24 * HOUR, 7), "that is known once and for all");
}

#[test]
fn what_was_never_made_is_forgotten_only_on_the_word_of_a_late_list() {
    let minting = stored(vec![row(3, CredentialState::Minting)]);
    let forgotten = |at_ms: i64, shown: &[u64]| {
        let mut looks = Looks::default();
        looks.take(ORG, list(shown), &minting, WAIT, NOW.plus_ms(at_ms));
        looks.forgotten(&minting, WAIT, NOW.plus_ms(at_ms)).len()
    };
    assert_eq!(forgotten(9_999, &[]), 0, "it may still be made");
    assert_eq!(forgotten(10_000, &[]), 1);
    assert_eq!(forgotten(10_000, &[2]), 1);
    assert_eq!(forgotten(10_000, &[3]), 0, "it is there, and has to be revoked");
    assert_eq!(Looks::default().forgotten(&minting, WAIT, NOW.plus_ms(HOUR)).len(), 0);
}

#[test]
fn one_that_is_missing_is_gone_after_two_lists_that_show_others() {
    let both = stored(vec![live(1), live(2)]);
    let mut looks = Looks::default();
    let gone = |looks: &Looks, at: i64| looks.forgotten(&both, WAIT, NOW.plus_ms(at));
    looks.take(ORG, list(&[2]), &both, WAIT, NOW.plus_ms(9_999));
    looks.take(ORG, list(&[2]), &both, WAIT, NOW.plus_ms(HOUR));
    assert_eq!(gone(&looks, HOUR), [], "too young for the first, and one list may lie");
    looks.take(ORG, list(&[2]), &both, WAIT, NOW.plus_ms(HOUR + LOOK_VALID_MS));
    let told = gone(&looks, HOUR + LOOK_VALID_MS);
    assert_eq!(told[0].1.as_deref(), Some("somebody else removed deploy token ci (1)"));
    assert_eq!((told.len(), told[0].0.n), (1, 1));
    // A list that shows none of ours proves nothing, and neither does one that cannot be read whole.
    for partial in
        [Ok(TokenList::default()), list(&[2]).map(|list| TokenList { unreadable: 1, ..list })]
    {
        let mut looks = Looks::default();
        for look in 0..5 {
            let at = NOW.plus_ms(HOUR + look * LOOK_VALID_MS);
            looks.take(ORG, partial.clone(), &both, WAIT, at);
        }
        assert_eq!(gone(&looks, 2 * HOUR), []);
    }
}

#[test]
fn what_has_ended_or_was_revoked_opens_nothing_and_is_not_told_to_the_planner() {
    let mut shown = list(&[1, 2, 3]).unwrap();
    shown.tokens[0].revoked = true;
    shown.tokens[1].expires_at = Some(NOW);
    let nothing = stored(vec![]);
    let mut looks = Looks::default();
    looks.take(ORG, Ok(shown), &nothing, WAIT, NOW);
    let listed = |looks: &Looks| {
        let observed = looks.observed(&nothing, BTreeMap::new(), NOW);
        let all = observed.listed.into_values().flatten();
        all.map(|token| token.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(&looks), ["id-3"]);
    looks.revoked("id-3");
    assert_eq!(listed(&looks), Vec::<String>::new());
    let ended = stored(vec![live(1)]);
    assert_eq!(looks.forgotten(&ended, WAIT, NOW.plus_ms(24 * HOUR))[0].1, None);
}

#[test]
fn a_list_that_is_too_old_is_none() {
    let nothing = stored(vec![]);
    let mut looks = Looks::default();
    looks.take(ORG, list(&[]), &nothing, WAIT, NOW);
    looks.take(ORG, Err("no answer".to_owned()), &nothing, WAIT, NOW.plus_ms(LOOK_VALID_MS));
    let seen = |at| looks.observed(&nothing, BTreeMap::new(), NOW.plus_ms(at)).looks[ORG].clone();
    assert_eq!(seen(LOOK_VALID_MS), Ok(()), "the one before still counts");
    let expected = "the list of tokens could not be read: no answer";
    assert_eq!(seen(2 * LOOK_VALID_MS), Err(expected.to_owned()));
}
