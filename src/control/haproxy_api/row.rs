//! A row of `show stat` and the three forms in which rows are written.

use std::fmt::{self, Write};

use super::column::Column;

/// What a row is about. Its number is HAProxy's, and the bit of the filter `show stat IID TYPE SID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowKind {
    Frontend,
    Backend,
    Server,
}

/// One row: a value in each column that it has.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) kind: RowKind,
    /// Number of the proxy.
    pub(super) iid: u32,
    /// Number of the server within it; 0 for the proxy itself.
    pub(super) sid: u32,
    values: Vec<Option<Cell>>,
}

/// What stands in a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    U32(u64),
    U64(u64),
    S32(i64),
    Text(String),
}

impl RowKind {
    fn number(self) -> u64 {
        match self {
            Self::Frontend => 0,
            Self::Backend => 1,
            Self::Server => 2,
        }
    }

    /// The bit of a filter that asks for it.
    pub(super) fn bit(self) -> i64 {
        1 << self.number()
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Frontend => "Frontend",
            Self::Backend => "Backend",
            Self::Server => "Server",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Frontend => 'F',
            Self::Backend => 'B',
            Self::Server => 'S',
        }
    }
}

impl Row {
    /// A row that says what it is about and nothing else.
    pub(super) fn new(kind: RowKind, (iid, proxy): (u32, &str), (sid, name): (u32, &str)) -> Self {
        let mut row = Self { kind, iid, sid, values: vec![None; Column::ALL.len()] };
        row.text(Column::Pxname, proxy);
        row.text(Column::Svname, name);
        // There is one process that serves.
        row.number(Column::Pid, 1);
        row.number(Column::Iid, iid.into());
        row.number(Column::Sid, sid.into());
        row.number(Column::Type, kind.number());
        row.text(Column::Mode, "tcp");
        row
    }

    /// A value below 2^32.
    pub(super) fn number(&mut self, column: Column, value: u64) {
        self.set(column, Cell::U32(value.min(u32::MAX.into())));
    }

    /// A total.
    pub(super) fn total(&mut self, column: Column, value: u64) {
        self.set(column, Cell::U64(value));
    }

    /// Totals of things that do not exist here.
    pub(super) fn zero(&mut self, columns: &[Column]) {
        columns.iter().for_each(|column| self.total(*column, 0));
    }

    pub(super) fn signed(&mut self, column: Column, value: i64) {
        self.set(column, Cell::S32(value));
    }

    pub(super) fn text(&mut self, column: Column, value: impl Into<String>) {
        self.set(column, Cell::Text(value.into()));
    }

    #[cfg(test)]
    pub(super) fn get(&self, column: Column) -> Option<&Cell> {
        self.values[column as usize].as_ref()
    }

    fn set(&mut self, column: Column, cell: Cell) {
        self.values[column as usize] = Some(cell);
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = (Column, &Cell)> {
        let cells = Column::ALL.iter().zip(&self.values);
        cells.filter_map(|(column, cell)| Some((*column, cell.as_ref()?)))
    }

    /// Origin, nature and scope. The sums of a backend are gauges, the flags of a server are not.
    pub(super) fn typed(&self, column: Column) -> &'static str {
        match (self.kind, column) {
            (RowKind::Backend, Column::Act | Column::Bck | Column::Rate | Column::RateMax) => "MGP",
            _ => column.typed(),
        }
    }
}

impl Cell {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::U32(_) => "u32",
            Self::U64(_) => "u64",
            Self::S32(_) => "s32",
            Self::Text(_) => "str",
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U32(value) | Self::U64(value) => write!(f, "{value}"),
            Self::S32(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// All rows as HAProxy's CSV: as many commas in each row as in the header, and an empty line at the end.
pub(super) fn csv(rows: &[Row]) -> String {
    let mut out = String::from("# ");
    for column in Column::ALL {
        out += column.name();
        out.push(',');
    }
    // The column that ends those that every release has in common.
    out += "-,\n";
    for row in rows {
        for cell in &row.values {
            match cell {
                Some(Cell::Text(text)) => push_quoted(&mut out, text),
                Some(cell) => write!(out, "{cell}").expect("a string takes it"),
                None => {}
            }
            out.push(',');
        }
        out += "-,\n";
    }
    out
}

/// Quotes where a reader would otherwise see more columns or lines than there are.
fn push_quoted(out: &mut String, text: &str) {
    if text.contains(['"', ',', '\n', '\r']) {
        out.push('"');
        *out += &text.replace('"', "\"\"");
        out.push('"');
    } else {
        *out += text;
    }
}

/// A line for each value.
pub(super) fn typed(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.cells() {
            let (letter, name, position) = (row.kind.letter(), column.name(), column as usize);
            let (tags, kind) = (row.typed(column), cell.kind());
            writeln!(out, "{letter}.{}.{}.{position}.{name}.1:{tags}:{kind}:{cell}", row.iid, row.sid)
                .expect("a string takes it");
        }
    }
    out
}
