//! Texts and tables on a buffer of cells. Whatever is put there is made harmless first and stays in its room, so nothing above needs to
//! know that names come from strangers or that a terminal can be narrow.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::Span,
};

use crate::table::harmless;

/// Columns between two columns.
const GAP: u16 = 1;
/// The first rank of columns that are only shown where there is room to spare.
pub(crate) const EXTRA: u8 = 100;

/// What a text is, which says how it looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Look {
    #[default]
    Plain,
    /// Heads of columns, labels.
    Faint,
    /// Titles and figures.
    Strong,
    /// What gets on.
    Good,
    /// What is not as it should be, but is no failure.
    Odd,
    /// Failures.
    Bad,
}

/// A buffer, and whether colours may be used.
pub(crate) struct Painter<'a> {
    buffer: &'a mut Buffer,
    has_colours: bool,
}

/// One entry of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) look: Look,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, look: Look) -> Self {
        Self { text: text.into(), look }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Look::Plain)
    }
}

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) head: &'static str,
    /// Characters that it has where room is short, and at the most.
    pub(crate) width: [u16; 2],
    pub(crate) is_right: bool,
    /// Where room is short, columns of a higher rank are left out first, and of those the last; from [`EXTRA`] on also where others have
    /// no room for all their text.
    pub(crate) rank: u8,
}

/// What a table shows.
pub(crate) struct Table<'a> {
    pub(crate) columns: &'a [Column],
    /// The column by which it is sorted.
    pub(crate) sorted: Option<usize>,
    pub(crate) rows: usize,
    /// The row that is selected, and whether keys move that.
    pub(crate) selected: Option<(usize, bool)>,
    /// One cell a column.
    pub(crate) row: &'a dyn Fn(usize) -> Vec<Cell>,
}

impl<'a> Painter<'a> {
    pub(crate) fn new(buffer: &'a mut Buffer, has_colours: bool) -> Self {
        Self { buffer, has_colours }
    }

    pub(crate) fn area(&self) -> Rect {
        self.buffer.area
    }

    /// Writes a text at most `width` columns wide, its end cut off where it is wider; gives the column behind it.
    pub(crate) fn put(&mut self, (x, y): (u16, u16), width: u16, text: &str, look: Look) -> u16 {
        let area = self.buffer.area;
        let width = width.min(area.right().saturating_sub(x));
        if width == 0 || !(area.top()..area.bottom()).contains(&y) || x < area.left() {
            return x;
        }
        let (text, style) = (harmless(text), self.style(look));
        if Span::raw(&text).width() <= usize::from(width) {
            return self.buffer.set_stringn(x, y, &text, width.into(), style).0;
        }
        let (end, _) = self.buffer.set_stringn(x, y, &text, usize::from(width - 1), style);
        self.buffer.set_stringn(end, y, "…", 1, style).0
    }

    /// The same, ending at the column before `right`.
    pub(crate) fn put_right(&mut self, (right, y): (u16, u16), width: u16, text: &str, look: Look) -> u16 {
        let needs = u16::try_from(Span::raw(harmless(text)).width()).unwrap_or(u16::MAX).min(width);
        let x = right.saturating_sub(needs);
        self.put((x, y), needs, text, look);
        x
    }

    /// Texts one behind the other.
    pub(crate) fn line(&mut self, (mut x, y): (u16, u16), width: u16, parts: &[(&str, Look)]) -> u16 {
        let right = x.saturating_add(width);
        for (text, look) in parts {
            x = self.put((x, y), right.saturating_sub(x), text, *look);
        }
        x
    }

    /// A title, and a rule behind it to the end of the row.
    pub(crate) fn title(&mut self, area: Rect, title: &str, about: &str, look: Look) {
        let mut x = self.put((area.x, area.y), area.width, title, Look::Strong);
        x = self.put((x + 1, area.y), area.right().saturating_sub(x + 1), about, look);
        let rule = area.right().saturating_sub(x + 1);
        self.put((x + 1, area.y), rule, &"─".repeat(rule.into()), Look::Faint);
    }

    /// Heads and rows; where they do not all fit, those round the selected one.
    pub(crate) fn table(&mut self, area: Rect, table: &Table<'_>) {
        let rows = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
        let columns = self.rows(rows, table);
        let mut x = area.x;
        for (index, width) in columns {
            let column = &table.columns[index];
            let look = if table.sorted == Some(index) { Look::Strong } else { Look::Faint };
            if area.height > 0 {
                self.cell((x, area.y), width, column, column.head, look);
            }
            x += width + GAP;
        }
        if table.rows == 0 && rows.height > 0 {
            self.put((rows.x, rows.y), rows.width, "(none)", Look::Faint);
        }
    }

    /// A table without heads. Gives the columns that there is room for, and how wide they are.
    pub(crate) fn rows(&mut self, area: Rect, table: &Table<'_>) -> Vec<(usize, u16)> {
        let height = usize::from(area.height);
        let selected = table.selected.map_or(0, |(row, _)| row);
        let first = selected.saturating_sub(height / 2).min(table.rows.saturating_sub(height));
        let shown: Vec<_> = (first..table.rows).take(height).map(|row| (row, (table.row)(row))).collect();
        let columns = fit(table.columns, &needs(table.columns, shown.iter().map(|(_, cells)| cells)), area.width);
        for (y, (row, cells)) in (area.y..area.bottom()).zip(&shown) {
            let mut x = area.x;
            for &(index, width) in &columns {
                if let Some(cell) = cells.get(index) {
                    self.cell((x, y), width, &table.columns[index], &cell.text, cell.look);
                }
                x += width + GAP;
            }
            if let Some((_, has_focus)) = table.selected.filter(|(at, _)| at == row) {
                let mark = if has_focus { Modifier::REVERSED } else { Modifier::UNDERLINED };
                self.mark(Rect { y, height: 1, ..area }, mark);
            }
        }
        columns
    }

    fn cell(&mut self, (x, y): (u16, u16), width: u16, column: &Column, text: &str, look: Look) {
        if column.is_right {
            self.put_right((x.saturating_add(width), y), width, text, look);
        } else {
            self.put((x, y), width, text, look);
        }
    }

    /// Adds to the looks of all that is there.
    pub(crate) fn mark(&mut self, area: Rect, mark: Modifier) {
        self.buffer.set_style(area.intersection(self.buffer.area), Style::new().add_modifier(mark));
    }

    /// Takes away what is there.
    pub(crate) fn clear(&mut self, area: Rect) {
        let area = area.intersection(self.buffer.area);
        for position in area.positions() {
            self.buffer[position].reset();
        }
    }

    fn style(&self, look: Look) -> Style {
        let (colour, modifier) = match look {
            Look::Plain => (None, Modifier::empty()),
            Look::Faint => (None, Modifier::DIM),
            Look::Strong => (None, Modifier::BOLD),
            Look::Good => (Some(Color::Green), Modifier::empty()),
            Look::Odd => (Some(Color::Yellow), Modifier::empty()),
            Look::Bad => (Some(Color::Red), Modifier::BOLD),
        };
        let style = Style::new().add_modifier(modifier);
        colour.filter(|_| self.has_colours).map_or(style, |colour| style.fg(colour))
    }
}

/// How wide each column would have to be to show what it has.
fn needs<'a>(columns: &[Column], rows: impl Iterator<Item = &'a Vec<Cell>>) -> Vec<u16> {
    let mut needs = vec![0; columns.len()];
    for cells in rows {
        for (need, cell) in needs.iter_mut().zip(cells) {
            *need = u16::try_from(Span::raw(harmless(&cell.text)).width()).unwrap_or(u16::MAX).max(*need);
        }
    }
    needs
}

/// Which columns there is room for, and how wide they are. What is left over widens those that need it, in the order of their ranks; then
/// come those that have the rest of the room only.
fn fit(columns: &[Column], needs: &[u16], width: u16) -> Vec<(usize, u16)> {
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|&index| columns[index].rank);
    let (usual, extra): (Vec<_>, Vec<_>) = by_rank.into_iter().partition(|&index| columns[index].rank < EXTRA);
    let mut left = width.saturating_add(GAP);
    let mut fitting: Vec<(usize, u16)> = Vec::new();
    let has_all = admit(columns, &usual, &mut left, &mut fitting);
    for (index, width) in &mut fitting {
        let wanted = columns[*index].width[1].min(needs[*index]);
        let more = wanted.saturating_sub(*width).min(left);
        *width += more;
        left -= more;
    }
    if has_all {
        admit(columns, &extra, &mut left, &mut fitting);
    }
    fitting.sort_by_key(|&(index, _)| index);
    fitting
}

/// Gives these columns the least that they may have, as long as there is room; whether there was for all.
fn admit(columns: &[Column], these: &[usize], left: &mut u16, fitting: &mut Vec<(usize, u16)>) -> bool {
    for &index in these {
        let given = columns[index].width[0] + GAP;
        // What is too wide for all there is gets what there is.
        let given = if fitting.is_empty() { given.min(*left) } else { given };
        if given > *left || given <= GAP {
            return false;
        }
        *left -= given;
        fitting.push((index, given - GAP));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { head: "NAME", width: [4, 10], is_right: false, rank: 0 },
        Column { head: "LEAST", width: [5, 5], is_right: true, rank: 2 },
        Column { head: "MORE", width: [4, 6], is_right: true, rank: 1 },
    ];

    const NEEDS: [u16; 3] = [99, 99, 99];

    #[test]
    fn columns_are_left_out_by_rank_and_widened_by_rank() {
        assert_eq!(fit(&COLUMNS, &NEEDS, 0), []);
        assert_eq!(fit(&COLUMNS, &NEEDS, 2), [(0, 2)]);
        assert_eq!(fit(&COLUMNS, &NEEDS, 8), [(0, 8)]);
        assert_eq!(fit(&COLUMNS, &NEEDS, 9), [(0, 4), (2, 4)]);
        assert_eq!(fit(&COLUMNS, &NEEDS, 15), [(0, 4), (1, 5), (2, 4)]);
        assert_eq!(fit(&COLUMNS, &NEEDS, 22), [(0, 10), (1, 5), (2, 5)]);
        assert_eq!(fit(&COLUMNS, &NEEDS, 500), [(0, 10), (1, 5), (2, 6)]);
        let mut columns = COLUMNS;
        columns[1].rank = EXTRA;
        assert_eq!(fit(&columns, &NEEDS, 22), [(0, 10), (2, 6)], "what is extra does not narrow others");
        assert_eq!(fit(&columns, &NEEDS, 23), [(0, 10), (1, 5), (2, 6)]);
        assert_eq!(fit(&COLUMNS, &[7, 0, 0], 500), [(0, 7), (1, 5), (2, 4)], "no wider than what stands there");
    }

    #[test]
    fn what_is_put_stays_in_its_room_and_gives_no_orders() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 2));
        let mut painter = Painter::new(&mut buffer, false);
        assert_eq!(painter.put((0, 0), 5, "abcdefg", Look::Plain), 5);
        assert_eq!(painter.put((6, 0), 99, "\u{1b}[2J\n", Look::Bad), 11);
        assert_eq!(painter.put_right((12, 1), 6, "工工工工", Look::Plain), 6);
        // Outside, nothing happens.
        for at in [(12, 0), (0, 2), (u16::MAX, u16::MAX)] {
            painter.put(at, 9, "x", Look::Plain);
        }
        assert_eq!(buffer, Buffer::with_lines(["abcd… \u{fffd}[2J\u{fffd} ", "      工工… "]).with_looks_of(&buffer));
    }

    trait WithLooks {
        fn with_looks_of(self, other: &Buffer) -> Self;
    }

    impl WithLooks for Buffer {
        fn with_looks_of(mut self, other: &Buffer) -> Self {
            for (cell, other) in self.content.iter_mut().zip(&other.content) {
                cell.set_style(other.style());
            }
            self
        }
    }

    #[test]
    fn the_selected_row_is_among_those_that_fit() {
        let row = |row: usize| vec![Cell::from(row.to_string())];
        for (selected, lines) in [(0, ["0", "1", "2"]), (50, ["49", "50", "51"]), (99, ["97", "98", "99"])] {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 4));
            let columns = &COLUMNS[..1];
            let table = Table { columns, sorted: None, rows: 100, selected: Some((selected, true)), row: &row };
            Painter::new(&mut buffer, false).table(Rect::new(0, 0, 4, 4), &table);
            let shown = crate::top::plain(&buffer);
            assert_eq!(shown.lines().skip(1).collect::<Vec<_>>(), lines);
        }
    }
}
