//! Answers in XML, in the shapes of AWS.

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use s3s::xml::{SerResult, Serializer};

use super::IamError;

/// The name space of all answers.
const NAME_SPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

/// An element of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// With a text inside.
    Text(&'static str, String),
    /// With elements inside.
    Group(&'static str, Vec<Self>),
}

impl Node {
    /// An element with a text inside.
    pub(super) fn text(name: &'static str, text: impl Into<String>) -> Self {
        Self::Text(name, text.into())
    }

    /// A list, whose rows are all called `member`.
    pub(super) fn list(name: &'static str, rows: impl IntoIterator<Item = Vec<Self>>) -> Self {
        Self::Group(name, rows.into_iter().map(|row| Self::Group("member", row)).collect())
    }

    fn write(&self, out: &mut Serializer<&mut Vec<u8>>) -> SerResult {
        match self {
            Self::Text(name, text) => out.content(name, text),
            Self::Group(name, inner) => out.element(name, |out| write_all(inner, out)),
        }
    }
}

/// The answer to an action: `<ActionResponse><ActionResult>…`.
pub(super) fn written(action: &str, nodes: &[Node]) -> Response {
    let xml = write(|out| {
        out.element_with_ns(&format!("{action}Response"), NAME_SPACE, |out| {
            if !nodes.is_empty() {
                out.element(&format!("{action}Result"), |out| write_all(nodes, out))?;
            }
            out.element("ResponseMetadata", |out| out.content("RequestId", request_id()))
        })
    });
    response(StatusCode::OK, xml)
}

/// An error of IAM's own.
pub(super) fn refused(error: &IamError) -> Response {
    let (status, code) = error.code();
    if status.is_server_error() {
        tracing::warn!(%error, "IAM cannot answer");
    }
    failed(status, code, &error.to_string())
}

/// An error of any code.
pub(in crate::storage) fn failed(status: StatusCode, code: &str, text: &str) -> Response {
    let whose = if status.is_server_error() { "Receiver" } else { "Sender" };
    let xml = write(|out| {
        out.element_with_ns("ErrorResponse", NAME_SPACE, |out| {
            out.element("Error", |out| {
                out.content("Type", whose)?;
                out.content("Code", code)?;
                out.content("Message", text)
            })?;
            out.content("RequestId", request_id())
        })
    });
    response(status, xml)
}

fn write_all(nodes: &[Node], out: &mut Serializer<&mut Vec<u8>>) -> SerResult {
    nodes.iter().try_for_each(|node| node.write(out))
}

fn write(fill: impl FnOnce(&mut Serializer<&mut Vec<u8>>) -> SerResult) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = Serializer::new(&mut bytes);
    let filled = out.decl().and_then(|()| fill(&mut out));
    drop(out);
    if let Err(error) = filled {
        // Writing to memory does not fail; a text that XML cannot hold might.
        tracing::error!(%error, "an answer of IAM cannot be written");
    }
    bytes
}

fn response(status: StatusCode, xml: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(xml));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}

/// Clients want one; nothing here is found by it.
const fn request_id() -> &'static str {
    "00000000-0000-0000-0000-000000000000"
}
