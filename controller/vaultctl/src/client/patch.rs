//! Patches: a change without the rest of the object.

use clap::ValueEnum;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use super::{Client, ClientError, WriteOptions, with_options};
use crate::object::{Object, Reference};

/// The form of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PatchForm {
    /// The members that change (RFC 7386); null removes one, a list is replaced as a whole
    Merge,
    /// A list of operations (RFC 6902)
    Json,
}

impl PatchForm {
    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Merge => "application/merge-patch+json",
            Self::Json => "application/json-patch+json",
        })
    }
}

impl Client {
    /// Changes an object that is there; the object as it is then.
    pub(crate) async fn patch(
        &self,
        reference: &Reference,
        form: PatchForm,
        patch: &Value,
        options: WriteOptions,
    ) -> Result<Object, ClientError> {
        let url = with_options(self.object(reference), options);
        let request = format!("PATCH {}", url.path());
        let body = patch.to_string();
        let builder = self.request(Method::PATCH, url).body(body);
        self.answer(request, builder.header(CONTENT_TYPE, form.content_type())).await
    }
}
