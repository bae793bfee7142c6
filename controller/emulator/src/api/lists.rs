//! The parameters of lists, and the cursors of pages.

use serde::Deserialize;

use crate::api::error::ApiError;
use crate::world::query::{Filter, Position};

/// The largest page, and the size of one that names none.
const MAX_LIMIT: usize = 1000;

/// What lists take. Numbers and switches are read from text here, so that an empty value counts as
/// none, as it does on the platform.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ListQuery {
    include_deleted: Option<String>,
    region: Option<String>,
    state: Option<String>,
    summary: Option<String>,
    include_leases: Option<String>,
    updated_after: Option<String>,
    cursor: Option<String>,
    limit: Option<String>,
}

impl ListQuery {
    /// What to leave out.
    pub(super) fn filter(&self) -> Filter {
        let states = self.state.as_deref().unwrap_or_default().split(',').map(str::trim);
        Filter {
            include_deleted: is_true(self.include_deleted.as_deref()),
            region: self.region.clone().filter(|region| !region.is_empty()),
            states: states.filter(|state| !state.is_empty()).map(str::to_owned).collect(),
            metadata: Vec::new(),
        }
    }

    /// Whether short rows are enough.
    pub(super) fn summary(&self) -> bool {
        is_true(self.summary.as_deref())
    }

    /// Whether machines are shown with their leases.
    pub(super) fn include_leases(&self) -> bool {
        is_true(self.include_leases.as_deref())
    }

    /// Rows per page.
    pub(super) fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.as_deref() {
            None | Some("") => Ok(MAX_LIMIT),
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if limit > 0 => Ok(limit.min(MAX_LIMIT)),
                _ => Err(ApiError::Malformed(format!("limit {text:?} is no positive number"))),
            },
        }
    }

    /// Where the page begins; a cursor is stronger than a time.
    pub(super) fn position(&self) -> Result<Option<Position>, ApiError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(cursor) = given(&self.cursor) {
            let position = decode(&cursor);
            let malformed = || ApiError::Malformed("cursor is not one of ours".to_owned());
            return position.map(Some).ok_or_else(malformed);
        }
        let Some(after) = given(&self.updated_after) else {
            return Ok(None);
        };
        let time = after
            .parse()
            .map_err(|_| ApiError::Malformed("updated_after is no RFC 3339 time".to_owned()))?;
        // Greater than every id: rows of that very moment are not after it.
        Ok(Some((time, "\u{7f}".to_owned())))
    }
}

/// A position as an opaque text.
pub(super) fn cursor((time, id): &Position) -> String {
    data_encoding::BASE64URL_NOPAD.encode(format!("{time} {id}").as_bytes())
}

/// A switch of a query string.
pub(super) fn is_true(text: Option<&str>) -> bool {
    matches!(text, Some("true" | "1"))
}

fn decode(cursor: &str) -> Option<Position> {
    let bytes = data_encoding::BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (time, id) = text.split_once(' ')?;
    Some((time.parse().ok()?, id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_its_position_again() {
        let position =
            ("2026-09-01T10:00:00.123456789Z".parse().expect("a time"), "vol_1".to_owned());
        assert_eq!(decode(&cursor(&position)), Some(position));
        for text in ["", "x", "AAAA", "!"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
