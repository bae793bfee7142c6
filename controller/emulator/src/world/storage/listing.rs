//! Pages of a bucket's objects, with common prefixes in the place of folders.

use super::{StorageRefusal, StoredObject};
use crate::world::World;
use crate::world::storage::object::row_key;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only keys that begin like this.
    pub prefix: String,
    /// Keys that have this after the prefix are put together up to it; none if it is empty.
    pub delimiter: String,
    /// Where the page before ended.
    pub after: Option<Place>,
    /// How many keys and prefixes at most.
    pub limit: usize,
}

/// A place between two entries of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// After this key.
    Key(String),
    /// After all keys that begin like this.
    Prefix(String),
}

/// One page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects, by key.
    pub objects: Vec<StoredObject>,
    /// The common prefixes, in order.
    pub prefixes: Vec<String>,
    /// Where the next page begins; `None` if this was the last.
    pub next: Option<Place>,
}

impl Place {
    fn is_before(&self, key: &str) -> bool {
        match self {
            Self::Key(last) => key > last.as_str(),
            Self::Prefix(prefix) => key > prefix.as_str() && !key.starts_with(prefix.as_str()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Key(text) | Self::Prefix(text) => text,
        }
    }
}

impl World {
    /// One page of a bucket's objects.
    ///
    /// # Errors
    /// [`StorageRefusal::NoSuchBucket`].
    pub fn list_objects(&self, bucket: &str, query: &ListQuery) -> Result<Page, StorageRefusal> {
        self.bucket(bucket)?;
        let mut page = Page::default();
        let mut last: Option<Place> = None;
        let from = query.after.as_ref().map(|place| row_key(bucket, place.text()));
        for object in self.storage.objects.group_after(bucket, from.as_deref()) {
            let key = object.key.as_str();
            let place = last.as_ref().or(query.after.as_ref());
            if !key.starts_with(&query.prefix) || place.is_some_and(|place| !place.is_before(key)) {
                continue;
            }
            if page.objects.len() + page.prefixes.len() >= query.limit {
                // A page of nothing leads nowhere: whoever asks for none gets none.
                page.next = last;
                return Ok(page);
            }
            last = Some(match common_prefix(key, query) {
                Some(prefix) => {
                    page.prefixes.push(prefix.to_owned());
                    Place::Prefix(prefix.to_owned())
                }
                None => {
                    page.objects.push(object.clone());
                    Place::Key(key.to_owned())
                }
            });
        }
        Ok(page)
    }
}

fn common_prefix<'a>(key: &'a str, query: &ListQuery) -> Option<&'a str> {
    if query.delimiter.is_empty() {
        return None;
    }
    let rest = key.get(query.prefix.len()..)?;
    let end = rest.find(&query.delimiter)? + query.delimiter.len();
    key.get(..query.prefix.len() + end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::world::storage::{Attributes, Conditions, Content, NewObject};
    use crate::world::testing::{at, world};

    fn with(keys: &[&str]) -> World {
        let mut world = world(false);
        let bucket = world.create_bucket(at(0), "local", "bucket").expect("made");
        for key in keys {
            let new = NewObject {
                bucket: bucket.name.clone(),
                bucket_id: bucket.id.clone(),
                key: (*key).to_owned(),
                content: Content::default(),
                attributes: Attributes::default(),
            };
            world.put_object(at(0), new, &Conditions::default()).expect("put");
        }
        world
    }

    fn query(prefix: &str, delimiter: &str, limit: usize) -> ListQuery {
        ListQuery { prefix: prefix.to_owned(), delimiter: delimiter.to_owned(), after: None, limit }
    }

    /// All pages, as keys and as prefixes with a star behind.
    fn all(world: &World, mut query: ListQuery) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            let page = world.list_objects("bucket", &query).expect("a page");
            let mut entries: Vec<String> =
                page.objects.into_iter().map(|object| object.key).collect();
            entries.extend(page.prefixes.into_iter().map(|prefix| prefix + "*"));
            assert!(entries.len() <= query.limit, "{entries:?}");
            entries.sort();
            found.extend(entries);
            match page.next {
                None => return found,
                next => query.after = next,
            }
        }
    }

    #[test]
    fn folders_are_put_together() {
        let world = with(&["a", "b/1", "b/2/x", "b/2/y", "b/3", "c/", "ü/1"]);
        assert_eq!(all(&world, query("", "/", 100)), ["a", "b/*", "c/*", "ü/*"]);
        assert_eq!(all(&world, query("b/", "/", 2)), ["b/1", "b/2/*", "b/3"]);
        assert_eq!(all(&world, query("b/2", "", 100)), ["b/2/x", "b/2/y"]);
        assert!(all(&world, query("d", "/", 100)).is_empty());
        let none = world.list_objects("bucket", &query("", "", 0)).expect("a page");
        assert_eq!(none, Page::default());
        let elsewhere = world.list_objects("bucket2", &query("", "", 1));
        assert_eq!(elsewhere, Err(StorageRefusal::NoSuchBucket));
    }

    proptest! {
        /// Whatever the size of pages, together they are the one large page.
        #[test]
        fn pages_leave_nothing_out_and_repeat_nothing(
            keys in proptest::collection::btree_set("[ab/]{1,5}", 0..20),
            prefix in "[ab/]{0,2}",
            delimiter in prop_oneof![Just("/"), Just("")],
            limit in 1_usize..4,
        ) {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let world = with(&keys);
            let whole = all(&world, query(&prefix, delimiter, 1_000));
            let mut pages = all(&world, query(&prefix, delimiter, limit));
            pages.sort();
            prop_assert_eq!(pages, whole);
        }
    }
}
