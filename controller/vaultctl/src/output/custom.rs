//! Columns that the caller chose: `-o custom-columns=NAME:.metadata.name,CLASS:.spec.class`.

use serde_json::Value;

use super::jsonpath::{Template, TemplateError, field};
use super::table::Columns;
use crate::object::Object;

/// What stands where a path leads nowhere.
const NONE: &str = "<none>";

/// Names and paths.
#[derive(Clone, Debug)]
pub(crate) struct CustomColumns {
    names: Vec<String>,
    paths: Vec<Template>,
}

/// Why a text is no list of columns.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ColumnsError {
    /// A column has no name or no path.
    #[error("{0:?} is not a column such as NAME:.metadata.name")]
    Column(String),
    /// The file has not two lines, or another number of names than of paths.
    #[error("a file of columns has a line of names and a line of as many paths")]
    Lines,
    /// A path is none.
    #[error(transparent)]
    Path(#[from] TemplateError),
}

impl CustomColumns {
    /// Reads `NAME:PATH,NAME:PATH`.
    ///
    /// # Errors
    /// See [`ColumnsError`].
    pub(crate) fn parse(text: &str) -> Result<Self, ColumnsError> {
        let mut columns = Self { names: Vec::new(), paths: Vec::new() };
        for column in split(text) {
            match column.split_once(':') {
                Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                    columns.names.push(name.to_owned());
                    columns.paths.push(field(path)?);
                }
                _ => return Err(ColumnsError::Column(column.to_owned())),
            }
        }
        Ok(columns)
    }

    /// Reads a file: a line of names, and beneath it a line of paths.
    ///
    /// # Errors
    /// See [`ColumnsError`].
    pub(crate) fn parse_file(text: &str) -> Result<Self, ColumnsError> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let (Some(names), Some(paths), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(ColumnsError::Lines);
        };
        let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
        let paths: Vec<Template> = paths.split_whitespace().map(field).collect::<Result<_, _>>()?;
        if names.len() != paths.len() {
            return Err(ColumnsError::Lines);
        }
        Ok(Self { names, paths })
    }

    /// Rows, beneath the names if they are wanted.
    pub(crate) fn render(
        &self,
        columns: &mut Columns,
        with_names: bool,
        objects: &[Object],
    ) -> String {
        let rows: Vec<Vec<String>> = objects.iter().map(|object| self.row(object)).collect();
        columns.render(with_names.then_some(self.names.as_slice()), &rows)
    }

    fn row(&self, object: &Object) -> Vec<String> {
        let cell = |path: &Template| {
            let found: Vec<String> = path.values(&object.0).into_iter().map(plain).collect();
            if found.is_empty() { NONE.to_owned() } else { found.join(",") }
        };
        self.paths.iter().map(cell).collect()
    }
}

/// The parts between commas that do not stand in brackets or braces.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (position, letter) in text.char_indices() {
        match letter {
            '[' | '{' | '(' => depth += 1,
            ']' | '}' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..position]);
                start = position + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => NONE.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects() -> Vec<Object> {
        vec![
            Object(json!({ "metadata": { "name": "acme", "labels": { "a.b/c": "d" } },
                "spec": { "machines": [{ "name": "box" }, { "name": "web" }], "on": null } })),
            Object(json!({ "metadata": { "name": "umbra" } })),
        ]
    }

    #[test]
    fn columns_are_chosen_by_path() {
        let columns = CustomColumns::parse(
            r"NAME:.metadata.name,GROUPS:{.spec.machines[*].name},L:metadata.labels.a\.b/c,ON:.spec.on,B:.spec.machines[?(@.name=='box')].name",
        )
        .unwrap();
        insta::assert_snapshot!(columns.render(&mut Columns::default(), true, &objects()), @r"
        NAME    GROUPS    L        ON       B
        acme    box,web   d        <none>   box
        umbra   <none>    <none>   <none>   <none>
        ");
    }

    #[test]
    fn a_file_has_names_above_paths() {
        let columns = CustomColumns::parse_file("NAME  KIND\n.metadata.name {.kind}\n").unwrap();
        let text = columns.render(&mut Columns::default(), false, &objects());
        assert_eq!(text, "acme    <none>\numbra   <none>\n");
    }

    #[test]
    fn what_is_no_list_of_columns_is_refused() {
        for text in ["", "NAME", "NAME:", ":.a", "NAME:.a[", "A:.a,,B:.b"] {
            assert!(CustomColumns::parse(text).is_err(), "{text:?}");
        }
        for text in ["", "NAME\n", "NAME KIND\n.a\n", "A\n.a\n.b\n"] {
            assert!(CustomColumns::parse_file(text).is_err(), "{text:?}");
        }
    }
}
