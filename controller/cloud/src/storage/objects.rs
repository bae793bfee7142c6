//! Emptying a bucket: only an empty one can be removed.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::StorageClient;
use crate::error::{CallError, UnknownCause};
use crate::http::Request;
use crate::operation::Operation;

/// Objects removed per call: what S3 takes in one request.
const PAGE_LIMIT: &str = "1000";
/// The longest key of an object, in bytes: S3's bound.
const KEY_BYTES_MAX: usize = 1_024;

/// What one step of emptying a bucket came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Emptied {
    /// Objects that are gone now.
    pub removed: usize,
    /// Objects that storage would not remove.
    pub refused: usize,
    /// The bucket holds more than this step looked at: take another one.
    pub more: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ObjectPage {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    contents: Vec<ObjectRow>,
}

#[derive(Deserialize)]
struct ObjectRow {
    #[serde(rename = "Key")]
    key: String,
}

#[derive(Deserialize)]
struct Removed {
    #[serde(rename = "Error", default)]
    errors: Vec<serde::de::IgnoredAny>,
}

impl StorageClient {
    /// Removes the first thousand objects of a bucket, for good. To be called again while it says
    /// that there are more, unless it removes none.
    ///
    /// # Errors
    /// [`CallError`]; not found if there is no such bucket.
    pub async fn empty_bucket(&self, name: &str) -> Result<Emptied, CallError> {
        let list = Request::new(Operation::ListObjects, &[name], name).list();
        let list = list.query("encoding-type", "url").query("list-type", "2");
        let list = list.query("max-keys", PAGE_LIMIT);
        let success = self.s3.call(&list).await.map_err(CallError::before_the_call)?;
        let line = success.request.clone();
        let page: ObjectPage =
            success.decode_xml("ListBucketResult").map_err(CallError::before_the_call)?;
        let keys: Option<Vec<String>> = page.contents.iter().map(|row| key_of(&row.key)).collect();
        let Some(keys) = keys else {
            let why = "a key of an object is too long, or is not escaped".to_owned();
            let error = CallError::of_answer(line, UnknownCause::Undecodable(why));
            return Err(error.before_the_call());
        };
        if keys.is_empty() {
            return Ok(Emptied::default());
        }
        let body = removal(&keys).into_bytes();
        let hash = data_encoding::BASE64.encode(&Sha256::digest(&body));
        let request = Request::new(Operation::DeleteObjects, &[name], name).query("delete", "");
        let headers = vec![("x-amz-checksum-sha256", hash)];
        let request = request.body_of("application/xml", body, headers).list();
        let removed: Removed = self.s3.call(&request).await?.decode_xml("DeleteResult")?;
        let refused = removed.errors.len().min(keys.len());
        Ok(Emptied { removed: keys.len() - refused, refused, more: page.is_truncated })
    }
}

/// A key as lists escape it: as in a form, where a plus is a blank.
fn key_of(text: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(text.as_bytes());
    let (key, rest) = pairs.next()?;
    let whole = rest.is_empty() && !text.contains(['=', '&']) && pairs.next().is_none();
    (whole && key.len() <= KEY_BYTES_MAX).then(|| key.into_owned())
}

/// What asks for the removal of these objects; only those that stay are told of.
fn removal(keys: &[String]) -> String {
    let mut body = String::from("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for key in keys {
        // What parsers would take for a blank is written as a number.
        let key = quick_xml::escape::escape(key.as_str());
        let key = key.replace('\t', "&#9;").replace('\n', "&#10;").replace('\r', "&#13;");
        body.push_str(&format!("<Object><Key>{key}</Key></Object>"));
    }
    body.push_str("<Quiet>true</Quiet></Delete>");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_lists_escape_them() {
        for (text, key) in [
            ("a/b.txt", Some("a/b.txt")),
            ("a%20b+c%2Bd", Some("a b c+d")),
            ("%C3%A4%26%3D%3C", Some("ä&=<")),
            ("a=b", None),
            ("a&b", None),
            ("", None),
            (&"x".repeat(KEY_BYTES_MAX + 1), None),
        ] {
            assert_eq!(key_of(text).as_deref(), key, "{text}");
        }
    }

    #[test]
    fn keys_are_escaped_within_xml() {
        let body = removal(&["<a>&\"'\r\n".to_owned()]);
        assert!(body.contains("<Key>&lt;a&gt;&amp;&quot;&apos;&#13;&#10;</Key>"), "{body}");
        // One that would end the element early ends nothing.
        assert_eq!(removal(&["</Key></Object>".to_owned()]).matches("</Object>").count(), 1);
    }
}
