//! Label selectors, as the controller reads them too.

pub(crate) use vault_api::selector::Selector;
