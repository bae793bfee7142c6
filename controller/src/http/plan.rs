//! The `plan` subresource: what the controller would do, as things are or as they might be.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::Value;
use vault_api::check::{Document, check};
use vault_api::object::API_VERSION;
use vault_api::plan::{PlanNote, PlannedAction, TenantPlan};
use vault_api::problem::{FieldPath, Problem};
use vault_plan::time::UnixMillis;

use super::App;
use super::caller::Caller;
use super::error::ApiError;
use super::objects::must_stay_visible;
use super::others::TAKEN;
use super::request;
use crate::accept::{Writer, decide};
use crate::clock::{Clock, rfc3339};
use crate::platform::Platform;
use crate::reconcile::{Objects, Planned, TenantObject};
use crate::source::Source;
use crate::store::{ApiStore, Kind, Named, StoredObject};

/// How many plans are made at once for those who ask: each looks at the whole platform, whose limits
/// the passes need themselves.
pub const PLANS_MAX: usize = 4;

type Shared<P, S, C> = State<Arc<App<P, S, C>>>;

/// What the next pass would do for a tenant.
pub(super) async fn current<P: Platform, S: ApiStore, C: Clock>(
    State(app): Shared<P, S, C>,
    Path(name): Path<String>,
) -> Result<Json<TenantPlan>, ApiError> {
    let objects = Objects::load(&app.store).await?;
    plan(&app, objects, name).await
}

/// What would be done for a tenant if the documents of the body were applied.
pub(super) async fn hypothetical<P: Platform, S: ApiStore, C: Clock>(
    State(app): Shared<P, S, C>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<TenantPlan>, ApiError> {
    let body = request::json(&body)?;
    let items = body
        .get("items")
        .and_then(Value::as_array)
        .ok_or_else(|| ApiError::BadRequest("the body is no List with items".to_owned()))?;
    let mut objects = Objects::load(&app.store).await?;
    for item in items {
        let document = check(item)
            .map_err(|problems| ApiError::Invalid(Kind::Tenant, name.clone(), problems))?;
        if caller.limit().is_some() {
            must_be_its_own(&app.store, &caller, &name, &document).await?;
        }
        apply(&app, &caller, &mut objects, document).await?;
    }
    plan(&app, objects, name).await
}

async fn plan<P: Platform, S: ApiStore, C: Clock>(
    app: &App<P, S, C>,
    objects: Objects,
    name: String,
) -> Result<Json<TenantPlan>, ApiError> {
    let _permit = app.plans.try_acquire().map_err(|_| ApiError::NotYet {
        name: name.clone(),
        message: format!("{PLANS_MAX} plans are being made already; try again"),
        retry_after_seconds: 1,
    })?;
    if !objects.tenants.iter().any(|tenant| tenant.name == name) {
        return Err(ApiError::NotFound(Kind::Tenant, name));
    }
    let reconciler = app.reconciler()?;
    let planned = reconciler.preview(objects).await?;
    Ok(Json(render(&planned, name, app.clock.now())))
}

/// A limited token asks about the tenant of the path and those that exist for it, and not about an
/// app of another: with documents of others it could learn which there are, and whose they are.
async fn must_be_its_own<S: ApiStore>(
    store: &S,
    caller: &Caller,
    name: &str,
    document: &Document,
) -> Result<(), ApiError> {
    // Classes are everybody's, and none of them is stored here.
    let Document::Tenant(tenant) = document else { return Ok(()) };
    let own = tenant.metadata.name.as_str();
    if own != name {
        let stored = store.object(Kind::Tenant, own).await?;
        if !stored.is_some_and(|stored| caller.sees(&stored)) {
            let why = format!(
                "token {:?} is limited to some tenants; of the others it plans {name:?} alone",
                caller.name()
            );
            return Err(ApiError::forbidden(Kind::Tenant.plural(), Some(own), &why));
        }
    }
    let Some(app) = &tenant.spec.app else { return Ok(()) };
    // Itself, perhaps, and the first of the others.
    let named = store.tenants_naming(Named::App(app.name().to_owned()), "", 2).await?;
    let shares = |other: &StoredObject| {
        app.is_shared() && other.spec.get("app").is_some_and(|app| app["shared"] == true)
    };
    if named.iter().any(|other| other.name != own && !shares(other)) {
        let path = FieldPath::default().field("spec").field("app");
        let problem = Problem::duplicate(path, TAKEN.to_owned());
        return Err(ApiError::Invalid(Kind::Tenant, own.to_owned(), vec![problem]));
    }
    Ok(())
}

/// Takes a document in as if it were stored.
async fn apply<P, S: ApiStore, C: Clock>(
    app: &App<P, S, C>,
    caller: &Caller,
    objects: &mut Objects,
    document: Document,
) -> Result<(), ApiError> {
    let tenant = match &document {
        Document::TenantClass(class) => {
            let known = objects.classes.get(&class.metadata.name);
            if known.is_none_or(|known| known.secrets != class.spec.secrets) {
                let (allowed, kind) = (app.allow_api_secrets, Kind::TenantClass);
                super::secrets::admit(allowed, kind, &document, None, false)?;
            }
            objects.classes.insert(class.metadata.name.clone(), class.spec.clone());
            return Ok(());
        }
        Document::Tenant(tenant) => tenant,
    };
    let name = &tenant.metadata.name;
    let place = objects.tenants.binary_search_by(|known| known.name.as_str().cmp(name));
    let stored = app.store.object(Kind::Tenant, name).await?;
    let writer = Writer { source: &Source::Api, take_ownership: false, rehearsal: true };
    let object = stored.as_ref();
    super::secrets::admit(app.allow_api_secrets, Kind::Tenant, &document, object, false)?;
    let decision = decide(&document, object, writer, &app.controller, app.clock.now())
        .map_err(|refusal| ApiError::refused(Kind::Tenant, name, refusal))?;
    must_stay_visible(caller, decision.object())?;
    let changed = TenantObject::new(decision.object(), tenant.spec.clone());
    match place {
        Ok(at) => objects.tenants[at] = changed,
        Err(at) => objects.tenants.insert(at, changed),
    }
    Ok(())
}

fn render(planned: &Planned, tenant: String, now: UnixMillis) -> TenantPlan {
    let plan = &planned.plan;
    let actions = plan
        .actions
        .iter()
        .chain(&plan.withheld)
        .filter(|action| *action.tenant == *tenant)
        .map(|action| PlannedAction {
            action: action.action.kind().word().to_owned(),
            target: action.target(),
            reason: action.reason.clone(),
        })
        .collect();
    let notes = plan
        .report
        .tenants
        .iter()
        .filter(|report| *report.tenant == *tenant)
        .flat_map(|report| &report.notes)
        .map(|note| PlanNote {
            reason: note.reason.word().to_owned(),
            message: note.message.clone(),
        })
        .collect();
    let kind = "TenantPlan".to_owned();
    let hold = planned.observed.holds.get(&tenant).filter(|hold| now < hold.until);
    let held_until = hold.map(|hold| rfc3339(hold.until));
    TenantPlan { api_version: API_VERSION.to_owned(), kind, tenant, actions, notes, held_until }
}
