//! Plain columns: aligned by spaces, no borders, nothing cut off.

use comfy_table::{ContentArrangement, Table, presets};

/// The space between two columns, as kubectl has it.
const GAP: u16 = 3;

/// Columns that remember how wide they were, so that rows which come later stand beneath the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    widths: Vec<u16>,
}

impl Columns {
    /// Rows as text, a line each, beneath the header if there is one. Each row has as many cells as
    /// the header; line breaks in a cell become spaces, an empty cell a dash.
    pub(crate) fn render(&mut self, header: Option<&[String]>, rows: &[Vec<String>]) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        // A row that is left out below holds the columns open.
        let widest = |width: &u16| "x".repeat(usize::from(*width));
        let has_widths = !self.widths.is_empty();
        if has_widths {
            table.add_row(self.widths.iter().map(widest).collect::<Vec<_>>());
        }
        if let Some(header) = header {
            table.add_row(header.to_vec());
        }
        for row in rows {
            table.add_row(row.iter().map(|cell| filled(cell)).collect::<Vec<_>>());
        }
        self.widths = table.column_max_content_widths();
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        let mut text = String::new();
        for line in table.lines().skip(usize::from(has_widths)) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A table as text, a line per row and one for the header.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    Columns::default().render(Some(&header), rows)
}

fn filled(cell: &str) -> String {
    match cell {
        "" => "-".to_owned(),
        cell => clean(cell),
    }
}

/// What is shown must neither break the line nor speak to the terminal.
pub(crate) fn clean(text: &str) -> String {
    let visible = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_stay_on_their_line() {
        let rows = [
            vec!["acme".to_owned(), "True".to_owned(), "all\nis \x1b[31mwell".to_owned()],
            vec!["a-much-longer-name".to_owned(), String::new(), "größer".to_owned()],
        ];
        let text = render(&["NAME", "READY", "MESSAGE"], &rows);
        assert_eq!(
            text,
            "NAME                 READY   MESSAGE\n\
             acme                 True    all is  [31mwell\n\
             a-much-longer-name   -       größer\n"
        );
    }
    #[test]
    fn later_rows_stand_beneath_earlier_ones_and_columns_only_grow() {
        let row = |name: &str| vec![vec![name.to_owned(), "up".to_owned()]];
        let header = ["NAME".to_owned(), "STATE".to_owned()];
        let mut columns = Columns::default();
        assert_eq!(columns.render(Some(&header), &row("umbra")), "NAME    STATE\numbra   up\n");
        assert_eq!(columns.render(None, &row("a")), "a       up\n");
        assert_eq!(columns.render(None, &row("longer-name")), "longer-name   up\n");
        assert_eq!(columns.render(None, &row("a")), "a             up\n");
    }
}
