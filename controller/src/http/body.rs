//! Bodies of writes: JSON or YAML, with what stands twice in them.

use std::cell::RefCell;
use std::fmt;

use axum::body::Bytes;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use vault_api::manifest::read_value;
use vault_api::problem::{FieldPath, Step};

use super::error::ApiError;

/// Most fields that are told of as standing twice.
const DUPLICATES_MAX: usize = 100;

/// What a body says.
#[derive(Debug)]
pub(super) struct Body {
    /// The document. Of a field that stands twice, the last one counts.
    pub(super) value: Value,
    /// The fields that stand twice.
    pub(super) duplicates: Vec<FieldPath>,
}

/// Reads an object in the form that its content type names.
pub(super) fn read(content_type: &str, bytes: &Bytes) -> Result<Body, ApiError> {
    let form = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match form.as_str() {
        "" | "application/json" => json(bytes),
        // A key that stands twice is no YAML at all, whatever fieldValidation says.
        "application/yaml" | "application/x-yaml" | "text/yaml" => read_value("body", bytes)
            .map(|value| Body { value, duplicates: Vec::new() })
            .map_err(|problems| {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                ApiError::BadRequest(format!("the body is not YAML: {}", problems.join("; ")))
            }),
        _ => Err(ApiError::UnsupportedMediaType(format!(
            "the body is in the form {form:?}: send application/json or application/yaml"
        ))),
    }
}

/// Reads JSON.
pub(super) fn json(bytes: &Bytes) -> Result<Body, ApiError> {
    let reader = Reader::default();
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = Seed(&reader)
        .deserialize(&mut parser)
        .and_then(|value| parser.end().map(|()| value))
        .map_err(|error| ApiError::BadRequest(format!("the body is not JSON: {error}")))?;
    Ok(Body { value, duplicates: reader.duplicates.into_inner() })
}

#[derive(Default)]
struct Reader {
    path: RefCell<Vec<Step>>,
    duplicates: RefCell<Vec<FieldPath>>,
}

/// Reads a value that stands at the reader's path. The parser bounds the depth.
#[derive(Clone, Copy)]
struct Seed<'a>(&'a Reader);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            self.0.path.borrow_mut().push(Step::Index(list.len()));
            let item = items.next_element_seed(self)?;
            self.0.path.borrow_mut().pop();
            match item {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            self.0.path.borrow_mut().push(Step::Field(key.clone()));
            let value = members.next_value_seed(self)?;
            if map.insert(key, value).is_some() {
                let mut duplicates = self.0.duplicates.borrow_mut();
                if duplicates.len() < DUPLICATES_MAX {
                    duplicates.push(FieldPath(self.0.path.borrow().clone()));
                }
            }
            self.0.path.borrow_mut().pop();
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_twice_is_told_and_the_last_one_counts() {
        let text =
            r#"{"a": [{"b": 1, "b": 2}], "c": -1, "d": 1.5, "e": null, "a": "x", "f": true}"#;
        let body = json(&Bytes::from_static(text.as_bytes())).unwrap();
        assert_eq!(body.value, json!({ "a": "x", "c": -1, "d": 1.5, "e": null, "f": true }));
        let paths: Vec<String> = body.duplicates.iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["a[0].b", "a"]);
    }

    #[test]
    fn a_body_is_json_or_yaml_by_its_content_type() {
        let yaml = Bytes::from_static(b"a: [1]\n");
        for form in ["application/yaml", "application/yaml; charset=utf-8", "text/yaml"] {
            assert_eq!(read(form, &yaml).unwrap().value, json!({ "a": [1] }));
        }
        assert!(matches!(read("application/json", &yaml), Err(ApiError::BadRequest(_))));
        let twice = read("application/yaml", &Bytes::from_static(b"a: 1\na: 2\n"));
        assert!(
            matches!(twice, Err(ApiError::BadRequest(message)) if message.contains("body:2:1"))
        );
        let protobuf = read("application/vnd.kubernetes.protobuf", &yaml);
        assert!(matches!(protobuf, Err(ApiError::UnsupportedMediaType(_))));
        let deep = Bytes::from("[".repeat(100_000));
        assert!(matches!(json(&deep), Err(ApiError::BadRequest(_))));
    }
}
