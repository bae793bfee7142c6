//! What tells why a machine does not come up: its exits and its log.

use std::sync::Mutex;

use vault_cloud::counts::{Attempt, CallObserver, CallOutcome};
use vault_cloud::logs::LogsClient;
use vault_cloud::machines::Exit;

use super::*;

fn logs(platform: &Platform) -> LogsClient {
    LogsClient::new(config(&platform.url())).unwrap()
}

fn page(numbers: std::ops::Range<u32>, next: &str) -> Answer {
    let row = |number: u32| {
        json!({"id": number.to_string(), "type": "log", "attributes": {
            "timestamp": "2026-01-01T00:00:00Z", "message": format!("line {number}\n"),
            "level": "info", "instance": "m1", "region": "ord", "meta": {},
        }})
    };
    let rows: Vec<_> = numbers.map(row).collect();
    Answer::json(200, json!({"data": rows, "meta": {"next_token": next}}))
}

#[tokio::test]
async fn both_spellings_of_an_exit_are_read_and_other_events_are_none() {
    let platform = Platform::start().await;
    platform.answers([Answer::json(
        200,
        json!([
            {"id": "4", "type": "start", "status": "started", "source": "flyd", "timestamp": 4},
            {"id": "3", "type": "exit", "status": "stopped", "source": "flyd", "timestamp": 3,
             "request": {"exit_event": {"exit_code": 137, "signal": 9, "oom_killed": true,
                "requested_stop": false, "restarting": true, "exited_at": "2026-01-01T00:00:00Z"}}},
            {"id": "2", "type": "exit", "status": "stopped", "source": "flyd", "timestamp": 2_000,
             "request": {"MonitorEvent": {"exit_event": {"guest_exit_code": 1, "signal": -1,
                "guest_signal": -1, "requested_stop": true, "exited_at": null}}, "restart_count": 1}},
            {"id": "1", "type": "exit", "timestamp": 1, "request": {"exit_event": {"exited_at": 5_000}}},
            {"id": "0", "type": "exit", "request": "surprise"},
            7,
        ]),
    )]);
    let events = client(&platform).machine_events("t-42", "m1").await.unwrap();
    assert_eq!(platform.requests(), ["GET /v1/apps/t-42/machines/m1/events?limit=50 "]);
    let exits: Vec<_> = events.iter().filter_map(Exit::of_event).collect();
    let told: Vec<_> = exits
        .iter()
        .map(|exit| (exit.at.map(|at| at.as_millisecond()), exit.exit_code, exit.signal))
        .collect();
    assert_eq!(
        told,
        [
            (Some(1_767_225_600_000), Some(137), Some(9)),
            (Some(2_000), Some(1), None),
            (Some(5_000), None, None),
            (None, None, None),
        ]
    );
    assert!(exits[0].oom_killed && exits[0].restarting && !exits[0].requested_stop);
    assert!(exits[1].requested_stop && !exits[1].oom_killed && !exits[1].restarting);
}

#[tokio::test]
async fn the_tail_of_a_log_is_at_the_end_of_its_last_page() {
    let platform = Platform::start().await;
    platform.answers([page(0..100, "a/b"), page(100..200, "c"), page(200..205, "d")]);
    let tail = logs(&platform).tail("t-42", "m1", "ord", 20).await.unwrap();
    assert_eq!(
        platform.requests(),
        [
            "GET /api/v1/apps/t-42/logs?instance=m1&region=ord ",
            "GET /api/v1/apps/t-42/logs?instance=m1&region=ord&next_token=a%2Fb ",
            "GET /api/v1/apps/t-42/logs?instance=m1&region=ord&next_token=c ",
        ]
    );
    assert_eq!(platform.headers(0)["authorization"], "FlyV1 fm2_test");
    let lines: Vec<_> = tail.lines.iter().map(|line| line.message.clone()).collect();
    let expected: Vec<_> = (185..205).map(|number| format!("line {number}")).collect();
    assert_eq!((lines, tail.is_longer), (expected, false));
}

#[tokio::test]
async fn a_log_without_end_is_left_and_one_that_repeats_itself_too() {
    let platform = Platform::start().await;
    platform.answers((0..9).map(|number| page(0..100, &format!("t{number}"))));
    let tail = logs(&platform).tail("t-42", "m1", "ord", 20).await.unwrap();
    assert!(tail.is_longer);
    assert_eq!((tail.lines.len(), platform.requests().len()), (20, 5));
    let platform = Platform::start().await;
    platform.answers((0..9).map(|_| page(0..100, "same")));
    let tail = logs(&platform).tail("t-42", "m1", "ord", 20).await.unwrap();
    assert!(!tail.is_longer);
    assert_eq!(platform.requests().len(), 2);
}

#[tokio::test]
async fn a_line_can_neither_steer_a_terminal_nor_fill_the_memory_nor_be_another_machines() {
    let platform = Platform::start().await;
    let row = |message: Value, instance: &str| json!({"attributes": {"message": message, "instance": instance}});
    platform.answers([Answer::json(
        200,
        json!({"data": [
            row(json!("\u{1b}]0;owned\u{7}red\r\n"), "m1"),
            row(json!("x".repeat(100_000)), "m1"),
            row(json!("theirs"), "m2"),
            row(json!(null), "m1"),
            {"attributes": 7},
        ], "meta": {}}),
    )]);
    let tail = logs(&platform).tail("t-42", "m1", "ord", 20).await.unwrap();
    let lines: Vec<_> = tail.lines.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((lines[0], lines[1].len(), lines[2]), (" ]0;owned red", 2_048, ""));
}

#[derive(Default)]
struct Attempts(Mutex<Vec<Attempt<'static>>>);

impl CallObserver for Attempts {
    fn call(&self, attempt: &Attempt<'_>) {
        self.0.lock().unwrap().push(Attempt { fly_request_id: None, ..*attempt });
    }
}

#[tokio::test]
async fn every_attempt_is_told_with_its_status_and_whether_it_was_the_first() {
    let platform = Platform::start().await;
    platform.answers([Answer::text(503, ""), Answer::json(200, json!([])), Answer::text(404, "")]);
    let attempts = Arc::new(Attempts::default());
    let mut config = config(&platform.url());
    config.observer = Some(Arc::clone(&attempts) as _);
    let client = MachinesClient::new(config).unwrap();
    client.machine_events("t-42", "m1").await.unwrap();
    client.stop_machine("t-42", "m1", None).await.unwrap_err();
    let told: Vec<_> = attempts
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|one| {
            let status = one.status.map(|status| status.as_u16());
            (one.operation.name(), one.outcome, status, one.repeated)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("list_machine_events", CallOutcome::Unknown, Some(503), false),
            ("list_machine_events", CallOutcome::Done, Some(200), true),
            ("stop_machine", CallOutcome::Rejected, Some(404), false),
        ]
    );
}
