//! A written document against those that are stored already: only the ones that it concerns are
//! read.
//!
//! ```text
//!   a tenant ─▶ its class, and the tenant that names the same app
//!   a class  ─▶ itself as it is, and its tenants, a page at a time
//! ```

use std::collections::HashSet;

use vault_api::check::Document;
use vault_api::problem::{Problem, ProblemKind};
use vault_api::set::{SetProblem, check_set};

use super::caller::Caller;
use super::error::ApiError;
use super::request;
use crate::accept::to_document;
use crate::store::{ApiStore, Kind, Named, StoreError, StoredObject};

/// What a limited token is told of an app that a tenant names which does not exist for it.
pub(super) const TAKEN: &str = "it is already named by another tenant";
/// How many tenants of a class are decoded at a time: enough that the queries do not count, and few
/// enough that their memory does not.
const USERS_PER_PAGE: usize = 200;

/// Refuses a document that does not go together with the stored ones.
pub(super) async fn check_against_others<S: ApiStore>(
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

async fn of_tenant<S: ApiStore>(
    store: &S,
    document: &Document,
) -> Result<Vec<SetProblem>, StoreError> {
    let Document::Tenant(tenant) = document else { return Ok(Vec::new()) };
    // Classes are few: one of them may name the app, and of all the nearest name is told.
    let mut others = store.objects(Kind::TenantClass).await?;
    let app = match &tenant.spec.app {
        Some(app) => Some(app.name().to_owned()),
        None => tenant.spec.class.as_ref().and_then(|class| {
            others.iter().find(|other| other.name == *class).and_then(app_of).map(str::to_owned)
        }),
    };
    if let Some(app) = app {
        let namers = namers(store, &others, &app).await?;
        others.extend(namers);
    }
    Ok(check(document, &others))
}

/// Tenants that name an app: the first two that do so themselves, so that there is another one than
/// the one that is written, and the first of each class that does. Whoever is missed here is told
/// by the planner.
async fn namers<S: ApiStore>(
    store: &S,
    classes: &[StoredObject],
    app: &str,
) -> Result<Vec<StoredObject>, StoreError> {
    let mut found = store.tenants_naming(Named::App(app.to_owned()), "", 2).await?;
    for class in classes.iter().filter(|class| app_of(class) == Some(app)) {
        let users = Named::Class(class.name.clone());
        for user in store.tenants_naming(users, "", USERS_PER_PAGE).await? {
            if found.iter().all(|known| known.name != user.name) {
                found.push(user);
            }
        }
    }
    Ok(found)
}

/// The app that a stored spec names, as a text or as a mapping.
fn app_of(object: &StoredObject) -> Option<&str> {
    let app = object.spec.get("app")?;
    app.as_str().or_else(|| app.get("name")?.as_str())
}

/// The problems of a class with the first of its tenants that it would break.
async fn of_class<S: ApiStore>(
    store: &S,
    document: &Document,
) -> Result<Vec<SetProblem>, StoreError> {
    let mut others: Vec<StoredObject> =
        store.object(Kind::TenantClass, document.name()).await?.into_iter().collect();
    if let Document::TenantClass(class) = document
        && let Some(app) = &class.spec.app
    {
        others.extend(store.tenants_naming(Named::App(app.name().to_owned()), "", 1).await?);
    }
    let classes = others.len();
    let mut after = String::new();
    loop {
        let named = Named::Class(document.name().to_owned());
        let users = store.tenants_naming(named, &after, USERS_PER_PAGE).await?;
        let last = users.last().map(|user| user.name.clone());
        others.truncate(classes);
        let tenants = others.iter().filter(|other| other.kind == Kind::Tenant);
        let known: HashSet<String> = tenants.map(|other| other.name.clone()).collect();
        others.extend(users.into_iter().filter(|user| !known.contains(&user.name)));
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
