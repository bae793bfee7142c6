use vault_api::status::{MachineStatus, TenantStatus};
use vault_cloud::logs::LogLine;
use vault_cloud::machines::Exit;

use super::*;
use crate::testing::rejected;

fn machine(name: &str, ready: bool) -> MachineStatus {
    MachineStatus {
        name: name.to_owned(),
        id: Some(format!("id-of-{name}")),
        state: Some(if ready { "started" } else { "stopped" }.to_owned()),
        region: "ord".to_owned(),
        private_ip: None,
        version: None,
        ready,
        replacing: false,
        agent: None,
    }
}

async fn with_machines(machines: Vec<MachineStatus>) -> Stage {
    let stage = Stage::new().await;
    put(&stage.store, &tenant("acme", "nginx:1"), Source::Api).await;
    let status =
        TenantStatus { app: Some("acme-app".to_owned()), machines, ..TenantStatus::default() };
    let statuses = vec![("acme".to_owned(), serde_json::to_string(&status).unwrap())];
    stage.store.put_statuses(statuses).await.unwrap();
    stage
}

impl Stage {
    /// A diagnosis of what does not answer: time goes on until there is an answer.
    async fn diagnosis_in_time(&self) -> (u16, Value) {
        let path = format!("{}/diagnosis", acme());
        let answer = self.get(&path);
        tokio::pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = tokio::task::yield_now() => {
                    self.clock.advance(std::time::Duration::from_secs(1));
                }
            }
        }
    }
}

fn exit(at_ms: i64, exit_code: i64) -> Exit {
    Exit {
        at: jiff::Timestamp::from_millisecond(at_ms).ok(),
        exit_code: Some(exit_code),
        signal: None,
        oom_killed: false,
        requested_stop: false,
        restarting: true,
    }
}

#[tokio::test]
async fn a_machine_that_does_not_come_up_tells_its_exits_and_the_end_of_its_log() {
    let missing = MachineStatus { id: None, state: None, ..machine("acme-box-2", false) };
    let machines = vec![machine("acme-box-0", false), machine("acme-box-1", true), missing];
    let stage = with_machines(machines).await;
    {
        let mut world = stage.platform.world();
        let newest_first = (0..12).rev().map(|number| exit(NOW.0 + number * 1_000, number));
        world.exits.insert("id-of-acme-box-0".to_owned(), newest_first.collect());
        let line = |number: i32| LogLine { at: None, message: format!("line {number}") };
        world.logs.insert("id-of-acme-box-0".to_owned(), (0..30).map(line).collect());
    }
    let (code, diagnosis) = stage.get(&format!("{}/diagnosis", acme())).await;
    assert_eq!((code, &diagnosis["kind"]), (200, &json!("Diagnosis")));
    assert_eq!(diagnosis["metadata"], json!({ "name": "acme" }));
    let machines = diagnosis["machines"].as_array().unwrap();
    assert_eq!(machines.len(), 1, "the others are as wanted, or do not exist");
    let read = &machines[0];
    assert_eq!((&read["name"], &read["state"]), (&json!("acme-box-0"), &json!("stopped")));
    let exits = read["exits"].as_array().unwrap();
    assert_eq!((exits.len(), &exits[0]["exitCode"]), (10, &json!(2)));
    let last = json!({
        "at": "2026-01-01T00:00:11Z", "exitCode": 11, "signal": null, "oomKilled": false,
        "requestedStop": false, "restarting": true,
    });
    assert_eq!(exits[9], last);
    let log = read["log"].as_array().unwrap();
    assert_eq!((log.len(), &log[19]), (20, &json!({ "at": null, "message": "line 29" })));
    assert_eq!(read.get("trouble"), None);

    let (_, all) = stage.get(&format!("{}/diagnosis?all=true", acme())).await;
    assert_eq!(all["machines"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_hides_nothing_else() {
    let stage = with_machines(vec![machine("acme-box-0", false)]).await;
    stage.platform.fail("exits", rejected(500, "flyd is away"), false);
    stage.platform.world().silent_logs = true;
    let (code, diagnosis) = stage.diagnosis_in_time().await;
    let trouble = diagnosis["machines"][0]["trouble"].as_str().unwrap();
    assert_eq!(code, 200);
    assert!(trouble.contains("exits could not be read") && trouble.contains("flyd is away"));
    assert!(trouble.contains("did not answer within 5 s"), "{trouble}");
}

#[tokio::test]
async fn only_so_many_machines_are_read_and_so_many_diagnoses_made() {
    let machines = (0..25).map(|number| machine(&format!("acme-box-{number}"), false)).collect();
    let stage = with_machines(machines).await;
    let (_, diagnosis) = stage.get(&format!("{}/diagnosis", acme())).await;
    let machines = diagnosis["machines"].as_array().unwrap();
    let unread = machines.iter().filter(|machine| machine["trouble"].is_string()).count();
    assert_eq!((machines.len(), unread), (25, 5));
    assert_eq!(stage.platform.world().calls.len(), 40);

    stage.platform.world().silent_logs = true;
    let permits = stage.app.diagnoses.try_acquire_many(u32::try_from(DIAGNOSES_MAX).unwrap());
    let (code, status) = stage.get(&format!("{}/diagnosis", acme())).await;
    assert_eq!((code, &status["details"]["retryAfterSeconds"]), (503, &json!(1)));
    drop(permits);
    assert_eq!(stage.diagnosis_in_time().await.0, 200);
}

#[tokio::test]
async fn only_tenants_are_diagnosed_and_only_by_known_options() {
    let stage = with_machines(vec![]).await;
    assert_eq!(stage.get(&format!("{TENANTS}/nobody/diagnosis")).await.0, 404);
    assert_eq!(stage.get(&format!("{}/diagnosis?al=true", acme())).await.0, 400);
    let (code, diagnosis) = stage.get(&format!("{}/diagnosis", acme())).await;
    assert_eq!((code, &diagnosis["machines"]), (200, &json!([])));
}
