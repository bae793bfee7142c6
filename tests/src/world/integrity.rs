//! What must hold of a database whose controller was killed.

use std::fs;

use anyhow::{Context, ensure};
use rusqlite::Connection;

use super::World;

impl World {
    /// Looks at the database exactly as a killed controller left it, in a copy, so that the look
    /// repairs nothing: `integrity_check` and `foreign_key_check` find nothing wrong. A controller
    /// that was killed before it made one leaves none.
    ///
    /// # Errors
    /// If something is wrong, or a controller still runs: its database cannot be copied.
    pub fn database_is_whole(&self) -> anyhow::Result<()> {
        ensure!(self.controller.must_run().is_err(), "the controller still runs");
        let copy = self.path("copy-of-the-database");
        fs::create_dir_all(&copy)?;
        let mut copied = 0;
        for entry in fs::read_dir(self.path("controller"))? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b"controller.db") {
                fs::copy(entry.path(), copy.join(entry.file_name()))?;
                copied += 1;
            }
        }
        let checked = match copied {
            0 => Ok(()),
            _ => check(&Connection::open(copy.join("controller.db"))?),
        };
        fs::remove_dir_all(&copy)?;
        checked
    }

    /// How many intents the journal has seen sent.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn sent_intents(&self) -> anyhow::Result<usize> {
        let question = "SELECT count(*) FROM intent WHERE sent_at IS NOT NULL";
        let sent: i64 = self.database()?.query_row(question, [], |row| row.get(0))?;
        Ok(usize::try_from(sent)?)
    }
}

fn check(database: &Connection) -> anyhow::Result<()> {
    let mut found = database.prepare("PRAGMA integrity_check")?;
    let found: Vec<String> =
        found.query_map([], |row| row.get(0))?.collect::<Result<_, _>>().context("checking")?;
    ensure!(found == ["ok"], "the database is damaged: {found:#?}");
    let mut orphans = database.prepare("PRAGMA foreign_key_check")?;
    ensure!(orphans.query([])?.next()?.is_none(), "a row of the database refers to none");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("some.db");
        let database = Connection::open(&path).expect("a database");
        database
            .execute_batch("CREATE TABLE words (word TEXT); CREATE INDEX by_word ON words (word)")
            .expect("a table");
        database.execute_batch("BEGIN").expect("one commit for all rows");
        for number in 0..1_000 {
            let word = format!("a word that is long enough, of number {number}");
            database.execute("INSERT INTO words VALUES (?1)", [word]).expect("a row");
        }
        database.execute_batch("COMMIT").expect("the commit");
        check(&database).expect("all is well");
        drop(database);

        let mut bytes = fs::read(&path).expect("its bytes");
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xff);
        fs::write(&path, bytes).expect("bytes are written");
        let damaged = Connection::open(&path).expect("the header is well");
        assert!(check(&damaged).is_err());
    }
}
