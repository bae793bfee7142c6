//! The form of a request. Members that an action does not know are refused, before it acts.

use std::collections::BTreeMap;

use super::IamError;

/// Members of one form: the actions here have at most five.
const MEMBERS_MAX: usize = 32;
/// Rows on a page, if the caller names no number: AWS's default.
const PAGE_DEFAULT: usize = 100;
/// Rows on a page at most: AWS's bound.
const PAGE_MAX: usize = 1_000;

/// The members of a form.
#[derive(Debug)]
pub(super) struct Fields {
    members: BTreeMap<String, String>,
}

impl Fields {
    /// Reads a body.
    pub(super) fn read(body: &[u8]) -> Result<Self, IamError> {
        let mut members = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            let twice = members.insert(name.clone().into_owned(), value.into_owned()).is_some();
            if twice || members.len() > MEMBERS_MAX {
                return Err(IamError::Malformed(format!("the form has {name} twice, or too much")));
            }
        }
        Ok(Self { members })
    }

    /// What is asked for.
    pub(super) fn action(&self) -> Result<String, IamError> {
        self.required("Action").map(str::to_owned)
    }

    /// A member that has to be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, IamError> {
        self.optional(name).ok_or_else(|| {
            IamError::Invalid(format!("The request must contain the parameter {name}."))
        })
    }

    /// A member that may be there; an empty one is not.
    pub(super) fn optional(&self, name: &str) -> Option<&str> {
        self.members.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where a page begins, and how many rows it has at most.
    pub(super) fn page(&self) -> Result<(Option<&str>, usize), IamError> {
        let marker = self.optional("Marker");
        let Some(text) = self.optional("MaxItems") else { return Ok((marker, PAGE_DEFAULT)) };
        let number = text.parse().ok().filter(|number| (1..=PAGE_MAX).contains(number));
        let number = number
            .ok_or_else(|| IamError::Invalid(format!("MaxItems: a number from 1 to {PAGE_MAX}")))?;
        Ok((marker, number))
    }

    /// Refuses members that are none of these: they would not be understood.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), IamError> {
        let known = |name: &str| known.contains(&name) || matches!(name, "Action" | "Version");
        match self.members.keys().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => Err(IamError::Invalid(format!("{name} is not served here"))),
        }
    }
}
