use std::sync::Arc;

use super::*;
use crate::action::PlannedAction;
use crate::identity::ControllerId;

const NOW: UnixMillis = UnixMillis(1_000_000_000);
const HOUR: i64 = 3_600_000;
const ORGANIZATION: &str = "local";

fn uid() -> TenantUid {
    ControllerId::from_bytes([7; 16]).tenant_uid("acme")
}

/// `ci`, good for 24 hours, replaced 6 hours before its end.
fn ci() -> DesiredToken {
    DesiredToken { name: "ci".into(), ttl_ms: 24 * HOUR, rotate_before_ms: 6 * HOUR }
}

fn tenant(tokens: Vec<DesiredToken>) -> DesiredTenant {
    DesiredTenant {
        name: "acme".into(),
        uid: uid(),
        organization: ORGANIZATION.into(),
        app: "acme-app".to_owned(),
        app_is_named: false,
        app_is_shared: false,
        deleting: false,
        paused: false,
        reports_drift: false,
        secrets: Vec::new(),
        tokens: tokens.into(),
        buckets: Vec::new(),
        slots: Arc::default(),
        machines: Ok(Vec::new()),
    }
}

fn minting(name: &str, n: u64) -> KnownToken {
    KnownToken { name: name.into(), n, app: "acme-app".to_owned(), state: TokenState::Minting }
}

/// A token whose value is there, so many hours old.
fn live(name: &str, n: u64, hours: i64) -> KnownToken {
    let live_at = NOW.plus_ms(-hours * HOUR);
    let id = format!("id-{n}");
    let state = TokenState::Live { id, live_at, expires_at: live_at.plus_ms(24 * HOUR) };
    KnownToken { state, ..minting(name, n) }
}

fn listed(id: &str, n: u64) -> ListedToken {
    ListedToken { id: id.to_owned(), name: platform_name(uid(), n), n: Some(n) }
}

fn observed(last_n: u64, known: Vec<KnownToken>, shown: Vec<ListedToken>) -> ObservedTokens {
    ObservedTokens {
        known: BTreeMap::from([(uid(), KnownTokens { last_n, tokens: known })]),
        listed: BTreeMap::from([(uid(), shown)]),
        looks: BTreeMap::from([(ORGANIZATION.to_owned(), Ok(()))]),
        doubtful: BTreeSet::new(),
        holds: BTreeMap::new(),
    }
}

/// What is decided, as text: `revoke ID`, `mint NAME N`, and the notes' reasons.
fn picture(tenant: &DesiredTenant, observed: &ObservedTokens) -> String {
    let decision = decide(tenant, observed, NOW);
    let revoked = decision.revocations.iter().map(|(token, _)| format!("revoke {}", token.id));
    let minted = decision.mints.iter().map(|(token, _)| {
        let replaces = token.replaces.map(|n| format!(" for {n}")).unwrap_or_default();
        format!("mint {} {}{replaces}", token.name, token.n)
    });
    let notes = decision.notes.iter().map(|note| note.reason.word().to_owned());
    revoked.chain(minted).chain(notes).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_state_of_one_token_has_its_next_step() {
    let wanted = tenant(vec![ci()]);
    let table = [
        ("nothing is known", observed(0, vec![], vec![]), "mint ci 1"),
        ("numbers are used once", observed(7, vec![], vec![]), "mint ci 8"),
        ("it is fresh", observed(1, vec![live("ci", 1, 1)], vec![listed("id-1", 1)]), ""),
        ("just before its rotation", observed(1, vec![live("ci", 1, 17)], vec![]), ""),
        ("at its rotation", observed(1, vec![live("ci", 1, 18)], vec![]), "mint ci 2 for 1"),
        ("it has ended", observed(1, vec![live("ci", 1, 24)], vec![]), "mint ci 2"),
        ("the overlap", observed(2, vec![live("ci", 1, 20), live("ci", 2, 2)], vec![]), ""),
        (
            "the overlap is over",
            observed(2, vec![live("ci", 1, 21), live("ci", 2, 3)], vec![]),
            "revoke id-1",
        ),
        (
            "never more than one besides the newest",
            observed(3, vec![live("ci", 1, 2), live("ci", 2, 1), live("ci", 3, 1)], vec![]),
            "revoke id-1",
        ),
        ("an open question", observed(1, vec![minting("ci", 1)], vec![]), "Unsettled"),
        (
            "an open question about the next one",
            observed(2, vec![live("ci", 1, 18), minting("ci", 2)], vec![]),
            "Unsettled",
        ),
        (
            "the answer was lost, and the list shows what it made",
            observed(1, vec![minting("ci", 1)], vec![listed("x", 1)]),
            "revoke x, mint ci 2",
        ),
        (
            "it was made twice",
            observed(1, vec![minting("ci", 1)], vec![listed("x", 1), listed("y", 1)]),
            "revoke x, revoke y, mint ci 2",
        ),
        (
            "one of a live one's name whose value nobody has",
            observed(1, vec![live("ci", 1, 1)], vec![listed("id-1", 1), listed("x", 1)]),
            "revoke x",
        ),
        (
            "a lost database, or an old backup",
            observed(0, vec![], vec![listed("x", 4), listed("y", 9)]),
            "revoke x, revoke y, mint ci 10",
        ),
        (
            "another name's open question is none of this one's",
            observed(1, vec![minting("old", 1)], vec![]),
            "mint ci 2",
        ),
    ];
    for (what, observed, expected) in table {
        assert_eq!(picture(&wanted, &observed), expected, "{what}");
    }
}

#[test]
fn what_nobody_wants_any_more_is_revoked() {
    let known = || vec![live("ci", 1, 1), live("other", 2, 1), minting("third", 3)];
    let shown = || vec![listed("id-1", 1), listed("id-2", 2), listed("x", 9)];
    let without = tenant(Vec::new());
    assert_eq!(
        picture(&without, &observed(3, known(), shown())),
        "revoke x, revoke id-1, revoke id-2"
    );
    let deleting = DesiredTenant { deleting: true, ..tenant(vec![ci()]) };
    let seen = observed(3, known(), shown());
    assert_eq!(picture(&deleting, &seen), "revoke x, revoke id-1, revoke id-2");
    // The app is another one now: what opens the old one goes.
    let moved = DesiredTenant { app: "new-app".to_owned(), ..tenant(vec![ci()]) };
    assert_eq!(
        picture(&moved, &observed(1, vec![live("ci", 1, 1)], vec![])),
        "revoke id-1, mint ci 2"
    );
}

#[test]
fn a_deleted_tenant_is_gone_when_nothing_is_known_or_listed() {
    let deleting = DesiredTenant { deleting: true, ..tenant(vec![ci()]) };
    let is_left = |observed: &ObservedTokens| decide(&deleting, observed, NOW).is_left;
    assert!(!is_left(&observed(3, vec![], vec![])));
    assert!(is_left(&observed(3, vec![minting("ci", 3)], vec![])), "an open question");
    assert!(is_left(&observed(3, vec![live("ci", 3, 1)], vec![])));
    assert!(is_left(&observed(3, vec![], vec![listed("x", 1)])));
    assert!(is_left(&ObservedTokens::default()), "nobody has looked");
    let doubtful =
        ObservedTokens { doubtful: BTreeSet::from([uid()]), ..observed(3, vec![], vec![]) };
    assert!(is_left(&doubtful), "what was minted last may have been made twice");
    let never_had_any = DesiredTenant { deleting: true, ..tenant(Vec::new()) };
    assert!(!decide(&never_had_any, &ObservedTokens::default(), NOW).is_left);
}

#[test]
fn without_a_list_nothing_is_minted_and_what_is_known_is_still_revoked() {
    let failed = |why: &str| ObservedTokens {
        looks: BTreeMap::from([(ORGANIZATION.to_owned(), Err(why.to_owned()))]),
        ..observed(2, vec![live("ci", 1, 18), live("old", 2, 1)], vec![])
    };
    assert_eq!(picture(&tenant(vec![ci()]), &failed("no answer")), "revoke id-2, Unobserved");
    let decision = decide(&tenant(vec![ci()]), &failed("no answer"), NOW);
    assert!(decision.notes[0].message.contains("no answer"), "{:?}", decision.notes);
    assert_eq!(picture(&tenant(vec![ci()]), &ObservedTokens::default()), "Unobserved");
}

#[test]
fn two_tokens_that_are_minted_together_have_two_numbers() {
    let deploy = DesiredToken { name: "deploy".into(), ..ci() };
    let both = tenant(vec![ci(), deploy]);
    assert_eq!(picture(&both, &observed(4, vec![], vec![])), "mint ci 5, mint deploy 6");
}

#[test]
fn the_overlap_ends_before_the_next_but_one_is_minted() {
    let token = |ttl: i64, before: i64| DesiredToken {
        ttl_ms: ttl * HOUR,
        rotate_before_ms: before * HOUR,
        ..ci()
    };
    assert_eq!(token(100, 50).overlap_ms(), 25 * HOUR);
    assert_eq!(token(100, 90).overlap_ms(), 10 * HOUR);
    let rotation =
        |token: DesiredToken, life: i64| token.next_rotation(NOW, NOW.plus_ms(life)).since_ms(NOW);
    assert_eq!(rotation(token(100, 50), 100 * HOUR), 50 * HOUR);
    // A shorter life in the manifest counts for tokens that were minted before.
    assert_eq!(rotation(token(100, 50), 1_000 * HOUR), 50 * HOUR);
    // The platform gave it a tenth of the life that was asked for.
    assert_eq!(rotation(token(100, 50), 10 * HOUR), 5 * HOUR);
    assert_eq!(rotation(token(100, 90), 0), REST_MS, "and none at all");
}

#[test]
fn names_at_the_platform_are_read_in_their_one_form() {
    let name = platform_name(uid(), 12);
    assert_eq!(name, format!("vault/{}/12", uid()));
    assert_eq!(read_platform_name(&name), Some((uid(), Some(12))));
    let of = |end: &str| read_platform_name(&format!("vault/{}/{end}", uid())).map(|(_, n)| n);
    // Whatever follows the uid, it is ours.
    for end in ["", "x", "012", "+1", "-1", "1/2", "99999999999999999999"] {
        assert_eq!(of(end), Some(None), "{end:?}");
    }
    for name in ["", "vault", "vault/", "vault//1", "Vault/x/1", "ci", "vault/acme/1", "xvault/a/1"]
    {
        assert_eq!(read_platform_name(name), None, "{name:?}");
    }
    let upper = format!("vault/{}/1", uid().to_string().to_uppercase());
    assert_eq!(read_platform_name(&upper), None);
}

#[test]
fn what_is_done_about_tokens_keeps_a_tenant_ready_once_it_has_them() {
    let decided = |seen: &ObservedTokens| decide(&tenant(vec![ci()]), seen, NOW);
    let first = decided(&observed(0, vec![], vec![])).mints.remove(0).0;
    assert!(!Action::MintToken(first).keeps_ready());
    let next = decided(&observed(1, vec![live("ci", 1, 18)], vec![])).mints.remove(0).0;
    assert!(Action::MintToken(next).keeps_ready());
}

#[test]
fn what_is_done_about_tokens_and_keys_leaves_a_tenant_ready_but_for_a_first_one() {
    let (name, tenant_uid) = ("ci", ControllerId::from_bytes([7; 16]).tenant_uid("acme"));
    let platform_name = platform_name(tenant_uid, 2);
    let mint = |replaces| {
        let platform_name = platform_name.clone();
        MintToken { name: name.into(), platform_name, n: 2, ttl_ms: 1, tenant_uid, replaces }
    };
    let revoke = RevokeToken {
        id: "id".to_owned(),
        platform_name: platform_name.clone(),
        n: Some(2),
        tenant_uid,
    };
    assert_eq!(mint(None).target(), format!("deploy token ci ({platform_name})"));
    assert_eq!(revoke.target(), format!("deploy token {platform_name}"));
    let planned = |action| PlannedAction {
        tenant: "acme".into(),
        organization: ORGANIZATION.into(),
        app: "acme-app".to_owned(),
        action,
        reason: String::new(),
    };
    let minted = planned(Action::MintToken(mint(None)));
    assert_eq!(minted.target(), mint(None).target());
    assert_eq!(planned(Action::RevokeToken(revoke.clone())).target(), revoke.target());
    assert!(!Action::MintToken(mint(None)).keeps_ready(), "somebody waits for it");
    assert!(Action::MintToken(mint(Some(1))).keeps_ready());
    assert!(Action::RevokeToken(revoke).keeps_ready());
    assert!(!Action::CreateApp.keeps_ready());
}
