//! Columns for people.

use std::io::{self, Write};

/// Characters of the longest cell. Names come from clients: one of a megabyte must not push the others off the screen.
const WIDEST: usize = 128;

/// Rows under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_uppercase()).collect()] }
    }

    /// Adds a row. Control characters of its cells become blanks, and long cells are cut.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into_iter().map(|cell| visible(&cell)).collect());
    }

    /// Whether nothing but headings is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.len() <= 1
    }

    /// Writes it.
    pub fn write(&self, out: &mut (dyn Write + Send)) -> io::Result<()> {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

fn visible(cell: &str) -> String {
    let mut shown: String = cell.chars().take(WIDEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() < cell.len() {
        shown.pop();
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["name", "state"]);
        table.row(["a".into(), "fine".into()]);
        table.row(["longer\n".into(), "bad".into()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "NAME     STATE\na        fine\nlonger   bad\n");
    }

    #[test]
    fn a_cell_of_any_length_is_shown_cut() {
        let mut table = Table::new(&["name", "state"]);
        table.row(["é".repeat(100_000), "fine".into()]);
        table.row(["é".repeat(WIDEST), "fine".into()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let lines: Vec<String> = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(lines[1], format!("{}…  fine", "é".repeat(WIDEST - 1)));
        assert_eq!(lines[2], format!("{}  fine", "é".repeat(WIDEST)));
    }
}
