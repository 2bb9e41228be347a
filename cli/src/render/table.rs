//! Rows as a table that fits a terminal, and as CSV.

use dcp_runner::results::Column;
use unicode_width::UnicodeWidthStr as _;

use super::{cut, format_count, visible};
use crate::out::{BOLD, DIM, Look};

pub(crate) type Row = Vec<Option<String>>;

const GAP: &str = "  ";
/// Minimum width of a cut column.
const MIN_COLUMN_WIDTH: usize = 6;
/// Maximum length of a text.
const MAX_TEXT_LENGTH: usize = 200;

/// The columns that fit, and their widths.
pub(crate) struct Layout {
    columns: Vec<Column>,
    widths: Vec<usize>,
    look: Look,
}

/// Prepares a row for display: shortened, and without control characters.
pub(crate) fn shown(row: Row) -> Row {
    row.into_iter().map(|cell| cell.map(|text| plain(&text))).collect()
}

fn plain(text: &str) -> String {
    match text {
        // Quoted, so that they do not look like nulls.
        "" | "NULL" => return format!("{text:?}"),
        _ => {}
    }
    let mut plain = String::new();
    for c in text.chars().take(MAX_TEXT_LENGTH) {
        match c {
            '\n' => plain.push_str("\\n"),
            '\r' => plain.push_str("\\r"),
            '\t' => plain.push_str("\\t"),
            c => plain.push(visible(c)),
        }
    }
    if text.chars().nth(MAX_TEXT_LENGTH).is_some() {
        plain.push('…');
    }
    plain
}

impl Layout {
    /// Determines the widths from the first rows.
    pub(crate) fn of(columns: &[Column], sample: &[Row], look: Look) -> Self {
        let name = |column: &Column| Column { name: plain(&column.name), ..column.clone() };
        let columns: Vec<Column> = columns.iter().map(name).collect();
        let natural = columns.iter().enumerate().map(|(at, column)| {
            let cells = sample.iter().map(|row| width(row.get(at).and_then(Option::as_deref)));
            cells.chain([column.name.width()]).max().unwrap_or(0).max(1)
        });
        let widths = fit(natural.collect(), look.width);
        Self { columns, widths, look }
    }

    pub(crate) fn head(&self) -> String {
        let names = self.columns.iter().zip(&self.widths);
        let names = names.map(|(column, width)| aligned(&column.name, *width, column.is_number));
        let line = names.collect::<Vec<_>>().join(GAP);
        let rule: Vec<String> = self.widths.iter().map(|width| "─".repeat(*width)).collect();
        format!("{}\n{}\n", self.look.paint(BOLD, line.trim_end()), self.look.paint(DIM, rule.join(GAP)))
    }

    pub(crate) fn row(&self, row: &Row) -> String {
        let cells =
            row.iter().zip(self.columns.iter().zip(&self.widths)).map(|(cell, (column, width))| match cell {
                Some(text) => aligned(text, *width, column.is_number),
                None => {
                    aligned("NULL", *width, column.is_number).replace("NULL", &self.look.paint(DIM, "NULL"))
                }
            });
        format!("{}\n", cells.collect::<Vec<_>>().join(GAP).trim_end())
    }

    pub(crate) fn foot(&self, rows: u64) -> String {
        let hidden = self.columns.len() - self.widths.len();
        let mut foot = format_count(usize::try_from(rows).unwrap_or(usize::MAX), "row");
        if hidden > 0 {
            let more = format_count(hidden, "more column");
            foot = format!("{foot}; {more}: `--output json` has all");
        }
        format!("{}\n", self.look.paint(DIM, foot))
    }
}

fn width(cell: Option<&str>) -> usize {
    cell.map_or("NULL".len(), unicode_width::UnicodeWidthStr::width)
}

/// Cuts the widest columns until all fit, and drops the last ones if that is not enough.
pub(super) fn fit(mut widths: Vec<usize>, room: usize) -> Vec<usize> {
    loop {
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let widest = widths.iter().copied().max().unwrap_or(0);
        let fits = |cap: &usize| widths.iter().map(|width| width.min(cap)).sum::<usize>() + gaps <= room;
        if let Some(cap) = (MIN_COLUMN_WIDTH.min(widest)..=widest).rev().find(fits) {
            return widths.into_iter().map(|width| width.min(cap)).collect();
        }
        if widths.len() <= 1 {
            return widths.into_iter().map(|width| width.min(room)).collect();
        }
        widths.pop();
    }
}

pub(super) fn aligned(text: &str, room: usize, right: bool) -> String {
    let text = cut(text, room);
    let space = " ".repeat(room.saturating_sub(text.width()));
    if right { space + &text } else { text + &space }
}

/// Formats a line of CSV. A null is an empty field, and an empty text is quoted.
pub(crate) fn csv<'a>(cells: impl Iterator<Item = Option<&'a str>>) -> String {
    let fields = cells.map(|cell| match cell {
        None => String::new(),
        Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Some(text) => text.to_owned(),
    });
    let line = fields.collect::<Vec<_>>().join(",");
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(names: &[(&str, bool)], rows: &[&[Option<&str>]], width: usize) -> String {
        let look = Look { color: false, width, terminal: true, animated: false };
        let columns =
            names.iter().map(|(name, is_number)| Column { name: (*name).to_owned(), is_number: *is_number });
        let rows: Vec<Row> =
            rows.iter().map(|row| shown(row.iter().map(|cell| cell.map(str::to_owned)).collect())).collect();
        let layout = Layout::of(&columns.collect::<Vec<_>>(), &rows, look);
        let lines: Vec<String> = rows.iter().map(|row| layout.row(row)).collect();
        format!("{}{}{}", layout.head(), lines.concat(), layout.foot(rows.len() as u64))
    }

    #[test]
    fn numbers_are_right_aligned_and_null_differs_from_text() {
        let rows: &[&[Option<&str>]] = &[
            &[Some("1"), Some("a\u{1b}[31m\nb"), Some("1.20")],
            &[Some("-200"), None, None],
            &[None, Some("NULL"), Some("日本")],
            &[Some("3"), Some(""), Some("x")],
        ];
        let expected = [
            "  id  text       größe",
            "────  ─────────  ─────",
            "   1  a␛[31m\\nb  1.20",
            "-200  NULL       NULL",
            "NULL  \"NULL\"     日本",
            "   3  \"\"         x",
            "4 rows\n",
        ]
        .join("\n");
        assert_eq!(drawn(&[("id", true), ("text", false), ("größe", false)], rows, 80), expected);
    }

    #[test]
    fn wide_columns_are_cut_and_the_last_ones_left_out() {
        let long = "x".repeat(500);
        let drawn_ = drawn(&[("a", true), ("b", false)], &[&[Some("12"), Some(&long)]], 40);
        assert!(drawn_.lines().all(|line| line.width() <= 40), "{drawn_}");
        assert!(drawn_.contains(&format!("12  {}…\n", "x".repeat(35))), "{drawn_}");
        let names: Vec<_> = (0..20).map(|_| ("column name", false)).collect();
        let drawn = drawn(&names, &[], 40);
        assert_eq!(drawn.lines().last(), Some("0 rows; 15 more columns: `--output json` has all"));
        assert!(drawn.starts_with("colum…  colum…  colum…  colum…  colum…\n"), "{drawn}");
    }

    #[test]
    fn csv_distinguishes_null_from_empty_text() {
        let cells = [Some("a"), None, Some(""), Some("b,\"c\"\n"), Some("ä")];
        assert_eq!(csv(cells.into_iter()), "a,,\"\",\"b,\"\"c\"\"\n\",ä\n");
    }
}
