//! Who may write `spec.secrets`: they name variables and files of the controller, so whoever could
//! write them over the API could read those by a tenant of their own.

use serde_json::Value;
use vault_api::check::Document;
use vault_api::problem::{FieldPath, Problem};

use super::error::ApiError;
use crate::store::{Kind, StoredObject};

/// Refuses secrets that did not come from the controller's folder, unless the operator allows it.
/// What is stored already and stays as it is, with its owner, is never refused.
pub(super) fn admit(
    allowed: bool,
    kind: Kind,
    document: &Document,
    stored: Option<&StoredObject>,
    take_ownership: bool,
) -> Result<(), ApiError> {
    let secrets = match document {
        Document::Tenant(tenant) => &tenant.spec.secrets,
        Document::TenantClass(class) => &class.spec.secrets,
    };
    if allowed || secrets.is_empty() {
        return Ok(());
    }
    let known = stored.and_then(|stored| stored.spec.get("secrets"));
    let written = serde_json::to_value(secrets).unwrap_or(Value::Null);
    if !take_ownership && known == Some(&written) {
        return Ok(());
    }
    let path = FieldPath::default().field("spec").field("secrets");
    let message = "secrets are taken from the controller's folder of manifests only, because they \
                   name its variables and files; --allow-api-secrets of the controller permits \
                   them here";
    let problem = Problem::invalid(path, message);
    Err(ApiError::Invalid(kind, document.name().to_owned(), vec![problem]))
}
