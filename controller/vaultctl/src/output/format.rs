//! The forms of output: `-o table|wide|json|yaml|name|jsonpath=TEMPLATE`.

use std::str::FromStr;

use clap::ValueEnum;

use super::jsonpath::{Template, TemplateError};
use vault_api::names::nearest;

/// How `get` prints.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// Columns for people.
    Table {
        /// More of them.
        wide: bool,
    },
    /// Something for programs.
    Data(DataFormat),
}

/// The forms for programs, the same for all objects.
#[derive(Clone, Debug)]
pub(crate) enum DataFormat {
    /// The object, or a `List`.
    Json,
    /// The same as YAML.
    Yaml,
    /// `tenant/acme`, one a line.
    Name,
    /// Values picked by a template.
    JsonPath(Template),
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(template) = text.strip_prefix("jsonpath=") {
            let template: Result<Template, TemplateError> = template.parse();
            return match template {
                Ok(template) => Ok(Self::Data(DataFormat::JsonPath(template))),
                Err(error) => Err(error.to_string()),
            };
        }
        match text {
            "table" => Ok(Self::Table { wide: false }),
            "wide" => Ok(Self::Table { wide: true }),
            "json" => Ok(Self::Data(DataFormat::Json)),
            "yaml" => Ok(Self::Data(DataFormat::Yaml)),
            "name" => Ok(Self::Data(DataFormat::Name)),
            _ => {
                let known = ["table", "wide", "json", "yaml", "name", "jsonpath=TEMPLATE"];
                let near = nearest(text, known)
                    .map(|near| format!("; did you mean {near}?"))
                    .unwrap_or_default();
                Err(format!("the forms are {}{near}", known.join(", ")))
            }
        }
    }
}

/// How `apply` prints the objects that it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ObjectForm {
    /// `tenant/acme`, one a line
    Name,
    /// The object, or a List
    Json,
    /// The same as YAML
    Yaml,
}

impl From<ObjectForm> for DataFormat {
    fn from(form: ObjectForm) -> Self {
        match form {
            ObjectForm::Name => Self::Name,
            ObjectForm::Json => Self::Json,
            ObjectForm::Yaml => Self::Yaml,
        }
    }
}

/// How commands print that have a text of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DataForm {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_and_misspelt_ones_are_corrected() {
        assert!(matches!("wide".parse(), Ok(Format::Table { wide: true })));
        assert!(matches!("jsonpath={.kind}".parse(), Ok(Format::Data(DataFormat::JsonPath(_)))));
        assert!("jsonpath={.kind".parse::<Format>().is_err());
        let error = "jsn".parse::<Format>().unwrap_err();
        assert!(error.ends_with("did you mean json?"), "{error}");
    }
}
