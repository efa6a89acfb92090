//! Prints the rows of a query as a table, JSON Lines, CSV or the events' own bytes.

use crate::args::OutputArgs;
use crate::print;
use crate::text::one_line;
use clap::builder::styling::Style;
use indicatif::ProgressBar;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use trailhose::query::{QueryRow, RowSink};

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    Table,
    Json,
    Csv,
    /// The events' own bytes, which are JSON Lines too.
    Raw,
}

impl OutputFormat {
    pub(crate) fn new(args: OutputArgs, raw: bool) -> Self {
        match args {
            _ if raw => Self::Raw,
            OutputArgs { json: true, .. } => Self::Json,
            OutputArgs { csv: true, .. } => Self::Csv,
            OutputArgs { .. } => Self::Table,
        }
    }
}

/// The maximum number of characters of a value in a table. Longer values are cut and end with `…`.
const MAX_CELL: usize = 100;

/// Prints rows to standard output. A closed pipe, as after `head`, ends the query.
pub(crate) struct RowPrinter {
    format: OutputFormat,
    columns: Vec<String>,
    /// The keys of a JSON object.
    keys: Vec<String>,
    /// The rows of a table, until their widths are known.
    rows: Vec<QueryRow>,
    out: BufWriter<io::Stdout>,
    /// Why not every row was printed.
    stopped: Option<&'static str>,
    /// Hidden while rows are printed.
    bar: ProgressBar,
}

impl RowPrinter {
    pub(crate) fn new(format: OutputFormat, bar: ProgressBar) -> Self {
        let out = BufWriter::new(io::stdout());
        Self { format, columns: Vec::new(), keys: Vec::new(), rows: Vec::new(), out, stopped: None, bar }
    }

    fn write(&mut self, row: QueryRow) -> io::Result<()> {
        let out = &mut self.out;
        match self.format {
            OutputFormat::Table => {
                self.rows.push(row);
                Ok(())
            }
            OutputFormat::Raw => {
                if let Some(Some(event)) = row.first() {
                    out.write_all(event.as_bytes())?;
                }
                out.write_all(b"\n")
            }
            OutputFormat::Json => out.write_all(json(&self.columns, &self.keys, &row).as_bytes()),
            OutputFormat::Csv => out.write_all(&csv(row.iter().map(|value| value.as_deref().unwrap_or_default()))?),
        }
    }

    /// Prints what is not printed yet. Returns why not every row was printed, if so.
    pub(crate) fn finish(mut self) -> Option<&'static str> {
        if self.stopped.is_some() {
            return self.stopped;
        }
        let printed = match self.format == OutputFormat::Table && !self.rows.is_empty() {
            true => anstream::stdout().write_all(table(&self.columns, &self.rows).as_bytes()),
            false => Ok(()),
        };
        printed.and_then(|()| self.out.flush()).err().map(print::stopped)
    }
}

impl RowSink for RowPrinter {
    fn columns(&mut self, names: &[String]) {
        self.columns = names.to_vec();
        self.keys = unique(names);
        if self.format == OutputFormat::Csv
            && let Ok(header) = csv(names.iter().map(String::as_str))
        {
            self.stopped = self.out.write_all(&header).err().map(print::stopped);
        }
    }

    fn row(&mut self, row: QueryRow) -> ControlFlow<()> {
        let bar = self.bar.clone();
        match bar.suspend(|| self.write(row)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.stopped = Some(print::stopped(error));
                ControlFlow::Break(())
            }
        }
    }
}

/// Returns names of columns that are distinct, so that no value of a JSON object is lost. A repeated name gets a number, as in
/// SQLite's subqueries.
pub(crate) fn unique(names: &[String]) -> Vec<String> {
    let mut unique: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        let numbered = (1..).map(|number| format!("{name}:{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !unique.contains(name));
        unique.push(free.unwrap_or_default());
    }
    unique
}

/// Returns whether a column contains numbers.
fn is_number(column: &str) -> bool {
    column == "count" || column.starts_with("count_distinct(")
}

/// Returns a row as one line of JSON. Counts are numbers, missing values are `null`. `keys` are the names of the columns
/// without repetition.
fn json(columns: &[String], keys: &[String], row: &QueryRow) -> String {
    let mut line = String::from("{");
    for (index, ((name, key), value)) in columns.iter().zip(keys).zip(row).enumerate() {
        if index > 0 {
            line.push(',');
        }
        let value = match value {
            Some(number) if is_number(name) => number.clone(),
            value => serde_json::to_string(value).unwrap_or_default(),
        };
        let _ = write!(line, "{}:{value}", serde_json::to_string(key).unwrap_or_default());
    }
    line.push_str("}\n");
    line
}

fn csv<'a>(values: impl Iterator<Item = &'a str>) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(values)?;
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

/// Returns a table with a heading. Counts are aligned to the right.
pub(crate) fn table(columns: &[String], rows: &[QueryRow]) -> String {
    let cell = |value: &Option<String>| {
        let text = one_line(value.as_deref().unwrap_or("-"));
        match text.char_indices().nth(MAX_CELL) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    };
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let width = |column: usize| {
        let values = cells.iter().map(|row| row[column].chars().count());
        values.chain([columns[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |values: &[String]| {
        let mut line = String::new();
        for ((value, &width), column) in values.iter().zip(&widths).zip(columns) {
            let padding = " ".repeat(width.saturating_sub(value.chars().count()));
            match is_number(column) {
                true => line.push_str(&format!("{padding}{value}  ")),
                false => line.push_str(&format!("{value}{padding}  ")),
            }
        }
        line.trim_end().to_owned()
    };
    let bold = Style::new().bold();
    let mut text = format!("{bold}{}{bold:#}\n", line(columns));
    for row in &cells {
        text.push_str(&line(row));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_printed_without_control_characters_and_with_their_types() {
        let columns = ["eventName".to_owned(), "count".to_owned()];
        let row: QueryRow = vec![Some("a\u{1b}[31m\"b".to_owned()), Some("5".to_owned())];
        let missing: QueryRow = vec![None, Some("10".to_owned())];
        assert_eq!(json(&columns, &columns, &row), "{\"eventName\":\"a\\u001b[31m\\\"b\",\"count\":5}\n");
        assert_eq!(json(&columns, &columns, &missing), "{\"eventName\":null,\"count\":10}\n");
        assert_eq!(csv(["a,b", "c\"d"].into_iter()).unwrap(), b"\"a,b\",\"c\"\"d\"\n");
        let text = table(&columns, &[row, missing]);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines, ["a [31m\"b       5", "-             10"]);
    }

    #[test]
    fn columns_of_the_same_name_have_keys_of_their_own() {
        let columns = ["count".to_owned(), "count".to_owned()];
        let row: QueryRow = vec![Some("5".to_owned()), Some("6".to_owned())];
        assert_eq!(json(&columns, &unique(&columns), &row), "{\"count\":5,\"count:1\":6}\n");
    }

    #[test]
    fn long_value_is_cut_in_a_table_only() {
        let columns = ["userAgent".to_owned()];
        let row: QueryRow = vec![Some("é".repeat(200))];
        assert!(table(&columns, std::slice::from_ref(&row)).contains(&format!("{}…", "é".repeat(100))));
        assert!(json(&columns, &columns, &row).contains(&"é".repeat(200)));
    }
}
