//! The table of tenants that `dev` keeps at the bottom of a terminal, as text.

use console::truncate_str;
use jiff::Timestamp;
use vault_api::object::ConditionStatus;
use vault_api::status::condition;

use crate::object::Object;
use crate::output::live::Size;
use crate::output::table::render;
use crate::output::tables::{created, ready_machines, standing};

const COLUMNS: &[&str] = &["TENANT", "STATE", "MACHINES", "AGE", "MESSAGE"];
/// Lines of the terminal that are not for rows: the names of the columns, "and N more", the sum, the
/// cursor's own line, and two in which what happens can be read.
const OTHER_LINES: usize = 6;
/// A terminal of few lines shows this many rows all the same.
const ROWS_MIN: usize = 1;
/// What stands for the rest of a line that is too long.
const CUT: &str = "…";

/// The lines of the table, without a line end after the last: tenants that are not Ready first, as
/// many as fit, each narrower than the terminal. Ages are told at `now`.
pub(super) fn board(tenants: &[Object], now: Timestamp, size: Size) -> String {
    if tenants.is_empty() {
        return "no tenants yet".to_owned();
    }
    let mut order: Vec<(bool, &Object)> =
        tenants.iter().map(|tenant| (is_ready(tenant), tenant)).collect();
    order.sort_by_key(|(ready, tenant)| (*ready, tenant.name()));
    let ready = order.iter().filter(|(ready, _)| *ready).count();
    let fitting = size.rows.saturating_sub(OTHER_LINES).max(ROWS_MIN);
    let (shown, rest) = order.split_at(fitting.min(order.len()));

    let rows: Vec<Vec<String>> =
        shown.iter().map(|(ready, tenant)| row(*ready, tenant, now)).collect();
    let table = render(COLUMNS, &rows);
    let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
    if !rest.is_empty() {
        let waiting = rest.iter().filter(|(ready, _)| !ready).count();
        lines.push(match waiting {
            0 => format!("… and {} more, all Ready", rest.len()),
            _ => format!("… and {} more, {waiting} of them not Ready", rest.len()),
        });
    }
    lines.push(format!("{ready} of {} tenants Ready", tenants.len()));
    // A line as wide as the terminal would wrap on some terminals and not on others.
    let width = size.columns.saturating_sub(1);
    let cut: Vec<_> = lines.iter().map(|line| truncate_str(line, width, CUT)).collect();
    cut.join("\n")
}

fn is_ready(tenant: &Object) -> bool {
    !tenant.is_being_deleted() && standing(tenant).0 == ConditionStatus::True
}

fn row(ready: bool, tenant: &Object, now: Timestamp) -> Vec<String> {
    let (_, word) = standing(tenant);
    let status = tenant.tenant_status().unwrap_or_default();
    let message = tenant.condition(condition::READY).map(|ready| ready.message);
    vec![
        tenant.name().to_owned(),
        if ready { condition::READY.to_owned() } else { word },
        ready_machines(&status),
        created(tenant, now),
        message.unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use serde_json::json;

    use super::*;

    const LARGE: Size = Size { rows: 24, columns: 100 };

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn tenant(name: &str, ready: bool, message: &str) -> Object {
        let (status, reason) = if ready { ("True", "AllReady") } else { ("False", "Changing") };
        Object(json!({
            "kind": "Tenant", "metadata": { "name": name, "generation": 1,
                "creationTimestamp": "2026-03-01T11:59:00Z" },
            "spec": {},
            "status": {
                "observedGeneration": 1,
                "conditions": [{ "type": "Ready", "status": status, "observedGeneration": 1,
                    "lastTransitionTime": "2026-03-01T11:59:00Z", "reason": reason,
                    "message": message }],
                "machines": [{ "name": "a", "region": "ord", "ready": ready },
                    { "name": "b", "region": "ord", "ready": true }],
            },
        }))
    }

    fn fleet(ready: usize, waiting: usize) -> Vec<Object> {
        let ready = (0..ready).map(|index| tenant(&format!("a{index:03}"), true, "fine"));
        ready.chain((0..waiting).map(|index| tenant(&format!("z{index:03}"), false, ""))).collect()
    }

    #[test]
    fn who_is_not_ready_stands_first() {
        let mut going = tenant("acme-old", true, "2 of 2 machines are as wanted.");
        going.0["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z");
        let tenants = [
            tenant("acme", true, "2 of 2 machines are as wanted."),
            tenant("umbra", false, "1 of 2 machines is as wanted."),
            Object(json!({ "metadata": { "name": "new" } })),
            going,
        ];
        insta::assert_snapshot!(board(&tenants, now(), LARGE), @r"
        TENANT     STATE      MACHINES   AGE   MESSAGE
        acme-old   Deleting   2/2        60s   2 of 2 machines are as wanted.
        new        Pending    0/0        -     -
        umbra      Changing   1/2        60s   1 of 2 machines is as wanted.
        acme       Ready      2/2        60s   2 of 2 machines are as wanted.
        1 of 4 tenants Ready
        ");
        assert_eq!(board(&[], now(), LARGE), "no tenants yet");
    }

    #[test]
    fn there_are_never_more_lines_than_the_terminal_has() {
        for (rows, ready, waiting, said) in [
            (24, 18, 0, None),
            (24, 19, 0, Some("… and 1 more, all Ready")),
            (24, 1_000, 2, Some("… and 984 more, all Ready")),
            (24, 10, 20, Some("… and 12 more, 2 of them not Ready")),
            (5, 10, 0, Some("… and 9 more, all Ready")),
        ] {
            let size = Size { rows, columns: 80 };
            let text = board(&fleet(ready, waiting), now(), size);
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines.len() < rows, "{} lines of {rows}", lines.len());
            let more = lines.iter().find(|line| line.starts_with('…')).copied();
            assert_eq!(more, said, "{ready} Ready, {waiting} not, {rows} lines");
            let sum = format!("{ready} of {} tenants Ready", ready + waiting);
            assert_eq!(lines.last(), Some(&sum.as_str()));
        }
    }

    #[test]
    fn lines_are_cut_where_the_terminal_ends_however_wide_their_letters() {
        let tenants = [
            tenant("acme", false, &"wide 漢字 and é ".repeat(20)),
            tenant("umbra", true, "line\nbreak \u{1b}[2J"),
        ];
        for columns in 1..120 {
            let text = board(&tenants, now(), Size { rows: 24, columns });
            assert_eq!(text.lines().count(), 4);
            assert!(!text.contains('\u{1b}'));
            for line in text.lines() {
                let width = measure_text_width(line);
                assert!(width < columns.max(2), "{width} of {columns} columns: {line:?}");
            }
        }
        let text = board(&tenants, now(), Size { rows: 24, columns: 60 });
        assert!(text.lines().nth(1).unwrap().ends_with(CUT), "{text}");
    }
}
