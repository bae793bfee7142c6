use ulid::Ulid;

use super::*;
use crate::testing::{NOW, ORG, machine, volume};

const APP: &str = "acme-app";
const WAIT: Duration = Duration::from_secs(10);

/// What settling says about one intent.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Verified,
    Aborted,
    Open,
    Held,
}

fn intent(kind: ActionKind, state: IntentState) -> Intent {
    let (external_name, external_id) = match kind {
        ActionKind::CreateApp | ActionKind::DeleteApp => (APP, None),
        ActionKind::DeleteVolume => ("v_data", Some("vol_1".to_owned())),
        ActionKind::CreateVolume => ("v_data", None),
        ActionKind::SetSecret => ("VAULT_TENANT_SECRET", None),
        ActionKind::CreateMachine => ("acme-box-0", None),
        _ => ("acme-box-0", Some("m1".to_owned())),
    };
    Intent {
        id: Ulid::from_parts(1, 1),
        tenant: "acme".to_owned(),
        organization: ORG.to_owned(),
        app: APP.to_owned(),
        kind,
        external_name: external_name.to_owned(),
        external_id,
        state,
        planned_at: NOW,
        sent_at: (state != IntentState::Planned).then_some(NOW),
        outcome: None,
        spec_hash: None,
    }
}

/// Lists in which the effect of an action shows, or does not.
fn lists(kind: ActionKind, seen: bool) -> ObservedOrganization {
    let mut lists = ObservedOrganization::default();
    let mut known = machine("m1", "acme-box-0", APP);
    match (kind, seen) {
        (ActionKind::CreateApp, true) | (ActionKind::DeleteApp, false) => {
            lists.apps.push(APP.to_owned());
        }
        (ActionKind::CreateVolume, true) | (ActionKind::DeleteVolume, false) => {
            lists.volumes.push(volume("vol_1", "v_data", APP));
        }
        (ActionKind::CreateMachine, true) => {
            let id = Ulid::from_parts(1, 1).to_string();
            known.metadata.insert(metadata::INTENT.to_owned(), id);
            lists.machines.push(known);
        }
        (ActionKind::DeleteMachine, false) => lists.machines.push(known),
        (ActionKind::UpdateMachine, seen) => {
            let id = if seen { Ulid::from_parts(1, 1) } else { Ulid::from_parts(1, 2) };
            known.metadata.insert(metadata::INTENT.to_owned(), id.to_string());
            lists.machines.push(known);
        }
        (ActionKind::StartMachine, false) | (ActionKind::StopMachine, true) => {
            known.state = PlatformState::Stopped;
            lists.machines.push(known);
        }
        (ActionKind::SuspendMachine, true) => {
            known.state = PlatformState::Suspended;
            lists.machines.push(known);
        }
        (ActionKind::StartMachine, true)
        | (ActionKind::StopMachine | ActionKind::SuspendMachine, false) => {
            lists.machines.push(known);
        }
        (ActionKind::CreateApp | ActionKind::CreateVolume | ActionKind::CreateMachine, false)
        | (
            ActionKind::SetSecret
            | ActionKind::RemoveSecret
            | ActionKind::ExtendVolume
            | ActionKind::SnapshotVolume
            | ActionKind::MintToken
            | ActionKind::RevokeToken
            | ActionKind::CreateBucket
            | ActionKind::CreateAccessKey
            | ActionKind::RevokeAccessKey
            | ActionKind::PutBucketPolicy
            | ActionKind::RemoveBucketPolicy
            | ActionKind::EmptyBucket
            | ActionKind::DeleteBucket,
            _,
        )
        | (ActionKind::DeleteMachine | ActionKind::DeleteVolume | ActionKind::DeleteApp, true) => {}
    }
    lists
}

fn verdict(intent: &Intent, lists: ObservedOrganization, now: UnixMillis) -> Verdict {
    let organizations = BTreeMap::from([(ORG.to_owned(), lists)]);
    let settled = settle(std::slice::from_ref(intent), &organizations, WAIT, now);
    let held = settled.holds.get("acme");
    assert!(held.is_none_or(|hold| hold.until > now && hold.kind == HoldKind::Unsettled));
    match (settled.settlements.as_slice(), held, settled.open.contains("acme")) {
        ([], None, true) => Verdict::Open,
        ([], Some(_), true) => Verdict::Held,
        ([one], None, false) => {
            assert_eq!(one.id, intent.id);
            assert!(intent.state.may_become(one.state), "{one:?}");
            match one.state {
                IntentState::Verified => Verdict::Verified,
                IntentState::Aborted => Verdict::Aborted,
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_older_volume_of_the_name_is_not_the_one_that_was_asked_for() {
    let sent = intent(ActionKind::CreateVolume, IntentState::Sent);
    let with = |created_at| {
        let mut lists = ObservedOrganization::default();
        lists.volumes.push(ObservedVolume { created_at, ..volume("vol_0", "v_data", APP) });
        verdict(&sent, lists, NOW.plus_ms(1))
    };
    assert_eq!(with(Some(NOW.plus_ms(-3_600_000))), Verdict::Held);
    // Clocks differ a little.
    assert_eq!(with(Some(NOW.plus_ms(-1_000))), Verdict::Verified);
    assert_eq!(with(None), Verdict::Verified);
}

#[test]
fn a_volume_that_a_machine_holds_is_not_the_one_that_was_asked_for() {
    let sent = intent(ActionKind::CreateVolume, IntentState::Sent);
    let mut lists = ObservedOrganization::default();
    let moves = volume("vol_0", "v_data", APP);
    lists.volumes.push(ObservedVolume { attached_machine: Some("m".to_owned()), ..moves });
    assert_eq!(verdict(&sent, lists.clone(), NOW.plus_ms(1)), Verdict::Held);
    lists.volumes.push(volume("vol_1", "v_data", APP));
    assert_eq!(verdict(&sent, lists, NOW.plus_ms(1)), Verdict::Verified);
}

#[test]
fn every_kind_in_every_state() {
    use ActionKind::{
        CreateApp, CreateMachine, CreateVolume, DeleteApp, DeleteVolume, MintToken, StopMachine,
        SuspendMachine, UpdateMachine,
    };
    let harmless = [
        ActionKind::ExtendVolume,
        ActionKind::SnapshotVolume,
        ActionKind::RevokeToken,
        ActionKind::RevokeAccessKey,
    ];
    let minted = [MintToken, ActionKind::CreateAccessKey];
    let waited_for = [
        ActionKind::SetSecret,
        ActionKind::RemoveSecret,
        ActionKind::CreateBucket,
        ActionKind::PutBucketPolicy,
        ActionKind::RemoveBucketPolicy,
        ActionKind::EmptyBucket,
        ActionKind::DeleteBucket,
    ];
    let (before, after) = (NOW.plus_ms(9_999), NOW.plus_ms(10_000));
    for kind in ActionKind::ALL {
        for state in [IntentState::Planned, IntentState::Sent, IntentState::Acked] {
            for seen in [true, false] {
                for now in [before, after] {
                    let expected = match (state, seen) {
                        (IntentState::Planned, _) => Verdict::Aborted,
                        (IntentState::Acked, _) if harmless.contains(&kind) => Verdict::Verified,
                        (_, _) if harmless.contains(&kind) => Verdict::Aborted,
                        // A late one would undo what a later one did.
                        (IntentState::Acked, _) if waited_for.contains(&kind) => Verdict::Verified,
                        (_, _) if waited_for.contains(&kind) && now == before => Verdict::Held,
                        (_, _) if waited_for.contains(&kind) => Verdict::Aborted,
                        // Lists of machines say nothing of tokens.
                        (IntentState::Acked, _) if minted.contains(&kind) => Verdict::Verified,
                        (_, _) if minted.contains(&kind) && now == before => Verdict::Open,
                        (_, _) if minted.contains(&kind) && now == after => Verdict::Aborted,
                        (_, true) => Verdict::Verified,
                        (_, false) if now == after => Verdict::Aborted,
                        (IntentState::Sent, false) => match kind {
                            CreateVolume | DeleteVolume | DeleteApp => Verdict::Held,
                            // These may have taken a machine down that the lists still show
                            // running.
                            UpdateMachine | StopMachine | SuspendMachine => Verdict::Held,
                            _ => Verdict::Open,
                        },
                        (_, false) => match kind {
                            CreateVolume | CreateApp | CreateMachine | UpdateMachine
                            | StopMachine | SuspendMachine | DeleteVolume | DeleteApp => {
                                Verdict::Held
                            }
                            _ => Verdict::Open,
                        },
                    };
                    let found = verdict(&intent(kind, state), lists(kind, seen), now);
                    assert_eq!(found, expected, "{kind} {state:?}, seen: {seen}, at {now:?}");
                }
            }
        }
    }
}

#[test]
fn absence_from_lists_with_gaps_proves_nothing_however_late() {
    let late = NOW.plus_ms(1_000_000);
    let region = Gaps { regions: BTreeSet::from(["iad".to_owned()]), ..Gaps::default() };
    let unclear = Gaps { unclear: Some("rows".to_owned()), ..Gaps::default() };
    for gaps in [region, unclear] {
        let with_gaps =
            |kind, seen| ObservedOrganization { gaps: gaps.clone(), ..lists(kind, seen) };
        let acked = |kind| intent(kind, IntentState::Acked);
        for kind in [ActionKind::CreateVolume, ActionKind::CreateMachine] {
            assert_eq!(verdict(&acked(kind), with_gaps(kind, false), late), Verdict::Held);
            assert_eq!(verdict(&acked(kind), with_gaps(kind, true), late), Verdict::Verified);
        }
        // A machine that a gap hides is not proven to be deleted.
        let delete = ActionKind::DeleteMachine;
        assert_eq!(verdict(&acked(delete), with_gaps(delete, true), late), Verdict::Open);
    }
}

#[test]
fn a_volume_is_not_given_up_while_its_app_has_not_said_what_it_has() {
    let late = NOW.plus_ms(3_600_000);
    let cases =
        [(ActionKind::CreateVolume, Verdict::Held), (ActionKind::CreateMachine, Verdict::Aborted)];
    for (kind, expected) in cases {
        let intent = intent(kind, IntentState::Sent);
        let mut lists = lists(kind, false);
        let gap = VolumeGap::Unread("other apps are asked first".to_owned());
        lists.gaps.volumes.insert(intent.app.clone(), gap);
        assert_eq!(verdict(&intent, lists, late), expected, "{kind:?}");
    }
}

#[test]
fn an_acknowledged_volume_is_only_the_one_with_its_id() {
    let mut acked = intent(ActionKind::CreateVolume, IntentState::Acked);
    acked.external_id = Some("vol_2".to_owned());
    let mut lists = lists(ActionKind::CreateVolume, true);
    assert_eq!(verdict(&acked, lists.clone(), NOW), Verdict::Held);
    lists.volumes.push(volume("vol_2", "v_data", APP));
    assert_eq!(verdict(&acked, lists, NOW), Verdict::Verified);
}

#[test]
fn an_organization_that_was_not_read_holds_whoever_sent_something_there() {
    for (state, held) in [(IntentState::Planned, false), (IntentState::Sent, true)] {
        let intents = [intent(ActionKind::StartMachine, state)];
        let late = NOW.plus_ms(1_000_000);
        let settled = settle(&intents, &BTreeMap::new(), WAIT, late);
        assert_eq!(settled.settlements.is_empty(), held);
        assert_eq!(settled.holds.contains_key("acme"), held);
    }
}

#[test]
fn a_secret_is_settled_by_its_answer_or_the_clock_even_if_its_organization_was_not_read() {
    for kind in [ActionKind::SetSecret, ActionKind::RemoveSecret] {
        for (state, now, expected) in [
            (IntentState::Planned, NOW, Some(IntentState::Aborted)),
            (IntentState::Sent, NOW, None),
            (IntentState::Sent, NOW.plus_ms(10_000), Some(IntentState::Aborted)),
            (IntentState::Acked, NOW, Some(IntentState::Verified)),
        ] {
            let settled = settle(&[intent(kind, state)], &BTreeMap::new(), WAIT, now);
            let became = settled.settlements.first().map(|settlement| settlement.state);
            assert_eq!(became, expected, "{kind} {state:?}");
            let is_held = expected.is_none();
            assert_eq!(settled.holds.contains_key("acme"), is_held, "{kind} {state:?}");
            assert_eq!(settled.open.contains("acme"), is_held, "{kind} {state:?}");
        }
    }
}

#[test]
fn what_was_given_up_says_why() {
    let outcome = |kind, state| {
        let settled = settle(&[intent(kind, state)], &BTreeMap::new(), WAIT, NOW.plus_ms(60_000));
        settled.settlements[0].outcome.clone().unwrap_or_default()
    };
    let (mint, revoke) = (ActionKind::MintToken, ActionKind::RevokeToken);
    assert!(outcome(mint, IntentState::Sent).contains("is revoked by its name"));
    assert_eq!(outcome(mint, IntentState::Planned), "it was never sent");
    assert_eq!(outcome(mint, IntentState::Acked), "");
    assert_eq!(outcome(revoke, IntentState::Planned), "it was never sent");
    assert!(outcome(revoke, IntentState::Sent).contains("doing it again does no harm"));
}

#[test]
fn a_machine_that_another_call_made_is_kept_until_the_first_one_cannot_come_any_more() {
    let first = intent(ActionKind::CreateMachine, IntentState::Sent);
    let acked = intent(ActionKind::CreateMachine, IntentState::Acked);
    let mut made = machine("m1", "acme-box-0", APP);
    let by = |id: Ulid, made: &mut ObservedMachine| {
        made.metadata.insert(metadata::INTENT.to_owned(), id.to_string());
        ObservedOrganization { machines: vec![made.clone()], ..Default::default() }
    };
    let (before, after) = (NOW.plus_ms(9_999), NOW.plus_ms(10_000));
    let ours = by(first.id, &mut made);
    assert_eq!(verdict(&first, ours, before), Verdict::Verified);
    let anothers = by(Ulid::from_parts(1, 2), &mut made);
    assert_eq!(verdict(&first, anothers.clone(), before), Verdict::Held);
    assert_eq!(verdict(&first, anothers.clone(), after), Verdict::Aborted);
    assert_eq!(verdict(&acked, anothers, before), Verdict::Verified, "it was changed since");
}

#[test]
fn of_several_waits_the_longest_counts() {
    let early = intent(ActionKind::CreateVolume, IntentState::Sent);
    let late = Intent { sent_at: Some(NOW.plus_ms(5_000)), ..early.clone() };
    let organizations = BTreeMap::from([(ORG.to_owned(), ObservedOrganization::default())]);
    for intents in [[early.clone(), late.clone()], [late, early]] {
        let settled = settle(&intents, &organizations, WAIT, NOW.plus_ms(6_000));
        assert_eq!(settled.holds["acme"].until, NOW.plus_ms(15_000));
    }
}
