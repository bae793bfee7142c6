//! One YAML document as a bare value: for bodies of requests, which are read by the same rules as
//! manifests.

use serde_json::Value;

use super::located::{LocatedProblem, Location};
use super::source::Source;
use super::tree;

/// Reads one YAML document, which JSON is as well. `name` is what problems call it.
///
/// # Errors
/// What is wrong with the text, a key that stands twice included; or that it is not one document.
pub fn read_value(name: &str, text: &[u8]) -> Result<Value, Vec<LocatedProblem>> {
    let source = Source::new(name, text);
    let mut problems: Vec<LocatedProblem> = source.problems().collect();
    let roots = tree::read(&source, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    match roots.as_slice() {
        [root] => Ok(root.node.to_value()),
        [] => Err(vec![source.problem(Location::START, "there is no document".to_owned())]),
        [_, second, ..] => {
            let message = "one document is expected here, and there are more".to_owned();
            Err(vec![source.problem(second.node.location, message)])
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_document_is_read_and_anything_else_is_refused() {
        let read = |text: &str| read_value("body", text.as_bytes());
        assert_eq!(read("a: [1, yes]\n").unwrap(), json!({ "a": [1, "yes"] }));
        assert_eq!(read("---\n{\"a\": 1}\n").unwrap(), json!({ "a": 1 }));
        for text in ["", "a: 1\n---\nb: 2\n", "a: 1\na: 2\n", "a: [", "<<: 1\n"] {
            let problems = read(text).unwrap_err();
            assert!(problems[0].to_string().starts_with("body:"), "{text:?}: {}", problems[0]);
        }
    }
}
