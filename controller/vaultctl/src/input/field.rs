//! Field paths as they stand in a Status: `spec.machines[0].region`, `metadata.labels[a.b/c]`.

use vault_api::problem::{FieldPath, Step};

/// The path that a text means. Whatever the text is, there is a path; one that does not exist in
/// the document is shown at its nearest ancestor that does.
pub(super) fn parse(text: &str) -> FieldPath {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let step;
        (step, rest) = match rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
            Some((inside, after)) => (inside.trim_matches(['"', '\'']), after),
            None => {
                // An opening bracket that is never closed is part of a name.
                let end = rest
                    .char_indices()
                    .skip(1)
                    .find(|(_, letter)| matches!(letter, '.' | '['))
                    .map_or(rest.len(), |(position, _)| position);
                rest.split_at(end)
            }
        };
        let is_index = text[..text.len() - rest.len()].ends_with(']');
        steps.push(match step.parse() {
            Ok(index) if is_index => Step::Index(index),
            _ => Step::Field(step.to_owned()),
        });
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    FieldPath(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_printed() {
        for text in ["", "spec", "spec.machines[0].region", "spec.machines[10].config.mounts[1]"] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn keys_may_stand_in_brackets() {
        let labels = FieldPath::default().field("metadata").field("labels");
        assert_eq!(parse("metadata.labels[a.b/c]"), labels.field("a.b/c"));
        assert_eq!(parse("metadata.labels[\"x\"].y"), labels.field("x").field("y"));
    }

    #[test]
    fn anything_is_a_path() {
        for text in [".", "..", "[", "a[", "[]", "a..b", "é.[é"] {
            parse(text);
        }
    }
}
