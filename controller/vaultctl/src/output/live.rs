//! Lines at the bottom of the terminal that are redrawn in place, beneath what is printed meanwhile.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use console::{Term, measure_text_width};

use super::Output;

/// How large the terminal is, in lines and in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Lines.
    pub(crate) rows: usize,
    /// Columns.
    pub(crate) columns: usize,
}

/// The lines. They stay as they were last when nothing redraws them any more.
#[derive(Clone)]
pub(crate) struct Live(Arc<Mutex<Lines>>);

struct Lines {
    /// Buffered, so that taking back and drawing again reach the terminal at once.
    term: Term,
    shown: Vec<String>,
}

impl Output {
    /// Lines to redraw, none yet; `None` if results and notes do not both go to a terminal that
    /// can move its cursor.
    pub(crate) fn live(&self) -> Option<Live> {
        let is_dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        if is_dumb || !io::stdout().is_terminal() || !io::stderr().is_terminal() {
            return None;
        }
        let lines = Lines { term: Term::buffered_stderr(), shown: Vec::new() };
        Some(Live(Arc::new(Mutex::new(lines))))
    }
}

impl Live {
    /// Replaces the lines. Each has to be narrower than the terminal; of those that are too many for
    /// it the first are left out, because they could not be taken back.
    pub(crate) fn show(&self, text: &str) {
        let mut lines = self.lock();
        let fitting = size(&lines.term).rows.saturating_sub(1);
        let all: Vec<&str> = text.lines().collect();
        let shown = &all[all.len().saturating_sub(fitting)..];
        if lines.shown == shown {
            return;
        }
        // There is nowhere to complain when the terminal is gone.
        lines.take_back().ok();
        lines.shown = shown.iter().map(|line| (*line).to_owned()).collect();
        lines.draw().ok();
    }

    /// Prints above the lines, which make room meanwhile.
    pub(crate) fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        let mut lines = self.lock();
        lines.take_back().and_then(|()| lines.term.flush()).ok();
        let printed = print();
        lines.draw().ok();
        printed
    }

    /// The terminal's size now.
    pub(crate) fn size(&self) -> Size {
        size(&self.lock().term)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Whoever panicked left at worst a table that is drawn twice.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// Wipes the lines, and what was typed beneath them.
    fn take_back(&mut self) -> io::Result<()> {
        let rows = height(&self.shown, size(&self.term).columns);
        self.term.write_str("\r")?;
        self.term.move_cursor_up(rows)?;
        self.term.clear_to_end_of_screen()
    }

    fn draw(&mut self) -> io::Result<()> {
        for line in &self.shown {
            self.term.write_line(line)?;
        }
        self.term.flush()
    }
}

fn size(term: &Term) -> Size {
    let (rows, columns) = term.size();
    Size { rows: rows.into(), columns: columns.into() }
}

/// How many lines of the terminal these take up: terminals that have become narrower have wrapped
/// them.
fn height(lines: &[String], columns: usize) -> usize {
    let rows = |line: &String| measure_text_width(line).div_ceil(columns.max(1)).max(1);
    lines.iter().map(rows).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_terminal_that_became_narrower_are_counted_as_it_wraps_them() {
        let lines = ["", "abcdef", "漢字"].map(str::to_owned);
        for (columns, rows) in [(80, 3), (6, 3), (5, 4), (3, 5), (0, 11)] {
            assert_eq!(height(&lines, columns), rows, "{columns} columns");
        }
        assert_eq!(height(&[], 80), 0);
    }
}
