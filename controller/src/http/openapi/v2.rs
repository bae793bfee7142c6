//! OpenAPI v2, with nothing in it: kubectl up to 1.28 does not begin to `apply` or to `explain`
//! without such a document, although it then reads all that it needs from v3.
//!
//! It asks for the document in the wire format of Protocol Buffers (`gnostic`'s
//! `openapi.v2.Document`), of which this is all: `swagger = 1`, `info = 2 { title = 1, version = 2 }`
//! and an empty `paths = 8`.

use axum::Json;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::TITLE;
use crate::http::error::ApiError;
use crate::http::forms::accepted;

/// The form that is answered. It is no media type with an at sign in it.
const FORM: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// What kubectl asks for all the same.
const FORM_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// The wire type of texts and messages.
const LENGTH_DELIMITED: u8 = 2;

/// `/openapi/v2`
pub(in crate::http) async fn document(headers: HeaderMap) -> Result<Response, ApiError> {
    for range in accepted(&headers) {
        if matches!(range.media, FORM | FORM_ASKED) {
            return Ok(([(CONTENT_TYPE, FORM)], in_wire_format()).into_response());
        }
        if range.takes_json() {
            let info = json!({ "title": TITLE, "version": env!("CARGO_PKG_VERSION") });
            let document = json!({ "swagger": "2.0", "info": info, "paths": {} });
            return Ok(Json(document).into_response());
        }
    }
    Err(ApiError::NotAcceptable)
}

fn in_wire_format() -> Vec<u8> {
    let version = field(2, env!("CARGO_PKG_VERSION").as_bytes());
    let info = [field(1, TITLE.as_bytes()), version].concat();
    [field(1, b"2.0"), field(2, &info), field(8, b"")].concat()
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    // One byte is enough for a length below 128: a title and a version.
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 128);
    let head = [number << 3 | LENGTH_DELIMITED, length.unwrap_or_default()];
    let content = if length.is_some() { content } else { b"" };
    [&head[..], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_the_format_says() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(version.len(), 5, "the lengths below are for such a version");
        let expected = format!("\x0a\x032.0\x12\x11\x0a\x08vaultctl\x12\x05{version}\x42\x00");
        assert_eq!(in_wire_format(), expected.as_bytes());
    }
}
