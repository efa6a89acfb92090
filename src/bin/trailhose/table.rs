//! Table: lines of a name, a figure that stands right, and a remark.

use clap::builder::styling::{AnsiColor, Style};
use indicatif::HumanCount;
use std::fmt::Write as _;

/// A table, and how wide its names and figures are.
pub(crate) struct Table {
    text: String,
    name: usize,
    figure: usize,
}

impl Table {
    /// An empty one of these widths.
    pub(crate) fn new(name: usize, figure: usize) -> Self {
        Self { text: String::new(), name, figure }
    }

    /// A heading.
    pub(crate) fn head(&mut self, text: &str) {
        let bold = Style::new().bold();
        self.line(&format!("{bold}{text}{bold:#}"));
    }

    /// A line of its own.
    pub(crate) fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "{text}");
    }

    /// A row of a count.
    pub(crate) fn row(&mut self, name: &str, count: u64, remark: &str) {
        self.text(name, &HumanCount(count).to_string(), remark);
    }

    /// The same, unless there is nothing to count.
    pub(crate) fn row_if(&mut self, name: &str, count: u64, remark: &str) {
        if count > 0 {
            self.row(name, count, remark);
        }
    }

    /// The same in red: of what is not well.
    pub(crate) fn bad(&mut self, name: &str, count: u64, remark: &str) {
        if count > 0 {
            let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
            let _ = write!(self.text, "{red}");
            self.row(name, count, remark);
            let _ = write!(self.text, "{red:#}");
        }
    }

    /// A row of a figure that is no mere count.
    pub(crate) fn text(&mut self, name: &str, figure: &str, remark: &str) {
        let line = format!("  {name:<0$}{figure:>1$}   {remark}", self.name, self.figure);
        self.line(line.trim_end());
    }

    /// All its lines.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}
