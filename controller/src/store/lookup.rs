//! Tenants by what their specs name: an index finds them, and only they are decoded.

use rusqlite::{Connection, params};

use super::objects::{COLUMNS, decode, rows_max};
use super::{Kind, StoreError, StoredObject};

/// What a tenant's spec names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// The class.
    Class(String),
    /// The app.
    App(String),
}

impl Named {
    /// The table with the index that must be used, and the condition. SQLite uses an index on an
    /// expression only for the very same one, and would rather walk the table by name.
    fn sql(&self) -> &'static str {
        match self {
            Self::Class(_) => {
                "object INDEXED BY object_class \
                 WHERE kind = ?1 AND json_extract(spec, '$.class') = ?2"
            }
            Self::App(_) => {
                "object INDEXED BY object_app \
                 WHERE kind = ?1 \
                 AND coalesce(json_extract(spec, '$.app.name'), json_extract(spec, '$.app')) = ?2"
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Class(name) | Self::App(name) => name,
        }
    }
}

pub(super) fn page(
    connection: &Connection,
    named: &Named,
    after: &str,
    limit: usize,
) -> Result<Vec<StoredObject>, StoreError> {
    let mut select = connection.prepare_cached(&page_sql(named))?;
    let kind = Kind::Tenant;
    let mut rows = select.query(params![kind.word(), named.name(), after, rows_max(limit)])?;
    let mut objects = Vec::new();
    while let Some(row) = rows.next()? {
        objects.push(decode(kind, row)?);
    }
    Ok(objects)
}

fn page_sql(named: &Named) -> String {
    format!("SELECT {COLUMNS} FROM {} AND name > ?3 ORDER BY name LIMIT ?4", named.sql())
}

pub(super) fn count(
    connection: &Connection,
    named: &Named,
) -> Result<(usize, Option<String>), StoreError> {
    let sql = format!("SELECT count(*), min(name) FROM {}", named.sql());
    let mut select = connection.prepare_cached(&sql)?;
    let found: (i64, Option<String>) = select
        .query_row(params![Kind::Tenant.word(), named.name()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Ok((usize::try_from(found.0).unwrap_or_default(), found.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How SQLite means to answer.
    fn strategy(sql: &str) -> String {
        let mut connection = Connection::open_in_memory().unwrap();
        super::super::migrations::migrate(&mut connection, 1).unwrap();
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = explain
            .query_map(params!["", "", "", 1], |row| row.get::<_, String>("detail"))
            .unwrap();
        steps.map(Result::unwrap).collect::<Vec<String>>().join("\n")
    }

    #[test]
    fn an_index_finds_them_in_the_order_of_their_names() {
        for named in [Named::Class("box".to_owned()), Named::App("box".to_owned())] {
            let found = strategy(&page_sql(&named));
            assert!(found.contains("USING INDEX object_"), "{found}");
            assert!(!found.contains("TEMP B-TREE"), "{found}");
        }
    }
}
