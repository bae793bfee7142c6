//! Pure: walking through a JSON schema as `explain` does.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use vault_api::names::nearest;

/// References to references, and fields beneath fields, deeper than any schema of ours.
const MAX_DEPTH: usize = 16;
/// Where descriptions are wrapped: kubectl's width.
const WIDTH: usize = 76;

/// One place in a schema.
#[derive(Clone, Copy)]
pub(super) struct Node<'s> {
    root: &'s Value,
    schema: &'s Value,
}

impl<'s> Node<'s> {
    /// The whole document.
    pub(super) fn root(root: &'s Value) -> Self {
        Self { root, schema: root }
    }

    /// A field, also of the items of a list; else the nearest name that there is.
    pub(super) fn field(self, name: &str) -> Result<Self, Option<String>> {
        let Some(fields) = self.fields() else { return Err(None) };
        match fields.get(name) {
            Some(schema) => Ok(Self { schema, ..self }),
            None => Err(nearest(name, fields.keys().map(String::as_str)).map(str::to_owned)),
        }
    }

    /// The type as kubectl writes it: `string`, `[]MachineGroup`, `map[string]string`, `Object`.
    pub(super) fn type_name(self) -> String {
        self.type_at(0)
    }

    /// Description, values and fields; `recursive`: names and types of all that is beneath.
    pub(super) fn text(self, recursive: bool) -> String {
        // Writing into a string cannot fail.
        let mut text = String::from("DESCRIPTION:\n");
        let description = self.description();
        wrapped(&mut text, if description.is_empty() { "<empty>" } else { description }, 4);
        self.values(&mut text, 4);
        let Some(fields) = self.fields().filter(|fields| !fields.is_empty()) else {
            return text;
        };
        text.push_str("\nFIELDS:\n");
        if recursive {
            self.tree(&mut text, 1);
            return text;
        }
        for (name, schema) in fields {
            let field = Self { schema, ..self };
            let required = if self.requires(name) { " -required-" } else { "" };
            writeln!(text, "  {name}\t<{}>{required}", field.type_name()).ok();
            field.values(&mut text, 4);
            let description = field.description();
            if !description.is_empty() {
                wrapped(&mut text, description, 4);
            }
            text.push('\n');
        }
        text
    }

    fn tree(self, text: &mut String, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        for (name, schema) in self.fields().into_iter().flatten() {
            let field = Self { schema, ..self };
            let required = if self.requires(name) { " -required-" } else { "" };
            let indent = "  ".repeat(depth);
            writeln!(text, "{indent}{name}\t<{}>{required}", field.type_name()).ok();
            field.tree(text, depth + 1);
        }
    }

    /// The schema behind references, and behind "this or null".
    fn target(self) -> &'s Value {
        let mut schema = self.schema;
        for _ in 0..MAX_DEPTH {
            if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
                let Some(found) = self.root.pointer(name.trim_start_matches('#')) else {
                    return schema;
                };
                schema = found;
            } else if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
                let is_null = |one: &&Value| one.get("type") == Some(&Value::from("null"));
                let mut others = branches.iter().filter(|one| !is_null(one));
                match (others.next(), others.next()) {
                    (Some(only), None) => schema = only,
                    _ => return schema,
                }
            } else {
                return schema;
            }
        }
        schema
    }

    fn fields(self) -> Option<&'s Map<String, Value>> {
        let mut node = self;
        for _ in 0..MAX_DEPTH {
            let target = node.target();
            match target.get("items") {
                Some(items) => node = Self { schema: items, ..self },
                None => return target.get("properties").and_then(Value::as_object),
            }
        }
        None
    }

    fn requires(self, name: &str) -> bool {
        let mut node = self;
        for _ in 0..MAX_DEPTH {
            let target = node.target();
            match target.get("items") {
                Some(items) => node = Self { schema: items, ..self },
                None => {
                    let required = target.get("required").and_then(Value::as_array);
                    return required.is_some_and(|all| all.iter().any(|one| one == name));
                }
            }
        }
        false
    }

    fn description(self) -> &'s str {
        let of = |schema: &'s Value| schema.get("description").and_then(Value::as_str);
        of(self.schema).or_else(|| of(self.target())).unwrap_or_default()
    }

    /// The values that a field may have, if they are few and known.
    fn values(self, text: &mut String, indent: usize) {
        let target = self.target();
        let mut values: Vec<&str> = Vec::new();
        if let Some(listed) = target.get("enum").and_then(Value::as_array) {
            values.extend(listed.iter().filter_map(Value::as_str));
        }
        if let Some(branches) = target.get("oneOf").and_then(Value::as_array) {
            values.extend(branches.iter().filter_map(|one| one.get("const")?.as_str()));
        }
        if !values.is_empty() {
            wrapped(text, &format!("enum: {}", values.join(", ")), indent);
        }
    }

    fn type_at(self, depth: usize) -> String {
        let target = self.target();
        let of = |schema| Self { schema, ..self }.type_at(depth + 1);
        let plain = match target.get("type") {
            Some(Value::String(name)) => Some(name.as_str()),
            // "This or null" in its short form.
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).find(|name| *name != "null")
            }
            _ => None,
        };
        match plain {
            _ if depth > MAX_DEPTH => "Object".to_owned(),
            Some("array") => match target.get("items") {
                Some(items) => format!("[]{}", of(items)),
                None => "[]Object".to_owned(),
            },
            Some("object") => match target.get("additionalProperties") {
                Some(values @ Value::Object(_)) => format!("map[string]{}", of(values)),
                _ => self.name().unwrap_or("Object").to_owned(),
            },
            Some(name) => name.to_owned(),
            None if target.get("oneOf").is_some() || target.get("enum").is_some() => {
                "string".to_owned()
            }
            None => "Object".to_owned(),
        }
    }

    /// The name of a definition that a schema refers to.
    fn name(self) -> Option<&'s str> {
        let reference = |schema: &'s Value| schema.get("$ref").and_then(Value::as_str);
        let branches = self.schema.get("anyOf").and_then(Value::as_array);
        let named = reference(self.schema)
            .or_else(|| branches.into_iter().flatten().find_map(reference))?;
        named.rsplit('/').next()
    }
}

/// Paragraphs, wrapped and indented.
fn wrapped(text: &mut String, paragraphs: &str, indent: usize) {
    for paragraph in paragraphs.split("\n\n") {
        let mut length = 0;
        for word in paragraph.split_whitespace() {
            let width = word.chars().count();
            if length > 0 && indent + length + 1 + width > WIDTH {
                text.push('\n');
                length = 0;
            }
            if length == 0 {
                text.push_str(&" ".repeat(indent));
            } else {
                text.push(' ');
                length += 1;
            }
            text.push_str(word);
            length += width;
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object", "description": "A thing.", "required": ["name"],
            "properties": {
                "name": { "type": "string", "description": "Its name." },
                "parts": { "type": "array", "items": { "$ref": "#/$defs/Part" } },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                "self": { "$ref": "#/$defs/Loop" },
            },
            "$defs": {
                "Part": { "type": "object", "description": "A part.", "required": ["size"],
                    "properties": {
                        "size": { "type": ["integer", "null"] },
                        "mode": { "anyOf": [{ "$ref": "#/$defs/Mode" }, { "type": "null" }] },
                    } },
                "Mode": { "oneOf": [{ "const": "On" }, { "const": "Off" }] },
                "Loop": { "$ref": "#/$defs/Loop" },
            },
        })
    }

    #[test]
    fn fields_are_told_through_lists_and_references() {
        let schema = schema();
        let root = Node::root(&schema);
        let parts = root.field("parts").unwrap_or_else(|_| panic!("there are parts"));
        assert_eq!(parts.type_name(), "[]Part");
        insta::assert_snapshot!(parts.text(false).replace('\t', " "), @r"
        DESCRIPTION:
            <empty>

        FIELDS:
          mode <string>
            enum: On, Off

          size <integer> -required-
        ");
        insta::assert_snapshot!(root.text(true).replace('\t', " "), @r"
        DESCRIPTION:
            A thing.

        FIELDS:
          labels <map[string]string>
          name <string> -required-
          parts <[]Part>
            mode <string>
            size <integer> -required-
          self <Object>
        ");
        assert_eq!(root.field("nam").err().flatten().as_deref(), Some("name"));
        assert!(root.field("labels").is_ok_and(|labels| labels.field("x").is_err()));
    }
}
