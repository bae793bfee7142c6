//! One tenant: compared with its share of the platform's lists.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use kube::runtime::controller::Action;
use vault_api::tenant::SecretEntry;
use vault_plan::desired::{Desired, DesiredSecret, DesiredSecrets, SecretPlace, TenantInput};
use vault_plan::identity::ControllerId;
use vault_plan::policy::Policy;

use crate::tenant::Tenant;
use crate::view::{TENANT_SECRET, View};

/// What all reconciles share.
pub struct Context {
    controller: ControllerId,
    organization: String,
    policy: Policy,
    view: RwLock<Arc<View>>,
    /// Since the last resync began.
    reconciled: AtomicU64,
    different: AtomicU64,
}

impl Context {
    /// Before the first look at the platform.
    pub fn new(controller: ControllerId, organization: &str) -> Self {
        Self {
            controller,
            organization: organization.to_owned(),
            policy: Policy::default(),
            view: RwLock::default(),
            reconciled: AtomicU64::new(0),
            different: AtomicU64::new(0),
        }
    }

    /// Takes in a new look at the platform.
    pub fn see(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// Prints what was reconciled since the last call, and begins to count anew.
    pub fn tell(&self) {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        println!("{} {}", take(&self.reconciled), take(&self.different));
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Compares one tenant. It never fails: there is nothing to call.
pub async fn reconcile(tenant: Arc<Tenant>, context: Arc<Context>) -> Result<Action, Infallible> {
    let view = context.view();
    if view.sees && !is_as_wanted(&tenant, &context, &view) {
        context.different.fetch_add(1, Ordering::Relaxed);
    }
    context.reconciled.fetch_add(1, Ordering::Relaxed);
    // The next one comes with the resync of all.
    Ok(Action::await_change())
}

/// What kube-rs asks about errors, of which there are none.
pub fn failed(_: Arc<Tenant>, error: &Infallible, _: Arc<Context>) -> Action {
    match *error {}
}

fn is_as_wanted(tenant: &Tenant, context: &Context, view: &View) -> bool {
    let Some(name) = tenant.metadata.name.as_deref() else { return false };
    let Some(share) = view.shares.get(name) else { return false };
    let deleting = tenant.metadata.deletion_timestamp.is_some();
    let input = TenantInput { name, spec: &tenant.spec, deleting };
    let secret = OneSecret(&share.secret_hash);
    let (controller, organization) = (context.controller, &context.organization);
    let desired = Desired::resolve(controller, organization, &view.classes, &secret, [input]);
    let plan = vault_plan::plan(&desired, &share.observed, &context.policy, view.now);
    plan.actions.is_empty() && plan.report.tenants.iter().all(|tenant| tenant.notes.is_empty())
}

/// Every tenant has one secret, with the hash that its machines carry.
struct OneSecret<'a>(&'a str);

impl DesiredSecrets for OneSecret<'_> {
    fn of(&self, place: SecretPlace<'_>) -> Vec<DesiredSecret> {
        let variable = TENANT_SECRET.into();
        let name = place.name(&variable);
        vec![DesiredSecret { name, variable, hash: self.0.to_owned(), from: None, storage: None }]
    }

    fn of_manifest(&self, _: &str, _: &str, secret: &SecretEntry) -> Result<String, String> {
        Err(format!("there is no value for {} here", secret.name))
    }
}
