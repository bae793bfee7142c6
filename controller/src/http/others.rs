//! A written document against those that are stored already: only the ones that it concerns are
//! read.
//!
//! ```text
//!   a tenant ─▶ its class, and the tenant that names the same app
//!   a class  ─▶ itself as it is, and its tenants, a page at a time
//! ```

use vault_api::check::Document;
use vault_api::problem::{Problem, ProblemKind};
use vault_api::set::{SetProblem, check_set};

use super::caller::Caller;
use super::error::ApiError;
use super::request;
use crate::accept::to_document;
use crate::store::{Kind, Named, Store, StoreError, StoredObject};

/// What a limited token is told of an app that a tenant names which does not exist for it.
pub(super) const TAKEN: &str = "it is already named by another tenant";
/// How many tenants of a class are decoded at a time: enough that the queries do not count, and few
/// enough that their memory does not.
const USERS_PER_PAGE: usize = 200;

/// Refuses a document that does not go together with the stored ones.
pub(super) async fn check_against_others<S: Store>(
    store: &S,
    caller: &Caller,
    kind: Kind,
    document: &Document,
) -> Result<(), ApiError> {
    let found = match kind {
        Kind::Tenant => of_tenant(store, document).await?,
        Kind::TenantClass => of_class(store, document).await?,
    };
    let mut found = request::problems(found);
    if caller.limit().is_some() {
        found.iter_mut().for_each(hide_the_other);
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(ApiError::Invalid(kind, document.name().to_owned(), found)),
    }
}

async fn of_tenant<S: Store>(
    store: &S,
    document: &Document,
) -> Result<Vec<SetProblem>, StoreError> {
    let mut others = Vec::new();
    if let Document::Tenant(tenant) = document {
        if let Some(class) = &tenant.spec.class {
            match store.object(Kind::TenantClass, class).await? {
                Some(class) => others.push(class),
                // Of all that there are, the nearest name is told.
                None => others.extend(store.objects(Kind::TenantClass).await?),
            }
        }
        if let Some(app) = &tenant.spec.app {
            // Itself, perhaps, and the first of the others.
            others.extend(store.tenants_naming(Named::App(app.clone()), "", 2).await?);
        }
    }
    Ok(check(document, &others))
}

/// The problems of a class with the first of its tenants that it would break.
async fn of_class<S: Store>(store: &S, document: &Document) -> Result<Vec<SetProblem>, StoreError> {
    let mut others: Vec<StoredObject> =
        store.object(Kind::TenantClass, document.name()).await?.into_iter().collect();
    let classes = others.len();
    let mut after = String::new();
    loop {
        let named = Named::Class(document.name().to_owned());
        let users = store.tenants_naming(named, &after, USERS_PER_PAGE).await?;
        let last = users.last().map(|user| user.name.clone());
        others.truncate(classes);
        others.extend(users);
        let found = check(document, &others);
        match last {
            Some(last) if found.is_empty() => after = last,
            _ => return Ok(found),
        }
    }
}

fn check(document: &Document, others: &[StoredObject]) -> Vec<SetProblem> {
    let others: Vec<Document> =
        others.iter().filter_map(|object| to_document(object).ok()).collect();
    let known: Vec<&Document> = others.iter().collect();
    check_set(&[document], &known, &[])
}

/// What is taken already may be a tenant's that a limited token must not know of.
fn hide_the_other(problem: &mut Problem) {
    if problem.kind == ProblemKind::Duplicate {
        TAKEN.clone_into(&mut problem.message);
    }
}
