//! Lists: one page of rows from its JSON, and the walk from page to page; no I/O.

mod decode;

use std::collections::{HashMap, HashSet};

use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Error, Map, Value};

/// Rows asked for per page; the platform gives no more.
pub(crate) const PAGE_LIMIT: usize = 1_000;

/// Pages read of one list: a million machines, if they were full. More is a list without end.
pub(crate) const PAGE_CAP: usize = 1_000;

/// How much of an odd row's id is shown, in characters.
const ID_CAP: usize = 64;

/// How much is shown of the reason why a row is odd, in bytes: it may quote the row.
const REASON_CAP: usize = 256;

/// The rows of one answer.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    /// One sentence for each row that could not be read.
    pub(crate) undecodable: Vec<String>,
    /// What the answer says beside its rows.
    pub(crate) rest: Map<String, Value>,
}

impl<T: DeserializeOwned> Page<T> {
    /// Reads the rows under `member` of an object.
    ///
    /// # Errors
    /// If the answer is no object or has no such list: without it nobody can say that there are no
    /// rows. `null` is an empty list, as Go writes it.
    pub(crate) fn of_member(member: &'static str, body: &[u8]) -> Result<Self, Error> {
        decode::member(member, body)
    }

    /// Reads an answer that is a list itself.
    ///
    /// # Errors
    /// If it is neither a list nor `null`.
    pub(crate) fn of_array(body: &[u8]) -> Result<Self, Error> {
        decode::array(body)
    }
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), undecodable: Vec::new(), rest: Map::new() }
    }
}

impl<T> Page<T> {
    /// Where the next page begins; `None` on the last one.
    ///
    /// # Errors
    /// If the cursor is no text: the list would seem to end here.
    pub(crate) fn next_cursor(&self) -> Result<Option<String>, Error> {
        match self.rest.get("next_cursor") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(cursor)) => Ok((!cursor.is_empty()).then(|| cursor.clone())),
            Some(_) => Err(Error::custom("`next_cursor` is no text")),
        }
    }

    /// The regions that are missing from the answer.
    ///
    /// # Errors
    /// If they are no list of texts: regions would seem to be complete.
    pub(crate) fn error_regions(&self) -> Result<Vec<String>, Error> {
        match self.rest.get("error_regions") {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(regions) => serde_json::from_value(regions.clone()),
        }
    }
}

/// Walks from page to page and sees to it that the walk ends.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    seen: HashSet<String>,
}

impl Walk {
    /// Notes that a page names the next one.
    ///
    /// # Errors
    /// One sentence, if the walk has been there before or is longer than [`PAGE_CAP`].
    pub(crate) fn step(&mut self, cursor: &str) -> Result<(), String> {
        if !self.seen.insert(cursor.to_owned()) {
            return Err(format!("a cursor comes back after {} pages", self.seen.len()));
        }
        // The first page needs no cursor.
        if self.seen.len() >= PAGE_CAP {
            return Err(format!("there are more than {PAGE_CAP} of them"));
        }
        Ok(())
    }
}

/// Keeps the last row of each id: what changes while the pages are read moves to a later page.
pub(crate) fn keep_latest<T>(rows: Vec<T>, id: impl Fn(&T) -> &str) -> Vec<T> {
    let ids: HashSet<&str> = rows.iter().map(&id).collect();
    if ids.len() == rows.len() {
        return rows;
    }
    let mut places: HashMap<String, usize> = HashMap::with_capacity(ids.len());
    let mut kept: Vec<T> = Vec::with_capacity(ids.len());
    for row in rows {
        if let Some(place) = places.get(id(&row)) {
            kept[*place] = row;
        } else {
            places.insert(id(&row).to_owned(), kept.len());
            kept.push(row);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Deserialize)]
    struct Row {
        id: String,
        size: u64,
    }

    fn row(id: &str, size: u64) -> Row {
        Row { id: id.into(), size }
    }

    #[test]
    fn bad_rows_are_told_and_hide_nothing() {
        let body = br#"{"rows":[{"id":"a","size":1},{"id":"b","size":"big"},7,{"id":"c","size":3}],"next_cursor":"x"}"#;
        let page: Page<Row> = Page::of_member("rows", body).unwrap();
        assert_eq!(page.rows, [row("a", 1), row("c", 3)]);
        assert_eq!(page.undecodable.len(), 2);
        assert!(
            page.undecodable[0].starts_with("row 1 (id \"b\"): invalid type: string"),
            "{:?}",
            page.undecodable
        );
        assert!(
            page.undecodable[1].starts_with("row 2 (id \"none\"): invalid type: integer"),
            "{:?}",
            page.undecodable
        );
        assert_eq!(page.next_cursor().unwrap().as_deref(), Some("x"));
    }

    #[test]
    fn a_row_cannot_flood_the_messages() {
        let long = "x".repeat(1 << 20);
        let body = serde_json::json!({"rows": [{"id": long, "size": long}]}).to_string();
        let page: Page<Row> = Page::of_member("rows", body.as_bytes()).unwrap();
        assert!(page.undecodable[0].len() < ID_CAP + REASON_CAP + 32);
    }

    #[test]
    fn of_a_list_that_comes_twice_the_last_one_counts() {
        let body = br#"{"rows":[{"id":"a","size":1},7],"total":1,"rows":[{"id":"b","size":2}]}"#;
        let page: Page<Row> = Page::of_member("rows", body).unwrap();
        assert_eq!(page.rows, [row("b", 2)]);
        assert!(page.undecodable.is_empty(), "{:?}", page.undecodable);
        assert_eq!(page.rest.get("total").and_then(Value::as_u64), Some(1));
    }

    #[test]
    fn what_comes_after_an_answer_makes_it_none() {
        assert!(Page::<Row>::of_member("rows", br#"{"rows":[]} {"rows":[]}"#).is_err());
        assert!(Page::<Row>::of_array(b"[] []").is_err());
        assert_eq!(Page::<Row>::of_array(b" [] ").unwrap().rows.len(), 0);
    }

    #[test]
    fn an_answer_without_its_list_is_no_empty_list() {
        let read = |body: &str| {
            Page::<Row>::of_member("rows", body.as_bytes()).map(|page| page.rows.len())
        };
        assert_eq!(read(r#"{"rows":[]}"#).unwrap(), 0);
        assert_eq!(read(r#"{"rows":null}"#).unwrap(), 0);
        for body in [r#"{"ok":true}"#, r#"{"rows":{}}"#, "[]", "", "<html>", r#"{"rows":[]"#] {
            assert!(read(body).is_err(), "{body}");
        }
        assert_eq!(Page::<Row>::of_array(b"null").unwrap().rows.len(), 0);
        assert!(Page::<Row>::of_array(b"{}").is_err());
    }

    #[test]
    fn what_stands_beside_the_rows_is_read_or_refused_but_never_passed_over() {
        let page = |rest: &str| {
            Page::<Row>::of_member("rows", format!(r#"{{"rows":[]{rest}}}"#).as_bytes()).unwrap()
        };
        assert_eq!(page("").next_cursor().unwrap(), None);
        assert_eq!(page(r#","next_cursor":null"#).next_cursor().unwrap(), None);
        assert_eq!(page(r#","next_cursor":"""#).next_cursor().unwrap(), None);
        assert!(page(r#","next_cursor":7"#).next_cursor().is_err());
        assert!(page("").error_regions().unwrap().is_empty());
        assert!(page(r#","error_regions":null"#).error_regions().unwrap().is_empty());
        assert_eq!(page(r#","error_regions":["ams"]"#).error_regions().unwrap(), ["ams"]);
        assert!(page(r#","error_regions":"ams""#).error_regions().is_err());
    }

    #[test]
    fn a_walk_ends() {
        let mut walk = Walk::default();
        walk.step("a").unwrap();
        walk.step("b").unwrap();
        assert_eq!(walk.step("a").unwrap_err(), "a cursor comes back after 2 pages");
        let mut walk = Walk::default();
        for page in 1..PAGE_CAP {
            walk.step(&page.to_string()).unwrap();
        }
        assert_eq!(walk.step("one more").unwrap_err(), "there are more than 1000 of them");
    }

    #[test]
    fn the_last_row_of_an_id_counts() {
        let rows = vec![row("a", 1), row("b", 1), row("a", 2), row("c", 1), row("a", 3)];
        assert_eq!(keep_latest(rows, |row| &row.id), [row("a", 3), row("b", 1), row("c", 1)]);
    }
}
