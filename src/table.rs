//! Tables for people, and the words in them.

use std::fmt::Write;

use fractally_proto::Priority;

/// Rows under their heads, each column as wide as its widest entry. Texts come from other people's programs: what a terminal might
/// take for an order is shown as a replacement character.
pub(crate) fn table<const N: usize>(text: &mut String, heads: [&str; N], rows: &[[String; N]]) {
    let rows: Vec<[String; N]> = rows.iter().map(|row| std::array::from_fn(|column| harmless(&row[column]))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).chain([heads[column].len()]).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut line = |cells: [&str; N]| {
        let line = cells.iter().zip(widths).fold(String::new(), |mut line, (cell, width)| {
            let _ = write!(line, "{cell:width$}  ");
            line
        });
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(heads);
    rows.iter().for_each(|row| line(std::array::from_fn(|column| row[column].as_str())));
    if rows.is_empty() {
        text.push_str("(none)\n");
    }
}

/// A text without control characters, and without those that turn the direction of what follows or are not seen at all.
pub(crate) fn harmless(text: &str) -> String {
    let is_order = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if is_order(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A class as it is written in options.
pub(crate) fn class(priority: Priority) -> &'static str {
    match priority {
        Priority::Interactive => "interactive",
        Priority::Normal => "normal",
        Priority::Batch => "batch",
    }
}

/// Rows of a picture that are there, and their share of all, rounded down.
pub(crate) fn rows_of(rows: u32, rows_all: u32) -> String {
    format!("{rows} ({} %)", u64::from(rows) * 100 / u64::from(rows_all.max(1)))
}

/// A number of bytes in the unit that suits it.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KiB", count / 1024),
        1_048_576..10_737_418_240 => format!("{} MiB", count / 1_048_576),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_entry_and_orders_to_terminals_are_not_passed_on() {
        let mut text = String::new();
        let rows = [["é\u{1b}[2J".to_owned(), "1".to_owned()], ["x".to_owned(), String::new()]];
        table(&mut text, ["A", "B"], &rows);
        assert_eq!(text, "A      B\né\u{fffd}[2J  1\nx\n");
    }

    #[test]
    fn bytes_have_the_unit_that_suits_them() {
        let told = [0, 1023, 1024, 3 << 20, 10 << 30, 3 << 38].map(bytes);
        assert_eq!(told, ["0 B", "1023 B", "1 KiB", "3 MiB", "10.0 GiB", "768.0 GiB"]);
    }
}
