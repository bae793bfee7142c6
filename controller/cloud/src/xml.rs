//! Answers of storage, in XML. Its root is looked at first: whatever another page says, it is no
//! list that happens to be empty.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest error that is read, in bytes; more is a page of something in between.
const FAILURE_BYTES_MAX: usize = 64 << 10;

/// Why an answer is not the one that was asked for. Quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlProblem {
    /// No UTF-8.
    #[error("it is no text")]
    Text,
    /// Another root element, or none.
    #[error("it is another document than the one that was asked for")]
    Root,
    /// Not well-formed, or something is missing.
    #[error("its XML is broken, or lacks something that belongs to it")]
    Shape,
}

/// Reads a whole document whose root element has this name, in any name space.
///
/// # Errors
/// [`XmlProblem`].
pub(crate) fn read<T: DeserializeOwned>(body: &[u8], root: &str) -> Result<T, XmlProblem> {
    let text = std::str::from_utf8(body).map_err(|_| XmlProblem::Text)?;
    if root_of(text).as_deref() != Some(root) {
        return Err(XmlProblem::Root);
    }
    quick_xml::de::from_str(text).map_err(|_| XmlProblem::Shape)
}

/// Code and message of an error, in the forms of S3 and of IAM.
pub(crate) fn failure(body: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Said {
        code: String,
        #[serde(default)]
        message: String,
    }
    #[derive(Deserialize)]
    struct Wrapped {
        #[serde(rename = "Error")]
        error: Said,
    }
    let front = body.get(..FAILURE_BYTES_MAX).unwrap_or(body);
    let said: Said = match root_of(std::str::from_utf8(front).ok()?)?.as_str() {
        "Error" => read(front, "Error").ok()?,
        "ErrorResponse" => read::<Wrapped>(front, "ErrorResponse").ok()?.error,
        _ => return None,
    };
    Some((said.code, said.message))
}

/// The name of the first element, without its prefix.
fn root_of(text: &str) -> Option<String> {
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) | Event::Empty(start) => {
                let name = start.local_name();
                return std::str::from_utf8(name.as_ref()).ok().map(str::to_owned);
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Rows {
        #[serde(rename = "Row", default)]
        rows: Vec<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Answer {
        #[serde(rename = "Rows")]
        rows: Rows,
    }

    #[test]
    fn only_the_document_that_was_asked_for_is_read() {
        let read = |text: &str| read::<Answer>(text.as_bytes(), "Answer").map(|it| it.rows.rows);
        let prefix = "<?xml version='1.0'?><!-- x --><a:Answer xmlns:a='urn:a'><a:Rows>";
        let whole = format!("{prefix}<a:Row>&lt;1&gt;</a:Row><a:Row>2</a:Row></a:Rows></a:Answer>");
        assert_eq!(read(&whole), Ok(vec!["<1>".to_owned(), "2".to_owned()]));
        assert_eq!(read("<Answer><Rows/></Answer>"), Ok(Vec::new()));
        for (text, problem) in [
            ("", XmlProblem::Root),
            ("{}", XmlProblem::Root),
            ("<html><Rows/></html>", XmlProblem::Root),
            ("<Error><Code>x</Code></Error>", XmlProblem::Root),
            ("<Answer/>", XmlProblem::Shape),
            ("<Answer><Rows><Row>1</Row>", XmlProblem::Shape),
            ("<Answer><Rows><Row>1</Rows></Answer>", XmlProblem::Shape),
            ("<Answer><Rows><Row>&nobody;</Row></Rows></Answer>", XmlProblem::Shape),
        ] {
            assert_eq!(read(text), Err(problem), "{text}");
        }
        assert_eq!(super::read::<Answer>(b"<Answer>\xff", "Answer"), Err(XmlProblem::Text));
    }

    #[test]
    fn entities_of_a_document_are_not_expanded() {
        let bomb =
            "<!DOCTYPE x [<!ENTITY a 'aaaaaaaa'>]><Answer><Rows><Row>&a;</Row></Rows></Answer>";
        assert_eq!(read::<Answer>(bomb.as_bytes(), "Answer"), Err(XmlProblem::Shape));
    }

    #[test]
    fn depth_alone_breaks_nothing() {
        let deep = "<a>".repeat(200_000) + &"</a>".repeat(200_000);
        let text = format!("<Answer><More>{deep}</More><Rows/></Answer>");
        assert_eq!(
            read::<Answer>(text.as_bytes(), "Answer"),
            Ok(Answer { rows: Rows { rows: vec![] } })
        );
    }
}
