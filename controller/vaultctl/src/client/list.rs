//! Lists: the controller selects, and answers in pages.
//!
//! ```text
//!   GET …?limit=500 ──▶ items, continue ──▶ GET …?limit=500&continue=… ──▶ items ──▶ one list
//! ```

use reqwest::{Method, Url};
use serde::Deserialize;

use super::{Client, ClientError};
use crate::object::{Object, Resource};

/// How many objects a page has unless someone says otherwise: as many as kubectl asks for.
pub(crate) const CHUNK_SIZE: u32 = 500;
/// Ten times the largest fleet that is planned for; more means that the pages never end.
const MAX_OBJECTS: usize = 100_000;
/// The token of the next page has become too old, or a watch begins too far in the past.
pub(super) const EXPIRED: u16 = 410;

/// Which objects of a resource are meant, in Kubernetes' grammar of selectors. The controller reads
/// and applies them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// By their labels: `tier=pro,env in (dev,test)`.
    pub(crate) labels: Option<String>,
    /// By their fields: `metadata.name=acme`.
    pub(crate) fields: Option<String>,
}

impl Selection {
    /// The objects with these labels, or all of them.
    pub(crate) fn labelled(labels: Option<&str>) -> Self {
        Self { labels: labels.map(str::to_owned), fields: None }
    }

    /// The one object of this name.
    pub(crate) fn named(name: &str) -> Self {
        Self { labels: None, fields: Some(format!("metadata.name={}", escaped(name))) }
    }

    pub(super) fn append_to(&self, url: &mut Url) {
        let pairs = [("labelSelector", &self.labels), ("fieldSelector", &self.fields)];
        for (key, value) in pairs {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(key, value);
            }
        }
    }
}

/// What a list says.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// The objects, in the controller's order.
    pub(crate) items: Vec<Object>,
    /// The version from which on a watch shows all that this list does not. That of the first page:
    /// what happens between two pages is then seen twice, never missed.
    pub(crate) version: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMeta,
    #[serde(default)]
    items: Option<Vec<Object>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageMeta {
    resource_version: String,
    r#continue: String,
}

impl Client {
    /// All objects of a resource, in the order of their names.
    pub(crate) async fn list(&self, resource: Resource) -> Result<Listed, ClientError> {
        self.select(resource, &Selection::default(), CHUNK_SIZE).await
    }

    /// The selected objects of a resource, read in pages of `chunk`; 0 means all at once.
    pub(crate) async fn select(
        &self,
        resource: Resource,
        selection: &Selection,
        chunk: u32,
    ) -> Result<Listed, ClientError> {
        let mut listed = Listed::default();
        let mut token = String::new();
        loop {
            let mut url = self.collection(resource);
            selection.append_to(&mut url);
            if chunk > 0 {
                url.query_pairs_mut().append_pair("limit", &chunk.to_string());
            }
            if !token.is_empty() {
                url.query_pairs_mut().append_pair("continue", &token);
            }
            let page: Page = match self.call(Method::GET, url, None).await {
                // A list that takes longer than the controller remembers is read at once instead.
                Err(error) if error.code() == Some(EXPIRED) && !token.is_empty() => {
                    return Box::pin(self.select(resource, selection, 0)).await;
                }
                other => other?,
            };
            if token.is_empty() {
                listed.version = page.metadata.resource_version;
            }
            listed.items.extend(page.items.unwrap_or_default());
            if listed.items.len() > MAX_OBJECTS {
                return Err(ClientError::ListSize { limit: MAX_OBJECTS });
            }
            token = page.metadata.r#continue;
            if token.is_empty() {
                return Ok(listed);
            }
        }
    }
}

/// A value of a field selector: a backslash stands before what would end it.
pub(crate) fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        if matches!(letter, '\\' | ',' | '=') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_value_of_a_field_selector_whatever_it_holds() {
        let selection = Selection::named(r"a,b=c\d");
        assert_eq!(selection.fields.as_deref(), Some(r"metadata.name=a\,b\=c\\d"));
    }

    #[test]
    fn selectors_are_sent_as_they_were_written() {
        let mut url = Url::parse("http://s/x").unwrap();
        let selection = Selection::labelled(Some("tier in (pro, free)"));
        selection.append_to(&mut url);
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        assert_eq!(pairs, [("labelSelector".to_owned(), "tier in (pro, free)".to_owned())]);
    }
}
