//! Documents, matching and what answers become, on data.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ACTIONS, Call, Fault, Faults, Kind, Subject};

fn at(millisecond: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + millisecond).expect("a time")
}

fn faults(document: &Value) -> Faults {
    let mut faults = Faults::default();
    let read = Fault::read_json(document.to_string().as_bytes());
    faults.replace(at(0), read.unwrap_or_else(|problems| panic!("{problems}")));
    faults
}

fn machine_subject(app: &str, name: &str) -> Subject {
    Subject {
        app: Some(app.to_owned()),
        machine_name: Some(name.to_owned()),
        machine_id: Some("0123456789abcd".to_owned()),
        region: Some("ord".to_owned()),
        ..Subject::default()
    }
}

fn labels(faults: &mut Faults, time: i64, call: &str, subject: &Subject) -> Vec<String> {
    let (method, path) = call.split_once(' ').expect("a request line");
    let hits = faults.arrive(at(time), &Call::new(method, path), subject);
    hits.into_iter().map(|hit| hit.label).collect()
}

#[test]
fn every_action_is_found_by_its_own_line_and_names_are_unique() {
    for action in ACTIONS {
        let path = action.path.replace(['{', '}'], "");
        let call = Call::new(action.method, &path);
        assert_eq!(call.action, Some(action));
        assert_eq!(call.app.is_some(), action.path.contains("{app}"), "{path}");
        assert_eq!(ACTIONS.iter().filter(|other| other.name == action.name).count(), 1);
    }
    assert_eq!(Call::new("GET", "/v1/apps/").action, None);
    assert_eq!(Call::new("GET", "/v2/apps").action, None);
}

#[test]
fn yaml_and_json_say_the_same() {
    let yaml = "
# One lost answer.
- kind: lost-reply
  action: create-machine
  app: acme-*
  after: 1
  times: 2
- { kind: latency, delay: 250ms, method: [GET, POST], probability: 0.5, seed: 7, for: 1m }
";
    let json = json!([
        { "kind": "lost-reply", "action": "create-machine", "app": "acme-*", "after": 1, "times": 2 },
        { "kind": "latency", "delay": "250ms", "method": ["GET", "POST"], "probability": 0.5,
          "seed": 7, "for": "1m" },
    ]);
    let read = Fault::read_yaml(yaml).expect("reads");
    assert_eq!(read, Fault::read_json(json.to_string().as_bytes()).expect("reads"));
    assert_eq!(read[1].kind, Kind::Latency(std::time::Duration::from_millis(250)));
    assert_eq!(Fault::read_yaml("").expect("reads"), []);
    // What is shown can be put back.
    let shown = faults(&json).show(at(0));
    assert_eq!(shown[0]["fired"], 0);
    assert_eq!(Fault::read_json(shown.to_string().as_bytes()).expect("reads"), read);
}

#[test]
fn wrong_documents_get_errors_that_name_the_place_and_the_nearest_word() {
    let cases = [
        (
            "- kind: lost-replay",
            "f:1:9: fault 1: kind: unknown kind `lost-replay`; did you mean `lost-reply`?",
        ),
        ("- times: 1", "f:1:3: fault 1: kind: every fault names its kind"),
        (
            "- kind: lost-reply\n  tmes: 1",
            "f:2:9: fault 1 (lost-reply): unknown member `tmes`; did you mean `times`?",
        ),
        ("- kind: lost-reply\n  status: 500", "unknown member `status`"),
        ("- kind: lost-reply\n  action: create-machin", "did you mean `create-machine`?"),
        ("- kind: lost-reply\n  method: post", "unknown method `post`"),
        ("- kind: lost-reply\n  path: /v1/app/{app}", "did you mean `/v1/apps/{app}`?"),
        (
            "- kind: region-full\n  action: start-machine",
            "this kind concerns create-machine, create-volume only",
        ),
        ("- kind: migration\n  action: read-machine", "happens to machines, not to calls"),
        ("- kind: latency", "this kind needs `delay`"),
        ("- kind: latency\n  delay: 5", "5 is not a span of time"),
        ("- kind: latency\n  delay: 2d", "is not a span of time of at most a day"),
        ("- kind: fail\n  status: 200", "200 is not an HTTP status from 400 to 599"),
        ("- kind: fail\n  probability: 2", "2 is not a number from 0 to 1"),
        ("- kind: fail\n  times: -1", "-1 is not a number from 0"),
        ("- kind: partial-list\n  regions: [orf]", "unknown regions `orf`; did you mean `ord`?"),
        ("- kind: flicker\n  state: stoped", "did you mean `stopped`?"),
        ("kind: fail", "this is no list of faults"),
        ("- kind: [", "this is no list of faults"),
    ];
    for (text, wanted) in cases {
        let problems = Fault::read_yaml(text).expect_err(text).located("f");
        assert!(problems.contains(wanted), "{text}\n{problems}");
    }
    let two = Fault::read_yaml("- kind: a\n- kind: fail\n  x: 1").expect_err("wrong").0;
    assert_eq!(two.len(), 2, "all of them at once: {two:?}");
    let many = Value::from(vec![json!({ "kind": "fail" }); 1001]);
    let error = Fault::read_json(many.to_string().as_bytes()).expect_err("too many");
    assert!(error.to_string().contains("at most 1000"), "{error}");
}

#[test]
fn a_fault_meets_whom_it_names() {
    let create = "POST /v1/apps/acme-1/machines";
    let update = "POST /v1/apps/acme-1/machines/0123456789abcd";
    let cases = [
        (json!({ "kind": "fail" }), create, true),
        (json!({ "kind": "fail", "action": "create-machine" }), create, true),
        (json!({ "kind": "fail", "action": ["update-machine", "create-app"] }), create, false),
        (json!({ "kind": "fail", "method": "GET" }), create, false),
        (json!({ "kind": "fail", "path": "/v1/apps/{app}/machines" }), create, true),
        (json!({ "kind": "fail", "path": "/v1/apps/{app}/machines" }), update, false),
        (json!({ "kind": "fail", "app": "acme-*", "machine": "*-0" }), update, true),
        (json!({ "kind": "fail", "app": "umbra-*" }), update, false),
        (json!({ "kind": "fail", "machine": "0123*" }), update, true),
        (json!({ "kind": "fail", "region": "ams" }), update, false),
        (json!({ "kind": "fail", "region": ["ams", "ord"] }), update, true),
        (json!({ "kind": "act-then-fail" }), "GET /v1/apps", false),
        (json!({ "kind": "dead-host" }), create, false),
        (json!({ "kind": "dead-host" }), update, true),
        (json!({ "kind": "host-full" }), update, true),
        (json!({ "kind": "host-full" }), "GET /v1/apps", false),
        // Kinds that change answers, or machines, stop no call.
        (json!({ "kind": "empty-list" }), "GET /v1/apps", false),
        (json!({ "kind": "slow-image", "delay": "1s" }), create, false),
    ];
    for (document, call, meets) in cases {
        let mut faults = faults(&json!([document.clone()]));
        let hits = labels(&mut faults, 0, call, &machine_subject("acme-1", "acme-box-0"));
        assert_eq!(!hits.is_empty(), meets, "{document} {call}");
    }
}

#[test]
fn faults_of_one_call_are_counted_each_by_itself() {
    let mut faults = faults(&json!([
        { "kind": "latency", "delay": "1s", "name": "slow", "after": 1 },
        { "kind": "fail", "times": 1 },
    ]));
    let subject = Subject::default();
    assert_eq!(labels(&mut faults, 0, "GET /v1/apps", &subject), ["fail"]);
    assert_eq!(labels(&mut faults, 0, "GET /v1/apps", &subject), ["slow"]);
    let shown = faults.show(at(0));
    let counts = |place: usize| (&shown[place]["matched"], &shown[place]["fired"]);
    assert_eq!(counts(0), (&json!(2), &json!(1)));
    assert_eq!(counts(1), (&json!(1), &json!(1)));
    assert_eq!((&shown[0]["active"], &shown[1]["active"]), (&json!(true), &json!(false)));
}

#[test]
fn a_start_is_refused_only_while_the_version_is_young() {
    let mut faults = faults(&json!([{ "kind": "start-refused", "delay": "2s" }]));
    let start = "POST /v1/apps/a/machines/0123456789abcd/start";
    let subject = Subject { version_at: Some(at(0)), ..machine_subject("a", "m") };
    assert_eq!(labels(&mut faults, 1_999, start, &subject).len(), 1);
    assert_eq!(labels(&mut faults, 2_000, start, &subject).len(), 0);
}

/// What an answer becomes.
fn answered(document: &Value, call: &str, mut body: Value) -> Value {
    let (method, path) = call.split_once(' ').expect("a request line");
    faults(&json!([document])).answer(at(0), &Call::new(method, path), path, &mut body);
    body
}

#[test]
fn lists_lose_rows_and_say_so_or_not() {
    let machines = "GET /v1/orgs/local/machines";
    let row = |name: &str, region: &str| {
        json!({ "id": name, "name": name, "app_name": format!("{name}-app"), "region": region,
                "state": "started", "config": { "image": "i", "metadata": { "k": "v" } } })
    };
    let body = json!({ "machines": [row("a", "ams"), row("b", "ord")], "error_regions": [],
                       "next_cursor": "x", "last_machine_id": "b" });
    let none = answered(&json!({ "kind": "empty-list" }), machines, body.clone());
    assert_eq!(none, json!({ "machines": [], "error_regions": [] }));
    let one = answered(&json!({ "kind": "empty-list", "app": "a-*" }), machines, body.clone());
    assert_eq!(one["machines"], json!([row("b", "ord")]));
    assert_eq!(one["next_cursor"], "x");
    let partial = json!({ "kind": "partial-list", "regions": ["ord", "sjc"] });
    let partial = answered(&partial, machines, body.clone());
    assert_eq!(partial["machines"], json!([row("a", "ams")]));
    assert_eq!(partial["error_regions"], json!(["ord", "sjc"]));
    let dead = answered(&json!({ "kind": "dead-host", "machine": "b" }), machines, body.clone());
    assert_eq!(dead["machines"][0], row("a", "ams"));
    assert_eq!(dead["machines"][1]["config"], Value::Null);
    let flicker = json!({ "kind": "flicker", "state": "replacing", "region": "ams" });
    let flicker = answered(&flicker, machines, body.clone());
    assert_eq!(flicker["machines"][0]["state"], "replacing");
    assert_eq!(flicker["machines"][1]["state"], "started");
    let apps = json!({ "total_apps": 1, "apps": [{ "name": "a" }] });
    let none = answered(&json!({ "kind": "empty-list" }), "GET /v1/apps", apps.clone());
    assert_eq!(none, json!({ "total_apps": 0, "apps": [] }));
    let other =
        answered(&json!({ "kind": "empty-list", "app": "b" }), "GET /v1/apps", apps.clone());
    assert_eq!(other, apps);
}

#[test]
fn a_machine_on_a_dead_host_shows_no_config_and_no_metadata() {
    let body = json!({ "id": "m", "name": "n", "state": "started", "region": "ord",
        "host_status": "ok", "incomplete_config": null,
        "config": { "image": "i", "guest": { "cpus": 1 }, "metadata": { "k": "v" } } });
    let shown = answered(&json!({ "kind": "dead-host" }), "GET /v1/apps/a/machines/m", body);
    assert_eq!(shown["config"], Value::Null);
    assert_eq!(shown["incomplete_config"], json!({ "image": "i", "guest": { "cpus": 1 } }));
    assert_eq!(
        (&shown["host_status"], &shown["state"]),
        (&json!("unreachable"), &json!("started"))
    );
}

#[test]
fn drift_adds_and_nulls_but_leaves_what_callers_wrote() {
    let config = json!({ "services": [], "metadata": { "k": "v" } });
    let body = json!({ "id": "m", "instance_id": "1", "checks": [], "config": config,
                       "events": [{ "type": "exit" }] });
    let drifted = answered(&json!({ "kind": "wire-drift" }), "GET /v1/apps/a/machines/m", body);
    assert_eq!((&drifted["config"], &drifted["checks"]), (&config, &Value::Null));
    assert_eq!((&drifted["InstanceId"], &drifted["id"]), (&json!("1"), &json!("m")));
    assert!(drifted["undocumented"].is_object() && drifted["events"][0]["Type"] == "exit");
}
