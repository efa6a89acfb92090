//! Prints results to standard output. A closed pipe, as after `head`, is not an error.

use serde::Serialize;
use std::io::Write as _;

/// Prints text, with colors only on a terminal.
pub(crate) fn print(text: &str) {
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Prints one JSON object on one line.
pub(crate) fn print_json(object: &impl Serialize) {
    let text = serde_json::to_string(object).unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string()));
    let _ = writeln!(std::io::stdout(), "{text}");
}
