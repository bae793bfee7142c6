use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use vault_api::problem::{FieldPath, Problem};

use super::*;
use crate::testing::{ORG, controller};

const DIGEST: &str = "sha256:0a1b";

fn config(value: Value) -> Map<String, Value> {
    let Value::Object(config) = value else { panic!("a config is an object") };
    config
}

fn agent_config() -> Value {
    json!({ "image": format!("registry.fly.io/vault-tenants/agent:1@{DIGEST}") })
}

fn wanted(name: &str, index: u32, config_value: Value) -> DesiredMachine {
    let config = ConfigTemplate::compile(config(config_value), BTreeMap::new());
    DesiredMachine {
        name: name.to_owned(),
        index,
        region: "ord".into(),
        state: MachineState::Started,
        relocate: false,
        spec_hash: config.hash("acme", index),
        config: Arc::new(config),
        volume: None,
    }
}

fn tenant(machines: Vec<DesiredMachine>) -> DesiredTenant {
    DesiredTenant {
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
        tokens: Arc::default(),
        buckets: Vec::new(),
        slots: Arc::default(),
        machines: Ok(machines),
    }
}

fn one() -> DesiredTenant {
    tenant(vec![wanted("acme-box-0", 0, agent_config())])
}

fn seen(name: &str) -> MachineStatus {
    MachineStatus {
        name: name.to_owned(),
        id: Some("m1".to_owned()),
        state: Some("started".to_owned()),
        region: "ord".to_owned(),
        private_ip: Some("fdaa::3".to_owned()),
        version: Some("01V".to_owned()),
        ready: true,
        replacing: false,
        agent: None,
    }
}

fn status(machine: MachineStatus) -> TenantStatus {
    let (org_id, app_id) = (Some("9".to_owned()), Some("7".to_owned()));
    TenantStatus { machines: vec![machine], org_id, app_id, ..TenantStatus::default() }
}

fn ask(
    tenant: &DesiredTenant,
    status: Option<&TenantStatus>,
    asked: Option<&str>,
) -> Result<ConnectStatus, Obstacle> {
    let wanted = choose(tenant, asked)?;
    let place = place(tenant, wanted, status, "https://oidc.fly.io/")?;
    Ok(answer(place, Some(json!({ "keys": [] })), &TenantSecret::new([7; 32])))
}

#[test]
fn a_started_machine_is_told_with_all_that_pins_it() {
    let found = ask(&one(), Some(&status(seen("acme-box-0"))), None).unwrap();
    assert_eq!(found.address, "[fdaa::3]:8443");
    assert!(found.runs_agent);
    let evidence = found.evidence;
    assert_eq!(evidence.keys, Some(json!({ "keys": [] })));
    assert_eq!(evidence.issuer, format!("https://oidc.fly.io/{ORG}"));
    assert_eq!((&*evidence.org_name, &*evidence.app_name), (ORG, "acme-app"));
    assert_eq!((evidence.org_id.as_deref(), evidence.app_id.as_deref()), (Some("9"), Some("7")));
    assert_eq!(
        (&*evidence.machine_id, &*evidence.machine_versions),
        ("m1", &["01V".to_owned()][..])
    );
    assert_eq!(evidence.image_digests, [DIGEST]);
    let key = TenantSecret::new([7; 32]).proof_key("m1");
    assert_eq!(found.credential.key, *key.text());
    assert_ne!(found.credential.key, *TenantSecret::new([7; 32]).text());
}

#[test]
fn while_an_update_is_under_way_the_manifests_image_is_not_expected() {
    let updating = MachineStatus { ready: false, ..seen("acme-box-0") };
    let found = ask(&one(), Some(&status(updating)), None).unwrap();
    assert!(found.evidence.image_digests.is_empty());
}

#[test]
fn the_only_machine_or_the_named_one() {
    let machines = || ["acme-box-0", "acme-box-1"].map(|name| wanted(name, 0, agent_config()));
    let several = tenant(machines().into());
    let second = status(seen("acme-box-1"));
    let names = vec!["box-0".to_owned(), "box-1".to_owned()];
    assert_eq!(ask(&several, Some(&second), None), Err(Obstacle::Several(names.clone())));
    assert_eq!(ask(&several, Some(&second), Some("box-1")).unwrap().machine, "acme-box-1");
    let unknown = Obstacle::NoSuchMachine { asked: "acme-box-1".to_owned(), known: names };
    assert_eq!(ask(&several, Some(&second), Some("acme-box-1")), Err(unknown));
    assert!(matches!(ask(&tenant(Vec::new()), None, None), Err(Obstacle::Never(_))));
}

#[test]
fn what_is_on_its_way_is_not_yet_and_what_is_not_never() {
    let machine = |change: fn(&mut MachineStatus)| {
        let mut machine = seen("acme-box-0");
        change(&mut machine);
        Some(status(machine))
    };
    let table = [
        (None, "does not exist"),
        (machine(|seen| seen.state = None), "does not exist"),
        (machine(|seen| seen.state = Some("stopped".to_owned())), "is stopped"),
        (machine(|seen| seen.state = Some("replacing".to_owned())), "is replacing"),
        (machine(|seen| seen.private_ip = None), "address"),
        (machine(|seen| seen.version = None), "version"),
        (machine(|seen| seen.id = None), "id"),
    ];
    for (status, word) in table {
        match ask(&one(), status.as_ref(), None) {
            Err(Obstacle::NotYet(message)) => assert!(message.contains(word), "{message}"),
            other => panic!("{status:?}: {other:?}"),
        }
    }
    let mut resting = one();
    resting.machines.as_mut().unwrap()[0].state = MachineState::Stopped;
    let stopped = machine(|seen| seen.state = Some("stopped".to_owned()));
    assert!(matches!(ask(&resting, stopped.as_ref(), None), Err(Obstacle::Never(_))));
    // It is to be stopped, and is not yet.
    assert!(ask(&resting, machine(|_| {}).as_ref(), None).is_ok());
    let deleting = DesiredTenant { deleting: true, ..one() };
    assert!(matches!(ask(&deleting, machine(|_| {}).as_ref(), None), Err(Obstacle::Never(_))));
    let problem = Problem::invalid(FieldPath::default(), "no such class".to_owned());
    let invalid = DesiredTenant { machines: Err(vec![problem]), ..one() };
    assert!(matches!(ask(&invalid, machine(|_| {}).as_ref(), None), Err(Obstacle::Never(_))));
}

#[test]
fn the_port_is_the_configs_or_the_agents_own() {
    let with =
        |listen: Value| config(json!({ "image": "agent", "env": { "VAULT_LISTEN": listen } }));
    assert_eq!(port("m", &config(agent_config())), Ok(8443));
    assert_eq!(port("m", &with(json!("[::]:9000"))), Ok(9000));
    assert_eq!(port("m", &with(json!("127.1.2.3:9001"))), Ok(9001));
    for bad in ["", "9000", ":9000", "[::]", "[::]:0", "[::]:70000"] {
        assert!(matches!(port("m", &with(json!(bad))), Err(Obstacle::Never(_))), "{bad}");
    }
}

#[test]
fn what_may_run_the_agent_is_told_from_what_is_written() {
    let may_run = |value: Value| may_run_agent(&wanted("acme-box-0", 0, value).config);
    assert!(may_run(agent_config()));
    assert!(may_run(json!({ "image": "registry.fly.io/{{vars.image}}" })), "only rendering tells");
    assert!(!may_run(json!({ "image": "nginx:1" })));
    assert!(!may_run(json!({ "image": "a/agent", "init": { "cmd": ["{{tenant}}"] } })));
}

#[test]
fn the_agent_runs_where_image_and_command_say_so() {
    let runs = |value: Value| runs_agent(&config(value));
    for image in [
        "agent",
        "agent:1",
        "registry.fly.io/vault-tenants/agent",
        "localhost:5000/vault/agent:1@sha256:0a",
        "a/agent@sha256:0a",
    ] {
        assert!(runs(json!({ "image": image })), "{image}");
        assert!(runs(json!({ "image": image, "init": { "cmd": [], "exec": null } })), "{image}");
        for member in ["exec", "entrypoint", "cmd"] {
            assert!(!runs(json!({ "image": image, "init": { member: ["sh"] } })), "{member}");
        }
    }
    for image in ["", "my-agent", "agent/box", "a/agents:1", "agent:1/x"] {
        assert!(!runs(json!({ "image": image })), "{image}");
    }
    assert!(!runs(json!({})));
}
