//! Pure: two objects as a unified diff of their YAML.

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use similar::TextDiff;

use crate::object::Object;
use crate::output::yaml;

/// Lines around a change.
const CONTEXT: usize = 3;
/// What the controller keeps for itself in `metadata`.
const BOOKKEEPING: [&str; 5] =
    ["resourceVersion", "generation", "uid", "creationTimestamp", "managedFields"];

const ADDED: Style = AnsiColor::Green.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();
const PLACE: Style = AnsiColor::Cyan.on_default();
const FILE: Style = Style::new().bold();

/// The unified diff; empty if the two say the same. What the controller writes itself (status and
/// bookkeeping) is left out of both.
///
/// # Errors
/// An object has no form in YAML.
pub(super) fn unified(
    name: &str,
    live: Option<&Object>,
    wanted: &Object,
) -> anyhow::Result<String> {
    let before = live.map(written).transpose()?.unwrap_or_default();
    let after = written(wanted)?;
    if before == after {
        return Ok(String::new());
    }
    let diff = TextDiff::from_lines(&before, &after);
    let old = match live {
        Some(_) => format!("live/{name}"),
        None => "/dev/null".to_owned(),
    };
    let new = format!("applied/{name}");
    Ok(diff.unified_diff().context_radius(CONTEXT).header(&old, &new).to_string())
}

/// The same with colours; the stream drops them where they do not belong.
pub(super) fn coloured(diff: &str) -> String {
    let mut text = String::with_capacity(diff.len());
    for line in diff.split_inclusive('\n') {
        let style = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => FILE,
            [b'+', ..] => ADDED,
            [b'-', ..] => REMOVED,
            [b'@', ..] => PLACE,
            _ => Style::new(),
        };
        let plain = line.trim_end_matches('\n');
        text.push_str(&format!("{style}{plain}{style:#}\n"));
    }
    text
}

fn written(object: &Object) -> anyhow::Result<String> {
    let mut value = object.0.clone();
    if let Some(members) = value.as_object_mut() {
        members.remove("status");
        if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
            for member in BOOKKEEPING {
                metadata.remove(member);
            }
        }
    }
    yaml(&value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tenant(version: &str, region: &str) -> Object {
        Object(json!({
            "apiVersion": "vaultctl.dev/v1", "kind": "Tenant",
            "metadata": { "name": "acme", "resourceVersion": version, "generation": 1 },
            "spec": { "machines": [{ "name": "box", "region": region }] },
            "status": { "machines": [version] },
        }))
    }

    #[test]
    fn a_change_is_shown_with_its_surroundings() {
        let text = unified("tenant/acme", Some(&tenant("1", "ord")), &tenant("2", "lhr")).unwrap();
        insta::assert_snapshot!(text, @r"
        --- live/tenant/acme
        +++ applied/tenant/acme
        @@ -5,4 +5,4 @@
         spec:
           machines:
           - name: box
        -    region: ord
        +    region: lhr
        ");
    }

    #[test]
    fn bookkeeping_is_no_difference() {
        let text = unified("tenant/acme", Some(&tenant("1", "ord")), &tenant("2", "ord")).unwrap();
        assert_eq!(text, "");
    }

    #[test]
    fn a_new_object_is_all_additions() {
        let text = unified("tenant/acme", None, &tenant("2", "ord")).unwrap();
        assert!(
            text.starts_with("--- /dev/null\n+++ applied/tenant/acme\n@@ -0,0 +1,8 @@\n"),
            "{text}"
        );
        assert!(text.lines().skip(3).all(|line| line.starts_with('+')), "{text}");
    }

    #[test]
    fn colours_go_around_lines() {
        let text = coloured("+a\n b\n");
        assert_eq!(text, "\x1b[32m+a\x1b[0m\n b\n");
    }
}
