//! Aligned columns for people.

use super::output;

/// Rows under a header; as wide as their texts need.
#[derive(Debug)]
pub(super) struct Table {
    header: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
}

/// One text, aligned left unless it is a number, plain unless it is coloured.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    right: bool,
    colour: Option<Colour>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Red,
    Green,
    Yellow,
    Dim,
}

impl Table {
    /// A table with these columns; those that hold numbers have a `>` before their name.
    pub(super) fn new(columns: &[&str]) -> Self {
        let header = columns.iter().map(|name| match name.strip_prefix('>') {
            Some(name) => Cell::right(name).coloured(Colour::Dim),
            None => Cell::left(name).coloured(Colour::Dim),
        });
        Self { header: header.collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.header.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// The lines of the table, each with its newline; `colour` only towards a terminal.
    pub(super) fn render(&self, colour: bool) -> String {
        let mut widths = vec![0; self.header.len()];
        for row in self.lines() {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        let mut text = String::new();
        for row in self.lines() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                cell.write(&mut line, *width, colour);
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn lines(&self) -> impl Iterator<Item = &[Cell]> {
        std::iter::once(&self.header[..]).chain(self.rows.iter().map(Vec::as_slice))
    }
}

impl Cell {
    pub(super) fn left(text: impl AsRef<str>) -> Self {
        let text = output::harmless(text.as_ref());
        Self { text: if text.is_empty() { "-".to_owned() } else { text }, right: false, colour: None }
    }

    pub(super) fn right(text: impl AsRef<str>) -> Self {
        Self { right: true, ..Self::left(text) }
    }

    pub(super) fn number(number: u64) -> Self {
        Self::right(number.to_string())
    }

    pub(super) fn coloured(self, colour: Colour) -> Self {
        Self { colour: Some(colour), ..self }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// Spaces stand outside the colour, so that the end of a line can be trimmed.
    fn write(&self, line: &mut String, width: usize, colour: bool) {
        let padding = " ".repeat(width.saturating_sub(self.width()));
        if self.right {
            line.push_str(&padding);
        }
        match self.colour.filter(|_| colour) {
            Some(colour) => line.push_str(&format!("\x1b[{}m{}\x1b[0m", colour.code(), self.text)),
            None => line.push_str(&self.text),
        }
        if !self.right {
            line.push_str(&padding);
        }
    }
}

impl Colour {
    /// SGR parameter (ECMA-48).
    fn code(self) -> u8 {
        match self {
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Dim => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", ">COUNT", "STATUS"]);
        table.row(vec![Cell::left("a"), Cell::number(7), Cell::left("UP").coloured(Colour::Green)]);
        table.row(vec![Cell::left("größer"), Cell::number(123_456), Cell::left("")]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        assert_eq!(table().render(false), "NAME     COUNT  STATUS\na            7  UP\ngrößer  123456  -\n");
    }

    #[test]
    fn colours_change_nothing_but_colour() {
        let coloured = table().render(true);
        assert!(coloured.contains("\x1b[32mUP\x1b[0m\n"), "{coloured:?}");
        let bare = ["\x1b[0m", "\x1b[2m", "\x1b[32m"].iter().fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(bare, table().render(false));
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut table = Table::new(&["NAME"]);
        table.row(vec![Cell::left("a\x1b[2J\nb")]);
        assert_eq!(table.render(false), "NAME\na\u{fffd}[2J\u{fffd}b\n");
    }
}
