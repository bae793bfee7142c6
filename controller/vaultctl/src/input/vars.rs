//! `--var NAME=VALUE`: vars of the tenants of a command line, beside those of their manifests.

use vault_api::check::Document;
use vault_api::names::check_var_name;
use vault_api::tenant::VAR_BYTES_MAX;

use super::{Input, document};
use crate::error::{Exit, Failure};

/// One var, as the command line gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Var {
    name: String,
    value: String,
}

/// Reads `NAME=VALUE`; the value may hold further equals signs, or be empty.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(crate) fn var(text: &str) -> Result<Var, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    check_var_name(name).map_err(|error| format!("the var's name `{name}` {error}"))?;
    if value.len() > VAR_BYTES_MAX {
        let bytes = value.len();
        return Err(format!("the var's value has {bytes} bytes, at most {VAR_BYTES_MAX} fit"));
    }
    Ok(Var { name: name.to_owned(), value: value.to_owned() })
}

impl Input {
    /// Sets vars of every tenant; of a name that is given twice, the last value counts.
    ///
    /// # Errors
    /// There are vars but no tenant to have them.
    pub(crate) fn set_vars(&mut self, vars: &[Var]) -> anyhow::Result<()> {
        if vars.is_empty() {
            return Ok(());
        }
        let mut tenants = 0;
        for known in &mut self.documents {
            let mut place = known.place.clone();
            let Document::Tenant(tenant) = &mut place.document else { continue };
            let pairs = vars.iter().map(|var| (var.name.clone(), var.value.clone()));
            tenant.spec.vars.extend(pairs);
            *known = document(place)?;
            tenants += 1;
        }
        if tenants == 0 {
            let message = "--var sets vars of tenants, and there is none in the input";
            return Err(Failure::new(Exit::BadInput, message).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_var_is_a_name_and_a_value() {
        let read = |text| var(text).map(|var| (var.name, var.value));
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(read("plan=pro"), pair("plan", "pro"));
        assert_eq!(read("query=a=b"), pair("query", "a=b"));
        assert_eq!(read("plan="), pair("plan", ""));
        assert_eq!(read("plan").unwrap_err(), "expected NAME=VALUE");
        assert!(read("=x").unwrap_err().ends_with("must not be empty"));
        assert!(read("1=x").unwrap_err().contains("must begin with a letter"));
        assert!(read(&format!("a={}", "x".repeat(VAR_BYTES_MAX + 1))).is_err());
    }
}
