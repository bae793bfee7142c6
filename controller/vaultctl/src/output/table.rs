//! Plain columns: aligned by spaces, no borders, nothing cut off.

use comfy_table::{ContentArrangement, Table, presets};

/// The space between two columns, as kubectl has it.
const GAP: u16 = 3;

/// A table as text, a line per row and one for the header unless it is empty. Each row has as many
/// cells as the header; line breaks in a cell become spaces, an empty cell a dash.
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.add_row(header.to_vec());
    for row in rows {
        table.add_row(row.iter().map(|cell| filled(cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
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
}
