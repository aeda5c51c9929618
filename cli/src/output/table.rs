//! Columns for people.

use super::{plain::plain, terminal_width, wrap::words_of};

/// A text column is made no narrower than this.
const NARROWEST: usize = 12;
const GAP: usize = 2;

/// A table. On a terminal it fits the width: columns that can be spared go first, the last of them first; then
/// the widest texts are wrapped.
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

struct Column {
    name: String,
    right: bool,
    spare: bool,
}

impl Table {
    /// A head that ends with `#` is a column of numbers; one that ends with `?` can be spared.
    pub(crate) fn new(head: &[&str]) -> Self {
        let column = |name: &&str| Column {
            name: name.trim_end_matches(['#', '?']).to_owned(),
            right: name.contains('#'),
            spare: name.ends_with('?'),
        };
        Self { columns: head.iter().map(column).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table, or `otherwise` when it has no rows.
    pub(crate) fn or(&self, otherwise: &str) -> String {
        if self.is_empty() { otherwise.to_owned() } else { self.to_string() }
    }

    fn fitted(&self, width: usize) -> String {
        let mut shown: Vec<(usize, usize)> = (0..self.columns.len()).map(|i| (i, self.width_of(i))).collect();
        let total = |shown: &[(usize, usize)]| shown.iter().map(|(_, w)| w + GAP).sum::<usize>().saturating_sub(GAP);
        while total(&shown) > width
            && let Some(spared) = shown.iter().rposition(|(i, _)| self.columns[*i].spare)
        {
            shown.remove(spared);
        }
        while total(&shown) > width {
            let over = total(&shown) - width;
            let texts = shown.iter_mut().filter(|(i, w)| !self.columns[*i].right && *w > NARROWEST);
            let Some((_, widest)) = texts.max_by_key(|(_, w)| *w) else { break };
            *widest = widest.saturating_sub(over).max(NARROWEST.max(*widest / 2));
        }
        let head: Vec<String> = self.columns.iter().map(|c| c.name.clone()).collect();
        std::iter::once(&head).chain(&self.rows).map(|row| self.lines(row, &shown)).collect()
    }

    fn width_of(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).chain([&self.columns[column].name]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    /// One row, over as many lines as its longest cell takes.
    fn lines(&self, row: &[String], shown: &[(usize, usize)]) -> String {
        let cells: Vec<Vec<String>> =
            shown.iter().map(|(i, width)| words_of(row.get(*i).map_or("", String::as_str), *width)).collect();
        let mut text = String::new();
        for n in 0..cells.iter().map(Vec::len).max().unwrap_or(1) {
            let mut line = String::new();
            for ((i, width), cell) in shown.iter().zip(&cells) {
                let part = cell.get(n).map_or("", String::as_str);
                let right = self.columns[*i].right;
                line += &if right { format!("{part:>width$}  ") } else { format!("{part:<width$}  ") };
            }
            text = text + line.trim_end() + "\n";
        }
        text
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.fitted(terminal_width().unwrap_or(usize::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["id#", "place", "since?", "by?", "now"]);
        table.row(["1", "app:public.messages", "2026", "ada", "waits for a worker"].map(str::to_owned));
        table
    }

    #[test]
    fn a_table_with_room_shows_everything() {
        let all = "id  place                since  by   now\n 1  app:public.messages  2026   ada  waits for a worker\n";
        assert_eq!(table().fitted(usize::MAX), all);
        assert_eq!(table().fitted(55), all);
    }

    #[test]
    fn a_narrow_one_loses_what_can_be_spared_and_then_wraps() {
        assert!(!table().fitted(54).contains("ada") && table().fitted(54).contains("2026"));
        assert!(!table().fitted(45).contains("2026"));
        let wrapped = "id  place         now\n 1  app:public.m  waits for a\n    essages       worker\n";
        assert_eq!(table().fitted(30), wrapped);
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_where_the_numbers_fit() {
        for width in 30..80 {
            let text = table().fitted(width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
    }
}
