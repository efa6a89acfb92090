//! A text table: rows with a name, a right-aligned value and a remark.

use clap::builder::styling::{AnsiColor, Style};
use indicatif::HumanCount;
use std::fmt::Write as _;

/// A table with the widths of its name and value columns.
pub(crate) struct Table {
    text: String,
    name: usize,
    figure: usize,
}

impl Table {
    /// Returns an empty table with these column widths.
    pub(crate) fn new(name: usize, figure: usize) -> Self {
        Self { text: String::new(), name, figure }
    }

    /// Adds a heading.
    pub(crate) fn head(&mut self, text: &str) {
        let bold = Style::new().bold();
        self.line(&format!("{bold}{text}{bold:#}"));
    }

    /// Adds a line of text.
    pub(crate) fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "{text}");
    }

    /// Adds a row with a count.
    pub(crate) fn row(&mut self, name: &str, count: u64, remark: &str) {
        self.text(name, &HumanCount(count).to_string(), remark);
    }

    /// Adds a row with a count, unless the count is zero.
    pub(crate) fn row_if(&mut self, name: &str, count: u64, remark: &str) {
        if count > 0 {
            self.row(name, count, remark);
        }
    }

    /// Adds a red row with a count, unless the count is zero.
    pub(crate) fn bad(&mut self, name: &str, count: u64, remark: &str) {
        if count > 0 {
            let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
            let _ = write!(self.text, "{red}");
            self.row(name, count, remark);
            let _ = write!(self.text, "{red:#}");
        }
    }

    /// Adds a row with a value in text form.
    pub(crate) fn text(&mut self, name: &str, figure: &str, remark: &str) {
        let line = format!("  {name:<0$}{figure:>1$}   {remark}", self.name, self.figure);
        self.line(line.trim_end());
    }

    /// Returns the table as text.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}
