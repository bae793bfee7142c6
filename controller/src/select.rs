//! Which objects a list or a watch is about: `labelSelector` and `fieldSelector`, in Kubernetes'
//! grammar.

pub mod fields;

use serde_json::Value;
pub use vault_api::selector::{LabelSelector, Labels};

use fields::FieldSelector;

/// What an object must be to be selected; both hold together. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// What its labels must be.
    pub labels: LabelSelector,
    /// What its fields must be.
    pub fields: FieldSelector,
}

impl Selection {
    /// Whether every object is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether an object with these labels and, in its API form, these fields is selected.
    #[must_use]
    pub fn matches(&self, labels: Option<&Labels>, object: &Value) -> bool {
        self.labels.matches(labels) && self.fields.matches(object)
    }

    /// The only name that can be selected, so that nothing else need be read.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.fields.required("metadata.name")
    }
}

/// The labels of an object in its API form.
#[must_use]
pub fn labels_of(object: &Value) -> Option<&Labels> {
    object.get("metadata")?.get("labels")?.as_object()
}
