//! Objects that come one after another, as `get --watch` prints them: rows beneath one header, or
//! a document each.

use jiff::Timestamp;
use serde_json::json;

use super::format::{DataFormat, Format};
use super::table::Columns;
use super::tables::{TableOptions, header, row};
use super::{json as to_json, yaml as to_yaml};
use crate::object::{Object, Resource};

/// Prints objects of one resource as they come.
pub(crate) struct Stream {
    resource: Resource,
    format: Format,
    options: TableOptions,
    /// Say with each object what has happened to it.
    with_events: bool,
    columns: Columns,
    has_begun: bool,
}

impl Stream {
    /// Prints in this form.
    pub(crate) fn new(
        resource: Resource,
        format: Format,
        options: TableOptions,
        with_events: bool,
    ) -> Self {
        let columns = Columns::default();
        Self { resource, format, options, with_events, columns, has_begun: false }
    }

    /// The text about these objects, to which `event` (such as `ADDED`) has happened.
    ///
    /// # Errors
    /// An object has no form in JSON or YAML.
    pub(crate) fn text(
        &mut self,
        event: &str,
        objects: &[Object],
        now: Timestamp,
    ) -> anyhow::Result<String> {
        if objects.is_empty() {
            return Ok(String::new());
        }
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let with_names = is_first && !self.options.no_headers;
        match &self.format {
            Format::Custom(custom) => Ok(custom.render(&mut self.columns, with_names, objects)),
            Format::Table { .. } => Ok(self.rows(event, objects, with_names, now)),
            Format::Data(format) => {
                let mut text = String::new();
                for (index, object) in objects.iter().enumerate() {
                    let separates = !is_first || index > 0;
                    text.push_str(&self.document(format, event, object, separates)?);
                }
                Ok(text)
            }
        }
    }

    fn rows(
        &mut self,
        event: &str,
        objects: &[Object],
        with_names: bool,
        now: Timestamp,
    ) -> String {
        let mut names = header(self.resource, &self.options);
        if self.with_events {
            names.insert(0, "EVENT".to_owned());
        }
        let rows: Vec<Vec<String>> = objects
            .iter()
            .map(|object| {
                let mut cells = row(self.resource, object, &self.options, now);
                if self.with_events {
                    cells.insert(0, event.to_owned());
                }
                cells
            })
            .collect();
        self.columns.render(with_names.then_some(names.as_slice()), &rows)
    }

    fn document(
        &self,
        format: &DataFormat,
        event: &str,
        object: &Object,
        separates: bool,
    ) -> anyhow::Result<String> {
        let document = match self.with_events {
            true => json!({ "type": event, "object": object }),
            false => object.0.clone(),
        };
        Ok(match format {
            DataFormat::Json => to_json(&document)?,
            DataFormat::Yaml => {
                let separator = if separates { "---\n" } else { "" };
                format!("{separator}{}", to_yaml(&document)?)
            }
            DataFormat::Name => match self.with_events {
                true => format!("{event} {}\n", object.reference()),
                false => format!("{}\n", object.reference()),
            },
            DataFormat::JsonPath(template) => template.render(&document),
        })
    }
}
