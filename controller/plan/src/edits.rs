//! What somebody else changed of a machine's config: the whole config, which the organization's
//! list does not show, compared with what we asked for.
//!
//! ```text
//!   asked    image  env.A  services[0].port                  ─▶ only these are compared
//!   seen     image  env.A  services[0].port  env.B  restart  ─▶ what else is there is not ours
//! ```
//!
//! Members are named, values never: they may be secret.

use serde_json::{Map, Value};

use crate::config::same_value;
use crate::desired::{DesiredMachine, DesiredTenant};
use crate::metadata::Marks;
use crate::observed::ObservedMachine;

/// The members of a machine's config, as paths such as `config.env.PLAN`, in which `seen` differs
/// from what `wanted` asks for; `None` if the machine was not made or updated for this `wanted`, so
/// that a difference says nothing about others.
///
/// Metadata is left out: every list shows it, and the planner compares it there.
#[must_use]
pub fn edited_members(
    tenant: &DesiredTenant,
    wanted: &DesiredMachine,
    machine: &ObservedMachine,
    seen: &Map<String, Value>,
) -> Option<Vec<String>> {
    let marks = Marks::read(&machine.metadata);
    if !marks.spec_hash.is_some_and(|hash| wanted.spec_hash.is(hash)) {
        return None;
    }
    let mut asked = wanted.config.render(&tenant.name, wanted.index);
    if tenant.app_is_shared {
        crate::action::see_only(&mut asked, &tenant.secrets);
    }
    asked.remove("metadata");
    let mut members = Vec::new();
    compare_members("config", &asked, seen, &mut members);
    Some(members)
}

fn compare_members(
    path: &str,
    asked: &Map<String, Value>,
    seen: &Map<String, Value>,
    found: &mut Vec<String>,
) {
    for (key, asked) in asked {
        let path = format!("{path}.{key}");
        match key.as_str() {
            // A volume is named by the manifest and identified by the platform, which lets no
            // update change it.
            "volume" if path.starts_with("config.mounts[") => {}
            "autostop" if stops(asked) == seen.get(key).and_then(stops) => {}
            _ => compare(&path, asked, seen.get(key), found),
        }
    }
}

fn compare(path: &str, asked: &Value, seen: Option<&Value>, found: &mut Vec<String>) {
    match (asked, seen) {
        (Value::Object(asked), Some(Value::Object(seen))) => {
            compare_members(path, asked, seen, found);
        }
        (Value::Array(asked), Some(Value::Array(seen))) if asked.len() == seen.len() => {
            for (place, (asked, seen)) in asked.iter().zip(seen).enumerate() {
                compare(&format!("{path}[{place}]"), asked, Some(seen), found);
            }
        }
        (asked, seen) if same_value(seen, asked) => {}
        _ => found.push(path.to_owned()),
    }
}

/// The platform takes a word or a truth value for `autostop`, and answers with either.
fn stops(value: &Value) -> Option<&str> {
    match value {
        Value::Bool(false) => Some("off"),
        Value::Bool(true) => Some("stop"),
        Value::String(word) => Some(word),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(asked: Value, seen: Value) -> Vec<String> {
        let (Value::Object(asked), Value::Object(seen)) = (asked, seen) else {
            panic!("configs are objects")
        };
        let mut found = Vec::new();
        compare_members("config", &asked, &seen, &mut found);
        found
    }

    #[test]
    fn only_what_we_set_is_compared_and_values_are_not_told() {
        let asked = json!({
            "image": "box:1",
            "env": {"PLAN": "pro", "TENANT": "acme", "volume": "loud"},
            "services": [{"internal_port": 8080, "autostop": "off", "ports": [{"port": 443}]}],
            "mounts": [{"volume": "data", "path": "/data"}],
            "init": {},
            "auto_destroy": false,
        });
        let same = json!({
            "image": "box:1",
            "env": {"PLAN": "pro", "TENANT": "acme", "volume": "loud", "OTHER": "x"},
            "services": [{
                "internal_port": 8080.0, "autostop": false, "protocol": "tcp",
                "ports": [{"port": 443, "handlers": ["tls"]}],
            }],
            "mounts": [{"volume": "vol_1", "path": "/data", "size_gb": 1}],
            "restart": {"policy": "always"},
        });
        assert_eq!(members(asked.clone(), same.clone()), [""; 0]);
        type Change = fn(&mut Value);
        let table: [(Change, &str); 8] = [
            (|seen| seen["env"]["PLAN"] = json!("free"), "config.env.PLAN"),
            (|seen| seen["env"]["volume"] = json!("vol_1"), "config.env.volume"),
            (|seen| drop(seen["env"].as_object_mut().unwrap().remove("PLAN")), "config.env.PLAN"),
            (
                |seen| seen["services"][0]["ports"][0]["port"] = json!(80),
                "config.services[0].ports[0].port",
            ),
            (
                |seen| seen["services"][0]["autostop"] = json!("suspend"),
                "config.services[0].autostop",
            ),
            (|seen| seen["services"] = json!([]), "config.services"),
            (|seen| seen["mounts"][0]["path"] = json!("/else"), "config.mounts[0].path"),
            (|seen| seen["auto_destroy"] = json!(true), "config.auto_destroy"),
        ];
        for (change, member) in table {
            let mut seen = same.clone();
            change(&mut seen);
            assert_eq!(members(asked.clone(), seen), [member]);
        }
    }

    #[test]
    fn a_machine_that_is_to_be_updated_anyway_is_not_judged() {
        use crate::testing;
        use vault_api::tenant::MachineState;

        let tenant = testing::tenant();
        let wanted = testing::wanted(MachineState::Started);
        let machine = testing::machine(crate::observed::PlatformState::Started, 0);
        let Value::Object(seen) = json!({"image": "box:1", "guest": {"cpus": 4}}) else { panic!() };
        let judged = edited_members(&tenant, &wanted, &machine, &seen);
        assert_eq!(judged, Some(vec!["config.guest.cpus".to_owned()]));
        let mut older = machine;
        older.metadata.insert(crate::metadata::SPEC_HASH.to_owned(), "00".to_owned());
        assert_eq!(edited_members(&tenant, &wanted, &older, &seen), None);
    }

    #[test]
    fn autostop_is_a_word_or_a_truth_value() {
        let differs = |asked: Value, seen: Value| {
            !members(json!({"autostop": asked}), json!({"autostop": seen})).is_empty()
        };
        assert!(!differs(json!("off"), json!(false)) && !differs(json!(true), json!("stop")));
        assert!(!differs(json!("suspend"), json!("suspend")));
        assert!(differs(json!("stop"), json!(false)) && differs(json!(true), json!("off")));
        assert!(differs(json!("suspend"), json!(true)));
    }
}
