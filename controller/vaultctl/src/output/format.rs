//! The forms of output: `-o table|wide|json|yaml|name|jsonpath=TEMPLATE|custom-columns=COLUMNS`.

use std::io::Read as _;
use std::str::FromStr;

use clap::ValueEnum;

use super::custom::CustomColumns;
use super::jsonpath::Template;
use vault_api::names::nearest;

/// How `get` prints.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// Columns for people.
    Table {
        /// More of them.
        wide: bool,
    },
    /// Columns that the caller chose.
    Custom(CustomColumns),
    /// Something for programs.
    Data(DataFormat),
}

/// A template or a list of columns is written by hand; this much is more than anyone writes.
const MAX_TEMPLATE_BYTES: u64 = 1 << 20;

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
        let jsonpath = |template: &str| match template.parse() {
            Ok(template) => Ok(Self::Data(DataFormat::JsonPath(template))),
            Err(error) => Err(format!("{error}")),
        };
        let custom = |columns: Result<CustomColumns, super::custom::ColumnsError>| match columns {
            Ok(columns) => Ok(Self::Custom(columns)),
            Err(error) => Err(error.to_string()),
        };
        match text.split_once('=') {
            Some((form, "")) => return Err(format!("nothing stands after {form}=")),
            Some(("jsonpath", template)) => return jsonpath(template),
            Some(("jsonpath-file", path)) => {
                return jsonpath(contents(path)?.trim_end_matches('\n'));
            }
            Some(("custom-columns", columns)) => return custom(CustomColumns::parse(columns)),
            Some(("custom-columns-file", path)) => {
                return custom(CustomColumns::parse_file(&contents(path)?));
            }
            _ => {}
        }
        match text {
            "table" => Ok(Self::Table { wide: false }),
            "wide" => Ok(Self::Table { wide: true }),
            "json" => Ok(Self::Data(DataFormat::Json)),
            "yaml" => Ok(Self::Data(DataFormat::Yaml)),
            "name" => Ok(Self::Data(DataFormat::Name)),
            _ => {
                let known = [
                    "table",
                    "wide",
                    "json",
                    "yaml",
                    "name",
                    "jsonpath=TEMPLATE",
                    "jsonpath-file=FILE",
                    "custom-columns=NAME:PATH,…",
                    "custom-columns-file=FILE",
                ];
                let word = |form: &'static str| form.split('=').next().unwrap_or(form);
                let near = nearest(text.split('=').next().unwrap_or(text), known.map(word))
                    .map(|near| format!("; did you mean {near}?"))
                    .unwrap_or_default();
                Err(format!("the forms are {}{near}", known.join(", ")))
            }
        }
    }
}

fn contents(path: &str) -> Result<String, String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_TEMPLATE_BYTES + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > MAX_TEMPLATE_BYTES => {
            Err(format!("{path} is larger than {MAX_TEMPLATE_BYTES} bytes"))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(format!("cannot read {path}: {error}")),
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
        assert!(matches!("custom-columns=N:.kind".parse(), Ok(Format::Custom(_))));
        let error = "custom-colums=N:.kind".parse::<Format>().unwrap_err();
        assert!(error.ends_with("did you mean custom-columns?"), "{error}");
        for form in ["jsonpath", "jsonpath-file", "custom-columns", "custom-columns-file"] {
            let error = format!("{form}=").parse::<Format>().unwrap_err();
            assert_eq!(error, format!("nothing stands after {form}="));
        }
        let error = "jsonpath-file=/dev/zero".parse::<Format>().unwrap_err();
        assert_eq!(error, "/dev/zero is larger than 1048576 bytes");
        let error = "jsonpath-file=/nowhere/at/all".parse::<Format>().unwrap_err();
        assert!(error.starts_with("cannot read /nowhere/at/all: "), "{error}");
        let error = "jsn".parse::<Format>().unwrap_err();
        assert!(error.ends_with("did you mean json?"), "{error}");
    }
}
