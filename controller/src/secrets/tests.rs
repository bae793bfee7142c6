use std::sync::Arc;

use vault_plan::desired::DesiredSecret;
use vault_plan::identity::ControllerId;
use vault_plan::metadata;

use super::*;
use crate::testing::{NOW, ORG, controller, machine};

const NAME: &str = "KEY";
const HASH: &str = "h1";

fn secret(name: &str, hash: &str) -> DesiredSecret {
    let (name, variable) = (Arc::from(name), Arc::from(name));
    DesiredSecret { name, variable, hash: hash.to_owned(), from: None, storage: None }
}

fn tenant(name: &str) -> DesiredTenant {
    DesiredTenant {
        name: name.into(),
        uid: controller().tenant_uid(name),
        organization: ORG.into(),
        app: format!("{name}-app"),
        app_is_named: false,
        app_is_shared: false,
        deleting: false,
        paused: false,
        reports_drift: false,
        secrets: vec![secret(NAME, HASH)],
        tokens: Arc::default(),
        buckets: Vec::new(),
        slots: Arc::default(),
        machines: Ok(Vec::new()),
    }
}

fn desired(tenants: Vec<DesiredTenant>) -> Desired {
    let controller: ControllerId = controller();
    let contested = BTreeMap::new();
    Desired { controller, controller_mark: controller.to_string(), tenants, contested }
}

fn stored(name: &str, state: SecretState, read_ms_ago: i64) -> StoredSecret {
    StoredSecret {
        app: format!("{name}-app"),
        name: NAME.to_owned(),
        state,
        digest: Some("d1".to_owned()),
        version: Some(3),
        read_at: NOW.plus_ms(-read_ms_ago),
    }
}

fn set(hash: &str) -> SecretState {
    SecretState::Set { hash: hash.to_owned() }
}

/// An organization with these apps; each has a machine with this mark.
fn lists(names: &[&str], mark: &str) -> BTreeMap<String, ObservedOrganization> {
    let mut lists = ObservedOrganization::default();
    for name in names {
        let app = format!("{name}-app");
        let mut made = machine("m1", "box", &app);
        made.metadata.insert(metadata::SECRET_HASH.to_owned(), mark.to_owned());
        lists.machines.push(made);
        lists.apps.push(app);
    }
    BTreeMap::from([(ORG.to_owned(), lists)])
}

fn names(due: Vec<&DesiredTenant>) -> Vec<String> {
    due.into_iter().map(|tenant| tenant.name.to_string()).collect()
}

#[test]
fn what_is_set_and_was_not_looked_at_for_long_is_due() {
    let desired = desired(vec![tenant("a")]);
    let due_with = |stored: &[StoredSecret], lists: &BTreeMap<_, _>| {
        !due(&desired, stored, lists, &BTreeMap::new(), SLICE_APPS_MAX, NOW).is_empty()
    };
    let (marked, unmarked) = (lists(&["a"], HASH), lists(&["a"], "other"));
    let table = [
        (Some(stored("a", set(HASH), LOOK_VALID_MS)), true),
        (Some(stored("a", set(HASH), LOOK_VALID_MS - 1)), false),
        // It will be set anyway.
        (Some(stored("a", set("other"), LOOK_VALID_MS)), false),
        (Some(stored("a", SecretState::Changed, LOOK_VALID_MS)), false),
        (Some(stored("a", SecretState::Missing, LOOK_VALID_MS)), false),
        (None, true),
    ];
    for (stored, expected) in table {
        let stored: Vec<_> = stored.into_iter().collect();
        assert_eq!(due_with(&stored, &marked), expected, "{stored:?}");
    }
    // Nothing says that it was ever set, or there is no such app.
    assert!(!due_with(&[], &unmarked));
    assert!(!due_with(&[stored("a", set(HASH), LOOK_VALID_MS)], &lists(&["b"], HASH)));
    assert!(!due_with(&[stored("a", set(HASH), LOOK_VALID_MS)], &BTreeMap::new()));
}

#[test]
fn tenants_that_are_not_converged_are_not_looked_at() {
    let deleting = DesiredTenant { deleting: true, ..tenant("a") };
    let invalid = DesiredTenant { machines: Err(Vec::new()), ..tenant("b") };
    let without = DesiredTenant { secrets: Vec::new(), ..tenant("c") };
    let desired = desired(vec![deleting, invalid, without]);
    let lists = lists(&["a", "b", "c"], HASH);
    assert!(due(&desired, &[], &lists, &BTreeMap::new(), SLICE_APPS_MAX, NOW).is_empty());
}

#[test]
fn a_slice_is_of_those_that_were_looked_at_longest_ago_and_not_of_those_that_fail() {
    let all: Vec<String> = (0..12).map(|number| format!("t{number:02}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let desired = desired(all.iter().map(|name| tenant(name)).collect());
    let (first, rest) = all.split_first().unwrap();
    // The later the name, the longer ago; of the first one nothing is known.
    let stored: Vec<_> = rest
        .iter()
        .zip(1..)
        .map(|(name, number)| stored(name, set(HASH), LOOK_VALID_MS + number))
        .collect();
    let lists = lists(&all, HASH);
    let slice = names(due(&desired, &stored, &lists, &BTreeMap::new(), SLICE_APPS_MAX, NOW));
    assert_eq!(slice, [&[*first], &["t11", "t10", "t09", "t08", "t07", "t06", "t05"][..]].concat());
    assert_eq!(slice.len(), SLICE_APPS_MAX);
    let failed = BTreeMap::from([
        ("t00-app".to_owned(), NOW.plus_ms(-LOOK_VALID_MS + 1)),
        ("t11-app".to_owned(), NOW.plus_ms(-LOOK_VALID_MS)),
    ]);
    let slice = names(due(&desired, &stored, &lists, &failed, SLICE_APPS_MAX, NOW));
    assert_eq!(slice, ["t11", "t10", "t09", "t08", "t07", "t06", "t05", "t04"]);
}

#[test]
fn a_look_is_compared_with_what_is_known() {
    let tenant = tenant("a");
    let list = |digest: Option<&str>, unreadable| {
        let digests = digest.map(|digest| (NAME.to_owned(), digest.to_owned()));
        SecretList { digests: digests.into_iter().collect(), unreadable }
    };
    let known = stored("a", set(HASH), LOOK_VALID_MS);
    let without_digest = StoredSecret { digest: None, ..known.clone() };
    let table = [
        (Some(&known), list(Some("d1"), 0), Some((set(HASH), Some("d1"), 0))),
        (Some(&known), list(Some("d2"), 0), Some((SecretState::Changed, Some("d2"), 1))),
        (Some(&known), list(None, 0), Some((SecretState::Missing, None, 1))),
        (Some(&known), list(None, 1), None),
        (Some(&known), list(Some("d1"), 1), Some((set(HASH), Some("d1"), 0))),
        (Some(&without_digest), list(Some("d2"), 0), Some((set(HASH), Some("d2"), 0))),
        (None, list(Some("d2"), 0), Some((set(HASH), Some("d2"), 0))),
        (None, list(None, 0), Some((SecretState::Missing, None, 1))),
    ];
    for (known, seen, expected) in table {
        let stored: Vec<StoredSecret> = known.into_iter().cloned().collect();
        let learned = compare(&tenant, &stored, &seen, NOW);
        let Some((state, digest, findings)) = expected else {
            assert_eq!(learned, Learned::default());
            continue;
        };
        assert_eq!(learned.findings.len(), findings, "{learned:?}");
        let [secret] = learned.secrets.as_slice() else { panic!("{learned:?}") };
        assert_eq!((&secret.state, secret.digest.as_deref()), (&state, digest), "{seen:?}");
        assert_eq!((secret.version, secret.read_at), (None, NOW));
    }
}

#[test]
fn what_is_known_is_told_by_app_with_the_newest_version() {
    let mut second = stored("a", SecretState::Changed, 0);
    second.name = "SECOND".to_owned();
    second.version = Some(9);
    let known = [stored("a", set(HASH), 0), second, stored("b", SecretState::Missing, 0)];
    let observed = observed(&known);
    assert_eq!(observed["a-app"].version, Some(9));
    assert_eq!(observed["a-app"].states.len(), 2);
    assert_eq!(observed["b-app"].states[NAME], SecretState::Missing);
    let desired = desired(vec![tenant("a")]);
    let gone = OfNobody { gone: vec!["b-app".to_owned()], unsure: Vec::new() };
    assert_eq!(of_nobody(&known, &desired, |_| false), gone);
    assert_eq!(of_nobody(&[], &desired, |_| false), OfNobody::default());
}

#[test]
fn what_was_set_in_an_app_that_outlives_its_tenant_is_known_to_be_ours_and_no_more() {
    let mut known = [stored("b", set(HASH), 0), stored("b", SecretState::Changed, 0)];
    known[0].version = Some(9);
    let OfNobody { gone, unsure } = of_nobody(&known, &desired(vec![tenant("a")]), |_| true);
    assert_eq!(gone, Vec::<String>::new());
    let [secret] = unsure.as_slice() else { panic!("{unsure:?}") };
    assert_eq!((&secret.state, secret.version), (&SecretState::Unsure, None));
    assert_eq!((&*secret.app, &*secret.name, &secret.digest), ("b-app", NAME, &None));
    // Nothing is written twice.
    let again = of_nobody(&unsure, &desired(vec![tenant("a")]), |_| true);
    assert_eq!(again, OfNobody::default());
}

#[test]
fn several_secrets_make_one_mark() {
    let mut tenant = tenant("a");
    assert_eq!(tenant.secrets_mark(), HASH);
    let second = secret("SECOND", "h2");
    tenant.secrets.push(second);
    assert_eq!(tenant.secrets_mark(), "h1,h2");
    tenant.secrets.clear();
    assert_eq!(tenant.secrets_mark(), "");
}

#[test]
fn one_look_at_a_shared_app_tells_of_all_who_share_it_and_have_a_secret_there() {
    let sharing = |name: &str| {
        let tenant = tenant(name);
        let secrets = vec![secret(&tenant.uid.secret_name(NAME), HASH)];
        DesiredTenant { app: "s-app".to_owned(), app_is_shared: true, secrets, ..tenant }
    };
    let known = |name: &str| StoredSecret {
        name: sharing(name).secrets[0].name.to_string(),
        ..stored("s", set(HASH), LOOK_VALID_MS)
    };
    // `c` has not set its secret yet, and `d` is going.
    let going = DesiredTenant { deleting: true, ..sharing("d") };
    let desired = desired(vec![sharing("a"), sharing("b"), sharing("c"), going, tenant("x")]);
    let stored = [known("a"), known("b"), known("d")];
    let lists = lists(&["s", "x"], "another");
    let due = due(&desired, &stored, &lists, &BTreeMap::new(), SLICE_APPS_MAX, NOW);
    assert_eq!(due.iter().map(|tenant| &*tenant.name).collect::<Vec<_>>(), ["a"]);
    let seen = seen_with(due[0], &desired, &stored, &lists);
    assert_eq!(seen.iter().map(|tenant| &*tenant.name).collect::<Vec<_>>(), ["a", "b"]);
}
