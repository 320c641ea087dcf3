//! The last rows of a table, for people on a terminal and for programs behind a pipe.

use std::fmt::Write;

use comfy_table::{ContentArrangement, Table, presets};

use crate::dead_letter::text::line as visible;

/// `rows` under `columns`: on a terminal as a table that fits its width, otherwise as tab-separated lines
/// with the names first. Nothing in a cell can act on the terminal or break a line.
pub fn render(columns: &[String], rows: &[Vec<String>], terminal: bool) -> String {
    if terminal {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(columns.iter().map(|name| visible(name)));
        rows.iter().for_each(|row| _ = table.add_row(row.iter().map(|cell| visible(cell))));
        return format!("{table}\n");
    }
    let mut text = String::new();
    for row in std::iter::once(columns).chain(rows.iter().map(Vec::as_slice)) {
        let cells: Vec<String> = row.iter().map(|cell| visible(&cell.replace('\\', "\\\\"))).collect();
        _ = writeln!(text, "{}", cells.join("\t"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn a_pipe_gets_tabs_and_escapes() {
        let text = render(&texts(&["id", "note"]), &[texts(&["1", "a\tb\nc\\d"]), texts(&["2", ""])], false);
        assert_eq!(text, "id\tnote\n1\ta\\tb\\nc\\\\d\n2\t\n");
    }

    #[test]
    fn a_terminal_gets_a_table_on_which_no_cell_acts() {
        let text = render(&texts(&["id", "note"]), &[texts(&["1", "\u{1b}[31mred\u{202e}"])], true);
        assert!(text.contains("id") && text.contains("\\u{1b}[31mred\\u{202e}"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    }
}
