//! The options of lists and watches, as clients send them, checked as Kubernetes does.

use serde::Deserialize;

use super::error::ApiError;
use super::resources::Resource;
use crate::select::Selection;
use crate::select::fields::FieldSelector;

/// Options of a list or a watch, as they stand in the query. Unknown ones are ignored, as
/// Kubernetes does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListOptions {
    label_selector: String,
    field_selector: String,
    limit: String,
    r#continue: String,
    resource_version: String,
    resource_version_match: String,
    watch: String,
    allow_watch_bookmarks: String,
    timeout_seconds: String,
    send_initial_events: String,
    /// How much of each object stands beside its row.
    pub(super) include_object: String,
}

/// Which state a list has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// The newest.
    Newest,
    /// This one or a newer one.
    NotOlderThan(i64),
    /// This one.
    Exact(i64),
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With what exists; `marked` if the end of that is told by a bookmark.
    Existing {
        /// Whether the client asked for `sendInitialEvents`.
        marked: bool,
    },
    /// After this version.
    After(i64),
}

impl ListOptions {
    /// Whether this is a watch.
    pub(super) fn is_watch(&self) -> Result<bool, ApiError> {
        boolean("watch", &self.watch)
    }

    /// What is selected.
    pub(super) fn selection(&self, resource: &Resource) -> Result<Selection, ApiError> {
        let labels = self
            .label_selector
            .parse()
            .map_err(|error| ApiError::BadRequest(format!("labelSelector: {error}")))?;
        let fields = FieldSelector::read(&self.field_selector, resource.fields)
            .map_err(|error| ApiError::BadRequest(error.to_string()))?;
        Ok(Selection { labels, fields })
    }

    /// How many objects one answer may hold; `None` if all of them.
    pub(super) fn limit(&self) -> Result<Option<usize>, ApiError> {
        let limit: Option<usize> = number("limit", &self.limit)?;
        Ok(limit.filter(|limit| *limit > 0))
    }

    /// The token of the next page; `None` if this is the first.
    pub(super) fn continuation(&self) -> Option<&str> {
        Some(self.r#continue.as_str()).filter(|token| !token.is_empty())
    }

    /// Which state a list has to show.
    pub(super) fn freshness(&self) -> Result<Freshness, ApiError> {
        let version = self.version()?;
        let wanted = self.resource_version_match.as_str();
        if !self.send_initial_events.is_empty() {
            return Err(forbidden("sendInitialEvents", "it is for watches"));
        }
        if self.continuation().is_some() {
            return match (version.unwrap_or_default(), wanted) {
                (0, "") => Ok(Freshness::Newest),
                (0, _) => Err(forbidden("resourceVersionMatch", "continue decides that")),
                _ => Err(ApiError::BadRequest(
                    "specifying resource version is not allowed when using continue".to_owned(),
                )),
            };
        }
        match (version, wanted) {
            (None, "") | (Some(0), "" | "NotOlderThan") => Ok(Freshness::Newest),
            (None, _) => {
                let why = "it says nothing without resourceVersion";
                Err(forbidden("resourceVersionMatch", why))
            }
            (Some(0), "Exact") => {
                Err(forbidden("resourceVersionMatch", "no list is at resourceVersion 0"))
            }
            // With a limit Kubernetes answers the very version; a newer one is as good for us, as
            // each page may be newer than the one before.
            (Some(version), "" | "NotOlderThan") => Ok(Freshness::NotOlderThan(version)),
            (Some(version), "Exact") => Ok(Freshness::Exact(version)),
            (Some(_), other) => Err(ApiError::InvalidOption(format!(
                "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \
                 \"NotOlderThan\""
            ))),
        }
    }

    /// Where a watch begins.
    pub(super) fn start(&self) -> Result<Start, ApiError> {
        let version = self.version()?;
        let matched = self.resource_version_match.as_str();
        let marked = match self.send_initial_events.as_str() {
            "" => {
                if !matched.is_empty() {
                    let why = "a watch takes it with sendInitialEvents alone";
                    return Err(forbidden("resourceVersionMatch", why));
                }
                return Ok(match version {
                    None | Some(0) => Start::Existing { marked: false },
                    Some(version) => Start::After(version),
                });
            }
            other => boolean("sendInitialEvents", other)?,
        };
        if matched != "NotOlderThan" {
            return Err(ApiError::InvalidOption(
                "resourceVersionMatch: must be NotOlderThan with sendInitialEvents".to_owned(),
            ));
        }
        if marked && !self.bookmarks()? {
            return Err(forbidden("sendInitialEvents", "it needs allowWatchBookmarks=true"));
        }
        Ok(match (marked, version) {
            (false, Some(version)) if version > 0 => Start::After(version),
            // What exists now is not older than whatever was asked for: a version of the future is
            // refused before.
            (marked, _) => Start::Existing { marked },
        })
    }

    /// The version that a watch must not be older than; 0 if it may begin anywhere.
    pub(super) fn not_older_than(&self) -> Result<i64, ApiError> {
        self.version().map(Option::unwrap_or_default)
    }

    /// Whether bookmarks may be sent.
    pub(super) fn bookmarks(&self) -> Result<bool, ApiError> {
        boolean("allowWatchBookmarks", &self.allow_watch_bookmarks)
    }

    /// How long a watch may take, in seconds; `None` if the client does not mind.
    pub(super) fn timeout_seconds(&self) -> Result<Option<u64>, ApiError> {
        let seconds: Option<u64> = number("timeoutSeconds", &self.timeout_seconds)?;
        Ok(seconds.filter(|seconds| *seconds > 0))
    }

    fn version(&self) -> Result<Option<i64>, ApiError> {
        number::<u64>("resourceVersion", &self.resource_version)?
            .map(|version| {
                i64::try_from(version).map_err(|_| {
                    ApiError::BadRequest(format!("resourceVersion {version} was never given out"))
                })
            })
            .transpose()
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<Option<T>, ApiError> {
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| ApiError::BadRequest(format!("{name} is {text:?}, which is no number"))),
    }
}

/// Reads what Go's `strconv.ParseBool` reads, as Kubernetes does; Python's clients send `True`.
fn boolean(name: &str, text: &str) -> Result<bool, ApiError> {
    match text {
        "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        other => Err(ApiError::BadRequest(format!("{name} is {other:?}; it can be true or false"))),
    }
}

fn forbidden(name: &str, why: &str) -> ApiError {
    ApiError::InvalidOption(format!("{name}: Forbidden: {why}"))
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;

    use super::*;
    use crate::http::resources::TENANTS;

    fn options(query: &str) -> ListOptions {
        let uri = format!("/?{query}").parse().unwrap();
        Query::<ListOptions>::try_from_uri(&uri).unwrap().0
    }

    #[test]
    fn lists_say_how_fresh_they_have_to_be() {
        use Freshness::{Exact, Newest, NotOlderThan};
        for (query, freshness) in [
            ("", Some(Newest)),
            ("resourceVersion=0", Some(Newest)),
            ("resourceVersion=0&resourceVersionMatch=NotOlderThan", Some(Newest)),
            ("resourceVersion=0&resourceVersionMatch=Exact", None),
            ("resourceVersion=7", Some(NotOlderThan(7))),
            ("resourceVersion=7&resourceVersionMatch=NotOlderThan", Some(NotOlderThan(7))),
            ("resourceVersion=7&resourceVersionMatch=Exact", Some(Exact(7))),
            ("resourceVersion=7&resourceVersionMatch=Newer", None),
            ("resourceVersionMatch=Exact", None),
            ("resourceVersion=seven", None),
            ("resourceVersion=-1", None),
            ("resourceVersion=99999999999999999999", None),
            ("continue=x", Some(Newest)),
            ("continue=x&resourceVersion=0", Some(Newest)),
            ("continue=x&resourceVersion=7", None),
            ("sendInitialEvents=true", None),
        ] {
            assert_eq!(options(query).freshness().ok(), freshness, "{query}");
        }
    }

    #[test]
    fn watches_begin_where_the_client_says() {
        let existing = |marked| Some(Start::Existing { marked });
        let list = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        for (query, start) in [
            ("", existing(false)),
            ("resourceVersion=0", existing(false)),
            ("resourceVersion=7", Some(Start::After(7))),
            ("resourceVersion=7&resourceVersionMatch=NotOlderThan", None),
            ("sendInitialEvents=true", None),
            (list, None),
            (&format!("{list}&allowWatchBookmarks=true"), existing(true)),
            (&format!("{list}&allowWatchBookmarks=true&resourceVersion=7"), existing(true)),
            (
                "sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=7",
                Some(Start::After(7)),
            ),
        ] {
            assert_eq!(options(query).start().ok(), start, "{query}");
        }
    }

    #[test]
    fn other_options_are_checked_too() {
        assert_eq!(options("limit=0").limit().unwrap(), None);
        assert_eq!(options("limit=5").limit().unwrap(), Some(5));
        for query in ["limit=many", "limit=-1"] {
            assert!(options(query).limit().is_err(), "{query}");
        }
        assert!(options("watch=maybe").is_watch().is_err());
        for query in ["watch=1", "watch=true", "watch=True"] {
            assert!(options(query).is_watch().unwrap(), "{query}");
        }
        assert!(options("timeoutSeconds=x").timeout_seconds().is_err());
        for query in ["labelSelector=a%20b", "fieldSelector=spec.class=x", "fieldSelector=x"] {
            assert!(options(query).selection(&TENANTS).is_err(), "{query}");
        }
    }
}
