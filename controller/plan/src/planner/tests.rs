use std::collections::BTreeMap;

use vault_api::tenant::MachineState;

use super::*;
use crate::action::ActionKind;
use crate::desired::DesiredMachine;
use crate::observed::{Hold, HoldKind, ObservedOrganization, ObservedSecrets, PlatformState};
use crate::testing::{self, NOW, SECRET_HASH, machine, tenant, wanted};
use crate::token::{DesiredToken, KnownToken, KnownTokens, ListedToken, TokenState, platform_name};

/// What is done for a tenant whose app is there and empty.
fn plan_of(tenant: DesiredTenant, change: impl FnOnce(&mut Observed)) -> Plan {
    let apps = vec![tenant.app.clone()];
    let lists = ObservedOrganization { apps, ..ObservedOrganization::default() };
    let mut observed = testing::observed(lists);
    change(&mut observed);
    plan(&testing::desired(tenant), &observed, &Policy::default(), NOW)
}

/// The kinds of a plan's actions, with the names of what they are about.
fn actions(plan: &Plan) -> Vec<(ActionKind, String)> {
    let action =
        |planned: &PlannedAction| (planned.action.kind(), planned.external_name().to_owned());
    plan.actions.iter().map(action).collect()
}

#[test]
fn a_secret_that_we_set_and_nobody_names_any_more_goes() {
    let removed = |tenant: DesiredTenant, name: &str, state: SecretState| {
        let app = tenant.app.clone();
        let wanted = SecretState::Set { hash: SECRET_HASH.to_owned() };
        let states = [("SECRET".to_owned(), wanted), (name.to_owned(), state)].into();
        let secrets = ObservedSecrets { version: None, states };
        let plan = plan_of(tenant, |observed| {
            observed.secrets.insert(app, secrets);
        });
        let expected = [(ActionKind::RemoveSecret, name.to_owned())];
        let found = actions(&plan);
        assert!(found.is_empty() || found == expected, "{found:?}");
        !found.is_empty()
    };
    let set = || SecretState::Set { hash: "old".to_owned() };
    assert!(removed(tenant(), "OLD", set()));
    assert!(removed(tenant(), "OLD", SecretState::Unsure));
    assert!(!removed(tenant(), "OLD", SecretState::Changed), "it is somebody else's now");
    assert!(!removed(tenant(), "OLD", SecretState::Missing));
    let shared = || DesiredTenant { app_is_named: true, app_is_shared: true, ..tenant() };
    let own = tenant().uid.secret_name("OLD");
    assert!(removed(shared(), &own, set()));
    let siblings = ControllerId::from_bytes([7; 16]).tenant_uid("umbra").secret_name("OLD");
    assert!(!removed(shared(), &siblings, set()), "it is another tenant's");
}

#[test]
fn of_a_deleted_tenant_in_a_shared_app_its_own_secrets_go_and_no_others() {
    let deleted =
        DesiredTenant { app_is_named: true, app_is_shared: true, deleting: true, ..tenant() };
    let (own, gone) = (deleted.uid.secret_name("OWN"), deleted.uid.secret_name("GONE"));
    let states = [
        (own.clone(), SecretState::Changed),
        (gone, SecretState::Missing),
        ("THEIRS".to_owned(), SecretState::Set { hash: "x".to_owned() }),
    ];
    let done = |tenant: DesiredTenant, app_exists: bool| {
        let app = tenant.app.clone();
        let plan = plan_of(tenant, |observed| {
            let states = states.clone().into();
            observed.secrets.insert(app, ObservedSecrets { version: None, states });
            if !app_exists {
                observed.organizations.values_mut().for_each(|lists| lists.apps.clear());
            }
        });
        actions(&plan)
    };
    assert_eq!(done(deleted.clone(), true), [(ActionKind::RemoveSecret, own)]);
    assert_eq!(done(deleted.clone(), false), [], "they went with the app");
    let alone = DesiredTenant { app_is_named: false, app_is_shared: false, ..deleted };
    assert_eq!(done(alone, true), [], "they go with the app");
}

#[test]
fn what_somebody_changed_is_told_and_corrected_or_only_told() {
    let told = |reports_drift: bool| {
        let machines = vec![DesiredMachine { volume: None, ..wanted(MachineState::Started) }];
        let tenant = DesiredTenant { reports_drift, machines: Ok(machines), ..tenant() };
        let app = tenant.app.clone();
        let plan = plan_of(tenant, |observed| {
            let seen = machine(PlatformState::Started, 900_000);
            observed.edits.insert(seen.id.clone(), vec!["env".to_owned()]);
            observed.organizations.values_mut().for_each(|lists| lists.machines.push(seen.clone()));
            observed.reached.insert("acme".to_owned());
            let states = [("SECRET".to_owned(), SecretState::Set { hash: SECRET_HASH.to_owned() })];
            observed.secrets.insert(app, ObservedSecrets { version: None, states: states.into() });
        });
        let notes = &plan.report.tenants[0].notes;
        let notes =
            notes.iter().map(|note| (note.reason, note.message.clone())).collect::<Vec<_>>();
        (actions(&plan), notes)
    };
    let updates = vec![(ActionKind::UpdateMachine, "acme-box-0".to_owned())];
    let message = "machine acme-box-0: somebody else changed env";
    let drift = |message: String| vec![(NoteReason::DriftDetected, message)];
    assert_eq!(told(false), (updates, drift(message.to_owned())));
    let left = format!("{message}; it is left so, because driftPolicy is Report");
    assert_eq!(told(true), (Vec::new(), drift(left)));
}

/// A tenant with a wanted token, and what is observed of its tokens.
fn with_token() -> (DesiredTenant, impl Fn(&mut Observed)) {
    let ci = DesiredToken { name: "ci".into(), ttl_ms: 86_400_000, rotate_before_ms: 3_600_000 };
    let secrets = Vec::new();
    let tenant = DesiredTenant { tokens: [ci].into(), secrets, ..tenant() };
    let organization = tenant.organization.to_string();
    let looked = move |observed: &mut Observed| {
        observed.tokens.looks.insert(organization.clone(), Ok(()));
    };
    (tenant, looked)
}

fn hold(until: UnixMillis) -> BTreeMap<String, Hold> {
    let hold = Hold { until, message: "refused".to_owned(), kind: HoldKind::Refused };
    BTreeMap::from([("acme".to_owned(), hold)])
}

#[test]
fn tokens_that_are_held_are_neither_minted_nor_revoked() {
    let kinds = |wanted: bool, listed: bool, until: Option<UnixMillis>| {
        let (mut tenant, looked) = with_token();
        if !wanted {
            tenant.tokens = Arc::default();
        }
        let uid = tenant.uid;
        let plan = plan_of(tenant, |observed| {
            looked(observed);
            observed.tokens.holds = until.map(hold).unwrap_or_default();
            if listed {
                let (id, name) = ("id-7".to_owned(), platform_name(uid, 7));
                observed.tokens.listed.insert(uid, vec![ListedToken { id, name, n: Some(7) }]);
            }
        });
        let kinds: Vec<ActionKind> = actions(&plan).into_iter().map(|(kind, _)| kind).collect();
        let refused = plan.report.tenants[0].notes.iter().any(|note| note.message == "refused");
        (kinds, refused)
    };
    let (mint, revoke) = (ActionKind::MintToken, ActionKind::RevokeToken);
    let soon = Some(NOW.plus_ms(1));
    assert_eq!(kinds(true, false, None), (vec![mint], false));
    assert_eq!(kinds(true, false, soon), (Vec::new(), true));
    assert_eq!(kinds(false, true, None), (vec![revoke], false));
    assert_eq!(kinds(false, true, soon), (Vec::new(), true));
    assert_eq!(kinds(true, true, soon), (Vec::new(), true));
    assert_eq!(kinds(true, true, Some(NOW)), (vec![revoke, mint], false), "the hold is over");
    assert_eq!(kinds(false, false, soon), (Vec::new(), false), "it keeps nothing from being done");
}

#[test]
fn a_tenant_is_not_gone_while_a_token_of_it_is_left() {
    let gone = |known: bool| {
        let (mut tenant, looked) = with_token();
        tenant.deleting = true;
        let uid = tenant.uid;
        let plan = plan_of(tenant, |observed| {
            looked(observed);
            observed.organizations.values_mut().for_each(|lists| lists.apps.clear());
            let state = TokenState::Live {
                id: "id-1".to_owned(),
                live_at: NOW,
                expires_at: NOW.plus_ms(86_400_000),
            };
            let token = KnownToken { name: "ci".into(), n: 1, app: "acme".to_owned(), state };
            let tokens = if known { vec![token] } else { Vec::new() };
            observed.tokens.known.insert(uid, KnownTokens { last_n: 1, tokens });
        });
        plan.report.tenants[0].gone
    };
    assert!(gone(false));
    assert!(!gone(true));
}
