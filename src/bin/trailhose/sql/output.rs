//! Prints the rows of a statement as a table, JSON Lines or CSV.

use crate::args::OutputArgs;
use crate::print;
use crate::query::output::{table, unique};
use indicatif::ProgressBar;
use rusqlite::types::Value;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use trailhose::query::QueryRow;
use trailhose::sql::SqlRowSink;

/// Prints rows to standard output. A closed pipe, as after `head`, ends the statement.
pub(crate) struct SqlPrinter {
    format: OutputArgs,
    columns: Vec<String>,
    /// The rows of a table, until their widths are known.
    rows: Vec<QueryRow>,
    out: BufWriter<io::Stdout>,
    /// Hidden while rows are printed.
    bar: ProgressBar,
    /// Why not every row was printed.
    stopped: Option<&'static str>,
}

impl SqlPrinter {
    pub(crate) fn new(format: OutputArgs, bar: ProgressBar) -> Self {
        let out = BufWriter::new(io::stdout());
        Self { format, columns: Vec::new(), rows: Vec::new(), out, stopped: None, bar }
    }

    fn write(&mut self, row: Vec<Value>) -> io::Result<()> {
        if self.format.json {
            let line = json(&self.columns, &row)?;
            return self.out.write_all(line.as_bytes());
        }
        let row = row.into_iter().map(text);
        if self.format.csv {
            return self.csv(row.map(Option::unwrap_or_default).collect());
        }
        self.rows.push(row.collect());
        Ok(())
    }

    fn csv(&mut self, values: Vec<String>) -> io::Result<()> {
        let mut writer = csv::Writer::from_writer(&mut self.out);
        writer.write_record(values)?;
        writer.flush()
    }

    /// Prints what is not printed yet. Returns why not every row was printed, if so.
    pub(crate) fn finish(mut self) -> Option<&'static str> {
        if self.stopped.is_some() {
            return self.stopped;
        }
        let printed = match self.rows.is_empty() {
            true => Ok(()),
            false => anstream::stdout().write_all(table(&self.columns, &self.rows).as_bytes()),
        };
        printed.and_then(|()| self.out.flush()).err().map(print::stopped)
    }
}

impl SqlRowSink for SqlPrinter {
    fn columns(&mut self, names: &[String]) {
        self.columns = unique(names);
        if self.format.csv {
            // A closed pipe is noticed with the first row.
            let _ = self.csv(self.columns.clone());
        }
    }

    fn row(&mut self, row: Vec<Value>) -> ControlFlow<()> {
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

/// Returns a value as text. A BLOB is the SQL literal of its bytes.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Integer(number) => Some(number.to_string()),
        Value::Real(number) => Some(number.to_string()),
        Value::Text(text) => Some(text),
        Value::Blob(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(format!("X'{digits}'"))
        }
    }
}

/// Returns a row as one line of JSON. Numbers stay numbers, `NULL` is `null`.
fn json(columns: &[String], row: &[Value]) -> io::Result<String> {
    let members = columns.iter().zip(row).map(|(name, value)| {
        let value = match value {
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => serde_json::to_string(number)?,
            other => serde_json::to_string(&text(other.clone()))?,
        };
        Ok(format!("{}:{value}", serde_json::to_string(name)?))
    });
    let members: io::Result<Vec<String>> = members.collect();
    Ok(format!("{{{}}}\n", members?.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_types_and_no_column_is_lost() {
        let columns = unique(&["n".into(), "n".into(), "n:1".into(), "x".into(), "y".into()]);
        assert_eq!(columns, ["n", "n:1", "n:1:1", "x", "y"]);
        let row = [
            Value::Integer(-7),
            Value::Real(1.5),
            Value::Null,
            Value::Text("a\"b\n".into()),
            Value::Blob(vec![0, 255]),
        ];
        let expected = r#"{"n":-7,"n:1":1.5,"n:1:1":null,"x":"a\"b\n","y":"X'00ff'"}"#;
        assert_eq!(json(&columns, &row).unwrap(), format!("{expected}\n"));
        assert_eq!(json(&["r".into()], &[Value::Real(f64::INFINITY)]).unwrap(), "{\"r\":null}\n");
    }
}
