//! Problems that only several documents together show: the same object twice, two tenants that
//! name one app, a class that is not there, and what the merge of tenant and class brings up.

use std::collections::{BTreeSet, HashMap};

use crate::check::words::shorten;
use crate::check::{Document, DocumentKind};
use crate::problem::{FieldPath, Problem};
use crate::resolve::{app_of, missing_class, resolve};
use crate::tenant::{AppSetting, Tenant, TenantClassSpec};

/// A problem of one of the checked documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetProblem {
    /// Index into the checked documents.
    pub document: usize,
    /// What is wrong, and where in that document.
    pub problem: Problem,
    /// The checked document that came first, for a duplicate among the checked ones.
    pub first: Option<usize>,
}

/// Checks `documents` together, against what is `known` already.
///
/// - For a folder: `documents` is all of it, in the order of the files; `known` is what came from
///   elsewhere.
/// - For one object over HTTP: `documents` is that one; `known` is what is stored. A known object
///   of the same kind and name is replaced by the new one, so it is no duplicate.
///
/// `refused` are the names of classes that exist but were refused for errors of their own; tenants
/// of them are told so.
///
/// Of duplicates, the first stands and each later one has the problem. Known documents are never
/// blamed: a changed class that breaks known tenants has the problem itself, at `spec`.
#[must_use]
pub fn check_set<'d>(
    documents: &[&'d Document],
    known: &[&'d Document],
    refused: &[&str],
) -> Vec<SetProblem> {
    let mut set = Set::new(documents, known, refused);
    for (index, document) in documents.iter().enumerate() {
        if let Some(first) = set.duplicate_of(index, document) {
            set.tell_duplicate(index, document, first);
            continue;
        }
        match document {
            Document::Tenant(tenant) => set.check_tenant(index, tenant),
            Document::TenantClass(class) => {
                set.check_class(index, &class.metadata.name, &class.spec);
            }
        }
    }
    set.problems
}

struct Set<'d, 'r> {
    /// The first checked document of each kind and name.
    first_of: HashMap<(DocumentKind, &'d str), usize>,
    /// The classes that will be there, by name.
    classes: HashMap<&'d str, &'d TenantClassSpec>,
    /// The classes that are there now, by name.
    known_classes: HashMap<&'d str, &'d TenantClassSpec>,
    /// Known tenants that stay as they are, by the class they name.
    known_tenants: HashMap<&'d str, Vec<&'d Tenant>>,
    /// The first tenant that names an app.
    app_owner: HashMap<&'d str, AppOwner<'d>>,
    refused: &'r [&'r str],
    problems: Vec<SetProblem>,
}

/// Who named an app first.
#[derive(Clone, Copy)]
struct AppOwner<'d> {
    tenant: &'d str,
    /// Its index, if it is a checked one.
    index: Option<usize>,
    shared: bool,
    organization: Option<&'d str>,
}

impl<'d, 'r> Set<'d, 'r> {
    fn new(documents: &[&'d Document], known: &[&'d Document], refused: &'r [&'r str]) -> Self {
        let mut set = Self {
            first_of: HashMap::new(),
            classes: HashMap::new(),
            known_classes: HashMap::new(),
            known_tenants: HashMap::new(),
            app_owner: HashMap::new(),
            refused,
            problems: Vec::new(),
        };
        for (index, document) in documents.iter().enumerate() {
            set.first_of.entry((document.document_kind(), document.name())).or_insert(index);
            if let Document::TenantClass(class) = document {
                set.classes.entry(&class.metadata.name).or_insert(&class.spec);
            }
        }
        let mut known_tenants = Vec::new();
        for document in known {
            let is_replaced =
                set.first_of.contains_key(&(document.document_kind(), document.name()));
            match document {
                Document::TenantClass(class) => {
                    set.known_classes.insert(&class.metadata.name, &class.spec);
                    set.classes.entry(&class.metadata.name).or_insert(&class.spec);
                }
                Document::Tenant(tenant) if !is_replaced => known_tenants.push(tenant),
                Document::Tenant(_) => {}
            }
        }
        // A tenant's app may be its class's, so all classes have to be known first.
        known_tenants.into_iter().for_each(|tenant| set.know_tenant(tenant));
        set
    }

    fn know_tenant(&mut self, tenant: &'d Tenant) {
        if let Some((app, owner)) = self.app_naming(tenant, None) {
            self.app_owner.entry(app).or_insert(owner);
        }
        if let Some(class) = &tenant.spec.class {
            self.known_tenants.entry(class).or_default().push(tenant);
        }
    }

    /// The app that a tenant names, itself or by its class, and in what way.
    fn app_naming(
        &self,
        tenant: &'d Tenant,
        index: Option<usize>,
    ) -> Option<(&'d str, AppOwner<'d>)> {
        let spec = &tenant.spec;
        let class = spec.class.as_deref().and_then(|class| self.classes.get(class).copied());
        let app: &'d AppSetting = app_of(spec, class)?;
        let organization = spec.org.as_deref().or_else(|| class?.org.as_deref());
        let name = tenant.metadata.name.as_str();
        let shared = app.is_shared();
        Some((app.name(), AppOwner { tenant: name, index, shared, organization }))
    }

    /// An app belongs to one tenant, or to tenants of one organization that all say that they
    /// share it.
    fn check_app(&mut self, index: usize, tenant: &'d Tenant) {
        let Some((app, naming)) = self.app_naming(tenant, Some(index)) else { return };
        let owner = *self.app_owner.entry(app).or_insert(naming);
        if owner.tenant == naming.tenant {
            return;
        }
        let other = owner.tenant;
        let message = match (naming.shared, owner.shared) {
            (true, true) if naming.organization == owner.organization => return,
            (true, true) => {
                format!("tenant `{other}` shares the app `{app}` in another organization")
            }
            (false, true) => format!(
                "the app `{app}` is shared by tenant `{other}`: write `{{ name: {app}, shared: true }}`"
            ),
            (true, false) => {
                format!(
                    "the app `{app}` is already named by tenant `{other}`, which does not share it"
                )
            }
            (false, false) => format!("the app `{app}` is already named by tenant `{other}`"),
        };
        let problem = Problem::duplicate(path_of(&["spec", "app"]), message);
        self.problems.push(SetProblem { document: index, problem, first: owner.index });
    }

    fn duplicate_of(&self, index: usize, document: &Document) -> Option<usize> {
        self.first_of
            .get(&(document.document_kind(), document.name()))
            .copied()
            .filter(|first| *first != index)
    }

    fn tell_duplicate(&mut self, document: usize, duplicate: &Document, first: usize) {
        let kind = duplicate.kind();
        let message = format!("two objects of kind {kind} are named `{}`", duplicate.name());
        let path = path_of(&["metadata", "name"]);
        let problem = Problem::duplicate(path, message);
        self.problems.push(SetProblem { document, problem, first: Some(first) });
    }

    fn check_tenant(&mut self, index: usize, tenant: &'d Tenant) {
        let name = tenant.metadata.name.as_str();
        self.check_app(index, tenant);
        let class = match &tenant.spec.class {
            None => None,
            Some(class) => match self.classes.get_key_value(class.as_str()) {
                Some((name, spec)) => Some((*name, *spec)),
                None => {
                    let problem = self.missing_class(class);
                    self.tell(index, [problem]);
                    return;
                }
            },
        };
        if let Err(problems) = resolve(name, &tenant.spec, class) {
            self.tell(index, problems);
        }
    }

    fn missing_class(&self, class: &str) -> Problem {
        // Sorted, so that of two names equally near always the same is suggested.
        let names: BTreeSet<&str> = self.classes.keys().copied().collect();
        missing_class(class, names, self.refused.contains(&class))
    }

    /// A class alone is complete or not only through its tenants. The known ones that it would
    /// break are told of here; those among the checked documents speak for themselves.
    fn check_class(&mut self, index: usize, name: &str, class: &TenantClassSpec) {
        let old = self.known_classes.get(name).copied();
        let tenants = self.known_tenants.get(name).map_or(&[][..], Vec::as_slice);
        let broken = tenants.iter().find_map(|tenant| {
            let resolve_with =
                |spec| resolve(&tenant.metadata.name, &tenant.spec, Some((name, spec)));
            let was_good = old.is_some_and(|old| resolve_with(old).is_ok());
            let problems = resolve_with(class).err().filter(|_| was_good)?;
            problems.into_iter().next().map(|problem| (&tenant.metadata.name, problem))
        });
        if let Some((tenant, problem)) = broken {
            let message = format!("this would break tenant `{}`: {problem}", shorten(tenant));
            let problem = Problem::invalid(path_of(&["spec"]), message);
            self.tell(index, [problem]);
        }
    }

    fn tell(&mut self, document: usize, problems: impl IntoIterator<Item = Problem>) {
        let located = |problem| SetProblem { document, problem, first: None };
        self.problems.extend(problems.into_iter().map(located));
    }
}

fn path_of(fields: &[&str]) -> FieldPath {
    fields.iter().fold(FieldPath::default(), |path, field| path.field(field))
}

#[cfg(test)]
mod tests;
