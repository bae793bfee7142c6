//! The stored objects that manifests are compared with: a few one by one, many in pages.

use std::collections::HashMap;

use crate::client::{Client, ClientError};
use crate::input::InputDocument;
use crate::object::{Object, Reference, Resource};

/// From so many documents of a resource on, all its objects are listed. A page of 500 costs client
/// and controller about as much as forty reads of one object; with so many documents, the pages are
/// cheaper even if a few thousand objects are read that nobody asked about.
const LISTED_FROM: usize = 200;

/// Stored objects, as far as they were listed.
pub(super) struct Live<'a> {
    client: &'a Client,
    listed: HashMap<Reference, Object>,
}

impl<'a> Live<'a> {
    /// Lists the resources that many of the documents are of.
    ///
    /// # Errors
    /// If a list cannot be read.
    pub(super) async fn read(
        client: &'a Client,
        documents: &[InputDocument],
    ) -> Result<Self, ClientError> {
        let mut listed = HashMap::new();
        for resource in [Resource::TenantClass, Resource::Tenant] {
            let named = documents.iter().filter(|one| one.reference.resource == resource).count();
            if named < LISTED_FROM {
                continue;
            }
            let objects = client.list(resource).await?.items.into_iter();
            listed.extend(objects.map(|object| {
                let name = object.name().to_owned();
                (Reference { resource, name }, object)
            }));
        }
        Ok(Self { client, listed })
    }

    /// An object, or `None` if it is not there. What no list showed is asked for by its name: a
    /// token that sees part of the fleet gets the same answer as without lists.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub(super) async fn take(
        &mut self,
        reference: &Reference,
    ) -> Result<Option<Object>, ClientError> {
        match self.listed.remove(reference) {
            Some(object) => Ok(Some(object)),
            None => self.client.find(reference).await,
        }
    }
}
