//! A page from its JSON, row by row: at no time is there a tree of the whole answer.
//!
//! ```text
//!   { "machines": [ {…}, {…}, … ], "next_cursor": … }
//!                    │ read as rows at once; if one of them is odd, all of it once more:
//!                    │ one row's tree, made, read and dropped before the next one
//!                    ▼
//!                  rows, or one sentence                └─▶ rest
//! ```
//!
//! Nearly all answers are sound, and trees take most of the time. An odd row cannot be passed over
//! without its tree, because nobody knows where in it the reading stopped.
//!
//! A list of apps has no pages: it is one answer, however many there are, and its tree would take
//! many times the memory of the rows that come out of it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::Visitor;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess,
};
use serde_json::{Error, Map, Value};

use super::{ID_CAP, Page, REASON_CAP};
use crate::text::printable;

/// Reads the rows under `member` of an object; see [`Page::of_member`].
pub(super) fn member<T: DeserializeOwned>(
    member: &'static str,
    body: &[u8],
) -> Result<Page<T>, Error> {
    let answer = |by| Answer { member, by, row: PhantomData };
    whole(answer(By::Rows), body).or_else(|_| whole(answer(By::Trees), body))
}

/// Reads an answer that is a list itself; see [`Page::of_array`].
pub(super) fn array<T: DeserializeOwned>(body: &[u8]) -> Result<Page<T>, Error> {
    let read = |by| {
        let mut page = Page::default();
        whole(Rows { member: "answer", by, page: &mut page }, body)?;
        Ok(page)
    };
    read(By::Rows).or_else(|_: Error| read(By::Trees))
}

/// How rows are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// As what they are; the first odd one ends it.
    Rows,
    /// As trees first, so that an odd one is told and passed over.
    Trees,
}

/// Reads `body` from its beginning to its end.
fn whole<'de, S: DeserializeSeed<'de>>(seed: S, body: &'de [u8]) -> Result<S::Value, Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = seed.deserialize(&mut json)?;
    json.end()?;
    Ok(read)
}

/// An object of which one member is the list.
struct Answer<T> {
    member: &'static str,
    by: By,
    row: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Answer<T> {
    type Value = Page<T>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Page<T>, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Answer<T> {
    type Value = Page<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "an object with a list `{}`", self.member)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Page<T>, A::Error> {
        let mut list = None;
        let mut rest = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name == self.member {
                // As everywhere in JSON that names a member twice, the last one counts.
                let page = list.insert(Page::default());
                members.next_value_seed(Rows { member: self.member, by: self.by, page })?;
            } else {
                let value: Value = members.next_value()?;
                rest.insert(name, value);
            }
        }
        let page = list.ok_or_else(|| A::Error::missing_field(self.member))?;
        Ok(Page { rest, ..page })
    }
}

/// The list.
struct Rows<'a, T> {
    member: &'static str,
    by: By,
    page: &'a mut Page<T>,
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Rows<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Rows<'_, T> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list as `{}`", self.member)
    }

    /// `null`, which Go writes for an empty list.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        if self.by == By::Rows {
            while let Some(row) = values.next_element()? {
                self.page.rows.push(row);
            }
            return Ok(());
        }
        let mut index = 0_usize;
        while let Some(value) = values.next_element::<Value>()? {
            add(self.page, index, value);
            index += 1;
        }
        Ok(())
    }
}

/// Takes a row in, or one sentence about it.
fn add<T: DeserializeOwned>(page: &mut Page<T>, index: usize, value: Value) {
    let id: String =
        value.get("id").and_then(Value::as_str).unwrap_or("none").chars().take(ID_CAP).collect();
    match serde_json::from_value(value) {
        Ok(row) => page.rows.push(row),
        Err(error) => {
            let reason = printable(&error.to_string(), REASON_CAP);
            page.undecodable.push(format!("row {index} (id {id:?}): {reason}"));
        }
    }
}
