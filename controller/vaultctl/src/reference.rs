//! Which objects a command line names: `tenants`, `tenant acme umbra`, `tenant/acme class/dev-box`.

use vault_api::names::nearest;
use vault_api::object::GROUP;

use crate::error::{Exit, Failure};
use crate::object::{Reference, Resource};

/// What the words after a verb mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Targets {
    /// Every object of these resources.
    Every(Vec<Resource>),
    /// These objects, in this order.
    Named(Vec<Reference>),
}

impl Targets {
    /// The same, if it can be written.
    ///
    /// # Errors
    /// It names events: those are the controller's, and nobody else changes or deletes them.
    pub(crate) fn writable(self) -> Result<Self, Failure> {
        let is_event = |resource: &Resource| *resource == Resource::Event;
        let has_events = match &self {
            Self::Every(resources) => resources.iter().any(is_event),
            Self::Named(named) => named.iter().any(|one| is_event(&one.resource)),
        };
        if has_events {
            let message =
                "events are written by the controller alone, which forgets old ones itself";
            return Err(Failure::new(Exit::BadInput, message)
                .hint("what can be changed are tenants and tenantclasses"));
        }
        Ok(self)
    }
}

/// Understands `TYPE`, `TYPE,TYPE`, `all`, `TYPE NAME…`, `TYPE,TYPE NAME…` and `TYPE/NAME…`.
///
/// # Errors
/// An unknown type, a name that cannot be one, or both forms mixed.
pub(crate) fn parse(words: &[String]) -> Result<Targets, Failure> {
    let Some((first, names)) = words.split_first() else {
        return Err(Failure::new(Exit::BadInput, "nothing is named")
            .hint("say `tenants`, `tenantclasses` or `tenant/NAME`"));
    };
    if words.iter().any(|word| word.contains('/')) {
        let named = words.iter().map(|word| slashed(word));
        return named.collect::<Result<_, _>>().map(Targets::Named);
    }
    if first == "all" && names.is_empty() {
        return Ok(Targets::Every(Resource::ALL.to_vec()));
    }
    if names.is_empty() {
        let resources = first.split(',').map(resource);
        return resources.collect::<Result<_, _>>().map(Targets::Every);
    }
    let mut named = Vec::new();
    for kind in first.split(',') {
        let resource = resource(kind)?;
        for name in names {
            named.push(reference(resource, name)?);
        }
    }
    Ok(Targets::Named(named))
}

fn slashed(word: &str) -> Result<Reference, Failure> {
    let Some((kind, name)) = word.split_once('/') else {
        return Err(Failure::new(
            Exit::BadInput,
            format!("{word:?} stands beside TYPE/NAME, so it must have that form too"),
        ));
    };
    reference(resource(kind)?, name)
}

fn reference(resource: Resource, name: &str) -> Result<Reference, Failure> {
    // These would address something else than an object.
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(Failure::new(
            Exit::BadInput,
            format!("{name:?} is not the name of a {}", resource.singular()),
        ));
    }
    Ok(Reference { resource, name: name.to_owned() })
}

/// The resource that a word means: `tenants`, `tenant`, `tn`, `tenants.vaultctl.dev`,
/// `tenants.v1.vaultctl.dev`, `Tenant`.
///
/// # Errors
/// There is none of that name.
pub(crate) fn resource(word: &str) -> Result<Resource, Failure> {
    let lower = word.to_lowercase();
    // As with kubectl, group and version may stand behind it; events are of the core group.
    let in_group = lower.strip_suffix(GROUP).and_then(|rest| rest.strip_suffix('.'));
    let plain = in_group.map(|rest| rest.strip_suffix(".v1").unwrap_or(rest)).unwrap_or(&lower);
    let names = |one: Resource| [one.singular(), one.plural(), one.short()];
    let known = |one: &Resource| in_group.is_none() || *one != Resource::Event;
    let found = Resource::EVERY.into_iter().filter(known).find(|one| names(*one).contains(&plain));
    found.ok_or_else(|| {
        let known = Resource::EVERY.into_iter().flat_map(names);
        let failure = Failure::new(
            Exit::BadInput,
            format!("{word:?} is no type of object; there are tenants, tenantclasses and events"),
        );
        match nearest(plain, known) {
            Some(near) => failure.hint(format!("did you mean {near}?")),
            None => failure,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Targets, Failure> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    fn names(text: &str) -> Vec<String> {
        match words(text) {
            Ok(Targets::Named(named)) => named.iter().map(ToString::to_string).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn types_alone_mean_every_object() {
        use Resource::{Tenant, TenantClass};
        for (text, resources) in [
            ("tenants", vec![Tenant]),
            ("tenant", vec![Tenant]),
            ("tn", vec![Tenant]),
            ("tc", vec![TenantClass]),
            ("events", vec![Resource::Event]),
            ("Tenant", vec![Tenant]),
            ("tenants.vaultctl.dev", vec![Tenant]),
            ("tenants.v1.vaultctl.dev", vec![Tenant]),
            ("tenantclasses", vec![TenantClass]),
            ("tenantclass,tenants", vec![TenantClass, Tenant]),
            ("all", vec![Tenant, TenantClass]),
        ] {
            assert_eq!(words(text).unwrap(), Targets::Every(resources), "{text}");
        }
    }

    #[test]
    fn names_stand_after_their_type_or_a_slash() {
        assert_eq!(names("tenant acme umbra"), ["tenant/acme", "tenant/umbra"]);
        assert_eq!(names("tn,tc acme"), ["tenant/acme", "tenantclass/acme"]);
        assert_eq!(
            names("tenants/acme tenantclass/dev-box"),
            ["tenant/acme", "tenantclass/dev-box"]
        );
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in [
            "",
            "pods",
            "tenant/",
            "tenant/..",
            "tenant ..",
            "tenant/a umbra",
            "tenant/a/b",
            "events.vaultctl.dev",
            "tenants.v2.vaultctl.dev",
            "tenants,pods acme",
        ] {
            assert!(words(text).is_err(), "{text:?}");
        }
        let failure = anyhow::Error::from(words("tenents").unwrap_err());
        assert!(crate::error::describe(&failure).ends_with("hint: did you mean tenants?"));
    }
}
